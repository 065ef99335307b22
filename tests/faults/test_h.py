"""H1 to H13: the hook never harms a training. What is not here has the name in another file:

H1 also test_server_faults, H2 test_outage, H4 test_spool_faults, H5 test_kill_training, H6 and H7 test_endings, H8
tests/trainings/loops and tests/client_hook/test_bit_identity, H9 test_overhead, H11 tests/test_wheel and
benchmarks/footprint.
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client_hook import watch
from tests import warm
from tests.counts import count, patience
from tests.faults.kit import losses, sync, train
from tests.faults.test_server_faults import ANSWERS, sick_server
from tests.serving import ROOT, Server

LONGEST_STEP_S = 2.0  # what waits for a server waits longer


def small() -> tuple[nn.Module, torch.optim.Optimizer]:
    model = nn.Linear(2, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.01)


def steps(monitor: Any, model: nn.Module, optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    """Trains, and gives the microseconds of each `step()`."""
    took = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model(torch.ones(4, 2)).square().mean()
        loss.backward()
        optimizer.step()
        began = time.perf_counter()
        monitor.step(loss)
        took.append(1e6 * (time.perf_counter() - began))
    return took


@contextmanager
def slow_loris() -> Iterator[str]:
    """Answers a byte at a time, for ever."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip(connection: socket.socket) -> None:
            with connection:
                try:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                    while not ended.wait(0.05):
                        connection.sendall(b" ")
                except OSError:
                    return

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)


@contextmanager
def fault(name: str) -> Iterator[str]:
    """Gives the address of a server that is sick in this way."""
    if name == "refuses":
        yield "http://127.0.0.1:9"
    elif name == "has no name":
        yield "http://no-such-host.invalid:8777"
    elif name == "speaks no TLS":
        with sick_server(ANSWERS["answers garbage"]) as url:
            yield url.replace("http://", "https://")
    elif name == "drips":
        with slow_loris() as url:
            yield url
    else:
        with sick_server(ANSWERS[name]) as url:
            yield url


@pytest.mark.parametrize("name", [*ANSWERS, "refuses", "has no name", "speaks no TLS", "drips"])
def test_h1_no_public_call_raises_whatever_the_server_does(name: str) -> None:
    model, optimizer = small()
    with fault(name) as url, watch(model, optimizer, url=url, strict=False, on_finding=lambda _: None) as monitor:
        took = steps(monitor, model, optimizer, 150)
        monitor.step(1.0, part=2.0)
        monitor.validation(1.0, accuracy=0.5)
        monitor.log(a=1, step=7)
        monitor.note("a note")
        monitor.event("restart", why="because")
        assert monitor.findings() == []
        assert monitor.should_stop is False
        assert monitor.url == f"{url}/runs/{monitor.run_id}"
        assert 0.0 <= monitor.overhead <= 1.0
        assert monitor.finish(timeout=0.3) is False
    ledger = monitor.ledger
    assert ledger["dropped"] == {}
    assert ledger["produced"] == ledger["spooled"] + ledger["queued"] > 300
    print(json.dumps({"fault": name, "step_us_p99": round(sorted(took)[148])}))
    assert max(took) < 1e6 * patience(LONGEST_STEP_S), "no step waits for the server"


@pytest.mark.timeout(240)
def test_h3_sync_twice_delivers_once(tmp_path: Path) -> None:
    training = train(tmp_path / "hook", "http://127.0.0.1:9", steps=200)
    training.end()
    server = Server(tmp_path / "server")
    first, second = sync(tmp_path / "hook", server.url), sync(tmp_path / "hook", server.url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "Nothing waits" in second.stdout
    assert losses(server, training.run_id) == {step: loss for step, (_, loss) in training.written().items()}
    assert server.stop() == 0


def test_h4_a_network_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_hook.mounts.network_kind", lambda _: "nfs4")
    model, optimizer = small()
    monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=False)
    steps(monitor, model, optimizer, 5)
    monitor.finish(timeout=0.3)
    assert any(note.startswith("The spool is on a network file system (nfs4)") for note in monitor.ledger["notes"])


RANK = """
import datetime, json, os, signal, sys, torch
from torch import distributed
from client_hook import watch
steps, dies_at = int(sys.argv[1]), int(sys.argv[2])
rank, ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
torch.set_num_threads(1)
torch.manual_seed(rank)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
monitor = watch(model, optimizer)
distributed.init_process_group("gloo", init_method=sys.argv[3], rank=rank, world_size=ranks,
                               timeout=datetime.timedelta(seconds=60))
together, own = True, []
for step in range(steps):
    if rank == ranks - 1 and step == dies_at:
        while monitor.ledger["queued"]:
            pass
        os.kill(os.getpid(), signal.SIGKILL)
    optimizer.zero_grad(); loss = model(torch.randn(8, 4)).square().mean(); loss.backward()
    try:
        if together:
            for parameter in model.parameters():
                distributed.all_reduce(parameter.grad)
    except RuntimeError:
        together = False  # an elastic job goes on with those that are left
    optimizer.step()
    monitor.step(loss)
    own.append(loss.item())
monitor.finish(timeout=10)
print(json.dumps({"run": monitor.run_id, "together": together, "own": own, "ledger": monitor.ledger}), flush=True)
os._exit(0)  # gloo's own ending waits for the dead
"""
RANKS = count(2, 8)
RANK_STEPS, DIES_AT = 150, 60


@pytest.mark.timeout(patience(240))
def test_h7_a_rank_that_dies_takes_nobody_with_it(tmp_path: Path) -> None:
    server = Server(tmp_path / "server")
    job = {"WORLD_SIZE": str(RANKS), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511", "GRADWATCH_STRICT": "0",
           "GRADWATCH_URL": server.url, "GRADWATCH_HOME": str(tmp_path / "hook"), "GRADWATCH_QUIET": "1"}  # fmt: skip
    meeting = f"file://{tmp_path / 'meeting'}"
    processes = [
        warm.Popen(
            [sys.executable, "-c", RANK, str(RANK_STEPS), str(DIES_AT), meeting], cwd=ROOT, text=True,
            env={**os.environ, **job, "RANK": str(rank)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    ended = [process.communicate(timeout=patience(100)) for process in processes]
    assert [process.returncode for process in processes] == [0] * (RANKS - 1) + [-signal.SIGKILL], ended
    survivors = [json.loads(out) for out, _ in ended[:-1]]
    (run_id,) = {survivor["run"] for survivor in survivors}
    assert sync(tmp_path / "hook", server.url).returncode == 0
    for rank, survivor in enumerate(survivors):
        assert survivor["together"] is False, "the death was noticed, and outlived"
        assert survivor["ledger"]["dropped"] == {}
        found = server.get(f"runs/{run_id}/series/data?name=loss&rank={rank}&points=1000")["items"][0]
        assert dict(zip(found["steps"], found["first"], strict=True)) == pytest.approx(dict(enumerate(survivor["own"])))
        assert set(found["count"]) == {1}, "each step once"
    dead = server.get(f"runs/{run_id}/series/data?name=loss&rank={RANKS - 1}&points=1000")["items"][0]
    assert dead["steps"][: DIES_AT - 1] == list(range(DIES_AT - 1)), "the dead rank's own, up to its last second"
    print(json.dumps({"ranks": RANKS, "steps": RANK_STEPS, "dead_rank_steps": len(dead["steps"])}))
    assert server.stop() == 0


SOAK = """
import json, psutil, sys, threading, torch
from client_hook import watch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
monitor = watch(model, optimizer)
process = psutil.Process()
def calls(count):
    for number in range(count):
        monitor.log(a=float(number))
        if number % 1000 == 0:
            while monitor.ledger["queued"] > 20_000:
                threading.Event().wait(0.01)
def facts():
    return process.memory_info().rss, process.num_threads(), process.num_fds()
calls(50_000)
before = facts()
calls(int(sys.argv[1]))
print(json.dumps([before, facts()]))
monitor.finish(timeout=0.1)
"""


SOAK_CALLS = count(250_000, 10_000_000)


@pytest.mark.timeout(patience(240))
def test_h10_memory_threads_and_files_stay_as_they_are(tmp_path: Path) -> None:
    environment = {**os.environ, "GRADWATCH_HOME": str(tmp_path), "GRADWATCH_URL": "http://127.0.0.1:9"}
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(SOAK_CALLS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=patience(200),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (rss, threads, files), (rss_after, threads_after, files_after) = json.loads(done.stdout)
    print(json.dumps({"calls": SOAK_CALLS, "rss_growth_mb": round((rss_after - rss) / 1e6, 1)}))
    assert rss_after - rss < 20e6
    assert threads_after <= threads
    assert files_after <= files + 1


TEN_HOURS = """
import json, sys, threading
from tests.trainings.clock import CLOCK
import psutil, torch
from client_hook import watch
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(), torch.nn.Linear(32, 4))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
monitor = watch(model, optimizer)
process = psutil.Process()
x, y = torch.randn(64, 16), torch.randint(0, 4, (64,))
def train(steps, hours):
    for number in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        CLOCK.work(3600 * hours / steps)
        monitor.step(loss, part=loss)
        if number % 100 == 0:
            model.eval()
            with torch.no_grad():
                CLOCK.work(1.0)
                monitor.validation(torch.nn.functional.cross_entropy(model(x), y), accuracy=0.5)
            model.train()
            monitor.log(mine=float(number), epoch=number // 100)
            while monitor.ledger["queued"] > 20_000:
                threading.Event().wait(0.01)
def facts():
    return process.memory_info().rss, process.num_threads(), process.num_fds()
steps = int(sys.argv[1])
train(steps // 5, 1.0)
before, began = facts(), CLOCK.now
train(steps, 10.0)
parts = monitor._parts
told = {"hours": (CLOCK.now - began) / 3600, "steps": parts.recorder.governor.steps,
        "sampled": parts.recorder.governor.sampled_steps, "dropped": monitor.ledger["dropped"]}
print(json.dumps([before, facts(), told]))
monitor.finish(timeout=0.1)
"""
TEN_HOURS_STEPS = count(1_500, 36_000)


@pytest.mark.timeout(patience(240))
def test_h10_ten_hours_of_training_take_no_more_than_the_first(tmp_path: Path) -> None:
    """The clock is the test's own, so that ten hours of steps, samples, validations and retries pass in a moment."""
    environment = {**os.environ, "GRADWATCH_HOME": str(tmp_path), "GRADWATCH_URL": "http://127.0.0.1:9",
                   "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", TEN_HOURS, str(TEN_HOURS_STEPS)], cwd=ROOT, env=environment, capture_output=True,
        text=True, timeout=patience(200), check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (rss, threads, files), (rss_after, threads_after, files_after), told = json.loads(done.stdout)
    print(json.dumps({**told, "rss_growth_mb": round((rss_after - rss) / 1e6, 1)}))
    assert told["hours"] >= 10.0
    assert told["steps"] >= TEN_HOURS_STEPS
    assert told["sampled"] > 200, "it was measured all the while"
    assert told["dropped"] == {}
    assert rss_after - rss < 20e6
    assert threads_after <= threads
    assert files_after <= files + 1


def test_h10_five_thousand_layers_are_one_step(tmp_path: Path) -> None:
    model = nn.ModuleList([nn.Linear(1, 1) for _ in range(5_000)])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = watch(model, optimizer, url="http://127.0.0.1:9")
    for _ in range(2):
        loss = sum(layer(torch.ones(1, 1)) for layer in model).sum()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=2.0)
    ledger = monitor.ledger
    assert ledger["produced"] > 5_000 * (5 + 2 + 4), "outputs, gradients, weights and updates of one step at least"
    assert ledger["dropped"] == {}


class Hostile:
    """Raises whatever it is asked."""

    def __float__(self) -> float:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        raise RuntimeError("no")


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE
ACCEPTED = [math.nan, math.inf, -math.inf, True, 10**400, 2**70, torch.tensor(1.0, dtype=torch.bfloat16),
            torch.tensor([1.0, 2.0]), torch.tensor(3), 0,
            np.float32(0.5), np.float16(0.5), np.float64(0.5), np.longdouble(0.5), np.int64(3), np.uint8(3),
            np.bool_(True), np.float64("nan"), np.array(0.5), np.array(3),
            torch.tensor(1.0, requires_grad=True), torch.tensor(1.0, dtype=torch.bfloat16, requires_grad=True),
            torch.tensor(1.0, dtype=torch.float16), torch.tensor(1.0, dtype=torch.float64), torch.tensor(True),
            torch.tensor(math.inf), torch.tensor([[2.0]]), nn.Parameter(torch.tensor(1.0)),
            Fraction(1, 3), Decimal("0.5")]  # fmt: skip
REFUSED = [1 + 2j, "0.5", None, Hostile(), torch.zeros(0), torch.tensor(1j), [1.0], {}, object(),
           np.complex64(1j), np.str_("0.5"), np.array([1.0, 2.0]), np.zeros(0), np.datetime64("2026-01-01"),
           torch.zeros((), device="meta"), b"0.5", float, nn.Linear(1, 1)]  # fmt: skip
NAMES = [
    "émoji 🙂",
    "nul\0in it",
    "right\u202eto left",
    "lone \ud800 surrogate",
    "x" * 5_000,
    "",
    "a/b.c d",
    "<script>",
]


def test_h12_each_value_is_taken_or_refused_with_a_reason_and_counted() -> None:
    model, optimizer = small()
    monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=False)
    for value in ACCEPTED:
        before = monitor.ledger["produced"]
        monitor.log(mine=value)
        assert monitor.ledger["produced"] == before + 1, repr(value)
    assert monitor.ledger["notes"] == []
    for number, value in enumerate(REFUSED, 1):
        before = monitor.ledger["produced"]
        monitor.log(mine=value)
        assert monitor.ledger["produced"] == before, number
        said = monitor.ledger["notes"]
        assert all("NotANumber: mine: got " in note for note in said)
        assert sum(int(note.rpartition("(")[2].split()[0]) for note in said) == number, "each refusal is counted"
    monitor.finish(timeout=0.1)
    assert monitor.ledger["dropped"] == {}


def test_h12_values_are_taken_or_counted_with_a_reason() -> None:
    model, optimizer = small()
    config = {"cycle": CYCLE, "large": "x" * 10_000_000, 3: Hostile(), "set": {1, 2}, "numbers": list(range(100_000))}
    monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=False, config=config, tags=NAMES, name=NAMES[0])
    for value in [*ACCEPTED, *REFUSED]:
        optimizer.step()
        monitor.step(value, part=value)
        monitor.validation(value, metric=value)
        monitor.log(mine=value, epoch=value)
        monitor.event("kind", value=value)
    for name in NAMES:
        monitor.log(**{name: 1.0})
        monitor.note(name)
        monitor.event(name, **{name: name})
    for step in (2**80, -5, "3", None, 1.5, True):
        monitor.log(step=step, at=1.0)
    monitor.finish("finished", timeout=0.3)
    ledger = monitor.ledger
    fates = ledger["delivered"] + ledger["spooled"] + ledger["queued"] + sum(ledger["dropped"].values())
    assert ledger["produced"] == fates > 100
    said = " ".join(ledger["notes"])
    for words in ("loss: got (1+2j), expected a number or a tensor", "step: got '3', expected a whole number"):
        assert words in said, said
    assert "Error: " not in said.replace("NotANumber", "").replace("TypeError: step", ""), "no error of the hook's own"


@pytest.mark.timeout(240)
def test_h13_clocks_may_jump_and_steps_may_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(tmp_path / "server")
    model, optimizer = small()
    monitor = watch(model, optimizer, url=server.url)
    real = time.time_ns
    for jump_s in (0, -3600, 86_400, 0):
        monkeypatch.setattr(time, "time_ns", lambda jump=jump_s: real() + jump * 1_000_000_000)
        steps(monitor, model, optimizer, 30)
    for step in (5, 9, 9, 2, 0, 9, 3):
        monitor.log(step=step, mine=float(step))
    assert monitor.finish()
    assert sorted(losses(server, monitor.run_id)) == list(range(120))
    found = server.get(f"runs/{monitor.run_id}/series/data?name=mine&points=100")["items"][0]
    assert sum(found["count"]) == 7, "repeated and reversed steps are all there"
    assert server.get(f"runs/{monitor.run_id}")["attempts"] == 1
    monkeypatch.setattr(time, "time_ns", real)
    model, optimizer = small()
    again = watch(model, optimizer, url=server.url, run_id=monitor.run_id, config={"first_step": 60})
    steps(again, model, optimizer, 10)
    assert again.finish()
    run = server.get(f"runs/{monitor.run_id}")
    assert run["attempt_list"][-1]["first_step"] == 60
    latest = server.get(f"runs/{monitor.run_id}/series/data?name=loss&points=100")["items"][0]
    assert (latest["steps"][0], sum(latest["count"])) == (60, 10)
    everything = server.get(f"runs/{monitor.run_id}/series/data?name=loss&points=2000&attempt=all")["items"]
    assert [sum(item["count"]) for item in everything] == [120, 10], "nothing was overwritten"
    traces = server.get(f"runs/{monitor.run_id}/charts/loss")["figure"]["data"]
    assert [trace["name"] for trace in traces if trace.get("visible") == "legendonly"] == [
        "loss · attempt 1, replaced from step 60 on"
    ]
    assert server.stop() == 0
