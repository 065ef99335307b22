"""Compares what the doctor says of a training of the corpus with what is wrong with it.

The findings that count are those a person is told of: open, of a warning or worse, and no consequence of another. One
that is not among the root causes of the training is a false alarm, also on a training that is sick of something else;
on a healthy one it is one even if it was taken back.
A mistake that deserves a remark alone (its rule knows nothing worse) is named by a remark. Not for: counting (score).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from server.charts import evidence
from server.diagnosis.engine import Engine
from server.diagnosis.lifecycle import Raised
from server.domain.findings import Finding, Severity
from server.domain.kinds import Kind
from server.downsample import buckets
from tests.corpus.diagnosis import Diagnosis
from tests.corpus.fault import AT_FIRST_EVALUATION

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
    steps: int = 0
    seconds: float = 0.0
    source: str = ""
    remarks: tuple[Said, ...] = ()  # of severity info, and no consequence of another
    below: tuple[Said, ...] = ()  # told as consequences of the root cause, remarks among them
    mild: bool = False  # deserves a remark alone
    begins: int = 0  # the first step at which there is anything to see of the mistake
    pictures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by code, of the faulty ones

    @property
    def hits(self) -> tuple[Said, ...]:
        """The findings that name the root cause, the top one first."""
        return tuple(item for item in (*self.said, *(self.remarks if self.mild else ())) if item.code in self.root)

    @property
    def hit(self) -> Said | None:
        """The first of them."""
        return next(iter(self.hits), None)

    @property
    def alarms(self) -> tuple[Said, ...]:
        """The findings that are not the root cause."""
        return tuple(item for item in self.said if item.code not in self.root)

    @property
    def top(self) -> str:
        """The code on the top line; "" where nothing was said."""
        return self.said[0].code if self.said else self.hit.code if self.mild and self.hit else ""


def judge(
    name: str, found: Diagnosis, seconds: float, root: tuple[str, ...], symptoms: tuple[str, ...], source: str,
    *, remark: bool = False, begins: int = 0,
) -> Judged:  # fmt: skip
    """Reads the findings of a training that has ended; `remark`: its mistake is harmless, and deserves no more."""
    # of a healthy training a warning that was taken back counts as well: somebody was told
    findings = [item for item in found.findings if item.open or not (root or _is_remark(item))]
    tops = sorted((item for item in findings if item.cause is None), key=_rank)
    told = {info: [_said(item) for item in tops if _is_remark(item) == info] for info in (False, True)}
    engine = found.engine
    worst = {course.rule.code: course.rule.severity for course in found.courses}
    return Judged(
        name=name,
        root=root,
        symptoms=symptoms,
        said=tuple(told[False]),
        steps=len(found.engine.evidence.closed.steps),
        seconds=round(seconds, 2),
        source=source,
        remarks=tuple(told[True]),
        below=_below(findings, root),
        begins=_first_evaluation(engine) if begins == AT_FIRST_EVALUATION else begins,
        mild=bool(root) and (remark or worst.get(root[0]) is Severity.INFO),
        pictures=_pictures(name, found) if root else {},
    )


def _first_evaluation(engine: Engine) -> int:
    """Gives the step that was open at the first evaluation."""
    names = engine.evidence.names(Kind.VALIDATION).values()
    return 1 + min((int(engine.evidence.series(name, engine.judged_step).steps[0]) for name in names), default=-1)


def _is_remark(item: Raised) -> bool:
    return item.verdict.severity is Severity.INFO


def _said(item: Raised) -> Said:
    return Said(item.code, item.verdict.severity.value, item.raised_step, item.verdict.message)


def _below(findings: Sequence[Raised], root: tuple[str, ...]) -> tuple[Said, ...]:
    """Lists what stands below a finding that names the root cause, at any depth."""
    known = {item.key: item for item in findings}
    below: dict[str, Said] = {}
    for item in findings:
        top = item
        while top.cause is not None and top.cause in known:
            top = known[top.cause]
        if top is not item and top.code in root:
            below.setdefault(item.code, _said(item))
    return tuple(below[code] for code in sorted(below))


def _pictures(training: str, diagnosis: Diagnosis) -> dict[str, dict[str, Any]]:
    """Draws the evidence of every open finding, as its page would, for the rule's page."""
    found: dict[str, dict[str, Any]] = {}
    engine = diagnosis.engine
    levels = {course.rule.code: course.rule.levels for course in diagnosis.courses}
    for item in diagnosis.findings if engine.judged_step >= 0 else ():
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
