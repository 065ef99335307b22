"""What the corpus says of the catalogue, and the rules that are still to come, as the catalogue page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from server.rules._corpus import corpus, digest
from server.rules._planned import PLANNED
from server.rules.registry import Registry
from server.web import formats


@dataclass(frozen=True)
class ProofRow:
    """One rule of the corpus: how often it was asked for, told as the cause, as a symptom, and wrong.

    `others` counts where it stood below the cause without a label that says so; `healthy` the healthy trainings on
    which it made a remark.
    """

    code: str
    name: str
    url: str
    faults: int
    hits: int
    symptoms: int
    others: int
    false: int
    healthy: int
    steps: str


@dataclass(frozen=True)
class Beside:
    """A rule that no training of the corpus shows: why, and what shows it."""

    code: str
    name: str
    url: str
    sentence: str


@dataclass(frozen=True)
class Confused:
    """What the top line said where one rule's fault was the root cause: each answer with how often it came."""

    code: str
    url: str
    answers: tuple[tuple[str, int], ...]  # (code or "nothing", trainings), the right one first


@dataclass(frozen=True)
class Wrong:
    """A miss or a false alarm, in a sentence."""

    training: str
    sentence: str


@dataclass(frozen=True)
class HeldOut:
    """A set of trainings that no rule was tuned on, as it came the first time that it was run."""

    lead: str
    wrong: tuple[Wrong, ...]
    reasons: str  # the file that says why


@dataclass(frozen=True)
class PlannedRow:
    """One rule to come, and what it waits for."""

    code: str
    name: str
    summary: str
    missing: str


@dataclass(frozen=True)
class Left:
    """A rule of a team that could not be loaded."""

    source: str
    sentence: str


@dataclass(frozen=True)
class CheckedRow:
    """One check of preflight: what it said of the models of the corpus before their training."""

    code: str
    name: str
    url: str
    passed: int
    remarks: int
    false: int
    sick: int


@dataclass(frozen=True)
class ProofView:
    """The corpus in numbers, with every miss and every false alarm; empty where it has not been run."""

    lead: str
    changed: tuple[str, ...]  # codes of the rules that were written anew since
    rows: tuple[ProofRow, ...]
    beside: tuple[Beside, ...]
    confusion: tuple[Confused, ...]
    misses: tuple[Wrong, ...]
    alarms: tuple[Wrong, ...]
    held_out: tuple[HeldOut, ...]  # the newest set first
    planned: tuple[PlannedRow, ...]
    left_out: tuple[Left, ...]
    switched_off: tuple[Left, ...]
    checked_lead: str
    checked: tuple[CheckedRow, ...]


def proof_view(
    registry: Registry, found: Mapping[str, Any] | None = None, off: Mapping[str, str] | None = None
) -> ProofView:
    """Reads the corpus' output and the list of planned rules."""
    found = corpus() if found is None else found
    rules = found.get("rules", {})
    return ProofView(
        lead=_lead(found) if found else "",
        changed=_changed(registry, found.get("digests") or {}),
        rows=tuple(_row(code, item) for code, item in rules.items() if _is_shown(item)),
        beside=tuple(_beside(code, item) for code, item in rules.items() if item.get("beside") or not _is_shown(item)),
        confusion=tuple(_confused(code, item) for code, item in (found.get("confusion") or {}).items()),
        misses=_misses(found),
        alarms=_alarms(found),
        held_out=_held_out(found.get("held_out") or {}),
        planned=tuple(PlannedRow(item.code, item.name, item.summary, item.missing) for item in PLANNED),
        left_out=tuple(Left(item.source, item.sentence) for item in registry.problems),
        switched_off=tuple(_off(registry, code, why) for code, why in sorted((off or {}).items())),
        checked_lead=_checked_lead(found.get("preflight") or {}),
        checked=tuple(_checked(code, item) for code, item in (found.get("preflight") or {}).get("checks", {}).items()),
    )


def _changed(registry: Registry, digests: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(
        item.code
        for item in registry
        if not item.guest and digests and digests.get(item.code) != digest(type(item.rule))
    )


def _off(registry: Registry, code: str, why: str) -> Left:
    rule = registry.get(code)
    return Left(f"{code} {rule.name}" if rule else code, why)


def _held_out(sets: Mapping[str, Mapping[str, Any]]) -> tuple[HeldOut, ...]:
    return tuple(
        HeldOut(
            f"The {name} set of them: {_lead(found)}",
            (*_misses(found), *_alarms(found)),
            f"tests/corpus/{name}/README.md",
        )
        for name, found in reversed(list(sets.items()))
    )


def _misses(found: Mapping[str, Any]) -> tuple[Wrong, ...]:
    return tuple(
        Wrong(item["name"], f"wanted {' or '.join(item['root'])}, said {_said(item['said'])}{_why(item)}")
        for item in found.get("misses", ())
    )


def _alarms(found: Mapping[str, Any]) -> tuple[Wrong, ...]:
    return tuple(
        Wrong(item["name"], f"{item['code']} {item['severity']} at step {item['step']}: {item['message']}{_why(item)}")
        for item in found.get("false_alarms", ())
    )


def _checked_lead(found: Mapping[str, object]) -> str:
    if not found:
        return ""
    healthy, sick = int(str(found["healthy"])), int(str(found["sick"]))
    return (
        f"Preflight was run on {formats.plural(healthy, 'healthy model')} and {sick} sick ones before training. A "
        "fault of the loop or of the schedule does not show there."
    )


def _checked(code: str, item: Mapping[str, object]) -> CheckedRow:
    passed, remarks, false, sick = (int(str(item[key])) for key in ("passed", "info", "false", "sick"))
    return CheckedRow(code, str(item.get("name") or ""), _url(code), passed, remarks, false, sick)


def _lead(found: Mapping[str, object]) -> str:
    recall, precision = float(str(found["recall"])), float(str(found["precision"]))
    return (
        f"{found['healthy_silent']} of {found['healthy']} healthy trainings got no warning. Of "
        f"{formats.plural(int(str(found['faults'])), 'faulty training')} the root cause was named in {found['named']} "
        f"({recall:.0%}); {precision:.0%} of all findings that were told name a root cause."
        + _remarks(found)
        + _soak(found)
    )


def _remarks(found: Mapping[str, object]) -> str:
    """Tells of the mistakes that deserve a remark and no warning."""
    mild = int(str(found.get("mild") or 0))
    return f" Of {formats.plural(mild, 'mistake')} worth a remark alone, {found['mild_named']} got it." if mild else ""


def _soak(found: Mapping[str, object]) -> str:
    """Tells of the healthy trainings that are long."""
    soak = found.get("soak")
    if not isinstance(soak, Mapping):
        return ""
    steps = formats.count(int(str(soak["steps"])))
    return f" Of {soak['trainings']} healthy trainings of {steps} steps {soak['silent']} got no warning."


def _is_shown(item: Mapping[str, Any]) -> bool:
    """Says whether a training of the corpus is sick of it, or was said to be."""
    return any(item.get(key) for key in ("faults", "hits", "symptoms", "false"))


def _row(code: str, item: Mapping[str, Any]) -> ProofRow:
    steps = item.get("steps_to_finding")
    return ProofRow(
        code=code,
        name=str(item.get("name") or ""),
        url=_url(code),
        faults=int(item["faults"]),
        hits=int(item["hits"]),
        symptoms=int(item.get("symptoms") or 0),
        others=int(item.get("unlabelled") or 0),
        false=int(item["false"]),
        healthy=int(item.get("healthy_remarks") or 0),
        steps="" if steps is None else formats.count(int(steps)),
    )


def _beside(code: str, item: Mapping[str, Any]) -> Beside:
    return Beside(code, str(item.get("name") or ""), _url(code), str(item.get("beside") or "Nothing shows it yet"))


def _confused(code: str, answers: Mapping[str, int]) -> Confused:
    by_count = sorted(answers.items(), key=lambda answer: (answer[0] != code, -answer[1], answer[0]))
    return Confused(code, _url(code), tuple(by_count))


def _url(code: str) -> str:
    return "/rules/" + quote(code, safe="")


def _why(item: Mapping[str, Any]) -> str:
    return f". {item['why']}" if item.get("why") else ""


def _said(said: list[dict[str, object]]) -> str:
    return ", ".join(str(item["code"]) for item in said) or "nothing"
