"""What simple models reach is drawn under the lines of a run, and said where the network is still worse."""

from __future__ import annotations

from typing import Any

import pytest

from server.domain.metrics import measured_as
from tests.server.charts.kit import draw, series

LEVELS = [("a constant answer", 2.3), ("a linear model", 0.31)]


def lines_of(drawing: Any) -> dict[str, Any]:
    return {trace["name"]: trace for trace in drawing.data if trace.get("meta") == "simple"}


def test_each_simple_model_is_a_dashed_line_over_the_whole_width_with_its_name() -> None:
    drawing = draw("loss", series("loss", [2.4, 1.8, 1.2], first=10), levels=LEVELS)
    found = lines_of(drawing)
    assert list(found) == ["a constant answer 2.3", "a linear model 0.31"]
    linear = found["a linear model 0.31"]
    assert (linear["x"], linear["y"]) == ([10.0, 12.0], [0.31, 0.31])
    assert [(label["y"], label["text"]) for label in drawing.layout["annotations"]] == [
        (2.3, "a constant answer"), (0.31, "a linear model"),
    ]  # fmt: skip
    assert len({trace["line"]["dash"] for trace in found.values()}) == 2
    assert drawing.summary.endswith(" Simple models: a constant answer 2.3, a linear model 0.31.")


def test_it_says_where_the_network_is_still_worse_than_a_linear_model() -> None:
    worse = "your network is still worse than a linear model"
    assert draw("loss", series("loss", [2.4, 1.2]), levels=LEVELS).detail.startswith(worse)
    assert worse not in draw("loss", series("loss", [2.4] + [0.2] * 40), levels=LEVELS).detail
    assert worse not in draw("loss", series("loss", [2.4, 1.2])).detail
    accuracy = [("a constant answer", 0.1), ("a linear model", 0.9)]
    assert worse in draw("series", series("accuracy", [0.2, 0.5]), levels=accuracy).detail
    assert worse not in draw("series", series("accuracy", [0.2, 0.95]), levels=accuracy).detail
    assert worse not in draw("loss", series("loss", [float("nan")] * 3), levels=LEVELS).detail


def test_an_accuracy_in_percent_is_compared_in_percent() -> None:
    drawing = draw("series", series("val/accuracy", [20.0, 50.0]), levels=[("a linear model", 0.9)])
    assert list(lines_of(drawing)) == ["a linear model 90"]
    assert "still worse" in drawing.detail


def test_a_loss_above_1_is_no_percentage() -> None:
    drawing = draw("loss", series("loss", [1.7, 0.6]), levels=[("a constant answer", 0.69), ("a linear model", 0.35)])
    assert list(lines_of(drawing)) == ["a constant answer 0.69", "a linear model 0.35"]


def test_a_logarithmic_axis_shows_no_level_of_zero_or_below() -> None:
    drawing = draw("series", series("r2", [0.01, 0.9]), levels=[("a constant answer", -0.01)], scale="log")
    assert lines_of(drawing) == {}
    assert drawing.layout["annotations"] == []
    low = draw("loss", series("loss", [1.0, 0.5]), levels=[("a linear model", 0.01)], scale="log")
    assert low.layout["annotations"][0]["y"] == -2.0  # plotly wants the logarithm


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("loss", "loss"), ("val/loss", "loss"), ("loss/kl", None), ("accuracy", "accuracy"), ("val/acc", "accuracy"),
        ("train/top1", "accuracy"), ("acc_top5", None), ("balanced_accuracy", None), ("r2", "r2"),
        ("val/r2_score", "r2"), ("f1", None), ("lr/0", None),
    ],
)  # fmt: skip
def test_only_metrics_that_mean_the_same_are_compared(name: str, figure: str | None) -> None:
    assert measured_as(name) == figure
