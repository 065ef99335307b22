"""Turns what a check of preflight found before the training into a finding; the check has judged already.

A rule of this kind holds the words of its page and no thresholds. For a rule that judges the training itself, what
preflight found is evidence too (`told_before`); the engine asks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.preflight import BASELINE
from server.rules._say import say
from server.rules.base import Rule, Stage

LINE = "preflight(model, loss_fn, batch, optimizer, train_loader)"
NOT_RUN = NotEvaluated("no preflight was run before this training", LINE)
_SEVERITIES = {severity.value: severity for severity in Severity}


def result_of(window: Window, code: str) -> Mapping[str, Any] | NotEvaluated:
    """Gives the result of a check, or why there is none."""
    fact = window.fact("preflight")
    if not fact:
        return NOT_RUN
    for item in _mappings(fact.get("results")):
        if item.get("code") == code:
            return item
    for item in _mappings(fact.get("left_out")):
        if item.get("code") == code:
            return NotEvaluated(f"preflight left it out: {item.get('reason') or 'it gave no reason'}", LINE)
    return NotEvaluated("preflight did not run this check", f'preflight(…, checks=["{code}"])')


def numbers_of(result: Mapping[str, Any]) -> dict[str, float]:
    """Gives the numbers of a result."""
    numbers = result.get("numbers")
    if not isinstance(numbers, Mapping):
        return {}
    return {
        str(name): float(value)
        for name, value in numbers.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }


class PreflightRule(Rule):
    """A rule whose verdict was given before the training."""

    since = "0.2.0"
    tier = "facts"
    clears_after = None
    stage = Stage.STRUCTURE
    exact = True

    def check(self, window: Window, params: Any) -> Iterator[Verdict | NotEvaluated]:
        """Passes the result on; it has been judged with its own thresholds."""
        del params
        result = result_of(window, self.code)
        if isinstance(result, NotEvaluated):
            yield result
        elif result.get("verdict") == "not_evaluated":
            yield NotEvaluated(f"preflight could not judge it: {result.get('reason') or 'it gave no reason'}", LINE)
        elif result.get("verdict") == "found":
            yield _verdict(result)


def told_before(window: Window, rule: Rule) -> Verdict | bool | None:
    """Gives what preflight said about a rule that judges trainings too: a verdict, True where it passed, or None."""
    if not window.facts.get("preflight") or isinstance(rule, PreflightRule) or rule.code == BASELINE:
        return None  # the baseline is only measured before
    result = result_of(window, rule.code)
    if isinstance(result, NotEvaluated):
        return None
    return _verdict(result) if result.get("verdict") == "found" else result.get("verdict") == "passed" or None


def _verdict(result: Mapping[str, Any]) -> Verdict:
    strings, layers = result.get("strings"), result.get("layers")
    return say(
        _SEVERITIES.get(str(result.get("severity")), Severity.INFO),
        f"Before training: {result.get('message')}",
        str(result.get("advice") or ""),
        layers=[str(name) for name in layers] if isinstance(layers, list) else (),
        numbers=numbers_of(result),
        strings={str(name): str(value) for name, value in strings.items()} if isinstance(strings, Mapping) else {},
    )


def _mappings(items: Any) -> list[Mapping[str, Any]]:
    return [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
