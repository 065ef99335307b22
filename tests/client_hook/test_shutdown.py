"""How a process ends, and what the server learns of it: real processes, a real server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
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


def test_an_exit_code_is_a_failure_with_what_led_to_it(server: Server, tmp_path: Path) -> None:
    ending = """
def main():
    try:
        raise RuntimeError("no more memory")
    except RuntimeError:
        sys.exit(3)
main()
"""
    ended = Ended(server, tmp_path, ending)
    assert (ended.run(server)["state"], ended.code) == ("failed", 3)
    with urllib.request.urlopen(f"{server.url}/runs/{ended.run_id}/fragments/flight", timeout=20) as page:
        assert b"It ended with RuntimeError: no more memory" in page.read()


def test_an_exit_that_is_caught_ends_nothing(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path, "try:\n    sys.exit(3)\nexcept SystemExit:\n    train(5)")
    assert (ended.run(server)["state"], ended.code) == ("finished", 0)


MAIN = """
import multiprocessing, os, sys, torch
from client_hook import watch
def work(ending):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, run_id=f"forked-{ending}")
    for step in range(20):
        optimizer.zero_grad(); loss = model(torch.randn(4, 2)).square().mean(); loss.backward(); optimizer.step()
        monitor.step(loss)
    if ending == "exception":
        raise ValueError("the data ran out")
    if ending == "exit":
        sys.exit(3)
for ending in ("return", "exception", "exit"):
    process = multiprocessing.get_context("fork").Process(target=work, args=(ending,))
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_a_training_in_a_forked_process_ends_as_any_other(server: Server, tmp_path: Path) -> None:
    environment = {**os.environ, "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path)}
    done = warm.run([sys.executable, "-c", MAIN], cwd=ROOT, env=environment, text=True, timeout=100)
    assert done.stdout.split() == ["0", "1", "3"], done.stderr
    runs = [server.get(f"runs/forked-{ending}") for ending in ("return", "exception", "exit")]
    assert [(run["state"], run["last_step"]) for run in runs] == [("finished", 19), ("failed", 19), ("failed", 19)]


WRAPPED = """
calls = []
earlier, earlier_term = sys.excepthook, signal.getsignal(signal.SIGTERM)
sys.excepthook = lambda *what: (calls.append(what), earlier(*what))
signal.signal(signal.SIGTERM, lambda *what: (calls.append(what), earlier_term(*what)))
monitor.finish()
other = torch.nn.Linear(2, 1)
second = watch(other, torch.optim.SGD(other.parameters(), lr=0.1), name="second")
import atexit
atexit.register(lambda: print(second.run_id, len(calls)))
"""


def test_who_wraps_our_handlers_between_two_monitors_is_called_once(server: Server, tmp_path: Path) -> None:
    ended = Ended(server, tmp_path / "one", WRAPPED + "raise ValueError('the data ran out')")
    second, calls = ended.out.split()
    assert (calls, ended.code, ended.errors.count("ValueError")) == ("1", 1, 1), ended.errors
    assert server.get(f"runs/{second}")["state"] == "failed"
    ended = Ended(server, tmp_path / "two", WRAPPED + "os.kill(os.getpid(), signal.SIGTERM)")
    assert (ended.code, ended.errors) == (-signal.SIGTERM, "")


def test_sigterm_while_a_process_ends_leaves_it_the_time(server: Server, tmp_path: Path) -> None:
    ending = """
stop = monitor._stop
def late(state):
    os.kill(os.getpid(), signal.SIGTERM)
    return stop(state)
monitor._stop = late
"""
    ended = Ended(server, tmp_path, ending)
    assert (ended.run(server)["state"], ended.code) == ("finished", -signal.SIGTERM)
