"""GW471: weights whose scale at the start is far from any initialiser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.statistics import med
from server.rules._layers import Parameter, layers, listed, parameters
from server.rules._loss_call import SAME_VALUES, call_operations, expected, loss_call, own_operations
from server.rules._say import in_python, say
from server.rules.base import Rule, Stage, threshold

WEIGHED = frozenset(  # PyTorch's own modules that multiply their input by each of their matrices
    {
        "Linear", "Bilinear", "LazyLinear", "NonDynamicallyQuantizableLinear", "MultiheadAttention", "RNN", "LSTM",
        "GRU", "RNNCell", "LSTMCell", "GRUCell", "Embedding", "EmbeddingBag",
        *(f"{kind}{dims}d" for kind in ("Conv", "ConvTranspose", "LazyConv", "LazyConvTranspose") for dims in "123"),
    }
)  # fmt: skip


BATCHED = 3  # dimensions: a batch, places, and what is at each
WELL = 1.5  # of the loss of a model that knows nothing
TWICE, START = 2.0, 5  # what one answer for all gets; first losses
RANKED = ("Neg", "Mean", "LogSigmoid", "Softplus", "Sub", "Rsub", *SAME_VALUES)
WIDE, LOUD = 8, 2.5  # columns of an embedding; deviation of a sum of products of two
PLAIN = ("Select", "Slice", "Permute", "Transpose", "Expand", "T", "Mean")
TOO_LARGE = frozenset({"GW201", "GW307", "GW308", "GW309", "GW310", "GW311", "GW952"})  # what follows at once
CLIPPED = "GW421"  # all the time: the gradients are as large as the weights made them
# a bias larger than what is summed up decides alone whether a unit fires
TOO_SMALL = frozenset({"GW206", "GW306", "GW308", "GW310", "GW311", "GW805"})
SURELY_SMALL = 0.2  # of the limit, in most of the matrices that sum up many inputs
MANY_INPUTS = 16  # with fewer, PyTorch's own recurrent layers start small
OFF_CENTRE = 0.25  # of the deviation: a mean beyond it was chosen, if it is beyond the sampling error too
ROUNDING = 1e-6  # of a mean: what is left of a deviation of 0 in float32
SURE_ERRORS, LOOKED_AT = 5.0, 4096  # of the hook's sample
LAYER_NORMS = ("LayerNorm", "RMSNorm")  # as the names of their classes end: T5LayerNorm, LlamaRMSNorm
TRANSFORMERS = 0.02  # the deviation that BERT and GPT-2 start with, whatever the width
RELU_MEAN = math.pi  # squared mean of what a ReLU passes, against its mean square: one to pi


class BadInit(Rule):
    """The run has weights that start far too large or too small

    ## What it does
    Computes var(w)·fan_in of every weight matrix at the start: 2 for He, 1 for Xavier and LeCun, 1/3 for PyTorch's
    default. Above 25 without a normalisation right behind it is a warning (the signal grows fivefold in this layer
    alone), outside 0.05 to 10, by more than chance explains, an info. Where layer norms set every scale anew, 0.01 is
    the lower limit, and the deviation of 0.02 of BERT and GPT-2 is small nowhere. An embedding that is the output layer
    too is measured as one, unless the first loss is about that of equal answers: then something scales what it gives.
    A parameter of your own module counts where the first backwards show that inputs are multiplied by it: the law is
    about sums over fan_in products, and says nothing of rates, positions or thresholds that happen to be a table. Over
    which of its axes is summed, its shape does not tell: every reading must be outside. Weights that are not centred
    (all between 0 and 1, say) add up: their mean counts with fan_in/π, its share in what a ReLU passes on.
    An info becomes a warning where a symptom of it was found, such as a first loss that is far too high. Embeddings
    whose products are the answer (matrix factorisation) are such an info: a sum of d products of deviation 1 has √d.
    It is a warning where the loss is above what one answer for all gets (the variance of the targets under a squared
    error, ln 2 where one score is to be above another) for a quarter of the run.
    Between two sines of a frequency w the phase has a variance of w²·var(w)·fan_in/2, 1 in a SIREN; above 9 is a
    warning.

    ## Why it matters
    The scale of the start decides whether the signal survives the depth: too large and the outputs are sure of
    nonsense, too small and nothing arrives.

    ## What you see in the chart
    A first loss in the tens or hundreds; activations that grow or fade from layer to layer.

    ## What to try
    - `nn.init.kaiming_normal_(weight)` for ReLU, `xavier_uniform_` for tanh; std 0.02 in transformers.
    - Tied embeddings: `nn.init.normal_(embedding.weight, std=0.02)`, the default of 1 is for inputs.

    ## Example
    ```python
    layer.weight.data.normal_(0, 1)                    # wrong: var·fan_in = 512 for 512 inputs
    layer.weight.data.uniform_()                       # wrong: all of them above 0
    nn.init.kaiming_normal_(layer.weight)              # right: 2
    ```

    ## References
    - He et al. 2015, *Delving Deep into Rectifiers*; Glorot & Bengio 2010.
    - Sitzmann et al. 2020, *Implicit Neural Representations with Periodic Activation Functions*.
    - 25 (a gain of 5) and the info band are ours, wide enough for every published initialiser.
    """

    code = "GW471"
    name = "bad-init"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 9
    chart = "weight-norms"
    tier = "facts"
    clears_after = None
    gates = ("finetune", "resumed")
    stage = Stage.INITIALISATION

    @dataclass(frozen=True)
    class Params:
        """Which scales are no initialiser's."""

        large: float = threshold(25.0, unit="var(w)·fan_in", low=3.0, high=1e4, source="ours: a gain of 5")
        high: float = threshold(10.0, unit="var(w)·fan_in", low=3.0, high=1e4, source="ours: five times He")
        folded: float = threshold(
            9.0, unit="variance of a sine's phase", low=2.0, high=1e3, source="ours: half a turn; a SIREN's own is 1"
        )
        low: float = threshold(
            0.05, unit="var(w)·fan_in", low=1e-6, high=0.3, source="ours: a sixth of PyTorch's default"
        )
        undone: float = threshold(
            0.25, unit="of the run", low=0.05, high=1.0, source="ours: so long it answers worse than the mean"
        )
        steps: int = threshold(100, unit="steps", low=20, high=10_000, source="ours: less is a smoke test")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `model`."""
        items = [item for item in parameters(window) if item.trainable and item.std is not None]
        if not items:
            yield NotEvaluated("the weights at the start are not known", "monitor = watch(model, optimizer)")
            return
        normed = {str(pair.get("layer")) for pair in window.fact("graph").get("weighted_before_norm") or ()}
        tied = {str(name) for names in window.fact("model").get("tied") or () for name in names}
        known = window.loss.count > 1 or window.final  # what the loss was called with comes after the first
        heads = tied if known and not _starts_well(window) else set()
        factors = set(map(str, window.fact("graph").get("factors") or ()))
        items = [item for item in items if _weighs(item, factors) or item.name in heads]
        scales = {item.name: scale for item in items if (scale := _scale(item, item.name in heads)) is not None}
        by_name = {item.name: item for item in items}
        free = {name: scale for name, scale in scales.items() if by_name[name].layer not in normed}
        large = [name for name, scale in free.items() if scale.least > params.large]
        if large:
            worst = max(large, key=lambda name: scales[name].least)
            explains = TOO_LARGE | {CLIPPED}
            # over which axes of a parameter of one's own with more than two is summed, is a guess: its effects tell
            plain = any(by_name[name].layer_type in WEIGHED or len(by_name[name].shape) == 2 for name in large)
            sure = plain or TOO_LARGE & window.open_codes
            level = Severity.WARNING if sure else Severity.INFO
            yield _say(level, large, by_name, scales[worst], worst, "large", params.large, explains)
            return
        if (verdict := _folded(window, by_name, params)) is not None:
            yield verdict
            return
        tables = _multiplied(window)
        if tables:
            yield _of_products(tables, _guessed_worse(window, params))
            return
        high = [name for name, scale in free.items() if scale.surely_above(params.high)]
        if high:
            worst = max(high, key=lambda name: scales[name].least)
            yield _say(Severity.INFO, high, by_name, scales[worst], worst, "large", params.high, TOO_LARGE)
            return
        sines = window.fact("graph").get("sines") or {}  # small there, on purpose: the frequency multiplies it
        usual = _usual_of_transformers(window)
        lowest = params.low if usual is None else SURELY_SMALL * params.low
        low = [
            name for name, scale in free.items()
            if name not in sines and scale.most > 0 and scale.surely_below(lowest) and not scale.reaches(usual)
        ]  # fmt: skip
        if low:
            wide = [name for name, scale in scales.items() if _is_wide(by_name[name]) and scale.most > 0]
            tiny = [name for name in wide if scales[name].most < SURELY_SMALL * params.low]
            small = TOO_SMALL if 2 * len(tiny) > len(wide) else frozenset()
            worst = min(low, key=lambda name: scales[name].most)
            yield _say(Severity.INFO, low, by_name, scales[worst], worst, "small", lowest, small)


def _is_wide(item: Parameter) -> bool:
    return (item.fan_in or 0) >= MANY_INPUTS


def _usual_of_transformers(window: Window) -> float | None:
    """Gives the least deviation that a transformer of so many layer norms is known to start with, 0.02 divided by the
    root of the branches as in GPT-2; None of a model without layer norms."""
    norms = sum(str(layer.get("type")).endswith(LAYER_NORMS) for layer in layers(window))
    return TRANSFORMERS / math.sqrt(norms) if norms else None


def _starts_well(window: Window) -> bool:
    """Says whether the first loss is about that of a model that knows nothing: what a table's head gives is scaled, as
    in T5."""
    call = loss_call(window)
    start = expected(call) if call is not None else None
    return call is not None and start is not None and call.value is not None and call.value < WELL * start.value


def _weighs(item: Parameter, factors: set[str]) -> bool:
    """Says whether inputs are multiplied by a parameter; one of your own with a batch of 1 in front is an input itself,
    as a picture that is painted by its slopes."""
    painted = len(item.shape) >= BATCHED and item.shape[0] == 1
    return item.layer_type in WEIGHED or (item.name in factors and not painted)


def _multiplied(window: Window) -> list[Parameter]:
    """Lists wide embeddings whose products, summed up, are the answer."""
    operations = call_operations(window)[len(_of_pairs(window)) :]
    behind = [name for name in operations if not name.startswith((*SAME_VALUES, "Add", "Sigmoid"))]
    product = any(name.startswith(("SumBackward", "Bmm", "Dot")) for name in behind[:3])
    only = all(name.startswith(("SumBackward", "Bmm", "Dot", "Mul", "Embedding", *PLAIN)) for name in behind[1:])
    tables = [item for item in parameters(window) if "Embedding" in item.layer_type and item.shape[-1] >= WIDE]
    large = [item for item in tables if item.std is not None and item.std**2 * math.sqrt(item.shape[-1]) > LOUD]
    looked_up = sum(name.startswith("Embedding") for name in behind)
    return large if product and only and looked_up >= 2 and len(large) >= 2 else []


def _of_pairs(window: Window) -> tuple[str, ...]:
    """Gives the operations of a loss that wants one score above another, log(1 + exp(other - one)), as BPR has it; none
    of any other loss."""
    head = tuple(takewhile(lambda name: name.startswith(RANKED), own_operations(window)))
    kinds = [name for name in head if name.startswith(("LogSigmoid", "Softplus"))]
    return head if len(kinds) == 1 and head[-1].startswith(("Sub", "Rsub")) else ()


def _folded(window: Window, by_name: Mapping[str, Parameter], params: BadInit.Params) -> Verdict | None:
    """Judges layers between two sines: behind one, inputs have a mean square of 1/2, and a phase that spreads over more
    than a turn tells neighbours apart by chance."""
    sines = window.fact("graph").get("sines")
    found = [
        (name, item, frequency, frequency**2 * item.std**2 * (item.fan_in or item.shape[1]) / 2)
        for name, frequency in (sines.items() if isinstance(sines, Mapping) else ())
        if (item := by_name.get(name)) is not None and item.std is not None and len(item.shape) > 1
    ]
    over = [one for one in found if one[3] > params.folded]
    if not over:
        return None
    name, _, frequency, phase = max(over, key=lambda one: one[3])
    return say(
        Severity.WARNING,
        f"Between two sines `{name}` starts so large that the phase of the next, sin({frequency:g}·x), has a deviation "
        f"of {math.sqrt(phase):.3g} (1 in a SIREN, {math.sqrt(params.folded):g} is half a turn): places beside each "
        "other begin with unlike values, and what lies between them is not learned",
        f"Start such layers with nn.init.uniform_(weight, -b, b) where b = sqrt(6 / inputs) / {frequency:g}, and the "
        "first one with b = 1 / inputs.",
        layers=[item.layer for _, item, _, _ in over],
        numbers={"phase": phase, "frequency": frequency, "matrices": len(over)},
        strings={"parameters": ", ".join(one[0] for one in over)},
        series=[f"weight_norm/{one[0]}" for one in over[:8]],
        limit=params.folded,
        explains=TOO_LARGE,
    )


def _guessed_worse(window: Window, params: BadInit.Params) -> tuple[float, float] | None:
    """Gives the loss after a quarter of the run and what one answer for all gets (the variance of the targets under a
    squared error, ln 2 for pairs), where the start was above twice that, and it would still be better."""
    losses, guess = window.loss.values, _guess(window)
    total = window.samples if window.final else window.planned or 0
    at = int(params.undone * total)
    if guess is None or total < params.steps or len(losses) < at:
        return None
    early, level = med(losses[:START]), med(losses[at // 2 : at])
    return (level, guess) if early > TWICE * guess and level > guess else None


def _guess(window: Window) -> float | None:
    call = loss_call(window)
    if _of_pairs(window) and any(name.startswith("Mean") for name in _of_pairs(window)):
        return math.log(2)
    squares = call is not None and call.function == "mse_loss" and call.alone and call.reduction == "mean"
    return call.target.std**2 if call is not None and squares and call.target.std else None


def _of_products(tables: list[Parameter], worse: tuple[float, float] | None) -> Verdict:
    width, std = tables[0].shape[-1], tables[0].std or 0.0
    names = listed([item.name for item in tables])
    return say(
        Severity.WARNING if worse else Severity.INFO,
        f"The embeddings {names} start with a deviation of {std:.2g}, and the answer is a sum of {width} of their "
        f"products: its deviation is {std * std * math.sqrt(width):.3g}"
        + (
            f"; after a quarter of the run the loss was still {worse[0]:.4g}, above {worse[1]:.4g}, which one answer "
            "for all gets"
            if worse
            else ""
        ),
        "Start them small: nn.init.normal_(embedding.weight, std=0.05), so that first answers are near 0 (or near a "
        "bias that is the mean of the targets).",
        layers=[item.layer for item in tables],
        numbers={"deviation": std * std * math.sqrt(width), "width": float(width)},
        series=[f"weight_norm/{item.name}" for item in tables[:8]],
        limit=LOUD,
        explains=TOO_LARGE,
    )


@dataclass(frozen=True)
class Scale:
    """var(w)·fan_in: the least and the most it may be, since the shape of a tensor of one's own does not say over which
    of its axes is summed; the deviation of the weights, and its relative error."""

    least: float
    most: float
    std: float
    error: float

    def surely_above(self, limit: float) -> bool:
        """Says whether it is above a limit by more than the weights' sampling explains."""
        return self.least * (1 - self.error) ** 2 > limit

    def surely_below(self, limit: float) -> bool:
        """Says whether it is below a limit by more than the weights' sampling explains."""
        return self.most * (1 + self.error) ** 2 < limit

    def reaches(self, deviation: float | None) -> bool:
        """Says whether the deviation may be that large; no where it is None."""
        return deviation is not None and self.std > deviation * (1 - self.error)


def _scale(item: Parameter, is_head: bool) -> Scale | None:
    if len(item.shape) < 2 or item.std is None or "Norm" in item.layer_type:
        return None
    if item.std <= ROUNDING * abs(item.mean):
        return None  # one number in every place, which zero-or-identical-init judges
    seen = min(max(item.numel, 1), LOOKED_AT)
    error = min(SURE_ERRORS / math.sqrt(2 * seen), 1.0)
    if "Embedding" in item.layer_type:
        value = item.std**2 * item.shape[-1]
        return Scale(value, value, item.std, error) if is_head else None
    # what is multiplied by one of your own may be shares that add up to 1, of which the mean makes nothing larger
    sure_mean = max(OFF_CENTRE * item.std, SURE_ERRORS * item.std / math.sqrt(seen))
    chosen = item.layer_type in WEIGHED and abs(item.mean) > sure_mean
    values = [(item.std**2 + (item.mean**2 * fan_in / RELU_MEAN if chosen else 0.0)) * fan_in for fan_in in _fans(item)]
    return Scale(min(values), max(values), item.std, error)


def _fans(item: Parameter) -> list[int]:
    """Lists how many products may be summed up: one number of PyTorch's own layers; of a tensor of one's own all but
    one of its axes, or one of the last two, as in a stack of matrices."""
    if item.layer_type in WEIGHED:
        return [item.fan_in or item.shape[1]]
    return sorted({*(item.numel // size for size in item.shape if size), *item.shape[-2:]})


def _say(
    severity: Severity,
    names: list[str],
    by_name: dict[str, Parameter],
    scale: Scale,
    worst: str,
    size: str,
    limit: float,
    explains: frozenset[str] = TOO_LARGE,
) -> Verdict:
    value = scale.least if size == "large" else scale.most
    bound = "" if scale.least == scale.most else " or more" if size == "large" else " or less"
    return say(
        severity,
        f"{len(names)} weight {'matrices start' if len(names) > 1 else 'matrix starts'} too {size}: `{worst}` has "
        f"var(w)·fan_in = {value:.3g}{bound} (He 2, Xavier 1, PyTorch's default 1/3; limit {limit:g})"
        + (f"; also {listed([name for name in names if name != worst])}" if len(names) > 1 else ""),
        f"Initialise it: nn.init.kaiming_normal_({in_python(worst)}), or std=0.02 for an embedding that is the output "
        "layer too.",
        layers=[by_name[name].layer for name in names],
        numbers={"var_fan_in": value, "matrices": len(names)},
        strings={"parameters": ", ".join(names)},
        series=[f"weight_norm/{name}" for name in names[:8]],
        limit=limit,
        explains=explains,
    )
