"""H6, H7: however a process ends, it ends soon and with its own exit code, also where the server never answers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from client_hook.decoding import decode
from client_hook.spool import Spool
from tests import warm
from tests.faults.test_server_faults import sick_server
from tests.serving import ROOT
from tests.warm import WAIT

LONGEST_END_S = 100.0  # ten times the promise: it catches a hang; `benchmarks.faults` prints each end beside its 10 s
TRAINING = """
import os, signal, sys, threading, torch
from client_hook import watch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = watch(model, optimizer)
for step in range(20):
    optimizer.zero_grad(); loss = model(torch.randn(4, 2)).square().mean(); loss.backward(); optimizer.step()
    monitor.step(loss)
while monitor.ledger["queued"]:
    threading.Event().wait(0.01)
print("ready", flush=True)
"""


@dataclass(frozen=True)
class Ending:
    """One way to end: what the script does last, the signal it is sent, its exit code, and the state in the spool."""

    script: str
    code: int
    state: str | None
    send: int | None = None


ENDINGS = {
    "the end of the script": Ending("", 0, "finished"),
    "finish, then more work": Ending("monitor.finish(timeout=1)\nmonitor.step(1.0)", 0, "finished"),
    "the end of the block": Ending("with monitor:\n    pass", 0, "finished"),
    "an exception": Ending("raise ValueError('no more data')", 1, "failed"),
    "sys.exit(0)": Ending("sys.exit(0)", 0, "finished"),
    "sys.exit(7) in the block": Ending("with monitor:\n    sys.exit(7)", 7, "failed"),
    "sys.exit(7)": Ending("sys.exit(7)", 7, "failed"),
    "exit(7)": Ending("exit(7)", 7, "failed"),
    "os._exit(4)": Ending("os._exit(4)", 4, None),
    "SIGTERM": Ending(WAIT, -signal.SIGTERM, "stopped", signal.SIGTERM),
    "SIGINT": Ending(WAIT, -signal.SIGINT, "stopped", signal.SIGINT),
    "SIGKILL": Ending(WAIT, -signal.SIGKILL, None, signal.SIGKILL),
    "a daemon thread that trains on": Ending(
        "def on():\n    while not threading.Event().wait(0.001): monitor.step(1.0)\n"
        "threading.Thread(target=on, daemon=True).start()",
        0,
        "finished",
    ),
    "an object that steps while the interpreter goes down": Ending(
        "class Late:\n    def __del__(self): monitor.step(1.0); monitor.log(a=1.0); monitor.finish()\nlate = Late()",
        0,
        "finished",
    ),
    "stdout and stderr closed": Ending("sys.stdout.close(); sys.stderr.close()", 0, "finished"),
}


@dataclass
class Ended:
    """What came of one."""

    code: int
    seconds: float
    errors: str
    home: Path

    def records(self) -> list[dict[str, object]]:
        """Reads what the spool holds."""
        (path,) = self.home.rglob("*.spool")
        spool = Spool.open(path)
        found: list[dict[str, object]] = []
        while (parcel := spool.peek()) is not None:
            found += decode(parcel.data).records
            spool.acknowledge(parcel.seq)
        spool.keep_file = True
        spool.close()
        return found


@pytest.mark.timeout(300)
def test_h6_every_process_ends_with_its_own_code_and_the_spool_knows_how(tmp_path: Path) -> None:
    """They all run at once against one server that never answers: each is mostly waiting."""
    with sick_server(None) as url:
        started = {
            name: start(ending, url, tmp_path / str(index)) for index, (name, ending) in enumerate(ENDINGS.items())
        }
        with ThreadPoolExecutor(len(ENDINGS)) as watchers:  # each end is timed from its own beginning
            watched = {name: watchers.submit(end, *started[name], ENDINGS[name].send) for name in ENDINGS}
            results = {name: watcher.result() for name, watcher in watched.items()}
    for name, result in results.items():
        ending = ENDINGS[name]
        assert result.code == ending.code, f"{name}: {result.errors}"
        assert "Fatal Python error" not in result.errors, f"{name}: {result.errors}"
        last_words = [item["name"] for item in result.records() if item["kind"] == "status"]
        assert last_words == ([ending.state] if ending.state else []), name
        assert result.seconds < LONGEST_END_S, name
        print(json.dumps({"ending": name, "seconds": round(result.seconds, 2)}))


def start(ending: Ending, url: str, home: Path) -> tuple[subprocess.Popen[str], Path]:
    """Starts one."""
    environment = {**os.environ, "GRADWATCH_URL": url, "GRADWATCH_HOME": str(home), "GRADWATCH_STRICT": "0",
                   "OMP_NUM_THREADS": "1"}  # fmt: skip
    process = warm.Popen(
        [sys.executable, "-c", TRAINING + ending.script], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    return process, home


def end(process: subprocess.Popen[str], home: Path, send: int | None) -> Ended:
    """Waits until it has trained, sends the signal, and waits for its end."""
    assert process.stdout is not None
    line = process.stdout.readline()
    began = time.monotonic()
    if send is not None:
        process.send_signal(send)
    _, errors = process.communicate(timeout=LONGEST_END_S)
    assert line == "ready\n", errors
    return Ended(process.returncode, time.monotonic() - began, errors, home)


WORKERS = """
import torch, sys
from torch.utils.data import DataLoader, Dataset
from client_hook import watch
class Data(Dataset):
    def __len__(self): return 64
    def __getitem__(self, index): return torch.full((2,), float(index))
def main():
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    monitor = watch(model, optimizer)
    how = {"num_workers": 2, "multiprocessing_context": sys.argv[1], "persistent_workers": True}
    loader = DataLoader(Data(), batch_size=8, **how)
    for _ in range(3):
        for batch in loader:
            optimizer.zero_grad(); loss = model(batch).square().mean(); loss.backward(); optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.5)
    print(monitor.ledger["produced"] > 0)
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_h7_data_loader_workers_send_nothing_and_hang_nothing(start: str, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(WORKERS)
    environment = {**os.environ, "GRADWATCH_URL": "http://127.0.0.1:9", "GRADWATCH_HOME": str(tmp_path),
                   "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = warm.run([sys.executable, str(script), start], env=environment, text=True, timeout=110)
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr
    result = Ended(0, 0.0, "", tmp_path)
    names = [item["name"] for item in result.records() if item["kind"] == "status"]
    assert names == ["finished"], "one process has one spool, and workers have none"
