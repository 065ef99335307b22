"""Compares what the doctor says of each training of the corpus with what is wrong with it.

The findings that count are those a person is told of: open, of a warning or worse, and no consequence of another. One
that is not among the root causes of the training is a false alarm, also on a training that is sick of something else.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from server.charts import evidence
from server.diagnosis.engine import Engine
from server.diagnosis.lifecycle import Raised
from server.domain.findings import Finding, Severity
from server.downsample import buckets

PICTURE_POINTS = 120


@dataclass(frozen=True)
class Said:
    """One finding that nobody explained away."""

    code: str
    severity: str
    step: int
    message: str


@dataclass(frozen=True)
class Judged:
    """What the doctor said of one training; `root` is empty for a healthy one."""

    name: str
    root: tuple[str, ...]
    symptoms: tuple[str, ...]
    said: tuple[Said, ...]
    absorbed: tuple[str, ...]
    steps: int
    seconds: float
    source: str = ""
    pictures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by code, of the faulty ones

    @property
    def hit(self) -> Said | None:
        """The finding that names the root cause, the top one first."""
        return next((item for item in self.said if item.code in self.root), None)

    @property
    def alarms(self) -> tuple[Said, ...]:
        """The findings that are not the root cause."""
        return tuple(item for item in self.said if item.code not in self.root)

    @property
    def top(self) -> str:
        """The code on the top line; "" where nothing was said."""
        return self.said[0].code if self.said else ""


def judge(
    name: str, engine: Engine, seconds: float, root: tuple[str, ...], symptoms: tuple[str, ...], source: str
) -> Judged:
    """Reads the findings of an engine that has finished."""
    told = [item for item in engine.findings if item.open and item.verdict.severity is not Severity.INFO]
    tops = sorted((item for item in told if item.cause is None), key=_rank)
    return Judged(
        name=name,
        root=root,
        symptoms=symptoms,
        said=tuple(
            Said(item.code, item.verdict.severity.value, item.raised_step, item.verdict.message) for item in tops
        ),
        absorbed=tuple(sorted({item.code for item in told if item.cause is not None})),
        steps=len(engine.evidence.closed.steps),
        seconds=round(seconds, 2),
        source=source,
        pictures=_pictures(name, engine) if root else {},
    )


def _pictures(training: str, engine: Engine) -> dict[str, dict[str, Any]]:
    """Draws the evidence of every open finding, as its page would, for the rule's page."""
    found: dict[str, dict[str, Any]] = {}
    levels = {course.rule.code: course.rule.levels for course in engine.courses}
    for item in engine.findings if engine.judged_step >= 0 else ():
        named = item.verdict.evidence.series
        # what rests on facts alone is seen in no series: then the loss shows what became of it
        name = next((one for one in (*named, "loss") if engine.evidence.series(one, engine.judged_step)), None)
        if name is None or not item.open:
            continue
        track = engine.evidence.series(name, engine.judged_step)
        finding = Finding(
            "", 1, item.code, "", 1, item.verdict.severity, "open", item.verdict.first_step, item.raised_step,
            item.last_step, item.verdict.message, item.verdict.advice, evidence=item.verdict.evidence,
        )  # fmt: skip
        start, stop = evidence.span_of(finding)
        near = (track.steps >= start) & (track.steps <= stop)
        cut = buckets(track.steps[near], track.steps[near], track.values[near], PICTURE_POINTS)
        words = levels[item.code] if named and name == named[0] else {}
        drawn = evidence.draw(finding, name, cut, words) if near.any() else None
        if drawn is not None:
            about = {"training": training, "message": finding.message, "severity": finding.severity.value}
            found[item.code] = {**about, "picture": asdict(drawn)}
    return found


def _rank(item: Raised) -> tuple[int, int, int]:
    return -item.verdict.severity.rank, item.stage, item.raised_step


@dataclass
class Score:
    """The corpus in numbers."""

    healthy: int = 0
    silent: int = 0
    faults: int = 0
    named: int = 0
    named_on_top: int = 0
    right: int = 0
    wrong: int = 0
    rules: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    detection: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    confusion: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    misses: list[Judged] = field(default_factory=list)
    alarms: list[tuple[str, Said]] = field(default_factory=list)

    @property
    def precision(self) -> float:
        """Share of the told findings that name the root cause."""
        return self.right / max(self.right + self.wrong, 1)

    @property
    def recall(self) -> float:
        """Share of the faults whose root cause is named."""
        return self.named / max(self.faults, 1)


def score(judged: Iterable[Judged]) -> Score:
    """Counts."""
    total = Score()
    for item in judged:
        for said in item.alarms:
            total.wrong += 1
            total.rules[said.code]["false"] += 1
            total.alarms.append((item.name, said))
        if not item.root:
            total.healthy += 1
            total.silent += not item.said
            continue
        total.faults += 1
        total.rules[item.root[0]]["faults"] += 1
        total.confusion[item.root[0]][item.top or "silent"] += 1
        total.named_on_top += item.top in item.root
        hits = {said.code for said in item.said if said.code in item.root}
        total.right += len(hits)
        for code in hits:
            total.rules[code]["hits"] += 1
        if item.hit is None:
            total.misses.append(item)
        else:
            total.named += 1
            total.detection[item.hit.code].append(item.hit.step)
    return total


def as_json(total: Score, judged: Iterable[Judged], known: Mapping[str, str]) -> dict[str, Any]:
    """Makes the JSON object that the catalogue page shows."""
    return {
        "healthy": total.healthy,
        "healthy_silent": total.silent,
        "faults": total.faults,
        "named": total.named,
        "named_on_top": total.named_on_top,
        "precision": round(total.precision, 4),
        "recall": round(total.recall, 4),
        "rules": {
            code: {
                "name": known.get(code, ""),
                **{key: total.rules[code][key] for key in ("faults", "hits", "false")},
                "steps_to_finding": sorted(total.detection[code])[len(total.detection[code]) // 2]
                if total.detection[code]
                else None,
            }
            for code in sorted(total.rules)
        },
        "pictures": _one_a_rule(judged),
        "confusion": {code: dict(found) for code, found in sorted(total.confusion.items())},
        "misses": [
            {"name": item.name, "root": item.root, "said": [asdict(said) for said in item.said]}
            for item in total.misses
        ],
        "false_alarms": [{"name": name, **asdict(said)} for name, said in total.alarms],
        "trainings": [
            {"name": item.name, "root": item.root, "top": item.top, "steps": item.steps, "source": item.source}
            for item in judged
        ],
    }


def _one_a_rule(judged: Iterable[Judged]) -> dict[str, Mapping[str, Any]]:
    """Chooses a picture for each rule: of a training that is sick of just that, else of any."""
    best: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for item in judged:
        for code, picture in item.pictures.items():
            worth = 2 * (code in item.root) + (code == item.top) + bool(picture["picture"]["levels"])
            if code not in best or worth > best[code][0]:
                best[code] = worth, picture
    return {code: picture for code, (_, picture) in sorted(best.items())}


def as_text(total: Score, known: Mapping[str, str]) -> str:
    """Makes the table that a person reads."""
    lines = [
        f"healthy trainings   {total.silent} of {total.healthy} without a warning",
        f"faults named        {total.named} of {total.faults} ({total.named_on_top} on the top line)",
        f"precision           {total.precision:.3f}  ({total.right} right, {total.wrong} wrong findings)",
        f"recall              {total.recall:.3f}",
        "",
        f"{'rule':42} {'faults':>6} {'hits':>5} {'false':>5} {'median step':>12}",
    ]
    for code in sorted(total.rules):
        steps = sorted(total.detection[code])
        middle = f"{steps[len(steps) // 2]}" if steps else "-"
        counts = total.rules[code]
        lines.append(
            f"{code} {known.get(code, ''):36} {counts['faults']:6} {counts['hits']:5} {counts['false']:5} {middle:>12}"
        )
    lines += ["", "root cause → what the top line said"]
    lines += [
        f"{code} → {', '.join(f'{top} ×{n}' for top, n in found.most_common())}"
        for code, found in sorted(total.confusion.items())
    ]
    lines += ["", "misses"] + [
        f"  {item.name}: wanted {' or '.join(item.root)}, said {item.top or 'nothing'}" for item in total.misses
    ]
    lines += ["", "false alarms"] + [
        f"  {name}: {said.code} {said.severity} at step {said.step}: {said.message}" for name, said in total.alarms
    ]
    return "\n".join(lines)
