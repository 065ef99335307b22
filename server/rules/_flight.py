"""Reads what the flight recorder saw break first (the fact `flight`), and says it in words that several rules share.

GW601, GW602, GW603 and GW605 take the same break for the same incident, so that exactly one of them is its cause. Facts
come from trainings and may hold anything: what cannot be read is no origin. Not for: judging.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.rules._facts import read_once
from server.rules._nonfinite import recent_bad

INPUT, FORWARD, LOSS, BACKWARD, UPDATE = "input", "forward", "loss", "backward", "update"
_KNOWN = (INPUT, FORWARD, LOSS, BACKWARD, UPDATE)


@dataclass(frozen=True)
class Origin:
    """What was no number first in a step that broke; an empty text or None where it is not known."""

    step: int
    where: str  # one of the five above
    of_gradient: bool  # noticed by a gradient, not by the loss
    module: str
    operation: str  # as autograd names it
    tensor: str  # of gradients and weights: the parameter nearest to the loss
    tensors: int  # of gradients and weights: how many parameters; else how many values
    shape: tuple[int, ...]
    in_batch: int | None  # values of the batch that are no numbers, where its floating-point tensors could be read

    @property
    def update_step(self) -> int:
        """The step whose gradient or update was bad, where it was one of these."""
        return self.step if self.of_gradient else self.step - 1

    @property
    def begin(self) -> str:
        """Names where to begin to look: "the gradient of step 7"."""
        if self.where == INPUT:
            return f"the inputs of step {self.step}"
        return f"the loss of step {self.step}" if self.where == LOSS else f"the gradient of step {self.update_step}"

    @property
    def made(self) -> str:
        """Names what made it: "a division (DivBackward0) in or after `b`"."""
        words = next((said for names, said, _ in _OPERATIONS if self.operation.startswith(names)), "")
        what = f"{words} ({self.operation})" if words else f"the operation {self.operation}"
        if not self.module:
            return f"{what} in the loss" if self.where == LOSS else what
        return f"{what} {'after the last layer' if self.where == LOSS else 'in or after'} `{self.module}`"

    @property
    def remedy(self) -> str:
        """Says what to do about the operation."""
        return next((said for names, _, said in _OPERATIONS if self.operation.startswith(names)), _LOOK)


_LOOK = "Print min and max of what goes into it at that step"
_MASKED = "A row that is masked everywhere gives NaN: leave one entry, or set the result to 0 there (nan_to_num)"
_PRODUCT = "Its inputs or weights are huge: print their largest values, clip gradients, lower the learning rate"
_OPERATIONS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (("Div",), "a division", "Add an epsilon to what it divides by, or keep that away from 0 (clamp_min(1e-8))"),
    (
        ("LogSoftmax", "Softmax", "MaskedSoftmax", "ScaledDotProduct"), "a softmax", _MASKED,
    ),
    (
        ("LogBackward", "Log2", "Log10", "Log1P", "Xlogy"), "a logarithm",
        "Keep what goes into it above 0 (clamp_min(1e-8)), or use a loss that takes logits",
    ),
    (
        ("Sqrt", "Rsqrt"), "a square root",
        "Keep what goes into it above 0 (add 1e-12 inside): below it there is no root, at it no slope",
    ),
    (("Pow",), "a power", "A base of 0 has no negative power, one below 0 no broken one: clamp it"),
    (("Exp",), "an exponential", "Subtract the largest argument first, or clamp it: e^89 is infinite in float32"),
    (
        ("Std", "Var"), "a standard deviation",
        "Of a single value there is none: pass correction=0, and add an epsilon where you divide by it",
    ),
    (("NllLoss",), "the mean of a cross-entropy", "The mean over no target is NaN: skip a batch that keeps none"),
    (("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Convolution", "Mkldnn", "Cudnn"), "a product with weights", _PRODUCT),
)  # fmt: skip


def origins(window: Window) -> tuple[Origin, ...]:
    """Lists what is known of the breaks of a run, in their order; nothing where no recorder told of any."""
    return read_once(window.fact("flight"), "origins", _read)


def origin_at(window: Window, step: int) -> Origin | None:
    """Gives what broke at a step, or at the one before: a bad gradient is followed by a bad loss."""
    near = [origin for origin in origins(window) if step - 1 <= origin.step <= step]
    return near[-1] if near else None


def origin_of_loss(window: Window, recent: int) -> Origin | None:
    """Gives what was behind the losses that are no numbers among the newest `recent`, if any are."""
    bad = recent_bad(window.loss, recent) if window.fact("flight") else None
    return None if bad is None else origin_at(window, int(window.loss.steps[bad]))


def from_the_start(window: Window, origin: Origin) -> bool:
    """Says whether weights were bad before anything was learned: a checkpoint, or how they were initialised."""
    return origin.where == UPDATE and len(window.loss.steps) > 0 and origin.step <= int(window.loss.steps[0])


def _read(fact: Mapping[str, Any]) -> tuple[Origin, ...]:
    breaks = fact.get("breaks")
    found = [_origin(item) for item in breaks if isinstance(item, Mapping)] if isinstance(breaks, list) else []
    return tuple(sorted((item for item in found if item is not None), key=lambda item: item.step))


def _origin(broken: Mapping[str, Any]) -> Origin | None:
    step, first, reason = broken.get("step"), broken.get("first_bad"), str(broken.get("reason"))
    if not isinstance(step, int) or not isinstance(first, Mapping) or not reason.startswith("nonfinite"):
        return None
    where, operation = first.get("direction"), _text(first.get("operation"))
    if where == FORWARD and "Loss" in operation:
        where = LOSS
    if where not in _KNOWN or (where in (FORWARD, LOSS) and not operation):
        return None
    count, shape = first.get("count"), first.get("shape")
    return Origin(
        step=step,
        where=where,
        of_gradient=reason == "nonfinite-gradient",
        module=_text(first.get("module")),
        operation=operation,
        tensor=_text(first.get("tensor")),
        tensors=count if isinstance(count, int) else 0,
        shape=tuple(size for size in shape if isinstance(size, int)) if isinstance(shape, list) else (),
        in_batch=_in_batch(broken.get("batch")),
    )


def _in_batch(batch: Any) -> int | None:
    tensors = batch.get("tensors") if isinstance(batch, Mapping) and batch.get("from") == "loader" else None
    items = (
        [item.get("nonfinite") for item in tensors if isinstance(item, Mapping)] if isinstance(tensors, list) else []
    )
    counts = [count for count in items if isinstance(count, int)]
    return sum(counts) if counts else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
