"""A shared server as its people use it: real processes, an ingest token for a real training, names and passwords."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import nn, ones, optim

from client_hook import verdict, watch
from tests.serving import ROOT, Server

PASSWORD = "seven green bicycles"
Shared = tuple[Server, dict[str, str]]


def gradwatch(home: Path, *words: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command as a user types it."""
    return subprocess.run(
        [sys.executable, "-m", "client_hook.cli", *words, "--home", str(home)], cwd=ROOT, input=given,
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def ask(server: Server, path: str, token: str = "", method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request(method, path, headers={"Authorization": f"Bearer {token}"} if token else {})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body.startswith(b"{") else body


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Shared]:
    """A server that others can reach, with an admin and a token of each scope, and none of its own."""
    home = tmp_path / "server"
    done = gradwatch(home, "user", "add", "ada", "--role", "admin", given=PASSWORD + "\n")
    assert done.returncode == 0, done.stderr
    tokens = {}
    for scope in ("ingest", "read"):
        tokens[scope] = gradwatch(home, "token", "add", scope, "--scope", scope).stdout.strip()
    server = Server(home, "--host", "0.0.0.0")
    yield server, tokens
    server.stop()


def train(server: Server, token: str, steps: int = 300, *, patience_s: float = 60.0, **more: Any) -> Any:
    """Trains with a learning rate that is far too high, and finishes."""
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=3.0)
    monitor = watch(model, optimizer, url=server.url, token=token, **more)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = ((model(ones(8, 4)) - 1) ** 2).mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=patience_s)
    return monitor


def test_an_ingest_token_is_enough_for_a_training_and_shows_nothing_else(
    shared: Shared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    server, tokens = shared
    monkeypatch.delenv("GRADWATCH_QUIET", raising=False)
    monkeypatch.setattr(verdict, "WAIT_S", 60.0)
    monitor = train(server, tokens["ingest"])
    said = capsys.readouterr().err
    assert "Gradwatch found " in said, said
    assert [item["code"] for item in monitor.findings() if item["severity"] == "error"] != []
    assert monitor.ledger["spooled"] == monitor.ledger["queued"] == 0
    run_id = monitor.run_id
    train(server, tokens["ingest"], 50, run_id=run_id)
    assert ask(server, f"/api/v1/runs/{run_id}", tokens["read"])[1]["attempts"] == 2
    for path in ("", "/findings", "/series", "/checklist", "/remarks"):
        assert ask(server, f"/api/v1/runs/{run_id}{path}", tokens["ingest"])[0] == 403
    assert ask(server, "/api/v1/runs", tokens["ingest"])[0] == 403
    told = ask(server, f"/api/v1/runs/{run_id}/verdict", tokens["ingest"])[1]
    assert set(told) == {"diagnosis", "findings"}
    short = {"id", "code", "name", "severity", "state", "first_step", "message", "advice", "cause", "muted"}
    assert {name for item in told["findings"] for name in item} <= short


def test_status_and_sync_need_no_more_than_an_ingest_token(shared: Shared) -> None:
    server, tokens = shared
    home = Path(os.environ["GRADWATCH_HOME"])
    code = (
        "from client_hook import watch\nfrom torch import nn, optim\nmodel = nn.Linear(2, 1)\n"
        f"monitor = watch(model, optim.SGD(model.parameters(), 0.1), url={server.url!r}, token='gw_' + 'x' * 43)\n"
        "for step in range(20): monitor.step(0.5)\n"
        "monitor.finish(timeout=0.5)\nassert monitor.ledger['spooled'] > 0\nprint(monitor.run_id)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    run_id = done.stdout.strip()
    told = gradwatch(home, "status", GRADWATCH_URL=server.url, GRADWATCH_TOKEN="gw_" + "x" * 43)
    assert "answers, but does not know the token: set GRADWATCH_TOKEN" in told.stdout
    told = gradwatch(home, "status", GRADWATCH_URL=server.url, GRADWATCH_TOKEN=tokens["ingest"])
    assert re.search(r"server +\S+ +answers\n", told.stdout), told.stdout
    done = gradwatch(home, "sync", GRADWATCH_URL=server.url, GRADWATCH_TOKEN=tokens["ingest"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert " delivered " in done.stdout
    assert ask(server, f"/api/v1/runs/{run_id}", tokens["read"])[1]["id"] == run_id


def test_what_a_reading_token_sends_is_refused_and_kept(shared: Shared) -> None:
    server, tokens = shared
    monitor = train(server, tokens["read"], 20, patience_s=2.0)
    assert monitor.ledger["spooled"] > 0
    assert ask(server, "/api/v1/runs", tokens["read"])[1]["items"] == []


def test_nobody_unknown_comes_in_and_no_secret_is_in_the_log(shared: Shared) -> None:
    server, tokens = shared
    assert ask(server, "/api/v1/runs")[0] == 401
    assert ask(server, "/api/v1/runs", "gw_wrong")[0] == 401
    assert ask(server, "/api/v1/runs", tokens["read"])[0] == 200
    assert ask(server, f"/api/v1/runs?token={tokens['read']}")[0] == 401
    server.log.seek(0)
    log = server.log.read()
    assert not any(secret in log for secret in (*tokens.values(), PASSWORD, "gw_wrong"))


def test_a_server_that_others_reach_does_not_start_without_anybody(tmp_path: Path) -> None:
    done = gradwatch(tmp_path, "serve", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "nobody has an account. Mend it: gradwatch user add NAME --role admin" in done.stderr
