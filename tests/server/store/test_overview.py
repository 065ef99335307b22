"""What charts read: from outlines, ladders or samples, it always says the same as the samples would."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.downsample import Buckets
from server.grid import Patch, grid_of
from server.smoothing import smooth
from server.store import Store, heatmap, samples, seals
from tests.server.store.kit import RUN, frame, group, open_run, url_in


def send(store: Store, values: np.ndarray, *, steps: np.ndarray | None = None, name: str = "loss") -> None:  # type: ignore[type-arg]
    """Sends a series in frames of a few hundred samples."""
    at = np.arange(len(values)) if steps is None else steps
    for seq, begin in enumerate(range(0, len(values), 500)):
        cut = slice(begin, begin + 500)
        store.frames.accept(frame(seq, group({name: values[cut].tolist(), "x": values[cut].tolist()}, at[cut])))


def check(cut: Buckets, steps: np.ndarray, values: np.ndarray) -> None:  # type: ignore[type-arg]
    """Compares every bucket with the samples that it covers."""
    assert int(cut.count.sum()) == len(values)
    edges = np.append(0, np.cumsum(cut.count))
    counted = {"nan": 0, "inf": 0, "-inf": 0}
    for index, (begin, end) in enumerate(pairwise(edges.tolist())):
        inside = values[begin:end]
        finite = inside[np.isfinite(inside)]
        assert (cut.steps[index], cut.last_steps[index]) == (steps[begin], steps[end - 1])
        told = (cut.min[index], cut.max[index], cut.first[index], cut.last[index])
        if len(finite):
            assert told == (finite.min(), finite.max(), finite[0], finite[-1])
        else:
            assert np.isnan(told).all()
    for entry in cut.nonfinite:
        begin, end = edges[entry.bucket], edges[entry.bucket + 1]
        where = np.flatnonzero([repr(value) == entry.kind for value in values[begin:end].tolist()])
        assert entry.count == len(where)
        assert (entry.step, entry.last_step) == (steps[begin + where[0]], steps[begin + where[-1]])
        counted[entry.kind] += entry.count
    assert counted == {kind: sum(repr(value) == kind for value in values.tolist()) for kind in counted}


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Any, Any]]:
    """Stores 40,500 samples, 40,000 of them sealed, with spikes, a stretch of NaN, and single infinities."""
    store = Store.open(url_in(tmp_path_factory.mktemp("long")))
    rng = np.random.default_rng(0)
    values = rng.normal(1, 0.1, 40_500)
    values[12_345] = 99.0
    values[20_000:24_500] = math.nan
    values[30_000], values[30_001] = math.inf, -math.inf
    open_run(store)
    send(store, values)
    store.sealer.run_once()
    yield store, np.arange(40_500), values
    store.close()


@pytest.mark.parametrize("points", [2, 10, 50, 2_000, 20_000])
@pytest.mark.parametrize("bounds", [(None, None), (1_000, 39_999), (12_300, 12_400), (19_000, 31_000), (50_000, None)])
def test_buckets_tell_of_their_samples(
    long: tuple[Store, Any, Any], points: int, bounds: tuple[int | None, int | None]
) -> None:
    store, steps, values = long
    cuts = store.overview.buckets(RUN, ["loss", "x"], points=points, start=bounds[0], stop=bounds[1])
    inside = (steps >= (bounds[0] or 0)) & (steps <= (bounds[1] if bounds[1] is not None else steps[-1]))
    assert len(cuts) == (2 if inside.any() else 0)
    for one in cuts:
        assert len(one.buckets.steps) <= max(1, points // 2)
        check(one.buckets, steps[inside], values[inside])


def test_a_whole_view_reads_no_chunk(long: tuple[Store, Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    store, _, _ = long
    unpacked: list[int] = []
    right = seals.unpack_chunk
    monkeypatch.setattr(seals, "unpack_chunk", lambda *args: unpacked.append(1) or right(*args))
    store.overview.buckets(RUN, ["loss"], points=40)
    assert len(unpacked) <= 3, "those with a NaN among numbers alone"


def test_every_chart_of_a_resumed_run_can_show_all_attempts(store: Store) -> None:
    open_run(store)
    send(store, np.ones(3_000))
    open_run(store, attempt="a2", first_step=2_000)
    store.frames.accept(frame(0, group({"loss": [2.0] * 3_000}, range(2_000, 5_000)), attempt="a2"))
    store.sealer.run_once(everything=True)
    cuts = store.overview.buckets(RUN, ["loss"], points=8, attempt="all")
    assert [(cut.attempt, cut.buckets.steps[0], cut.buckets.last_steps[-1]) for cut in cuts] == [
        (1, 0, 2_999),
        (2, 2_000, 4_999),
    ]


def test_smoothing_is_over_all_samples_whatever_is_shown(long: tuple[Store, Any, Any]) -> None:
    store, steps, values = long
    curve = smooth(steps, values, 50.0)
    (whole,) = store.overview.buckets(RUN, ["loss"], points=200, half_life=50.0)
    (part,) = store.overview.buckets(RUN, ["loss"], points=80_000, half_life=50.0, start=39_000, stop=39_100)
    assert part.smooth is not None
    assert part.smooth == pytest.approx(curve[39_000:39_101], abs=1e-6)
    ends = np.cumsum(whole.buckets.count)
    expected = [next((v for v in curve[begin:end][::-1] if np.isfinite(v)), math.nan)
                for begin, end in zip(np.append(0, ends[:-1]), ends, strict=True)]  # fmt: skip
    assert whole.smooth == pytest.approx(np.array(expected), nan_ok=True)


SAMPLE = st.tuples(st.integers(-1, 60), st.floats(width=32))


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(SAMPLE, min_size=1, max_size=9), min_size=1, max_size=12),
    st.integers(2, 30),
    st.integers(0, 30),
    st.integers(20, 60),
    st.data(),
)
def test_any_steps_in_any_order_give_their_buckets(
    content: list[list[tuple[int, float]]], points: int, start: int, stop: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(url_in(Path(folder)))
        try:
            open_run(store)
            for seq, pairs in enumerate(content):
                values = [value for _, value in pairs]
                store.frames.accept(frame(seq, group({"loss": values, "x": values}, [step for step, _ in pairs])))
                if data.draw(st.booleans()):
                    store.sealer.run_once(everything=True)
            for bounds in ((None, None), (start, stop)):
                read = store.series.read(RUN, ["loss"], start=bounds[0], stop=bounds[1])
                cuts = store.overview.buckets(RUN, ["loss", "x"], points=points, start=bounds[0], stop=bounds[1])
                assert len(cuts) == 2 * len(read)
                for one in cuts:
                    check(one.buckets, read[0].steps, read[0].values)
        finally:
            store.close()


@pytest.mark.parametrize("most_chunks", [8_000, 0])
@pytest.mark.parametrize("columns", [3, 60, 400])
def test_a_heatmap_loses_no_extreme_and_no_nan(
    store: Store, monkeypatch: pytest.MonkeyPatch, most_chunks: int, columns: int
) -> None:
    monkeypatch.setattr(heatmap, "MOST_CHUNKS", most_chunks)
    rng = np.random.default_rng(1)
    values = rng.normal(size=(20, 5_000)).astype(np.float32)
    values[3, 2_222] = 77.0
    values[4, 100] = math.nan
    values[5, 3_000:] = math.inf
    names = [f"act/std/l{index}" for index in range(20)]
    open_run(store)
    for seq, begin in enumerate(range(0, 5_000, 250)):
        cut = {name: values[row, begin : begin + 250].tolist() for row, name in enumerate(names)}
        store.frames.accept(frame(seq, group(cut, range(begin, begin + 250), "f4")))
        if seq == 15:
            store.sealer.run_once()
    asked = [*names[::-1], "act/std/unknown"]
    grid = store.heatmaps.grid(RUN, asked, columns=columns)
    assert grid.names == tuple(asked)
    assert 1 <= len(grid.steps) <= columns
    assert grid.last_step == 4_999
    finite = np.where(np.isfinite(values), values, np.nan)[::-1]
    assert np.nanmin(grid.low[:-1], axis=1) == pytest.approx(np.nanmin(finite, axis=1), rel=0)
    assert np.nanmax(grid.high[:-1], axis=1) == pytest.approx(np.nanmax(finite, axis=1), rel=0)
    assert grid.nonfinite.sum(axis=1).tolist() == [*(~np.isfinite(values)).sum(axis=1)[::-1].tolist(), 0]
    column = int(np.searchsorted(grid.steps, 2_222, "right")) - 1
    assert grid.high[16, column] == 77.0
    assert np.isnan(grid.low[20]).all()


def test_a_heatmap_of_few_samples_is_exact_and_can_be_zoomed(store: Store) -> None:
    values = np.random.default_rng(2).normal(size=(10, 2_000)).astype(np.float32)
    names = [f"act/std/l{index}" for index in range(10)]
    open_run(store)
    cut = {name: values[row].tolist() for row, name in enumerate(names)}
    store.frames.accept(frame(0, group(cut, range(2_000), "f4")))
    store.sealer.run_once()
    zoomed = store.heatmaps.grid(RUN, names, columns=400, start=1_500, stop=1_700)
    assert zoomed.steps.tolist() == list(range(1_500, 1_701))
    assert zoomed.low.astype(np.float32).tobytes() == values[:, 1_500:1_701].tobytes()
    whole = store.heatmaps.grid(RUN, names, columns=400)
    oracle = grid_of(names, [Patch.of_samples(np.arange(10), np.arange(2_000), values)], 400)
    assert np.array_equal(whole.low, oracle.low)
    assert np.array_equal(whole.high, oracle.high)


def test_windows_of_an_export_cover_every_sample_once(long: tuple[Store, Any, Any], monkeypatch: Any) -> None:
    store, steps, values = long
    monkeypatch.setattr("server.store.series.SEALS_A_WINDOW", 4)
    windows = store.series.windows(RUN, ["loss"])
    assert len(windows) > 5
    assert windows[0][0] == -samples.FAR
    assert windows[-1][1] == samples.FAR
    parts = [store.series.read(RUN, ["loss"], start=first, stop=last) for first, last in windows]
    assert np.concatenate([part[0].steps for part in parts]).tolist() == steps.tolist()
    assert np.concatenate([part[0].values for part in parts]).tobytes() == values.tobytes()
