"""Export and import: runs go from one database to another whole, whichever the two are, and nothing is overwritten."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from client_hook.cli import main
from server.diagnosis import Diagnosis
from server.errors import StoreError
from server.live import Live
from server.moving import export_runs, import_runs
from server.rules.registry import load_rules
from server.store import Store, schema
from server.store.accepted import AcceptedRecord
from server.store.engine import open_database
from server.store.moving import _OF_A_RUN
from tests.postgres import Cluster
from tests.server.store.kit import RUN, frame, group, open_run, samples, to_revision, url_in

OTHER = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"
Place = Callable[[str], str]


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Names empty databases of one kind."""

    def new(name: str) -> str:
        if request.param == "postgresql":
            cluster: Cluster = request.getfixturevalue("postgres_cluster")
            return cluster.new_database()
        (tmp_path / name).mkdir()
        return url_in(tmp_path / name)

    return new


def fill(url: str) -> None:
    """Trains two runs, one of them diagnosed, remarked upon and long enough to be sealed."""
    store = Store.open(url)
    open_run(store)
    loss = (2 * np.exp(-np.arange(3_000) / 500)).tolist()
    loss[1_500:] = [float("nan")] * 1_500
    for seq in range(6):
        at = range(500 * seq, 500 * seq + 500)
        text = f"at {at[0]}"
        records = [AcceptedRecord("event", "note", at[0], 5, {"text": text}, json.dumps({"text": text}))]
        store.frames.accept(frame(seq, group({"loss": loss[at[0] : at[-1] + 1]}, at), records=records))
    store.notes.write(RUN, "what it was for", who="ada", now_ms=5)
    store.sealer.run_once()
    diagnosis = Diagnosis(store, Live(), load_rules(), store.now_ms)
    while diagnosis.run_once():
        pass
    open_run(store, OTHER)
    store.frames.accept(frame(0, group({"loss": [1.0, 2.0]}, range(2)), run_id=OTHER))
    store.close()


def rows(url: str, run_id: str) -> dict[str, list[Any]]:
    """Reads all that a run has."""
    database = open_database(url)
    try:
        with database.read() as connection:
            found = {
                table.name: sorted(
                    (tuple(row) for row in connection.execute(select(table).where(table.c.run_id == run_id))), key=repr
                )
                for table in _OF_A_RUN
            }
            run = connection.execute(select(schema.runs).where(schema.runs.c.id == run_id)).one()._asdict()
            found["runs"] = [
                {
                    name: value
                    for name, value in run.items()
                    if name not in ("project_id", "lease_owner", "lease_until_ms", "came_ms")
                }
            ]
        return found
    finally:
        database.close()


def test_a_run_comes_to_another_database_row_by_row(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = place("first"), place("second")
    fill(first)
    before = rows(first, RUN)
    assert all(before[name] for name in ("attempts", "streams", "summaries", "seals", "events", "findings", "notes"))
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", first]) == 0
    assert f"{file} holds 2 runs (" in capsys.readouterr().out
    assert main(["import", str(file), "--database", second]) == 0
    assert capsys.readouterr().out == f"2 runs came from {file}\n"
    assert rows(second, RUN) == before
    assert rows(second, OTHER) == rows(first, OTHER)
    store = Store.open(second)
    assert len(samples(store, "loss")) == 3_000
    diagnosis = Diagnosis(store, Live(), load_rules(), store.now_ms)
    while diagnosis.run_once():
        pass
    store.close()
    assert rows(second, RUN)["findings"] == before["findings"], "and is judged alike there"


def test_a_run_that_came_goes_on_where_it_was(place: Place, tmp_path: Path) -> None:
    first, second = place("first"), place("second")
    fill(first)
    assert main(["export", str(tmp_path / "runs.db"), RUN, "--database", first]) == 0
    assert main(["import", str(tmp_path / "runs.db"), "--database", second]) == 0
    store = Store.open(second)
    more = frame(6, group({"loss": [1.0], "new": [2.0]}, [3_000]))
    assert not store.frames.accept(more).duplicate
    assert store.frames.accept(frame(5, group({"loss": [1.0]}, [2_999]))).duplicate
    assert samples(store, "new") == [(3_000, 2.0)]
    assert len(samples(store, "loss")) == 3_001
    store.close()


def test_what_is_there_already_stays_as_it_was(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = place("first"), place("second")
    fill(first)
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", first]) == 0
    assert main(["import", str(file), RUN, "--database", second]) == 0
    store = Store.open(second)
    store.frames.accept(frame(6, group({"loss": [1.0]}, [3_000])))
    store.close()
    before = rows(second, RUN)
    capsys.readouterr()
    assert main(["import", str(file), "--database", second]) == 0
    assert capsys.readouterr().out == f"1 run came from {file}; 1 run was there already and stayed as before\n"
    assert rows(second, RUN) == before


def test_runs_are_named_by_id_beginning_or_name_and_come_to_a_project(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = place("first"), place("second")
    store = Store.open(first)
    for number, project in enumerate(("vision", "text", "text")):
        open_run(
            store, f"{number}abc-{number}", name="twin" if number else "alone", project=project, started_ms=number + 1
        )
    store.close()

    def exported(*named: str) -> list[str]:
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.db"
        assert main(["export", str(file), *named, "--database", first]) == 0, capsys.readouterr().err
        with sqlite3.connect(file) as database:
            return sorted(row[0] for row in database.execute("select id from runs"))

    assert exported("0abc", "2abc-2") == ["0abc-0", "2abc-2"]
    assert exported("twin") == ["2abc-2"], "the newest of that name"
    assert exported("--project", "text") == ["1abc-1", "2abc-2"]
    file = tmp_path / "all.db"
    assert main(["export", str(file), "--database", first]) == 0
    assert main(["import", str(file), "alone", "--project", "from home", "--database", second]) == 0
    store = Store.open(second)
    found = store.runs.get("0abc-0")
    assert found is not None
    assert found.project == "from home"
    assert store.runs.get("1abc-1") is None
    store.close()
    capsys.readouterr()
    newest = "2abc-2 (twin), 1abc-1 (twin), 0abc-0 (alone)"
    for wrong, sentence in (
        (["nobody"], f"No run has the id or the name 'nobody'; the newest are {newest}."),
        (["--project", "none"], "There is no run in the project 'none'."),
    ):
        assert main(["export", str(tmp_path / "wrong.db"), *wrong, "--database", first]) == 2
        assert sentence in capsys.readouterr().err
    store = Store.open(first)
    open_run(store, "2abc-3")
    store.close()
    assert main(["export", str(tmp_path / "wrong.db"), "2abc", "--database", first]) == 2
    assert "2 runs have an id that begins with '2abc'; name more of it." in capsys.readouterr().err
    assert not list(tmp_path.glob("wrong*"))


def test_files_are_never_overwritten_and_missing_ones_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url_in(tmp_path)
    fill(url)
    taken = tmp_path / "taken"
    taken.write_text("mine")
    assert main(["export", str(taken), "--database", url]) == 2
    assert f"{taken} is there already" in capsys.readouterr().err
    assert taken.read_text() == "mine"
    assert main(["import", str(tmp_path / "none.db"), "--database", url]) == 2
    assert f"There is no file {tmp_path / 'none.db'}" in capsys.readouterr().err
    assert main(["import", str(taken), "--database", url]) == 2
    assert f"{taken} is damaged or no SQLite database (file is not a database)." in capsys.readouterr().err
    assert taken.read_text() == "mine"


def test_a_server_may_use_what_is_exported_but_not_the_file_that_runs_come_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = url_in(tmp_path)
    fill(url)
    store = Store.open(url)
    try:
        file = tmp_path / "runs.db"
        assert main(["export", str(file), "--database", url]) == 0
        capsys.readouterr()
        assert main(["import", str(file), "--database", url]) == 2
        print(capsys.readouterr().err)
    finally:
        store.close()
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("gradwatch.db")] == ["runs.db"]


def test_what_an_older_version_wrote_is_taken_and_left_as_it_was(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    to_revision(url_in(old), "0001")
    bytes_before = (old / "gradwatch.db").read_bytes()
    assert main(["import", str(old / "gradwatch.db"), "--database", url_in(new)]) == 2, "it has no run"
    assert (old / "gradwatch.db").read_bytes() == bytes_before


def test_mutes_of_a_run_come_along_and_those_of_its_project_stay(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    fill(url_in(first))
    database = open_database(url_in(first))
    with database.writing.begin() as connection:
        for run in (RUN, ""):
            values = {"project": "default", "run": run, "code": "GW308", "layers": "", "reason": "meant", "who": "Ada"}
            connection.execute(schema.mutes.insert(), {**values, "created_ms": 1, "expires_ms": None})
    database.close()
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", url_in(first)]) == 0
    assert main(["import", str(file), "--database", url_in(second)]) == 0
    database = open_database(url_in(second))
    with database.read() as connection:
        assert [row.run for row in connection.execute(select(schema.mutes))] == [RUN]
    database.close()


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("runs", "state", "nonsense", "its row cannot be read ('nonsense' is not a valid RunState)"),
        ("runs", "diagnosis", "", "its row cannot be read"),
        ("runs", "config", "[]", "its row cannot be read"),
        pytest.param("runs", "config", '{"a":' * 5_000 + "1" + "}" * 5_000, "its row cannot be read", id="deep"),
        ("runs", "tags", "null", "its row cannot be read"),
        ("runs", "id", "../../x", "Run '../../x' cannot be taken: its row cannot be read (id is not as"),
        pytest.param("runs", "name", "x" * 100_000, "its row cannot be read (name is not as", id="long"),
        ("runs", "started_ms", 2**63 - 1, "its row cannot be read (times is not as"),
        ("runs", "worst_severity", "<script>", "its row cannot be read"),
        ("runs", "sparkline", "[1]", "its row cannot be read"),
        ("projects", "name", "a\nb", "its row cannot be read (project is not as"),
        ("events", "value", "[1]", "its events cannot be read (note is not as"),
        ("findings", "evidence", "nonsense", "its findings cannot be read"),
        ("summaries", "data", b"x", "its series cannot be read"),
        ("checks", "outcome", "perhaps", "its findings cannot be read (perhaps is not as"),
        ("notes", "text", "a\0b", "its notes cannot be read (text is not as"),
        pytest.param("notes", "text", "x" * 20_001, "its notes cannot be read (text is not as", id="long notes"),
        ("notes", "who", "a\nb", "its notes cannot be read (who is not as"),
        ("notes", "version", 2**31, "its notes cannot be read (version is not as"),
        ("notes", "written_ms", 2**62, "its notes cannot be read (time is not as"),
        pytest.param("seals", "directory", b"\xff" * 100, "its series cannot be read", id="seals"),
    ],
)
def test_a_run_that_no_page_could_show_is_refused_and_nothing_of_it_comes(
    tmp_path: Path, table: str, column: str, value: Any, said: str
) -> None:
    one, other = url_in(tmp_path), f"sqlite:///{tmp_path / 'other.db'}"
    fill(one)
    file = tmp_path / "runs.db"
    export_runs(file, one, [RUN])
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(f'UPDATE {table} SET "{column}" = ?', (value,)).rowcount
    with pytest.raises(StoreError, match=re.escape(said)):
        import_runs(file, other, [])
    assert not (tmp_path / "other.db").exists()
