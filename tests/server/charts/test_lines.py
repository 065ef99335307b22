"""Lines: nothing that matters is smoothed away, and every name is only text."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from server.charts.catalogue import CHARTS, to_json
from server.domain.findings import Severity
from tests.server.charts.kit import draw, finding, series, values_of

EVIL = "<b>x</b><img src=x onerror=alert(1)>&amp;"


@pytest.mark.parametrize("at", [0, 1, 777, 49_999, 99_999])
def test_a_spike_of_one_sample_among_many_is_drawn(at: int) -> None:
    values = np.ones(100_000)
    values[at] = 1234.5
    drawing = draw("loss", series("loss", values), points=500)
    assert max(values_of(drawing)) == 1234.5
    assert all(len(trace["x"]) <= 1_001 for trace in drawing.data)


@pytest.mark.parametrize(("bad", "label"), [(math.nan, "NaN"), (math.inf, "+Inf"), (-math.inf, "−Inf")])
def test_a_value_that_is_no_number_has_a_mark_with_its_step(bad: float, label: str) -> None:
    values = np.ones(50_000)
    values[31_234] = bad
    drawing = draw("loss", series("loss", values), points=200)
    mark = next(trace for trace in drawing.data if trace["name"] == label)
    assert mark["hovertext"] == [f"loss: 1 × {label}, step 31,234"]
    assert "1 not finite" in drawing.summary


def test_names_are_text_everywhere() -> None:
    given = series(EVIL, [1.0, math.nan, 3.0])
    figure = json.loads(to_json(draw("series", given, findings=[finding(1, name=EVIL)]), ""))["figure"]
    assert "<img" not in json.dumps(figure)
    assert "&lt;img" in json.dumps(figure)


def test_names_of_layers_and_parameters_are_text_too() -> None:
    layers = draw("layers", series(f"act/std/{EVIL}", [1.0, 2.0]), layers=[EVIL])
    parameters = draw("update-ratios", series(f"update_ratio/{EVIL}", [1e-3, math.nan]))
    for drawing in (layers, parameters):
        figure = json.dumps([json.loads(to_json(drawing, ""))["figure"]])
        assert "<img" not in figure
        assert "&lt;img" in figure


def test_findings_are_marked_on_the_step_axis() -> None:
    drawing = draw("loss", series("loss", np.linspace(2, 1, 500)), findings=[finding(300)])
    assert [(shape["x0"], shape["x1"]) for shape in drawing.layout["shapes"]] == [(300, 300)]
    assert drawing.layout["annotations"][0]["text"] == "▲ GW205"
    assert "warning: GW205 loss-spike, step 300" in drawing.layout["annotations"][0]["hovertext"]


def test_muted_and_absorbed_findings_and_those_out_of_sight_have_no_mark() -> None:
    others = [finding(30, muted=True), finding(40, cause=7), finding(900)]
    drawing = draw("loss", series("loss", np.ones(100)), findings=others)
    assert drawing.layout["shapes"] == []


def test_near_findings_share_a_label() -> None:
    drawing = draw("loss", series("loss", np.ones(1_000)), findings=[finding(500), finding(505, code="GW307")])
    assert [item["text"] for item in drawing.layout["annotations"]] == ["▲ GW205 +1"]
    assert len(drawing.layout["shapes"]) == 2


def test_a_remark_has_a_sign_and_no_name() -> None:
    remarks = [finding(100, code="GW501", severity=Severity.INFO), finding(105, code="GW441", severity=Severity.INFO)]
    drawing = draw("loss", series("loss", np.ones(1_000)), findings=[*remarks, finding(700)])
    assert [item["text"] for item in drawing.layout["annotations"]] == ["●", "▲ GW205"]
    assert "info: GW501" in drawing.layout["annotations"][0]["hovertext"]


def test_the_newest_attempt_is_drawn_and_what_came_before_lies_under_it() -> None:
    """Attempt 2 went on at step 3: what attempt 1 did after that is replaced, grey behind the legend."""
    first = series("loss", [5.0, 4.0, 3.0, 9.0, 9.5])
    drawing = draw("loss", first, series("loss", [2.5, 2.0], attempt=2, first=3))
    history, tail, newest = (trace for trace in drawing.data if trace["mode"] != "markers" or trace["name"] == "loss")
    assert (history["x"], history["y"], history["showlegend"]) == ([0.0, 1.0, 2.0], [5.0, 4.0, 3.0], False)
    assert (tail["x"], tail["y"], tail["visible"]) == ([3.0, 4.0], [9.0, 9.5], "legendonly")
    assert tail["name"] == "loss · attempt 1, replaced from step 3 on"
    assert (newest["x"], newest["y"], newest["name"]) == ([3.0, 4.0], [2.5, 2.0], "loss")
    assert drawing.detail.startswith("grey: before the run was resumed · ")


def test_an_attempt_that_began_anew_replaces_all_of_the_one_before() -> None:
    drawing = draw("loss", series("loss", [2.0, 1.0]), series("loss", [1.5, 1.2], attempt=2))
    assert [trace.get("visible") for trace in drawing.data[:2]] == ["legendonly", None]


def test_of_three_attempts_each_ends_where_the_next_one_went_on() -> None:
    drawing = draw(
        "loss", series("loss", [1.0] * 10), series("loss", [2.0] * 10, attempt=2, first=5),
        series("loss", [3.0, 3.0], attempt=3, first=8),
    )  # fmt: skip
    lines = [(trace["x"][0], trace["x"][-1], trace.get("visible")) for trace in drawing.data]
    assert lines[:5] == [
        (0.0, 4.0, None), (5.0, 9.0, "legendonly"), (5.0, 7.0, None), (8.0, 14.0, "legendonly"), (8.0, 9.0, None)
    ]  # fmt: skip


def test_one_point_is_a_point() -> None:
    drawing = draw("loss", series("loss", [2.5]))
    assert drawing.data[0]["mode"] == "markers"
    assert drawing.last_step == 0


def test_a_wide_range_of_positive_values_gets_a_logarithmic_axis() -> None:
    assert draw("learning-rate", series("lr/0", np.geomspace(1e-1, 1e-5, 50))).layout["yaxis"]["type"] == "log"
    assert draw("learning-rate", series("lr/0", np.linspace(1e-1, 5e-2, 50))).layout["yaxis"]["type"] == "linear"
    assert draw("learning-rate", series("lr/0", [0.0, 1e-5, 1e-1])).layout["yaxis"]["type"] == "linear"


def test_the_last_steps_of_a_cosine_do_not_make_the_rate_logarithmic() -> None:
    cosine = 3e-3 * 0.5 * (1 + np.cos(np.pi * np.arange(700) / 700))
    warm = cosine * np.minimum(1, (np.arange(700) + 1) / 50)
    assert draw("learning-rate", series("lr/0", warm)).layout["yaxis"]["type"] == "linear"
    steps = np.repeat([1e-1, 1e-2, 1e-3], 100)
    assert draw("learning-rate", series("lr/0", steps)).layout["yaxis"]["type"] == "log"


def test_a_logarithmic_axis_has_numbers_within_one_decade_too() -> None:
    within = draw("grad-norm", series("grad_norm", [0.12, 0.31, 0.22])).layout["yaxis"]
    assert within["type"] == "log"
    assert within["ticktext"] == ["0.15", "0.2", "0.25", "0.3"]
    across = draw("grad-norm", series("grad_norm", [0.12, 1.3, 0.6])).layout["yaxis"]
    assert across["ticktext"] == ["0.2", "0.5", "1"]
    usual = draw("update-ratios", series("update_ratio/a", [0.02, 0.9])).layout["yaxis"]
    assert "tickvals" not in usual, "the shaded band, 0.0001 to 0.01, is on the axis too"
    assert draw("grad-norm", series("grad_norm", [0.01, 300.0])).layout["yaxis"]["dtick"] == 1


def test_what_a_logarithmic_axis_cannot_show_is_marked() -> None:
    drawing = draw("grad-norm", series("grad_norm", [1.0, 0.0, 2.0]))
    mark = next(trace for trace in drawing.data if trace["name"] == "zero or below")
    assert (mark["x"], mark["hovertext"]) == ([1.0], ["grad_norm: 0"])


def test_nothing_to_draw_is_a_sentence() -> None:
    assert json.loads(to_json(None, CHARTS["loss"].empty)) == {
        "figure": None,
        "summary": "No loss was sent yet: monitor.step(loss) sends it.",
        "last_step": -1,
    }


def test_json_holds_no_nan() -> None:
    written = to_json(draw("loss", series("loss", [1.0, math.nan, math.inf, 2.0])), "")
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))


def test_each_chart_wants_its_own_series() -> None:
    names = ["loss", "loss/data", "val/loss", "lr/0", "grad_norm", "grad_norm/a", "update_ratio/a", "act/std/a", "mine"]
    assert CHARTS["loss"].wants(names, []) == ["loss", "val/loss", "loss/data"]
    assert CHARTS["learning-rate"].wants(names, []) == ["lr/0"]
    assert CHARTS["grad-norm"].wants(names, []) == ["grad_norm"]
    assert CHARTS["param-grad-norms"].wants(names, []) == ["grad_norm/a"]
    assert CHARTS["layers"].wants(names, []) == ["act/std/a"]
    assert CHARTS["series"].wants(names, ["mine"]) == ["mine"]
    assert CHARTS["series"].wants(names, "not there") == []
