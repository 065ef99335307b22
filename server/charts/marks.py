"""Marks findings and notes on the x axis: a line at the first evidence, the severity's sign and the code above it.

A remark (info) has its line and its sign alone, so that a healthy run looks like one. A finding that follows from
another one is marked where it is an error. What an attempt left where a later one is drawn has no mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from server.charts.attempts import is_drawn
from server.charts.base import text
from server.charts.places import Place, on_steps
from server.domain.findings import Finding, Severity
from server.domain.runs import Event

SIGNS = {Severity.ERROR: "✖", Severity.WARNING: "▲", Severity.INFO: "●"}
COLOURS = {Severity.ERROR: "#b3261e", Severity.WARNING: "#8f5a00", Severity.INFO: "#0a65a8"}
NOTE_COLOUR = "note"  # the script knows the colour of the page's text
NOTE_SIGN = "✎"
NEAR = 0.2  # of the width: what a label needs on the smallest charts
LATE = 0.72
MOST_NOTES = 60
LONGEST_NOTE = 200

Mark = tuple[int, float, Finding | Event]  # step, x, what


def mark_findings(
    layout: dict[str, Any],
    findings: Sequence[Finding],
    span: tuple[int, int],
    notes: Sequence[Event] = (),
    place: Place = on_steps,
    starts: Mapping[int, int] | None = None,
) -> None:
    """Adds a mark for each finding in the span that is worth one, and for each note; near ones share a label.

    `place` turns steps into x, `starts` says where the attempts that are drawn begin.
    """
    first, last = span
    shown: list[Finding | Event] = [one for one in findings if is_marked(one) and first <= one.first_step <= last]
    shown += [one for one in notes if one.kind == "note" and first <= one.step <= last][:MOST_NOTES]
    marks: list[Mark] = [
        (step, x, one)
        for one in shown
        for step in [_step(one)]
        for x in [place(step, one.attempt)]
        if x is not None and is_drawn(one.attempt, step, starts or {})
    ]
    marks.sort(key=lambda mark: mark[1])
    left, right = place(first), place(last)
    width = (right - left) if left is not None and right is not None else 0.0
    bundles: list[list[Mark]] = []
    for mark in marks:
        if bundles and mark[1] - bundles[-1][0][1] < NEAR * width:
            bundles[-1].append(mark)
        else:
            bundles.append([mark])
    layout["shapes"] = [*layout.get("shapes", ()), *(_line(x, one) for _, x, one in marks)]
    layout["annotations"] = [_label(bundle, (left or 0.0) + LATE * width) for bundle in bundles]


def is_marked(finding: Finding) -> bool:
    """Says whether a finding is worth a mark: its cause has one, unless it is an error itself; nobody muted it."""
    return not finding.muted and (finding.cause is None or finding.severity is Severity.ERROR)


def _step(one: Finding | Event) -> int:
    return one.first_step if isinstance(one, Finding) else one.step


def _line(x: float, one: Finding | Event) -> dict[str, Any]:
    if isinstance(one, Finding):
        colour, opacity = COLOURS[one.severity], 0.5 if one.state == "resolved" else 0.9
    else:
        colour, opacity = NOTE_COLOUR, 0.6
    return {
        "type": "line",
        "xref": "x",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": colour, "width": 1, "dash": "dot"},
        "opacity": opacity,
    }


def _label(bundle: Sequence[Mark], late: float) -> dict[str, Any]:
    found = [one for _, _, one in bundle if isinstance(one, Finding)]
    found.sort(key=lambda one: (-one.severity.rank, one.cause is not None))
    worst = found[0] if found else None
    alarms = list(dict.fromkeys(one.code for one in found if one.severity is not Severity.INFO))
    signs = [f"{SIGNS[worst.severity]} {worst.code}"] if worst and alarms else []
    signs += [f"+{len(alarms) - 1}"] if len(alarms) > 1 else []
    signs += [NOTE_SIGN] if len(found) < len(bundle) else []
    signs += [SIGNS[Severity.INFO]] if found and found[-1].severity is Severity.INFO else []
    x = bundle[0][1]
    return {
        "x": x,
        "y": 1,
        "xref": "x",
        "yref": "paper",
        "xanchor": "right" if x > late else "left",
        "yanchor": "bottom",
        "showarrow": False,
        "text": " ".join(signs),
        "hovertext": "<br>".join(_said(one) for _, _, one in bundle),
        "font": {"size": 10, "color": COLOURS[worst.severity] if worst else NOTE_COLOUR},
    }


def _said(one: Finding | Event) -> str:
    if isinstance(one, Finding):
        return f"{one.severity.value}: {one.code} {text(one.name)}, step {one.first_step:,}"
    return f"note, step {one.step:,}: {text(str(one.value.get('text', '')))[:LONGEST_NOTE]}"
