"""How far charts reach, and what they say of series that were measured at few steps only."""

from __future__ import annotations

import numpy as np
import pytest

from server import axes
from server.grid import Patch, grid_of
from tests.server.charts.kit import draw, finding, series

EARLY = {"loss": "loss", "series": "mine", "param-grad-norms": "grad_norm/a", "layers": "act/std/a"}


@pytest.mark.parametrize(("chart", "name"), EARLY.items())
def test_every_chart_of_a_run_reaches_to_its_last_step(chart: str, name: str) -> None:
    """Twenty steps of 570 were measured: the chart has the width of the others, and their marks."""
    drawing = draw(chart, series(name, [1.0] * 20), last_step=569, findings=[finding(300)])
    assert drawing.layout["xaxis"]["range"] == pytest.approx([-5.69, 574.69])
    assert [shape["x0"] for shape in drawing.layout["shapes"]] == [300]


def test_a_run_that_begins_late_is_not_drawn_from_zero() -> None:
    drawing = draw("loss", series("loss", [1.0] * 100, first=900), last_step=999, attempts={1: 900})
    assert drawing.layout["xaxis"]["range"] == pytest.approx([899.01, 999.99])


def test_the_samples_decide_where_a_reader_zooms_or_the_axis_is_another_one() -> None:
    given = series("loss", [1.0] * 100)
    assert "range" not in draw("loss", given, last_step=99, start=10, stop=20).layout["xaxis"]
    assert "range" not in draw("loss", given, last_step=99, axis=axes.since(0, 9_000)).layout["xaxis"]
    assert "range" not in draw("loss", series("loss", [1.0]), last_step=0).layout["xaxis"]


def test_a_series_of_few_steps_says_so_and_has_a_marker_at_each() -> None:
    drawing = draw("series", series("mine", np.ones(100)), last_step=569)
    assert drawing.detail == "measured at 100 of 570 steps · every point is drawn"
    assert drawing.data[0]["mode"] == "lines+markers"
    every = draw("series", series("mine", np.ones(100)), last_step=99)
    assert (every.detail, every.data[0]["mode"]) == ("every point is drawn", "lines")


def test_among_lines_of_every_step_those_of_few_are_named() -> None:
    loss, validation = series("loss", np.ones(100)), series("val/loss", np.ones(2), every=50)
    assert "val/loss: measured at 2 of 100 steps" in draw("loss", loss, validation, last_step=99).detail
    few = [series(name, np.ones(count)) for name, count in (("grad_norm/a", 20), ("grad_norm/b", 7))]
    assert draw("param-grad-norms", *few, last_step=99).detail.startswith("measured at 7 to 20 of 100 steps")


def test_the_steps_of_an_attempt_are_counted_from_where_it_began() -> None:
    newest = series("loss", np.ones(100), attempt=2, first=900)
    drawing = draw("loss", series("loss", np.ones(900)), newest, last_step=999, attempts={1: 0, 2: 900})
    assert "measured" not in drawing.detail


def test_a_value_that_is_sent_when_it_changes_is_not_said_to_be_measured_seldom() -> None:
    assert draw("series", series("weight_decay/0", [0.1]), last_step=99).detail == "every point is drawn"


def test_a_column_of_a_heatmap_knows_whether_it_is_one_measured_step() -> None:
    assert draw("layers", series("act/std/a", [1.0] * 4, every=50)).single == [True] * 4
    many = draw("layers", series("act/std/a", np.ones(600)))
    assert set(many.single) == {True, False}, "one or two measured steps a column"


def test_a_stretch_of_which_only_the_extremes_are_known_is_no_single_step() -> None:
    rows, one = np.array([0]), np.ones((1, 2))
    stretches = Patch(rows, np.array([0, 64]), 127, one, one)
    samples = Patch.of_samples(rows, np.array([128, 130]), one)
    assert grid_of(["a"], [stretches, samples], 10).single.tolist() == [False, False, True, True]


def test_a_heatmap_says_where_its_layers_were_measured_last() -> None:
    given = series("act/std/a", [1.0] * 20)
    assert draw("layers", given, last_step=569).detail.startswith("last measured at step 19 · ")
    assert "last measured" not in draw("layers", given, last_step=19).detail
    assert "last measured" not in draw("layers", given, last_step=20).detail, "nearly at the end is no news"
