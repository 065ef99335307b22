"""The settings of a project: thresholds that differ from the rules' own, silence about findings, and replays.

Not for: changing them (settings_pages) or applying them (server.diagnosis).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from server.diagnosis.differences import ProjectReplay
from server.diagnosis.replays import DEFAULT_RUNS
from server.domain.runs import Run
from server.domain.wishes import EVERY_CODE, Mute, MutedFinding, Threshold
from server.rules.registry import Registry, RuleInfo
from server.web import formats
from server.web.contexts.look import Choice
from server.web.contexts.replays import ReplayLink, ReplayView, replay_links, run_name

NEVER = "until it is taken back"
EVERYBODY = "–"
MOST_MUTED = 50
THRESHOLD = "threshold."  # how the fields of thresholds begin


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
class MutedRow:
    """A finding that was muted by itself."""

    finding: str
    run: str
    url: str


@dataclass(frozen=True)
class Draft:
    """What was written into a form that could not be taken; `muting` says that it was the one of mutes."""

    reason: str = ""
    who: str = ""
    layers: str = ""
    days: str = ""
    muting: bool = False


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
    muted: tuple[MutedRow, ...]
    muted_text: str
    runs: tuple[Choice, ...]
    replay: ReplayView | None
    replays: tuple[ReplayLink, ...]  # over the project
    replay_runs: str
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
    muted: Sequence[MutedFinding] = ()
    replays: Sequence[ProjectReplay] = ()


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
        mutable=(
            Choice("", "Choose a rule", True),
            *(_choice(item, None) for item in registry),
            Choice(EVERY_CODE, "every rule", False),
        ),
        rule=rule.code if rule else "",
        rule_name=rule.name if rule else "",
        rule_url=f"/rules/{rule.code}" if rule else "",
        rule_summary=rule.summary if rule else "",
        fields=_fields(rule, material.thresholds, draft or {}) if rule else (),
        own=_own(material.thresholds, registry),
        history=tuple(_change(item, registry) for item in reversed(material.history)),
        mutes=tuple(row for row in rows if not row.over),
        ended=tuple(row for row in rows if row.over),
        muted=tuple(_muted(item) for item in material.muted[:MOST_MUTED]),
        muted_text="the newest of them" if len(material.muted) > MOST_MUTED else "",
        runs=tuple(Choice(item.id, run_name(item), item.id == run) for item in material.runs),
        replay=replayed,
        replays=replay_links(material.replays),
        replay_runs=(draft or {}).get("runs", str(DEFAULT_RUNS)),
        problem=problem,
        draft=_draft(draft or {}),
        history_text=f"Every change so far ({formats.count(len(material.history))})",
        ended_text=f"What is over ({formats.count(sum(row.over for row in rows))})",
    )


def address(project: str, rule: str = "") -> str:
    """Gives the address of the page."""
    return "/settings?" + urlencode({"project": project, **({"rule": rule} if rule else {})})


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


def _muted(item: MutedFinding) -> MutedRow:
    url = f"/runs/{quote(item.run_id, safe='')}#finding-{item.finding}"
    return MutedRow(f"{item.code} {item.name}", item.run or item.run_id, url)


def _moment(milliseconds: int) -> Moment:
    return Moment(formats.utc(milliseconds), formats.iso(milliseconds))
