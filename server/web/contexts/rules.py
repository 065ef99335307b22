"""The catalogue of rules and the page of one rule, made from the rules' own docstrings and thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from server.rules.registry import Registry, RuleInfo
from server.web import formats
from server.web.markdown import inline, to_html
from server.web.models import chapter_of

TIERS = {
    "scalars": "numbers of every step",
    "layers": "samples of layers and parameters",
    "facts": "facts about model, loss and loop",
}


@dataclass(frozen=True)
class RuleRow:
    """One line of the catalogue."""

    code: str
    name: str
    url: str
    severity: str
    summary: Markup
    since: str


@dataclass(frozen=True)
class RuleChapter:
    """The rules of one chapter of the checklist."""

    title: str
    rows: tuple[RuleRow, ...]


@dataclass(frozen=True)
class RulesView:
    """The catalogue."""

    chapters: tuple[RuleChapter, ...]
    count_text: str


@dataclass(frozen=True)
class Section:
    """One section of a rule's docstring."""

    title: str
    html: Markup


@dataclass(frozen=True)
class Threshold:
    """One threshold of a rule."""

    name: str
    default: str
    unit: str
    range: str
    source: str


@dataclass(frozen=True)
class RuleView:
    """The page of one rule."""

    row: RuleRow
    chapter: str
    sections: tuple[Section, ...]
    thresholds: tuple[Threshold, ...]
    facts: tuple[tuple[str, str], ...]
    previous: RuleRow | None
    next: RuleRow | None


def rules_view(registry: Registry) -> RulesView:
    """Lists the catalogue by chapter."""
    titles = dict.fromkeys(chapter_of(rule.code) for rule in registry)
    return RulesView(
        chapters=tuple(
            RuleChapter(title, tuple(_row(rule) for rule in registry if chapter_of(rule.code) == title))
            for title in titles
        ),
        count_text=formats.plural(len(registry), "rule"),
    )


def rule_view(rule: RuleInfo, registry: Registry) -> RuleView:
    """Makes the page of one rule."""
    order = list(registry)
    place = order.index(rule)
    return RuleView(
        row=_row(rule),
        chapter=chapter_of(rule.code),
        sections=tuple(Section(title, to_html(text)) for title, text in rule.sections.items()),
        thresholds=tuple(
            Threshold(
                name=one.name,
                default=formats.number(one.default),
                unit=one.unit,
                range=f"{formats.number(one.low)} to {formats.number(one.high)}",
                source=one.source,
            )
            for one in rule.params
        ),
        facts=_facts(rule),
        previous=_row(order[place - 1]) if place else None,
        next=_row(order[place + 1]) if place + 1 < len(order) else None,
    )


def _row(rule: RuleInfo) -> RuleRow:
    url = "/rules/" + quote(rule.code, safe="")
    return RuleRow(rule.code, rule.name, url, rule.severity.value, inline(rule.summary), rule.since)


def _facts(rule: RuleInfo) -> tuple[tuple[str, str], ...]:
    kind = rule.rule
    hits, of = kind.persistence
    facts = (
        ("looks at", TIERS[kind.tier]),
        ("speaks after", "the first evidence" if hits == of == 1 else f"{hits} of {of} evaluations"),
        (
            "resolves after",
            "never" if kind.clears_after is None else formats.plural(kind.clears_after, "quiet evaluation"),
        ),
        ("looks away while", ", ".join(gate.replace("_", " ") for gate in kind.gates)),
        ("since", rule.since),
        ("version", str(rule.version)),
        ("source", rule.source),
    )
    return tuple((name, value) for name, value in facts if value)
