"""Says when rules must look away: warm-up, a jump of the learning rate, a moving target, pretrained weights, the
tail of a schedule.

Most false alarms die here. A rule names the gates that it respects; exact rules name none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from server.diagnosis.evidence import Evidence
from server.domain.evidence import Gates
from server.domain.kinds import Kind
from server.domain.series import Floats, Series
from server.domain.statistics import window_size

WARM_UP_SAMPLES = 100
WARM_UP_SHARE = 0.1  # of the planned run
WARM_UP_FEWEST = 10
LONGEST_WARM_UP_SHARE = 0.2  # of the planned run: a schedule that only rises must not switch everything off
RATE_JUMP = 1.5
LATE_SHARE = 0.01
FROZEN_SHARE = 0.5

ADVERSARIES = (
    "discriminator",
    "critic",
    "policy",
    "actor",
    "q_loss",
    "d_loss",
    "g_loss",
    "loss_d",
    "loss_g",
    "netd",
    "netg",
)
PRETRAINED_KEYS = ("name_or_path", "model_name_or_path", "pretrained", "checkpoint", "finetune", "resume_from")

REASONS: Mapping[str, str] = {
    "warm_up": "the run is still warming up (first samples, or the learning rate rises)",
    "lr_changed": "the learning rate just changed by half or more; the baseline is being rebuilt",
    "resumed": "this attempt continues another one, so its first steps are not the start of the training",
    "moving_target": "the loss is not expected to fall here (adversarial or reinforcement learning)",
    "finetune": "the weights are pretrained, so the start is not that of an untrained model",
    "late": "the learning rate is below 1 % of its maximum",
}


def gates_at(
    evidence: Evidence, step: int, samples: int, planned: int | None, facts: Mapping[str, Any], *, resumed: bool
) -> Gates:
    """Reads the gates at a step."""
    rates = [evidence.series(name, step) for name in evidence.names(Kind.LEARNING_RATE).values()]
    rates = [rate for rate in rates if rate]
    window = window_size(samples, planned)
    return Gates(
        warm_up=_warming_up(samples, planned, rates),
        lr_changed=any(_jumped(rate, window) for rate in rates),
        resumed=resumed,
        moving_target=_moving_target(evidence, facts),
        finetune=_finetune(facts),
        late=bool(rates) and all(_late(rate) for rate in rates),
    )


def _warming_up(samples: int, planned: int | None, rates: list[Series]) -> bool:
    fewest = max(min(WARM_UP_SAMPLES, WARM_UP_SHARE * planned) if planned else WARM_UP_SAMPLES, WARM_UP_FEWEST)
    if samples < fewest:
        return True
    if planned and samples >= LONGEST_WARM_UP_SHARE * planned:
        return False
    return bool(rates) and all(_only_rises(rate) for rate in rates)


def _only_rises(rate: Series) -> bool:
    """Says whether a rate has risen at every sample so far; remembered on the track as the first sample that did
    not."""
    memo = rate.track.memo.setdefault("gate/rise", {"seen": 1, "stopped": None})
    values = rate.track.values
    while memo["stopped"] is None and memo["seen"] < len(values):
        # schedulers that move once an epoch hold a rate for many samples: only a fall, or a long rest, ends a warm-up
        if values[memo["seen"]] <= values[memo["seen"] - 1]:
            memo["stopped"] = memo["seen"]
        memo["seen"] += 1
    return memo["stopped"] is None or bool(memo["stopped"] >= rate.count)


def _jumped(rate: Series, window: int) -> bool:
    """Says whether a rate changed by half or more between neighbours within the newest window."""
    memo = rate.track.memo.setdefault("gate/jumps", {"seen": 1, "at": []})
    values: Floats = rate.track.values
    if memo["seen"] < len(values):
        tail = np.abs(values[memo["seen"] - 1 :])
        low, high = np.minimum(tail[1:], tail[:-1]), np.maximum(tail[1:], tail[:-1])
        largest = np.maximum.accumulate(np.abs(values))[memo["seen"] :]
        jumps = (high >= RATE_JUMP * low) & (high > LATE_SHARE * largest)
        memo["at"] += [int(i) + memo["seen"] for i in np.flatnonzero(jumps)]
        memo["seen"] = len(values)
    return any(rate.count - window <= position < rate.count for position in reversed(memo["at"][-1000:]))


def _late(rate: Series) -> bool:
    values = rate.values
    return bool(values[-1] < LATE_SHARE * np.nanmax(values)) if np.isfinite(values).any() else False


def _moving_target(evidence: Evidence, facts: Mapping[str, Any]) -> bool:
    declared = _plan(facts).get("moving_target")
    if isinstance(declared, bool):
        return declared
    parts = [subject.lower() for subject in evidence.names(Kind.LOSS_PART)]
    return any(word in part for part in parts for word in ADVERSARIES)


def _finetune(facts: Mapping[str, Any]) -> bool:
    declared = _plan(facts).get("finetune")
    if isinstance(declared, bool):
        return declared
    config = facts.get("config")
    if isinstance(config, Mapping) and any(config.get(key) for key in PRETRAINED_KEYS):
        return True
    model = facts.get("model")
    if not isinstance(model, Mapping):
        return False
    total, trainable = model.get("total"), model.get("trainable")
    known = isinstance(total, int) and isinstance(trainable, int) and total > 0
    return bool(known and trainable < (1 - FROZEN_SHARE) * total)  # type: ignore[operator]


def _plan(facts: Mapping[str, Any]) -> Mapping[str, Any]:
    plan = facts.get("plan")
    return plan if isinstance(plan, Mapping) else {}
