"""Says what a series name means: which signal it is and which layer, parameter or group it belongs to.

The names are the contract of the hook: `grad_norm/<param>`, `act/zeros/<module>`, `lr/<group>` and so on.
"""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """A signal that the hook measures; the value is the prefix of its series' names."""

    LOSS = "loss"
    LOSS_PART = "loss/"
    VALIDATION = "val/"
    LEARNING_RATE = "lr/"
    MOMENTUM = "momentum/"
    BETA2 = "beta2/"
    WEIGHT_DECAY = "weight_decay/"
    GRAD_NORM = "grad_norm"
    PARAM_GRAD_NORM = "grad_norm/"
    PARAM_WEIGHT_NORM = "weight_norm/"
    PARAM_UPDATE_RATIO = "update_ratio/"
    PARAM_GRAD_NONFINITE = "grad_nonfinite/"
    GRAD_TIME_FIRST = "grad_time/first/"  # of a recurrent layer: the gradient at the first tenth of its time steps
    GRAD_TIME_LAST = "grad_time/last/"
    NOISE_SCALE = "noise_scale/"  # squared norms of the gradient of one micro-batch and of a step
    DISPLACEMENT = "displacement_cosine/"  # of plain SGD: between the ways that the weights went in two epochs
    ACT_MEAN = "act/mean/"
    ACT_STD = "act/std/"
    ACT_ABSMAX = "act/absmax/"
    ACT_ZEROS = "act/zeros/"
    ACT_SATURATED = "act/saturated/"
    ACT_NONFINITE = "act/nonfinite/"
    ACT_SCORES = "act/scores/"  # largest |score| before the softmax, by the call's place in the forward
    ACT_ENTROPY = "act/attention_entropy/"  # of the weights, as a share of an even row's
    SCALER_SCALE = "scaler/scale"
    CLIP_BEFORE = "clip/before"
    CLIP_COEFFICIENT = "clip/coefficient"
    TIME_STEP = "time/step"
    TIME_DATA = "time/data"
    EPOCH = "epoch"
    OVERHEAD = "hook/overhead"
    SYSTEM = "system/"
    RANK = "@rank/"  # only in the evidence of several ranks: rank and name
    USER = ""


_EXACT = {kind.value: kind for kind in Kind if kind.value and not kind.value.endswith("/")}
_PREFIXES = sorted((kind.value for kind in Kind if kind.value.endswith("/")), key=len, reverse=True)

LAYER_KINDS = (
    Kind.PARAM_GRAD_NORM,
    Kind.PARAM_WEIGHT_NORM,
    Kind.PARAM_UPDATE_RATIO,
    Kind.ACT_MEAN,
    Kind.ACT_STD,
    Kind.ACT_ABSMAX,
    Kind.ACT_ZEROS,
    Kind.ACT_SATURATED,
    Kind.ACT_NONFINITE,
    Kind.ACT_SCORES,
)


def parse(name: str) -> tuple[Kind, str]:
    """Splits a series name into its kind and the layer, parameter, group or metric that it belongs to ("" if none)."""
    exact = _EXACT.get(name)
    if exact is not None:
        return exact, ""
    for prefix in _PREFIXES:
        if name.startswith(prefix) and len(name) > len(prefix):
            return Kind(prefix), name[len(prefix) :]
    return Kind.USER, name
