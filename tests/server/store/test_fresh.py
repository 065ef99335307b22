"""What is read of many runs at once is what each of them would have been read as, or left out."""

from __future__ import annotations

from typing import Any

import pytest

from server.store import Store, fresh
from server.store.accepted import AcceptedRecord
from server.store.fresh import FRAMES_AHEAD, Place
from tests.server.store.kit import accept_all, frame, group, open_run

RUNS = [f"0190a3d2-7b11-7c3e-9a55-2f6d1c0b{number:04x}" for number in range(20)]


def fact(name: str, value: int) -> AcceptedRecord:
    return AcceptedRecord("fact", name, 0, 1, {"a": value}, f'{{"a":{value}}}')


def plain(frames: Any) -> list[Any]:
    return [
        (
            one.seq,
            one.complete,
            [(g.columns, g.steps.tolist(), g.times_ms.tolist(), g.values.tolist()) for g in one.groups],
            one.facts,
        )
        for one in frames
    ]


def test_many_runs_are_read_as_each_by_itself(store: Store) -> None:
    for number, run_id in enumerate(RUNS):
        open_run(store, run_id)
        for seq in range(number % 4):
            both = group({"loss": [1.0 * seq]}, [seq]), group({"a": [float("inf")], "b": [2.0]}, [seq], "f4")
            records = [fact("one", seq), fact("two", seq), fact("one", -seq)]
            store.frames.accept(frame(seq, *both, run_id=run_id, records=records))
            store.frames.accept(frame(seq, *both, run_id=run_id, rank=1))
    for after in (-1, 0, 1):
        places = [Place(run_id, 1, after) for run_id in RUNS]
        alone = {run_id: plain(store.frames.since(run_id, 1, 0, after)) for run_id in RUNS}
        together = {run_id: plain(frames) for run_id, frames in store.frames.fresh(places).items()}
        assert together == {run_id: frames for run_id, frames in alone.items() if frames}
    assert store.frames.fresh([]) == {}


def test_no_more_than_a_few_frames_and_none_beyond_a_gap(store: Store) -> None:
    for run_id, seqs in zip(RUNS, ([0, 1, 2, 3, 4, 5], [0, 2], [1]), strict=False):
        open_run(store, run_id)
        for seq in seqs:
            store.frames.accept(frame(seq, group({"loss": [1.0]}, [seq]), run_id=run_id))
        store.frames.since(run_id, 1, 0, -1)
    found = store.frames.fresh([Place(run_id, 1, -1) for run_id in RUNS[:3]])
    seqs = {run_id: [one.seq for one in frames] for run_id, frames in found.items()}
    assert seqs == {RUNS[0]: list(range(FRAMES_AHEAD)), RUNS[1]: [0]}


def test_what_was_sealed_or_is_large_is_left_to_be_read_alone(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fresh, "LARGEST_BLOCK", 1_000)
    fresh._together.cache_clear()
    for run_id, steps in zip(RUNS, (1, 600, 1), strict=False):
        open_run(store, run_id)
        store.frames.accept(frame(0, group({"loss": [1.0] * steps}, range(steps)), run_id=run_id))
    accept_all(store, [frame(seq, group({"loss": [1.0]}, [seq]), run_id=RUNS[2]) for seq in range(1, 1100)])
    for run_id in RUNS[:3]:
        store.frames.since(run_id, 1, 0, -1)
    store.sealer.run_once()
    store.frames.accept(frame(1100, group({"loss": [1.0]}, [1100]), run_id=RUNS[2]))
    places = [Place(RUNS[0], 1, -1), Place(RUNS[1], 1, -1), Place(RUNS[2], 1, 1098)]
    assert list(store.frames.fresh(places)) == [RUNS[0]]
    assert [one.seq for one in store.frames.fresh([Place(RUNS[2], 1, 1099)])[RUNS[2]]] == [1100]
    fresh._together.cache_clear()


def test_names_that_nobody_read_before_are_left_to_be_read_alone(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0])))
    place = Place(RUNS[0], 1, -1)
    open_run(store, RUNS[0])
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), run_id=RUNS[0]))
    assert store.frames.fresh([place]) == {}
    store.frames.since(RUNS[0], 1, 0, -1)
    assert len(store.frames.fresh([place])[RUNS[0]]) == 1
