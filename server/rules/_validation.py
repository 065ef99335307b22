"""Lines up validation values with the training loss, and finds metrics that should rise.

Not for: judging; the rules of chapter 8 and `nothing-generalises` do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats, Steps
from server.domain.statistics import MAD_TO_SIGMA, med

RISING = ("acc", "f1", "auc", "iou", "dice", "map", "bleu", "rouge", "r2", "recall", "precision", "top1", "top5")
TRAIN_WINDOW = 50  # training losses before an evaluation that stand for it


@dataclass(frozen=True)
class Evaluations:
    """Holds the finite validation losses, and the median training loss just before each."""

    steps: Steps
    values: Floats
    training: Floats

    def __len__(self) -> int:
        return len(self.values)

    @property
    def noise(self) -> float:
        """Sigma of one evaluation, from the differences of neighbours (the newest 20)."""
        changes = np.diff(self.values[-21:])
        return MAD_TO_SIGMA * med(np.abs(changes - med(changes))) / 2**0.5 if len(changes) > 1 else 0.0


def evaluations(window: Window) -> Evaluations | None:
    """Gives the validation losses of the run; None where there are none."""
    series = window.series("val/loss")
    keep = np.isfinite(series.values)
    if not keep.any():
        return None
    steps, values = series.steps[keep], series.values[keep]
    ends = np.searchsorted(window.loss.steps, steps, side="right")
    losses = window.loss.values
    widths = np.diff(np.concatenate([[0], ends]))
    training = [
        med(losses[max(0, end - int(np.clip(width, 1, TRAIN_WINDOW))) : end])
        for end, width in zip(ends, widths, strict=True)
    ]
    return Evaluations(steps, values, np.asarray(training))


def rising_metric(window: Window) -> tuple[str, Steps, Floats] | None:
    """Finds a validation metric that should rise, such as accuracy: its name, steps and finite values."""
    for name, series in window.by_layer(Kind.VALIDATION).items():
        if any(word in name.lower() for word in RISING):
            keep = np.isfinite(series.values)
            if keep.any():
                return name, series.steps[keep], series.values[keep]
    return None
