"""Counts what the doctor said of all trainings of the corpus, and writes it for people and for the catalogue page.

Not for: judging one training (judge).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from statistics import median_low
from typing import Any

from tests.corpus.explained import EXPLAINED
from tests.corpus.judge import Judged, Said

COUNTS = ("faults", "hits", "symptoms", "unlabelled", "false", "healthy_remarks")


@dataclass
class Score:
    """The corpus in numbers; faults that deserve a remark alone are counted beside the others."""

    healthy: int = 0
    silent: int = 0
    faults: int = 0
    named: int = 0
    named_on_top: int = 0
    mild: int = 0
    mild_named: int = 0
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
        if item.root:
            _count_fault(total, item)
            continue
        total.healthy += 1
        total.silent += not item.said
        for code in {said.code for said in item.remarks}:
            total.rules[code]["healthy_remarks"] += 1
    return total


def _count_fault(total: Score, item: Judged) -> None:
    total.rules[item.root[0]]["faults"] += 1
    total.confusion[item.root[0]][item.top or "silent"] += 1
    hits = {said.code for said in item.hits}
    for code in hits:
        total.rules[code]["hits"] += 1
        total.detection[code].append(max(min(said.step for said in item.hits if said.code == code) - item.begins, 0))
    for said in item.below:
        if said.code in (*item.symptoms, *item.root):
            total.rules[said.code]["symptoms"] += said.code not in hits
        elif said.severity != "info":  # a remark about something else stands below a cause by chance
            total.rules[said.code]["unlabelled"] += 1
    if item.mild:
        total.mild += 1
        total.mild_named += bool(hits)
    else:
        total.faults += 1
        total.named += bool(hits)
        total.named_on_top += item.top in item.root
        total.right += len(hits)
    if not hits:
        total.misses.append(item)


def as_json(
    total: Score,
    judged: Iterable[Judged],
    known: Mapping[str, str],
    beside: Mapping[str, str],
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Makes the JSON object that the catalogue page shows; `beside` says of rules why no training here shows them, and
    `digests` as what they were written when they were run."""
    return {
        "healthy": total.healthy,
        "healthy_silent": total.silent,
        "faults": total.faults,
        "named": total.named,
        "named_on_top": total.named_on_top,
        "mild": total.mild,
        "mild_named": total.mild_named,
        "precision": round(total.precision, 4),
        "recall": round(total.recall, 4),
        "rules": {
            code: {
                "name": known.get(code, ""),
                **{key: total.rules[code][key] for key in COUNTS},
                "steps_to_finding": _middle(total, code),
                **({"beside": beside[code]} if code in unseen(total, known) and code in beside else {}),
            }
            for code in sorted({*known, *total.rules})
        },
        "digests": dict(digests or {}),
        "pictures": _one_a_rule(judged),
        "confusion": {code: dict(found) for code, found in sorted(total.confusion.items())},
        "misses": [
            {"name": item.name, "root": item.root, "said": [asdict(said) for said in item.said], **_why(item.name)}
            for item in total.misses
        ],
        "false_alarms": [{"name": name, **asdict(said), **_why(name)} for name, said in total.alarms],
        "trainings": [
            {"name": item.name, "root": item.root, "top": item.top, "steps": item.steps, "source": item.source}
            for item in judged
        ],
    }


def _why(name: str) -> dict[str, str]:
    return {"why": EXPLAINED[name]} if name in EXPLAINED else {}


def unseen(total: Score, known: Iterable[str]) -> set[str]:
    """Lists the rules that were told neither as a cause nor as a labelled symptom."""
    return {code for code in known if not total.rules[code]["hits"] + total.rules[code]["symptoms"]}


def _middle(total: Score, code: str) -> int | None:
    return median_low(total.detection[code]) if total.detection[code] else None


def _one_a_rule(judged: Iterable[Judged]) -> dict[str, Mapping[str, Any]]:
    """Chooses a picture for each rule: of a training that is sick of just that, else of any."""
    best: dict[str, tuple[int, Mapping[str, Any]]] = {}
    for item in judged:
        for code, picture in item.pictures.items():
            worth = 2 * (code in item.root) + (code == item.top) + bool(picture["picture"]["levels"])
            if code not in best or worth > best[code][0]:
                best[code] = worth, picture
    return {code: picture for code, (_, picture) in sorted(best.items())}


def as_text(total: Score, known: Mapping[str, str], beside: Mapping[str, str]) -> str:
    """Makes the table that a person reads."""
    lines = [
        f"healthy trainings   {total.silent} of {total.healthy} without a warning",
        f"faults named        {total.named} of {total.faults} ({total.named_on_top} on the top line)",
        f"worth a remark      {total.mild_named} of {total.mild} remarked upon",
        f"precision           {total.precision:.3f}  ({total.right} right, {total.wrong} wrong findings)",
        f"recall              {total.recall:.3f}",
        "",
        f"{'rule':42} {'faults':>6} {'named':>6} {'symptom':>8} {'other':>6} {'false':>6} {'healthy':>8} {'step':>8}",
    ]
    for code in sorted({*known, *total.rules}):
        counts, middle = total.rules[code], _middle(total, code)
        lines.append(
            f"{code} {known.get(code, ''):36} {counts['faults']:6} {counts['hits']:6} {counts['symptoms']:8} "
            f"{counts['unlabelled']:6} {counts['false']:6} {counts['healthy_remarks']:8} "
            f"{'-' if middle is None else middle:>8}"
        )
    lines += ["", "named: as the cause; symptom: below the cause, as its label says; other: below it, without a label;"]
    lines += ["false: warnings that are not the cause; healthy: healthy trainings with a remark;"]
    lines += ["step: the median from where there is anything to see of the fault to the finding"]
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
    lines += ["", "rules that no training here shows"]
    lines += [f"  {code} {known[code]}: {beside.get(code, 'NOT SHOWN')}" for code in sorted(unseen(total, known))]
    return "\n".join(lines)
