"""GW306: early layers get next to no gradient, and the loss does not move."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.domain.statistics import med, window_size
from server.rules._forgets import forgets
from server.rules._layers import Parameter, learning_matrices, optimizers, wholly_dead
from server.rules._loss_call import CROSS_ENTROPIES, entropy, entropy_error, loss_call
from server.rules._progress import loss_quarters, stood_still, stuck
from server.rules._rates import decay_shares
from server.rules._time_axis import judge_time, ratios_through_time
from server.rules.base import Rule, Stage, threshold

ADAPTIVE = ("Adam", "NAdam", "RAdam", "Adamax", "RMSprop", "Adagrad", "Adadelta")
USUAL_EPS = 1e-8
RATIO_FLOOR = 1e-300  # a gradient of exactly zero is as small as it gets, and has a logarithm
SMALLEST_SAID = 1e-280
STEEP, STEEP_SHARE = 0.3, 0.01  # per layer, and of the last third's: a sigmoid passes a quarter of a gradient at most
TURNED_OVER = 1.0  # of the weights, over the run
ONE_ANSWER, RATE = "GW311", "GW411"
DEEP = 6  # matrices; of fewer, thirds say little
SURE = 2.0  # standard errors
STOPPED = "dead units stop the gradient; whether it shrinks on the way is not to be seen"


class VanishingGradient(Rule):
    """The run has early layers or time steps without gradient while the loss is stuck

    ## What it does
    For each weight matrix r = ‖g‖/‖w‖, the median over the last samples; layers are ordered as the forward calls
    them, one optimizer's layers at a time. It fires when the loss is stuck (or, at the end, was for half of the run; or
    stands where a guess by the shares of the classes is, wherever it came from), and the first third of the layers has
    less than 1/1000 of the r of the last third, and the first third's updates are below 1e-6 of the weights (Adam
    family: gradients below 10 times its epsilon, because Adam divides the scale away above that). Short stacks: a
    factor below 0.1 per layer with updates below 1e-5. Six layers or more under SGD: also where all updates of the run,
    without what weight decay makes of them, would not move the first third by 1 % of its weights. At the end,
    six layers or more: also where the last third's updates add up to its weights and the first third's to less than
    5 % of its own, with a factor below 0.3 per layer and 1/100 between the thirds.

    In recurrent layers whose input takes a gradient (behind an embedding or another layer, or cells that the loop calls
    itself) it compares the gradient at the first tenth of the time steps with that at the last: below 1/10,000 it
    vanishes on the way back through time, above 10,000 it explodes. Where the input takes none, a plain `nn.RNN` is
    judged at the end by its first recurrent matrix: a random one leaves (s·√h) of a gradient a time step. If less than
    1/10,000 is left over nine tenths of the sequence, and the loss fell to what a constant answer gets and stayed, or
    began there and stayed though the weights moved by half of their size, the layer forgets.

    ## Why it matters
    The layers that see the input stay random, so what the later ones learn is built on noise.

    ## What you see in the chart
    Gradient norms fanned out by depth, decades apart, and a flat loss.

    ## What to try
    - Residual connections, or normalisation (LayerNorm, BatchNorm) between the layers.
    - ReLU-family activations with He initialisation instead of sigmoid or tanh: a sigmoid passes at most a quarter of
      the gradient.
    - Fewer layers, to see whether depth is the cause.
    - Through time: an LSTM or GRU with a forget bias of 1 instead of a plain RNN, an orthogonal recurrent matrix,
      shorter sequences, or attention over all outputs instead of the last one; when it explodes, clip.

    ## Example
    ```python
    layers += [nn.Linear(64, 64), nn.Sigmoid()]                   # 20 of them: 0.25 ** 20 of the gradient is left
    layers += [nn.Linear(64, 64), nn.LayerNorm(64), nn.ReLU()]    # passes it on
    ```

    ## References
    - Glorot and Bengio 2010, *Understanding the difficulty of training deep feedforward neural networks*.
    - 1e-3 as AutoTrainer. Absolute limits on mean |g| (SageMaker 1e-7, TheDeepChecker 1e-6) fire on converged runs; the
      condition on the loss is ours.
    - Girko 1985, *Circular law*: the spectral radius of a random matrix is s·√h.
    - Bengio et al. 1994, *Learning long-term dependencies with gradient descent is difficult*; 1e-4 is ours.
    """

    code = "GW306"
    name = "vanishing-gradient"
    severity = Severity.WARNING
    since = "0.1.0"
    version = 7
    needs = (Kind.PARAM_GRAD_NORM, Kind.PARAM_WEIGHT_NORM)
    chart = "gradients"
    tier = "layers"
    clock = "sample"
    persistence = (3, 5)
    gates = ("late",)
    stage = Stage.GRADIENT

    @dataclass(frozen=True)
    class Params:
        """How little is too little."""

        ratio: float = threshold(
            1e-3,
            unit="first third / last third",
            low=1e-12,
            high=0.1,
            relax="up",
            source="AutoTrainer's first/last limit",
        )
        factor: float = threshold(
            0.1,
            unit="per layer",
            low=1e-3,
            high=0.9,
            relax="up",
            source="ours: a sigmoid layer passes about 0.05 to 0.2",
        )
        update: float = threshold(
            1e-6,
            unit="of the weights, per step",
            low=1e-12,
            high=1e-3,
            relax="up",
            source="ours: a million steps to turn a weight over",
        )
        update_short: float = threshold(
            1e-5,
            unit="of the weights, per step",
            low=1e-12,
            high=1e-3,
            relax="up",
            source="ours: with a steep factor per layer",
        )
        eps_times: float = threshold(
            10.0,
            unit="times Adam's epsilon",
            low=1.0,
            high=1000.0,
            source="below it epsilon, not the gradient, sets the step",
        )
        through_time: float = threshold(
            1e-4,
            unit="first tenth / last tenth of the time steps, or its inverse",
            low=1e-12,
            high=0.1,
            relax="up",
            source="ours: a factor of 10,000 is more than a learning rate can make up for",
        )
        moved: float = threshold(
            0.01, unit="of the weights, over the run", low=1e-6, high=0.5, source="ours: a hundredth is where it began"
        )
        stayed: float = threshold(
            0.05,
            unit="of the weights, over the run",
            low=1e-6,
            high=0.5,
            source="ours: where the last layers turn over",
        )
        fewest_layers: int = threshold(
            3, unit="matrices", low=2, high=100, source="two layers have no depth to speak of"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges recurrent layers along time, then the layers of each optimizer by depth; both only while stuck."""
        recurrent = ratios_through_time(window)
        if recurrent and (verdict := judge_time(window, recurrent, params.through_time)) is not None:
            yield verdict
            return
        if not recurrent and (verdict := forgets(window, params.through_time)) is not None:
            yield verdict
            return
        chains = window.lasting("chains of matrices", lambda: _chains(window))
        deep = {key: chain for key, chain in chains.items() if len(chain) >= params.fewest_layers}
        if not deep:
            if recurrent:
                return
            most = max(map(len, chains.values()), default=0)
            yield NotEvaluated(
                f"{params.fewest_layers} weight matrices with a known order are needed, {most} are known"
                if most
                else "the order of the layers is not known",
                "" if most else "monitor = watch(model, optimizer)  # before the first forward",
            )
            return
        if len(window.loss) and not np.isfinite(window.loss.tail(3)).all():
            return  # what is not finite has no size to compare
        still = stuck(window)
        if still is None:
            yield NotEvaluated(f"too few losses to tell whether training is stuck ({window.loss.count})")
            return
        seen = "does not fall" if still else _seen_at_the_end(window)
        alike = not seen and window.final and ONE_ANSWER in window.open_codes and RATE not in window.open_codes
        if not seen and not alike:
            return
        fewest, seen = (DEEP, "is that of one answer for every input") if alike else (params.fewest_layers, seen)
        width = window_size(window.samples, window.planned)
        for chain in deep.values():
            found = _profile(window, chain, width)
            if found is not None and found.early <= RATIO_FLOOR and wholly_dead(window):
                if not window.firing:  # an open finding resolves, for nothing shrinks on the way
                    yield NotEvaluated(STOPPED)
                return
            if found is not None and len(chain) >= fewest and _vanishes(window, chain, found, params, width):
                yield _verdict(chain, found, params, seen)
                return


@dataclass(frozen=True)
class _Profile:
    ratios: list[float]
    early: float
    late: float
    factor: float
    update: float  # of the first third; NaN where updates were not measured
    since: int

    @property
    def share(self) -> float:
        return self.early / self.late


def _chains(window: Window) -> dict[str, list[Parameter]]:
    gradients = window.by_layer(Kind.PARAM_GRAD_NORM)
    weights = window.by_layer(Kind.PARAM_WEIGHT_NORM)
    chains: dict[str, list[Parameter]] = {}
    for item in learning_matrices(window):
        if item.order is not None and item.name in gradients and item.name in weights:
            chains.setdefault(item.optimizer, []).append(item)
    return {key: sorted(chain, key=lambda item: item.order or 0) for key, chain in chains.items()}


def _profile(window: Window, chain: list[Parameter], width: int) -> _Profile | None:
    gradients = [window.series(f"grad_norm/{item.name}") for item in chain]
    norms = [med(item.tail(width)) for item in gradients]
    weights = [med(window.series(f"weight_norm/{item.name}").tail(width)) for item in chain]
    ratios = [
        max(norm / weight, RATIO_FLOOR) if weight > 0 else math.nan for norm, weight in zip(norms, weights, strict=True)
    ]
    third = max(1, len(ratios) // 3)
    early, late = med(np.asarray(ratios[:third])), med(np.asarray(ratios[-third:]))
    if not (math.isfinite(early) and math.isfinite(late) and late > RATIO_FLOOR):
        return None
    factor = (ratios[0] / ratios[-1]) ** (1 / (len(ratios) - 1)) if ratios[0] > 0 and ratios[-1] > 0 else math.nan
    moves = [med(window.series(f"update_ratio/{item.name}").tail(width)) for item in chain[:third]]
    first = gradients[0]
    return _Profile(ratios, early, late, factor, med(np.asarray(moves)), int(first.steps[max(0, first.count - width)]))


def _vanishes(
    window: Window, chain: list[Parameter], found: _Profile, params: VanishingGradient.Params, width: int
) -> bool:
    if found.factor < params.factor and found.update < params.update_short:
        return True
    if _starved(window, chain, found, params, width):
        return True
    if not found.share < params.ratio:
        return False
    owner = [item for item in optimizers(window) if str(item.get("name", "")) == chain[0].optimizer]
    kind = str((owner or optimizers(window) or [{}])[0].get("type", ""))
    if not kind.startswith(ADAPTIVE):
        return found.update < params.update or _hardly_moved(window, chain, found, params)
    third = max(1, len(chain) // 3)
    rms = [
        med(window.series(f"grad_norm/{item.name}").tail(width)) / math.sqrt(max(item.numel, 1))
        for item in chain[:third]
    ]
    groups = (owner or optimizers(window))[0].get("groups") or [{}]
    eps = groups[0].get("eps") or USUAL_EPS
    return med(np.asarray(rms)) < params.eps_times * float(eps)


def _starved(
    window: Window, chain: list[Parameter], found: _Profile, params: VanishingGradient.Params, width: int
) -> bool:
    """Says at the end of a run whether the last third of a deep chain was turned over while the first third stayed
    where it was, with a gradient that shrinks from layer to layer: then the learning rate is not what is too small."""
    if not window.final or len(chain) < DEEP or not found.factor < STEEP or not found.share < STEEP_SHARE:
        return False
    late = [med(window.series(f"update_ratio/{item.name}").tail(width)) for item in chain[-(len(chain) // 3) :]]
    turned = float(np.median(late)) * window.samples
    return turned > TURNED_OVER and found.update * window.samples < params.stayed


def _hardly_moved(window: Window, chain: list[Parameter], found: _Profile, params: VanishingGradient.Params) -> bool:
    """Says of a deep chain whether the gradient would not move its first third by a hundredth in the whole run; weight
    decay moves layers that no gradient reaches."""
    total = window.samples if window.final else window.planned or 0
    if len(chain) < DEEP or not total:
        return False
    shares = decay_shares(window)
    third = [min(shares.get(item.name, 0.0), 1.0) for item in chain[: len(chain) // 3]]
    return found.update * (1 - float(np.median(third))) * total < params.moved


def _seen_at_the_end(window: Window) -> str:
    if stood_still(window):
        return "did not fall in the first half of the run"
    return "ended at that of a guess" if window.final and _at_a_guess(window) else ""


def _at_a_guess(window: Window) -> bool:
    """Says whether the loss of classes stands where answers by their shares alone would: nothing was learned, also
    where a wild start made it fall to that."""
    call, parts = loss_call(window), loss_quarters(window)
    if call is None or parts is None or call.function not in CROSS_ENTROPIES or len(call.labels) < 2 or not call.alone:
        return False
    return parts.q4 > entropy(call.labels) - SURE * max(entropy_error(call.labels), parts.se_last)


def _said(ratio: float, style: str) -> str:
    """Writes a ratio; the floor stands for a gradient of exactly zero."""
    return "exactly 0" if ratio < SMALLEST_SAID else f"{ratio:.2g}" if style == "g" else f"{ratio:.1e}"


def _limit(found: _Profile, params: VanishingGradient.Params) -> str:
    if found.share < params.ratio or found.factor < params.factor:
        return f" (limit {params.ratio:g})"
    return f" and stays where it was ({found.update:.1e} of its weights a step), while the last third is turned over"


def _verdict(chain: list[Parameter], found: _Profile, params: VanishingGradient.Params, seen: str) -> Verdict:
    third = max(1, len(chain) // 3)
    first, last = chain[0].name, chain[-1].name
    return Verdict(
        severity=Severity.WARNING,
        first_step=found.since,
        message=(
            f"Gradients vanish on the way back: relative to its weights `{first}` gets {_said(found.ratios[0], 'g')}, "
            f"`{last}` {found.ratios[-1]:.2g}; the first "
            f"third of {len(chain)} layers gets {_said(found.share, 'e')} of the last third{_limit(found, params)}, "
            f"and the loss {seen}"
        ),
        advice=(
            f"Between `{chain[0].layer}` and `{chain[-1].layer}` add residual connections or nn.LayerNorm, and "
            "replace Sigmoid/Tanh by ReLU with "
            f"nn.init.kaiming_normal_. First look whether saturated or dead units stop the gradient on the way."
        ),
        layers=tuple(item.layer for item in chain[:third]),
        evidence=Evidence(
            numbers={
                "first_third": found.early,
                "last_third": found.late,
                "share": found.share,
                "factor_per_layer": found.factor,
                "update_of_first_third": found.update,
                "layers": len(chain),
            },
            series=tuple(f"grad_norm/{item.name}" for item in (chain[0], chain[len(chain) // 2], chain[-1])),
            limit=params.ratio,
        ),
    )
