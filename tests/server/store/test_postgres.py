"""PostgreSQL: several server processes on one database, and what is said when it cannot be used."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from server.errors import StoreError
from server.store import Store
from server.store.diagnosis_queue import LEASE_MS
from tests.postgres import Cluster
from tests.server.store.kit import NOW, RUN, frame, group, open_run, samples
from tests.serving import wait_until


@pytest.fixture
def two(postgres_cluster: Cluster) -> Iterator[tuple[Store, Store]]:
    """Opens one database twice, as two server processes do."""
    url = postgres_cluster.new_database()
    one, other = Store.open(url), Store.open(url)
    yield one, other
    one.close()
    other.close()


def test_frames_of_one_run_may_go_to_any_process(two: tuple[Store, Store]) -> None:
    open_run(two[0])
    assert open_run(two[1]) == 1
    for seq in range(60):
        # each process meets series and groups that the other has numbered
        names = {"loss": [float(seq)] * 40, f"user/{seq % 7}": [1.0] * 40}
        two[seq % 2].frames.accept(frame(seq, group(names, range(40 * seq, 40 * seq + 40))))
    right = [(step, float(step // 40)) for step in range(2_400)]
    assert samples(two[0], "loss") == samples(two[1], "loss") == right
    assert two[1].frames.accept(frame(0, group({"loss": [0.0]}, [0]))).duplicate
    assert len(two[0].series.names(RUN)) == 8
    assert [one.seq for one in two[1].frames.since(RUN, 1, 0, -1)] == list(range(60))


def test_groups_that_two_processes_meet_in_turn_keep_their_numbers(two: tuple[Store, Store]) -> None:
    """Each process gets a frame of every run at once, with a series that only the other one has seen so far."""
    runs_met = [f"run-{number}" for number in range(12)]
    for run in runs_met:
        open_run(two[0], run)
    for seq in range(8):
        names = [f"user/{number}" for number in range(seq // 2 + 1)]
        answers = [
            two[seq % 2].frames.submit(frame(seq, group({name: [float(seq)] for name in names}, [seq]), run_id=run))
            for run in runs_met
        ]
        assert {answer.result(30).contiguous for answer in answers} == {seq}
    for run in runs_met:
        for number, data in enumerate(two[0].series.read(run, [f"user/{number}" for number in range(4)])):
            assert data.values.tolist() == [float(seq) for seq in range(2 * number, 8)]


def test_many_threads_of_two_processes_lose_and_double_nothing(two: tuple[Store, Store]) -> None:
    for number in range(4):
        open_run(two[0], run_id=f"r{number}", attempt="a")
    sent = queue.SimpleQueue[tuple[int, int]]()
    for seq in range(60):
        for number in range(4):
            sent.put((seq, number))
            if seq % 5 == 0:
                sent.put((seq, number))  # sent twice, perhaps at the same moment

    def work(store: Store) -> None:
        while True:
            try:
                seq, number = sent.get_nowait()
            except queue.Empty:
                return
            values = {"loss": [float(seq)] * 30, f"user/{number}-{seq % 3}": [1.0] * 30}
            at = range(30 * seq, 30 * seq + 30)
            store.frames.accept(frame(seq, group(values, at), run_id=f"r{number}", attempt="a"))
            store.sealer.run_once()

    threads = [threading.Thread(target=work, args=(two[index % 2],)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two[0].sealer.look_around()
    two[0].sealer.run_once(everything=True)
    right = [(step, float(step // 30)) for step in range(1_800)]
    for number in range(4):
        (data,) = two[1].series.read(f"r{number}", ["loss"])
        assert list(zip(data.steps.tolist(), data.values.tolist(), strict=True)) == right
        assert len(two[1].frames.since(f"r{number}", 1, 0, -1)) == 60


def test_writes_of_one_transaction_that_wait_for_another_again_and_again_are_made_one_by_one(
    postgres_cluster: Cluster,
) -> None:
    """The other transaction holds what the second write needs, and waits for what the first one holds."""
    url = postgres_cluster.new_database()
    store = Store.open(url)
    for run in ("r1", "r2"):
        open_run(store, run_id=run, attempt="a")
    lock = "SELECT id FROM runs WHERE id = %s FOR UPDATE"
    held, taken, done = threading.Event(), threading.Event(), threading.Event()

    def rival() -> None:
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            connection.execute("SET deadlock_timeout = '60s'")  # so it is never the one that gives way
            connection.commit()
            for _ in range(2):
                connection.execute(lock, ["r2"])
                held.set()
                taken.wait(20)
                taken.clear()
                connection.execute(lock, ["r1"])
                held.clear()
                connection.commit()
            done.set()
            held.set()

    def first(connection: Any) -> str:
        connection.exec_driver_sql(lock, ("r1",))
        taken.set()
        held.wait(20)
        return "first"

    def second(connection: Any) -> str:
        connection.exec_driver_sql(lock, ("r2",))
        return "second"

    other = threading.Thread(target=rival)
    other.start()
    held.wait(20)
    free = threading.Event()
    writer = store._writer
    writer.submit(lambda _: free.wait(20), lambda _: None)
    answers = [writer.submit(job, lambda told: told) for job in (first, second)]
    free.set()
    assert [answer.result(60) for answer in answers] == ["first", "second"]
    other.join(20)
    assert done.is_set()
    store.close()


def test_a_run_is_diagnosed_by_one_process_until_it_gives_it_back_or_dies(two: tuple[Store, Store]) -> None:
    open_run(two[0])
    open_run(two[0], run_id="other", attempt="b")
    assert two[0].queue.claim("one", NOW, limit=1) == [RUN]
    assert two[1].queue.claim("two", NOW) == ["other"]
    assert two[0].queue.claim("one", NOW + 1_000) == [RUN], "its lease is renewed"
    assert two[1].queue.claim("two", NOW + LEASE_MS + 500) == ["other"], "that of the first one still runs"
    assert two[1].queue.claim("two", NOW + LEASE_MS + 1_001) == [RUN, "other"], "now it has run out"
    two[1].queue.release("two")
    assert sorted(two[0].queue.claim("one", NOW + LEASE_MS + 2_000)) == sorted([RUN, "other"])


def test_what_changes_in_one_process_is_heard_in_the_others_and_not_in_itself(two: tuple[Store, Store]) -> None:
    heard: dict[str, list[tuple[str, str, int]]] = {"one": [], "other": []}
    two[0].listen(lambda *change: heard["one"].append(change), missed=lambda: None)
    two[1].listen(lambda *change: heard["other"].append(change), missed=lambda: None)

    def told() -> bool:
        two[0].notify("r", "data", 7)  # again, until the other one listens
        return ("r", "data", 7) in heard["other"]

    wait_until(told, "the change in the other process", 20)
    assert heard["one"] == []


def test_two_processes_that_start_at_once_migrate_once(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()
    code = "import sys; from server.store import Store; store = Store.open(sys.argv[1]); store.close()"
    starting = [subprocess.Popen([sys.executable, "-c", code, url], stderr=subprocess.PIPE) for _ in range(3)]
    for process in starting:
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0, said.decode()


def name_of(url: str) -> str:
    """Gives the name of the database of a URL."""
    return url.split("/")[3].split("?")[0]


def end_connections(cluster: Cluster, url: str) -> int:
    """Ends every connection to a database, as a restart does; gives how many there were."""
    with psycopg.connect(f"host={cluster.folder} user=tester dbname=postgres", autocommit=True) as admin:
        ended = admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name_of(url),)
        )
        return len(ended.fetchall())


def test_pages_hear_that_changes_of_other_processes_were_lost(
    postgres_cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres_cluster.new_database()
    store = Store.open(url)
    missed = threading.Event()
    heard: list[tuple[str, str, int]] = []
    store.listen(lambda *change: heard.append(change), missed.set)
    other = Store.open(url)
    other.listen(lambda *change: None, lambda: None)

    def told() -> bool:
        other.notify("r", "data", 7)
        return bool(heard)

    wait_until(told, "the first change", 20)
    assert not missed.is_set()
    end_connections(postgres_cluster, url)
    assert missed.wait(20)
    said = [message for message in caplog.messages if "live pages" in message]
    assert said[0].startswith("What tells live pages of other servers' news pauses: ")
    assert "[" not in said[0]
    store.close()
    other.close()


def test_a_server_whose_database_vanishes_does_not_wait_for_hours(postgres_cluster: Cluster) -> None:
    store = Store.open(postgres_cluster.new_database())
    with store._database.writing.connect() as connection:
        raw: Any = connection.connection.driver_connection
        told = raw.info.get_parameters()
    assert (told["keepalives_idle"], told["tcp_user_timeout"]) == ("10", "25000")
    store.close()


def test_a_connection_that_broke_is_made_again(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()
    store = Store.open(url)
    open_run(store)
    assert end_connections(postgres_cluster, url) > 0
    assert not store.frames.accept(frame(0, group({"loss": [1.0]}, [0]))).duplicate
    assert samples(store, "loss") == [(0, 1.0)]
    store.close()


def test_a_foreign_a_newer_and_an_absent_database_are_refused(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()
    store = Store.open(url)
    with store._database.writing.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()
    with pytest.raises(StoreError, match=r"has schema 9999, this version knows up to .* Upgrade it: pip install"):
        Store.open(url)
    foreign = postgres_cluster.new_database()
    with psycopg.connect(f"host={postgres_cluster.folder} user=tester dbname={name_of(foreign)}") as connection:
        connection.execute("CREATE TABLE recipes (id int)")
    with pytest.raises(StoreError, match=r"belongs to another program \(it has the table 'recipes'\)"):
        Store.open(foreign)
    with pytest.raises(StoreError, match=r"cannot be reached \(.*\)\. Check --database and that PostgreSQL runs"):
        Store.open(f"postgresql+psycopg://tester:secret@/nothing-here?host={postgres_cluster.folder}")
    with pytest.raises(StoreError) as refused:
        Store.open("postgresql+psycopg://tester:secret@127.0.0.1:1/x")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_cannot_hold_every_name_is_refused(postgres_cluster: Cluster, encoding: str) -> None:
    name = f"in_{encoding.lower()}"
    with psycopg.connect(f"host={postgres_cluster.folder} user=tester dbname=postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name}")
        admin.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(
        StoreError, match=rf"has the encoding {encoding}, .* createdb --encoding=UTF8 --template=template0"
    ):
        Store.open(postgres_cluster.url(name))


def test_a_user_who_may_make_no_tables_is_told_what_lets_it(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()
    with psycopg.connect(f"host={postgres_cluster.folder} user=tester dbname=postgres", autocommit=True) as admin:
        admin.execute("DROP ROLE IF EXISTS guest")
        admin.execute("CREATE ROLE guest LOGIN")
    mend = f"ALTER DATABASE {name_of(url)} OWNER TO guest"
    with pytest.raises(
        StoreError, match=rf"permission denied for schema public\. Mend it as its administrator: {mend}$"
    ):
        Store.open(url.replace("tester@", "guest@"))
    with psycopg.connect(f"host={postgres_cluster.folder} user=tester dbname=postgres", autocommit=True) as admin:
        admin.execute(mend)
    Store.open(url.replace("tester@", "guest@")).close()
    with psycopg.connect(f"host={postgres_cluster.folder} user=tester dbname=postgres", autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name_of(url)} OWNER TO tester")
        admin.execute(f"DROP DATABASE {name_of(url)} WITH (FORCE)")
        admin.execute("DROP ROLE guest")


def test_names_travel_as_they_are_whatever_the_environment_says(
    postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    store = Store.open(postgres_cluster.new_database())
    open_run(store, name="日本 🙂")
    run = store.runs.get(RUN)
    assert run is not None
    assert run.name == "日本 🙂"
    store.close()


def test_a_run_is_kept_whichever_letters_its_tag_has(two: tuple[Store, Store]) -> None:
    open_run(two[0], run_id="kept", tags=("Keep",))
    open_run(two[0], run_id="old")
    two[0].queue.mark_silent(NOW + 1, NOW + 1)
    assert two[0].runs.retire(NOW + 1, NOW + 2) == ["old"]


def test_the_clock_of_the_database_counts_where_that_of_a_machine_is_wrong(
    postgres_cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres_cluster.new_database()
    right, real = Store.open(url), time.time_ns
    assert right.notice() == ""
    monkeypatch.setattr(time, "time_ns", lambda: real() - 3_600 * 1_000_000_000)
    behind = Store.open(url)
    assert re.match(r"The clock of this machine is 3,[56]\d\d s behind that of the database", behind.notice())
    assert abs(behind.now_ms() - real() // 1_000_000) < 60_000
    monkeypatch.undo()
    right.close()
    behind.close()


def test_the_start_up_line_names_the_server_without_its_password(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database().replace("tester@", "tester:hush@")
    store = Store.open(url)
    assert "PostgreSQL" in store.describe()
    assert "hush" not in store.describe()
    store.close()
