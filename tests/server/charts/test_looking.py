"""How charts are looked at: other x axes, smoothing, scales, notes, and what a chart says of its own exactness."""

from __future__ import annotations

import math

import numpy as np
import pytest

from server import axes
from server.charts import overlay
from server.charts.base import Request
from server.charts.overlay import FEWEST_POINTS, points_for
from server.domain.runs import Event
from tests.server.charts.kit import cut, draw, finding, series


def test_time_is_counted_in_the_unit_that_fits_the_run() -> None:
    assert axes.since(0, 599_999).title == "time since the start (s)"
    assert axes.since(0, 600_000).title == "time since the start (min)"
    assert axes.since(0, 7_200_000).title == "time since the start (h)"
    drawing = draw("loss", series("loss", [1.0, 2.0, 3.0]), axis=axes.since(500, 1_000))
    assert drawing.data[0]["x"] == [-0.5, 0.5, 1.5]  # the kit's steps take a second each
    assert drawing.axis == {"steps": [0, 1, 2], "x": [-0.5, 0.5, 1.5]}


def test_any_series_is_an_axis_and_its_gaps_stay_gaps() -> None:
    axis = axes.of_series("tokens", np.array([1, 2]), np.array([100.0, 200.0]))
    drawing = draw("loss", series("loss", [3.0, 2.0, 1.0]), axis=axis, findings=[finding(2)])
    assert drawing.data[0]["x"] == [None, 100.0, 200.0]
    assert drawing.layout["xaxis"]["title"]["text"] == "tokens"
    assert drawing.layout["shapes"][0]["x0"] == 200.0


def test_a_value_that_is_no_number_is_marked_where_the_axis_has_its_step() -> None:
    drawing = draw("loss", series("loss", [3.0, math.nan, 1.0]), axis=axes.since(0, 1_000))
    mark = next(trace for trace in drawing.data if trace["name"] == "NaN")
    assert mark["x"] == [1.0]


def test_the_reader_s_smoothing_is_drawn_over_what_was_sent_and_said() -> None:
    given = series("mine", [float(step % 2) for step in range(10)])
    plain = draw("series", given)
    assert [trace["name"] for trace in plain.data] == ["mine"]
    smooth = draw("loss", series("loss", np.ones(200)), half_life=50.0)
    assert [trace.get("showlegend", True) for trace in smooth.data] == [False, True]
    assert smooth.data[0]["line"]["color"].endswith("55")
    assert smooth.detail.startswith("bold: EMA, half-life 50 steps · ")


@pytest.mark.parametrize(("scale", "expected"), [("", "log"), ("log", "log"), ("linear", "linear")])
def test_the_reader_s_scale_goes_before_the_chart_s(scale: str, expected: str) -> None:
    assert draw("grad-norm", series("grad_norm", [1.0, 2.0]), scale=scale).layout["yaxis"]["type"] == expected


def test_on_a_logarithmic_axis_zeros_and_negative_values_are_marked() -> None:
    drawing = draw("loss", series("loss", [1.0, 0.0, -2.0]), scale="log")
    mark = next(trace for trace in drawing.data if trace["name"] == "zero or below")
    assert (mark["x"], mark["hovertext"]) == ([1.0, 2.0], ["loss: 0", "loss: -2"])
    assert "zero or below" not in [trace["name"] for trace in draw("loss", series("loss", [1.0, 0.0])).data]


def test_a_chart_says_how_many_points_stand_behind_a_place() -> None:
    assert draw("series", series("mine", [1.0, 2.0])).detail == "every point is drawn"
    many = draw("series", series("mine", np.arange(10_000.0)), points=20)
    assert many.detail == "each place: min–max of up to 1,000 points; zoom for more"
    assert set(many.data[0]["customdata"]) == {1_000}


def test_notes_are_marked_beside_findings_and_their_words_are_text() -> None:
    notes = [Event("note", 4, 0, {"text": "<b>cleaned</b>"}), Event("epoch", 5, 0, {})]
    drawing = draw("loss", series("loss", np.ones(10)), findings=[finding(0)], notes=notes)
    assert [shape["x0"] for shape in drawing.layout["shapes"]] == [0, 4]
    assert [label["text"] for label in drawing.layout["annotations"]] == ["▲ GW205", "✎"]
    assert drawing.layout["annotations"][1]["hovertext"] == "note, step 4: &lt;b&gt;cleaned&lt;/b&gt;"


def test_the_limit_of_clipping_is_found_from_what_was_clipped() -> None:
    before = series("clip/before", [0.5, 4.0, 2.0])
    coefficient = series("clip/coefficient", [1.0, 0.25, 0.5])
    drawing = draw("grad-norm", series("grad_norm", [0.5, 1.0, 1.0]), before, coefficient)
    limit = drawing.data[-1]
    assert (limit["name"], limit["x"], limit["y"]) == ("clipping limit", [1.0, 2.0], [1.0, 1.0])
    assert "clip/coefficient" not in [trace["name"] for trace in drawing.data]
    without = draw("grad-norm", before, series("clip/coefficient", [1.0, 1.0, 1.0]))
    assert [trace["name"] for trace in without.data] == ["clip/before"]


def test_momentum_has_an_axis_of_its_own_beside_the_learning_rate() -> None:
    drawing = draw("learning-rate", series("lr/0", [0.1, 0.1]), series("momentum/0", [0.9, 0.95]))
    assert [(trace["name"], trace.get("yaxis", "y")) for trace in drawing.data] == [("lr/0", "y"), ("momentum/0", "y3")]
    assert drawing.layout["yaxis3"]["tickmode"] == "auto"


def test_the_usual_update_ratios_are_shaded() -> None:
    (band,) = list(draw("update-ratios", series("update_ratio/fc", [1e-3])).layout["shapes"])
    assert (band["y0"], band["y1"]) == (1e-4, 1e-2)


def test_many_runs_share_the_points_that_a_browser_draws_quickly() -> None:
    assert points_for(2, 1_000) == 1_000
    assert points_for(20, 2_000) == 800
    assert points_for(1_000, 2_000) == FEWEST_POINTS


def test_what_is_sent_when_it_changes_is_drawn_until_the_end() -> None:
    rate, momentum = series("lr/0", np.full(10, 0.1)), series("momentum/0", [0.9])
    drawing = draw("learning-rate", rate, momentum, last_step=9, last_ms=9_000)
    held = drawing.data[-1]
    assert (held["name"], held["x"], held["y"]) == ("momentum/0", [0.0, 9.0], [0.9, 0.9])
    assert (held["line"]["shape"], held["mode"]) == ("hv", "lines")
    alone = draw("series", series("weight_decay/0", [0.1, 0.2], every=4), last_step=16, stop=12)
    assert (alone.data[0]["x"], alone.data[0]["y"]) == ([0.0, 4.0, 12.0], [0.1, 0.2, 0.2])
    timed = draw("series", series("momentum/0", [0.9]), axis=axes.since(0, 8_000), last_step=8, last_ms=8_000)
    assert timed.data[0]["x"] == [0.0, 8.0]


def test_what_is_measured_ends_where_it_was_measured_last() -> None:
    drawing = draw("series", series("mine", [1.0, 2.0]), last_step=9)
    assert drawing.data[0]["x"] == [0.0, 1.0]


def test_the_noise_of_many_runs_lies_under_the_courses_of_all() -> None:
    from_run = series("loss", np.arange(200.0))
    lines = [
        overlay.RunLine(cut(from_run, 1_000, half_life=5.0), f"run {slot}", slot, axes.STEPS, 199, 0)
        for slot in range(overlay.MANY + 1)
    ]
    drawing = overlay.draw(lines, Request(half_life=5.0), smooth=True)
    widths = [trace["line"]["width"] for trace in drawing.data]
    assert widths == sorted(widths)
    assert {trace["line"]["color"][-2:] for trace in drawing.data[: len(lines)]} == {overlay.HAZE}
    assert [trace["hoverinfo"] for trace in drawing.data[len(lines) :]] == ["skip"] * len(lines)
    assert [overlay.is_noisy(name) for name in ("loss", "mine", "lr/0", "val/loss")] == [True, True, False, False]


def test_what_is_stored_in_bytes_is_drawn_in_a_unit_that_can_be_read() -> None:
    drawing = draw("series", series("system/gpu0/memory", [3.5e9, 4e9]), half_life=5.0)
    assert (drawing.data[0]["name"], drawing.data[0]["y"]) == ("system/gpu0/memory (GB)", [3.5, 4.0])
    assert drawing.summary.startswith("Up to step 1. system/gpu0/memory (GB): from 3.5 to 4")
    assert draw("series", series("system/disk_read", [2e6])).data[0]["y"] == [2.0]
    shares = draw("series", series("system/memory_share", [0.5]))
    assert (shares.data[0]["name"], shares.data[0]["y"]) == ("system/memory_share", [0.5])
