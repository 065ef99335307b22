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
from client_hook.monitor import Monitor
from tests.serving import wait_until


def fill_the_disk(monitor: Monitor) -> None:
    """Waits until a frame lies in the spool; from then on no file of this process grows much beyond that one."""
    wait_until(lambda: monitor.ledger["spooled"], "a frame in the spool")
    (spool,) = Path(os.environ["GRADWATCH_HOME"]).rglob("*.spool")
    size = spool.stat().st_size + 10  # the next record is torn in its first bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def main() -> None:
    """Trains as many steps as the first argument says, a pause of the second between them; notes go to the third."""
    steps, pause, notes = int(sys.argv[1]), float(sys.argv[2]), Path(sys.argv[3])
    full_at = int(os.environ.get("TEST_DISK_FULL_AT_STEP", "-1"))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    monitor = watch(model, optimizer, name="fault")
    print(monitor.run_id, flush=True)
    inputs = torch.randn(4096, 8)
    targets = inputs.square().sum(1, keepdim=True)
    written = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    own: list[float] = []
    for step in range(steps):
        rows = torch.randint(0, 4096, (32,))
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        own.append(loss.item())
        if full_at < 0:
            os.write(written, f"{step} {time.time()} {own[-1]!r}\n".encode())
        elif step == full_at:
            fill_the_disk(monitor)
        time.sleep(pause)
    began = time.monotonic()
    delivered = monitor.finish()
    ended = {"delivered": delivered, "finish_s": time.monotonic() - began, "ledger": monitor.ledger}
    print(json.dumps({**ended, "losses": own} if full_at >= 0 else ended), flush=True)


if __name__ == "__main__":
    main()
