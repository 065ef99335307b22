"""S2: the power goes at fifty writes of an ingest with sealing: every acknowledged frame is there, the file sound."""

from __future__ import annotations

import random
import sqlite3
import threading
from pathlib import Path

import pytest

from server.store import Store, writer
from server.store.engine import sqlite
from tests.server.reliability.power import Supply
from tests.server.store.kit import frame, group, open_run, url_in

RUNS, STEPS, CUTS = 4, 256, 50
WRITES_APART = 25
CHECKPOINT_PAGES = 40  # many checkpoints: the moments at which a file could be torn


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the store do often what it does seldom: empty its log and give space back."""
    monkeypatch.setattr(writer, "IDLE_BEFORE_SHRINK_S", 0.0)
    pragmas = [*sqlite._WRITER_PRAGMAS, f"wal_autocheckpoint = {CHECKPOINT_PAGES}"]
    monkeypatch.setattr(sqlite, "_WRITER_PRAGMAS", pragmas)


def play(folder: Path, cuts: int) -> list[tuple[list[int], dict[str, bytes]]]:
    """Ingests and seals until so many cuts were taken; each with how many frames of each run were acknowledged."""
    acknowledged = [0] * RUNS
    supply = Supply(cuts, random.Random(2), lambda: list(acknowledged), WRITES_APART)
    with supply:
        store = Store.open(url_in(folder))
        for run in range(RUNS):
            open_run(store, f"run-{run}")
        supply.begin()

        def send(run: int) -> None:
            while not supply.done:
                seq = acknowledged[run]
                steps = range(seq * STEPS, (seq + 1) * STEPS)
                values = {"loss": [float(step) for step in steps], "x": [float(run)] * STEPS}
                store.frames.accept(frame(seq, group(values, steps), run_id=f"run-{run}"))
                acknowledged[run] = seq + 1

        def seal() -> None:
            while not supply.done:
                store.sealer.run_once()

        threads = [threading.Thread(target=send, args=(run,)) for run in range(RUNS)]
        threads.append(threading.Thread(target=seal))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()
    assert len(supply.cuts) == cuts
    return supply.cuts


def lost(folder: Path, acknowledged: list[int], files: dict[str, bytes]) -> list[str]:
    """Starts a store on what a cut has left, and names what is not as it was promised."""
    folder.mkdir()
    for path, content in files.items():
        (folder / Path(path).name).write_bytes(content)
    database = sqlite3.connect(folder / "gradwatch.db")
    try:
        sound = database.execute("PRAGMA integrity_check").fetchall()
    except sqlite3.DatabaseError as error:
        return [str(error)]
    finally:
        database.close()
    if sound != [("ok",)]:
        return [str(sound)]
    problems = []
    store = Store.open(url_in(folder))
    for run, frames in enumerate(acknowledged):
        read = list(store.series.read(f"run-{run}", ["loss", "x"]))
        points = len(read[0].steps) if read else 0
        # the one in flight is there as a whole or not at all
        if points not in (STEPS * frames, STEPS * (frames + 1)):
            problems.append(f"run {run}: {points / STEPS} frames, {frames} were acknowledged")
        for data in read:
            right = [float(step) if data.name == "loss" else float(run) for step in range(points)]
            if data.steps.tolist() != list(range(points)) or data.values.tolist() != right:
                problems.append(f"run {run}: {data.name} holds other values")
        if [info.count for info in store.series.names(f"run-{run}")] != [points] * len(read):
            problems.append(f"run {run}: the summaries say something else")
    store.close()
    return problems


def test_s02_what_was_acknowledged_survives_fifty_power_cuts(tmp_path: Path) -> None:
    cuts = play(tmp_path, CUTS)
    assert sum(cuts[-1][0]) > CUTS
    sealed = 0
    for number, (acknowledged, files) in enumerate(cuts):
        folder = tmp_path / f"cut-{number}"
        assert lost(folder, acknowledged, files) == [], f"cut {number}"
        database = sqlite3.connect(folder / "gradwatch.db")
        sealed += bool(database.execute("SELECT count(*) FROM seals").fetchone()[0])
        database.close()
    assert sealed > CUTS // 2, "the sealing was at work"


def test_s02_the_model_can_tell_a_store_that_does_not_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_WRITER_PRAGMAS", [*sqlite._WRITER_PRAGMAS, "synchronous = OFF"])
    cuts = play(tmp_path, 10)
    assert any(lost(tmp_path / f"cut-{number}", *cut) for number, cut in enumerate(cuts))
