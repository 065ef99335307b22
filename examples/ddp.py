"""Trains on two processes with DistributedDataParallel (gloo, CPU): one run, each rank with its own series.

It starts its own ranks; `torchrun --nproc-per-node 2 examples/ddp.py` does the same.
"""

import argparse
import os
import socket

import torch
from sklearn.datasets import load_digits
from torch import distributed, multiprocessing, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from client_hook import watch


def train(rank: int, world: int, port: int, epochs: int) -> None:
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", str(port))
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world))  # from these the ranks know that they are one job
    torch.set_num_threads(1)
    torch.manual_seed(0)
    distributed.init_process_group("gloo")
    digits = load_digits()
    data = TensorDataset(torch.tensor(digits.data, dtype=torch.float32) / 16.0 - 0.3, torch.tensor(digits.target))
    sampler = DistributedSampler(data, shuffle=True)
    loader = DataLoader(data, batch_size=32, sampler=sampler)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with watch(model, optimizer, project="examples", name="DDP", total_steps=epochs * len(loader)) as monitor:
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            for images, labels in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(images), labels)
                loss.backward()
                optimizer.step()
                monitor.step(loss)
    distributed.barrier()
    distributed.destroy_process_group()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--epochs", type=int, default=5)
    options = arguments.parse_args()
    if "RANK" in os.environ:  # torchrun has started this one
        train(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), 0, options.epochs)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(train, (2, port, options.epochs), nprocs=2)


if __name__ == "__main__":
    main()
