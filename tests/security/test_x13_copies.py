"""X13: what leaves a server as a file. Exports carry no accounts, backups hashes alone; imports overwrite nobody."""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client_hook.cli import main
from server.accounts.book import Accounts, digest
from server.domain.accounts import Role
from server.store import Store
from server.web.sessions import StoredSessions
from tests.postgres import Cluster, binaries
from tests.server.accounts.kit import quick_passwords
from tests.server.store.kit import RUN, frame, group, open_run, samples, url_in

PASSWORD = "seven green bicycles"
ACCOUNTS = ("users", "tokens", "sign_ins", "audit")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        (tmp_path / "home").mkdir()
        return url_in(tmp_path / "home")
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database()


def fill(url: str, person: str = "ada") -> list[str]:
    """Gives a server a run, a person who is signed in and a token; lists what nobody may read out of a file."""
    store = Store.open(url)
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0, 2.0]}, range(2))))
    accounts = Accounts(store)
    accounts.add_person(person, "admin", PASSWORD, who="the test")
    token = accounts.add_token("nightly", "ingest", None, who=person)
    found = accounts.sign_in(person, PASSWORD)
    assert found is not None
    session = StoredSessions(store.sign_ins, None).open(*found)
    store.close()
    return [PASSWORD, token, str(session)]


def accounts_in(url: str) -> tuple[list[str], list[str]]:
    store = Store.open(url)
    try:
        return [one.name for one in store.people.list()], [one.name for one in store.tokens.list()]
    finally:
        store.close()


def rows(file: Path, table: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(f"SELECT * FROM {table}").fetchall()


def test_x13_an_export_has_runs_and_nobody(url: str, tmp_path: Path) -> None:
    secrets = fill(url)
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", url]) == 0
    assert {table: rows(file, table) for table in ACCOUNTS} == {table: [] for table in ACCOUNTS}
    content = file.read_bytes()
    for secret in (*secrets, digest(secrets[1]), "argon2id", "nightly"):
        assert secret.encode() not in content
    assert len(rows(file, "runs")) == 1


def test_x13_a_backup_has_hashes_alone(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(binaries()), prepend=":")
    secrets = fill(url)
    file = tmp_path / "backup"
    assert main(["backup", str(file), "--database", url]) == 0
    content = file.read_bytes()
    if url.startswith("postgresql"):  # a dump is compressed
        content = subprocess.run([str(binaries() / "pg_restore"), "-f", "-", str(file)], stdout=-1, check=True).stdout
    assert digest(secrets[1]).encode() in content
    assert b"$argon2id$" in content
    for secret in secrets:
        assert secret.encode() not in content


def test_x13_an_import_takes_runs_and_overwrites_no_account(url: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    fill(url_in(other), "mallory")
    store = Store.open(url)
    Accounts(store).add_person("ada", "admin", PASSWORD, who="the test")
    Accounts(store).add_token("ours", "read", None, who="ada")
    store.close()
    assert main(["import", str(other / "gradwatch.db"), "--database", url]) == 0
    assert accounts_in(url) == (["ada"], ["ours"])
    store = Store.open(url)
    assert samples(store, "loss") == [(0, 1.0), (1, 2.0)]
    assert store.runs.get(RUN) is not None
    store.close()


def test_x14_whoever_sees_some_projects_alone_does_so_after_a_restore(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(binaries()), prepend=":")
    fill(url)
    store = Store.open(url)
    Accounts(store).add_person("bob", "viewer", PASSWORD, {"vision": "editor"}, who="the test")
    Accounts(store).add_token("of vision", "write", None, ["vision"], who="the test")
    store.close()
    file = tmp_path / "backup"
    assert main(["backup", str(file), "--database", url]) == 0
    store = Store.open(url)
    Accounts(store).set_role("bob", "admin", who="the test")
    Accounts(store).revoke_token("of vision", who="the test")
    store.close()
    assert main(["restore", str(file), "--database", url]) == 0
    store = Store.open(url)
    assert {one.name: one.projects for one in store.people.list()} == {"ada": None, "bob": {"vision": Role.EDITOR}}
    assert {one.name: one.projects for one in store.tokens.list()} == {"nightly": None, "of vision": {"vision"}}
    store.close()
