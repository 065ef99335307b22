"""Says when rules must look away: warm-up, a jump of the learning rate, a moving target, pretrained weights, the
tail of a schedule.

Most false alarms die here. A rule names the gates that it respects; exact rules name none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from server.diagnosis.evidence import Evidence
from server.domain.evidence import Gates
from server.domain.kinds import Kind
from server.domain.series import Floats, Series, Track
from server.domain.statistics import window_size
from server.rules._moving import makes_its_targets, weighs_probabilities
from server.rules._rewards import any_reward

WARM_UP_SAMPLES = 100
WARM_UP_SHARE = 0.1  # of the planned run
WARM_UP_FEWEST = 10
LONGEST_WARM_UP_SHARE = 0.2  # of the planned run: a schedule that only rises must not switch everything off
RATE_JUMP = 1.5
LATE_SHARE = 0.01
FROZEN_SHARE = 0.5
POLICY_SAMPLES = 500  # in which an advantage takes both signs

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
        moving_target=_moving_target(evidence, facts, step),
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
    if memo["stopped"] is None and memo["seen"] < len(values):
        # schedulers that move once an epoch hold a rate for many samples: only a fall, or a long rest, ends a warm-up
        fresh = values[memo["seen"] - 1 :]
        rests = np.flatnonzero(fresh[1:] <= fresh[:-1])
        memo["stopped"] = memo["seen"] + int(rests[0]) if len(rests) else None
        memo["seen"] = len(values)
    return memo["stopped"] is None or bool(memo["stopped"] >= rate.count)


def _jumped(rate: Series, window: int) -> bool:
    """Says whether a rate changed by half or more between neighbours within the newest window."""
    memo = rate.track.memo.setdefault("gate/jumps", {"seen": 1, "at": []})
    values: Floats = rate.track.values
    if memo["seen"] < len(values):
        tail = np.abs(values[memo["seen"] - 1 :])
        low, high = np.minimum(tail[1:], tail[:-1]), np.maximum(tail[1:], tail[:-1])
        jumps = (high >= RATE_JUMP * low) & (high > LATE_SHARE * _largest(rate.track)[memo["seen"] :])
        memo["at"] += [int(i) + memo["seen"] for i in np.flatnonzero(jumps)]
        memo["seen"] = len(values)
    return any(rate.count - window <= position < rate.count for position in reversed(memo["at"][-1000:]))


def _late(rate: Series) -> bool:
    largest = float(_largest(rate.track)[rate.count - 1])
    return math.isfinite(largest) and rate.last < LATE_SHARE * largest


def _largest(track: Track) -> Floats:
    """Gives the largest finite rate up to each sample; −inf before the first. Kept on the track as it grows."""
    memo = track.memo.setdefault("gate/largest", {"seen": 0, "rows": np.empty(64)})
    values = track.values
    if memo["seen"] < len(values):
        if len(memo["rows"]) < len(values):
            memo["rows"] = np.resize(memo["rows"], max(len(values), 2 * len(memo["rows"])))
        fresh = np.abs(values[memo["seen"] :])
        before = memo["rows"][memo["seen"] - 1] if memo["seen"] else -math.inf
        kept = np.where(np.isfinite(fresh), fresh, -math.inf)
        memo["rows"][memo["seen"] : len(values)] = np.maximum(np.maximum.accumulate(kept), before)
        memo["seen"] = len(values)
    rows: Floats = memo["rows"][: len(values)]
    return rows


def _moving_target(evidence: Evidence, facts: Mapping[str, Any], step: int) -> bool:
    declared = _plan(facts).get("moving_target")
    if isinstance(declared, bool):
        return declared
    parts = [subject.lower() for subject in evidence.names(Kind.LOSS_PART)]
    logged = (subject for kind in (Kind.LOSS_PART, Kind.USER, Kind.VALIDATION) for subject in evidence.names(kind))
    adversaries = any(word in part for part in parts for word in ADVERSARIES)
    if adversaries or any_reward(logged) or makes_its_targets(facts):
        return True
    if not weighs_probabilities(facts):
        return False
    return bool(np.any(evidence.series(Kind.LOSS.value, step).values[:POLICY_SAMPLES] < 0))


def _finetune(facts: Mapping[str, Any]) -> bool:
    """Says whether weights are pretrained: declared, named in the config, or frozen for the greater part.

    `load_state_dict` is mostly called before `watch`, where nobody hears it, and weights of an odd scale may be a bad
    start, which is what the rules with this gate look for: the rules that can do with less (GW204, GW413) ask for a
    usual spread themselves.
    """
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
