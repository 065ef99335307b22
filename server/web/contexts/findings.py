"""The findings of a run as cards: open ones first, each with the symptoms that it explains; then the resolved ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote

from server.charts.evidence import Picture
from server.diagnosis.urgency import most_urgent_first
from server.domain.findings import Finding, Severity
from server.domain.runs import ENDED, DiagnosisState, Run, RunState
from server.rules.registry import Registry
from server.web import formats
from server.web.contexts.charts import chart_anchor
from server.web.contexts.incidents import IncidentView, incident_views
from server.web.contexts.runs import WAITING, no_problem, nothing_judged, unjudged

SHOWN_LAYERS = 6
QUARTERS = {"q1": "first quarter", "q2": "second quarter", "q3": "third quarter", "q4": "last quarter"}
LONGEST_ENDING = 200  # characters of an exception


@dataclass(frozen=True)
class Pair:
    """A name and its value, both ready to print."""

    name: str
    value: str


@dataclass(frozen=True)
class Card:
    """One finding. `symptoms` are the findings that this one explains."""

    id: str
    code: str
    name: str
    severity: str
    state: str
    message: str
    advice: str
    since: str
    numbers: tuple[Pair, ...]
    layers: tuple[str, ...]
    more_layers: tuple[str, ...]
    ranks: str
    acknowledged: bool
    muted: bool
    patch_url: str
    rule_url: str
    chart_href: str
    symptoms: tuple[Card, ...]
    picture: Picture | None = None
    incident: IncidentView | None = None
    try_word: str = "Try"

    @property
    def more_text(self) -> str:
        """Says how many layers are folded."""
        return f"and {formats.plural(len(self.more_layers), 'more layer')}"

    @property
    def symptoms_text(self) -> str:
        """Says how many findings this one explains."""
        return f"explains {formats.plural(len(self.symptoms), 'symptom')}"


@dataclass(frozen=True)
class FindingsView:
    """All findings of a run, sorted into what to read now, what is muted and what is over."""

    open: tuple[Card, ...]
    muted: tuple[Card, ...]
    resolved: tuple[Card, ...]
    fragment_url: str

    @property
    def symptoms(self) -> int:
        """Counts the open findings that others explain."""
        return sum(len(card.symptoms) for card in self.open)

    @property
    def count_text(self) -> str:
        """Counts what is open, and apart from it what is muted and what is over; "" where there never was anything."""
        amount = len(self.open) + self.symptoms
        if not (amount or self.muted or self.resolved):
            return ""
        apart = ((len(self.muted), "muted"), (len(self.resolved), "resolved"))
        counted = [f"{formats.count(many)} {word}" for many, word in apart if many]
        return ", ".join([formats.plural(amount, "open finding") if amount else "no open finding", *counted])

    @property
    def muted_text(self) -> str:
        """Says how many findings are muted."""
        return formats.plural(len(self.muted), "muted finding")

    @property
    def resolved_text(self) -> str:
        """Says how many findings are over."""
        return formats.plural(len(self.resolved), "resolved finding")


@dataclass(frozen=True)
class Count:
    """How many incidents have one severity, or (without one) how many findings follow from others."""

    severity: str
    text: str


@dataclass(frozen=True)
class Strip:
    """The verdict in one line: the worst severity as icon and word, and a sentence. `counts` add up to what
    `findings` says to be open.
    """

    severity: str
    word: str
    sentence: str
    counts: tuple[Count, ...]
    note: str
    findings: str = ""

    @property
    def alarms(self) -> bool:
        """Says whether there is a problem."""
        return self.severity in (Severity.WARNING.value, Severity.ERROR.value)


def findings_view(
    run: Run, findings: Sequence[Finding], registry: Registry, pictures: Mapping[int, Picture] | None = None
) -> FindingsView:
    """Sorts the findings and folds all that followed from a cause under it."""
    told = most_urgent_first(findings, registry)
    causes = {finding.number: finding.cause for finding in told if finding.state == "open"}
    below: dict[int, list[Finding]] = {}
    tops = []
    for finding in told:
        above = causes.get(finding.number)
        while above is not None and (higher := causes.get(above)) is not None:
            above = higher
        if above is None:
            tops.append(finding)
        else:
            below.setdefault(above, []).append(finding)
    made = incident_views(findings, registry)
    drawn = not run.only_preflight  # else there is no chart to lead to
    cards = [
        _card(
            finding,
            registry,
            pictures or {},
            symptoms=tuple(
                # what to try goes for a symptom that stays when its cause is mended, and may say the opposite before
                replace(_card(one, registry, pictures or {}, drawn=drawn), try_word="If it stays")
                for one in below.get(finding.number, ())
            ),
            incident=made.get(finding.number),
            drawn=drawn,
        )
        for finding in tops
    ]
    return FindingsView(
        open=tuple(card for card in cards if card.state == "open" and not card.muted),
        muted=tuple(card for card in cards if card.state == "open" and card.muted),
        resolved=tuple(card for card in cards if card.state != "open"),
        fragment_url=f"/runs/{quote(run.id, safe='')}/fragments/findings",
    )


def strip(run: Run, view: FindingsView, ending: str = "") -> Strip:
    """Says the verdict, and what ended a run that failed. Muted findings do not speak."""
    note = _diagnosis_note(run)
    alarms = bool(view.open) and view.open[0].severity != Severity.INFO.value
    broke = "" if run.only_preflight else _broke(run, ending)
    if alarms:
        worst = view.open[0]
        said = run.verdict or worst.message
        note = f"{note} · {broke}" if broke else note
        return Strip(worst.severity, worst.severity, said, _counts(view), note, view.count_text)
    if nothing_judged(run) and (not view.open or not run.only_preflight):
        sign, sentence = WAITING, _quiet(run, view)
        word = unjudged(run)
    elif view.open:  # a remark is no problem
        sign, word = "none", no_problem(len(view.muted))
        sentence = _after_preflight(run, view) if run.only_preflight else run.verdict or view.open[0].message
    else:
        sign, word = "none", "no other finding" if view.muted else "no finding"
        sentence = _quiet(run, view)
    if broke:  # no tick, whatever was checked before
        sign, word, sentence = f"state-{run.state.value}", run.state.value, f"{broke}. {sentence}"
    return Strip(sign, word, sentence, _counts(view), note, view.count_text)


def _broke(run: Run, ending: str) -> str:
    """Says what ended a run before its time; empty where nothing did."""
    if run.state is RunState.FAILED:
        return f"Ended by {formats.shortened(ending, LONGEST_ENDING).rstrip(' .:')}" if ending else "Ended by an error"
    return "The process ended without a word" if run.state is RunState.CRASHED else ""


def _counts(view: FindingsView) -> tuple[Count, ...]:
    amounts = Counter(card.severity for card in view.open)
    counts = [
        Count(severity.value, f"{amount} info" if severity is Severity.INFO else formats.plural(amount, severity.value))
        for severity in reversed(Severity)
        if (amount := amounts[severity.value])
    ]
    return (*counts, *([Count("", formats.plural(view.symptoms, "symptom"))] if view.symptoms else []))


def _card(
    finding: Finding,
    registry: Registry,
    pictures: Mapping[int, Picture],
    symptoms: tuple[Card, ...] = (),
    incident: IncidentView | None = None,
    *,
    drawn: bool = True,
) -> Card:
    rule = registry.get(finding.code)
    shown = finding.evidence.series
    # the loss is what rules show that have none of their own; without a series they judged settings
    anchor = chart_anchor(rule.chart if rule and (shown or rule.chart != "loss") else "", shown)
    run_id = quote(finding.run_id, safe="")
    return Card(
        id=finding.id,
        code=finding.code,
        name=finding.name,
        severity=finding.severity.value,
        state=finding.state,
        message=finding.message,
        advice=finding.advice,
        since=_since(finding),
        numbers=_evidence(finding),
        layers=finding.layers[:SHOWN_LAYERS],
        more_layers=finding.layers[SHOWN_LAYERS:],
        ranks="" if finding.ranks in ((), (0,)) else ", ".join(str(rank) for rank in finding.ranks),
        acknowledged=finding.acknowledged,
        muted=finding.muted,
        patch_url=f"/api/v1/runs/{run_id}/findings/{finding.id}",
        rule_url=f"/rules/{quote(finding.code, safe='')}" if rule else "",
        chart_href=f"#{anchor}" if anchor and drawn else "",
        symptoms=symptoms,
        picture=pictures.get(finding.number),
        incident=incident,
    )


def _since(finding: Finding) -> str:
    first = "before step 0" if finding.first_step < 0 else f"since step {formats.count(finding.first_step)}"
    if finding.state == "open":
        return first
    ended = finding.resolved_step if finding.resolved_step is not None else finding.last_step
    return f"{first}, resolved at step {formats.count(ended)}"


def _evidence(finding: Finding) -> tuple[Pair, ...]:
    evidence = finding.evidence
    pairs = [_number(name, value) for name, value in evidence.numbers.items()]
    if evidence.limit and "limit" not in evidence.numbers:
        pairs.append(Pair("limit", formats.number(evidence.limit)))
    return (*pairs, *(Pair(_words(name), formats.shortened(text, 200)) for name, text in evidence.strings.items()))


def _number(name: str, value: float) -> Pair:
    """Writes a number of the evidence; those whose names end in `_s` are seconds."""
    if name.endswith("_s"):
        return Pair(_words(name.removesuffix("_s")), formats.seconds(value))
    return Pair(_words(name), formats.number(value))


def _words(name: str) -> str:
    return QUARTERS.get(name) or name.replace("_", " ")


def _quiet(run: Run, view: FindingsView) -> str:
    if run.only_preflight:
        return _after_preflight(run, view)
    if run.last_step < 0 and run.state in ENDED:
        return "It ended before its first step, so nothing could be judged."
    if run.last_step < 0:
        return "Nothing has arrived yet. Numbers appear here as soon as the first step is closed."
    if run.diagnosis is DiagnosisState.PENDING:
        return f"{formats.plural(run.last_step + 1, 'step')} arrived. The first diagnosis is on its way."
    said = f"No {'other ' if view.muted else ''}finding is open up to step {formats.count(max(run.diagnosed_step, 0))}"
    past = [formats.plural(len(view.resolved), "finding is", "findings are") + " over"] if view.resolved else []
    past += [f"{formats.count(len(view.muted))} muted"] if view.muted else []
    return said + (f"; {', '.join(past)}." if past else ".")


def _after_preflight(run: Run, view: FindingsView) -> str:
    if run.state is RunState.RUNNING:
        return "The preflight is running."
    if run.state is not RunState.FINISHED:
        return "The preflight did not come to its end. No training has followed yet."
    return f"The preflight found {no_problem(len(view.muted))}. No training has followed yet."


def _diagnosis_note(run: Run) -> str:
    if run.diagnosis is DiagnosisState.FINAL:
        return "final diagnosis"
    if run.diagnosed_step < 0:
        return "not diagnosed yet"
    if run.state is RunState.RUNNING:
        return f"diagnosed to step {formats.count(run.diagnosed_step)}"
    return f"diagnosed to step {formats.count(run.diagnosed_step)} of {formats.count(run.last_step)}"
