"""Runs in groups: the mean of a group, its band, and what is said of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server import axes
from server.charts import grouped
from server.charts.base import COLOURS, Drawing, Request
from server.charts.grouped import PLACES, RunGroup
from server.charts.overlay import RunLine
from tests.server.charts.kit import cut, series


def run(values: list[float], *, every: int = 1, label: str = "run") -> RunLine:
    data = cut(series("loss", values, every=every), points=2_000)
    return RunLine(data, label, 0, axes.STEPS, every * (len(values) - 1), 1_000)


def drawn(*groups: tuple[str, list[RunLine]]) -> Drawing:
    return grouped.draw([RunGroup(label, lines) for label, lines in groups], Request(), False)


def test_the_mean_and_the_band_are_those_of_the_runs_at_each_step() -> None:
    drawing = drawn(("lr 0.1", [run([3.0, 2.0, 1.0]), run([5.0, 2.0, 3.0])]), ("lr 1", [run([9.0, 9.0, 9.0])]))
    first, second, band, _ = drawing.data
    assert [first["name"], second["name"]] == ["lr 0.1 (2)", "lr 1 (1)"]
    assert first["y"].tolist() == [4.0, 2.0, 2.0]
    assert band["x"].tolist() == [0, 1, 2, 2, 1, 0]
    assert band["y"].tolist() == [5.0, 2.0, 3.0, 1.0, 2.0, 3.0]
    assert [first["line"]["color"], second["line"]["color"]] == list(COLOURS[:2])
    assert band["legendgroup"] == first["legendgroup"], "a click in the legend hides both"


def test_runs_that_were_measured_at_other_steps_are_read_off_between_their_points() -> None:
    drawing = drawn(("all", [run([0.0, 4.0], every=4), run([1.0, 1.0, 1.0], every=1)]))
    assert drawing.data[0]["x"].tolist() == [0, 1, 2, 4]
    assert drawing.data[0]["y"].tolist() == [0.5, 1.0, 1.5, 4.0], "behind its end a run has no say"


def test_a_value_that_is_no_number_is_marked_and_takes_no_part() -> None:
    drawing = drawn(("all", [run([1.0, math.nan, 3.0], label="broke"), run([1.0, 2.0, 3.0])]))
    assert drawing.data[0]["y"].tolist() == [1.0, 2.0, 3.0]
    assert drawing.data[-1]["hovertext"] == ["broke: 1 × NaN, step 1"]


def test_a_group_without_any_number_is_said_to_have_none() -> None:
    drawing = drawn(("all", [run([math.nan] * 3)]))
    assert drawing.summary == "Up to step 2. all: no finite value in 1 run."
    assert len(drawing.data[0]["x"]) == 0


def test_what_is_said_names_the_groups_and_long_runs_keep_a_bounded_number_of_places() -> None:
    drawing = drawn(("lr 0.1", [run(np.linspace(5, 1, 3_000).tolist()), run(np.linspace(7, 3, 2_999).tolist())]))
    assert drawing.summary.startswith("Up to step 2,999. lr 0.1: mean of 2 runs from ")
    assert "lowest 1, highest 7" in drawing.summary
    assert PLACES / 2 < len(drawing.data[0]["x"]) <= PLACES
    assert drawing.detail == "bold: mean · shaded: lowest to highest run"
    assert drawing.data[0]["y"][0] == pytest.approx(6, rel=1e-3)


def test_the_band_keeps_the_extremes_of_a_place_that_stands_for_many_points() -> None:
    spike = np.ones(8_000)
    spike[4_001] = 50.0
    assert float(drawn(("all", [run(spike.tolist())])).data[1]["y"].max()) == 50.0
