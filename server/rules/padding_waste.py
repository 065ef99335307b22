"""GW954: most of a batch is padding, or padding is trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._loss_call import NOT_SEEN, loss_call
from server.rules._say import percent, say
from server.rules.base import Rule, Stage, threshold


class PaddingWaste(Rule):
    """The run has batches that are mostly padding

    ## What it does
    Compares the targets that count with those that are ignored (`ignore_index`): more than half ignored is an info, for
    masked words and prompts are ignored on purpose. Where targets are sequences it also counts the places at their end
    that are ignored in every row of a batch: more than half of them is a warning, for they can be cut off at no price.
    A fifth of the places that are not ignored, at the end of every row of every batch, with one and the same label of a
    dozen or more is padding that the loss counts: a warning too.
    So is a label that ends the sequences, is found nowhere else in them, and makes up 40 % of the targets: padding that
    counts.

    ## Why it matters
    What is ignored is computed all the same. Half of the tokens ignored means half of the machine. What counts is
    learned: loss and accuracy are then mostly about padding, which is easy.

    ## What you see in the chart
    Nothing but the time of a step.

    ## What to try
    - Sort by length into buckets, or pack several sequences into one row.
    - Pad to the longest of the batch, not of the data set.
    - `cross_entropy(logits, labels, ignore_index=PAD)`, or fill up labels with -100.

    ## Example
    ```python
    tokenizer(texts, padding="max_length")    # wasteful
    tokenizer(texts, padding="longest")       # of this batch
    ```

    ## References
    - SageMaker Debugger, NLPSequenceRatio: 50 %.
    - Hugging Face, *Padding and truncation*: `padding="longest"` pads to the longest sequence of the batch.
    """

    code = "GW954"
    name = "padding-waste"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.SYMPTOM
    aside = True

    @dataclass(frozen=True)
    class Params:
        """How much padding is too much."""

        share: float = threshold(0.5, unit="of the targets", low=0.05, high=1.0, source="SageMaker Debugger")
        idle: float = threshold(
            0.5, unit="of the places", low=0.05, high=1.0, source="ours: half of the time of a step or more"
        )
        counted: float = threshold(
            0.2, unit="of the places", low=0.02, high=1.0, source="ours: one place is the end of a sentence"
        )
        labels: int = threshold(
            12, unit="classes", low=2, high=100_000, source="ours: of a few, one may well be the usual end"
        )
        exclusive: float = threshold(
            0.4, unit="of the targets", low=0.05, high=1.0, source="ours: answers of fixed width have less behind them"
        )
        few: int = threshold(4, unit="labels", low=2, high=1000, source="ours: of two, one may come after another")
        batches: int = threshold(8, unit="batches", low=1, high=1000, source="ours: one batch can be short")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the counts of the fact `loss_call`."""
        call = loss_call(window)
        if call is None:
            yield NOT_SEEN
            return
        if call.batches < params.batches:
            yield NotEvaluated(f"{params.batches} batches are needed, {call.batches} are in")
            return
        places, idle = (int(window.fact("loss_call").get(key) or 0) for key in ("places", "idle_places"))
        if places and idle > params.idle * places:
            yield say(
                Severity.WARNING,
                f"The last {percent(idle / places)} of the places of every sequence are padding in all rows of a batch "
                f"({call.batches} batches)",
                'Pad to the longest sequence of the batch (padding="longest", pad_sequence in collate_fn), not to one '
                "length for all; where lengths must be fixed, use a few of them.",
                numbers={"places": places, "idle": idle, "share": idle / places},
                limit=params.idle,
            )
            return
        same = float(window.fact("loss_call").get("same_places") or 0.0)
        if places and same > params.counted * places and (call.classes or 0) >= params.labels:
            yield say(
                Severity.WARNING,
                f"The last {percent(same / places)} of the places of a row have one label, the same in all rows of "
                f"{call.batches} batches: the padding counts in the loss, and what it rewards first is to answer it",
                "Pass ignore_index=<the id of the padding> to cross_entropy, or set those targets to -100.",
                numbers={"places": places, "same": same, "share": same / places},
                series=("loss",),
                limit=params.counted,
                stage=Stage.OUTPUT,
                exact=False,
            )
            return
        run_out = window.fact("loss_call").get("run_out") or {}
        label, at_end = run_out.get("label"), int(run_out.get("at_end") or 0)
        seen, total = call.labels.get(label, 0) if label is not None else 0, sum(call.labels.values())
        if not call.labels:  # of a large vocabulary nobody counts each label
            seen, total = int(run_out.get("all") or 0), call.kept
        kinds = len(call.labels) or call.classes or 0
        alone = seen and at_end == int(run_out.get("all") or 0) and kinds >= params.few
        counted = seen / max(total, 1)
        if alone and label in (0, 1) and counted > params.exclusive:
            yield say(
                Severity.WARNING,
                f"{percent(counted)} of the targets are label {label}, which ends the sequences and is nowhere else in "
                f"them ({call.batches} batches): padding counts in the loss",
                f"Leave it out: cross_entropy(…, ignore_index={label}), or fill up labels with -100; divide by what is "
                "left.",
                numbers={"label": label, "at_end": at_end, "share": counted},
                limit=params.exclusive,
                stage=Stage.DATA,
            )
            return
        share = call.ignored / max(call.ignored + call.kept, 1)
        if share > params.share:
            yield say(
                Severity.INFO,
                f"{percent(share)} of the targets are ignored in {call.batches} batches: padding, prompts or words "
                "that are not masked",
                "Prompts and what is not masked are ignored on purpose. If it is padding, put sequences of like length "
                "into one batch, or pack several into one row.",
                numbers={"ignored": call.ignored, "kept": call.kept, "share": share},
                limit=params.share,
            )
