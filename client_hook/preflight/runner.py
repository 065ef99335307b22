"""Runs the checks within their time, each from the same start, and says what was left out and why.

Not for: what a check does (one file each).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from time import monotonic
from typing import Any, TextIO

import torch

from client_hook.guard import attempted
from client_hook.preflight.checks import Budget, Check, not_evaluated
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.loss_seen import watched
from client_hook.preflight.restore import kept, prepare
from client_hook.preflight.results import CheckResult, LeftOut, Report
from client_hook.preflight.subject import Subject

BAR = 24
WITHOUT_LOSS = ("GW601", "GW107", "GW111")  # what can be asked of a model whose first loss is not finite
LONG = 100  # passes
FEW = 8  # samples of a check that needs no more


class Bar:
    """Draws a progress bar on a terminal, and nothing elsewhere."""

    def __init__(self, stream: TextIO | None, total: int) -> None:
        self._stream = stream if stream is not None and attempted(stream.isatty)[0] else None
        self._total = max(total, 1)
        self._drawn = ""

    def show(self, done: float, name: str) -> None:
        """Draws it: `done` counts checks."""
        filled = round(BAR * min(done / self._total, 1.0))
        self._draw(f"Gradwatch preflight [{'#' * filled}{'.' * (BAR - filled)}] {int(done)}/{self._total} {name}")

    def clear(self) -> None:
        """Takes it away."""
        self._draw("")

    def _draw(self, line: str) -> None:
        if self._stream is not None and line != self._drawn:
            attempted(self._stream.write, f"\r{line:<{len(self._drawn)}}{'' if line else chr(13)}")
            attempted(self._stream.flush)
            self._drawn = line


def run_checks(
    subject: Subject,
    checks: Iterable[Check],
    seconds: float,
    tell: Callable[[CheckResult], Any] = lambda _: None,
    stream: TextIO | None = None,
) -> Report:
    """Asks every check; `tell` hears each result as it comes. Afterwards everything is as it was, whatever happens."""
    todo, began, report = list(checks), monotonic(), Report()
    bar = Bar(stream if stream is not None else sys.stderr, len(todo))
    with kept(subject) as before:
        try:
            subject.load(until=began + seconds / 4)
            prepare(subject)
            answer, call = watched(subject.try_out)
            answer.loss.backward()
            if call is not None:
                subject.drop_bad_labels(call.classes, call.arguments.get("ignore_index", -100))
            finite = math.isfinite(answer.loss.item())
            one_pass = _seconds_of(subject, subject.batch)  # the first pass of a process also loads libraries
            small = subject.rows(torch.arange(min(FEW, subject.batch_size), device=subject.device))
            few = attempted(_seconds_of, subject, small)[0] or one_pass if any(map(_is_few, todo)) else one_pass
            for index, check in enumerate(todo):
                before.put_back()
                prepare(subject)
                left = seconds - (monotonic() - began)
                reason = _no_time(left, check, few if _is_few(check) else one_pass, seconds)
                if not finite and check.code not in WITHOUT_LOSS:
                    reason = "the first loss is no finite number (GW601)"
                if reason:
                    report.left_out.append(LeftOut(check.code, check.name, reason))
                    continue
                if check.passes >= LONG and index + 1 < len(todo):
                    left /= 2  # the others get their turn
                result = _ask(check, subject, Budget(left, _shower(bar, index, check.name)))
                report.results.append(result)
                tell(result)
        finally:
            bar.clear()
    report.seconds = monotonic() - began
    return report


def _seconds_of(subject: Subject, batch: Any) -> float:
    began = monotonic()
    subject.run(batch).loss.backward()
    return monotonic() - began


def _is_few(check: Check) -> bool:
    return getattr(check, "few", False)


def _ask(check: Check, subject: Subject, budget: Budget) -> CheckResult:
    budget.at(0.0)
    began = monotonic()
    result, error = attempted(check.run, subject, budget)
    if isinstance(error, PreflightError):
        raise error
    if error is not None:
        text = str(error).strip().partition("\n")[0][:200]
        result = not_evaluated(check, f"it failed on this model ({type(error).__name__}: {text})")
    answer: CheckResult = result
    answer.seconds = monotonic() - began
    return answer


def _no_time(left: float, check: Check, one_pass: float, seconds: float) -> str:
    needs = check.passes * one_pass
    if left > 0 and needs <= 2 * left:  # what estimates too much by half still gets its try
        return ""
    took = f"it needs about {needs:.0f} s ({check.passes} passes of {one_pass:.2g} s), "
    return (
        f"{took if needs >= 1 else ''}{max(left, 0):.0f} of {seconds:g} s were left; "
        f"preflight(…, seconds={max(2 * seconds, seconds + 2 * needs):.0f})"
    )


def _shower(bar: Bar, index: int, name: str) -> Callable[[float], None]:
    return lambda done: bar.show(index + min(max(done, 0.0), 1.0), name)
