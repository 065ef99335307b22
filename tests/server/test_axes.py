"""Placing samples along another axis."""

from __future__ import annotations

import numpy as np

from server.axes import along, of_series


def test_each_step_gets_the_newest_value_at_or_before_it() -> None:
    found = along(np.array([0, 5, 6, 99]), np.array([5, 10]), np.array([1.5, 2.5]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1.5, 1.5, 2.5]


def test_without_an_axis_there_is_no_place() -> None:
    assert np.isnan(along(np.array([1, 2]), np.array([], np.int64), np.array([]))).all()


def test_steps_between_two_epochs_are_in_proportion_and_go_on_for_one_more_stretch() -> None:
    epochs = of_series("epoch", np.array([10, 20, 40]), np.array([0.0, 1.0, 2.0]))
    steps = np.array([5, 10, 15, 20, 30, 40, 50, 60, 99])
    found = epochs.place(steps, steps)
    assert np.isnan(found[0])
    assert found[1:].tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0]


def test_an_axis_that_falls_somewhere_or_has_one_value_keeps_its_newest_value() -> None:
    steps = np.array([0, 1, 2])
    for values in ([3.0, 1.0], [1.0, np.nan]):
        placed = of_series("rate", np.array([0, 2]), np.array(values)).place(steps, steps)
        assert placed[:2].tolist() == [values[0]] * 2
    assert of_series("epoch", np.array([1]), np.array([4.0])).place(steps, steps)[1:].tolist() == [4.0, 4.0]


def test_of_an_epoch_that_was_logged_twice_at_a_step_the_newest_counts() -> None:
    steps = np.array([0, 1, 2])
    placed = of_series("epoch", np.array([0, 0, 2]), np.array([0.0, 1.0, 2.0])).place(steps, steps)
    assert placed.tolist() == [1.0, 1.5, 2.0]
