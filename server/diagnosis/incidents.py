"""Makes incidents of a run's findings: the most probable cause, what followed from it and when, how sure that is, and
what would disprove it.

Works on stored findings, so a page, an API answer and a replay show the same. Not for: deciding what absorbs what
(causes.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from server.diagnosis.unexplained import behind_a_mute, checks_of, is_unexplained, what_to_check
from server.diagnosis.urgency import most_urgent_first, stage_of
from server.domain.findings import Finding, Severity
from server.rules._corpus import proof
from server.rules.base import Stage
from server.rules.registry import Registry

MOST_INFERRED = 0.94  # however often a statistic was right
EXACT_CONFIDENCE = 0.95  # an exact fact is seen, not inferred; what it explains is still a guess
UNPROVEN_CONFIDENCE = 0.6  # a statistic that no training of the corpus concerns
LEAST, MOST = 0.3, 0.98

DISPROOFS: Mapping[Stage, str] = {
    Stage.DATA: "Print one batch where it is made: if its values and labels are as they should be, the cause is "
    "another.",
    Stage.STRUCTURE: "Take one step by hand and compare the parameters before and after: if all of them that should "
    "change do, the cause is another.",
    Stage.OUTPUT: "Print the outputs and targets of one batch before the loss: if every target can be reached, the "
    "cause is another.",
    Stage.INITIALISATION: "Start once more with PyTorch's own initialisation: if nothing gets better, the cause is "
    "another.",
    Stage.FIRST_SIGNAL: "Start once more with PyTorch's own initialisation: if nothing gets better, the cause is "
    "another.",
    Stage.OPTIMISER: "Print the optimizer's settings and scheduler.get_last_lr() at a few steps: if they are what you "
    "meant, the cause is another.",
    Stage.DECAY: "Train 200 steps without the penalty: if the loss falls no faster, the cause is another.",
    Stage.EARLY_RATE: "Train 100 steps at a tenth of the learning rate: if the start looks the same, the cause is "
    "another.",
    Stage.GRADIENT: "Compare the gradient norms of the first and last layer: if they are of one order, the cause is "
    "another.",
    Stage.NONFINITE_ACTIVATION: "Turn on torch.autograd.set_detect_anomaly(True) for one such step: if another "
    "operation is named first, that one is the cause.",
    Stage.NONFINITE_GRADIENT: "Print whether torch.isfinite(p.grad).all() holds for each parameter right after "
    "backward, before anything unscales or clips: if it does, the cause is what comes after backward.",
    Stage.NONFINITE_LOSS: "Print torch.isfinite(outputs).all() just before the loss of that step is computed: if it is "
    "False, the values broke before the loss, and the cause is there.",
    Stage.REGULARISATION: "Evaluate the same batch in train and in eval mode: if the losses agree, the cause is "
    "another.",
    Stage.STATISTICS: "Repeat with another seed: if the two curves do not part again, it was chance.",
    Stage.GENERALISATION: "Look at ten training examples with their labels: if they belong together, the cause is "
    "another.",
    Stage.STARVED: "Train as long with a quarter of the batch: if the loss falls no further, the cause is another.",
    Stage.LOW_RATE: "Train 100 steps at ten times the learning rate: if the loss falls no faster, the cause is "
    "another.",
    Stage.STOPPED: "Train half as long again: if the loss falls no further, the cause is another.",
    Stage.BASELINE: "Train once more on inputs of zeros: if the loss ends surely higher, the inputs are used, and the "
    "cause is another.",
    Stage.FIRST_LOSS: "Compute the loss of one batch with zero logits: if it is as high, the cause is another.",
}
SETTING = (
    "Look at how the run was started and what it reports: if that is meant so, nothing is wrong; mute it and say why."
)
LAST_WORD = "If none of the advice changes the curve within a few hundred steps, the cause is another."

# what the rules about outputs say of a softmax or a sigmoid can be seen in the numbers that the loss is given
OUTPUT_RULES = ("GW202", "GW212")
SEEN_IN_OUTPUTS = {
    re.compile(r"softmax over a single number"): "Print what the loss is given for one batch: if not every value is 1, "
    "it passed no softmax, and the cause is another.",
    re.compile(r"softmax is applied twice|pass a softmax twice"): "Print the numbers just before the last softmax, be "
    "it the loss's own: if their rows do not sum to 1, they passed no softmax before, and the cause is another.",
    re.compile(r"got probabilities|a softmax gave|so they sum to 1"): "Print what the loss is given for one batch: if "
    "the rows of it do not sum to 1, it passed no softmax, and the cause is another.",
    re.compile(r"the output of a sigmoid|pass a sigmoid twice"): "Print the numbers just before the last sigmoid, be "
    "it the loss's own: if some lie outside of 0 to 1, they passed no sigmoid before, and the cause is another.",
}


@dataclass(frozen=True)
class Moment:
    """Something that happened in an incident; `cause` marks its beginning."""

    step: int
    code: str
    name: str
    number: int
    severity: Severity
    message: str
    cause: bool


@dataclass(frozen=True)
class Incident:
    """One cause with all that followed from it. `confidence` is between 0 and 1.

    `disproof` says what would show that the cause is wrong. Where only a symptom is known, `checks` lists where to look
    for its cause, the first first, and `disproof` is that in a sentence.
    """

    cause: Finding
    symptoms: tuple[Finding, ...]
    timeline: tuple[Moment, ...]
    confidence: float
    because: str
    disproof: str
    checks: tuple[str, ...] = ()

    @property
    def cause_known(self) -> bool:
        """Says whether its first finding is a cause, and no symptom that nothing explains, or only what was muted."""
        return not self.checks and not self.cause.behind

    @property
    def layers(self) -> tuple[str, ...]:
        """All layers concerned, those of the cause first."""
        names = [name for finding in (self.cause, *self.symptoms) for name in finding.layers]
        return tuple(dict.fromkeys(names))


def incidents(findings: Iterable[Finding], registry: Registry) -> tuple[Incident, ...]:
    """Groups the open findings, the most probable cause of the run first. What is muted is left out; what followed from
    it is told by itself.
    """
    known = [item for item in most_urgent_first(findings, registry) if item.state == "open" and not item.muted]
    below: dict[int, list[Finding]] = {}
    for finding in known:
        if finding.cause is not None:
            below.setdefault(finding.cause, []).append(finding)
    return tuple(_incident(top, _all_below(top.number, below), registry) for top in known if top.cause is None)


def _all_below(number: int, below: Mapping[int, Sequence[Finding]]) -> list[Finding]:
    found: list[Finding] = []
    waiting = list(below.get(number, ()))
    while waiting:
        finding = waiting.pop()
        if finding.number not in {item.number for item in found}:
            found.append(finding)
            waiting += below.get(finding.number, ())
    return sorted(found, key=lambda item: (item.first_step, item.number))


def _incident(cause: Finding, symptoms: Sequence[Finding], registry: Registry) -> Incident:
    confidence, because = _confidence(cause, symptoms, registry)
    moments = [_moment(cause, cause, begins=True), *(_moment(item, cause) for item in symptoms)]
    return Incident(
        cause=cause,
        symptoms=tuple(symptoms),
        timeline=tuple(sorted(moments, key=lambda item: (item.step, not item.cause, item.number))),
        confidence=confidence,
        because=because,
        disproof=f"{behind_a_mute(cause.behind)}."
        if cause.behind
        else what_to_check(cause.code, cause.message) or _disproof(cause, registry),
        checks=() if cause.behind else checks_of(cause.code, cause.message),
    )


def _disproof(cause: Finding, registry: Registry) -> str:
    info = registry.get(cause.code)
    if info is not None and info.rule.aside:
        return SETTING
    seen = SEEN_IN_OUTPUTS if cause.code in OUTPUT_RULES else {}
    look = next((look for said, look in seen.items() if said.search(cause.message)), "")
    return look or DISPROOFS.get(stage_of(cause, registry), LAST_WORD)


def _moment(finding: Finding, cause: Finding, *, begins: bool = False) -> Moment:
    step = max(_after(finding, cause), 0)
    return Moment(step, finding.code, finding.name, finding.number, finding.severity, finding.message, cause=begins)


def _after(finding: Finding, cause: Finding) -> int:
    """Gives the step at which a finding takes its place behind its cause: what is judged over the whole run counts from
    the first step on, and was seen much later."""
    return finding.first_step if finding.first_step >= cause.first_step else finding.raised_step


def _confidence(cause: Finding, symptoms: Sequence[Finding], registry: Registry) -> tuple[float, str]:
    """Says how sure the cause is: seen or inferred, its record in the corpus, and whether symptoms bear it out."""
    if cause.behind:
        return LEAST, "it is a symptom, and its cause was muted"
    if is_unexplained(cause.code):
        return LEAST, "it is a symptom, and no rule found what caused it"
    info = registry.get(cause.code)
    record = proof(cause.code)
    if info is not None and info.rule.exact:
        value, words = EXACT_CONFIDENCE, "it was seen, not inferred"
    elif record is not None and record.hits + record.false:
        value = record.precision
        words = f"in the corpus {record.hits} of {record.hits + record.false} such findings named the cause"
    else:
        value, words = UNPROVEN_CONFIDENCE, "how often this statistic is right was not measured"
    after = [item for item in symptoms if _after(item, cause) >= cause.first_step]
    if after:
        value += 0.1 * (1 - value) * min(len(after), 3)
        some = f"{len(after)} of {len(symptoms)}" if len(after) < len(symptoms) else f"{len(after)}"
        words += f"; {some} {'symptom' if len(symptoms) == 1 else 'symptoms'} followed"
    if cause.severity is Severity.INFO:
        value *= 0.8
    most = MOST if info is not None and info.rule.exact else MOST_INFERRED
    return round(min(max(value, LEAST), most), 2), words
