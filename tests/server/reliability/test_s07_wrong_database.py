"""S7: a database that is read-only, deleted, replaced, newer or half migrated: one sentence, never a stack trace."""

from __future__ import annotations

import ctypes
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.reliability.kit import Load, Sender, check_all
from tests.serving import ROOT, Server, wait_until

PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1


def bound_by_permissions() -> None:
    """Lets permissions hold for root too, in the process that is about to start."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0) == 0


def refusal(home: Path) -> str:
    """Starts a server that cannot start, and gives what it says."""
    done = subprocess.run(
        [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", str(home)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False, preexec_fn=bound_by_permissions,
    )  # fmt: skip
    assert done.returncode not in (0, -9, -11)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    return done.stderr


def dump(path: Path) -> list[str]:
    """Gives all that is in a database."""
    database = sqlite3.connect(path)
    try:
        return list(database.iterdump())
    finally:
        database.close()


@pytest.fixture(scope="module")
def load() -> Load:
    return Load(7, frames=5)


@pytest.fixture(scope="module")
def filled(load: Load, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a run, made by a server."""
    folder = tmp_path_factory.mktemp("filled")
    server = Server(folder)
    sender = Sender(server.port)
    sender.deliver(load)
    sender.close()
    assert server.stop() == 0
    return folder / "gradwatch.db"


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """A home with a copy of that database."""
    shutil.copy(filled, tmp_path)
    (tmp_path / "gradwatch.db.lock").touch(0o600)
    return tmp_path


def test_s07_a_read_only_database_is_told(home: Path, load: Load) -> None:
    files = [home / "gradwatch.db", home / "gradwatch.db.lock"]
    for path in files:
        path.chmod(0o400)
    said = refusal(home)
    assert f"The database {home / 'gradwatch.db'} cannot be opened for writing (Permission denied)" in said
    for path in files:
        path.chmod(0o600)
    check_all(home, [load])


def test_s07_a_read_only_folder_is_told(home: Path, load: Load) -> None:
    (home / "gradwatch.db.lock").unlink()
    home.chmod(0o500)
    said = refusal(home)
    assert "cannot be opened for writing (Permission denied). Choose another place with --home or --database" in said
    home.chmod(0o700)
    check_all(home, [load])


def test_s07_a_newer_and_a_damaged_database_are_told_and_left_alone(home: Path, load: Load) -> None:
    path = home / "gradwatch.db"
    content = path.read_bytes()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    newer = dump(path)
    assert "has schema 9999, this version knows up to" in refusal(home)
    assert dump(path) == newer
    path.write_bytes(b"not a database, " * 4_096)
    assert "is damaged or no SQLite database" in refusal(home)
    assert path.read_bytes() == b"not a database, " * 4_096
    path.write_bytes(content[: len(content) // 3])
    assert "is damaged or no SQLite database" in refusal(home)
    path.write_bytes(content)
    check_all(home, [load])


@pytest.mark.parametrize("what", ["deleted", "replaced"])
def test_s07_a_database_that_goes_while_the_server_runs_takes_no_more_frames(
    what: str, home: Path, load: Load, tmp_path_factory: pytest.TempPathFactory
) -> None:
    server = Server(home)
    path = home / "gradwatch.db"
    aside = tmp_path_factory.mktemp("aside") / "gradwatch.db"
    path.rename(aside)
    if what == "replaced":
        path.write_bytes(aside.read_bytes())
    sender = Sender(server.port)
    status, said = sender.post("/api/v1/runs", Load(8, frames=1).opening(), "application/json")
    assert status == 503
    assert said == {
        "detail": f"The database {path} was deleted or replaced while the server ran. Start the server again."
    }
    assert sender.no_retry_after == []
    sender.close()
    server.log.seek(0)
    assert "Traceback" not in server.log.read()
    server.stop()


MIGRATE_HALF = """
import os, sys
from alembic import command
from server.store import Store, migrations
def half(config, target):
    command_upgrade(config, "0002")
    os.kill(os.getpid(), 9)
command_upgrade, migrations.command.upgrade = command.upgrade, half
Store.open(sys.argv[1])
"""


def test_s07_a_migration_that_a_kill_interrupts_leaves_nothing_half_done(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'gradwatch.db'}"
    done = subprocess.run([sys.executable, "-c", MIGRATE_HALF, url], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9
    server = Server(tmp_path)
    load = Load(9, frames=3)
    sender = Sender(server.port)
    sender.deliver(load)
    assert set(sender.answers) <= {200, 201}
    sender.close()
    assert server.stop() == 0
    check_all(tmp_path, [load])


def test_s07_tables_without_their_version_are_not_taken_over(home: Path) -> None:
    with sqlite3.connect(home / "gradwatch.db") as database:
        database.execute("DROP TABLE alembic_version")
    database.close()
    assert "belongs to another program (it has the table 'alerts'). Name another one with --database" in refusal(home)


def test_s07_a_page_of_a_database_that_is_damaged_while_it_is_read_is_a_sentence(home: Path, load: Load) -> None:
    server = Server(home)
    path = home / "gradwatch.db"
    with path.open("r+b") as file:
        file.seek(16_384)
        file.write(b"\xff" * (path.stat().st_size - 16_384))

    def status() -> int:
        sender = Sender(server.port)
        try:
            return sender.once(Load(load.number, frames=1_000), 500)
        finally:
            sender.close()

    wait_until(lambda: status() in (404, 503), "an answer that says what is wrong")
    server.log.seek(0)
    assert "Traceback" not in server.log.read()
    server.stop()
