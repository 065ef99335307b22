"""What preflight answers: one `CheckResult` a check, and the `Report` of all with its table for the terminal.

Not for: running checks (runner) or sending what they found (sending).
"""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Verdict = Literal["passed", "found", "not_evaluated"]
Severity = Literal["info", "warning", "error"]
LEVELS: tuple[Severity, ...] = ("info", "warning", "error")
NARROWEST = 60


@dataclass
class CheckResult:
    """What became of one check. `severity` counts where the verdict is "found", `reason` where it is "not_evaluated".

    `thresholds`: {"name", "value", "unit", "source"} each (`limit` makes one). `curves`: {name: {"x", "y", "x_label",
    "y_label", "log", "marks": [{"x" or "y", "label"}]}} (`curve` makes one).
    """

    code: str
    name: str
    verdict: Verdict
    message: str = ""
    severity: Severity = "info"
    advice: str = ""
    reason: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    strings: dict[str, str] = field(default_factory=dict)
    layers: list[str] = field(default_factory=list)
    thresholds: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def level(self) -> int:
        """Orders results: -1 where nothing was found, else 0 for info to 2 for error."""
        return LEVELS.index(self.severity) if self.verdict == "found" else -1


@dataclass
class LeftOut:
    """A check that did not run, and why."""

    code: str
    name: str
    reason: str


def limit(name: str, value: float, unit: str, source: str) -> dict[str, Any]:
    """Describes a threshold for `CheckResult.thresholds`; `source` says where the number comes from."""
    return {"name": name, "value": value, "unit": unit, "source": source}


def curve(
    x: Iterable[float],
    y: Iterable[float],
    x_label: str,
    y_label: str,
    *,
    log: bool = False,
    log_x: bool = False,
    marks: Iterable[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Describes a curve for `CheckResult.curves`; a mark is a line at an "x" or a "y" with a "label"."""
    return {
        "x": [float(item) for item in x],
        "y": [float(item) for item in y],
        "x_label": x_label,
        "y_label": y_label,
        "log": log,
        "log_x": log_x,
        "marks": [dict(mark) for mark in marks],
    }


@dataclass
class Report:
    """All that one preflight found; printing it gives the table."""

    results: list[CheckResult] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    seconds: float = 0.0
    run_id: str = ""
    url: str = ""
    delivered: bool = False

    @property
    def worst(self) -> Severity | None:
        """The highest severity that was found; None where nothing was."""
        level = max((result.level for result in self.results), default=-1)
        return LEVELS[level] if level >= 0 else None

    @property
    def found(self) -> list[CheckResult]:
        """What was found, the worst first."""
        return sorted((result for result in self.results if result.level >= 0), key=lambda item: -item.level)

    def __getitem__(self, code_or_name: str) -> CheckResult:
        for result in self.results:
            if code_or_name in (result.code, result.name):
                return result
        raise KeyError(
            f"{code_or_name}: this preflight ran {', '.join(item.code for item in self.results) or 'nothing'}"
        )

    def reaches(self, level: str) -> bool:
        """Says whether something of this level or above was found."""
        return any(result.level >= LEVELS.index(level) for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Makes plain data of it, as it is sent and stored."""
        return {**asdict(self), "worst": self.worst}

    def __str__(self) -> str:
        return table(self, shutil.get_terminal_size((100, 24)).columns)


def table(report: Report, width: int = 100) -> str:
    """Writes the report for a terminal: what was found first, then what passed, then what could not be judged."""
    width = max(width, NARROWEST)
    passed = [item for item in report.results if item.verdict == "passed"]
    unknown = [item for item in report.results if item.verdict == "not_evaluated"]
    lines = [f"Gradwatch preflight: {_counted(report, len(passed), len(unknown))} ({report.seconds:.1f} s)"]
    for item in report.found:
        lines += _row(item.severity, item, item.message, width)
        if item.layers:
            lines += _wrapped("in " + _listed(item.layers), width)
        if item.advice:
            lines += _wrapped("→ " + item.advice, width)
    for item in passed:
        lines += _row("ok", item, item.message, width)
    for item in unknown:
        lines += _row("unknown", item, item.reason, width)
    for left in report.left_out:
        lines += _row("left out", left, left.reason, width)
    return "\n".join(lines)


def _counted(report: Report, passed: int, unknown: int) -> str:
    found = [(name, sum(item.severity == name for item in report.found)) for name in reversed(LEVELS)]
    parts = [f"{count} {name}{'s' if count > 1 and name != 'info' else ''}" for name, count in found if count]
    parts += [f"{passed} passed"] if passed or not parts else []
    parts += [f"{unknown} could not be judged"] if unknown else []
    parts += [f"{len(report.left_out)} left out"] if report.left_out else []
    return ", ".join(parts)


def _row(word: str, item: CheckResult | LeftOut, text: str, width: int) -> list[str]:
    head = f"  {word:<8} {item.code} "
    spent = f" ({item.seconds:.1f}\u00a0s)" if isinstance(item, CheckResult) and item.seconds >= 0.05 else ""
    return textwrap.wrap(
        f"{item.name}: {text}{spent}", width, initial_indent=head, subsequent_indent=" " * len(head)
    ) or [head.rstrip()]


def _wrapped(text: str, width: int) -> list[str]:
    indent = " " * 17
    return textwrap.wrap(text, width, initial_indent=indent, subsequent_indent=indent + "  ")


def _listed(names: list[str], most: int = 6) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
