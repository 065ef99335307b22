"""Settings side by side: each run is one line through its values, and the best ones are at the top and in front."""

from __future__ import annotations

import math
from itertools import pairwise

from server.charts.parallel import BOTTOM, HEIGHT, TOP, Entry, Parallel, draw
from server.charts.setting_axis import Value


def runs(*rows: tuple[tuple[Value, ...], float]) -> list[Entry]:
    order = sorted(range(len(rows)), key=lambda at: rows[at][1] if math.isfinite(rows[at][1]) else math.inf)
    return [Entry(settings, result, order.index(at), f"run {at}", f"/runs/{at}") for at, (settings, result) in
            enumerate(rows)]  # fmt: skip


def heights(picture: Parallel) -> dict[str, list[float]]:
    """Gives the y of each run on each axis."""
    return {line.url: [float(place.split()[1]) for place in line.path[1:].split("L")] for line in picture.lines}


def drawn(*rows: tuple[tuple[Value, ...], float], lowest: bool = True) -> Parallel:
    picture = draw([f"s{at}" for at in range(len(rows[0][0]))], "last loss", runs(*rows), lowest)
    assert picture is not None
    return picture


def test_a_line_passes_through_what_the_run_has_and_the_best_lies_in_front() -> None:
    picture = drawn(((0.1, "sgd"), 3.0), ((0.2, "adam"), 1.0), ((0.2, "adam"), 2.0))
    assert [axis.name for axis in picture.axes] == ["s0", "s1", "last loss"]
    assert [line.kind for line in picture.lines] == ["4", "2", "best"]
    assert [mark.words for mark in picture.axes[1].marks] == ["adam", "sgd"]
    found = heights(picture)
    assert found["/runs/0"][0] > found["/runs/2"][0] > found["/runs/1"][0], "numbers grow upwards"
    assert found["/runs/1"][2] == TOP
    assert found["/runs/0"][2] == HEIGHT - BOTTOM
    assert "3 runs by s0, s1: last loss 1 to 3" in picture.summary


def test_the_highest_result_is_at_the_top_where_it_is_the_best() -> None:
    rows = [((at, at), float(at)) for at in range(4)]
    entries = [Entry(settings, result, 3 - at, "", str(at)) for at, (settings, result) in enumerate(rows)]
    picture = draw(["a", "b"], "max val/accuracy", entries, lowest_is_best=False)
    assert picture is not None
    assert heights(picture)["3"][2] == TOP


def test_runs_of_one_value_do_not_hide_each_other() -> None:
    picture = drawn(*(((1, "same"), float(at)) for at in range(6)))
    for axis in (0, 1):
        assert len({places[axis] for places in heights(picture).values()}) == 6
    assert not picture.broken


def test_a_result_that_is_no_number_ends_below_the_worst() -> None:
    picture = drawn(((1, 2), 1.0), ((2, 2), math.nan), ((2, 1), math.inf), ((1, 1), 2.0))
    found = heights(picture)
    assert found["/runs/1"][2] == found["/runs/2"][2] > found["/runs/3"][2]
    assert [line.kind for line in picture.lines].count("broken") == 2
    assert picture.broken


def test_what_is_not_set_lies_below_all_numbers_and_is_called_so() -> None:
    rows: list[tuple[tuple[Value, ...], float]] = [((float(at), at % 2), float(at)) for at in range(1, 12)]
    many = drawn(*rows, ((None, None), 0.5))
    for axis in (0, 1):
        assert max(heights(many).items(), key=lambda pair: pair[1][axis])[0] == "/runs/11"
        assert "not set" in [mark.words for mark in many.axes[axis].marks]


def test_numbers_over_decades_stand_on_a_logarithmic_axis() -> None:
    picture = drawn(*(((10.0**-at, 1), float(at)) for at in range(10)))
    places = [heights(picture)[f"/runs/{at}"][0] for at in range(10)]
    gaps = [other - one for one, other in pairwise(places)]
    assert max(gaps) - min(gaps) < 0.3
    assert "0.001" in [mark.words for mark in picture.axes[0].marks]


def test_odd_settings_are_words_and_nothing_finite_is_no_picture() -> None:
    picture = drawn(((math.nan, "a" * 99), 1.0), ((math.inf, True), 2.0))
    assert max(len(mark.words) for axis in picture.axes for mark in axis.marks) <= 14
    assert draw(["a"], "x", runs(((1,), math.nan)), lowest_is_best=True) is None
    assert draw([], "x", runs(((), 1.0)), lowest_is_best=True) is None
