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
from server.web.rule_search import MOST, fits, wanted

TIERS = {
    "scalars": "numbers of every step",
    "layers": "samples of layers and parameters",
    "facts": "facts about model, loss and loop",
}


FITS_BEST = "They speak of it in their name, or where they say what the chart shows. Others that mention it follow."


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


@dataclass(frozen=True)
class RuleChapter:
    """The rules of one chapter of the checklist."""

    title: str
    lead: str
    rows: tuple[RuleRow, ...]


@dataclass(frozen=True)
class RulesView:
    """The catalogue; `find` is what the address searches for, and `partly` says that no rule has all of it."""

    chapters: tuple[RuleChapter, ...]
    count_text: str
    find: str
    partly: bool
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
    """Lists the catalogue by chapter: the rules that speak of everything in `find`, else those that speak of most of
    it. Those that say so in their name or of the chart come first.

    `off` says which rules of others were switched off, and why.
    """
    groups = wanted(find)
    fitting = {rule.code: fits(_words(rule), groups) for rule in registry}
    most = max(fitting.values(), default=0)
    rules = [rule for rule in registry if fitting[rule.code] == most >= MOST * len(groups)]
    plain = [rule for rule in rules if fits(_head(rule), groups) == len(groups)] if groups else []
    first = plain if len(plain) < len(rules) else []
    rest = [rule for rule in rules if rule not in first]
    chapters = dict.fromkeys(chapter_of(rule.code) for rule in rest)
    return RulesView(
        chapters=(
            *(RuleChapter("Fits best", FITS_BEST, tuple(map(_row, found))) for found in [first] if found),
            *(
                RuleChapter(
                    chapter.title, chapter.lead, tuple(_row(rule) for rule in rest if chapter_of(rule.code) == chapter)
                )
                for chapter in chapters
            ),
        ),
        count_text=formats.plural(len(registry), "rule"),
        find=find,
        partly=bool(rules) and most < len(groups),
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


def _head(rule: RuleInfo) -> str:
    """Gives the name of a rule, what it finds, and what that looks like."""
    parts = (rule.code, rule.name, rule.summary, rule.sections.get("What you see in the chart", ""))
    return " ".join(" ".join(parts).lower().split())


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
