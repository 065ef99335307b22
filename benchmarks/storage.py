"""Measures how many bytes a stored point takes: `python -m benchmarks.storage [--quick] [--database KIND]`.

Sealed float32 series, like those of a training and of pure noise, and beside ours in the same run: rows in SQLite, rows
through SQLAlchemy Core, TensorBoard's writer and, where it is installed, Trackio. Not for: reading (query.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.databases import add_option, database
from server.domain.runs import NewRun
from server.store import Store
from server.store.accepted import AcceptedFrame, AcceptedGroup

NOW_MS = 1_790_000_000_000
SERIES = 50
FRAME_STEPS = 64
ROWS_OF_OTHERS = 4_000  # steps: the others need seconds for what we do in a fraction of one
TARGET_BYTES = 3.6
Table = np.ndarray


def main() -> None:
    """Prints one JSON object a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes")
    add_option(parser)
    chosen = parser.parse_args()
    steps = 1_024 * (4 if chosen.quick else 40)
    few = ROWS_OF_OTHERS // (10 if chosen.quick else 1)
    for kind, values in (("training", training(steps)), ("noise", noise(steps))):
        with database(chosen.database) as (name, url):
            ours(f"Gradwatch, {name}, {kind}, {SERIES} series x {steps:,}", url, values)
    if chosen.database != "sqlite":
        return  # the others stand beside it there
    values = training(few)
    for other, write in (
        ("rows in SQLite", sqlite_rows),
        ("rows through SQLAlchemy Core", core_rows),
        ("TensorBoard SummaryWriter", tensorboard),
        ("Trackio", trackio),
    ):
        measure(f"{other}, training, {SERIES} series x {few:,}", write, values)


def training(steps: int) -> Table:
    """Makes series as a training has them: losses that fall, norms that wander, shares near nought or one."""
    chance = np.random.default_rng(0)
    at = np.arange(steps) / steps
    found = []
    for index in range(SERIES):
        wander = np.cumsum(chance.normal(size=steps)) / np.sqrt(steps)
        kind = index % 5
        if kind == 0:
            found.append(2.3 * np.exp(-4 * at) + 0.1 + 0.05 * chance.normal(size=steps))
        elif kind == 1:
            found.append(np.exp(0.5 * wander + 0.3 * chance.normal(size=steps)))
        elif kind == 2:
            found.append(1e-3 * 0.5 * (1 + np.cos(np.pi * at)))
        elif kind == 3:
            found.append(np.clip(0.5 + 0.1 * wander + 0.01 * chance.normal(size=steps), 0, 1))
        else:
            found.append(10 + wander + 1e-3 * chance.normal(size=steps))
    return np.array(found, "<f4")


def noise(steps: int) -> Table:
    """Makes series of which nothing but the exponents can be guessed."""
    return np.random.default_rng(1).normal(size=(SERIES, steps)).astype("<f4")


def ours(case: str, url: str, values: Table) -> None:
    """Stores them as the ingest does, seals, and measures what the database has grown by."""
    Store.open(url).close()
    _tidy(url)
    before = _size(url)
    store = Store.open(url)
    store.runs.open(NewRun("run", "a", started_ms=NOW_MS), NOW_MS)
    names = tuple(f"grad_norm/layers.{index}.weight" for index in range(len(values)))
    began = time.perf_counter()
    for seq, first in enumerate(range(0, values.shape[1], FRAME_STEPS)):
        part = np.ascontiguousarray(values[:, first : first + FRAME_STEPS])
        steps = np.arange(first, first + part.shape[1], dtype=np.int64)
        group = AcceptedGroup(names, steps, NOW_MS + 100 * steps, part)
        store.frames.accept(AcceptedFrame("run", "a", 0, seq, seq, int(steps[-1]), NOW_MS, (group,), ()))
        if seq % 64 == 63:
            store.sealer.run_once()
    store.sealer.run_once(everything=True)
    taken = time.perf_counter() - began
    store.close()
    _tidy(url)
    emit(case, "stored", (_size(url) - before) / values.size, "bytes/point", TARGET_BYTES)
    emit(case, "written and sealed", values.size / taken, "points/s", None)


def measure(case: str, write: Callable[[Path, Table], bool], values: Table) -> None:
    """Lets another way store them in an empty folder and measures its files."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        if not write(Path(folder), values):
            sys.stderr.write(f"{case}: not installed, not measured\n")
            return
        taken = time.perf_counter() - began
        size = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
    emit(case, "stored", size / values.size, "bytes/point", None)
    emit(case, "written", values.size / taken, "points/s", None)


def sqlite_rows(folder: Path, values: Table) -> bool:
    """One row a point, one transaction for 64 steps."""
    connection = sqlite3.connect(folder / "rows.db")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE points (series INTEGER, step INTEGER, value REAL, PRIMARY KEY (series, step)) WITHOUT ROWID"
    )
    for first in range(0, values.shape[1], FRAME_STEPS):
        rows = [
            (series, step, float(values[series, step]))
            for step in range(first, min(first + FRAME_STEPS, values.shape[1]))
            for series in range(len(values))
        ]
        connection.executemany("INSERT INTO points VALUES (?, ?, ?)", rows)
        connection.commit()
    connection.close()
    return True


def core_rows(folder: Path, values: Table) -> bool:
    """The same through SQLAlchemy Core, with the time of each point as products keep it."""
    engine = sa.create_engine(f"sqlite:///{folder / 'core.db'}")
    table = sa.Table(
        "points", sa.MetaData(), sa.Column("series", sa.Integer, primary_key=True),
        sa.Column("step", sa.Integer, primary_key=True), sa.Column("time_ms", sa.BigInteger),
        sa.Column("value", sa.Float),
    )  # fmt: skip
    table.metadata.create_all(engine)
    for first in range(0, values.shape[1], FRAME_STEPS):
        rows = [
            {"series": series, "step": step, "time_ms": NOW_MS + step, "value": float(values[series, step])}
            for step in range(first, min(first + FRAME_STEPS, values.shape[1]))
            for series in range(len(values))
        ]
        with engine.begin() as connection:
            connection.execute(sa.insert(table), rows)
    engine.dispose()
    return True


def tensorboard(folder: Path, values: Table) -> bool:
    """An event file."""
    if importlib.util.find_spec("tensorboard") is None:
        return False
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    for step in range(values.shape[1]):
        for series in range(len(values)):
            writer.add_scalar(f"grad_norm/layers.{series}.weight", float(values[series, step]), step)
    writer.close()
    return True


def trackio(folder: Path, values: Table) -> bool:
    """Its local database, written by the storage that its server uses."""
    if importlib.util.find_spec("trackio") is None:
        return False
    os.environ["TRACKIO_DIR"] = str(folder)
    from trackio.sqlite_storage import SQLiteStorage

    names = [f"grad_norm/layers.{series}.weight" for series in range(len(values))]
    for first in range(0, values.shape[1], FRAME_STEPS):
        steps = list(range(first, min(first + FRAME_STEPS, values.shape[1])))
        rows = [dict(zip(names, values[:, step].astype(float).tolist(), strict=True)) for step in steps]
        SQLiteStorage.bulk_log(project="bench", run="run", metrics_list=rows, steps=steps)
    return True


def _size(url: str) -> int:
    if url.startswith("sqlite"):
        base = url.removeprefix("sqlite:///")
        return sum(Path(base + end).stat().st_size for end in ("", "-wal") if Path(base + end).exists())
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.text("SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relkind = 'r'"
                                           " AND relnamespace = 'public'::regnamespace"))  # fmt: skip
        size = int(found.scalar_one())
    engine.dispose()
    return size


def _tidy(url: str) -> None:
    """Gives back what the open tails took, as the server does when it is idle, and PostgreSQL's autovacuum."""
    if url.startswith("sqlite"):
        store = Store.open(url)
        while store._database.shrink():
            pass
        store.close()
        return
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text("VACUUM"))
    engine.dispose()


def emit(case: str, metric: str, value: float, unit: str, target: float | None) -> None:
    """Prints one measurement."""
    line = {"benchmark": "storage", "case": case, "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**line, "target": target, "meets": None if target is None else value <= target}), flush=True)


if __name__ == "__main__":
    main()
