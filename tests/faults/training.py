"""A small real training that writes down what it did: `step time loss` a line, flushed. The faults happen around it."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn

from client_hook import watch


def main() -> None:
    """Trains as many steps as the first argument says, a pause of the second between them; notes go to the third."""
    steps, pause, notes = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    if limit := int(os.environ.get("TEST_FILE_BYTES", "0")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    monitor = watch(model, optimizer, name="fault")
    print(monitor.run_id, flush=True)
    inputs = torch.randn(4096, 8)
    targets = inputs.square().sum(1, keepdim=True)
    written = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    lines = []
    for step in range(steps):
        rows = torch.randint(0, 4096, (32,))
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        line = f"{step} {time.time()} {loss.item()!r}\n"
        lines.append(line)
        if not limit:
            os.write(written, line.encode())
        time.sleep(pause)
    began = time.monotonic()
    delivered = monitor.finish()
    print(
        json.dumps({"delivered": delivered, "finish_s": time.monotonic() - began, "ledger": monitor.ledger}), flush=True
    )
    if limit:
        print(json.dumps(lines), flush=True)


if __name__ == "__main__":
    main()
