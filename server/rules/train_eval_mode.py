"""GW432: training runs in eval mode, or validation in train mode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._layers import layers, listed
from server.rules._offences import offences
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

MODE_MATTERS = ("Dropout", "BatchNorm", "InstanceNorm", "SyncBatchNorm", "RReLU", "DropPath")
DROP_INSIDE = ("LSTM", "GRU", "RNN", "MultiheadAttention")

TEXTS = {
    "eval-during-training": (
        "the optimizer stepped while every {layers} was in eval mode",
        (
            "Call model.train() at the start of each epoch, after the validation: {off}. Frozen on purpose? Say "
            "watch(…, finetune=True)."
        ),
    ),
    "train-during-validation": (
        "the validation ran in train mode",
        "Call model.eval() before the validation loop and model.train() after it: {on}.",
    ),
}


IN_A_PHASE = (
    "the optimizer stepped in eval mode, in turns with steps in training mode: the validation trains on its own data",
    "Call backward() and optimizer.step() in the training phase alone, and run the validation under torch.no_grad().",
)


class TrainEvalMode(Rule):
    """The run has training in eval mode, or validation that drops or is in train mode

    ## What it does
    Looks at the mode of dropout and batch norm at each optimizer step, and at each loss without gradients that must
    belong to a validation. A dropout of 0 is the same in both. The wrong mode in at least 9 of 10 of them, five times
    or more (twice at the end of a short run, or where the loop reports its evaluations and all were wrong), in the
    whole run or since it began, is an error; in fine-tuning, where eval mode in training may be meant, an info.
    Training counts as in eval mode where the model itself is: norms alone that are put there, to keep their statistics,
    are meant to be. Steps in eval mode that take turns with others, in a loop that reports evaluations, are those of
    the validation.

    ## Why it matters
    Training in eval mode: no dropout, and batch norm learns no statistics. Validation in train mode: its numbers depend
    on chance and on the batch, and its data leak into the statistics.

    ## What you see in the chart
    A kink at the first evaluation: after it the model never went back to training.

    ## What to try
    `model.train()` as the first line of each epoch, `model.eval()` as the first of each evaluation. A function is told
    the mode: `F.dropout(x, 0.1, training=self.training)`, and `dropout_p=0.1 if self.training else 0.0` for fused
    attention.

    ## Example
    ```python
    model.eval(); validate(model)      # … and on with the training: wrong
    model.eval(); validate(model); model.train()
    ```

    ## References
    - PyTorch, `torch.nn.Module.train`.
    - Exact test; the shares are ours.
    """

    code = "GW432"
    name = "train-eval-mode"
    severity = Severity.ERROR
    since = "0.2.0"
    version = 4
    chart = "loss"
    tier = "facts"
    clears_after = 1
    stage = Stage.STRUCTURE
    exact = True

    @dataclass(frozen=True)
    class Params:
        """When it is a habit."""

        times: int = threshold(5, unit="times", low=1, high=100, source="ours: once can be the seam of two phases")
        times_at_end: int = threshold(2, unit="times", low=1, high=100, source="ours: short runs validate rarely")
        times_reported: int = threshold(
            2, unit="times", low=1, high=100, source="ours: the loop says itself that it evaluated"
        )
        share: float = threshold(0.9, unit="of the times it could be", low=0.1, high=1.0, source="ours: a habit")
        share_steps: float = threshold(0.5, unit="of the steps", low=0.05, high=1.0, source="ours: from some epoch on")

        share_phase: float = threshold(0.05, unit="of the steps", low=0.01, high=0.5, source="ours: a validation set")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the fact `eval_dropout`, then the offences of the fact `loop`."""
        times = params.times_at_end if window.final else params.times
        said = min(times, params.times_reported) if _reports(window) else times
        if (verdict := _never_stops(window, said, params.share)) is not None:
            yield verdict
            return
        loop = window.fact("loop")
        if not loop:
            yield NotEvaluated("the loop was not seen yet", "monitor.step(loss)  # as the last line of each iteration")
            return
        known = layers(window)
        if known and not any(map(_by_mode, known)):
            return
        for item in offences(loop):
            if item.kind not in TEXTS:
                continue
            trains = item.kind == "eval-during-training"
            habit = item.habit(times, params.share)
            since, whole = item.since_first, item.whole
            for found in (whole, item.newest) if not trains else ():
                if found.of == found.times >= said:
                    habit = habit or found
            if trains and since.times >= max(times, params.share_steps * since.of):
                habit = habit or since
            often = whole.times >= max(params.times, params.share_phase * whole.of)
            phase = trains and whole.first > 0 and window.final and often and _validates(window)
            if phase and since.times < params.share_steps * since.of:
                habit = None
            if habit is None and not phase:
                continue
            what, advice = (text.format(**_words(known)) for text in (TEXTS[item.kind] if habit else IN_A_PHASE))
            count, of, first = habit or whole
            yield say(
                Severity.INFO if trains and window.gates.finetune else Severity.ERROR,
                f"In {count} of {of} cases {what}, first at step {first}",
                advice,
                step=first,
                numbers={"count": count, "of": of},
                strings={"kind": item.kind},
                series=("loss", "val/loss"),
                limit=0.0,
            )
            return


def _words(known: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Names what the mode changes in this model: dropout, norms, or both where the layers are not known."""
    by_mode = [str(layer.get("type", "")) for layer in known if _by_mode(layer)]
    norm = not by_mode or any("Norm" in kind for kind in by_mode)
    drop = not by_mode or any("Norm" not in kind for kind in by_mode)
    told = {
        "layers": ("dropout", "batch norm"),
        "off": ("dropout is off", "batch norm does not learn its statistics"),
        "on": ("dropout is on", "the validation data move batch norm"),
    }
    return {key: " and ".join([words[0]] * drop + [words[1]] * norm) for key, words in told.items()}


def _by_mode(layer: Mapping[str, Any]) -> bool:
    """Says whether a layer does something else in training: a dropout of 0, or a norm without statistics, does not."""
    kind, given = str(layer.get("type", "")), layer.get("arguments") or {}
    if kind in DROP_INSIDE:
        return float(given.get("dropout") or 0) > 0
    return kind.startswith(MODE_MATTERS) and given.get("p") != 0 and given.get("track_running_stats") is not False


def _reports(window: Window) -> bool:
    """Says whether an evaluation was reported: then losses without gradients are no passing figures."""
    return bool(window.by_layer(Kind.VALIDATION))


def _validates(window: Window) -> bool:
    """Says whether the loop reports evaluations: then steps in eval mode are those of the validation."""
    return any(series.count >= 2 for series in window.by_layer(Kind.VALIDATION).values())


def _never_stops(window: Window, times: int, share: float) -> Verdict | None:
    """Judges dropout functions that drop in eval mode."""
    fact = window.fact("eval_dropout")
    dropped, losses = int(fact.get("dropped") or 0), int(fact.get("losses") or 0)
    names = fact.get("layers")
    if not isinstance(names, Mapping) or not names or dropped < times or dropped < share * losses:
        return None
    layer = next(iter(names))
    about = names[layer] if isinstance(names[layer], Mapping) else {}
    function, rate, step = str(about.get("function", "dropout")), float(about.get("p") or 0.0), fact.get("first_step")
    others = f" ({listed(list(names)[1:])} too)" if len(names) > 1 else ""
    attention = function == "scaled_dot_product_attention"
    return say(
        Severity.ERROR,
        f"In {dropped} of {losses} validation losses `{layer}` went on dropping {rate:.0%} of its values by a call of "
        f"{function}{others}, although the model was in eval mode",
        "Pass dropout_p=… if self.training else 0.0: the function is not told the mode otherwise."
        if attention
        else "Pass training=self.training (the function drops by default), or use nn.Dropout. Meant, as in Monte Carlo "
        "dropout? Mute the finding.",
        step=int(step or 0),
        layers=tuple(map(str, names)),
        numbers={"dropped": dropped, "losses": losses, "p": rate},
        strings={"function": function},
        series=("val/loss", "loss"),
        limit=0.0,
    )
