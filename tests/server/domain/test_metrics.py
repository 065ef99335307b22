"""What names of metrics say."""

from __future__ import annotations

import pytest

from server.domain.metrics import better, partners, subject


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val/loss", "lowest"),
        ("val/accuracy", "highest"),
        ("top5", "highest"),
        ("error rate", "lowest"),
        ("val/auc_loss", "lowest"),  # the last word says what it is
        ("train/mIoU", "highest"),
        ("tokens", None),
        ("mapping", None),
        ("", None),
    ],
)
def test_the_best_end_of_a_metric_is_known_only_where_its_name_says_it(name: str, expected: str | None) -> None:
    assert better(name) == expected


def test_series_that_measure_the_same_belong_together() -> None:
    assert subject("val/iou/cat") == subject("train/iou/cat") == "iou/cat"
    assert partners("val/acc", ["val/acc", "acc", "loss"]) == ["acc", "val/acc"]
    assert partners("acc", ["train/acc", "val/acc"]) == ["train/acc", "val/acc"]
    assert partners("none", []) == []
