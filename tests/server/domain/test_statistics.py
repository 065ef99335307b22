"""The shared statistics against plain formulas, and what they do with values that are no numbers."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain.statistics import (
    SORTED_BELOW,
    all_finite,
    baseline,
    finite,
    mad,
    med,
    median,
    median_error,
    quarters,
    short_factor,
    split,
    window_size,
)

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


@given(st.lists(st.floats(width=32), max_size=40))
def test_a_row_is_finite_where_each_value_is(values: list[float]) -> None:
    row = np.array(values)
    assert all_finite(row) is all(map(math.isfinite, values))
    assert finite(row).tolist() == [value for value in values if math.isfinite(value)]


def test_the_squares_of_large_values_do_not_make_them_infinite() -> None:
    assert all_finite(np.array([1e300, -1e300]))


@given(lists, st.sampled_from([None, math.nan, math.inf]))
def test_a_median_is_that_of_numpy(values: list[float], bad: float | None) -> None:
    row = np.array(values if bad is None else [*values, bad])
    assert median(row) == float(np.median(row)) or math.isnan(median(row)) is math.isnan(float(np.median(row))) is True


@pytest.mark.parametrize("count", [SORTED_BELOW - 1, SORTED_BELOW, SORTED_BELOW + 1, 10 * SORTED_BELOW + 1])
def test_many_values_have_the_median_of_few(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    kept = values.copy()
    assert med(values) == float(np.median(values))
    assert mad(values) == 1.4826 * float(np.median(np.abs(values - np.median(values))))
    assert values.tolist() == kept.tolist(), "nobody's values are put into another order"


@given(lists, st.integers(1, 12))
def test_parts_are_those_of_numpy(values: list[float], count: int) -> None:
    row = np.array(values)
    assert [part.tolist() for part in split(row, count)] == [part.tolist() for part in np.array_split(row, count)]


@pytest.mark.parametrize("count", [8, 9, 10, 11, 2_003])
def test_the_errors_of_quarters_are_those_of_their_medians(count: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    parts = [baseline(part) for part in np.array_split(values, 4)]
    found = quarters(values)
    assert found is not None
    assert [found.q1, found.q2, found.q3, found.q4] == [part.med for part in parts]
    assert found.se_first == pytest.approx(math.hypot(parts[0].se, parts[3].se), rel=1e-12)
    assert found.se_last == pytest.approx(math.hypot(parts[2].se, parts[3].se), rel=1e-12)


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
