"""Replays, ready to print: what one run would have said, and over a project how far it is and what would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from server.diagnosis.differences import ProjectReplay, ReplayState, RunDifference, Told, sorts_of
from server.diagnosis.replay import Replay
from server.domain.findings import Finding
from server.domain.runs import Run
from server.rules.registry import RuleInfo
from server.web import formats

MOST_RUNS_SHOWN = 100
MOST_FINDINGS = 50


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
class ReplayView:
    """What a run would have said."""

    title: str
    run: str
    run_url: str
    groups: tuple[ReplayGroup, ...]
    same: str
    renewed: tuple[str, ...]  # a sentence for each rule that has changed since it spoke, or was switched off


@dataclass(frozen=True)
class Line:
    """One finding that would appear or vanish."""

    severity: str
    code: str
    name: str
    url: str
    message: str
    step: str


@dataclass(frozen=True)
class Lines:
    """The findings of one run that would appear, vanish, or be said otherwise."""

    title: str
    sign: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class RunPart:
    """What would change in one run."""

    name: str
    url: str
    groups: tuple[Lines, ...]
    problem: str


@dataclass(frozen=True)
class RulePart:
    """How often one rule would differ."""

    code: str
    name: str
    url: str
    appear: str
    vanish: str
    otherwise: str


@dataclass(frozen=True)
class ProjectReplayView:
    """The page. `working` says that more is to come; `summary` counts what would change so far."""

    project: str
    title: str
    settings_url: str
    fragment_url: str
    stop_url: str
    working: bool
    done: int
    total: int
    progress: str
    summary: str
    rules: tuple[RulePart, ...]
    runs: tuple[RunPart, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ReplayLink:
    """Leads to a replay from the settings page."""

    url: str
    title: str
    words: str


def address(replay_id: str) -> str:
    """Gives the address of a replay's page."""
    return "/settings/replays/" + quote(replay_id, safe="")


def project_replay_view(found: ProjectReplay) -> ProjectReplayView:
    """Makes the page."""
    codes = list(found.thresholds)
    settings = {"project": found.project, **({"rule": codes[0]} if len(codes) == 1 else {})}
    changed = [run for run in found.runs if run.differs or run.problem]
    return ProjectReplayView(
        project=found.project,
        title=_title(found),
        settings_url="/settings?" + urlencode(settings),
        fragment_url=address(found.id) + "/fragment",
        stop_url=address(found.id) + "/stop",
        working=found.state is ReplayState.RUNNING,
        done=found.done,
        total=found.total,
        progress=_progress(found),
        summary=_summary(found),
        rules=tuple(
            RulePart(
                item.code,
                item.name,
                f"/rules/{quote(item.code, safe='')}",
                formats.count(item.appear),
                formats.count(item.vanish),
                formats.count(item.otherwise),
            )
            for item in found.rules
        ),
        runs=tuple(_run(run) for run in changed[:MOST_RUNS_SHOWN]),
        notes=_notes(found, len(changed)),
    )


def replay_links(known: Sequence[ProjectReplay]) -> tuple[ReplayLink, ...]:
    """Makes the links of the settings page."""
    return tuple(ReplayLink(address(item.id), _title(item), _progress(item)) for item in known)


def _title(found: ProjectReplay) -> str:
    said = [
        f"{code} with " + ", ".join(f"{name} = {formats.number(value)}" for name, value in values.items())
        if values
        else f"{code} as it is now"
        for code, values in found.thresholds.items()
    ]
    return "; ".join(said) or "all rules as they are now"


def _progress(found: ProjectReplay) -> str:
    runs = f"{formats.count(found.done)} of {formats.plural(found.total, 'run')}"
    return {
        ReplayState.RUNNING: f"{runs} judged so far" if found.total else "it looks for the runs",
        ReplayState.DONE: f"{formats.plural(found.total, 'run')} judged" if found.total else "no run could be judged",
        ReplayState.STOPPED: f"stopped after {runs}",
        ReplayState.OUT_OF_TIME: f"out of time after {runs}",
    }[found.state]


def _summary(found: ProjectReplay) -> str:
    appear, vanish = (sum(getattr(item, sort) for item in found.rules) for sort in ("appear", "vanish"))
    otherwise = sum(item.otherwise for item in found.rules)
    working = found.state is ReplayState.RUNNING
    if not found.rules and not found.done:
        return "Nothing has been judged yet." if working else "Nothing was judged."
    if not found.rules:
        return "Nothing would change so far." if working else "Nothing would change."
    runs = formats.plural(sum(run.differs for run in found.runs), "run")
    parts = [
        f"{formats.plural(count, 'finding')} would {words}"
        for count, words in ((appear, "appear"), (vanish, "vanish"), (otherwise, "be said otherwise"))
        if count
    ]
    return f"{', '.join(parts)}, in {runs}{' so far' if working else ''}."


def _run(run: RunDifference) -> RunPart:
    groups = (
        Lines(title, sign, _lines(told))
        for title, sign, told in (
            ("would appear", "+", run.appear),
            ("would vanish", "−", run.vanish),
            ("would be said otherwise", "≠", run.otherwise),
        )
        if told
    )
    return RunPart(run.name, "/runs/" + quote(run.run_id, safe=""), tuple(groups), run.problem)


def _lines(told: Iterable[Told]) -> tuple[Line, ...]:
    return tuple(
        Line(
            item.severity,
            item.code,
            item.name,
            f"/rules/{quote(item.code, safe='')}",
            item.message,
            f"step {formats.count(item.step)}",
        )
        for item in told
    )


def _notes(found: ProjectReplay, changed: int) -> tuple[str, ...]:
    notes = [
        f"{code}: what is stored was said by version {before} of the rule, this by version {now}."
        for code, before, now in found.renewed
    ]
    notes += [f"{code} was not asked, because it was switched off: {why}." for code, why in found.unasked]
    if found.left_out:
        notes.append(
            f"{formats.plural(found.left_out, 'run')} of which the diagnosis is not final yet "
            f"{'was' if found.left_out == 1 else 'were'} left out."
        )
    if changed > MOST_RUNS_SHOWN:
        notes.append(f"The newest {MOST_RUNS_SHOWN} of {formats.count(changed)} runs with a change are shown.")
    if found.problem:
        notes.append(found.problem)
    return tuple(notes)


def replay_view(run: Run, rule: RuleInfo, thresholds: Mapping[str, float], result: Replay) -> ReplayView:
    """Says what a replay with these changed thresholds would change."""
    appear, vanish, otherwise = sorts_of(result)
    said = ", ".join(f"{name} = {formats.number(value)}" for name, value in thresholds.items())
    same = formats.plural(result.same, "finding stays as it is", "findings stay as they are")
    return ReplayView(
        title=f"{rule.code} {rule.name} " + (f"with {said}" if said else "with its thresholds as they are"),
        run=run_name(run),
        run_url=f"/runs/{run.id}",
        groups=tuple(
            ReplayGroup(title, sign, _replayed(found))
            for title, sign, found in (
                ("It would say, and did not", "+", appear),
                ("It said, and would not", "−", vanish),
                ("It would say otherwise", "≠", otherwise),
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


def run_name(run: Run) -> str:
    """Names a run."""
    return run.name or run.id
