"""GW214: the loss was still on its way down when the run ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import Quarters, med
from server.rules._loss_call import CROSS_ENTROPIES, knew_before, loss_call
from server.rules._progress import brisk, loss_quarters, still_falling
from server.rules._rates import medians, path_length
from server.rules._say import percent, say
from server.rules._validation import evaluations
from server.rules.base import Rule, Stage, threshold

SLOW = "GW412"
FEWEST_EVALUATIONS, ABOVE = 6, 0.01  # of the validation; of its lowest loss
FEWEST_LOOKS = 5  # measured steps, before anything is said of how far the weights went
BETTER_NAMED = frozenset({SLOW, "GW401", "GW413"})


class StoppedTooEarly(Rule):
    """The run has ended while its loss was still falling

    ## What it does
    At the end: the last quarter still gained a large part of all that was gained (more than 20 %, of a loss of
    one's own and of likenesses within a batch 25 %; a straight line gives a third, a converged run nothing), the
    loss is still above half of its start, and so is the newest validation loss (if any), which falls too and is its
    lowest (but for a percent), the third quarter was not above the start, and the weights have moved far enough
    that the learning rate is not the reason — or the loss fell at a usual pace, and the run ended before a fifth of
    it was gained. A loss that is no number at the end is none that falls.

    ## Why it matters
    The result says how long you trained, not how good the model is.

    ## What you see in the chart
    A curve that is cut off on its way down.

    ## What to try
    More epochs; with a schedule that ends when the training ends.

    ## Example
    ```python
    for epoch in range(2): ...       # cut off
    for epoch in range(30): ...      # until the validation loss stops falling
    ```

    ## References
    - Prechelt 1998, *Early Stopping — But When?*
    - 20 % between the medians of the last two quarters is what an exponential gives whose time constant is the run:
      37 % of its way is left. At 15 % a sixth is left, as in many runs that are meant to be short.
    """

    code = "GW214"
    name = "stopped-too-early"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 6
    needs = (Kind.LOSS,)
    chart = "loss"
    clears_after = None
    gates = ("moving_target", "finetune")
    stage = Stage.STOPPED
    levels = {"q3": "third quarter", "q4": "last quarter"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """What counts as still falling."""

        falling: float = threshold(
            0.2,
            unit="of all that was gained, in the last quarter",
            low=0.05,
            high=0.34,
            source="an exponential that has a third of its way before it",
        )
        falling_own: float = threshold(
            0.25,
            unit="the same, for a loss of one's own, or of likenesses within a batch",
            low=0.05,
            high=0.34,
            source="ours: nobody knows how low a likelihood can fall, so only what is near a straight line counts",
        )
        high: float = threshold(0.5, unit="of the first losses", low=0.0, high=1.0, source="ours: much is left to gain")
        small_gain: float = threshold(
            0.1, unit="of the first losses", low=0.0, high=1.0, source="ours: hardly any gain"
        )
        last_eighth: float = threshold(0.08, unit="of the loss, in the last eighth", low=0.01, high=0.5, source="ours")
        errors: float = threshold(3.0, unit="standard errors", low=1.0, high=10.0, source="beyond the noise")
        path: float = threshold(
            0.6, unit="of the weights", low=0.0, high=10.0, source="below it the rate is to blame (GW412)"
        )
        begun: float = threshold(
            0.8, unit="of the first losses", low=0.1, high=1.0, source="ours: not a fifth of the loss was gained"
        )
        samples: int = threshold(40, unit="samples", low=10, high=10_000, source="ours: less is a smoke test")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the whole run at its end."""
        parts = loss_quarters(window) if window.final else None
        if parts is None or window.samples < params.samples:
            yield NotEvaluated(f"judged at the end of a run of at least {params.samples} steps")
            return
        if (
            not isfinite(window.loss.values[-1])
            or knew_before(window, parts)
            or _better_named(window, parts, params)
            or parts.q4 <= params.high * abs(parts.start)
            or _validation_is_low(window, params.high * abs(parts.start))
        ):
            return
        falling = still_falling(
            parts,
            window.loss.values,
            share=params.falling if _floor_is_known(window) else params.falling_own,
            small_gain=params.small_gain,
            last_eighth=params.last_eighth,
            errors=params.errors,
        )
        steps, ratios = medians(window)
        moved = path_length(window, steps, ratios) if len(ratios) >= FEWEST_LOOKS else params.path
        short = moved >= params.path or _hardly_begun(window, parts, params)
        if not falling or not short or not _validation_falls(window) or parts.q3 > parts.start:
            return  # what came down at the end had risen before
        resumed = bool(window.fact("previous_attempt"))
        when = f"{window.samples} steps after it was resumed" if resumed else f"after {window.samples} steps"
        share = (parts.q3 - parts.q4) / (parts.start - parts.q4) if parts.start > parts.q4 else 1.0
        yield say(
            Severity.WARNING,
            f"The loss was still falling when the run ended {when}: from {parts.q3:.4g} to "
            f"{parts.q4:.4g} in its last quarter, {percent(max(share, 0.0))} of all that was gained since "
            f"{parts.start:.4g}",
            "Train for more epochs, until the validation loss stops falling; if a schedule ends with the run, "
            "stretch it.",
            numbers={**parts.as_numbers(), "path": moved},
            series=("loss", "val/loss"),
            limit=params.falling,
            at_once=False,
        )


def _floor_is_known(window: Window) -> bool:
    """Says whether a function of PyTorch's made the loss, which can come down to little; a cross-entropy of n × n
    likenesses, to the others of the batch, cannot."""
    call = loss_call(window)
    if call is None:
        return False
    shape = call.input.shape
    return not (call.function in CROSS_ENTROPIES and len(shape) == 2 and shape[0] == shape[1])


def _hardly_begun(window: Window, parts: Quarters, params: StoppedTooEarly.Params) -> bool:
    """Says whether a run at a usual pace ended before it had learned anything much: more steps, not larger ones."""
    return brisk(parts, window.samples) and parts.q4 > params.begun * abs(parts.start)


def _better_named(window: Window, parts: Quarters, params: StoppedTooEarly.Params) -> bool:
    named = BETTER_NAMED & window.open_codes
    return bool(named - {SLOW}) or (SLOW in named and not _hardly_begun(window, parts, params))


def _validation_is_low(window: Window, limit: float) -> bool:
    """Says whether the newest validation is past the mark already: it is of the last weights, without dropout, and the
    median of the last quarter lies behind it."""
    found = evaluations(window)
    return found is not None and len(found) >= 1 and float(found.values[-1]) <= limit


def _validation_falls(window: Window) -> bool:
    """Says whether the validation still fell as well: its newest loss is its lowest, but for a percent. A model that
    only learns on by heart has not stopped too early."""
    found = evaluations(window)
    if found is None or len(found) < FEWEST_EVALUATIONS:
        return True
    values = found.values
    return med(values[-3:]) < med(values[-6:-3]) and float(values[-1] - values.min()) <= ABOVE * abs(
        float(values.min())
    )
