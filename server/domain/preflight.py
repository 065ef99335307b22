"""What preflight found about a run, read from the fact and the events that its training sent.

Both come from outside and may hold anything, so every reader here accepts anything. Not for: judging; that is done.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from server.domain.outside import mapping, number

Verdict = Literal["passed", "found", "not_evaluated"]
_VERDICTS = ("passed", "found", "not_evaluated")
SEVERITIES = ("info", "warning", "error")
MOST = 200  # results, thresholds, layers: a page stays readable
LONGEST = 2_000

BASELINE = "GW108"
BASELINES = {"constant": "a constant answer", "linear": "a linear model", "class_means": "the nearest class mean"}


@dataclass(frozen=True)
class Threshold:
    """A limit that a check used, and where the number comes from."""

    name: str
    value: float
    unit: str
    source: str


@dataclass(frozen=True)
class Result:
    """What one check said. `severity` counts where the verdict is "found", `reason` where it is "not_evaluated"."""

    code: str
    name: str
    verdict: Verdict
    severity: str
    message: str
    advice: str
    reason: str
    numbers: Mapping[str, float]
    strings: Mapping[str, str]
    layers: tuple[str, ...]
    thresholds: tuple[Threshold, ...]
    curves: Mapping[str, Mapping[str, Any]]
    seconds: float

    @property
    def rank(self) -> int:
        """Orders results: −1 where nothing was found, else 0 for info to 2 for error."""
        return SEVERITIES.index(self.severity) if self.verdict == "found" else -1


@dataclass(frozen=True)
class LeftOut:
    """A check that did not run, and why."""

    code: str
    name: str
    reason: str


@dataclass(frozen=True)
class Preflight:
    """One preflight: `complete` once its end has come, `run` is the run that it was sent to first."""

    results: tuple[Result, ...]
    left_out: tuple[LeftOut, ...]
    seconds: float
    run: str
    complete: bool

    def get(self, code: str) -> Result | None:
        """Gives the result of a check."""
        return next((result for result in self.results if result.code == code), None)


def read(fact: Any, events: Iterable[Mapping[str, Any]]) -> Preflight | None:
    """Joins the summary with the curves of the events; None where there was no preflight."""
    newest = {_text(event.get("code")): event for event in events}
    summary = mapping(fact)
    told = _mappings(summary.get("results")) if summary else list(newest.values())
    if not told and not summary:
        return None
    results = [_result(item, mapping(newest.get(_text(item.get("code")), {}).get("curves"))) for item in told]
    return Preflight(
        results=tuple(result for result in results if result is not None),
        left_out=tuple(
            LeftOut(_text(item.get("code")), _text(item.get("name")), _text(item.get("reason")))
            for item in _mappings(summary.get("left_out"))
        ),
        seconds=number(summary.get("seconds")),
        run=_text(summary.get("run")),
        complete=bool(summary),
    )


def baselines(fact: Any, what: str) -> list[tuple[str, float]]:
    """Gives what simple models reach (in words, with the value) of a `loss` or a metric such as `accuracy`."""
    for item in _mappings(mapping(fact).get("results")):
        if item.get("code") == BASELINE:
            numbers = _numbers(item.get("numbers"))
            return [(said, numbers[key]) for name, said in BASELINES.items() if (key := f"{name}_{what}") in numbers]
    return []


def _result(item: Mapping[str, Any], curves: Mapping[str, Any]) -> Result | None:
    verdict, severity = item.get("verdict"), item.get("severity")
    if verdict not in _VERDICTS or not _text(item.get("code")):
        return None
    layers = item.get("layers")
    return Result(
        code=_text(item.get("code")),
        name=_text(item.get("name")),
        verdict=cast("Verdict", verdict),
        severity=severity if severity in SEVERITIES else "info",
        message=_text(item.get("message")),
        advice=_text(item.get("advice")),
        reason=_text(item.get("reason")),
        numbers=_numbers(item.get("numbers")),
        strings={str(name): _text(value) for name, value in list(mapping(item.get("strings")).items())[:MOST]},
        layers=tuple(_text(name) for name in layers[:MOST]) if isinstance(layers, list) else (),
        thresholds=tuple(
            Threshold(
                _text(one.get("name")), number(one.get("value")), _text(one.get("unit")), _text(one.get("source"))
            )
            for one in _mappings(item.get("thresholds"))
        ),
        curves={str(name): curve for name, curve in curves.items() if isinstance(curve, Mapping)},
        seconds=number(item.get("seconds")),
    )


def _numbers(found: Any) -> dict[str, float]:
    known = {str(name): number(value) for name, value in list(mapping(found).items())[:MOST]}
    return {name: value for name, value in known.items() if math.isfinite(value)}


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in value[:MOST] if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value[:LONGEST] if isinstance(value, str) else ""
