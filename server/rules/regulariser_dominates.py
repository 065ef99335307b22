"""GW451: a penalty or the weight decay outweighs the data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import Quarters, med, median
from server.rules._bonus import bonus_too_large
from server.rules._depth import lost_from_the_start
from server.rules._killed import died_at_full_size
from server.rules._layers import groups, learning_matrices
from server.rules._loss_call import call_operations
from server.rules._progress import loss_quarters, stuck
from server.rules._rates import NO_GRADIENT, decay_shares, early_pulls, no_gradient_ever, shrunk
from server.rules._say import is_penalty, percent, say
from server.rules.base import Rule, Stage, threshold

ANSWERS = "GW311"  # the same for every input
FALLEN_METRIC = "GW202"  # only where it rests on statistics
ABOVE = 1.05  # of an update: from here on it is written as a multiple
NEGLIGIBLE = 0.1  # of the rest of the loss


class RegulariserDominates(Rule):
    """The run has a penalty that outweighs what the data say

    ## What it does
    *Weight decay*: ω is the share of each update that decay alone makes, ηλ/U (for SGD with momentum ηλ/((1 − μ)U)).
    Adam adds the decay to the gradient and rescales both: there ω is λ‖w‖/(λ‖w‖ + ‖g‖). The median over the matrices
    above 0.7 while the weights shrink and the loss is above half of its start is a warning. In balance it is 0.03 to
    0.07. So is a share above 0.2 once it has taken four fifths of the weights and the loss is still above 0.9 of its
    start: Adam rescales both, so a gradient that is mostly noise loses against a pull that always points one way.
    And so is a λ‖w‖/(λ‖w‖ + ‖g‖) above 0.5 in the first 20 samples of Adam or SGD, where the data's gradient is
    largest, once half of the weights is gone: such a run may learn, but less than it could. Where the first third of a
    deep chain had less than a twentieth of the last third's gradient in the first 10 samples, that is the cause and
    decay is not asked; nor where most matrices lost their gradient for good while they were above half of their size.
    *Named penalty* (`monitor.step(loss, kl=…)`): it fell below 2 % of its first value while the data's part
    gained less than a quarter: the model learned to make the penalty small and nothing else. So is the divergence of a
    Gaussian code that fell so far while the rest of the loss stood still in the second half: a part called KL, or any
    part where autograd's graph draws a code with a deviation exp(…) between two layers, and takes an exp(…) again
    behind the last one.
    *Named entropy bonus*: more than 1 and than ten times all other parts, and no smaller at the end than at the start:
    the policy stays at chance.
    *A penalty inside the loss*: without any weight decay every matrix lost four fifths or more (nine tenths in the
    median) while the loss stood still. Or autograd's graph shows that the loss takes the size of most matrices itself
    (|w|, w², a norm), every matrix lost as much, and the outputs are constant, the loss stands still, or 98 % is gone.

    ## Why it matters
    The gradient then comes from the penalty, whose form is simple; a wrong gradient of the data stays hidden.

    ## What you see in the chart
    Weight norms that fall in a straight line; a loss near that of a constant answer.

    ## What to try
    - Set λ to 0, see the data's loss fall, then raise λ until validation stops getting better.
    - KL terms: anneal the weight from 0 (or free bits).
    - An entropy bonus: a coefficient of 0.01; more keeps a policy at chance.
    - No decay on biases and norms.

    ## Example
    ```python
    SGD(model.parameters(), lr=0.1, weight_decay=0.5)      # wrong: halves the weights in 14 steps
    SGD(model.parameters(), lr=0.1, weight_decay=5e-4)     # right
    ```

    ## References
    - Kosson et al. 2023, *Rotational Equilibrium*; Bowman et al. 2016, *Generating Sentences from a Continuous Space*.
    - Loshchilov & Hutter 2019, *Decoupled Weight Decay Regularization*: why AdamW's λ is too much for Adam.
    - Mnih et al. 2016, *Asynchronous Methods for Deep Reinforcement Learning*: an entropy bonus, of 0.01.
    - 0.7, 0.2, four fifths, 2 %, a quarter and ten times are ours.
    """

    code = "GW451"
    name = "regulariser-dominates"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 8
    needs = (Kind.LOSS,)
    chart = "weight-norms"
    tier = "layers"
    persistence = (3, 5)
    clears_after = 20
    whole_run = True
    stage = Stage.DECAY
    levels = {"first": "its first value"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How much is too much."""

        share: float = threshold(
            0.7, unit="of an update", low=0.2, high=1.0, relax="down", source="ours: ten times balance"
        )
        high: float = threshold(
            0.5, unit="of the first losses", low=0.0, high=1.0, source="ours: much is left to learn"
        )
        early: float = threshold(
            0.5, unit="of the gradient", low=0.3, high=1.0, source="more than the data; healthy starts stay below 0.25"
        )
        halved: float = threshold(0.5, unit="of the weights", low=0.1, high=1.0, source="ours: half of them is gone")
        collapse: float = threshold(0.02, unit="of the penalty's first value", low=1e-4, high=0.5, source="ours")
        gain: float = threshold(0.25, unit="of the data's first value", low=0.01, high=1.0, source="ours")
        shrunk: float = threshold(
            0.1,
            unit="of the weights",
            low=0.0,
            high=1.0,
            source="ours: branches that start at zero hardly move at first",
        )
        pull: float = threshold(
            0.2, unit="of an update", low=0.05, high=1.0, relax="down", source="ours: three times balance"
        )
        gone: float = threshold(0.9, unit="of the weights", low=0.2, high=1.0, source="ours: next to nothing is left")
        halted: float = threshold(
            0.05, unit="of the data's first value", low=0.0, high=1.0, source="ours: nothing more was learned"
        )
        taken: float = threshold(0.8, unit="of the weights", low=0.2, high=1.0, source="ours: little is left of them")
        unmoved: float = threshold(
            0.9, unit="of the first losses", low=0.1, high=1.0, source="ours: nothing was learned meanwhile"
        )
        samples: int = threshold(40, unit="samples", low=10, high=10_000, source="ours")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the decay's share, then the named penalties."""
        parts = loss_quarters(window)
        if window.samples < params.samples or parts is None:
            yield NotEvaluated(f"{params.samples} losses are needed, {window.samples} are in")
            return
        if no_gradient_ever(window):
            yield NotEvaluated(f"{NO_GRADIENT}: it outweighs nothing")
            return
        shares = decay_shares(window)
        verdict = None
        # else decay alone moves the layers that no gradient reaches (GW306), or what died of something else (GW308)
        if not lost_from_the_start(window) and not died_at_full_size(window):
            verdict = _pulls(window, shares, parts, params) if shares else _from_the_start(window, parts, params)
        if verdict is None:
            verdict = _collapsed(window, params) or _in_the_loss(window, parts, params) or bonus_too_large(window)
        if verdict is not None:
            yield verdict


def _pulls(
    window: Window, shares: dict[str, float], parts: Quarters, params: RegulariserDominates.Params
) -> Verdict | None:
    """Judges the decay of the matrices."""
    now, start = med(window.loss.tail(20)), abs(parts.start)
    usual, gone = median(np.array(list(shares.values()))), shrunk(window, shares)
    strong = now > params.high * start and not window.gates.late and _rate_is_up(window)
    if strong and usual > params.share and gone > params.shrunk:
        limit, seen = params.share, "the weights follow the decay, not the data"
    elif usual > params.pull and gone > params.taken and now > params.unmoved * start:
        limit, seen = (
            params.pull,
            f"it took {percent(gone)} of the weights, and the loss is {now:.4g} after {start:.4g}",
        )
    else:
        return _from_the_start(window, parts, params)
    name = max(shares, key=lambda item: shares[item])
    return say(
        Severity.WARNING,
        f"{_pulling(usual)} (median over {_matrices(len(shares))}, limit {percent(limit)}): {seen}",
        "Set weight_decay to 0 and see whether the loss falls; then raise it from 1e-4.",
        layers=(name.rpartition(".")[0],),
        numbers={"decay_share": usual, "matrices": len(shares), "loss": parts.q4, "start": parts.start},
        series=(f"weight_norm/{name}", "loss"),
        limit=limit,
        at_once=False,
        explains=(FALLEN_METRIC,),
    )


def _matrices(amount: int) -> str:
    return f"{amount} {'matrix' if amount == 1 else 'matrices'}"


def _pulling(share: float) -> str:
    """Says how much of an update is decay; where the gradient pulls against it, the decay alone is the larger."""
    if share < ABOVE:
        return f"Weight decay makes {percent(share)} of each update"
    return f"Weight decay alone is {share:.2g} times as large as each update, which the gradient makes smaller"


def _from_the_start(window: Window, parts: Quarters, params: RegulariserDominates.Params) -> Verdict | None:
    """Finds a decay in the gradient that was stronger than the data's part when that was largest: at the start."""
    shares = early_pulls(window)
    usual = median(np.array(list(shares.values()))) if shares else 0.0
    if not usual > params.early or not shrunk(window, shares) > params.halved:
        return None
    name = max(shares, key=lambda item: shares[item])
    return say(
        Severity.WARNING,
        f"In the first steps weight decay makes {percent(usual)} of the gradient (median over "
        f"{_matrices(len(shares))}, limit {percent(params.early)}), and since then it took "
        f"{percent(shrunk(window, shares))} of the weights: what the data say is the smaller part",
        "Set weight_decay to 0 and see whether the loss falls further; then raise it from 1e-4. AdamW's values are too "
        "large for Adam and SGD, which add the decay to the gradient.",
        layers=(name.rpartition(".")[0],),
        numbers={"decay_share": usual, "matrices": len(shares), "loss": parts.q4, "start": parts.start},
        series=(f"weight_norm/{name}", "loss"),
        limit=params.early,
        at_once=False,
        explains=(FALLEN_METRIC,),
    )


def _in_the_loss(window: Window, parts: Quarters, params: RegulariserDominates.Params) -> Verdict | None:
    """Judges a run without decay whose weights went all the same, while nothing was learned: only a penalty in the
    loss pulls like that."""
    names = [item.name for item in learning_matrices(window)]
    lost = shrunk(window, names)
    if lost > params.gone and _slowest(window, names) > params.taken and _penalised(window, names):
        if ANSWERS in window.open_codes or stuck(window) or lost > 1 - params.collapse:
            return _by_hand(names, lost, parts, params)
        return None
    decay = any(float(group.get("weight_decay") or 0.0) > 0 for _, _, group in groups(window))
    if not window.final or window.gates.moving_target or not lost > params.gone or decay or parts.start <= 0:
        return None
    if not stuck(window) or not _slowest(window, names) > params.taken:
        return None
    return say(
        Severity.WARNING,
        f"The weights lost {percent(lost)} of their size (median over {_matrices(len(names))}) without any weight "
        f"decay, and the loss is {parts.q4:.4g} after {parts.start:.4g}: a penalty in the loss outweighs the data",
        "Leave the penalty out and see whether the loss falls; then add it with a weight of 1e-5, and raise that.",
        numbers={"lost": lost, "matrices": len(names), "loss": parts.q4, "start": parts.start},
        series=(f"weight_norm/{names[0]}", "loss"),
        limit=params.gone,
        at_once=False,
    )


def _penalised(window: Window, names: list[str]) -> bool:
    """Says whether the size of most matrices is part of the loss."""
    return 2 * len(set(names) & set(window.fact("graph").get("penalised") or ())) > len(names)


def _by_hand(names: list[str], lost: float, parts: Quarters, params: RegulariserDominates.Params) -> Verdict:
    return say(
        Severity.WARNING,
        f"The loss holds the size of the weights themselves (an L1 or L2 penalty), and they lost {percent(lost)} of it "
        f"(median over {_matrices(len(names))}): the penalty outweighs the data, and what falls from {parts.start:.4g} "
        f"to {parts.q4:.4g} is the penalty",
        "Leave the penalty out and see what the data's loss gets to; then add it with a weight of 1e-5. "
        "A sum over all parameters grows with the model.",
        numbers={"lost": lost, "matrices": len(names), "loss": parts.q4, "start": parts.start},
        series=(f"weight_norm/{names[0]}", "loss"),
        limit=params.gone,
        at_once=False,
    )


def _slowest(window: Window, names: Iterable[str]) -> float:
    """Says how much the matrix lost that lost least."""
    norms = [window.series(f"weight_norm/{name}") for name in names]
    return min((1 - item.last / float(item.values[0]) for item in norms if item and item.values[0] > 0), default=0.0)


def _rate_is_up(window: Window) -> bool:
    rates = window.by_layer(Kind.LEARNING_RATE).values()
    return any(item.last > 0.1 * float(np.nanmax(item.values)) for item in rates)


def _collapsed(window: Window, params: RegulariserDominates.Params) -> Verdict | None:
    parts, coded = window.by_layer(Kind.LOSS_PART), _draws_a_code(window)
    for name, series in parts.items():
        if not (is_penalty(name) or coded) or series.count < 100:
            continue
        first, now = med(np.abs(series.values[:3])), med(np.abs(series.tail(20)))
        others = [item for other, item in parts.items() if other != name and item.count >= 100]
        gains = [1 - med(item.tail(20)) / med(item.values[:3]) for item in others if med(item.values[:3]) > 0]
        peak = float(np.nanmax(np.abs(series.values[:20])))
        fallen = first > 0 and now < params.collapse * max(first, peak)
        rest = sum(abs(med(item.tail(20))) for item in others)
        small = now < NEGLIGIBLE * rest
        if fallen and small and gains and max(gains) >= params.gain and (coded or _of_a_posterior(window, name)):
            later = [(med(item.values[item.count // 2 :][:20]) - med(item.tail(20))) / med(item.values[:3])
                     for item in others if med(item.values[:3]) > 0]  # fmt: skip
            if max(later) < params.halted:
                return say(
                    Severity.WARNING,
                    f"Penalty `{name}` fell from {max(first, peak):.3g} to {now:.3g}, and the rest of the loss stood "
                    "still in the second half: the code tells nothing of the input (posterior collapse)",
                    f"Lower the weight of `{name}`, or raise it from 0 over the first third of the run.",
                    numbers={"first": first, "now": now, "gain_of_the_rest": max(gains)},
                    series=(f"loss/{name}", "loss"),
                    limit=params.collapse * max(first, peak),
                    at_once=False,
                )
        if fallen and gains and max(gains) < params.gain and is_penalty(name):
            return say(
                Severity.WARNING,
                f"Penalty `{name}` fell from {max(first, peak):.3g} to {now:.3g} while the other parts of the "
                "loss gained "
                f"{percent(max(max(gains), 0.0))}: the model learned to make the penalty small and little else",
                f"Lower the weight of `{name}`, or raise it from 0 over the first third of the run.",
                numbers={"first": first, "now": now, "gain_of_the_rest": max(gains)},
                series=(f"loss/{name}", "loss"),
                limit=params.collapse * first,
                at_once=False,
            )
    return None


def _draws_a_code(window: Window) -> bool:
    """Says whether an exp lies between two weighted layers, as the deviation of a code that is drawn, and one behind
    the last, as in the divergence of that code; no softmax, whose divergence is another."""
    found = window.fact("graph").get("sequence")
    rows = [item for item in found if isinstance(item, Mapping)] if isinstance(found, (list, tuple)) else []
    kinds = "".join("w" if row.get("kind") == "weighted" else _letter(str(row.get("op"))) for row in rows)
    first, last = kinds.find("w"), kinds.rfind("w")
    drawn = first >= 0 and "e" in kinds[first:last] and "e" in kinds[last:] and "s" not in kinds
    return drawn and not window.gates.moving_target


def _letter(operation: str) -> str:
    return "e" if operation.startswith("ExpBackward") else "s" if "Softmax" in operation else "."


def _of_a_posterior(window: Window, name: str) -> bool:
    """Says whether a penalty is the divergence of a Gaussian code: exp and squares in the loss, and no softmax, whose
    divergence from a teacher's is meant to go to 0."""
    operations = call_operations(window)
    gaussian = any(item.startswith("Exp") for item in operations) and any(
        item.startswith(("Pow", "Mul")) for item in operations
    )
    classes = any(item.startswith(("LogSoftmax", "Softmax", "Logsumexp")) for item in operations)
    taught = window.fact("loss_call").get("function") == "kl_div"
    return "kl" in name.lower() and gaussian and not classes and not taught and not window.gates.moving_target
