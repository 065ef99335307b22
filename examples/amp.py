"""Trains with automatic mixed precision: autocast, a GradScaler that looks for its scale, unscale_ before clipping.

On a GPU in float16; without one in bfloat16 on the CPU, where a scaler is not needed but works the same way.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from client_hook import watch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--steps", type=int, default=400)
    options = arguments.parse_args()
    torch.manual_seed(0)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    low = torch.float16 if device == "cuda" else torch.bfloat16
    data = load_digits()
    images = torch.tensor(data.data, dtype=torch.float32, device=device) / 16.0 - 0.3
    labels = torch.tensor(data.target, device=device)
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scaler = torch.amp.GradScaler(device)
    monitor = watch(model, optimizer, scaler=scaler, project="examples", name="AMP", total_steps=options.steps)
    for _ in range(options.steps):
        rows = torch.randint(0, 1500, (64,), device=device)
        optimizer.zero_grad()
        with torch.autocast(device, dtype=low):
            loss = F.cross_entropy(model(images[rows]), labels[rows])
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
        monitor.step(loss)
    with torch.no_grad():
        logits = model(images[1500:])
        accuracy = (logits.argmax(1) == labels[1500:]).float().mean()
        monitor.validation(F.cross_entropy(logits, labels[1500:]), accuracy=accuracy)


if __name__ == "__main__":
    main()
