"""Pictures of preflight's curves: every point is in its place, axes have their ticks, marks do not cover each other."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pytest

from server.charts.checked import BOTTOM, HEIGHT, LEFT, NEAR, RIGHT, TOP, WIDTH, draw


def curve(x: Any, y: Any, **more: Any) -> dict[str, Any]:
    return {"x": list(x), "y": list(y), "x_label": "rate", "y_label": "loss", "log": False, "log_x": False, **more}


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", path)]


def test_a_point_stands_where_its_value_says_on_both_kinds_of_axes() -> None:
    rates = np.geomspace(1e-7, 10, 50)
    made = draw("test", curve(rates, rates, log=True, log_x=True))
    assert made is not None
    drawn = points(made.path)
    assert drawn[0][0] == pytest.approx(LEFT, abs=0.1)
    assert drawn[-1][0] == pytest.approx(WIDTH - RIGHT, abs=0.1)
    steps = np.diff([x for x, _ in drawn])
    assert np.ptp(steps) < 0.25  # equal factors are equal distances
    assert all(TOP <= y <= HEIGHT - BOTTOM for _, y in drawn)
    assert [tick.words for tick in made.across] == ["1e-6", "1e-4", "1e-2", "1e0"]
    linear = draw("test", curve([0, 1, 2, 3], [5.0, 5.0, 5.0, 5.0]))
    assert linear is not None
    assert len({y for _, y in points(linear.path)}) == 1  # a constant is a line in the middle
    assert len(linear.dots) == 4


def test_numbers_that_no_axis_can_hold_are_left_out_and_counted() -> None:
    made = draw("test", curve([1, 2, 3, 4], [1.0, 1.7e308, -1.7e308, 2.0], past={"x": [1, 2], "y": [1e308, 1.0]}))
    assert made is not None
    assert "inf" not in made.path + made.past
    assert "nan" not in made.path + made.past
    assert "2 values are no numbers" in made.summary


def test_what_is_no_number_breaks_the_line_and_is_counted() -> None:
    made = draw("test", curve([1, 2, 3, 4, 5], [1.0, math.nan, "inf", 2.0, None]))
    assert made is not None
    assert made.path.count("M") == 2
    assert made.summary.endswith("; 3 values are no numbers")
    assert draw("test", curve([1, 2], ["nan", "nan"])) is None
    assert draw("test", {"x": "ab", "y": 3}) is None
    assert draw("test", curve([0.0, -1.0], [1, 2], log_x=True)) is None


def test_marks_that_are_near_stand_under_each_other_and_keep_their_numbers() -> None:
    marks = [{"x": 1.0, "label": "a"}, {"x": 1.01, "label": "b"}, {"x": 1.02, "label": "c"}, {"x": 9.0, "label": "d"}]
    made = draw("test", curve([0, 10], [0, 1], marks=[*marks, {"y": 0.5, "label": "limit"}]))
    assert made is not None
    assert [(mark.number, mark.words) for mark in made.marks] == [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "limit")]
    near = made.marks[:3]
    assert len({mark.y for mark in near}) == 3
    assert abs(float(near[0].x) - float(near[2].x)) < NEAR
    assert made.marks[3].y == made.marks[0].y
    assert len({mark.colour for mark in made.marks}) == 5


def test_a_mark_outside_of_the_points_widens_the_picture() -> None:
    made = draw("test", curve([1, 2], [1, 2], marks=[{"x": 4.0, "label": "yours"}]))
    assert made is not None
    assert float(made.marks[0].x) == pytest.approx(WIDTH - RIGHT, abs=0.1)
    assert max(x for x, _ in points(made.path)) < WIDTH / 2


def test_an_axis_of_less_than_a_decade_has_round_ticks() -> None:
    made = draw("test", curve([1, 2, 3], [0.12, 0.2, 0.31], log=True))
    assert made is not None
    assert [tick.words for tick in made.up] == ["0.15", "0.2", "0.25", "0.3"]
