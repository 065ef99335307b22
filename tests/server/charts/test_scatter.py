"""A setting against what runs reached, as a picture."""

from __future__ import annotations

import math
from itertools import pairwise

from server.charts.scatter import HEIGHT, LEFT, WIDTH, Entry, Scatter, Value, draw


def drawn(*pairs: tuple[Value, float], worst_is_high: bool = True) -> Scatter:
    entries = [Entry(setting, result, "none", f"run {at}", f"/runs/{at}") for at, (setting, result) in enumerate(pairs)]
    found = draw("lr", "loss", entries, worst_is_high)
    assert found is not None
    return found


def test_few_values_stand_in_columns_in_their_order_and_their_dots_beside_each_other() -> None:
    picture = drawn((8, 1.0), (16, 2.0), (8, 1.0), (4, 3.0))
    assert [tick.words for tick in picture.across] == ["4", "8", "16"]
    x = {dot.url: float(dot.x) for dot in picture.dots}
    assert x["/runs/3"] < x["/runs/0"] < x["/runs/2"] < x["/runs/1"]


def test_many_numbers_that_span_decades_are_on_a_logarithmic_axis() -> None:
    picture = drawn(*((10.0 ** (-at / 4), 1.0 + at) for at in range(13)))
    assert [tick.words for tick in picture.across] == ["0.001", "0.01", "0.1", "1"]
    places = [float(tick.at) for tick in picture.across]
    assert all(abs((after - before) - (places[1] - places[0])) < 0.2 for before, after in pairwise(places))


def test_a_result_that_is_no_number_is_a_cross_at_the_worst_end() -> None:
    for worst_is_high in (True, False):
        dots = drawn((1, 1.0), (2, math.nan), (3, 2.0), worst_is_high=worst_is_high).dots
        assert [dot.cross for dot in dots] == [False, True, False]
        others = [float(dot.y) for dot in dots if not dot.cross]
        assert (float(dots[1].y) < min(others)) == worst_is_high


def test_texts_are_cut_to_their_column_and_runs_without_the_setting_are_left_out() -> None:
    picture = drawn(("a" * 200, 1.0), ("b", 2.0), (None, 3.0))
    assert len(picture.dots) == 2
    assert picture.across[0].words.endswith("…")
    assert picture.summary == "loss by lr: 2 runs, from 1 to 2"


def test_equal_results_stay_on_the_picture_and_none_at_all_is_no_picture() -> None:
    assert all(LEFT < float(dot.x) < WIDTH and 0 < float(dot.y) < HEIGHT for dot in drawn((1, 5.0), (2, 5.0)).dots)
    assert draw("lr", "loss", [Entry(1, math.nan, "none", "", "")], True) is None


def test_the_largest_and_the_smallest_numbers_have_a_place() -> None:
    ends = drawn(
        *((sign * 1.7e308 / at, -sign * 1.7e308 / at) for sign in (1, -1) for at in range(1, 7)), (5e-324, 5e-324)
    )
    assert all(0 < float(dot.x) < WIDTH and 0 < float(dot.y) < HEIGHT for dot in ends.dots)
    assert [tick.words for tick in ends.up] == ["-1.7e+308", "0", "1.7e+308"]
