"""Buckets: nothing that a person must see is lost, whatever the samples and however few points are drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from server.downsample import buckets

numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
samples = st.integers(0, 300).flatmap(lambda size: arrays(np.float64, size, elements=numbers))


def cut(values: np.ndarray, points: int, steps: np.ndarray | None = None):  # type: ignore[no-untyped-def,type-arg]
    steps = np.arange(len(values)) if steps is None else steps
    return buckets(steps.astype(np.int64), 10 * steps.astype(np.int64), values, points)


@given(samples, st.integers(2, 400))
def test_the_extremes_and_every_value_that_is_no_number_survive(values: np.ndarray, points: int) -> None:  # type: ignore[type-arg]
    found = cut(values, points)
    assert len(found.steps) <= max(1, points // 2)
    assert int(found.count.sum()) == len(values)
    finite = values[np.isfinite(values)]
    assert np.nanmin(found.min, initial=math.inf) == finite.min(initial=math.inf)
    assert np.nanmax(found.max, initial=-math.inf) == finite.max(initial=-math.inf)
    counted = {kind: sum(one.count for one in found.nonfinite if one.kind == kind) for kind in ("nan", "inf", "-inf")}
    assert counted == {
        "nan": int(np.isnan(values).sum()),
        "inf": int((values == np.inf).sum()),
        "-inf": int((values == -np.inf).sum()),
    }
    for one in found.nonfinite:
        assert not math.isfinite(values[one.step])
        assert not math.isfinite(values[one.last_step])


@given(samples.filter(len), st.integers(2, 400))
def test_each_bucket_tells_of_its_own_samples(values: np.ndarray, points: int) -> None:  # type: ignore[type-arg]
    found = cut(values, points)
    assert bool((np.diff(found.steps) > 0).all())
    stops = [*found.steps.tolist()[1:], len(values)]
    for index, (start, stop) in enumerate(zip(found.steps.tolist(), stops, strict=True)):
        inside = values[start:stop]
        finite = inside[np.isfinite(inside)]
        told = (found.first[index], found.last[index], found.min[index], found.max[index])
        if not len(finite):
            assert np.isnan(told).all()
        else:
            assert told == (finite[0], finite[-1], finite.min(), finite.max())


def test_one_spike_among_a_million_is_drawn() -> None:
    values = np.zeros(1_000_000)
    values[654_321] = 7.0
    assert cut(values, 2_000).max.max() == 7.0


def test_a_series_that_fits_is_not_cut() -> None:
    found = cut(np.array([3.0, 1.0, 2.0]), 6)
    assert found.min.tolist() == found.max.tolist() == [3.0, 1.0, 2.0]


def test_repeated_steps_stay() -> None:
    found = cut(np.array([1.0, 2.0, 3.0]), 100, np.array([4, 4, 9]))
    assert found.steps.tolist() == [4, 4, 9]


def test_less_than_a_bucket_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^points is 1; at least 2 are needed, a bucket draws two$"):
        cut(np.zeros(3), 1)
