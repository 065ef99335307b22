"""What must hold when things go wrong: kill -9, two servers, foreign files, reading while writing, overload."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine
from sqlalchemy.pool import QueuePool

from server.errors import Busy, StoreError
from server.store import Store, schema, writer
from server.store.engine import open_database
from server.store.writer import Writer
from tests.server.store.kit import RUN, frame, group, open_run, samples, url_in

WRITE_FOR_EVER = """
import sys, itertools
from server.store import Store
from tests.server.store.kit import frame, group, open_run
store = Store.open(sys.argv[1])
open_run(store)
for seq in itertools.count():
    store.frames.accept(frame(seq, group({"loss": [float(seq)] * 8, "x": [1.0] * 8}, range(8 * seq, 8 * seq + 8))))
    print(seq, flush=True)
"""


@pytest.mark.parametrize("acknowledged", [3, 40, 150])
def test_what_was_acknowledged_survives_kill_9(tmp_path: Path, acknowledged: int) -> None:
    command = [sys.executable, "-c", WRITE_FOR_EVER, url_in(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        last = -1
        for line in process.stdout:
            last = int(line)
            if last >= acknowledged:
                break
        process.send_signal(signal.SIGKILL)
        last = max([last, *(int(line) for line in process.stdout if line.endswith("\n"))])
    with sqlite3.connect(tmp_path / "gradwatch.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    store = Store.open(url_in(tmp_path))
    try:
        read = samples(store, "loss")
        assert len(read) in (8 * (last + 1), 8 * (last + 2))  # the one in flight is there as a whole or not at all
        assert read[: 8 * (last + 1)] == [(step, float(step // 8)) for step in range(8 * (last + 1))]
        assert store.series.names(RUN)[0].count == len(read)
        assert store.frames.accept(frame(last)).duplicate
    finally:
        store.close()


def test_a_second_server_is_kept_out(tmp_path: Path) -> None:
    store = Store.open(url_in(tmp_path))
    with pytest.raises(StoreError, match=r"is in use by another Gradwatch server. Stop that one, or choose another"):
        Store.open(url_in(tmp_path))
    store.close()
    Store.open(url_in(tmp_path)).close()


def test_the_settings_of_the_file(tmp_path: Path) -> None:
    Store.open(url_in(tmp_path)).close()
    database = open_database(url_in(tmp_path))
    with database.writing.connect() as connection:
        values = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                  for name in ("journal_mode", "synchronous", "page_size", "auto_vacuum", "mmap_size")}  # fmt: skip
    database.close()
    assert values == {"journal_mode": "wal", "synchronous": 2, "page_size": 16_384, "auto_vacuum": 2, "mmap_size": 0}


def test_the_migrations_make_what_the_schema_says(tmp_path: Path) -> None:
    Store.open(url_in(tmp_path)).close()
    engine = create_engine(url_in(tmp_path))
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
    with create_engine("sqlite://").connect() as fresh, engine.connect() as migrated:
        schema.metadata.create_all(fresh)
        shape = "SELECT name, strict, wr FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'"
        made = {tuple(row) for row in migrated.exec_driver_sql(shape)}
        assert {row for row in made if row[0] != "alembic_version"} == {tuple(r) for r in fresh.exec_driver_sql(shape)}
    engine.dispose()


def test_foreign_newer_and_damaged_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "gradwatch.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match=r"belongs to another program \(it has the table 'recipes'\)"):
        Store.open(url_in(tmp_path))
    path.unlink()
    Store.open(url_in(tmp_path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(
        StoreError, match=r"has schema 9999, this version knows up to .* pip install --upgrade gradwatch"
    ):
        Store.open(url_in(tmp_path))
    path.write_bytes(b"no database at all, " * 1000)
    with pytest.raises(StoreError, match="is damaged or no SQLite database"):
        Store.open(url_in(tmp_path))


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("nonsense", "The database URL cannot be read; expected one like sqlite:////"),
        ("postgresql+psycopg://u:word@h:port/d", "The database URL cannot be read; expected one like sqlite:////"),
        ("mysql://h/d", "begins with 'mysql'; expected sqlite:////path/gradwatch.db or postgresql"),
        ("sqlite://", "names no file"),
        ("sqlite:////proc/nowhere/g.db", "cannot be made"),
    ],
)
def test_a_url_that_cannot_be_opened_is_explained(url: str, sentence: str) -> None:
    with pytest.raises(StoreError, match=sentence):
        Store.open(url)


def test_a_database_that_was_deleted_takes_no_more_frames(tmp_path: Path) -> None:
    store = Store.open(url_in(tmp_path))
    open_run(store)
    (tmp_path / "gradwatch.db").unlink()
    with pytest.raises(StoreError, match="was deleted or replaced while the server ran"):
        store.frames.accept(frame(0))


def test_readers_see_whole_frames_while_many_write(store: Store) -> None:
    runs = [f"run-{number}" for number in range(4)]
    done = threading.Event()
    wrong: list[object] = []

    def write(run_id: str) -> None:
        for seq in range(30):
            store.frames.accept(frame(seq, group({"loss": [1.0] * 16}, range(16 * seq, 16 * seq + 16)), run_id=run_id))

    def read(run_id: str) -> None:
        seen = 0
        while not done.is_set():
            count = sum(len(data.steps) for data in store.series.read(run_id, ["loss"]))
            if count % 16 or count < seen:
                wrong.append((run_id, seen, count))
            seen = count
            store.runs.page(sort="loss")

    for run_id in runs:
        open_run(store, run_id)
    writers = [threading.Thread(target=write, args=(run_id,)) for run_id in runs]
    readers = [threading.Thread(target=read, args=(run_id,)) for run_id in runs]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    assert wrong == []
    assert [store.series.names(run_id)[0].count for run_id in runs] == [480] * 4


def test_a_full_queue_says_busy_and_a_failed_job_harms_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_WAITING_JOBS", 2)
    database = open_database(url_in(tmp_path))
    worker = Writer(database)
    started, go_on = threading.Event(), threading.Event()
    answers: list[Future[object]] = [Future() for _ in range(3)]

    def ask(answer: Future[object], job: object) -> None:
        try:
            answer.set_result(worker.run(job))  # type: ignore[arg-type]
        except (ZeroDivisionError, StoreError) as error:
            answer.set_exception(error)

    def hold(_connection: object) -> str:
        started.set()
        assert go_on.wait(30)
        return "held"

    threads = [threading.Thread(target=ask, args=(answers[0], hold))]
    threads[0].start()
    assert started.wait(30)
    for answer, job in ((answers[1], lambda _: 1 / 0), (answers[2], lambda _: "stored")):
        threads.append(threading.Thread(target=ask, args=(answer, job)))
        threads[-1].start()
    pause = threading.Event()
    while len(worker._waiting) < 2:
        pause.wait(0.001)
    with pytest.raises(Busy, match="2 writes wait for the database already") as busy:
        worker.run(lambda _: None)
    assert busy.value.retry_after_s >= 1
    go_on.set()
    for thread in threads:
        thread.join()
    worker.close()
    database.close()
    assert [answers[0].result(), answers[2].result()] == ["held", "stored"]
    assert isinstance(answers[1].exception(), ZeroDivisionError)


def test_a_reader_for_whom_no_connection_is_left_is_told_to_come_back(tmp_path: Path) -> None:
    store = Store.open(url_in(tmp_path))
    pool = store._database.reading.pool
    assert isinstance(pool, QueuePool)
    pool._timeout = 0.05
    held = [store._database.reading.connect() for _ in range(pool.size() + pool._max_overflow)]
    with pytest.raises(Busy, match="Every connection to the database is in use; try again in a second"):
        store.runs.get(RUN)
    for connection in held:
        connection.close()
    assert store.runs.get(RUN) is None
    store.close()
