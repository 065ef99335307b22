"""Marks findings on the step axis: a line at the first evidence, the severity's sign and the rule's code above it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.charts.base import text
from server.domain.findings import Finding, Severity

SIGNS = {Severity.ERROR: "✖", Severity.WARNING: "▲", Severity.INFO: "●"}
COLOURS = {Severity.ERROR: "#b3261e", Severity.WARNING: "#8f5a00", Severity.INFO: "#0a65a8"}
NEAR = 0.07
MOST_CODES = 3


def mark_findings(layout: dict[str, Any], findings: Sequence[Finding], span: tuple[int, int]) -> None:
    """Adds a mark for each finding in the span that nobody muted and no other finding explains; near ones share one."""
    first, last = span
    shown = sorted(
        (one for one in findings if one.cause is None and not one.muted and first <= one.first_step <= last),
        key=lambda one: (one.first_step, one.number),
    )
    near = max(1.0, NEAR * (last - first))
    bundles: list[list[Finding]] = []
    for finding in shown:
        if bundles and finding.first_step - bundles[-1][0].first_step < near:
            bundles[-1].append(finding)
        else:
            bundles.append([finding])
    layout["shapes"] = [_line(one) for one in shown]
    layout["annotations"] = [_label(bundle, first, last) for bundle in bundles]


def _line(finding: Finding) -> dict[str, Any]:
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": finding.first_step,
        "x1": finding.first_step,
        "y0": 0,
        "y1": 1,
        "line": {"color": COLOURS[finding.severity], "width": 1, "dash": "dot"},
        "opacity": 0.5 if finding.state == "resolved" else 0.9,
    }


def _label(bundle: Sequence[Finding], first: int, last: int) -> dict[str, Any]:
    worst = max(bundle, key=lambda one: one.severity.rank)
    codes = [f"{SIGNS[one.severity]} {one.code}" for one in bundle[:MOST_CODES]]
    more = f" +{len(bundle) - MOST_CODES}" if len(bundle) > MOST_CODES else ""
    said = "<br>".join(f"{one.severity.value}: {one.code} {text(one.name)}, step {one.first_step:,}" for one in bundle)
    late = bundle[0].first_step > first + 0.6 * (last - first)
    return {
        "x": bundle[0].first_step,
        "y": 1,
        "xref": "x",
        "yref": "paper",
        "xanchor": "right" if late else "left",
        "yanchor": "bottom",
        "showarrow": False,
        "text": " ".join(codes) + more,
        "hovertext": said,
        "font": {"size": 10, "color": COLOURS[worst.severity]},
    }
