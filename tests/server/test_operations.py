"""Backup, restore, migrate: by the command line, on both databases, while a server writes and when nothing fits."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest

from client_hook.cli import main
from server.store import Store
from server.store.engine import dumps, sqlite
from tests.postgres import Cluster
from tests.server.store.kit import NOW, RUN, frame, group, open_run, samples, to_revision, url_in


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Names two databases: the one that is used and an empty one."""
    if request.param == "sqlite":
        (tmp_path / "new").mkdir()
        return url_in(tmp_path), url_in(tmp_path / "new")
    cluster: Cluster = request.getfixturevalue("postgres_cluster")
    return cluster.new_database(), cluster.new_database()


def test_a_backup_of_a_busy_database_is_of_one_moment_and_can_be_restored(
    urls: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(urls[0])
    open_run(store)
    written = threading.Event()
    stop = threading.Event()

    def write() -> None:
        for seq in range(400):
            if stop.is_set():
                return
            # both series in one transaction: a copy of one moment has as much of either
            at = range(50 * seq, 50 * seq + 50)
            store.frames.accept(frame(seq, group({"loss": [1.0] * 50}, at), group({"x": [2.0] * 50}, at)))
            store.sealer.run_once()
            if seq == 30:
                written.set()

    writing = threading.Thread(target=write)
    writing.start()
    try:
        assert written.wait(60)
        assert main(["backup", str(tmp_path / "copy"), "--database", urls[0]]) == 0
    finally:
        stop.set()
        writing.join()
    assert "holds the database as it was a moment ago" in capsys.readouterr().out
    complete = len(samples(store, "loss"))
    store.close()
    assert main(["restore", str(tmp_path / "copy"), "--database", urls[1]]) == 0
    assert "has the newest schema" in capsys.readouterr().out
    copy = Store.open(urls[1])
    losses, others = samples(copy, "loss"), samples(copy, "x")
    assert 31 * 50 <= len(losses) <= complete
    assert [step for step, _ in losses] == [step for step, _ in others] == list(range(len(losses)))
    assert not copy.frames.accept(frame(9_999, group({"loss": [3.0]}, [99_999]))).duplicate
    copy.close()


def test_a_backup_and_what_it_is_put_to_are_for_their_owner_alone(urls: tuple[str, str], tmp_path: Path) -> None:
    """They hold the hashes of passwords, as the database does."""
    Store.open(urls[0]).close()
    copy = tmp_path / "copy"
    copy.with_name("copy.part").write_text("what a killed backup has left")
    copy.with_name("copy.part").chmod(0o666)
    assert main(["backup", str(copy), "--database", urls[0]]) == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    copy.chmod(0o644)  # as one that came over the network
    assert main(["restore", str(copy), "--database", urls[1]]) == 0
    if urls[1].startswith("sqlite"):
        assert (tmp_path / "new" / "gradwatch.db").stat().st_mode & 0o777 == 0o600


def test_a_restore_ends_every_session_and_is_noted(
    urls: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A browser that was signed out since the backup must not be signed in again."""
    store = Store.open(urls[0])
    store.sign_ins.open("hash", 10**9, 10**9)
    assert main(["backup", str(tmp_path / "copy"), "--database", urls[0]]) == 0
    store.sign_ins.close("hash")
    store.close()
    assert main(["restore", str(tmp_path / "copy"), "--database", urls[0]]) == 0
    assert "whoever was signed in signs in again" in capsys.readouterr().out
    store = Store.open(urls[0])
    assert store.sign_ins.find("hash", 10**9, 10**9) is None
    assert [(deed.who, deed.action, deed.about) for deed in store.audit.newest(1)] == [
        ("the command line", "put a backup back", "copy")
    ]
    store.close()


def test_a_restore_keeps_what_was_there_and_wants_the_server_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url_in(tmp_path)
    store = Store.open(url)
    open_run(store)
    assert main(["backup", str(tmp_path / "copy"), "--database", url]) == 0
    open_run(store, run_id="later", attempt="a")
    assert main(["restore", str(tmp_path / "copy"), "--database", url]) == 2
    assert "is in use by another Gradwatch server. Stop that one" in capsys.readouterr().err
    store.close()
    assert main(["restore", str(tmp_path / "copy"), "--database", url]) == 0
    restored = Store.open(url)
    assert [run.id for run in restored.runs.page().items] == [RUN]
    restored.close()
    before = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db.before'}")
    assert len(before.runs.page().items) == 2
    before.close()
    assert main(["restore", str(tmp_path / "copy"), "--database", url]) == 0
    second = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db.before-2'}")
    assert len(second.runs.page().items) == 1
    second.close()
    assert (tmp_path / "gradwatch.db.before").stat().st_size > 0, "what the first one kept is still there"


def test_a_dump_is_not_restored_under_a_server_that_uses_the_database(
    postgres_cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres_cluster.new_database()
    store = Store.open(url)
    open_run(store)
    assert main(["backup", str(tmp_path / "copy"), "--database", url]) == 0
    open_run(store, run_id="later", attempt="a")
    assert main(["restore", str(tmp_path / "copy"), "--database", url]) == 2
    assert "is in use by another Gradwatch server. Stop that one" in capsys.readouterr().err
    assert len(store.runs.page().items) == 2
    store.close()
    assert main(["restore", str(tmp_path / "copy"), "--database", url]) == 0
    restored = Store.open(url)
    assert [run.id for run in restored.runs.page().items] == [RUN]
    restored.close()


def test_a_dump_from_before_an_upgrade_can_be_restored_after_it(
    postgres_cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres_cluster.new_database()
    to_revision(url, "0001")
    assert main(["backup", str(tmp_path / "old"), "--database", url]) == 0
    assert main(["migrate", "--database", url]) == 0
    assert main(["restore", str(tmp_path / "old"), "--database", url]) == 0
    assert f"has the newest schema, {_head(url)}" in capsys.readouterr().out
    store = Store.open(url)
    open_run(store)
    store.close()


def test_a_dump_of_another_program_is_not_restored(
    postgres_cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = postgres_cluster.new_database()
    with psycopg.connect(foreign.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    dumps.back_up(foreign, tmp_path / "foreign")
    assert main(["restore", str(tmp_path / "foreign"), "--database", postgres_cluster.new_database()]) == 2
    assert "is no backup of Gradwatch: it has no table 'alembic_version'" in capsys.readouterr().err


def test_what_cannot_be_done_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = url_in(tmp_path)
    (tmp_path / "there").write_text("this is no database " * 100)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE recipes (id INTEGER)")
    connection.close()

    def said(*command: str) -> str:
        assert main([*command, "--database", url]) == 2
        return capsys.readouterr().err

    assert "There is no database" in said("backup", str(tmp_path / "copy"))
    Store.open(url).close()
    assert "is there already; name another file" in said("backup", str(tmp_path / "there"))
    assert "The backup to " in said("backup", str(tmp_path / "no" / "folder"))
    assert "There is no backup" in said("restore", str(tmp_path / "nothing"))
    assert "is damaged or no SQLite database" in said("restore", str(tmp_path / "there"))
    assert "is no database of Gradwatch: its application_id is 0" in said("restore", str(foreign))
    assert "begins with 'mysql'" in _wrong_url(capsys)


def _wrong_url(capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["migrate", "--database", "mysql://h/d"]) == 2
    return capsys.readouterr().err


def test_migrate_names_the_schema(urls: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["migrate", "--database", urls[0]]) == 0
    assert f"has the newest schema, {_head(urls[0])}" in capsys.readouterr().out


def _head(url: str) -> str:
    store = Store.open(url)
    try:
        return store.schema
    finally:
        store.close()


def test_a_network_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(url_in(tmp_path))
    assert store.notice() == ""
    monkeypatch.setattr(sqlite.mounts, "network_kind", lambda path: "nfs4")
    assert "lies on a network file system (nfs4)" in store.notice()
    store.close()


def test_what_would_be_deleted_for_its_age_is_listed_and_stays(
    urls: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.open(urls[0])  # a server uses it
    open_run(store, name="night", project="vision")
    open_run(store, run_id="kept", tags=("keep",))
    store.queue.mark_silent(NOW + 1, NOW + 1)
    line = ["serve", "--database", urls[0], "--dry-run"]
    assert main([*line, "--keep-days", "0.001"]) == 0
    assert capsys.readouterr().out == f"--keep-days 0.001 would delete 1 run\n2026-09-21  {RUN}  vision  night\n"
    assert main([*line, "--keep-days", "100000"]) == 0
    assert capsys.readouterr().out == "--keep-days 100000 would delete 0 runs\n"
    assert main(line) == 2
    assert "name the days, such as --keep-days 90" in capsys.readouterr().err
    assert len(store.runs.page().items) == 2
    store.close()
