"""GW955: a language model learns to copy its input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold

FEWEST, NEWEST = 3, 5  # samples of the model's answers


class LabelShiftError(Rule):
    """The run has a language model that copies its input

    ## What it does
    Where a model reads tokens and answers with a distribution for each place: its most likely answer is the token that
    it just read in more than 95 % of the places, in training or in validation, while the loss fell below a tenth of its
    start within the first 200 steps. Where attention lets no place see a later one, targets that are the tokens that
    stand there are enough: of a large vocabulary the loss takes thousands of steps to fall that far. So is a masked
    language model that is asked for every word: at least half of the targets that count are the tokens that stand
    there, one and the same token covers the others, and every place sees the whole text. That is a warning.

    ## Why it matters
    The labels are not shifted: the model is asked for what it sees, and learns nothing about language.

    ## What you see in the chart
    A loss that falls to zero in a hundred steps.

    ## What to try
    `loss(logits[:, :-1], tokens[:, 1:])`, or labels that are shifted where the data are made; not both. With masks:
    `labels[~masked] = -100`, which cross_entropy ignores.

    ## Example
    ```python
    F.cross_entropy(logits.transpose(1, 2), tokens)                        # wrong
    F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:])         # right
    ```

    ## References
    - Radford et al. 2018, *Improving Language Understanding by Generative Pre-Training*: next-token prediction.
    - Devlin et al. 2019, *BERT*: only the masked words are predicted, rather than the entire input.
    - 95 % and 200 steps are ours.
    """

    code = "GW955"
    name = "label-shift-error"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 3
    chart = "loss"
    tier = "facts"
    clears_after = None
    gates = ("finetune", "resumed")
    stage = Stage.DATA
    exact = True
    levels = {"start": "first losses"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What a copy is."""

        copies: float = threshold(
            0.95, unit="of the places", low=0.5, high=1.0, source="ours: no text repeats that much"
        )
        steps: int = threshold(200, unit="steps", low=20, high=10_000, source="ours: language is not learned that fast")
        share: float = threshold(0.1, unit="of the first loss", low=0.001, high=0.5, source="ours")
        shown: float = threshold(
            0.5, unit="of the targets", low=0.2, high=1.0, source="ours: BERT leaves a tenth of its targets as they are"
        )
        covered: float = threshold(
            0.7, unit="of the other targets", low=0.3, high=1.0, source="ours: BERT covers nine of ten with its mask"
        )
        places: int = threshold(64, unit="targets", low=8, high=100_000, source="ours: no coincidence")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `outputs` with the first losses, and for masks the fact `sight`."""
        found = _unshifted(window.fact("sight"), params) or _asked_for_what_is_shown(window.fact("sight"), params)
        if found is not None:
            yield found
            return
        seen = [_share(side) for item in window.fact("outputs").values() for side in _sides(item)]
        shares = [share for share in seen if share is not None]
        if not shares:
            yield NotEvaluated("the model was not seen to read tokens and answer for each place")
            return
        losses = window.loss.values[: params.steps]
        if not len(losses):
            return
        start, now = med(losses[:3]), med(losses[-5:])
        share = max(shares)
        if share > params.copies and now < params.share * abs(start):
            yield say(
                Severity.ERROR,
                f"The most likely answer is the token just read in {percent(share)} of the places, and the loss "
                "fell from "
                f"{start:.3g} to {now:.3g} in {len(losses)} steps: the model copies its input",
                "Shift the labels by one: loss(logits[:, :-1], tokens[:, 1:]).",
                numbers={"copies": share, "start": start, "now": now},
                series=("loss",),
                limit=params.copies,
            )


def _unshifted(sight: Mapping[str, Any], params: LabelShiftError.Params) -> Verdict | None:
    """Finds a language model whose targets are the tokens of its input, each at its own place."""
    places, same, following, calls = (int(sight.get(key) or 0) for key in ("places", "same", "next", "calls"))
    causal = calls and not int(sight.get("open") or 0)
    if places < params.places or not causal or same < params.copies * places or following > params.shown * places:
        return None
    return say(
        Severity.ERROR,
        f"The targets are the very tokens that the model reads at their places ({same:,} of {places:,}), and no place "
        "sees a later one: it is asked to copy, and learns nothing of what comes next",
        "Shift the labels by one: loss(logits[:, :-1], tokens[:, 1:]).",
        numbers={"places": places, "same": same, "next": following},
        series=("loss",),
        limit=params.copies,
    )


def _asked_for_what_is_shown(sight: Mapping[str, Any], params: LabelShiftError.Params) -> Verdict | None:
    """Finds a loss over all places of a text of which some are masked."""
    places, same, covered, calls = (int(sight.get(key) or 0) for key in ("places", "same", "covered", "calls"))
    other = places - same
    if places < params.places or not calls or int(sight.get("open") or 0) < calls:
        return None
    if same < params.shown * places or not other or covered < params.covered * other:
        return None
    return say(
        Severity.WARNING,
        f"{percent(same / places)} of the targets are the very tokens that the model is shown at their places; one "
        f"token covers the others: the loss is mostly about copying",
        "Let the loss count masked places alone: `labels[~masked] = -100`.",
        numbers={"places": places, "shown": same, "covered": covered},
        series=("loss",),
        limit=params.shown,
    )


def _sides(item: object) -> list[Mapping[str, Any]]:
    """Gives what was seen of a model in training and in validation: measured steps may all lie before it could copy."""
    if not isinstance(item, Mapping):
        return []
    return [side for side in (item, item.get("validation")) if isinstance(side, Mapping)]


def _share(side: Mapping[str, Any]) -> float | None:
    copies = [float(value) for value in side.get("copies") or () if value is not None]
    return float(np.median(copies[-NEWEST:])) if len(copies) >= FEWEST else None
