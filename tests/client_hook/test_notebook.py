"""A real Jupyter kernel: a cell run twice, a cell that is interrupted, a kernel that is restarted; each run ends right.

One kernel and one server for all of it, because both take seconds to start.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.faults.kit import losses, sync
from tests.serving import ROOT, Server, wait_until

PATIENCE_S = 60.0
BEGIN = """
import torch
from client_hook import watch
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
monitor = watch(model, optimizer)
def train(steps):
    for _ in range(steps):
        optimizer.zero_grad(); loss = model(torch.randn(8, 4)).square().mean(); loss.backward(); optimizer.step()
        monitor.step(loss)
train(10)
print(monitor.run_id)
"""
AGAIN = "monitor = watch(model, optimizer); train(5); print(monitor.run_id)"
FOR_EVER = "print('begun', flush=True)\nwhile True: train(1)"
FOR_EVER_IN_A_BLOCK = "with monitor:\n    train(3)\n    print('begun', flush=True)\n    while True: train(1)"
# an interrupt that falls into the first or last line of PyTorch's own `no_grad`, which optimizers step in, leaves it on
UNHARMED = "torch.set_grad_enabled(True)"
LAST = "print(monitor._parts.context.step)"


class Notebook:
    """Runs cells, and gives what they print."""

    def __init__(self, home: Path, url: str) -> None:
        (home / "ipython").mkdir(parents=True)
        self.manager = KernelManager()
        self.manager.start_kernel(
            cwd=str(ROOT),
            env={**os.environ, "GRADWATCH_URL": url, "GRADWATCH_HOME": str(home), "GRADWATCH_STRICT": "0",
                 "GRADWATCH_QUIET": "1", "OMP_NUM_THREADS": "1", "IPYTHONDIR": str(home / "ipython"),
                 "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=PATIENCE_S)

    def run(self, cell: str) -> str:
        """Runs a cell to its end."""
        printed, status = self.finish(self.client.execute(cell))
        assert status == "ok", printed
        return printed.strip()

    def interrupt(self, cell: str) -> None:
        """Runs a cell that does not end by itself, and presses the button."""
        asked = self.client.execute(cell)
        while self.client.get_iopub_msg(timeout=PATIENCE_S)["content"].get("text") != "begun\n":
            pass
        self.manager.interrupt_kernel()
        printed, status = self.finish(asked)
        assert status == "KeyboardInterrupt", printed

    def finish(self, asked: str) -> tuple[str, str]:
        """Waits for the end of a cell; gives what it printed, and "ok" or the name of its exception."""
        printed = ""
        while True:
            message = self.client.get_iopub_msg(timeout=PATIENCE_S)
            if message["parent_header"].get("msg_id") != asked:
                continue
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                break
        while (answer := self.client.get_shell_msg(timeout=PATIENCE_S))["parent_header"].get("msg_id") != asked:
            pass
        reply = answer["content"]
        printed += "\n".join(reply.get("traceback", ()))
        return printed, "ok" if reply["status"] == "ok" else reply.get("ename", reply["status"])

    def end(self) -> None:
        """Ends the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    assert server.stop() == 0


@pytest.fixture
def notebook(server: Server, tmp_path: Path) -> Iterator[Notebook]:
    notebook = Notebook(tmp_path / "hook", server.url)
    yield notebook
    notebook.end()


@pytest.mark.timeout(240)
def test_the_runs_of_a_notebook_end_as_they_ended(notebook: Notebook, server: Server, tmp_path: Path) -> None:
    def state(run_id: str) -> str:
        runs = {run["id"]: run["state"] for run in server.get("runs")["items"]}
        return runs.get(run_id, "unknown")

    def becomes(run_id: str, wanted: str) -> None:
        wait_until(lambda: state(run_id) == wanted, f"{run_id} is {wanted}, not {state(run_id)}")

    first, second = notebook.run(BEGIN), notebook.run(BEGIN)
    assert first != second
    becomes(first, "finished")  # its model was replaced
    becomes(second, "running")
    third = notebook.run(AGAIN)
    becomes(second, "finished")  # the same model is watched anew
    assert sorted(losses(server, second)) == list(range(10))

    notebook.interrupt(FOR_EVER)
    becomes(third, "running")  # the kernel lives, and its user may go on
    notebook.run(f"{UNHARMED}; train(3)")
    last = int(notebook.run(LAST))
    notebook.interrupt(FOR_EVER_IN_A_BLOCK)
    becomes(third, "stopped")
    arrived = losses(server, third)
    assert len(set(range(max(arrived))) - arrived.keys()) <= 2, "an interrupt may fall into the call that tells a loss"
    assert max(arrived) >= last + 3

    fourth = notebook.run(BEGIN)
    becomes(fourth, "running")
    notebook.manager.restart_kernel(now=False)
    notebook.client.wait_for_ready(timeout=PATIENCE_S)
    becomes(fourth, "finished")  # as at the end of a script
    assert sorted(losses(server, fourth)) == list(range(10))

    fifth = notebook.run(BEGIN)
    becomes(fifth, "running")
    notebook.run("while monitor.ledger['queued']: pass")
    notebook.manager.restart_kernel(now=True)  # the kernel is killed
    notebook.client.wait_for_ready(timeout=PATIENCE_S)
    assert sync(tmp_path / "hook").returncode == 0
    becomes(fifth, "crashed")
    assert sorted(losses(server, fifth)) == list(range(10))
