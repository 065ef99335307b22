"""The demo on a home that has people: its trainings get a token of their own, and leave none behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from server import demo_token
from server.accounts.book import Accounts
from server.domain.accounts import Token
from server.store import Store
from tests.server.accounts.kit import quick_passwords
from tests.server.store.kit import url_in
from tests.serving import ROOT

SHORT = ("demo", "--port", "0", "--epochs", "1", "--exit")
PROVIDER = {
    "GRADWATCH_OIDC_ISSUER": "https://login.lab.example",
    "GRADWATCH_OIDC_CLIENT_ID": "gradwatch",
    "GRADWATCH_OIDC_DOMAINS": "lab.example",
}


def tokens_in(home: Path) -> list[Token]:
    store = Store.open(url_in(home))
    try:
        return list(store.tokens.list())
    finally:
        store.close()


def with_ada(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)
    store = Store.open(url_in(home))
    Accounts(store).add_person("ada", "admin", "seven green bicycles", who="the test")
    store.close()


def test_on_a_home_with_people_its_trainings_have_a_token_that_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_ada(tmp_path, monkeypatch)
    elsewhere = tmp_path / "elsewhere"
    done = subprocess.run(
        [sys.executable, "-m", "client_hook.cli", *SHORT, "--home", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "GRADWATCH_TOKEN": "gw_x", "GRADWATCH_HOME": str(elsewhere)},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "wants a token" not in done.stderr
    assert "People sign in at this server; the trainings have a token of their own." in done.stderr
    (token,) = tokens_in(tmp_path)
    assert (token.name, token.scope.value, token.made_by, token.state(0)) == ("demo", "ingest", "the demo", "revoked")
    assert token.expires_ms is not None
    store = Store.open(url_in(tmp_path))
    assert [run.state.value for run in store.runs.page().items] == ["finished", "finished"]
    store.close()
    assert not list(tmp_path.rglob("*.spool")), "everything was delivered"
    assert not elsewhere.exists(), "and nothing was written anywhere but in its home"


def test_an_open_home_needs_no_token_and_is_left_as_it_is(tmp_path: Path) -> None:
    with demo_token.taken(str(tmp_path / "new"), {}) as token:
        assert token is None
    assert not (tmp_path / "new").exists()
    Store.open(url_in(tmp_path)).close()
    with demo_token.taken(str(tmp_path), {}) as token:
        assert token is None
    assert tokens_in(tmp_path) == []


def test_the_servers_own_token_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ada(tmp_path, monkeypatch)
    with demo_token.taken(str(tmp_path), {"GRADWATCH_SERVER_TOKEN": "k" * 32}) as token:
        assert token == "k" * 32
    assert tokens_in(tmp_path) == []


def test_a_server_with_a_provider_asks_for_one_though_nobody_has_an_account(tmp_path: Path) -> None:
    with demo_token.taken(str(tmp_path / "new"), PROVIDER) as token:
        assert token is not None
        assert token.startswith("gw_")
    assert [one.state(0) for one in tokens_in(tmp_path / "new")] == ["revoked"]


def test_one_that_was_killed_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_ada(tmp_path, monkeypatch)
    store = Store.open(url_in(tmp_path))
    Accounts(store).add_token("demo", "ingest", 1.0, who="the demo")
    store.close()
    with demo_token.taken(str(tmp_path), {}) as token:
        assert token is not None
    assert {(one.name, one.state(0)) for one in tokens_in(tmp_path)} == {("demo", "valid"), ("demo 2", "revoked")}


def test_what_is_wrong_is_left_for_the_server_to_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with demo_token.taken(str(tmp_path), {"GRADWATCH_PORT": "x"}) as token:
        assert token is None
    with_ada(tmp_path, monkeypatch)
    store = Store.open(url_in(tmp_path))
    with demo_token.taken(str(tmp_path), {}) as token:
        assert token is None, "another process has the database, which the server says"
    store.close()
