"""GW308: units of a ReLU layer that give zero for every input."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from server.domain.evidence import Window
from server.domain.findings import Evidence, NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._facts import read_once
from server.rules._layers import Parameter, first_unfed, layers, listed, parameters, unfed_since
from server.rules._progress import stuck
from server.rules.base import Rule, Stage, threshold

RELU_TYPES = ("ReLU", "ReLU6", "Threshold")
OF_THE_START = frozenset({"GW107", "GW114", "GW471"})  # they say why nothing fires


class DeadReLU(Rule):
    """The run has ReLU layers most of whose units never fire

    ## What it does
    The hook remembers per unit (channel) whether it was ever above zero. After 50 samples and 2,000 inputs a layer with
    more than half of its units dead is reported: as info while the loss falls (narrow nets often work so), as a warning
    when the loss is stuck (after 200 steps) or more than 90 % are dead, as an error when both hold. Where units were
    not counted, a layer whose outputs are more than 98 % zeros in 50 samples in a row is a warning. A layer that gives
    nothing but zeros from the first step on started so, and comes before what follows from it, such as a high first
    loss. A `F.relu` without a module is seen by what it leaves: a layer whose weights got a gradient of exactly 0 in
    every measured step while its bias did not was fed nothing but zeros, and where nothing came back to any layer
    before it either, the units before it are dead; that they died later is seen by the newest ten.

    ## Why it matters
    A dead unit gets no gradient and cannot come back. A layer that is dead as a whole cuts everything before it off.

    ## What you see in the chart
    The share of zeros of the layer sits near 1; the gradient norms of the layers before it are zero.

    ## What to try
    - Units that died later: lower the learning rate, for a step that is too large pushes biases below every input.
    - Units that never fired: start biases at 0 (or 0.01), weights with `nn.init.kaiming_normal_`, and scale the inputs.
    - `nn.LeakyReLU(0.01)` or `nn.GELU()` let a unit come back; normalise before the activation.

    ## Example
    ```python
    nn.init.constant_(layer.bias, -10.0)     # wrong: no input lifts the unit above zero
    nn.init.zeros_(layer.bias)               # right
    ```

    ## References
    - Lu et al. 2020, *Dying ReLU and Initialization*.
    - Half of the units: SageMaker Debugger, TheDeepChecker. A limit on the share of zeros alone below 0.98 fires on
      healthy wide layers, which are 50 to 90 % sparse.
    """

    code = "GW308"
    name = "dead-relu"
    severity = Severity.ERROR
    since = "0.1.0"
    version = 8
    chart = "activations"
    tier = "layers"
    clears_after = 10
    stage = Stage.UNITS
    levels = {"the limit": "limit"}  # noqa: RUF012 - declared ClassVar by Rule

    @dataclass(frozen=True)
    class Params:
        """How many units may die."""

        dead: float = threshold(
            0.5, unit="share of units", low=0.05, high=1.0, relax="down", source="SageMaker Debugger, TheDeepChecker"
        )
        most: float = threshold(
            0.9, unit="share of units", low=0.1, high=1.0, relax="down", source="ours: little is left to learn with"
        )
        zeros: float = threshold(
            0.98, unit="share of zeros", low=0.5, high=1.0, source="ours: 50 to 90 % zeros are healthy in wide layers"
        )
        samples: int = threshold(
            50, unit="samples", low=1, high=10_000, source="ours: with 2,000 inputs a rare unit has shown itself"
        )
        inputs: int = threshold(
            2000, unit="inputs", low=1, high=1_000_000, source="ours: a unit that fires once in 1,000 is alive"
        )
        samples_at_end: int = threshold(
            10, unit="samples", low=1, high=10_000, source="ours: short runs are judged with what they have"
        )
        inputs_at_end: int = threshold(500, unit="inputs", low=1, high=1_000_000, source="ours: short runs")
        stuck_after: int = threshold(
            200, unit="steps", low=50, high=10_000, source="ours: with half of its units a net may just begin slowly"
        )

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the `dead_units` fact, else the share of zeros of ReLU modules."""
        counted = {str(layer): item for layer, item in window.fact("dead_units").items() if isinstance(item, Mapping)}
        samples = params.samples_at_end if window.final else params.samples
        inputs = params.inputs_at_end if window.final else params.inputs
        ready = {
            layer: item
            for layer, item in counted.items()
            if int(item.get("samples") or 0) >= samples and int(item.get("inputs") or 0) >= inputs and item.get("units")
        }
        dead = {layer: int(item.get("dead") or 0) / int(item["units"]) for layer, item in ready.items()}
        worst = {layer: share for layer, share in dead.items() if share > params.dead}
        if worst:
            yield _dead(window, worst, ready, params)
            return
        types = read_once(window.fact("model"), "types", lambda _: _types(window))
        zeros = {
            layer: series for layer, series in window.by_layer(Kind.ACT_ZEROS).items() if types.get(layer) in RELU_TYPES
        }
        silent = {
            layer: float(np.min(series.tail(samples)))
            for layer, series in zeros.items()
            if series.count >= samples and series.last > params.zeros and np.all(series.tail(samples) > params.zeros)
        }
        if silent:
            yield _silent(window, silent, samples, params.zeros)
        elif (unfed := first_unfed(window)) is not None and not _zeros_before(window, unfed[0]):
            yield _unfed(window, *unfed)
        elif (unfed_now := unfed_since(window)) is not None:
            yield _unfed(window, *unfed_now)
        elif not ready and not any(series.count >= samples for series in zeros.values()):
            yield _why_not(counted, zeros, types, samples)


def _types(window: Window) -> dict[str, str]:
    return {str(layer.get("name")): str(layer.get("type", "")) for layer in layers(window)}


def _why_not(
    counted: Mapping[str, object], zeros: Mapping[str, object], types: Mapping[str, str], samples: int
) -> NotEvaluated:
    if counted or zeros:
        return NotEvaluated(f"{samples} samples of the ReLU layers are needed before a unit is called dead")
    if types and not any(kind in RELU_TYPES for kind in types.values()):
        return NotEvaluated("the model has no ReLU module", "self.act = nn.ReLU()  # a module is seen, F.relu is not")
    return NotEvaluated("no activation was measured yet")


def _dead(
    window: Window, worst: Mapping[str, float], ready: Mapping[str, Mapping[str, int]], params: DeadReLU.Params
) -> Verdict:
    layer = max(worst, key=lambda name: worst[name])
    item, share = ready[layer], worst[layer]
    still = bool(stuck(window)) and (share > params.most or window.final or window.samples >= params.stuck_after)
    severity = (
        Severity.ERROR
        if still and share > params.most
        else Severity.WARNING
        if still or share > params.most
        else Severity.INFO
    )
    others = f"; above the limit too: {listed([name for name in worst if name != layer])}" if len(worst) > 1 else ""
    never = severity is not Severity.INFO and _never_fired(window, layer, share)
    learning = ", from the first step on" if never else ""
    learning += ", and the loss does not fall" if still else ""
    return Verdict(
        severity=severity,
        first_step=0 if never else max(int(item.get("since") or 0), 0),
        message=(
            f"Layer `{layer}`: {item.get('dead')} of {item['units']} units ({share:.0%}) gave 0 for all of "
            f"{item.get('inputs')} inputs (limit {params.dead:.0%}){others}{learning}"
        ),
        advice=_advice(layer, never=never),
        layers=tuple(sorted(worst, key=lambda name: -worst[name])),
        evidence=Evidence(
            numbers={
                "dead": int(item.get("dead") or 0),
                "units": int(item["units"]),
                "inputs": int(item.get("inputs") or 0),
                "layers": len(worst),
            },
            series=tuple(f"act/zeros/{name}" for name in sorted(worst)[:8]),
            limit=params.dead,
        ),
        stage=Stage.FIRST_SIGNAL if never else None,
    )


def _never_fired(window: Window, layer: str, share: float) -> bool:
    """Says whether a layer gave nothing but zeros before the first update: then it started so, and the first loss and
    all that follows are what the rest can do without it."""
    zeros = window.series(f"act/zeros/{layer}")
    first = zeros.count > 0 and len(window.loss) > 0 and zeros.steps[0] == window.loss.steps[0] and zeros.values[0] >= 1
    return bool(first) and share >= 1 and not OF_THE_START & window.open_codes


def _silent(window: Window, silent: Mapping[str, float], samples: int, limit: float) -> Verdict:
    layer = max(silent, key=lambda name: silent[name])
    series = window.series(f"act/zeros/{layer}")
    since = int(series.steps[-samples])
    others = f"; above the limit too: {listed([name for name in silent if name != layer])}" if len(silent) > 1 else ""
    never = _never_fired(window, layer, silent[layer])
    return Verdict(
        severity=Severity.WARNING,
        first_step=since,
        message=(
            f"Layer `{layer}`: {_at_least(silent[layer])} of the outputs were 0 in each of {samples} samples since "
            f"step {since} (limit {limit:.0%}){others}"
        ),
        advice=_advice(layer, never=never),
        layers=tuple(sorted(silent)),
        evidence=Evidence(
            numbers={"zeros": silent[layer], "samples": samples},
            series=tuple(f"act/zeros/{name}" for name in sorted(silent)[:8]),
            limit=limit,
        ),
        stage=Stage.FIRST_SIGNAL if never else None,
    )


def _at_least(share: float) -> str:
    return "100%" if share >= 1 else f"at least {min(share, 0.999):.1%}"


def _zeros_before(window: Window, layer: Parameter) -> bool:
    """Says whether other weights were exactly zero at the second look too: they put out zeros, and no unit is dead."""
    return any(
        item.zero for item in parameters(window) if item.trainable and item.is_matrix and item.name != layer.name
    )


def _unfed(window: Window, layer: Parameter, before: int, since: int | None = None) -> Verdict:
    """Tells of a layer that gets nothing, from the first step on or since a later one."""
    still = bool(stuck(window))
    if since is None:
        looks = int(window.fact("gradients").get("sampled") or 0)
        when, end = "Nothing", "no unit before it fires"
    else:
        looks = int(np.count_nonzero(window.series(f"grad_norm/{layer.name}").steps >= since))
        when, end = f"Since step {since} nothing", "every unit before it died"
    at_once = since is None and not OF_THE_START & window.open_codes
    return Verdict(
        severity=Severity.ERROR if still else Severity.WARNING,
        first_step=since or 0,
        message=(
            f"{when} but zeros reaches layer `{layer.layer}`: in each of {looks} measured steps its weights got a "
            f"gradient of exactly 0 and its bias did not, and nothing came back to the {before} "
            f"layer{'s' if before > 1 else ''} before it; {end}" + (", and the loss does not fall" if still else "")
        ),
        advice=_advice(layer.layer, never=since is None) + " Wider layers die less easily.",
        layers=(layer.layer,),
        evidence=Evidence(
            numbers={"layers_before": before, "samples": looks}, series=(f"grad_norm/{layer.name}",), limit=0.0
        ),
        stage=Stage.FIRST_SIGNAL if at_once else None,
    )


_START = "tart the layer before `{layer}` with nn.init.kaiming_normal_(weight) and a bias of 0"
_OTHERWISE = "; replace nn.ReLU() by nn.LeakyReLU(0.01) or nn.GELU(), or put a normalisation before it."


def _advice(layer: str, *, never: bool) -> str:
    """Says what to try; no learning rate killed what never fired."""
    first = f"S{_START}, and scale its inputs" if never else f"Divide the learning rate by 3 to 10 and s{_START}"
    return first.format(layer=layer) + _OTHERWISE
