"""Frames that share a transaction are looked up together: each gets the answer that it would have got alone."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event

from server.errors import FrameConflict
from server.store import Store
from server.store.accepted import AcceptedFrame
from tests.server.store.kit import frame, group, open_run

RUNS = ("run-a", "run-b", "run-c")
ATTEMPTS = ("a1", "a2")
Stream = tuple[str, str, int]


@contextmanager
def in_one_transaction(store: Store) -> Iterator[None]:
    """Holds the writer, so that what is submitted inside waits and is stored together."""
    held, go_on = threading.Event(), threading.Event()

    def hold(_connection: object) -> None:
        held.set()
        assert go_on.wait(30)

    waiting = store._writer.submit(hold, lambda _: None)
    assert held.wait(30)
    try:
        yield
    finally:
        go_on.set()
    waiting.result(30)


def test_frames_that_are_stored_together_are_what_they_would_be_alone(store: Store) -> None:
    chance = random.Random(3)
    numbers = {(run, attempt): open_run(store, run, attempt) for run in RUNS for attempt in ATTEMPTS}
    sent: dict[Stream, dict[int, AcceptedFrame]] = {}
    for turn in range(25):
        together: list[tuple[Stream, AcceptedFrame]] = []
        for _ in range(chance.randint(2, 12)):
            stream = (chance.choice(RUNS), chance.choice(ATTEMPTS), chance.choice((0, 0, 1)))
            known = sent.get(stream, {})
            seq = chance.choice((len(known), len(known), chance.randint(0, 12)))
            series = {"loss": [chance.random()]} | ({"grad_norm": [chance.random()]} if chance.random() < 0.5 else {})
            new = frame(seq, group(series, [turn]), run_id=stream[0], attempt=stream[1], rank=stream[2])
            together.append((stream, known.get(seq, new)))
        with in_one_transaction(store):
            answers = []
            for place, (_, one) in enumerate(together):
                answers.append(store.frames.submit(one))
                if place == 3:  # another kind of work between them
                    store._writer.submit(lambda _: None, lambda _: None)
        for (stream, one), answer in zip(together, answers, strict=True):
            known = sent.setdefault(stream, {})
            receipt = answer.result(30)
            assert receipt.duplicate == (one.seq in known)
            known.setdefault(one.seq, one)
            assert receipt.contiguous == next(seq for seq in range(-1, 400) if seq + 1 not in known)
            assert receipt.attempt == numbers[stream[:2]]
    for (run, attempt, rank), known in sent.items():
        frames = list(known.values())
        losses = sorted((int(one.groups[0].steps[0]), float(one.groups[0].values[0, 0])) for one in frames)
        (data,) = store.series.read(run, ["loss"], attempt=numbers[run, attempt], rank=rank)
        assert sorted(zip(data.steps.tolist(), data.values.tolist(), strict=True)) == losses
    for (run, attempt), number in numbers.items():
        frames = [one for stream, known in sent.items() if stream[:2] == (run, attempt) for one in known.values()]
        values = {
            name: [float(one.groups[0].values[row, 0]) for one in frames if len(one.groups[0].columns) > row]
            for row, name in enumerate(("loss", "grad_norm"))
        }
        told = {info.name: (info.count, info.min, info.max) for info in store.series.names(run, attempt=number)}
        assert told == {name: (len(row), min(row), max(row)) for name, row in values.items() if row}


def test_the_first_frames_of_many_runs_take_no_more_statements_than_those_of_few(store: Store) -> None:
    taken: list[int] = []
    for first, count in ((0, 4), (4, 16)):
        runs = [f"run-{number}" for number in range(first, first + count)]
        for run in runs:
            open_run(store, run)
        heard: list[str] = []

        def hear(_c: object, _u: object, statement: str, *_: object, heard: list[str] = heard) -> None:
            heard.append(statement)

        with in_one_transaction(store):
            event.listen(store._database.writing, "before_cursor_execute", hear)
            answers = [
                store.frames.submit(frame(0, group({"loss": [1.0], f"user/{run}": [2.0]}, [0]), run_id=run))
                for run in runs
            ]
        for answer in answers:
            answer.result(30)
        event.remove(store._database.writing, "before_cursor_execute", hear)
        taken.append(len(heard))
        for run in runs:
            found = store.series.read(run, ["loss", f"user/{run}"])
            assert [data.values.tolist() for data in found] == [[1.0], [2.0]]
    assert taken[0] == taken[1], "one of a kind for all of them"


def test_ranks_that_begin_a_run_together_share_its_groups(store: Store) -> None:
    open_run(store, "run-a")
    with in_one_transaction(store):
        answers = [
            store.frames.submit(frame(seq, group({"loss": [float(rank)]}, [seq]), run_id="run-a", rank=rank))
            for seq in (0, 1)
            for rank in (0, 1, 2)
        ]
    assert [answer.result(30).contiguous for answer in answers] == [0, 0, 0, 1, 1, 1]
    for rank in (0, 1, 2):
        (data,) = store.series.read("run-a", ["loss"], attempt=1, rank=rank)
        assert data.values.tolist() == [float(rank)] * 2
    (info,) = store.series.names("run-a", attempt=1)
    assert (info.count, info.min, info.max) == (6, 0.0, 2.0)


def test_one_conflict_among_frames_that_are_stored_together_refuses_itself_alone(store: Store) -> None:
    for run in RUNS:
        open_run(store, run)
        store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), run_id=run))
    with in_one_transaction(store):
        good = [store.frames.submit(frame(1, group({"loss": [2.0]}, [1]), run_id=run)) for run in RUNS]
        bad = store.frames.submit(frame(0, group({"loss": [9.0]}, [0]), run_id=RUNS[1], crc=7))
    assert [answer.result(30).contiguous for answer in good] == [1, 1, 1]
    refused = bad.exception(30)
    assert isinstance(refused, FrameConflict)
    assert str(refused).startswith("Another frame was accepted as seq 0 of rank 0, attempt a1: its CRC is 0x")
    for run in RUNS:
        (data,) = store.series.read(run, ["loss"])
        assert data.values.tolist() == [1.0, 2.0]
