"""GW453: part of the model does not learn because requires_grad is off."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import Parameter, listed, parameters
from server.rules._say import in_python, percent, say
from server.rules.base import Rule, Stage, threshold

FEWEST = 64  # elements
DEEP = 2  # layers: one alone may be random features (Rahimi & Recht 2007)
EDGE, ROUNDING, UNEVEN = 0.95, 1e-5, 0.15  # of the bound of a uniform draw

KEPT = ("moving_mean", "moving_variance", "seed_generator_state")  # Keras's parameters that are none


class FrozenParams(Rule):
    """The run has parameters that are switched off

    ## What it does
    Lists parameters with `requires_grad=False` and their share, as an info. It warns where

    - more than 99 % are frozen and nothing says that this is fine-tuning;
    - the last layer is frozen while layers before it learn;
    - all that is frozen, in front of what learns, still fills the range that it was drawn from to its edge: weights
      that were ever trained, or loaded, lie beyond it here and there;
    - the last layer lies at that edge, frozen behind others that were trained, also in fine-tuning: the new head was
      made before the loop that freezes everything;
    - no adapter learns, one of them is exactly 0, and something else does learn: such adapters add nothing.

    One random layer alone is a remark, random features are made so; and so is a random network beside the one that
    learns to guess its outputs.

    ## Why it matters
    A switch that was left on after an experiment freezes a model silently; a frozen random head under a learning trunk
    is almost never meant.

    ## What you see in the chart
    No gradients and no updates for the layers named.

    ## What to try
    - `for p in model.parameters(): p.requires_grad_(True)` before the optimizer is made.
    - Load the weights before you freeze them; print one of them to be sure.
    - Freeze the pretrained layers first, and put the new head in their place afterwards.
    - On purpose: `watch(…, finetune=True)`.

    ## Example
    ```python
    model.requires_grad_(False); head.requires_grad_(True)    # right for a new head on a pretrained trunk
    model.head.requires_grad_(False)                          # wrong: the head is the part that is new
    ```

    ## References
    - PyTorch, *Autograd mechanics*, setting requires_grad.
    - Rahimi & Recht 2007, *Random Features for Large-Scale Kernel Machines*: one random layer, on purpose.
    - Exact test; 99 % is ours (LoRA trains less than 1 %, and says so).
    """

    code = "GW453"
    name = "frozen-params"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 8
    chart = "gradients"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How much may be frozen without a word."""

        share: float = threshold(
            0.99, unit="of the elements", low=0.5, high=1.0, source="ours: adapters train about 1 %"
        )
        samples: int = threshold(2, unit="samples", low=1, high=100, source="ours: one may be another kind of step")
        samples_at_end: int = threshold(1, unit="samples", low=1, high=100, source="ours: a long run has few")
        samples_before: int = threshold(20, unit="samples", low=3, high=1000, source="ours: it never missed one")
        untrained: float = threshold(
            0.2, unit="of the elements", low=0.01, high=1.0, source="ours: less may be a fixed table on purpose"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `model`."""
        items = [item for item in parameters(window) if item.trainable or not item.name.endswith(KEPT)]
        if not items:
            yield NotEvaluated("the parameters of the model are not known", "monitor = watch(model, optimizer)")
            return
        learning = window.by_layer(Kind.PARAM_GRAD_NORM)  # by now, while the table is that of the start
        items = [replace(item, trainable=item.trainable or item.name in learning) for item in items]
        if stopped := _stopped(window, items, params):
            yield stopped
            return
        if idle := _idle_adapters(items):
            yield idle
            return
        frozen = [item for item in items if not item.trainable]
        share = sum(item.numel for item in frozen) / max(sum(item.numel for item in items), 1)
        if not frozen:
            return
        ordered = [item for item in items if item.order is not None and item.is_matrix]
        last = max(ordered, key=lambda item: item.order or 0, default=None)
        same_model = [item for item in ordered if last is not None and item.optimizer == last.optimizer]
        head = last is not None and not last.trainable and any(item.trainable for item in same_model)
        plan = window.fact("plan")
        declared = plan.get("finetune") is True  # or inferred, where more than half is frozen
        said = plan.get("finetune_declared", declared) is True
        names = [item.name for item in frozen]
        meant = declared or _named(items)
        if head and not meant and last is not None and _one_model(items):
            severity, what = Severity.WARNING, f"The last layer `{last.layer}` is frozen while layers before it learn"
            advice = f"{in_python(last.owner)}.requires_grad_(True) before the optimizer is made, if it should learn."
        elif last is not None and not _named(items) and _new_head(last, same_model):
            severity = Severity.WARNING
            what = (
                f"The last layer `{last.layer}` is frozen as it was drawn at random, behind layers that were trained: "
                "its answers stay random"
            )
            advice = (
                f"{in_python(last.owner)}.requires_grad_(True) before the optimizer is made: freeze the pretrained "
                "layers first, then make the new one."
            )
        elif share > params.untrained and not (said or _named(items)) and _never_trained(items):
            severity = Severity.WARNING
            what = (
                f"{listed(names)} are frozen as they were drawn at random: what learns behind them "
                f"({percent(1 - share)} of the parameter elements) is given features that mean nothing"
            )
            advice = (
                "Load the trained weights before freezing, or let all layers learn: requires_grad_(True) before the "
                "optimizer is made. On purpose: watch(…, finetune=True)."
            )
        elif share > params.share and not meant:
            severity, what = (
                Severity.WARNING,
                f"{percent(share)} of all parameter elements are frozen ({listed(names)})",
            )
            advice = (
                "Say watch(…, finetune=True) if this is meant; else requires_grad_(True) before the optimizer is made."
            )
        else:
            severity, what = Severity.INFO, f"{percent(share)} of the parameter elements are frozen: {listed(names)}"
            advice = "Nothing to do if this is meant; the backward pass is cheaper for it."
        yield say(
            severity,
            what,
            advice,
            layers=[item.layer for item in frozen],
            numbers={"frozen_share": share, "parameters": len(names)},
            limit=params.share,
        )


def _stopped(window: Window, items: list[Parameter], params: FrozenParams.Params) -> Verdict | None:
    """Finds what got a gradient at each measured step, and from one of them on none, while others go on."""
    norms = window.by_layer(Kind.PARAM_GRAD_NORM)
    seen = window.series(Kind.GRAD_NORM.value)
    found: list[tuple[Parameter, int, int]] = []
    for item in items:
        series = norms.get(item.name)
        if series is None or not item.trainable or series.last_step == seen.last_step:
            continue
        before = int(np.searchsorted(seen.steps, series.last_step, side="right"))
        enough = seen.count - before >= (params.samples_at_end if window.final else params.samples)
        if enough and series.count == before >= params.samples_before:
            found.append((item, series.last_step, int(seen.steps[before])))
    if not found:
        return None
    last, first = max(one[1] for one in found), min(one[2] for one in found)
    names = [item.name for item, _, _ in found]
    return say(
        Severity.INFO,
        f"{listed(names)} got a gradient until step {last}, and none since step {first}, while other layers go on",
        "Nothing to do if this phase freezes them on purpose; else look for requires_grad_(False), .detach() or "
        "torch.no_grad() that begins there.",
        step=first,
        layers=[item.layer for item, _, _ in found],
        numbers={"parameters": len(found), "last": last},
        series=[f"{Kind.PARAM_GRAD_NORM.value}{names[0]}"],
        exact=False,
        stage=Stage.SYMPTOM,
    )


def _idle_adapters(items: list[Parameter]) -> Verdict | None:
    """Finds adapters of which none learns, though a matrix of theirs is exactly 0, while something else does: they add
    nothing, and never will."""
    adapters = [item for item in items if _named([item])]
    zero = [item.name for item in adapters if item.zero and len(item.shape) >= 2]
    learning = [item for item in items if item.trainable]
    if not zero or not learning or any(item.trainable for item in adapters):
        return None
    return say(
        Severity.WARNING,
        f"None of the {len(adapters)} weights of the adapters learns, and nothing but 0 is in {listed(zero)}: they add "
        f"nothing, and never will. What learns is {listed([item.name for item in learning])}",
        "Print the names for which requires_grad is True before the optimizer is made: what is looked for in them "
        '("lora_", a prefix, a dot) fits no adapter.',
        layers=[item.layer for item in adapters],
        numbers={"adapters": len(adapters), "learning": len(learning)},
        limit=0.0,
    )


def _named(items: list[Parameter]) -> bool:
    """Says whether a name tells of adapters."""
    return any("lora" in item.name.lower() or "adapter" in item.name.lower() for item in items)


def _never_trained(items: list[Parameter]) -> bool:
    """Says whether all frozen matrices lie in front of those that learn, and still have the edge of a uniform draw."""
    matrices = [item for item in items if item.is_matrix and item.order is not None]
    frozen, learning = ([item for item in matrices if item.trainable is state] for state in (False, True))
    if not frozen or not learning or not _one_model(items):
        return False
    if len({item.layer for item in frozen}) < DEEP or _beside(frozen, learning):
        return False
    behind = min(item.order or 0 for item in learning) > max(item.order or 0 for item in frozen)
    return behind and all(_at_its_edge(item) for item in frozen)


def _new_head(last: Parameter, matrices: list[Parameter]) -> bool:
    """Says whether the last matrix was never trained and never will be, while those before it, frozen too, were."""
    before = [item for item in matrices if item is not last]
    trained = bool(before) and not any(item.trainable or _at_its_edge(item) for item in before)
    return trained and not last.trainable and _at_its_edge(last)


def _beside(frozen: list[Parameter], learning: list[Parameter]) -> bool:
    """Says whether the first layer that learns takes what the first frozen one takes, not what the last one gives."""
    first, last = min(frozen, key=lambda item: item.order or 0), max(frozen, key=lambda item: item.order or 0)
    after = min(learning, key=lambda item: item.order or 0)
    apart = first.name.split(".")[0] != after.name.split(".")[0]
    return apart and after.shape[1:] == first.shape[1:] and after.shape[1] != last.shape[0]


def _at_its_edge(item: Parameter) -> bool:
    """Says whether a matrix is what a uniform initialisation gives: nothing beyond its bound, and up to it."""
    if not item.fan_in or item.absmax is None or item.std is None or item.numel < FEWEST:
        return False
    fan_out = item.shape[0] * item.fan_in / max(item.shape[1], 1)
    squares = (1 / item.fan_in, 3 / item.fan_in, 6 / item.fan_in, 6 / (item.fan_in + fan_out))
    return any(
        EDGE <= item.absmax / bound <= 1 + ROUNDING and abs(item.std * math.sqrt(3) / bound - 1) < UNEVEN
        for bound in map(math.sqrt, squares)
    )


def _one_model(items: list[Parameter]) -> bool:
    """Says whether all parameters belong to one tower: a frozen teacher beside a student is no frozen head."""
    roots = {item.name.split(".")[0] for item in items if not item.trainable}
    return not any(word in root.lower() for root in roots for word in ("teacher", "target", "ema", "momentum", "ref"))
