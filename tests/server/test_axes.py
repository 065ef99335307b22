"""Placing samples along another axis."""

from __future__ import annotations

import numpy as np

from server.axes import along


def test_each_step_gets_the_newest_value_at_or_before_it() -> None:
    found = along(np.array([0, 5, 6, 99]), np.array([5, 10]), np.array([1.5, 2.5]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1.5, 1.5, 2.5]


def test_without_an_axis_there_is_no_place() -> None:
    assert np.isnan(along(np.array([1, 2]), np.array([], np.int64), np.array([]))).all()
