"""Deleting and retiring: a run goes as a whole, the others do not notice, and its space comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, event, func, select

from server.errors import Busy, UnknownRun
from server.store import Store, deletion, schema, writer
from server.store.engine import sqlite
from server.store.housekeeping import DAY_MS, Housekeeper
from tests.server.store.kit import NOW, RUN, frame, group, open_run, samples, url_in
from tests.serving import wait_until


def fill(store: Store, run_id: str, frames: int = 30) -> None:
    """Stores sealed and open samples, records and findings' neighbours of one run."""
    open_run(store, run_id=run_id, attempt="a1")
    noise = np.random.default_rng(0).normal(size=(40, 100))
    for seq in range(frames):
        values = {f"act/std/l{index}": noise[index].tolist() for index in range(40)}
        store.frames.accept(frame(seq, group(values, range(100 * seq, 100 * seq + 100), "f4"), run_id=run_id))
    store.sealer.run_once()
    store.frames.accept(frame(frames, group({"loss": [1.0]}, [0]), run_id=run_id))


def rows_of(store: Store, run_id: str) -> dict[str, int]:
    """Counts what any table holds of a run."""
    counts: dict[str, int] = {}
    with store._database.read() as connection:
        for table in schema.metadata.tables.values():
            column = table.c.get("run_id", table.c.get("id") if table.name == "runs" else None)
            if column is not None:
                count = connection.execute(select(func.count()).select_from(table).where(column == run_id)).scalar_one()
                if count:
                    counts[table.name] = count
    return counts


def test_nothing_of_a_deleted_run_is_left_and_the_others_stay(store: Store) -> None:
    fill(store, RUN)
    fill(store, "other")
    before = rows_of(store, "other")
    assert {"pieces", "seals", "blocks", "frames", "series"} <= before.keys()
    store.wishes.remark(RUN, 1, "muted", who="Ada", reason="known", now_ms=NOW)
    for run in (RUN, "other", ""):
        store.wishes.add_mute("default", "GW205", run=run, who="Ada", reason="known", now_ms=NOW)
    assert store.runs.delete(RUN)
    assert rows_of(store, RUN) == {}
    assert [mute.run for mute in store.wishes.mutes("default")] == ["other", ""]
    assert rows_of(store, "other") == before
    assert not store.runs.delete(RUN)
    with pytest.raises(UnknownRun):
        store.frames.accept(frame(99))
    assert open_run(store) == 1, "the id can be used again"


def test_every_transaction_of_a_deletion_is_small(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_SLICES", tuple((table, name, 2) for table, name, _ in deletion._SLICES))
    fill(store, RUN)
    gone: list[int] = []

    def count(connection: Connection, cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("DELETE"):
            gone.append(cursor.rowcount)  # type: ignore[attr-defined]

    event.listen(store._database.writing, "after_cursor_execute", count)
    store.runs.delete(RUN)
    assert len(gone) > 20
    assert max(gone) <= 4
    assert rows_of(store, RUN) == {}


def test_a_deletion_that_a_crash_interrupts_goes_on_at_the_next_start(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, RUN)

    def crash(*_: object) -> bool:
        raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(deletion.Deletion, "_slice", crash)
        with pytest.raises(OSError, match="power cut"):
            store.runs.delete(RUN)
    assert store.runs.get(RUN) is None
    assert "pieces" in rows_of(store, RUN)
    with pytest.raises(Busy, match=f"Run {RUN} is being deleted; try again in a second"):
        open_run(store)
    store.runs.purge(0)
    assert rows_of(store, RUN) == {}
    open_run(store)


def test_the_space_comes_back_in_an_idle_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "IDLE_BEFORE_SHRINK_S", 0.01)
    steps: list[bool] = []
    shrink = sqlite.SQLite.shrink

    def counted(database: sqlite.SQLite, *, busy: bool = False) -> bool:
        more = shrink(database, busy=busy)
        if not busy:
            steps.append(more)
        return more

    store = Store.open(url_in(tmp_path))
    fill(store, RUN, frames=200)
    file = tmp_path / "gradwatch.db"
    large = file.stat().st_size
    store.runs.delete(RUN)
    monkeypatch.setattr(sqlite.SQLite, "shrink", counted)
    open_run(store, run_id="other")
    wait_until(lambda: steps and not steps[-1], "nothing more to give back")
    assert file.stat().st_size < large / 2
    assert len(steps) < 5, "many pages a step"
    store.close()


def test_much_free_space_comes_back_while_frames_go_on_coming(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BUSY_SHRINK_S", 0.0)
    monkeypatch.setattr(writer, "IDLE_BEFORE_SHRINK_S", 3600.0)
    store = Store.open(url_in(tmp_path))
    fill(store, RUN, frames=200)
    open_run(store, run_id="other")
    file = tmp_path / "gradwatch.db"
    large = file.stat().st_size
    store.runs.delete(RUN)
    for seq in range(200):
        store.frames.accept(frame(seq, group({"loss": [1.0]}, [seq]), run_id="other"))
        if file.stat().st_size < large / 2:
            break
    assert file.stat().st_size < large / 2
    store.close()


def test_old_runs_retire_unless_they_are_to_be_kept(store: Store) -> None:
    for run_id, tags in (("old", ()), ("kept", ("x", "keep")), ("keeper", ("keeper",)), ("archived", ())):
        open_run(store, run_id=run_id, attempt="a", tags=tags)
    store.runs.update("archived", archived=True)
    store.queue.mark_silent(NOW + 1, NOW + 1)
    open_run(store, run_id="running", attempt="a")  # its server was away for a month, and it may be still there
    now = NOW + 31 * DAY_MS
    open_run(store, run_id="young", attempt="a")
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), run_id="young", attempt="a", received_ms=now))
    keeper = Housekeeper(store.sealer, store.runs, lambda: now, keep_days=30)
    keeper.tidy_up()
    hidden = {run.id for run in store.runs.page(deleted=True).items}
    assert hidden == {"old", "keeper"}
    assert store.runs.get("old") is not None, "for a day it can be taken back"
    keeper.tidy_up()
    told = [(deed.who, deed.action, deed.about) for deed in store.audit.newest(2)]
    assert told == [("the server, by --keep-days", "deleted 2 runs", "keeper, old")]
    Housekeeper(store.sealer, store.runs, lambda: now + DAY_MS + 1, keep_days=30).tidy_up()
    assert store.runs.get("old") is None
    assert {run.id for run in store.runs.page().items} == {"kept", "young", "running"}
    assert samples(store, "loss") == []
