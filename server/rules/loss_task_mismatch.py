"""GW202: the loss function does not fit what it is given."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.rules._ids import cast_ids
from server.rules._loss_call import (
    NOT_SEEN,
    call_operations,
    loss_call,
    own_operations,
)
from server.rules._loss_seen import Seen, with_kind
from server.rules._metrics import falling_metric
from server.rules._own_losses import mistake_in_graph, mistake_in_own_loss, squashed_twice
from server.rules._progress import loss_quarters
from server.rules._rewards import falling_reward
from server.rules._scores import distances_as_scores, rates_as_logarithms
from server.rules._wrong_outputs import (
    broadcast,
    clamped_scores,
    logarithm_of_other_dimension,
    normalised_twice,
    not_logarithms,
    not_turned,
    one_class,
    other_dimension,
    over_samples,
    rows_of_other_dimension,
    shared_targets,
)
from server.rules._wrong_targets import class_ids, habits, many_at_once, no_probabilities, one_sided, smoothed_away
from server.rules.base import Rule, Stage, threshold


class LossTaskMismatch(Rule):
    """The run has a loss function that does not fit its outputs or targets

    ## What it does
    Looks at what really went into the loss function, and names

    - a softmax or sigmoid before a loss that applies it itself: every row of eight batches is non-negative and sums to
      1, which real logits never do;
    - a softmax over the samples or the places instead of the classes, in a loss of one's own over the samples too;
    - in CTC raw scores, a softmax, or a log-softmax over the samples;
    - a single output under a cross-entropy;
    - probabilities where logarithms belong, rates where a Poisson loss wants their logarithms, and distances as scores;
    - raw scores that a clamp cuts to [0, 1], and scores of several places that a view reads as one row;
    - an overlap (Dice, IoU) of raw scores beside a cross-entropy of them;
    - shapes that only fit by broadcasting, in a squared or quantile error of one's own too;
    - targets outside [0, 1] under a cross-entropy, rows of several ones under one, and a label smoothing of a half or
      more;
    - class ids as regression targets, cast to float too, where an accuracy is logged or eight or more come equally
      often;
    - targets 0 and 1 of a loss that wants −1 and 1, or of a hinge that multiplies them with the score: all of class 0
      costs 1 then and teaches nothing;
    - a squared error of probabilities that ends where a constant answer is: a last resort, causes of any other rule
      come first;
    - a loss of your own that only adds up the raw scores of the right answers, is below 0 and falls in every quarter of
      the run: it has no floor;
    - a logged reward (`monitor.log(reward=…)`) that only ever fell, which tells of a sign that was lost; at the end
      also an accuracy or AUC of the validation that fell to that of a guess while the loss fell, and an overlap that
      stayed at 0.

    Several rows of outputs against one row of targets (heads that share it) are a remark.

    ## Why it matters
    All of these train without an exception, and badly: a second softmax squeezes the logits into [0, 1], so the loss
    cannot fall below a high floor and the gradients are tiny; a broadcast loss compares every prediction with every
    target.

    ## What you see in the chart
    A loss that falls a little and settles at a plateau (1.46 for ten classes behind a double softmax).

    ## What to try
    - Hand raw outputs (logits) to `cross_entropy` and `binary_cross_entropy_with_logits`; softmax is for predicting.
    - `nll_loss` and `kl_div` take logarithms: `log_softmax(x, dim=1)`.
    - Make shapes equal before a regression loss: `prediction.squeeze(1)` or `target.unsqueeze(1)`.
    - Class ids are names, not amounts: `cross_entropy(logits, ids)`.

    ## Example
    ```python
    loss = F.cross_entropy(torch.softmax(model(x), dim=1), y)   # wrong: softmax twice
    loss = F.cross_entropy(model(x), y)                         # right
    ```

    ## References
    - PyTorch, `torch.nn.CrossEntropyLoss`: the input is expected to contain unnormalised logits.
    - PyTorch, `torch.nn.BCELoss`: probabilities; `torch.nn.LogSoftmax`: along which dimension.
    - PyTorch, `torch.nn.KLDivLoss`: input in the log space; `reduction="batchmean"` is the mathematical definition.
    """

    code = "GW202"
    name = "loss-task-mismatch"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 9
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.OUTPUT
    exact = True

    @dataclass(frozen=True)
    class Params:
        """How much must be seen before the tests on values count."""

        batches: int = threshold(
            8, unit="batches", low=1, high=1_000, source="ours: rows of logits do not sum to 1 eight times by chance"
        )
        targets_outside: float = threshold(
            0.01, unit="of the targets", low=0.0, high=1.0, source="ours: room for a few mislabelled values"
        )
        most_ids: int = threshold(
            20, unit="different values", low=3, high=1_000, source="ours: more whole numbers are counts or ratings"
        )
        smoothing: float = threshold(
            0.5, unit="of a label", low=0.2, high=1.0, source="ours: five times what Szegedy et al. 2016 use"
        )
        ones: float = threshold(1.05, unit="ones in a row", low=1.0, high=2.0, source="ours: a one-hot row has one")
        constant: float = threshold(
            0.95, unit="of the constant answer's error", low=0.5, high=1.0, source="ours: the noise of a batch"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `loss_call`."""
        call = loss_call(window)
        shown = falling_reward(window) or mistake_in_graph(window)
        if shown is not None:
            yield shown
            return
        if call is None:
            found_own = squashed_twice(window) or mistake_in_own_loss(window) or falling_metric(window)
            if found_own is not None:
                yield found_own
            elif not own_operations(window):
                yield NOT_SEEN
            return
        sure = call.batches >= params.batches or window.final
        cast = cast_ids(window, call, params.most_ids)
        call = with_kind(window, call)
        ends = call.last_kind == "Linear"
        axes = [
            tuple(tuple(map(int, item)) for item in window.fact("graph").get(name) or ())
            for name in ("softmaxes", "log_softmaxes")
        ]
        seen = Seen(call, sure, params, call_operations(window), _never_below(window), cast, ends, *axes)
        looked = next((verdict for look in LOOKS if (verdict := look(seen)) is not None), None)
        verdict = looked or squashed_twice(window) or habits(seen) or falling_metric(window) or shared_targets(seen)
        if verdict is not None:
            yield verdict


def _never_below(window: Window) -> float | None:
    """Gives how far a run that has ended brought the loss down; None while it goes on."""
    parts = loss_quarters(window) if window.final else None
    return min(parts.q3, parts.q4) if parts is not None else None


def _of_another_kind(seen: Seen) -> Verdict | None:
    return rates_as_logarithms(seen.call) or distances_as_scores(seen.call)


LOOKS = (
    other_dimension,
    logarithm_of_other_dimension,
    rows_of_other_dimension,
    over_samples,
    not_turned,
    normalised_twice,
    one_class,
    not_logarithms,
    broadcast,
    no_probabilities,
    clamped_scores,
    _of_another_kind,
    class_ids,
    smoothed_away,
    many_at_once,
    one_sided,
)
