"""Says what a look at the loss call is told, and how a mismatch is worded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from server.domain.evidence import Window
from server.domain.findings import Evidence, Severity, Verdict
from server.rules._layers import layers
from server.rules._loss_call import LossCall
from server.rules.base import Stage

if TYPE_CHECKING:
    from server.rules.loss_task_mismatch import LossTaskMismatch


class Seen(NamedTuple):
    """What each look is told; `sure` says that enough batches came to trust the values."""

    call: LossCall
    sure: bool
    params: LossTaskMismatch.Params
    operations: tuple[str, ...] = ()
    best: float | None = None  # the lower of the last quarter's loss and of its first, where the run has ended
    cast: str = ""  # why targets that are whole numbers as floats are class ids
    linear: bool = False  # the last layer puts classes into the last dimension
    softmaxes: tuple[tuple[int, ...], ...] = ()  # of the graph: the dimension each goes over, then the sizes
    log_softmaxes: tuple[tuple[int, ...], ...] = ()


def with_kind(window: Window, call: LossCall) -> LossCall:
    """Gives the call with the class of the last layer."""
    kinds = {str(layer.get("name")): str(layer.get("type") or "") for layer in layers(window)}
    return replace(call, last_kind=kinds.get(call.last_layer, ""))


def where(call: LossCall) -> str:
    """Names the last layer, in brackets, with its class where its name is but a number."""
    kind = f", {call.last_kind}" if call.last_kind and call.last_layer.rpartition(".")[2].isdecimal() else ""
    return f" (`{call.last_layer}`{kind})" if call.last_layer else ""


def shape(sizes: tuple[int, ...]) -> str:
    """Writes a shape: 64×10."""
    return "×".join(map(str, sizes)) or "scalar"


def mismatch(call: LossCall, severity: Severity, message: str, advice: str, *, last_resort: bool = False) -> Verdict:
    """Makes a verdict of what reached the loss function; a last resort speaks where no other cause is known."""
    strings = {"function": str(call.function), "input": shape(call.input.shape), "target": shape(call.target.shape)}
    if call.previous_op:
        strings["operation before the loss"] = call.previous_op.removesuffix("Backward0")
    return Verdict(
        severity=severity,
        first_step=0,
        message=message,
        advice=advice,
        layers=(call.last_layer,) if call.last_layer else (),
        evidence=Evidence(numbers={"batches": float(call.batches)}, strings=strings, series=("loss",), limit=0.0),
        at_once=True,
        stage=Stage.STOPPED if last_resort else None,
        exact=False if last_resort else None,
    )
