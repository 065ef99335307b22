"""What a check is, and in which order they come: exact and quick ones first, those that train last.

A check is a module of this package with a class `Check`; `ORDER` names the modules. Not for: running them (runner).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from time import monotonic
from typing import Any, Protocol

from client_hook.preflight.errors import PreflightError
from client_hook.preflight.results import CheckResult
from client_hook.preflight.subject import Subject

ORDER = (
    "finite",
    "data",
    "order",
    "loss_fit",
    "output_activation",
    "initial_loss_high",
    "initial_loss_low",
    "connections",
    "registration",
    "nonlinearity",
    "initialisation",
    "identical_units",
    "activation_scale",
    "norm_lint",
    "dropout_order",
    "dropout_lint",
    "functional_dropout",
    "batch_leak",
    "future_leak",
    "loss_terms",
    "train_eval",
    "gradient_check",
    "overfit",
    "baseline",
    "lr_check",
    "input_independent",
)


class Check(Protocol):
    """One question about a model before its training.

    `passes` estimates how many forward and backward passes it takes, so that one that cannot end in time is left out;
    a check with `few = True` passes a handful of samples, not the batch.
    The runner puts everything back afterwards; a check may change what it likes.
    """

    code: str
    name: str
    passes: int

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Answers it."""
        ...


class Budget:
    """Tells a check how much time is left, and the progress bar how far it is."""

    def __init__(self, seconds: float, show: Callable[[float], None] = lambda _: None) -> None:
        self.seconds = seconds
        self._show = show
        self._ends = monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until preflight should be done."""
        return self._ends - monotonic()

    @property
    def over(self) -> bool:
        """Says whether a loop has to end now and be judged by what it has."""
        return self.left <= 0

    def at(self, done: float) -> None:
        """Says which share of the check is done."""
        self._show(done)


def chosen(wanted: Iterable[str] | None = None) -> list[Check]:
    """Makes the checks that are wanted by code ("GW101"), beginning of a code ("GW1") or name; None means all."""
    every: list[Check] = [import_module(f"client_hook.preflight.{name}").Check() for name in ORDER]
    if wanted is None:
        return every
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    for name in names:
        if not any(_is_named(check, name) for check in every):
            known = ", ".join(f"{check.code} ({check.name})" for check in every)
            raise PreflightError(f"checks: there is no {name!r}; there are {known}")
    return [check for check in every if any(_is_named(check, name) for name in names)]


def _is_named(check: Any, name: str) -> bool:
    return bool(name) and (check.code.startswith(name.upper()) or check.name == name)


def passed(check: Check, message: str, **more: Any) -> CheckResult:
    """Says that all is well, with the number that shows it."""
    return CheckResult(check.code, check.name, "passed", message, **more)


def found(check: Check, severity: Any, message: str, advice: str, **more: Any) -> CheckResult:
    """Says what is wrong, and in one line what to do."""
    return CheckResult(check.code, check.name, "found", message, severity, advice, **more)


def not_evaluated(check: Check, reason: str, **more: Any) -> CheckResult:
    """Says why it cannot judge."""
    return CheckResult(check.code, check.name, "not_evaluated", reason=reason, **more)
