"""What the name of a metric says: whether a small or a large value is good, and which training series it validates.

Names are all that is known of a metric; where they do not say it, nothing is claimed. Not for: what the hook measures
(kinds.py).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

_LOW = ("loss", "error", "err", "perplexity", "ppl", "mse", "mae", "rmse", "mape", "nll", "wer", "cer", "fid", "kl",
        "bpb", "bpc", "divergence", "distance", "eer")  # fmt: skip
_HIGH = ("acc", "accuracy", "top1", "top5", "f1", "auc", "auroc", "auprc", "ap", "map", "miou", "iou", "dice", "bleu",
         "rouge", "precision", "recall", "r2", "psnr", "ssim", "reward", "return",
         "score", "success", "win")  # fmt: skip
_WORD = re.compile(r"[a-z]+[0-9]*|[0-9]+")

Better = Literal["lowest", "highest"]


def better(name: str) -> Better | None:
    """Says which end of a metric is its best, by the words of its name; None where they do not say."""
    for word in reversed(_WORD.findall(name.lower())):
        if word in _LOW:
            return "lowest"
        if word in _HIGH:
            return "highest"
    return None


def measured_as(name: str) -> Literal["loss", "accuracy", "r2"] | None:
    """Says which figure of a simple model can be compared with a metric; None where none can."""
    if name in ("loss", "val/loss"):
        return "loss"
    found = set(_WORD.findall(name.lower()))
    if found & {"top5", "top3", "balanced"}:
        return None
    if found & {"acc", "accuracy", "top1"}:
        return "accuracy"
    return "r2" if "r2" in found else None


def subject(name: str) -> str:
    """Takes `val/` or `train/` off a name: what is measured, wherever it was measured."""
    return name.removeprefix("val/").removeprefix("train/")


def partners(name: str, names: Collection[str]) -> list[str]:
    """Lists the series that measure the same: on the training data first, then on the validation data."""
    about = subject(name)
    return [each for each in (about, f"train/{about}", f"val/{about}") if each in names]
