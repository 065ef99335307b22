"""What the store's tests share: a store in a folder of its own, openings, and frames made from plain numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from alembic import command

from client_hook import wire
from server.domain.runs import NewRun
from server.store import Store, migrations
from server.store.accepted import AcceptedFrame, AcceptedGroup, AcceptedRecord
from server.store.engine import open_database
from tests.frames import pack_group

RUN = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e77"
NOW = 1_790_000_000_000


def url_in(folder: Path) -> str:
    """Names a database in a folder."""
    return f"sqlite:///{folder / 'gradwatch.db'}"


def open_run(store: Store, run_id: str = RUN, attempt: str = "a1", **more: Any) -> int:
    """Opens a run and gives the number of the attempt."""
    return store.runs.open(NewRun(run_id, attempt, **{"started_ms": NOW, **more}), NOW)[1]


def group(series: Mapping[str, Sequence[float]], steps: Sequence[int], dtype: str = "f8") -> AcceptedGroup:
    """Makes a group of series that share their steps; a step takes 100 ms."""
    at = np.array(steps, np.int64)
    return AcceptedGroup(tuple(series), at, NOW + 100 * at, np.array(list(series.values()), f"<{dtype}"))


def frame(
    seq: int,
    *groups: AcceptedGroup,
    run_id: str = RUN,
    attempt: str = "a1",
    rank: int = 0,
    crc: int | None = None,
    records: Sequence[AcceptedRecord] = (),
    received_ms: int = NOW,
) -> AcceptedFrame:
    """Makes a frame as the ingest hands it over."""
    complete = max((int(one.steps.max()) for one in groups), default=-1)
    return AcceptedFrame(
        run_id, attempt, rank, seq, seq if crc is None else crc, complete, received_ms, groups, tuple(records)
    )


def accept_all(store: Store, frames: Sequence[AcceptedFrame]) -> None:
    """Stores many frames, hundreds in a commit."""
    for first in range(0, len(frames), 500):
        for answer in [store.frames.submit(one) for one in frames[first : first + 500]]:
            answer.result(60)


def status(state: str, step: int = 0) -> AcceptedRecord:
    """Makes the record that ends an attempt."""
    return AcceptedRecord("status", state, step, NOW + 1, {"state": state}, f'{{"state":"{state}"}}')


def samples(store: Store, name: str, **where: Any) -> list[tuple[int, float]]:
    """Reads one series of one attempt as pairs."""
    read = store.series.read(RUN, [name], **where)
    return [pair for data in read for pair in zip(data.steps.tolist(), data.values.tolist(), strict=True)]


def sent_frame(
    seq: int,
    series: Mapping[str, Sequence[float]],
    *,
    records: Sequence[dict[str, Any]] = (),
    run_id: str = RUN,
    attempt: str = "a1",
) -> bytes:
    """Encodes a frame as the hook sends it, with values of consecutive steps from 0."""
    count = max(len(values) for values in series.values())
    rows = list(zip(*series.values(), strict=True))
    packed = pack_group(series, range(count), [NOW] * count, rows, "f8")
    return wire.encode(wire.Frame(run_id, attempt, 0, seq, NOW, count - 1, (packed,), tuple(records)))


def to_revision(url: str, revision: str) -> None:
    """Makes a database as an older version would have."""
    database = open_database(url)
    config = migrations._config()
    with database.writing.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        database.mark_as_ours(connection)
    database.close()
