"""How a process ends, and what the server learns of it: real processes, a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import warm
from tests.serving import ROOT, Server, wait_until
from tests.warm import WAIT

PREFIX = """
import os, signal, sys, threading, torch
from client_hook import watch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = watch(model, optimizer, name="end")
def train(steps=20):
    for step in range(steps):
        optimizer.zero_grad(); loss = model(torch.randn(4, 2)).square().mean(); loss.backward(); optimizer.step()
        monitor.step(loss)
train()
print(monitor.run_id, flush=True)
"""


class Ended:
    """A process that ran the prefix and an ending."""

    def __init__(self, server: Server, home: Path, ending: str, send: int | None = None) -> None:
        environment = {**os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(home), "GRADWATCH_STRICT": "0"}
        with warm.Popen(
            [sys.executable, "-c", PREFIX + ending], cwd=ROOT, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            self.run_id = process.stdout.readline().strip()
            if send is not None:
                process.send_signal(send)
            try:
                self.out, self.errors = process.communicate(timeout=60)
            finally:
                process.kill()  # only one that did not end
        self.code = process.returncode

    def run(self, server: Server) -> dict[str, Any]:
        """Waits until the run is no longer running, and gives it."""
        wait_until(lambda: server.get(f"runs/{self.run_id}")["state"] != "running", "an end")
        found: dict[str, Any] = server.get(f"runs/{self.run_id}")
        return found


def test_the_end_of_the_script_is_a_finish(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path, "")
    run = ended.run(server)
    assert (run["state"], run["last_step"], ended.code) == ("finished", 19, 0)


def test_an_exception_is_a_failure_with_its_text(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path, "raise ValueError('the data ran out')")
    assert ended.run(server)["state"] == "failed"
    assert ended.code == 1
    assert ended.errors.count("ValueError: the data ran out") == 1, "shown once, as without the hook"


def test_ctrl_c_is_a_stop(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path, WAIT, send=signal.SIGINT)
    assert ended.run(server)["state"] == "stopped"
    assert "KeyboardInterrupt" in ended.errors


def test_sigterm_is_a_stop_and_ends_the_process_as_ever(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path, WAIT, send=signal.SIGTERM)
    assert ended.run(server)["state"] == "stopped"
    assert ended.code == -signal.SIGTERM


def test_a_handler_of_the_users_own_decides(server: Server, tmp_path: Path) -> None:
    ending = """
def mine(number, frame):
    print("saved a checkpoint", flush=True)
    sys.exit(7)
"""
    # the handler must be there before `watch`, which then calls it
    script = PREFIX.replace("monitor = watch", ending + "signal.signal(signal.SIGTERM, mine)\nmonitor = watch")
    environment = {**os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path)}
    process = warm.Popen(
        [sys.executable, "-c", script + WAIT], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (7, "saved a checkpoint\n")
    wait_until(lambda: server.get(f"runs/{run_id}")["state"] == "stopped", "stopped")


def test_a_forked_child_ends_nothing_of_its_parent(server: Server, tmp_path: Path) -> None:
    ending = """
child = os.fork()
if child == 0:
    train(5)
    sys.exit(0)
os.waitpid(child, 0)
train(10)
"""
    ended = Ended(server, tmp_path, ending)
    run = ended.run(server)
    assert (run["state"], run["last_step"], ended.code) == ("finished", 29, 0)
    assert run["attempts"] == 1


def test_two_monitors_of_one_process_both_end(server: Server, tmp_path: Path) -> None:
    ending = """
other = torch.nn.Linear(2, 1)
second = watch(other, torch.optim.SGD(other.parameters(), lr=0.1), name="second")
print(second.run_id, flush=True)
"""
    ended = Ended(server, tmp_path, ending)
    assert ended.run(server)["state"] == "finished"
    second = ended.out.strip()
    wait_until(lambda: server.get(f"runs/{second}")["state"] == "finished", "the end of the second")
