"""Says of findings that are symptoms that their cause is not known, and what to check in which order.

Where a cause was found, such a finding stands below it and needs no such words. Not for: what absorbs what (causes.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

# the first is what is quickest to see and explains most; the rules that know each of them better were silent
CHECKS: Mapping[str, tuple[str, ...]] = {
    "GW201": (
        "`x.mean()` and `x.std()` of the inputs",
        "the initial weights, the last layer's first of all",
        "what multiplies the outputs before the loss",
        "a loss that is summed where a mean is meant",
    ),
    "GW205": ("the batch of that step", "the gradient norm just before it", "the learning rate at that step"),
    "GW206": (
        "ten inputs beside their labels",
        "whether every parameter changes in one step",
        "the learning rate in both directions",
        "whether the inputs can tell the labels at all",
    ),
    "GW207": ("the order of the batches", "the learning rate", "the size of the batch"),
    "GW208": ("the learning rate and its schedule", "the batch before the rise", "the sign of the loss"),
    "GW308": ("the learning rate of the first steps", "the scale of the inputs", "biases far below 0"),
    "GW309": ("the scale of the inputs", "the initial weights", "the learning rate of the first steps"),
    "GW311": (
        "the scale of the inputs",
        "dead or saturated layers",
        "the learning rate of the first steps",
        "ten inputs beside their labels",
    ),
    "GW434": (
        "how evaluation prepares its inputs",
        "one batch in train and in eval mode",
        "a dropout before the norms",
        "the momentum of the norms and the size of the batch",
    ),
    "GW805": ("how often each class occurs", "class weights in the loss", "the learning rate"),
}

# of a layer that was dead before the first update no step can be the cause
_NEVER_FIRED = re.compile(r", from the first step on|no unit before it fires")
_OF_THE_START = ("the biases of the layer before, which may lie far below 0", "the scale of the inputs", "the weights")

_ASIDE = re.compile(r" \([^()]*\)")


def is_unexplained(code: str) -> bool:
    """Says whether a finding of this rule that has no cause is but a symptom."""
    return code in CHECKS


def checks_of(code: str, message: str = "") -> tuple[str, ...]:
    """Lists what to check of a symptom without a cause; nothing for a finding that is a cause itself."""
    if code == "GW308" and _NEVER_FIRED.search(message):
        return _OF_THE_START
    return CHECKS.get(code, ())


def on_one_line(code: str, message: str) -> str:
    """Gives a message as the top line tells it: of a symptom the first clause, without brackets, for the sentence that
    says where to look comes next."""
    return _ASIDE.sub("", message).partition("; ")[0] if is_unexplained(code) else message


def where_to_look(code: str, message: str = "") -> str:
    """Gives the sentence that follows a symptom without a cause on the top line; "" for a cause."""
    places = checks_of(code, message)
    return f"The cause was not found: look first at {places[0]}" if places else ""


def behind_a_mute(cause: str) -> str:
    """Says of a symptom whose cause somebody muted that it is known; "" where there is none."""
    return f"Its cause is known and muted: {cause}" if cause else ""


def what_to_check(code: str, message: str = "") -> str:
    """Gives all of it as a sentence; "" for a finding that is a cause itself."""
    listed = "; ".join(f"{number}. {place}" for number, place in enumerate(checks_of(code, message), 1))
    return f"The cause was not found. Check in this order: {listed}." if listed else ""
