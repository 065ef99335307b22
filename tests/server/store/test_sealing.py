"""Sealing: samples move into chunks without a loss, a double, or a change of what any reader sees."""

from __future__ import annotations

import math
import sqlite3
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from server.errors import FrameConflict
from server.store import Store, frame_packs, pieces, schema, seals
from tests.server.empty import put_database
from tests.server.store.kit import NOW, RUN, accept_all, frame, group, open_run, samples, status, url_in


def count(store: Store, table: Any) -> int:
    """Counts the rows of a table."""
    with store._database.read() as connection:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())


def test_a_tail_is_sealed_at_1024_samples_and_not_before(store: Store) -> None:
    open_run(store)
    for seq in range(31):
        store.frames.accept(frame(seq, group({"loss": [seq / 7] * 33}, range(33 * seq, 33 * seq + 33))))
    assert store.sealer.run_once() == 0
    store.frames.accept(frame(31, group({"loss": [1.0] * 33}, range(1023, 1056))))
    before = samples(store, "loss")
    assert store.sealer.run_once() == 1
    assert (count(store, schema.blocks), count(store, schema.seals)) == (0, 1)
    assert samples(store, "loss") == before
    store.frames.accept(frame(32, group({"loss": [2.0]}, [1056])))
    assert store.sealer.run_once() == 0
    assert samples(store, "loss")[-2:] == [(1055, 1.0), (1056, 2.0)]


def test_a_backlog_becomes_chunks_of_about_1024(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": np.arange(5000.0).tolist()}, range(5000), "f4")))
    store.sealer.run_once()
    with store._database.read() as connection:
        sizes = connection.execute(select(schema.seals.c["count"])).scalars().all()
    assert sizes == [1000] * 5
    assert [value for _, value in samples(store, "loss")] == list(range(5000))


def test_the_end_of_a_run_seals_what_is_open(tmp_path: Path) -> None:
    now = [NOW]
    store = Store.open(url_in(tmp_path), lambda: now[0])
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0, math.nan]}, [0, 1]), records=[status("finished")]))
    assert store.sealer.run_once() == 0, "frames may still be on their way"
    now[0] += 6_000
    assert store.sealer.run_once() == 1
    store.frames.accept(frame(1, group({"loss": [3.0]}, [2])))
    now[0] += 6_000
    assert store.sealer.run_once() == 1
    assert repr(samples(store, "loss")) == "[(0, 1.0), (1, nan), (2, 3.0)]"
    store.close()


def test_a_silent_run_is_sealed_and_a_start_finds_old_tails(tmp_path: Path) -> None:
    now = [NOW]
    store = Store.open(url_in(tmp_path), lambda: now[0])
    open_run(store)
    open_run(store, run_id="other", attempt="b1")
    store.frames.accept(frame(0, group({"loss": [1.0] * 2000}, range(2000)), run_id="other", attempt="b1"))
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0])))
    store.close()
    store = Store.open(url_in(tmp_path), lambda: now[0])
    assert store.sealer.run_once() == 1, "only the long one"
    assert sorted(store.queue.mark_silent(NOW + 1, NOW + 1)) == sorted(["other", RUN])
    now[0] += 6_000
    assert store.sealer.run_once() == 1
    assert count(store, schema.blocks) == 0
    store.close()


def test_wide_groups_are_read_by_page_and_narrow_columns_come_back_alone(store: Store) -> None:
    open_run(store)
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 1024)).astype(np.float32)
    values[7, 100] = np.inf
    series = {f"act/std/l{index}": values[index].tolist() for index in range(200)}
    store.frames.accept(frame(0, group(series, range(1024), "f4")))
    store.sealer.run_once()
    read = store.series.read(RUN, list(series))
    assert np.stack([data.values for data in read]).astype(np.float32).tobytes() == values.tobytes()
    assert store.series.read(RUN, ["act/std/l7"], start=99, stop=101)[0].values.tolist()[1] == math.inf
    with store._database.read() as connection:
        sizes = connection.execute(select(func.length(schema.pieces.c.data))).scalars().all()
    assert sizes[:-1] == [seals.PIECE_BYTES] * (len(sizes) - 1)


def test_a_full_piece_fills_a_page_of_the_file_without_an_overflow(tmp_path: Path) -> None:
    store = Store.open(url_in(tmp_path))
    run_id = "r" * 100
    open_run(store, run_id=run_id)
    noise = np.random.default_rng(0).normal(size=(60, 1024))
    series = {f"s{index}": noise[index].tolist() for index in range(60)}
    store.frames.accept(frame(0, group(series, range(1024), "f4"), run_id=run_id))
    store.sealer.run_once()
    store.close()
    with sqlite3.connect(tmp_path / "gradwatch.db") as connection:
        pages = (
            connection.execute(
                "SELECT pagetype, count(*) FROM dbstat WHERE name = 'pieces' GROUP BY pagetype"
            ).fetchall()
            if _has_dbstat(connection)
            else []
        )
    connection.close()
    assert "overflow" not in dict(pages)


def _has_dbstat(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT 1 FROM dbstat LIMIT 1")
    except sqlite3.OperationalError:
        return False
    return True


def test_frames_are_packed_and_still_recognised(store: Store) -> None:
    open_run(store)
    accept_all(store, [frame(seq, group({"loss": [float(seq)]}, [seq]), crc=seq * 7919) for seq in range(1100)])
    store.sealer.run_once()
    assert count(store, schema.frames) == 0
    assert count(store, schema.frame_packs) == 1
    again = store.frames.accept(frame(500, group({"loss": [500.0]}, [500]), crc=500 * 7919))
    assert (again.duplicate, again.contiguous) == (True, 1099)
    with pytest.raises(FrameConflict, match="Another frame was accepted as seq 500 of rank 0"):
        store.frames.accept(frame(500, group({"loss": [0.0]}, [500]), crc=1))
    assert len(samples(store, "loss")) == 1100
    assert store.frames.accept(frame(1100, group({"loss": [1.0]}, [1100]))).contiguous == 1100
    assert [one.seq for one in store.frames.since(RUN, 1, 0, 1090)] == list(range(1091, 1101))


def test_a_late_frame_is_sealed_later_and_read_in_its_place(store: Store) -> None:
    open_run(store)
    frames = [frame(seq, group({"loss": [float(seq)] * 4}, range(4 * seq, 4 * seq + 4))) for seq in range(300)]
    accept_all(store, frames[:3] + frames[4:])
    store.sealer.run_once(everything=True)
    assert count(store, schema.frames) == 299, "behind a gap nothing is packed"
    store.frames.accept(frames[3])
    store.sealer.run_once(everything=True)
    assert count(store, schema.frames) == 0
    assert samples(store, "loss") == [(step, float(step // 4)) for step in range(1200)]


def test_the_diagnosis_reads_the_same_frames_before_and_after(store: Store) -> None:
    open_run(store)
    rng = np.random.default_rng(3)
    step = 0
    for seq in range(80):
        size = int(rng.integers(1, 60))
        at = range(step, step + size)
        wide = {f"grad_norm/p{index}": rng.normal(size=size).tolist() for index in range(9)}
        store.frames.accept(frame(seq, group({"loss": rng.normal(size=size).tolist()}, at), group(wide, at, "f4")))
        step += size
    before = everything_since(store)
    assert store.sealer.run_once(everything=True) == 2
    assert everything_since(store) == before
    assert everything_since(store, limit=7) == before


def everything_since(store: Store, limit: int = 256) -> list[Any]:
    """Reads all frames in turns, in a form that can be compared."""
    found: list[Any] = []
    after = -1
    while fresh := store.frames.since(RUN, 1, 0, after, limit=limit):
        for one in fresh:
            groups = sorted(
                (each.columns, each.steps.tolist(), each.times_ms.tolist(), each.values.tobytes())
                for each in one.groups
            )
            found.append((one.seq, one.complete, groups))
        after = fresh[-1].seq
    return found


@pytest.mark.parametrize("broken", ["blocks", "seals", "pieces"])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    store: Store, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": np.arange(3000.0).tolist()}, range(3000))))
    before = samples(store, "loss")

    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    target: tuple[Any, str] = {
        "blocks": (seals, "seal"),
        "seals": (frame_packs, "pack"),
        "pieces": (seals.Seal, "pieces"),
    }[broken]
    with monkeypatch.context() as patched:
        patched.setattr(*target, fail)
        with pytest.raises(OSError, match="the disk is gone"):
            store.sealer.run_once(everything=True)
    assert (samples(store, "loss"), count(store, schema.seals)) == (before, 0)
    assert store.sealer.run_once(everything=True) == 1
    assert samples(store, "loss") == before


def test_a_deleted_run_is_not_sealed(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0] * 2000}, range(2000))))
    store.runs.delete(RUN)
    assert store.sealer.run_once() == 0


def test_missing_pieces_are_told(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0] * 2000}, range(2000))))
    store.sealer.run_once()
    with store._database.read() as connection, pytest.raises(Exception, match=r"Sealed samples of run .* are missing"):
        pieces.fetch(connection, RUN, [0, 99])


SAMPLE = st.tuples(st.integers(-1, 30), st.floats(width=32))
SEAL = "seal"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.lists(SAMPLE, min_size=1, max_size=5), st.sampled_from(["f4", "f8"])),
        min_size=1,
        max_size=7,
    ),
    st.data(),
)
def test_whatever_is_sealed_when_every_reader_sees_the_same(
    content: list[tuple[int, list[tuple[int, float]], str]], data: st.DataObject
) -> None:
    frames = [
        frame(seq, group({"loss": [value for _, value in pairs], "x": [0.0] * len(pairs)},
                         [step for step, _ in pairs], dtype), rank=rank)
        for seq, (rank, pairs, dtype) in enumerate(content)
    ]  # fmt: skip
    arrivals: list[Any] = data.draw(st.permutations([*frames, SEAL, SEAL, SEAL, *frames[:2]]))
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        for folder in (one, other):
            put_database(Path(folder) / "gradwatch.db")
        plain, sealed = Store.open(url_in(Path(one))), Store.open(url_in(Path(other)))
        try:
            for store in (plain, sealed):
                open_run(store)
                for arrival in arrivals:
                    if arrival is not SEAL:
                        store.frames.accept(arrival)
                    elif store is sealed:
                        store.sealer.run_once(everything=True)
            sealed.sealer.run_once(everything=True)
            for rank in (0, 1):
                assert repr(samples(sealed, "loss", rank=rank)) == repr(samples(plain, "loss", rank=rank))
                part = {"rank": rank, "start": 3, "stop": 9}
                assert repr(samples(sealed, "loss", **part)) == repr(samples(plain, "loss", **part))
            assert repr(sealed.series.names(RUN)) == repr(plain.series.names(RUN))
        finally:
            plain.close()
            sealed.close()


def test_sealing_stops_between_two_tails(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), group({"x": [1.0]}, [0]), group({"y": [1.0]}, [0])))
    assert store.sealer.run_once(everything=True, stopped=lambda: True) == 0
    asked = iter((False, True, True, True))
    assert store.sealer.run_once(everything=True, stopped=lambda: next(asked)) == 1
    assert store.sealer.run_once(everything=True) == 2
