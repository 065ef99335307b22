"""The shared statistics against plain formulas, and what they do with values that are no numbers."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.statistics import baseline, finite, mad, med, median_error, quarters, short_factor, window_size

lists = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60)


@given(lists)
def test_the_median_is_the_median(values: list[float]) -> None:
    assert med(np.array(values)) == pytest.approx(statistics.median(values))


@given(lists)
def test_the_mad_is_scaled_to_a_sigma(values: list[float]) -> None:
    middle = statistics.median(values)
    plain = statistics.median([abs(value - middle) for value in values])
    assert mad(np.array(values)) == pytest.approx(1.4826 * plain, rel=1e-3, abs=1e-9)


def test_numbers_that_are_none_are_left_out() -> None:
    values = np.array([1.0, math.nan, 3.0, math.inf, 2.0, -math.inf])
    assert finite(values).tolist() == [1.0, 3.0, 2.0]
    assert med(values) == 2.0
    assert baseline(values).count == 3
    assert baseline(np.array([math.nan])).count == 0
    assert math.isnan(med(np.array([math.nan])))


def test_the_scale_is_never_smaller_than_its_parts() -> None:
    values = np.random.default_rng(0).lognormal(0, 1, 400)
    base = baseline(values)
    assert base.s >= max(base.mad, base.up)
    assert base.up > base.mad, "a skewed loss has a longer upper tail"
    assert base.se == pytest.approx(median_error(values))


def test_a_normal_sample_has_its_sigma() -> None:
    values = np.random.default_rng(1).normal(5, 2, 20_000)
    base = baseline(values)
    assert (base.med, base.mad, base.up) == (
        pytest.approx(5, abs=0.05),
        pytest.approx(2, abs=0.05),
        pytest.approx(2, abs=0.1),
    )


def test_windows_are_a_fifth_of_the_run_within_limits() -> None:
    assert [window_size(samples) for samples in (10, 200, 500, 10_000)] == [20, 40, 100, 200]
    assert window_size(50, planned=5_000) == 200
    assert short_factor(200) <= short_factor(20), "short windows ask for more"


def test_quarters_of_a_straight_line() -> None:
    parts = quarters(np.linspace(4, 0, 400))
    assert parts is not None
    assert [parts.q1, parts.q2, parts.q3, parts.q4] == pytest.approx([3.5, 2.5, 1.5, 0.5], abs=0.02)
    assert parts.start == pytest.approx(4, abs=0.05)
    assert quarters(np.array([1.0] * 7)) is None
