"""The average for the eye: unbiased from the first value on, by distance in steps, and never stained by a NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.smoothing import HALF_LIVES_REMEMBERED, smooth, smooth_factors


def slow(steps: np.ndarray, values: np.ndarray, half_life: float) -> np.ndarray:  # type: ignore[type-arg]
    """Does the same sum by sum."""
    found = np.full(len(values), np.nan)
    for index in range(len(values)):
        if np.isfinite(values[index]):
            past = [at for at in range(index + 1) if np.isfinite(values[at])]
            weights = [2.0 ** (-(steps[index] - steps[at]) / half_life) for at in past]
            found[index] = sum(w * values[at] for w, at in zip(weights, past, strict=True)) / sum(weights)
    return found


curves = st.lists(
    st.tuples(st.integers(0, 50), st.one_of(st.floats(-1e6, 1e6), st.sampled_from([np.nan, np.inf]))),
    min_size=1,
    max_size=60,
)


@given(curves, st.floats(0.02, 1e4))
def test_it_is_the_mean_of_the_past_weighted_by_distance_in_steps(
    curve: list[tuple[int, float]], half_life: float
) -> None:
    steps = np.cumsum([gap for gap, _ in curve])
    values = np.array([value for _, value in curve])
    assert smooth(steps, values, half_life) == pytest.approx(
        slow(steps, values, half_life), rel=1e-9, abs=1e-6, nan_ok=True
    )


@given(st.floats(-1e6, 1e6), st.floats(0.01, 1e6), st.integers(1, 200))
def test_a_constant_stays_itself(value: float, half_life: float, count: int) -> None:
    steps = 7 * np.arange(count)
    assert smooth(steps, np.full(count, value), half_life) == pytest.approx(np.full(count, value), rel=1e-9, abs=1e-9)


@given(curves, st.integers(1, 59))
def test_later_points_never_move_earlier_ones(curve: list[tuple[int, float]], cut: int) -> None:
    steps = np.cumsum([gap for gap, _ in curve])
    values = np.array([value for _, value in curve])
    whole = smooth(steps, values, 5.0)
    assert smooth(steps[:cut], values[:cut], 5.0) == pytest.approx(whole[:cut], rel=1e-12, nan_ok=True)


def test_a_million_samples_are_one_curve() -> None:
    steps = np.arange(1_000_000)
    values = np.sin(steps / 1000)
    smoothed = smooth(steps, values, 50.0)
    begin = 777_000
    memory = int(50 * HALF_LIVES_REMEMBERED)
    later = smooth(steps[begin - memory :], values[begin - memory :], 50.0)
    assert later[memory:] == pytest.approx(smoothed[begin:], abs=1e-6)


@pytest.mark.parametrize("half_life", [0.0, -1.0, np.nan, np.inf])
def test_a_half_life_that_is_none_is_refused(half_life: float) -> None:
    with pytest.raises(ValueError, match=f"^the half-life is {half_life} steps; a positive number is needed$"):
        smooth(np.arange(3), np.zeros(3), half_life)


def test_on_a_logarithmic_axis_a_curve_that_falls_by_factors_is_followed() -> None:
    steps = np.arange(200)
    falling = 10.0 ** (-steps / 20)
    assert smooth(steps, falling, 18.0)[-1] > 1e5 * falling[-1]  # the plain average is far above all of the last steps
    behind = smooth_factors(steps, falling, 18.0)[-1] / falling[-1]
    # for a straight line the average lags by the mean age of the weights, r / (1 - r) steps with r = 2^(-1 / 18)
    ratio = 2 ** (-1 / 18)
    assert behind == pytest.approx(10 ** (ratio / (1 - ratio) / 20), rel=0.05)


@given(curves)
def test_where_a_value_is_not_above_zero_the_average_is_the_plain_one(curve: list[tuple[int, float]]) -> None:
    steps = np.arange(len(curve) + 1)
    values = np.array([value for _, value in curve] + [-1.0])
    np.testing.assert_array_equal(smooth_factors(steps, values, 5.0), smooth(steps, values, 5.0))


def test_a_gap_stays_a_gap_among_factors() -> None:
    found = smooth_factors(np.arange(4), np.array([1.0, np.nan, np.inf, 4.0]), 1e9)
    assert found == pytest.approx([1.0, np.nan, np.nan, 2.0], nan_ok=True, rel=1e-6)
