"""The average for the eye: unbiased from the first value on, and never stained by a NaN."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.smoothing import smooth


@given(st.floats(-1e6, 1e6), st.floats(0, 0.999), st.integers(1, 200))
def test_a_constant_stays_itself(value: float, weight: float, count: int) -> None:
    assert smooth(np.full(count, value), weight) == pytest.approx(np.full(count, value), rel=1e-9, abs=1e-9)


def test_it_is_the_weighted_mean_of_the_past() -> None:
    assert smooth(np.array([1.0, 2.0, 4.0]), 0.5) == pytest.approx([1.0, (0.5 + 2) / 1.5, (0.25 + 1 + 4) / 1.75])


def test_a_value_that_is_no_number_stays_one_and_stains_nothing() -> None:
    smoothed = smooth(np.array([1.0, np.nan, np.inf, 3.0]), 0.5)
    assert np.isnan(smoothed[1:3]).all()
    assert smoothed[[0, 3]] == pytest.approx(smooth(np.array([1.0, 3.0]), 0.5))


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_a_weight_outside_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"^the weight of the past is {weight}; a number from 0 to below 1 is needed$"):
        smooth(np.zeros(3), weight)
