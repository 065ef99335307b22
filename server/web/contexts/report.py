"""The report of a run: everything that a reader needs who has neither the server nor the code, as HTML and Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from server.charts.still import Still
from server.domain.runs import Attempt, Run
from server.web import formats
from server.web.contexts.checklist import ChecklistView
from server.web.contexts.facts import Group, ModelView, groups, model_view
from server.web.contexts.findings import Card, FindingsView, Strip, strip
from server.web.contexts.runs import RunRow, run_row
from server.web.markdown import of_people, quoted

MOST_LAYERS = 300
MOST_PAIRS = 200
_SPECIAL = re.compile(r"([\\`*_\[\]<>&#|~!])")


@dataclass(frozen=True)
class ReportView:
    """The report. `style` is the text of its style sheets, which are ours."""

    run: RunRow
    strip: Strip
    figures: tuple[tuple[str, str], ...]
    findings: FindingsView
    checklist: ChecklistView
    notes: Markup
    notes_text: str
    stills: tuple[Still, ...]
    model: ModelView | None
    groups: tuple[Group, ...]
    written: str
    version: str
    style: Markup
    filename: str


def report_view(
    run: Run,
    findings: FindingsView,
    checklist: ChecklistView,
    stills: Sequence[Still],
    facts: Mapping[str, Any],
    attempts: Sequence[Attempt],
    now_ms: int,
    version: str,
    style: Markup,
    ending: str = "",
    notes: str = "",
) -> ReportView:
    """Makes the report."""
    row = run_row(run, now_ms)
    figures = (
        ("state", row.state),
        ("project", row.project),
        ("progress", row.progress.text),
        ("last loss", row.last_loss),
        ("best validation loss", row.best_validation),
        ("duration", row.duration),
        ("started", row.started),
        ("host", run.host),
        ("run", run.id),
    )
    return ReportView(
        run=row,
        strip=strip(run, findings, ending),
        figures=tuple((name, value) for name, value in figures if value and value != formats.NOTHING),
        findings=findings,
        checklist=checklist,
        notes=of_people(notes) if notes.strip() else Markup(),
        notes_text=notes.strip(),
        stills=tuple(stills),
        model=model_view(facts),
        groups=groups(run, facts, attempts),
        written=formats.utc(now_ms),
        version=version,
        style=style,
        filename=file_name(run),
    )


def file_name(run: Run) -> str:
    """Makes a file name of a run's name: letters, digits and dashes."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", run.name).strip("-")[:60]
    return f"gradwatch-{plain or run.id[-12:]}"


def markdown(view: ReportView) -> str:
    """Writes the summary, to be pasted into an issue or a chat."""
    lines = [
        f"## {escaped(view.run.name)}",
        "",
        f"**{view.strip.word}**: {_with_code(view.strip.sentence)}",
        "",
        " · ".join(f"{name} {escaped(value)}" for name, value in view.figures),
        "",
        " · ".join(part for part in (view.strip.findings, *(one.text for one in view.checklist.beside)) if part),
    ]
    if view.notes_text:
        lines += ["", "### Notes", "", *quoted(view.notes_text)]
    if view.findings.open:
        lines += ["", "### Findings", ""]
        lines += [line for card in view.findings.open for line in _lines(card, "")]
    config = next((group for group in view.groups if group.title == "Config"), None)
    if config:
        lines += ["", "### Config", "", "| key | value |", "|---|---|"]
        lines += [f"| {escaped(pair.name)} | {escaped(pair.value)} |" for pair in config.pairs[:MOST_PAIRS]]
    return "\n".join([*lines, "", f"*Gradwatch {view.version}, {view.written}*", ""])


def escaped(words: str) -> str:
    """Takes the meaning from what Markdown would read as markup; line ends become spaces."""
    return _SPECIAL.sub(r"\\\1", " ".join(words.split()))


def _with_code(words: str) -> str:
    """Escapes a sentence of ours but for its names between backticks."""
    parts = " ".join(words.split()).split("`")
    if len(parts) % 2 == 0 or not all(parts[1::2]):
        return escaped(words)
    return "".join(f"`{part}`" if index % 2 else _SPECIAL.sub(r"\\\1", part) for index, part in enumerate(parts))


def _lines(card: Card, indent: str) -> list[str]:
    said = f"{indent}* **{card.severity}** {card.code} {escaped(card.name)}, {card.since}: {_with_code(card.message)}"
    lines = [said]
    if card.advice:
        lines.append(f"{indent}  *{card.try_word}:* {_with_code(card.advice)}")
    if card.incident and card.state == "open":
        certain, because = card.incident.confidence, escaped(card.incident.because)
        sure = f"*{certain} sure:* {because}. " if certain else ""
        lines.append(f"{indent}  {sure}{_with_code(card.incident.disproof)}")
    return lines + [line for below in card.symptoms for line in _lines(below, indent + "  ")]
