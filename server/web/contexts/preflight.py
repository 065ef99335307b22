"""The preflight of a run: each check with its verdict, pictures, numbers and thresholds, and what was left out.

Not for: judging. The checks did that before the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from markupsafe import Markup

from server.charts.checked import Checked, draw
from server.diagnosis.urgency import most_urgent_first
from server.domain.findings import Finding
from server.domain.preflight import BASELINE, BASELINES, LeftOut, Preflight, Result
from server.domain.runs import Run
from server.rules.registry import Registry
from server.web import formats
from server.web.contexts.checklist import Tally
from server.web.contexts.findings import Pair
from server.web.contexts.runs import RunRow, run_row
from server.web.contexts.tabs import Tab, tabs
from server.web.markdown import inline

WORDS = {"found": "found", "passed": "passed", "not-evaluated": "could not be judged", "left-out": "left out"}
RANGE_TEST = "GW106"
SHOWN_LAYERS = 12
SHOWN_S = 0.05
PYTHON = """from client_hook import preflight, watch

preflight(model, loss_fn, batch=None, optimizer=optimizer, train_loader=loader)
monitor = watch(model, optimizer)   # its run shows what preflight found"""
COMMAND = "gradwatch preflight train.py:setup --fail-on warning"
_METRICS = {"accuracy": "accuracy", "r2": "R²"}


@dataclass(frozen=True)
class Limit:
    """A threshold with the source of its number."""

    name: str
    value: str
    source: str


@dataclass(frozen=True)
class Reached:
    """What a simple model reached: a row of the baseline's table."""

    name: str
    loss: str
    metric: str


@dataclass(frozen=True)
class Baseline:
    """The simple baseline as a table."""

    metric: str
    rows: tuple[Reached, ...]


@dataclass(frozen=True)
class CheckCard:
    """One check. `outcome` is one of WORDS, `sign` the icon's name, `word` what is written beside it."""

    code: str
    name: str
    summary: Markup
    outcome: str
    sign: str
    word: str
    said: str
    advice: str
    reasons: str
    layers: tuple[str, ...]
    more_layers: str
    numbers: tuple[Pair, ...]
    limits: tuple[Limit, ...]
    pictures: tuple[Checked, ...]
    baseline: Baseline | None
    took: str
    rule_url: str
    url: str


@dataclass(frozen=True)
class Group:
    """Checks that are shown alike: `wide` with large pictures, `tight` several in a row, `plain` as a list."""

    id: str
    title: str
    look: str
    cards: tuple[CheckCard, ...]


@dataclass(frozen=True)
class PreflightView:
    """The page; `empty` where there was no preflight, `nothing` where no check has the chosen outcome."""

    run: RunRow
    tabs: tuple[Tab, ...]
    empty: bool
    nothing: str
    lead: str
    tallies: tuple[Tally, ...]
    groups: tuple[Group, ...]
    own_url: str
    fragment_url: str
    api_url: str
    python: str
    command: str


def preflight_view(
    run: Run,
    found: Preflight | None,
    registry: Registry,
    now_ms: int,
    outcome: str = "",
    own_run: str = "",
    findings: Sequence[Finding] = (),
) -> PreflightView:
    """Makes the page; `outcome` keeps one kind of checks, `own_run` is the run that the preflight has for itself.

    What was found stands in the order of the run's `findings`: causes before their symptoms, the worst first.
    """
    url = "/runs/" + quote(run.id, safe="")
    here = f"{url}/preflight"
    cards = _cards(found, registry, here, findings) if found else []
    shown = [card for card in cards if outcome in ("", card.outcome)]
    query = f"?outcome={outcome}" if outcome else ""
    return PreflightView(
        run=run_row(run, now_ms),
        tabs=tabs(run.id, "preflight"),
        empty=found is None,
        nothing=f"No check came out as “{WORDS[outcome]}”." if found and not shown and outcome else "",
        lead=_lead(found) if found else "",
        tallies=tuple(_tally(kind, cards, here, outcome) for kind in WORDS) if found else (),
        groups=tuple(_groups(shown)),
        own_url=f"/runs/{quote(own_run, safe='')}/preflight" if own_run else "",
        fragment_url=f"{url}/fragments/preflight{query}",
        api_url=f"/api/v1{url}/preflight",
        python=PYTHON,
        command=COMMAND,
    )


def _groups(cards: Sequence[CheckCard]) -> list[Group]:
    """Puts what needs a look first; then the range test, whose chart everybody wants; then what passed."""
    found = [card for card in cards if card.outcome == "found"]
    rate = [card for card in cards if card.code == RANGE_TEST and card.outcome == "passed"]
    passed = [card for card in cards if card.outcome == "passed" and card.code != RANGE_TEST]
    drawn = [card for card in passed if card.pictures or card.baseline]
    quiet = [card for card in passed if not (card.pictures or card.baseline)]
    rest = [card for card in cards if card.outcome in ("not-evaluated", "left-out")]
    made = (
        Group("found", "Found", "wide", tuple(found)),
        Group("rate", "Learning rate", "wide", tuple(rate)),
        Group("passed", "Passed", "tight", tuple(drawn)),
        Group("quiet", "Passed, without a picture", "plain", tuple(quiet)),
        Group("rest", "Not judged", "plain", tuple(rest)),
    )
    return [group for group in made if group.cards]


def _cards(found: Preflight, registry: Registry, here: str, findings: Sequence[Finding]) -> list[CheckCard]:
    told = list(dict.fromkeys(item.code for item in most_urgent_first(findings, registry)))
    urgency = {code: place - len(told) for place, code in enumerate(told)}

    def place(item: Result) -> tuple[bool, int, int, str]:
        return item.rank < 0, urgency.get(item.code, 0) if item.rank >= 0 else 0, -item.rank, item.code

    results = sorted(found.results, key=place)
    return [
        *(_card(item, registry, here) for item in results),
        *(_left_out(item, registry, here) for item in found.left_out),
    ]


def _card(item: Result, registry: Registry, here: str) -> CheckCard:
    outcome = item.verdict.replace("_", "-")
    severe = outcome == "found"
    pictures = [draw(name, curve) for name, curve in item.curves.items()]
    return CheckCard(
        code=item.code,
        name=item.name,
        summary=_summary(item.code, registry),
        outcome=outcome,
        sign=item.severity if severe else outcome,
        word=item.severity if severe else WORDS[outcome],
        said=item.reason if item.verdict == "not_evaluated" else item.message,
        advice=item.advice,
        reasons=item.strings.get("reasons", "") if item.verdict == "passed" else "",
        layers=item.layers[:SHOWN_LAYERS],
        more_layers=f"and {len(item.layers) - SHOWN_LAYERS} more" if len(item.layers) > SHOWN_LAYERS else "",
        numbers=_numbers(item) if item.code != BASELINE else (),
        limits=tuple(Limit(one.name, f"{formats.number(one.value)} {one.unit}", one.source) for one in item.thresholds),
        pictures=tuple(picture for picture in pictures if picture is not None),
        baseline=_baseline(item.numbers, item.strings) if item.code == BASELINE else None,
        took=f"{item.seconds:.1f} s" if item.seconds >= SHOWN_S else "",
        rule_url=f"/rules/{quote(item.code, safe='')}" if registry.get(item.code) else "",
        url=f"{here}#{quote(item.code, safe='')}",
    )


def _left_out(item: LeftOut, registry: Registry, here: str) -> CheckCard:
    return CheckCard(
        code=item.code,
        name=item.name,
        summary=_summary(item.code, registry),
        outcome="left-out",
        sign="left-out",
        word=WORDS["left-out"],
        said=item.reason,
        advice="",
        reasons="",
        layers=(),
        more_layers="",
        numbers=(),
        limits=(),
        pictures=(),
        baseline=None,
        took="",
        rule_url=f"/rules/{quote(item.code, safe='')}" if registry.get(item.code) else "",
        url=f"{here}#{quote(item.code, safe='')}",
    )


def _summary(code: str, registry: Registry) -> Markup:
    rule = registry.get(code)
    return inline(rule.summary.removeprefix("The run has ")) if rule else Markup("")


def _numbers(item: Result) -> tuple[Pair, ...]:
    told = [(name.replace("_", " "), formats.number(value)) for name, value in item.numbers.items()]
    told += [
        (name.replace("_", " "), formats.shortened(value, 300))
        for name, value in item.strings.items()
        if value and name != "reasons"
    ]
    return tuple(Pair(name, value) for name, value in told)


def _baseline(numbers: Mapping[str, float], strings: Mapping[str, str]) -> Baseline | None:
    metric = strings.get("metric", "")
    rows = [
        Reached(
            said[0].upper() + said[1:],
            _with_error(numbers.get(f"{name}_loss"), numbers.get(f"{name}_loss_error")),
            formats.number(numbers.get(f"{name}_{metric}"), 3),
        )
        for name, said in BASELINES.items()
        if f"{name}_loss" in numbers or f"{name}_{metric}" in numbers
    ]
    return Baseline(_METRICS.get(metric, metric), tuple(rows)) if rows else None


def _with_error(value: float | None, error: float | None) -> str:
    return formats.number(value) if error is None else f"{formats.number(value)} ± {formats.number(error, 2)}"


def _lead(found: Preflight) -> str:
    made = formats.plural(len(found.results), "check")
    if not found.complete:
        return f"{made} so far; the preflight has not ended, or its end has not arrived."
    took = f" in {formats.number(found.seconds, 3)} s" if math.isfinite(found.seconds) else ""
    return f"{made}{took} before the training. Model, optimizer and data were put back as they were, bit for bit."


def _tally(kind: str, cards: Sequence[CheckCard], here: str, chosen: str) -> Tally:
    return Tally(
        outcome=kind,
        amount=sum(card.outcome == kind for card in cards),
        word=WORDS[kind],
        url=here if kind == chosen else f"{here}?outcome={kind}",
        chosen=kind == chosen,
    )
