"""Lines up validation values with the training loss, and finds metrics that should rise.

Not for: judging; the rules of chapter 8 and `nothing-generalises` do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.kinds import Kind
from server.domain.series import Floats, Steps
from server.domain.statistics import MAD_TO_SIGMA, med

RISING = ("acc", "f1", "auc", "iou", "dice", "map", "bleu", "rouge", "r2", "recall", "precision", "top1", "top5")
FALLING = ("loss", "err", "mse", "mae", "mape", "ppl", "perplexity", "nll", "wer", "cer", "fid", "bpc", "bpb")
RANKS = ("auc", "auroc", "roc", "auprc", "pr_auc", "ap", "average_precision", "brier", "gini", "ks", "ece", "lift")
RECALLS = ("recall", "sensitivity", "tpr")
SURE_ERRORS, SURE_GAIN = 3.0, 0.05  # sampling errors, and points of accuracy
NEVER_NEAR, FAR_OFF = 1.5, 2.0  # times what a constant answer gets
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


def far_off(found: Evaluations, chance: float) -> bool:
    """Says whether answers are so wrong, from the first evaluation on, that they are meant for other labels."""
    return float(found.values.min()) >= NEVER_NEAR * chance and med(found.values) >= FAR_OFF * chance


def should_rise(name: str) -> bool | None:
    """Says by its name whether a metric is better when larger; None where the name does not tell."""
    low = name.lower()
    if any(word in low for word in FALLING):
        return False
    return True if any(word in low for word in RISING) else None


def rising_metric(window: Window) -> tuple[str, Steps, Floats] | None:
    """Finds a validation metric that should rise, such as accuracy: its name, steps and finite values."""
    for name, series in window.by_layer(Kind.VALIDATION).items():
        if any(word in name.lower() for word in RISING):
            keep = np.isfinite(series.values)
            if keep.any():
                return name, series.steps[keep], series.values[keep]
    return None


def judged_by_ranks(window: Window) -> bool:
    """Says whether the validation has metrics of a ranking or of probabilities, and none that needs a threshold."""
    names = [name for name in window.by_layer(Kind.VALIDATION) if name.lower() != "loss"]
    ranks = [name for name in names if _is_of_ranks(name.lower())]
    return bool(ranks) and not any(should_rise(name) for name in names if name not in ranks)


def low_recall(window: Window, limit: float) -> str:
    """Names a recall that is logged for the validation and ends below a limit; "" where there is none. That of the
    first k answers of a search is no such thing."""
    for name, series in window.by_layer(Kind.VALIDATION).items():
        low, values = name.lower(), series.values[np.isfinite(series.values)]
        of_class = any(word in re.split(r"[^a-z]+", low) for word in RECALLS) and not re.search(r"[@\d]", low)
        if of_class and len(values) and med(values[-max(1, len(values) // 3) :]) < limit:
            return name
    return ""


def _is_of_ranks(name: str) -> bool:
    parts = re.split(r"[^a-z]+", name)
    return "auc" in name or "average_precision" in name or any(word in parts for word in RANKS)


def beats_the_commonest(window: Window, labels: Mapping[int, int], share: float = 0.0) -> bool:
    """Says whether the accuracy of the validation is surely above what naming the most common class would give, by a
    share of what that leaves."""
    found = rising_metric(window)
    if found is None or "acc" not in found[0].lower() or not 0 < float(found[2][-1]) <= 1 or not labels:
        return False
    total = sum(labels.values())
    level = max(labels.values()) / total
    error = math.sqrt(level * (1 - level) / total)
    return float(found[2][-1]) > level + max(SURE_ERRORS * error, SURE_GAIN, share * (1 - level))
