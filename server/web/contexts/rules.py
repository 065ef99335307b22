"""The catalogue of rules and the page of one rule, made from the rules' own docstrings and thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from server.charts.evidence import Picture, picture_of
from server.rules._corpus import example
from server.rules.registry import Registry, RuleInfo
from server.web import formats
from server.web.chapters import chapter_of, section_of
from server.web.contexts.proof import ProofView, proof_view
from server.web.markdown import inline, to_html

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
    section: str
    words: str


@dataclass(frozen=True)
class RuleChapter:
    """The rules of one chapter of the checklist."""

    title: str
    lead: str
    rows: tuple[RuleRow, ...]


@dataclass(frozen=True)
class RulesView:
    """The catalogue; `find` is what the address searches for."""

    chapters: tuple[RuleChapter, ...]
    count_text: str
    find: str
    proof: ProofView


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
class Example:
    """A finding of the rule on a sick training; `where` says which kind of training that is."""

    training: str
    where: str
    severity: str
    message: str
    picture: Picture


@dataclass(frozen=True)
class RuleView:
    """The page of one rule."""

    row: RuleRow
    chapter: str
    sections: tuple[Section, ...]
    thresholds: tuple[Threshold, ...]
    facts: tuple[tuple[str, str], ...]
    example: Example | None
    settings_url: str
    previous: RuleRow | None
    next: RuleRow | None


def rules_view(registry: Registry, find: str, off: Mapping[str, str] | None = None) -> RulesView:
    """Lists the catalogue by chapter: the rules that have every word of `find` in their name, code or text.

    `off` says which rules of others were switched off, and why.
    """
    wanted = find.lower().split()
    rules = [rule for rule in registry if all(word in _words(rule) for word in wanted)]
    chapters = dict.fromkeys(chapter_of(rule.code) for rule in rules)
    return RulesView(
        chapters=tuple(
            RuleChapter(
                chapter.title, chapter.lead, tuple(_row(rule) for rule in rules if chapter_of(rule.code) == chapter)
            )
            for chapter in chapters
        ),
        count_text=formats.plural(len(registry), "rule"),
        find=find,
        proof=proof_view(registry, off=off),
    )


def rule_view(rule: RuleInfo, registry: Registry) -> RuleView:
    """Makes the page of one rule."""
    order = list(registry)
    place = order.index(rule)
    return RuleView(
        row=_row(rule),
        chapter=chapter_of(rule.code).title,
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
        example=_example(rule.code),
        settings_url="/settings?rule=" + quote(rule.code, safe=""),
        previous=_row(order[place - 1]) if place else None,
        next=_row(order[place + 1]) if place + 1 < len(order) else None,
    )


def _row(rule: RuleInfo) -> RuleRow:
    url = "/rules/" + quote(rule.code, safe="")
    return RuleRow(
        code=rule.code,
        name=rule.name,
        url=url,
        severity=rule.severity.value,
        summary=inline(rule.summary),
        since=rule.since,
        section=section_of(rule.code),
        words=_words(rule),
    )


def _example(code: str) -> Example | None:
    found = example(code)
    if found is None:
        return None
    return Example(
        found["training"],
        found.get("where", "of the corpus"),
        found["severity"],
        found["message"],
        picture_of(found["picture"]),
    )


def _words(rule: RuleInfo) -> str:
    """Gives everything that a search may mean: names, summary, and what is seen and tried, without markup."""
    told = (rule.sections.get(title, "") for title in ("What it does", "What you see in the chart", "What to try"))
    parts = (
        rule.code,
        rule.name,
        rule.severity.value,
        chapter_of(rule.code).title,
        section_of(rule.code),
        rule.summary,
    )
    return " ".join(" ".join((*parts, *told)).lower().split())


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
