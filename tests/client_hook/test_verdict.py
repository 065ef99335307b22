"""The last lines of a training: what was found in the whole run, also in one that lasted a second."""

from __future__ import annotations

import io
import os
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from client_hook import verdict, watch
from client_hook.settings import Settings
from tests import warm
from tests.serving import ROOT, Server
from tests.trainings.cast import CAST


@pytest.fixture
def talkative(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the hook print, and gives a busy machine time for the diagnosis."""
    monkeypatch.delenv("GRADWATCH_QUIET")
    monkeypatch.setattr(verdict, "WAIT_S", 30.0)


def talking(url: str, home: Path) -> dict[str, str]:
    """Gives the environment of a process that tells what was found."""
    others = {name: value for name, value in os.environ.items() if name != "GRADWATCH_QUIET"}
    return {**others, "GRADWATCH_URL": url, "GRADWATCH_HOME": str(home), "OMP_NUM_THREADS": "1"}


@pytest.mark.usefixtures("talkative")
def test_a_short_training_ends_with_what_the_whole_run_shows(server: Server, capsys: pytest.CaptureFixture) -> None:
    run_id = CAST["GW206"](True, server.url)
    said = capsys.readouterr().err.splitlines()
    told = {  # where enough labels were counted the more telling name
        "GW206 loss-not-decreasing: After 500 steps the loss shows no progress": "Overfit 10 samples",
        "GW102 input-independent-baseline: After 500 steps the model gains nothing": "Print ten inputs",
    }
    assert said[-3].startswith("Gradwatch found ")
    (first,) = [advice for finding, advice in told.items() if finding in said[-3]]
    assert said[-2].startswith(f"  First: {first}")
    assert said[-1] == f"  {server.url}/runs/{run_id}"


@pytest.mark.usefixtures("talkative")
def test_a_healthy_training_is_told_so(server: Server, capsys: pytest.CaptureFixture) -> None:
    run_id = CAST["GW206"](False, server.url)
    said = capsys.readouterr().err.splitlines()
    assert said[-2:] == ["Gradwatch found no problem.", f"  {server.url}/runs/{run_id}"]


def test_the_last_ledger_says_that_everything_arrived(server: Server) -> None:
    run_id = CAST["GW302"](False, server.url)
    ledger = server.get(f"runs/{run_id}")["facts"]["ledger"]
    assert ledger["produced"] == ledger["delivered"] > 1000
    assert (ledger["spooled"], ledger["queued"], ledger["dropped"]) == (0, 0, {})


class Odd(BaseHTTPRequestHandler):
    """Answers every question with the same bytes."""

    answer = b""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.answer)))
        self.end_headers()
        self.wfile.write(self.answer)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


@pytest.mark.parametrize("answer", [b"", b"[1", b'{"diagnosis": "live"}', b'{"diagnosis": "final", "findings": 3}'])
def test_a_server_that_answers_oddly_is_not_waited_for_long(answer: bytes, tmp_path: Path) -> None:
    odd = ThreadingHTTPServer(("127.0.0.1", 0), type("Same", (Odd,), {"answer": answer}))
    threading.Thread(target=odd.serve_forever, daemon=True).start()
    settings = Settings(url=f"http://127.0.0.1:{odd.server_port}", home=tmp_path)
    try:
        assert verdict.wait_for(settings, "some/id", 0.3) is None
    finally:
        odd.shutdown()
        odd.server_close()


def test_nobody_there_is_no_verdict(tmp_path: Path) -> None:
    assert verdict.wait_for(Settings(url="http://127.0.0.1:9", home=tmp_path), "x", 0.3) is None


def finding(code: str, severity: str, first_step: int, message: str, state: str = "open") -> dict[str, object]:
    return {
        "code": code,
        "name": "name",
        "severity": severity,
        "state": state,
        "first_step": first_step,
        "message": message,
    }


def test_of_the_worst_findings_the_one_is_told_that_the_server_put_first() -> None:
    found = [
        finding("GW205", "warning", 1, "mild"),
        finding("GW202", "error", 9, "the cause"),
        finding("GW304", "error", 0, "a later stage"),
        finding("GW601", "error", 0, "over", "resolved"),
        {**finding("GW602", "error", 0, "what followed"), "cause": "2"},
    ]
    told = "Gradwatch found 2 errors, 1 warning. GW202 name: the cause"
    assert verdict.lines(found, "http://here", delivered=True) == [told, "  http://here"]
    found[1]["advice"] = "Lower the rate.\nThen look again."
    lines = verdict.lines(found, "http://here", delivered=True)
    assert lines == [told, "  First: Lower the rate. Then look again.", "  http://here"]
    assert verdict.lines([], "http://here", delivered=True) == ["Gradwatch: not all is judged yet; see http://here"]
    assert verdict.lines([], "http://here", delivered=False, kept=False) == [
        "Gradwatch: not everything could be delivered; neither server nor disk took the rest"
    ]
    assert verdict.lines([], "http://here", delivered=False) == [
        "Gradwatch: not everything could be delivered; deliver it later with: gradwatch sync"
    ]


def test_a_muted_finding_is_not_told() -> None:
    found = [{**finding("GW202", "error", 0, "known"), "muted": True}, finding("GW205", "warning", 3, "new")]
    lines = verdict.lines(found, "http://here", delivered=True, final=True)
    assert lines[0] == "Gradwatch found 1 warning. GW205 name: new"
    lines = verdict.lines(found[:1], "http://here", delivered=True, final=True)
    assert lines == ["Gradwatch found no problem (1 muted).", "  http://here"]


@pytest.mark.usefixtures("talkative")
def test_a_run_without_a_step_is_not_called_sound(server: Server, capsys: pytest.CaptureFixture) -> None:
    model = torch.nn.Linear(2, 1)
    with watch(model, torch.optim.SGD(model.parameters(), lr=0.1), url=server.url) as monitor:
        pass
    assert capsys.readouterr().err.splitlines()[-2:] == [
        "Gradwatch saw no step.",
        f"  {server.url}/runs/{monitor.run_id}",
    ]
    lines = verdict.lines([], "u", delivered=True, final=True, stepped=False, exception="NameError: opt")
    assert lines[0] == "The run was ended by NameError: opt. Gradwatch saw no step before it."


ENDED_BY = """
import sys, torch
from client_hook import verdict, watch
verdict.WAIT_S = 30.0
model = torch.nn.Linear(4, 2)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
def train():
    for step in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 2)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    {last}
{how}
"""
INSIDE = "with watch(model, optimizer, name='ended') as monitor:\n    train()"
OUTSIDE = "monitor = watch(model, optimizer, name='ended')\ntrain()"


@pytest.mark.parametrize("how", [INSIDE, OUTSIDE], ids=["in a with block", "to the end of the process"])
@pytest.mark.parametrize(
    ("last", "said"),
    [
        ("raise MemoryError", "The run was ended by MemoryError. Gradwatch found no problem before it."),
        ("raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.\\nMore')",
         "The run was ended by OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. Gradwatch found no "),
        ("torch.empty(1 << 60)", "The run was ended by RuntimeError: "),
    ],
)  # fmt: skip
def test_what_ended_the_run_is_said_where_no_problem_was_found(
    server: Server, tmp_path: Path, how: str, last: str, said: str
) -> None:
    code = ENDED_BY.format(last=last, how=how)
    done = warm.run([sys.executable, "-c", code], env=talking(server.url, tmp_path), cwd=ROOT, text=True)
    assert done.returncode == 1
    told = [line for line in done.stderr.splitlines() if "Gradwatch found" in line]
    assert len(told) == 1, done.stderr
    assert told[0].startswith(said)


IN_A_FUNCTION = """
import torch
from client_hook import shutdown, verdict, watch
shutdown.finish_all.__kwdefaults__["deadline_s"], verdict.WAIT_S = 60.0, 30.0  # a busy machine takes its time
def main():
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer)
    for _ in range(20):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.randn(8, 4)), torch.arange(8) % 2)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
main()
"""


def test_a_training_in_a_function_that_ends_the_process_is_told_too(server: Server, tmp_path: Path) -> None:
    done = warm.run([sys.executable, "-c", IN_A_FUNCTION], env=talking(server.url, tmp_path), cwd=ROOT, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("Gradwatch found ")], done.stderr


def test_a_training_in_a_function_says_that_a_silent_server_has_not_got_it_all(tmp_path: Path) -> None:
    code = IN_A_FUNCTION.replace("60.0, 30.0", "2.0, 1.0")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = warm.run([sys.executable, "-c", code], env=talking(url, tmp_path), cwd=ROOT, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == (
        "Gradwatch: not everything could be delivered; deliver it later with: gradwatch sync"
    )


def test_what_ended_the_run_comes_before_what_was_found() -> None:
    finding = {"state": "open", "severity": "error", "code": "GW704", "name": "memory-growth", "message": "It grows"}
    out_of = "OutOfMemoryError: CUDA out of memory.\nTraceback"
    first, where = verdict.lines([finding], "u", delivered=True, final=True, exception=out_of)
    assert first == (
        "The run was ended by OutOfMemoryError: CUDA out of memory. Gradwatch found 1 error. GW704 memory-growth: It "
        "grows"
    )
    assert where == "  u"
    assert verdict.lines([], "u", delivered=True, exception="MemoryError: ") == [
        "The run was ended by MemoryError. Gradwatch: not all is judged yet; see u"
    ]


def test_without_a_stderr_nothing_is_said_on_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stderr", None)
    verdict.tell([], "http://127.0.0.1:8777/runs/1", delivered=True)
    assert capsys.readouterr().out == ""


def test_a_line_is_written_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []

    class Terminal(io.StringIO):
        def write(self, text: str) -> int:
            written.append(text)
            return len(text)

    monkeypatch.setattr("sys.stderr", Terminal())
    verdict.tell([], "u", delivered=True, final=True)
    assert [text for text in written if text] == ["Gradwatch found no problem.\n", "  u\n"]
