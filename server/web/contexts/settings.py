"""The settings of a project: thresholds that differ from the rules' own, silence about findings, and replays.

Not for: changing them (settings_pages) or applying them (server.diagnosis).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from server.diagnosis.replay import Replay
from server.domain.findings import Finding
from server.domain.runs import Run
from server.domain.wishes import EVERY_CODE, Mute, Threshold
from server.rules.registry import Registry, RuleInfo
from server.web import formats

NEVER = "until it is taken back"
EVERYBODY = "–"
MOST_FINDINGS = 50
THRESHOLD = "threshold."  # how the fields of thresholds begin


@dataclass(frozen=True)
class Choice:
    """One entry of a list to choose from."""

    value: str
    label: str
    chosen: bool


@dataclass(frozen=True)
class Moment:
    """A moment for people and for machines."""

    text: str
    iso: str


@dataclass(frozen=True)
class ThresholdField:
    """One threshold of the chosen rule, with what holds now."""

    name: str
    unit: str
    value: str
    default: str
    range: str
    source: str
    own: bool


@dataclass(frozen=True)
class OwnThreshold:
    """A threshold that this project has changed."""

    code: str
    rule: str
    url: str
    name: str
    value: str
    default: str
    unit: str


@dataclass(frozen=True)
class Change:
    """One line of the history."""

    at: Moment
    what: str
    value: str
    who: str
    reason: str


@dataclass(frozen=True)
class MuteRow:
    """One mute: what is silent, why, until when."""

    id: int
    what: str
    where: str
    layers: str
    reason: str
    who: str
    since: Moment
    until: Moment | None
    until_text: str
    over: bool


@dataclass(frozen=True)
class ReplayedFinding:
    """A finding that a replay would add or take away."""

    severity: str
    code: str
    name: str
    url: str
    message: str
    step: str


@dataclass(frozen=True)
class ReplayGroup:
    """Findings that a replay would add, or take away."""

    title: str
    sign: str
    findings: tuple[ReplayedFinding, ...]


@dataclass(frozen=True)
class Draft:
    """What was written into a form that could not be taken; `muting` says that it was the one of mutes."""

    reason: str = ""
    who: str = ""
    layers: str = ""
    days: str = ""
    muting: bool = False


@dataclass(frozen=True)
class ReplayView:
    """What a run would have said."""

    title: str
    run: str
    run_url: str
    groups: tuple[ReplayGroup, ...]
    same: str
    renewed: tuple[str, ...]  # a sentence for each rule that has changed since it spoke, or was switched off


@dataclass(frozen=True)
class SettingsView:
    """The page. `problem` says what was wrong with the last change, and `draft` keeps what was written then."""

    project: str
    projects: tuple[Choice, ...]
    rules: tuple[Choice, ...]
    mutable: tuple[Choice, ...]
    rule: str
    rule_name: str
    rule_url: str
    rule_summary: str
    fields: tuple[ThresholdField, ...]
    own: tuple[OwnThreshold, ...]
    history: tuple[Change, ...]
    mutes: tuple[MuteRow, ...]
    ended: tuple[MuteRow, ...]
    runs: tuple[Choice, ...]
    replay: ReplayView | None
    problem: str
    draft: Draft
    history_text: str
    ended_text: str


@dataclass(frozen=True)
class Material:
    """What the page is made of."""

    project: str
    projects: Sequence[str]
    thresholds: Mapping[str, Mapping[str, float]]
    history: Sequence[Threshold]
    mutes: Sequence[Mute]
    runs: Sequence[Run]


def settings_view(
    material: Material,
    registry: Registry,
    rule: RuleInfo | None,
    now_ms: int,
    *,
    run: str = "",
    replayed: ReplayView | None = None,
    problem: str = "",
    draft: Mapping[str, str] | None = None,
) -> SettingsView:
    """Makes the page of a project, with one rule's thresholds open."""
    adjustable = [item for item in registry if item.params]
    rows = [_mute(item, registry, now_ms) for item in reversed(material.mutes)]
    return SettingsView(
        project=material.project,
        projects=tuple(Choice(name, name, name == material.project) for name in material.projects),
        rules=tuple(_choice(item, rule) for item in adjustable),
        mutable=(Choice(EVERY_CODE, "every rule", True), *(_choice(item, None) for item in registry)),
        rule=rule.code if rule else "",
        rule_name=rule.name if rule else "",
        rule_url=f"/rules/{rule.code}" if rule else "",
        rule_summary=rule.summary if rule else "",
        fields=_fields(rule, material.thresholds, draft or {}) if rule else (),
        own=_own(material.thresholds, registry),
        history=tuple(_change(item, registry) for item in reversed(material.history)),
        mutes=tuple(row for row in rows if not row.over),
        ended=tuple(row for row in rows if row.over),
        runs=tuple(Choice(item.id, _run_name(item), item.id == run) for item in material.runs),
        replay=replayed,
        problem=problem,
        draft=_draft(draft or {}),
        history_text=f"Every change so far ({formats.count(len(material.history))})",
        ended_text=f"What is over ({formats.count(sum(row.over for row in rows))})",
    )


def address(project: str, rule: str = "") -> str:
    """Gives the address of the page."""
    return "/settings?" + urlencode({"project": project, **({"rule": rule} if rule else {})})


def replay_view(run: Run, rule: RuleInfo, thresholds: Mapping[str, float], result: Replay) -> ReplayView:
    """Says what a replay changes."""
    said = ", ".join(f"{name} = {formats.number(value)}" for name, value in thresholds.items())
    same = formats.plural(result.same, "finding stays as it is", "findings stay as they are")
    return ReplayView(
        title=f"{rule.code} {rule.name} with {said}",
        run=_run_name(run),
        run_url=f"/runs/{run.id}",
        groups=tuple(
            ReplayGroup(title, sign, _replayed(found))
            for title, sign, found in (
                ("It would say, and did not", "+", result.added),
                ("It said, and would not", "−", result.gone),
            )
            if found
        ),
        same=same,
        renewed=tuple(
            f"{code}: what is stored was said by version {before} of the rule, this by version {now}."
            for code, before, now in result.renewed
        )
        + tuple(f"{code} was not asked, because it was switched off: {why}." for code, why in result.unasked),
    )


def _replayed(found: Iterable[Finding]) -> tuple[ReplayedFinding, ...]:
    return tuple(
        ReplayedFinding(
            severity=item.severity.value,
            code=item.code,
            name=item.name,
            url=f"/rules/{item.code}",
            message=item.message,
            step=f"step {formats.count(max(item.first_step, 0))}",
        )
        for item in list(found)[:MOST_FINDINGS]
    )


def _choice(item: RuleInfo, chosen: RuleInfo | None) -> Choice:
    return Choice(item.code, f"{item.code} {item.name}", item is chosen)


def _draft(form: Mapping[str, str]) -> Draft:
    words = {name: form.get(name, "") for name in ("reason", "who", "layers", "days")}
    return Draft(**words, muting="code" in form)


def _fields(
    rule: RuleInfo, thresholds: Mapping[str, Mapping[str, float]], draft: Mapping[str, str]
) -> tuple[ThresholdField, ...]:
    own = thresholds.get(rule.code, {})
    return tuple(
        ThresholdField(
            name=item.name,
            unit=item.unit,
            value=draft.get(f"{THRESHOLD}{item.name}", f"{own.get(item.name, item.default):.10g}"),
            default=formats.number(item.default),
            range=f"{formats.number(item.low)} to {formats.number(item.high)}",
            source=item.source,
            own=item.name in own,
        )
        for item in rule.params
    )


def _own(thresholds: Mapping[str, Mapping[str, float]], registry: Registry) -> tuple[OwnThreshold, ...]:
    found = []
    for code, values in sorted(thresholds.items()):
        rule = registry.get(code)
        known = {item.name: item for item in rule.params} if rule else {}
        for name, value in values.items():
            item = known.get(name)
            found.append(
                OwnThreshold(
                    code=code,
                    rule=rule.name if rule else "a rule that is not here any more",
                    url=f"/rules/{code}" if rule else "",
                    name=name,
                    value=formats.number(value),
                    default=formats.number(item.default) if item else formats.NOTHING,
                    unit=item.unit if item else "",
                )
            )
    return tuple(found)


def _change(item: Threshold, registry: Registry) -> Change:
    rule = registry.get(item.code)
    value = "the rule's own again" if item.value is None else formats.number(item.value)
    what = f"{item.code} {rule.name if rule else ''} {item.name}".replace("  ", " ")
    return Change(_moment(item.created_ms), what, value, item.who or EVERYBODY, item.reason or EVERYBODY)


def _mute(item: Mute, registry: Registry, now_ms: int) -> MuteRow:
    rule = registry.get(item.code)
    over = item.expires_ms is not None and item.expires_ms <= now_ms
    return MuteRow(
        id=item.id,
        what="every rule" if item.code == EVERY_CODE else f"{item.code} {rule.name if rule else ''}".strip(),
        where=f"run {item.run}" if item.run else "the whole project",
        layers=item.layers or "all layers",
        reason=item.reason or EVERYBODY,
        who=item.who or EVERYBODY,
        since=_moment(item.created_ms),
        until=None if item.expires_ms is None else _moment(item.expires_ms),
        until_text=NEVER,
        over=over,
    )


def _run_name(run: Run) -> str:
    return run.name or run.id


def _moment(milliseconds: int) -> Moment:
    return Moment(formats.utc(milliseconds), formats.iso(milliseconds))
