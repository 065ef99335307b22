"""Looks inside a model with one batch: the filters of its first layer, what each layer makes of the batch, and which
inputs its answer hangs on. A copy does the work (`stand_in`), so the model and its training stay as they are.

Loaded by `monitor.inspect` alone. Not for: judging; the page shows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import Context
from client_hook.guard import attempted
from client_hook.inspecting import filters, saliency
from client_hook.inspecting.errors import InspectError, shape
from client_hook.inspecting.feeding import Fed, feed
from client_hook.inspecting.layers import LayerLook
from client_hook.inspecting.pictures import Budget
from client_hook.inspecting.stand_in import stand_in
from client_hook.preflight import chance, trees

VERSION = 1
PICTURE_BYTES = 72_000  # of all layers' pictures: the event has to stay below records.MAX_RECORD_BYTES


def inspection(context: Context, batch: Any, name: str | None = None) -> dict[str, Any]:
    """Gives the event `inspection`; raises InspectError with a sentence where the model cannot be run on the batch."""
    began = perf_counter()
    key, model = _chosen(context.models, name)
    undo = chance.generators(None)
    try:
        with _unheard(context.patches), torch.inference_mode(False), torch.enable_grad():
            found = _look(key, stand_in(model), batch)
    finally:
        for put_back in undo:
            put_back()
    return found | {"seconds": round(perf_counter() - began, 3)}


@contextmanager
def _unheard(patches: Any) -> Iterator[None]:
    before = patches.hushed
    patches.hush(True)
    try:
        yield
    finally:
        patches.hush(before)


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
    with torch.backends.cudnn.flags(enabled=False):
        salient, left_out = saliency.of(answer, fed, look.embedded) if answer is not None else (None, "")
    return {
        "version": VERSION,
        "model": key,
        "samples": fed.samples,
        "inputs": [_about(*item) for item in fed.given],
        "output": None if answer is None else list(answer.shape),
        "layers": look.layers(),
        "filters": filters.of(model, key, fed),
        "saliency": salient,
        "left_out": [text for text in (*look.left_out, left_out) if text],
    }


def _run(key: str, model: nn.Module, batch: Any) -> tuple[Fed, LayerLook, Any]:
    """Runs the model without targets, or where it needs those of a dict (a decoder that is fed with them) with them."""
    first: tuple[Fed, Exception] | None = None
    for whole in (False, True):
        fed, look = feed(model, batch, whole=whole), LayerLook(model, key, Budget(PICTURE_BYTES))
        # cuDNN's recurrent layers have no backward in evaluation
        with look, torch.backends.cudnn.flags(enabled=False):
            output, error = attempted(partial(model, *fed.args, **fed.kwargs))
        if error is None:
            return fed, look, output
        first = first or (fed, error)
        if not isinstance(batch, Mapping):
            break
    fed, error = first  # type: ignore[misc]
    given = ", ".join(f"{name or 'inputs'} {shape(item)}" for name, item in fed.given)
    raise InspectError(
        f"batch: the model failed on it ({type(error).__name__}: {str(error).strip()[:300]}). It got {given}; pass "
        "inputs, (inputs, targets) or a dict, as your loop has them"
    ) from error


def _answer(output: Any) -> Tensor | None:
    """Finds what the model answers: the first tensor of floats that is no single number, else the first."""
    found = [item for _, item in trees.leaves(output) if item.is_floating_point() and item.numel()]
    return next((item for item in found if item.ndim), found[0] if found else None)


def _about(name: str, tensor: Tensor) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype).partition(".")[2]}
    if tensor.numel() and not tensor.is_complex():
        values = tensor.detach().double()
        finite = values[values.isfinite()]
        about["nonfinite"] = values.numel() - finite.numel()
        if finite.numel():
            about |= {"min": float(finite.min()), "max": float(finite.max()), "mean": float(finite.mean())}
    return about
