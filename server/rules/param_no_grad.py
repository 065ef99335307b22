"""GW301: a trainable parameter is not connected to the loss."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.rules._experts import is_experts
from server.rules._layers import Parameter, first_unfed, left_over, listed, optimizers, parameters
from server.rules._loss_call import SAME_VALUES, call_operations, own_operations
from server.rules._progress import first_finite
from server.rules._turns import waiting
from server.rules.base import Rule, Stage, threshold

OTHER_CAUSES = frozenset({"GW107", "GW114", "GW211", "GW212", "GW308", "GW309"})  # they explain gradients of exactly 0
STEPWISE = tuple(f"{name}Backward0" for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Heaviside"))  # slope 0
SYMPTOM = "GW211"  # of a step function that lies on one step for every input
SLOPED = ("Mul", "Div", "Add", "Sub", "Rsub", "Neg", "Sum", "Mean", *SAME_VALUES)  # 0 nowhere, but for a factor of 0


class ParamNoGrad(Rule):
    """The run has trainable parameters that the loss never reaches

    ## What it does
    After 3 backward passes it lists the trainable parameters whose `.grad` was `None` each time: the loss does not
    depend on them. A layer that was never called gets 200 steps first, because experts, task heads and stochastic depth
    are not used in every step; where its siblings are seen in some steps only, it waits until each of so many should
    have been drawn. After 200 steps (or at the end) matrices whose gradient was exactly 0 in every measured step, ten
    at least, are listed too, unless dead units, zero weights or a constant output explain them. Where *all* gradients
    are zero this rule is silent, for then the output is at fault, not a connection; unless a rounding lies before the
    loss, or nothing but sums, products and quotients: there a factor is 0. Silent it is, too, on what a chain of like
    blocks leaves over (the last backcast of N-BEATS): the same code learns in every block before, and GW312 remarks on
    it. A bias alone, whose weight does get a gradient, is a remark: a loss made of slopes of the output (an energy
    whose forces are compared) does not depend on a constant.

    ## Why it matters
    The part stays at its random start for the whole training. Nothing crashes, the rest learns around it, and the
    result is a model that is quietly smaller than the one that was written.

    ## What you see in the chart
    The gradient chart has no line for these parameters, or one at zero.

    ## What to try
    - Print `output.grad_fn` after each stage of `forward()`: the first `None` is the place.
    - Look for `.detach()`, `.data`, `.item()`, `.numpy()`, `torch.tensor(x)`, `torch.no_grad()`, `argmax` and `round`
      on that path.
    - A module that is made in `__init__` and not called in `forward()`: call it or delete it.
    - A part that is frozen on purpose: `for p in part.parameters(): p.requires_grad_(False)`, then nobody has to guess.

    ## Example
    ```python
    features = self.encoder(x).detach()      # wrong: the encoder never learns
    features = self.encoder(x)               # right
    ```

    ## References
    - PyTorch, *Autograd mechanics*: how requires_grad and the graph decide who gets a gradient.
    - Exact test; the wait of 3 steps lets zero-initialised branches (LoRA, ReZero) move first, the wait of 200 is ours.
    """

    code = "GW301"
    name = "param-no-grad"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 7
    chart = "gradients"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When a missing gradient counts."""

        steps: int = threshold(
            3, unit="optimizer steps", low=1, high=100, source="zero-initialised branches pass no gradient in step 0"
        )
        steps_several: int = threshold(
            10, unit="optimizer steps", low=1, high=1000, source="a critic often takes 5 steps for one of its generator"
        )
        looks: int = threshold(
            10,
            unit="measured steps",
            low=1,
            high=1000,
            source="ours: before a part that takes turns counts as unused, or a 0 as more than a start at zero",
        )
        patient_steps: int = threshold(
            200, unit="optimizer steps", low=10, high=10_000, source="ours: experts and task heads take turns"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the `gradients` fact with the model's table."""
        if "GW103" in window.open_codes:
            return  # samples were taken for places: what is not reached follows from that
        seen = window.fact("gradients")
        steps = int(seen.get("steps") or 0)
        needed = params.steps_several if len(optimizers(window)) > 1 else params.steps
        if steps < needed:
            yield NotEvaluated(
                f"the gradients of {needed} optimizer steps are needed, {steps} are in",
                "monitor = watch(model, optimizer)  # with the optimizer that steps",
            )
            return
        start = first_finite(window.loss.values[:1])
        if window.loss and start is None:
            yield NotEvaluated("the first loss is not finite, so gradients say nothing about connections")
            return
        known = {item.name: item for item in parameters(window)}
        missing = [known.get(name) or _unknown(name) for name in _names(seen, "none")]
        looks = int(seen.get("sampled", steps))
        later = waiting(window, [item.name for item in missing], looks)
        missing = [item for item in missing if item.trainable and not is_experts(window, item.name)]
        missing = [item for item in missing if item.name not in later and item.name not in left_over(window)]
        if looks < needed:
            yield NotEvaluated(f"the gradients of {needed} measured steps are needed, {looks} are in")
            return
        patient = (steps >= params.patient_steps or window.final) and looks >= min(params.looks, steps)
        sure = [item for item in missing if item.groups != () and (item.order is not None or patient or not item.layer)]
        trainable = sum(item.trainable for item in known.values()) or len(missing)
        if len(sure) == trainable and _cleared_too_early(window):
            return  # all of them got one, which zero_grad() threw away: `loop-order` tells
        if sure and all(_only_shifts(item, known, sure) for item in sure):
            yield _shifts(sure, steps, looks)
        elif sure:
            yield _missing(sure, steps, looks, trainable, needed)
        elif patient and seen.get("all_zero") and looks >= params.looks and _without_slope(window):
            yield _no_slope(window, steps, looks, trainable)
        elif patient and not seen.get("all_zero") and not OTHER_CAUSES & window.open_codes and not _dead(window):
            zero = [known[name] for name in _names(seen, "zero") if name in known]
            zero = [item for item in zero if item.trainable and item.is_matrix and item.groups != ()]
            if zero:
                yield _all_zero(zero, steps, looks, trainable)


def _without_slope(window: Window) -> bool:
    """Says whether no unit is dead or at its end, and a step function takes the slope away; or, while the loss is
    alive, a factor of 0 where a loss of one's own only sums, multiplies and divides what the last layer gives."""
    values = window.loss.tail(20)
    known = len(values) > 1 and bool(np.isfinite(values).all())
    alive = known and float(np.ptp(values)) > 0
    cut = (known and bool(_stepwise(window))) or (alive and _times_zero(window))
    others = OTHER_CAUSES - ({SYMPTOM} if _stepwise(window) else set())
    return cut and not others & window.open_codes and not _dead(window)


def _stepwise(window: Window) -> str:
    return next((name for name in call_operations(window) if name.startswith(STEPWISE)), "")


def _times_zero(window: Window) -> bool:
    own = own_operations(window)
    behind = call_operations(window)[len(own) :]
    linear = bool(own and behind) and all(name.startswith(SLOPED) for name in own)
    return linear and not _cleared_too_early(window)


def _no_slope(window: Window, steps: int, looks: int, trainable: int) -> Verdict:
    name = _stepwise(window).removesuffix("Backward0").lower()
    seen = f"{name} stands between the weights and the loss, and has no slope"
    advice = (
        f"Compute the loss from the values before {name}, or let the gradient pass by: x + ({name}(x) - x).detach()"
    )
    if not name:
        seen = "the loss varies, and only sums, products and quotients lie between it and the last layer: a factor is 0"
        advice = (
            "Look for what cuts the outputs off, such as (p > 0.5).float() or argmax, and for a weight of 0: compute "
            "the loss from probabilities, and round only where you read predictions."
        )
    return Verdict(
        severity=Severity.ERROR,
        first_step=0,
        message=(
            f"All {trainable} trainable parameters got a gradient of exactly 0 in {steps} optimizer steps "
            f"({_each(steps, looks)}): {seen}"
        ),
        advice=advice,
        evidence=Evidence(numbers={"trainable": trainable, "optimizer_steps": steps}, series=("grad_norm",), limit=0.0),
        at_once=True,
    )


def _only_shifts(item: Parameter, known: Mapping[str, Parameter], missing: list[Parameter]) -> bool:
    """Says whether a parameter is the bias of one of PyTorch's layers whose weight does get a gradient: then the layer
    is connected, and the loss is made of slopes of its output, which no constant changes."""
    weight = known.get(f"{item.layer}.weight")
    usual = item.layer_type in ("Linear", "Bilinear") or item.layer_type.startswith(("Conv", "ConvTranspose"))
    return usual and item.name == f"{item.layer}.bias" and weight is not None and weight not in missing


def _shifts(items: list[Parameter], steps: int, looks: int) -> Verdict:
    names = [item.name for item in items]
    return Verdict(
        severity=Severity.INFO,
        first_step=0,
        message=(
            f"{listed(names)} got no gradient in {steps} optimizer steps ({_each(steps, looks)}), though the weight "
            "beside it did: the loss is made of slopes of that output, which a constant does not change"
        ),
        advice="Write bias=False there, or add a term that fixes the level of the output, if the level matters.",
        layers=tuple(item.layer for item in items),
        evidence=Evidence(numbers={"parameters": len(names), "optimizer_steps": steps}, series=("grad_norm",), limit=0),
        at_once=True,
    )


def _missing(items: list[Parameter], steps: int, looks: int, trainable: int, needed: int) -> Verdict:
    items = sorted(items, key=lambda item: math.inf if item.order is None else item.order)
    names = [item.name for item in items]
    called = [item for item in items if item.order is not None or not item.layer]
    layers = tuple(dict.fromkeys(item.layer for item in items if item.layer))
    if called:
        where = called[-1].layer or called[-1].name  # behind the last that was called the path is cut
        advice = (
            f"Look between `{where}` and the loss for .detach(), .data, .item(), .numpy(), torch.no_grad() or argmax: "
            "print(output.grad_fn) "
            f"after each stage of forward(), the first None is the place. If it is meant to be frozen, call "
            f"requires_grad_(False) on it."
        )
        severity = Severity.ERROR
    else:
        advice = (
            f"`{items[0].layer}` is made but was not called: call it in forward(), or delete it. A part that is used "
            "later on purpose can wait "
            f"with requires_grad_(False)."
        )
        severity = Severity.ERROR if steps >= needed * 10 else Severity.WARNING
    return Verdict(
        severity=severity,
        first_step=0,
        message=(
            f"{len(names)} of {trainable} trainable parameters got no gradient in {steps} optimizer steps (grad is "
            f"None {_each(steps, looks)}): {listed(names)}"
        ),
        advice=advice,
        layers=layers,
        evidence=Evidence(
            numbers={"parameters": len(names), "trainable": trainable, "optimizer_steps": steps},
            strings={"parameters": ", ".join(names)},
            series=("grad_norm",),
            limit=float(needed),
        ),
        at_once=True,
    )


def _all_zero(items: list[Parameter], steps: int, looks: int, trainable: int) -> Verdict:
    names = [item.name for item in items]
    return Verdict(
        severity=Severity.WARNING,
        first_step=0,
        message=(
            f"{len(names)} of {trainable} trainable parameters got a gradient of exactly 0 in {steps} optimizer "
            f"steps ({_each(steps, looks)}): {listed(names)}"
        ),
        advice=(
            f"`{items[0].layer}` reaches the loss but cannot change it: look for a factor 0 behind it (a mask, a "
            "weight of the loss, a gate), for "
            f"clamp() at its end, or for an output that is overwritten."
        ),
        layers=tuple(dict.fromkeys(item.layer for item in items)),
        evidence=Evidence(
            numbers={"parameters": len(names), "trainable": trainable, "optimizer_steps": steps},
            strings={"parameters": ", ".join(names)},
            series=tuple(f"grad_norm/{name}" for name in names[:8]),
            limit=0.0,
        ),
        at_once=True,
    )


def _each(steps: int, looks: int) -> str:
    return "each time" if looks >= steps else f"in each of the {looks} that were measured"


def _names(fact: Mapping[str, Any], key: str) -> list[str]:
    return [str(name) for name in fact.get(key) or ()]


def _unknown(name: str) -> Parameter:
    return Parameter(name, "", "", (), 0, True, None, None, None)


def _cleared_too_early(window: Window) -> bool:
    offences = window.fact("loop").get("offences") or ()
    return any(isinstance(item, Mapping) and item.get("kind") == "zero-grad-before-step" for item in offences)


def _dead(window: Window) -> bool:
    units = [item for item in window.fact("dead_units").values() if isinstance(item, Mapping)]
    return first_unfed(window) is not None or any(
        2 * int(item.get("dead") or 0) > int(item.get("units") or 0) for item in units
    )
