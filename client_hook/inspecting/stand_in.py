"""Makes a copy of a model that may be run without a trace: it has the model's own weights, and buffers, modes and hooks
of its own; ours are left out, because they are no part of a copy.

Not for: weights that lie on several processes, which only all of them together could run.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from client_hook.guard import attempted
from client_hook.inspecting.errors import InspectError
from client_hook.preflighted import inner


def stand_in(model: nn.Module) -> nn.Module:
    """Copies a model, in evaluation mode; raises InspectError where that cannot be."""
    model = inner(model)
    if any(hasattr(item, "to_local") for item in model.parameters()) or any(
        hasattr(item, "_fsdp_state") or hasattr(item, "_get_fsdp_state") for item in model.modules()
    ):
        raise InspectError("model: its weights are sharded over processes, which would all have to run it")
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if several and any(isinstance(item, nn.SyncBatchNorm) for item in model.modules()):
        raise InspectError("model: SyncBatchNorm waits for the other processes")
    lazy = [name for name, item in model.named_parameters() if nn.parameter.is_lazy(item)]
    if lazy:
        raise InspectError(f"model: `{lazy[0]}` has no shape yet; inspect it after the first batch")
    known: dict[int, Any] = {id(item): item for item in _kept(model)}
    made, error = attempted(copy.deepcopy, model, known)
    if error is not None:
        raise InspectError(f"model: it cannot be copied ({type(error).__name__}: {str(error).strip()[:200]})")
    stand: nn.Module = made.eval()
    return stand


def _kept(model: nn.Module) -> list[Tensor]:
    """Lists what the copy shares with the model: weights, and results of computations, which cannot be copied."""
    held = [item for module in model.modules() for item in vars(module).values() if isinstance(item, Tensor)]
    inside = [
        item
        for module in model.modules()
        for values in vars(module).values()
        if isinstance(values, (list, tuple))
        for item in values
        if isinstance(item, Tensor)
    ]
    computed = [item for item in (*held, *inside) if not item.is_leaf]
    return [*model.parameters(), *computed, *_grown(model)]


def _grown(model: nn.Module) -> list[Tensor]:
    return [item for item in model.buffers() if not item.is_leaf or torch.is_inference(item)]
