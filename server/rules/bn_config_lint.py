"""GW435: settings of batch norm that are wasted or unlikely to be meant."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from server.domain.evidence import Window
from server.domain.findings import NotEvaluated, Severity, Verdict
from server.domain.kinds import Kind
from server.rules._batchnorm import norm_layers
from server.rules._layers import layers, listed, parameters
from server.rules._say import say
from server.rules.base import Rule, Stage, threshold

FORWARDS = 3  # in training


class BnConfigLint(Rule):
    """The run has batch-norm settings that are wasted or not meant

    ## What it does
    Reads the arguments of the batch-norm layers: a momentum of 0.5 or more (PyTorch's momentum is the share of the
    *new* batch: 0.9 keeps one batch only) is a warning, as is a momentum of 0 whose statistics were seen to stand
    still (SAM sets it to 0 for its second forward alone); an eps above 0.01, or no running
    statistics at all, is an info. A bias in the layer right before a batch norm is an info as well, and so are frozen
    weights of a norm whose running statistics still move (`requires_grad_(False)` leaves them alone; `eval()` stops
    them).

    ## Why it matters
    With momentum 0.9 the running statistics are those of the last batch: evaluation jumps from batch to batch. A bias
    before batch norm is subtracted again.

    ## What you see in the chart
    A validation loss far noisier than the training loss.

    ## What to try
    - `momentum=0.1` (PyTorch) is `decay=0.9` (TensorFlow).
    - `bias=False` in the layer before a batch norm.

    ## Example
    ```python
    nn.BatchNorm2d(64, momentum=0.9)     # wrong: TensorFlow's number
    nn.BatchNorm2d(64, momentum=0.1)     # right
    ```

    ## References
    - PyTorch, `torch.nn.BatchNorm2d`: x_new = (1 − momentum)·x_old + momentum·x_batch.
    - 0.5 and 0.01 are ours.
    """

    code = "GW435"
    name = "bn-config-lint"
    severity = Severity.WARNING
    since = "0.2.0"
    version = 4
    chart = "activations"
    tier = "facts"
    clears_after = 1
    stage = Stage.REGULARISATION
    exact = True

    @dataclass(frozen=True)
    class Params:
        """What is unlikely to be meant."""

        momentum: float = threshold(0.5, unit="share of the newest batch", low=0.05, high=1.0, source="ours")
        eps: float = threshold(0.01, unit="added to the variance", low=1e-5, high=1.0, source="ours: a tenth of a std")

    def check(self, window: Window, params: Params) -> Iterator[Verdict | NotEvaluated]:
        """Judges the arguments in the fact `model`."""
        known = layers(window)
        if not known:
            yield NotEvaluated("the layers of the model are not known", "monitor = watch(model, optimizer)")
            return
        norms = [item for item in known if "BatchNorm" in str(item.get("type"))]
        arguments = {str(item["name"]): item.get("arguments") or {} for item in norms}
        unseen = {str(item["name"]) for item in norms if item.get("type") == "BatchNormalization"}  # of Keras
        fast = [name for name, item in arguments.items() if (item.get("momentum") or 0) >= params.momentum]
        stuck = [
            name for name, item in arguments.items()
            if item.get("momentum") == 0 and (name in unseen or _stands(window, name))
        ]  # fmt: skip
        blind = [name for name, item in arguments.items() if item.get("track_running_stats") is False]
        soft = [name for name, item in arguments.items() if (item.get("eps") or 0) > params.eps]
        if fast:
            value = arguments[fast[0]]["momentum"]
            yield _say(
                Severity.WARNING, fast, f"a momentum of {value:g}: the running statistics follow the last batch",
                "PyTorch's momentum is the share of the new batch: 0.1 is what TensorFlow calls 0.9.", params.momentum,
            )  # fmt: skip
        elif stuck:
            yield _say(
                Severity.WARNING, stuck, "a momentum of 0: the running statistics never move",
                "Use momentum=0.1, or freeze the layer with .eval() if that is meant.", 0.0, exact=False,
            )  # fmt: skip
        elif soft or blind:
            what = (
                f"an eps above {params.eps:g}" if soft else "no running statistics: evaluation uses those of its batch"
            )
            yield _say(
                Severity.INFO, soft or blind, what,
                "eps=1e-5 is the default." if soft else "Use track_running_stats=True unless it is meant.", params.eps,
            )  # fmt: skip
        elif half := [name for name in arguments if _half_frozen(window, name)]:
            yield _say(
                Severity.INFO, half, "frozen weights, but statistics that still move",
                "Call .eval() on the norm after model.train(), so that its statistics stay those of its weights.", 0.0,
                exact=False,
            )  # fmt: skip
        else:
            before = window.fact("graph").get("weighted_before_norm") or ()
            biased = [
                str(item["layer"]) for item in before if _has_bias(known, str(item.get("layer")), item, arguments)
            ]
            if biased:
                yield _say(
                    Severity.INFO, biased, "a bias right before a batch norm, which subtracts it again",
                    "Write bias=False there; the batch norm has a bias of its own.", 0.0,
                )  # fmt: skip


def _stands(window: Window, name: str) -> bool:
    """Says whether the stored statistics were seen to stand still from the first forward on.

    The table of the layers is of one moment: SAM sets the momentum to 0 for the second forward of each step alone.
    """
    seen = norm_layers(window).get(name)
    return seen is not None and seen.samples >= FORWARDS and seen.unmoved >= seen.samples - 1


def _half_frozen(window: Window, name: str) -> bool:
    """Says whether a norm's weights are frozen, while others learn, and its forwards are those of training."""
    known = parameters(window)
    own = [item for item in known if item.layer == name]
    seen = norm_layers(window).get(name)
    learns = any(item.trainable for item in known)
    trained = window.by_layer(Kind.PARAM_GRAD_NORM)  # by now, while the table is that of the start
    moves = seen is not None and seen.samples >= FORWARDS and not seen.frozen and not seen.unmoved
    return moves and learns and bool(own) and not any(item.trainable or item.name in trained for item in own)


def _has_bias(known: list, name: str, pair: dict, norms: dict) -> bool:  # type: ignore[type-arg]
    layer = next((item for item in known if item.get("name") == name), None)
    return layer is not None and bool((layer.get("arguments") or {}).get("bias")) and pair.get("norm") in norms


def _say(severity: Severity, names: list[str], what: str, advice: str, limit: float, *, exact: bool = True) -> Verdict:
    """Makes the verdict; one that is not exact goes under bn-stats-not-updating, which sees the same."""
    many = "layers have" if len(names) > 1 else "layer has"
    return say(
        severity, f"{len(names)} {many} {what}: {listed(names)}", advice, layers=names,
        numbers={"layers": len(names)}, limit=limit, exact=exact,
    )  # fmt: skip
