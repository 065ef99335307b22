"""Marks: those of the attempt that is drawn, errors that follow from another finding, one place in every chart."""

from __future__ import annotations

import numpy as np
import pytest

from server import axes
from server.charts.base import Drawing
from server.domain.findings import Severity
from server.domain.runs import Event
from tests.server.charts.kit import cut, draw, finding, series


def marked(drawing: Drawing) -> list[float]:
    return [shape["x0"] for shape in drawing.layout["shapes"] if shape["type"] == "line"]


def test_a_finding_of_an_attempt_that_was_replaced_has_no_mark() -> None:
    """Attempt 2 began again at step 0: step 93, where attempt 1 broke, is healthy in what is drawn."""
    found = [finding(93, attempt=1, state="resolved"), finding(70, attempt=2)]
    drawing = draw("loss", series("loss", [1.0] * 200), series("loss", [1.0] * 150, attempt=2), findings=found)
    assert marked(drawing) == [70]


def test_a_finding_of_the_history_that_led_to_the_newest_attempt_keeps_its_mark() -> None:
    found = [finding(30, attempt=1), finding(60, attempt=1)]
    drawing = draw("loss", series("loss", [1.0] * 90), series("loss", [1.0] * 50, attempt=2, first=60), findings=found)
    assert marked(drawing) == [30]


@pytest.mark.parametrize(("chart", "name"), [("layers", "act/std/fc"), ("param-grad-norms", "grad_norm/fc.weight")])
def test_charts_of_the_newest_attempt_alone_have_its_marks_alone(chart: str, name: str) -> None:
    found = [finding(5, attempt=1), finding(7, attempt=2), finding(3, attempt=0)]
    drawing = draw(chart, series(name, [1.0] * 10, attempt=2), findings=found, attempts={1: 0, 2: 0})
    assert marked(drawing) == [3, 7]


def test_a_series_that_comes_late_in_an_attempt_does_not_bring_back_the_one_before() -> None:
    given = series("val/loss", [1.0], first=99), series("val/loss", [1.0], first=99, attempt=2)
    drawing = draw("series", series("val/loss", [1.0] * 3, every=50), *given[1:], attempts={1: 0, 2: 0},
                   findings=[finding(50, attempt=1)])  # fmt: skip
    assert marked(drawing) == []
    assert "val/loss · attempt 1, replaced from step 0 on" in [trace["name"] for trace in drawing.data]


def test_a_note_of_an_attempt_that_was_replaced_has_no_mark() -> None:
    notes = [Event("note", 4, 0, {"text": "old"}, attempt=1), Event("note", 6, 0, {"text": "new"}, attempt=2)]
    drawing = draw("loss", series("loss", [1.0] * 9), series("loss", [1.0] * 9, attempt=2), notes=notes)
    assert marked(drawing) == [6]


def test_an_error_that_follows_from_another_finding_is_marked_and_named_after_its_cause() -> None:
    error = {"severity": Severity.ERROR}
    found = [finding(101, code="GW601", cause=7, **error), finding(100, code="GW605", **error), finding(99, cause=7)]
    drawing = draw("loss", series("loss", np.ones(1_000)), findings=found)
    assert marked(drawing) == [100, 101]
    assert [item["text"] for item in drawing.layout["annotations"]] == ["✖ GW605 +1"]


def test_a_mark_stands_at_the_same_time_in_every_chart() -> None:
    """The layers are measured now and then; the loss, of every step, says when step 37 was."""
    clock = [cut(series("loss", [1.0] * 100), 1_000)]
    common = {"axis": axes.since(0, 100_000), "clock": clock, "findings": [finding(37)], "last_step": 99}
    rare = [*range(20), 80, 90]
    seldom = series("grad_norm/fc.weight", [1.0] * 3, every=40)
    places = [
        marked(draw("loss", series("loss", [1.0] * 100), **common)),
        marked(draw("param-grad-norms", seldom, **common)),
        marked(draw("series", series("mine", np.ones(len(rare)), every=5), **common)),
    ]
    assert places == [[37.0], [37.0], [37.0]]


def test_a_step_between_two_samples_of_the_clock_stands_between_their_times() -> None:
    clock = [cut(series("loss", [1.0] * 11, every=10), 1_000)]
    drawing = draw("loss", series("loss", [1.0] * 11, every=10), axis=axes.since(0, 9_000), clock=clock,
                   findings=[finding(25)])  # fmt: skip
    assert marked(drawing) == [25.0]


def test_an_old_attempt_s_step_stands_at_its_own_time() -> None:
    first, second = series("loss", [1.0] * 60), series("loss", [1.0] * 60, attempt=2, first=40)
    late = cut(second, 1_000)
    late.buckets.times_ms[:] += 500_000
    drawing = draw("loss", first, second, axis=axes.since(0, 9_000), clock=[cut(first, 1_000), late],
                   findings=[finding(20, attempt=1), finding(50, attempt=2)])  # fmt: skip
    assert marked(drawing) == [20.0, 550.0]
