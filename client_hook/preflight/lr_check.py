"""Compares the learning rate of the optimizer with what the range test finds (GW106), and draws its curve.

Not for: measuring (lr_range) or advising (lr_advice).
"""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from client_hook.guard import attempted
from client_hook.preflight import lr_sweep
from client_hook.preflight.checks import Budget, found, not_evaluated, passed
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.lr_curve import RISE, STOP
from client_hook.preflight.lr_range import HIGH, LOW, STEPS, TRIAL_STEPS, LRRange, measure, suggested
from client_hook.preflight.results import CheckResult, curve, limit
from client_hook.preflight.subject import Subject
from client_hook.preflight.training import train

# a loss that rose at first, to a few times its start, and in the end fell as far as at the suggested rate, has not
# run away; a higher jump leaves dead units behind, even where a handful of batches is learned again
CONFIRM_STEPS, RECOVERED, PEAK = 150, 0.8, 10.0
FAR_BELOW = 100.0  # times below the steepest point a rate is worth a word
ALIKE = 0.9  # of the best trial's fall is as good
SOURCES = "Smith 2017 (arXiv:1506.01186); 1e-7 to 10 in 100 steps, stop at 4 times the best: fast.ai"


class Check:
    """Compares the learning rate of the optimizer with what the range test finds."""

    code, name, passes = "GW106", "lr-range-test", 2 * STEPS

    def run(self, subject: Subject, budget: Budget) -> CheckResult:
        """Warns of a rate that runs away, and tells of one far below the steepest point."""
        if subject.optimizer is None:
            return not_evaluated(self, "it needs the optimizer: preflight(model, loss_fn, batch, optimizer)")
        problem = lr_sweep.problem(subject.optimizer)
        if type(subject.optimizer).__name__ == "LBFGS":
            problem = "LBFGS chooses the length of its steps itself: on single batches its rate says little"
        if problem:
            return not_evaluated(self, problem)
        test, error = attempted(measure, subject, budget)
        if isinstance(error, PreflightError):
            return not_evaluated(self, str(error))
        if error is not None:
            raise error
        told = {"numbers": _numbers(test), "curves": pictures(test), "thresholds": _thresholds()}
        reasons = " ".join((*test.advice.reasons, test.ended)).strip()
        told["strings"] = {"reasons": reasons, "optimizer": type(subject.optimizer).__name__}
        yours, start = f"Your learning rate of {test.yours:.3g}", suggested(test)
        if test.yours_runs_away:
            message = f"{yours} lies above {test.diverges:.3g}, from where on the loss runs away"
            if test.warms_up:
                return found(self, "info", message, f"{start} Your schedule begins below it: keep its warm-up.", **told)
            later = _recovers(subject, test, budget)
            if later is not None:
                message = (
                    f"{yours} makes the loss rise at first; after {CONFIRM_STEPS} steps it is at {later:.3g}, below "
                    "its start"
                )
                return found(self, "info", message, f"A warm-up would spare it the detour. {start}", **told)
            return found(self, "warning", message, f"{start} {reasons}", **told)
        if test.steepest is not None and 0 < test.yours < test.steepest / FAR_BELOW and not _as_good(test):
            times = f"{test.steepest / test.yours:.0f} times below {test.steepest:.3g}"
            message = f"{yours} is {times}, where the loss falls fastest"
            return found(self, "info", message, f"{start} {reasons}", **told)
        if test.suggestion is None:
            return not_evaluated(self, reasons, **told)
        return passed(self, f"Your learning rate is {test.yours:.3g}. {suggested(test)}", **told)


def pictures(test: LRRange) -> dict[str, Any]:
    """Draws the smoothed curve over the rates with its marks, and what the stable trials gained."""
    marks = [
        ("steepest", test.steepest),
        ("runs away", test.diverges),
        ("yours", test.yours if test.yours > 0 else None),
        ("suggestion", test.suggestion),
    ]
    drawn = [{"x": rate, "label": f"{label} {rate:.2g}"} for label, rate in marks if rate is not None]
    found = {
        "range test": curve(
            test.rates[: len(test.reading.smooth)],
            test.reading.smooth,
            "learning rate",
            "loss (smoothed)",
            log_x=True,
            marks=drawn,
        )
    }
    stable = sorted((trial.rate, trial.fall) for trial in test.trials if trial.stable)
    if len(stable) > 1:
        rates, falls = zip(*stable, strict=True)
        gained = f"fall of the loss in {TRIAL_STEPS} steps"
        found["short trials"] = curve(rates, falls, "learning rate", gained, log_x=True, marks=drawn[-1:])
    return found


def _recovers(subject: Subject, test: LRRange, budget: Budget) -> float | None:
    """Trains for longer than a trial at your rate and at the suggested one; gives the loss at yours where it is no
    worse."""
    if test.suggestion is None:
        return None
    ends = []
    for factor in (1.0, test.suggestion / test.yours):
        losses = train(subject, subject.batches(), CONFIRM_STEPS, budget, factor=factor)
        if len(losses) < CONFIRM_STEPS or not math.isfinite(sum(losses)) or max(losses) > PEAK * abs(losses[0]):
            return None
        ends.append((median(losses[:3]), median(losses[-CONFIRM_STEPS // 10 :])))
    (first, yours), (_, suggested) = ends
    return yours if first - yours > max(RECOVERED * (first - suggested), 0.0) else None


def _as_good(test: LRRange) -> bool:
    """Says whether the trial at your rate lowered the loss about as much as the best one."""
    falls = {trial.rate: trial.fall for trial in test.trials if trial.stable}
    return test.yours in falls and falls[test.yours] >= ALIKE * max(falls.values())


def _numbers(test: LRRange) -> dict[str, float]:
    advice, reading = test.advice, test.reading
    named = {
        "yours": test.yours,
        "suggestion": advice.rate,
        "suggestion_low": advice.low,
        "suggestion_high": advice.high,
        "steepest": reading.steepest,
        "falls_a_decade": reading.falls,
        "diverges": advice.diverges,
        "turns": reading.turns,
        "steps": len(test.losses),
        "trials": len(test.trials),
        "batches": test.batches,
    }
    return {name: float(value) for name, value in named.items() if value is not None}


def _thresholds() -> list[dict[str, Any]]:
    return [
        limit("rates", LOW, f"to {HIGH:g}", SOURCES),
        limit("stop", STOP, "times the best smoothed loss", SOURCES),
        limit(
            "runs away", RISE, "of the best smoothed loss, and 3 standard errors", "ours: above the noise of any curve"
        ),
        limit("far below", FAR_BELOW, "times below the steepest point", "ours: two decades are no matter of taste"),
    ]
