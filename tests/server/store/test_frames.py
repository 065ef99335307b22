"""Frames: idempotence, any order, exact values, attempts apart, and what a frame changes in its run."""

from __future__ import annotations

import math
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.domain.runs import DiagnosisState, RunState
from server.errors import FrameConflict, UnknownRun
from server.store import Store, catalogue
from tests.server.empty import put_database
from tests.server.store.kit import NOW, RUN, frame, group, open_run, samples, status, url_in
from tests.serving import wait_until


def test_a_frame_sent_again_is_acknowledged_and_stored_once(store: Store) -> None:
    open_run(store)
    sent = frame(0, group({"loss": [1.0, 2.0]}, [0, 1]))
    assert not store.frames.accept(sent).duplicate
    again = store.frames.accept(sent)
    assert (again.duplicate, again.contiguous) == (True, 0)
    assert samples(store, "loss") == [(0, 1.0), (1, 2.0)]


def test_another_frame_of_the_same_identity_is_refused(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), crc=1))
    with pytest.raises(FrameConflict, match="Another frame was accepted as seq 0 of rank 0, attempt a1: its CRC is 0x"):
        store.frames.accept(frame(0, group({"loss": [9.0]}, [0]), crc=2))
    assert samples(store, "loss") == [(0, 1.0)]


def test_an_unknown_run_or_attempt_is_named(store: Store) -> None:
    with pytest.raises(UnknownRun, match=f"Run {RUN} is not known here; open it with POST /api/v1/runs"):
        store.frames.accept(frame(0))
    open_run(store)
    with pytest.raises(UnknownRun, match=f"Attempt a9 of run {RUN} is not known here"):
        store.frames.accept(frame(0, attempt="a9"))


@pytest.mark.parametrize("refused", [False, True])
def test_frames_that_share_a_transaction_see_each_other_and_fail_alone(store: Store, refused: bool) -> None:
    """What they write is left for the end of the transaction; with a refused one in it, each runs by itself."""
    open_run(store)
    open_run(store, "other")
    jobs = [frame(0, group({"loss": [3.0]}, [0])), frame(2, group({"loss": [1.0]}, [2])),
            frame(0, group({"loss": [9.0]}, [0]), run_id="other"), frame(1, group({"loss": [2.0]}, [1])),
            frame(2, group({"loss": [1.0]}, [2])), frame(3, records=[status("finished", 2)])]  # fmt: skip
    jobs += [frame(0, run_id="unknown")] if refused else []
    held, free = threading.Event(), threading.Event()
    with ThreadPoolExecutor(len(jobs) + 2) as pool:
        holding = pool.submit(store._writer.run, lambda _connection: (held.set(), free.wait(30)))
        assert held.wait(30)
        waiting = []
        for number, job in enumerate(jobs, start=1):
            waiting.append(pool.submit(store.frames.accept, job))
            wait_until(lambda number=number: len(store._writer._waiting) == number, "the frame in the queue")
        renamed = pool.submit(store.runs.update, "other", name="named")
        free.set()
        assert holding.result(30)
        receipts = [one.result(30) for one in waiting if one.exception(30) is None]
        assert renamed.result(30)
    assert [(receipt.contiguous, receipt.duplicate) for receipt in receipts] == [
        (0, False), (0, False), (0, False), (2, False), (2, True), (3, False)
    ]  # fmt: skip
    assert [one.exception() is None for one in waiting] == [True] * 6 + [False] * refused
    assert samples(store, "loss") == [(0, 3.0), (1, 2.0), (2, 1.0)]
    run, other = store.runs.get(RUN), store.runs.get("other")
    assert run
    assert other
    assert (run.state, run.last_step, run.last_loss) == (RunState.FINISHED, 2, 1.0)
    assert (other.name, other.last_loss) == ("named", 9.0)


def test_values_come_back_bit_by_bit(store: Store) -> None:
    open_run(store)
    hard = [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308]
    single = np.array([math.nan, math.inf, 1e-45, 3.4e38, 0.1, -0.0], np.float32)
    store.frames.accept(
        frame(0, group({"loss": hard}, range(6)), group({"act/std/fc": single.tolist()}, range(6), "f4"))
    )
    (loss,), (activation,) = store.series.read(RUN, ["loss"]), store.series.read(RUN, ["act/std/fc"])
    assert loss.values.tobytes() == np.array(hard).tobytes()
    assert activation.values.astype(np.float32).tobytes() == single.tobytes()


def test_a_series_in_several_groups_is_one_series(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), group({"loss": [2.0], "grad_norm": [3.0]}, [1])))
    store.frames.accept(frame(1, group({"loss": [0.5]}, [5], "f4")))
    assert samples(store, "loss") == [(0, 1.0), (1, 2.0), (5, 0.5)]
    assert samples(store, "loss", start=1, stop=4) == [(1, 2.0)]
    (info,) = [info for info in store.series.names(RUN) if info.name == "loss"]
    assert (info.count, info.first_step, info.last_step, info.last_value, info.min, info.max) == (
        3,
        0,
        5,
        0.5,
        0.5,
        2.0,
    )


def test_attempts_and_ranks_never_overwrite_each_other(store: Store) -> None:
    assert open_run(store) == 1
    store.frames.accept(frame(0, group({"loss": [1.0]}, [7])))
    store.frames.accept(frame(0, group({"loss": [1.5]}, [7]), rank=1))
    assert open_run(store, attempt="a2", first_step=5) == 2
    store.frames.accept(frame(0, group({"loss": [2.0]}, [7]), attempt="a2"))
    store.frames.accept(frame(1, group({"loss": [1.1]}, [8])))  # a late frame of the first attempt
    assert samples(store, "loss", attempt=1) == [(7, 1.0), (8, 1.1)]
    assert samples(store, "loss", attempt=1, rank=1) == [(7, 1.5)]
    assert samples(store, "loss") == [(7, 2.0)]
    assert len(store.series.read(RUN, ["loss"], attempt="all")) == 2
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.last_loss, run.last_step, run.attempts) == (2.0, 7, 2)


def test_the_summary_of_the_run_follows_the_frames(store: Store) -> None:
    open_run(store)
    steps = range(1000)
    store.frames.accept(frame(0, group({"loss": [1000.0 - step for step in steps]}, steps)))
    store.frames.accept(frame(1, group({"val/loss": [3.0, 2.0, math.nan]}, [10, 20, 30])))
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.last_step, run.last_loss, run.best_validation) == (999, 1.0, 2.0)
    assert run.steps_per_s == pytest.approx(10.0)
    assert 32 <= len(run.sparkline) <= 64
    assert store.queue.dirty() == [RUN]


def test_an_infinite_or_absent_last_loss_is_told_from_none(store: Store) -> None:
    open_run(store)
    before = store.runs.get(RUN)
    store.frames.accept(frame(0, group({"loss": [math.nan]}, [0])))
    after = store.runs.get(RUN)
    assert before is not None
    assert after is not None
    assert before.last_loss is None
    assert after.last_loss is not None
    assert math.isnan(after.last_loss)


def test_a_late_frame_sets_a_final_diagnosis_back_to_live(store: Store) -> None:
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), records=[status("finished")]))
    store.findings.save(RUN, findings=[], checks=[], diagnosed_step=0, diagnosis=DiagnosisState.FINAL,
                        seen_version=store.runs.frame_version(RUN), verdict="")  # fmt: skip
    assert store.queue.dirty() == []
    store.frames.accept(frame(1, group({"loss": [2.0]}, [1])))
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.state, run.diagnosis) == (RunState.FINISHED, DiagnosisState.LIVE)
    assert store.queue.dirty() == [RUN]


def test_the_diagnosis_gets_frames_in_order_and_stops_at_a_gap(store: Store) -> None:
    open_run(store)
    for seq in (2, 0, 4, 1):
        receipt = store.frames.accept(frame(seq, group({"loss": [float(seq)]}, [seq])))
    assert receipt.contiguous == 2
    assert [one.seq for one in store.frames.since(RUN, 1, 0, -1)] == [0, 1, 2]
    assert [one.groups[0].values.tolist() for one in store.frames.since(RUN, 1, 0, 0, limit=1)] == [[[1.0]]]
    assert store.frames.since(RUN, 1, 0, 2) == []
    assert store.frames.accept(frame(3)).contiguous == 4


def test_columns_beyond_the_limit_are_dropped_and_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "MAX_SERIES_PER_RUN", 3)
    open_run(store)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0])))
    receipt = store.frames.accept(
        frame(1, group({"a": [1.0], "b": [2.0], "c": [3.0], "d": [4.0]}, [1]), group({"loss": [5.0]}, [1]))
    )
    assert receipt.dropped == (("more than 3 series in one run", 2),)
    assert [info.name for info in store.series.names(RUN)] == ["loss", "a", "b"]
    assert samples(store, "loss") == [(0, 1.0), (1, 5.0)]


SAMPLE = st.tuples(st.integers(-1, 40), st.floats(width=32))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 1), st.lists(SAMPLE, min_size=1, max_size=6)), min_size=1, max_size=6),
    st.data(),
)
def test_any_frames_in_any_order_however_often_give_their_multiset(
    content: list[tuple[int, list[tuple[int, float]]]], data: st.DataObject
) -> None:
    frames = [
        frame(seq, group({"loss": [value for _, value in pairs]}, [step for step, _ in pairs]), rank=rank)
        for seq, (rank, pairs) in enumerate(content)
    ]
    arrivals = data.draw(st.permutations(frames + data.draw(st.lists(st.sampled_from(frames), max_size=6))))
    with tempfile.TemporaryDirectory() as folder:
        put_database(Path(folder) / "gradwatch.db")
        store = Store.open(url_in(Path(folder)))
        try:
            open_run(store)
            for arrival in arrivals:
                store.frames.accept(arrival)
            for rank in (0, 1):
                read = samples(store, "loss", rank=rank)
                assert [step for step, _ in read] == sorted(step for step, _ in read)
                sent = [pair for one, pairs in content if one == rank for pair in pairs]
                assert Counter(map(repr, read)) == Counter(repr((step, value)) for step, value in sent)
            total = sum(len(pairs) for _, pairs in content)
            assert [info.count for info in store.series.names(RUN)] == [total]
            run = store.runs.get(RUN)
            assert run is not None
            assert run.last_step == max(step for _, pairs in content for step, _ in pairs)
            assert run.heard_ms == NOW
        finally:
            store.close()
