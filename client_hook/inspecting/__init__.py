"""Looks inside a model with one batch: the filters of its first layer, what each layer makes of the batch, and which
inputs its answer hangs on. A copy does the work (`stand_in`), so the model and its training stay as they are.

Loaded by `monitor.inspect` alone. Not for: judging; the page shows it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.guard import attempted
from client_hook.inspecting import filters, saliency
from client_hook.inspecting.apart import apart
from client_hook.inspecting.errors import InspectError, shape
from client_hook.inspecting.feeding import Fed, feed
from client_hook.inspecting.layers import LayerLook
from client_hook.inspecting.pictures import Budget
from client_hook.inspecting.stand_in import stand_in
from client_hook.patches import capture
from client_hook.preflight import trees
from client_hook.records import MAX_RECORD_BYTES, plain

VERSION = 1
PICTURE_BYTES = 72_000  # of all layers' pictures: the event has to stay below MAX_RECORD_BYTES


def inspection(context: Context, batch: Any, name: str | None = None) -> dict[str, Any]:
    """Gives the event `inspection`; raises InspectError with a sentence where the model cannot be run on the batch."""
    began = perf_counter()
    if capture.graph is not None:
        raise InspectError("inspect: a CUDA graph is being captured; call it after the capture")
    key, model = _chosen(context.models, name)
    with torch.inference_mode(False):  # what is copied in it could not be learned from
        stand = stand_in(model)
    with apart(context.patches, stand):
        found, error = attempted(_look, key, stand, batch)
    if error is not None:
        if isinstance(error, InspectError):
            raise error
        raise InspectError(
            f"batch: it cannot be looked at ({type(error).__name__}: {str(error).strip()[:300]})"
        ) from error
    return _fitting(plain(found | {"seconds": round(perf_counter() - began, 3)}))


def _fitting(found: dict[str, Any]) -> dict[str, Any]:
    """Leaves pictures of layers out, the last ones first, until the event fits."""
    drawn = [layer for layer in found["layers"] if "maps" in layer]
    left = len(drawn)
    while left and len(json.dumps(found)) > 0.95 * MAX_RECORD_BYTES:
        left -= 1
        del drawn[left]["maps"]
    if left < len(drawn):
        found["left_out"].append(f"pictures of {len(drawn) - left} layers")
    return found


def _chosen(models: dict[str, nn.Module], name: str | None) -> tuple[str, nn.Module]:
    if name is None and models:
        return next(iter(models.items()))
    if name not in models:
        known = ", ".join(map(repr, models)) or "none, the model is gone"
        raise InspectError(f"model: got {name!r:.50}; the watched models are {known}")
    return name, models[name]


def _look(key: str, model: nn.Module, batch: Any) -> dict[str, Any]:
    fed, look, output = _run(key, model, batch)
    answer = _answer(output)
    salient, left_out = (None, "saliency: the output holds no floats")
    if answer is not None:
        salient, left_out = saliency.of(answer, fed, look.embedded)
    listed = look.layers()
    return {
        "version": VERSION,
        "model": key,
        "samples": fed.samples,
        "inputs": [about(*item) for item in fed.given],
        "output": None if answer is None else about("", answer.detach()),
        "layers": listed,
        "bad_layers": look.bad_layers(),
        "filters": filters.of(model, key, fed),
        "saliency": salient,
        "left_out": [text for text in (*look.left_out, left_out) if text],
    }


def _run(key: str, model: nn.Module, batch: Any) -> tuple[Fed, LayerLook, Any]:
    """Runs the model without targets, or where it needs those of a dict (a decoder that is fed with them) with them."""
    fed, look = feed(model, batch), LayerLook(model, key, Budget(PICTURE_BYTES))
    output, error = _called(model, fed, look)
    if error is not None and isinstance(batch, Mapping) and not isinstance(error, torch.OutOfMemoryError):
        with_targets = feed(model, batch, whole=True)
        if len(with_targets.given) > len(fed.given):
            look = LayerLook(model, key, Budget(PICTURE_BYTES))
            output, still = _called(model, with_targets, look)
            if still is None:
                return with_targets, look, output
    if error is None:
        return fed, look, output
    if isinstance(error, InspectError):
        raise error
    given = ", ".join(f"{name or 'inputs'} {shape(item)}" for name, item in fed.given)
    raise InspectError(
        f"batch: the model failed on it ({type(error).__name__}: {str(error).strip()[:300]}). It got {given}; pass "
        "inputs, (inputs, targets) or a dict, as your loop has them"
    ) from error


def _called(model: nn.Module, fed: Fed, look: LayerLook) -> tuple[Any, Exception | None]:
    with look:
        return attempted(partial(model, *fed.args, **fed.kwargs))


def _answer(output: Any) -> Tensor | None:
    """Finds what the model answers: the first tensor of floats that is no single number, else the first."""
    found = [item for _, item in trees.leaves(output) if item.is_floating_point() and item.numel()]
    return next((item for item in found if item.ndim), found[0] if found else None)


def about(name: str, tensor: Tensor) -> dict[str, Any]:
    """Describes a tensor; the numbers are left out of one that cannot be read."""
    told: dict[str, Any] = {"name": name, "shape": _sizes(tensor), "dtype": str(tensor.dtype).partition(".")[2]}
    return told | (attempted(_numbers, tensor)[0] or {})


def _sizes(tensor: Tensor) -> list[int]:
    return [] if tensor.is_nested else list(tensor.shape)


def _numbers(tensor: Tensor) -> dict[str, Any]:
    if not tensor.numel() or tensor.is_complex() or tensor.layout is not torch.strided:
        return {}
    values = tensor if tensor.is_floating_point() and tensor.dtype.itemsize > 1 else tensor.float()
    finite = values[values.isfinite()].double()
    told: dict[str, Any] = {"nonfinite": values.numel() - finite.numel()}
    if finite.numel():
        told |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean())}
    return told
