"""Runs a loop with and without the hook, takes the gradients by hand as float64, and says what the hook saw of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tests.client_hook.tape import Tape, taped

STEPS = 150  # from the hundredth on most are plain
ALL_MEASURED = 8  # the first ones, whatever they take
WANTED = {
    "loss": "loss",
    "grad_norm": "gradient norms",
    "update_ratio/": "update ratios",
    "act/": "activations",
}


class Run:
    """What a loop is given: `watch`, `before_update` just before the gradients are used, and `step`."""

    def __init__(self, *, hooked: bool) -> None:
        self.hooked = hooked
        self.losses: list[float] = []
        self.references: list[dict[str, float]] = []
        self.tapes: list[Tape] = []
        self.models: list[nn.Module] = []
        self.ledger: dict[str, Any] = {}
        self.extra: dict[str, Any] = {}
        self.closed: int | None = None  # steps, where not every call of `step` closes one
        self._open: dict[str, float] = {}
        self._monitor: Any = None

    def watch(self, model: Any, optimizer: Any, **options: Any) -> None:
        """Watches, in the run that has a hook; a second call begins a second tape."""
        self.models += list(model.values()) if isinstance(model, Mapping) else [model]
        if self.hooked:
            self._monitor, tape = taped(model, optimizer, strict=True, **options)
            self.tapes.append(tape)

    def before_update(self, *models: Any, scale: float = 1.0) -> None:
        """Takes the norm of every gradient by hand. A dict gives the models' prefixes."""
        for item in models:
            for key, model in item.items() if isinstance(item, Mapping) else [("", item)]:
                self._open |= norms_by_hand(model, key, scale)

    def step(self, loss: Any, **parts: Any) -> None:
        """Closes the step, in both runs."""
        self.losses.append(float(loss.detach()))
        self.references.append(self._open)
        self._open = {}
        if self._monitor is not None:
            self._monitor.step(loss, **parts)

    def micro_step(self, loss: Any) -> None:
        """Tells a micro-batch."""
        self.losses.append(float(loss.detach()))
        if self._monitor is not None:
            self._monitor.step(loss)

    def finish(self) -> None:
        """Ends the monitor."""
        if self._monitor is not None:
            self._monitor.finish(timeout=0.1)
            self.ledger = self._monitor.ledger
        self.losses += [float(item.detach().to_dense().double().sum()) for m in self.models for item in m.parameters()]
        self.losses.append(float(torch.rand(())))  # the generator stands where it stood


def norms_by_hand(model: nn.Module, key: str = "", scale: float = 1.0) -> dict[str, float]:
    """Computes each gradient's norm in float64, one element after the other as far as anybody can tell."""
    found = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            gradient = parameter.grad.detach().to_dense().double() / scale
            plain = name.replace("_orig_mod.", "").removeprefix("module.")
            found[f"{key}.{plain}" if key else plain] = math.sqrt(float((gradient * gradient).sum()))
    return found


@dataclass
class Outcome:
    """What came of a loop."""

    same_bits: bool
    worst: float  # relative error of the worst norm
    untold: list[str]  # "step/name" of losses and, in measured steps, norms that were not sent, or sent of no step
    missing: list[str]
    meaning: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)
    refused: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """One word for the table."""
        return "refused" if self.refused else "degraded" if self.missing else "supported"

    @property
    def remark(self) -> str:
        """What is missing, or why it was refused."""
        said = [item.partition(" (")[0] for item in self.notes if "not visible" in item] if self.missing else []
        return self.refused or ", ".join(self.missing) + (f" (the page says: {'; '.join(said)})" if said else "")


@dataclass(frozen=True)
class Loop:
    """One row of the table; `meaning` is part of what the fact must say of the first optimizer's gradients."""

    name: str
    body: Callable[[Run], None]
    meaning: Mapping[str, Any] = field(default_factory=dict)

    def measure(self) -> Outcome:
        """Trains twice."""
        runs = {}
        for hooked in (False, True):
            torch.manual_seed(5)
            run = runs[hooked] = Run(hooked=hooked)
            try:
                self.body(run)
            except TypeError as error:
                if not hooked:
                    raise
                return Outcome(True, 0.0, [], [], {}, refused=str(error))
            run.finish()
        return outcome_of(runs[True], runs[False])


def outcome_of(hooked: Run, plain: Run) -> Outcome:
    """Compares the run with the hook with the one without."""
    seen: dict[str, dict[int, float]] = {}
    names = {name for tape in hooked.tapes for name in tape.names()}
    for name in names:
        offset = 0
        seen[name] = {}
        for tape in hooked.tapes:
            seen[name] |= {step + offset: value for step, value in tape.series(name).items()}
            offset += len(tape.series("loss"))
    worst = 0.0
    closed = hooked.closed or len(hooked.references)
    untold = [f"{step}/loss" for step in range(closed) if step not in seen.get("loss", {})]
    measured = {*range(ALL_MEASURED), *seen.get("hook/overhead", {})}
    for step, reference in enumerate(hooked.references):
        by_hand = dict(reference)
        if reference:
            by_hand[""] = math.sqrt(sum(norm * norm for norm in reference.values()))
        for name, norm in by_hand.items():
            told = seen.get(f"grad_norm/{name}".rstrip("/"), {}).get(step)
            if told is None:
                untold += [f"{step}/{name}"] * (step in measured)
            else:
                worst = max(worst, abs(told - norm) / norm if norm else abs(told))
    untold += [f"{step}/" for step in seen.get("grad_norm", {}) if not hooked.references[step]]
    missing = [words for prefix, words in WANTED.items() if not any(name.startswith(prefix) for name in names)]
    facts = [fact for tape in hooked.tapes for fact in tape.facts("gradient_meaning")]
    meaning = next(iter(facts[-1].values())) if facts else {}
    same = [repr(item) for item in hooked.losses] == [repr(item) for item in plain.losses]
    same = same and hooked.extra == plain.extra
    return Outcome(same, worst, untold, missing, meaning, hooked.ledger.get("notes", []), extra=hooked.extra)


def mlp(inputs: int = 8, outputs: int = 3) -> nn.Sequential:
    """A small network with a ReLU."""
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


def batch(size: int = 16, inputs: int = 8, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Random inputs and labels."""
    return torch.randn(size, inputs), torch.randint(0, classes, (size,))
