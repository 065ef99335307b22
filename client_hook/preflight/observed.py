"""Trains a few steps under the hook's own signals, and keeps the facts that they tell for checks to judge.

What a monitor would see of the first steps is so seen by the same code. Not for: judging.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from client_hook.capture.activations import ActivationSignal
from client_hook.capture.base import Context, Options
from client_hook.capture.batchnorm import BatchNormSignal
from client_hook.capture.gradients import GradientSignal
from client_hook.capture.graph import GraphSignal
from client_hook.capture.inputs import InputsSignal
from client_hook.capture.loss import LossSignal
from client_hook.capture.loss_call import LossCallSignal
from client_hook.capture.model_table import ModelTableSignal
from client_hook.patches import patches
from client_hook.plain_rows import Bundle, rows_of
from client_hook.preflight.subject import Subject
from client_hook.preflight.training import usual_optimizer
from client_hook.readback import Readback
from client_hook.recorder import Recorder
from client_hook.settings import Settings

STEPS = 11  # the second look at the weights comes after ten
NEAR, NEAR_NORMAL, UNIFORM_EDGE = 0.12, 0.04, 1.78  # relative, relative, standard deviations
_SIGNALS = (
    ActivationSignal,
    BatchNormSignal,
    GradientSignal,
    GraphSignal,
    InputsSignal,
    LossCallSignal,
    LossSignal,
    ModelTableSignal,
)


@dataclass
class Observed:
    """What the signals said: the newest facts, and series as (step, value)."""

    facts: dict[str, Any] = field(default_factory=dict)
    series: dict[str, list[tuple[int, float]]] = field(default_factory=dict)

    # what signals use of an outbox

    def row(self, step: int, time_ms: int, names: tuple[str, ...], values: Sequence[float], exact: bool = True) -> None:  # noqa: ARG002
        """Keeps the values of one step."""
        for name, value in zip(names, values, strict=True):
            self.series.setdefault(name, []).append((step, value))

    def put_parts(self, bundle: Bundle) -> None:
        """Keeps the values of a plain step."""
        for row in rows_of(bundle[0], *bundle[2:]):
            self.row(*row)

    def check_room(self) -> None:
        """Needs no room."""

    def record(self, kind: str, name: str, step: int, value: Any) -> None:  # noqa: ARG002
        """Keeps a fact."""
        if kind == "fact":
            self.facts[name] = value

    def complete(self, step: int) -> None:
        """Needs no watermark."""

    # what checks read

    def first(self, name: str) -> float:
        """Gives the first value of a series; NaN where there is none."""
        return self.series[name][0][1] if name in self.series else math.nan

    @property
    def layers(self) -> dict[str, dict[str, Any]]:
        """Describes the leaf modules by name, in the order of their calls."""
        return {item["name"]: item for item in self.facts.get("model", {}).get("layers", ())}

    @property
    def parameters(self) -> list[dict[str, Any]]:
        """Describes the trainable parameters."""
        return [item for item in self.facts.get("model", {}).get("parameters", ()) if item["trainable"]]

    @property
    def untrained(self) -> bool:
        """Says whether most weights have the spread that a usual initialiser gives them."""
        known = [item for item in self.parameters if item.get("fan_in") and "Embedding" not in item["layer_type"]]
        fresh = sum(item["numel"] for item in known if _is_standard(item))
        return bool(known) and fresh >= 0.5 * sum(item["numel"] for item in known)

    @property
    def graph(self) -> dict[str, Any]:
        """Tells what the first backwards showed."""
        found: dict[str, Any] = self.facts.get("graph", {})
        return found


def observe(subject: Subject) -> Observed:
    """Trains for a few steps over the batches that there are; done once for all checks."""
    if subject.observed is None:
        subject.observed = _observe(subject)
    observed: Observed = subject.observed
    return observed


def _is_standard(item: dict[str, Any]) -> bool:
    std, inward = item.get("std"), item["fan_in"]
    if not std:
        return True
    outward = max(item["numel"] // inward, 1)
    usual = (1 / (3 * inward), 1 / inward, 2 / inward, 2 / (inward + outward), 2 / outward, 1 / outward)
    # a uniform start has no entry beyond √3 standard deviations: what was trained does
    near = NEAR if item["absmax"] <= UNIFORM_EDGE * std else NEAR_NORMAL
    return any(abs(std / usually - 1) <= near for usually in (*(value**0.5 for value in usual), 0.02, 0.01))


def _observe(subject: Subject) -> Observed:
    tape = Observed()
    sink: Any = tape  # stands in for an outbox
    optimizer = usual_optimizer(subject)
    settings = Settings(quiet=True)
    context = Context({"": subject.model}, {"0": optimizer}, sink, settings, Options(), patches, Readback(sink))
    recorder = Recorder(context, context.guard, list(_SIGNALS))
    batches = subject.batches()
    with subject.mode(True):
        recorder.attach()
        try:
            for step in range(STEPS):
                for item in (optimizer, subject.optimizer):
                    if item is not None:
                        item.zero_grad()
                loss = subject.run(batches[step % len(batches)], seed=step).loss
                loss.backward()
                optimizer.step()
                recorder.step(loss, {}, perf_counter())
            recorder.finish()
        finally:
            recorder.detach()
    return tape
