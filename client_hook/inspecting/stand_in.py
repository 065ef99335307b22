"""Makes a copy of a model that may be run without a trace: weights, buffers and modes of its own, and no hook but those
by which torch computes weights (weight norm, pruning). Ours are no part of a copy, and the user's would tell the user.

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

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_A_TRAINING = ("lightning", "pytorch_lightning", "accelerate", "ignite")


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
    made, error = attempted(copy.deepcopy, model, _known(model))
    if error is not None:
        raise InspectError(f"model: it cannot be copied ({type(error).__name__}: {str(error).strip()[:200]})")
    stand: nn.Module = made.eval()
    for module in stand.modules():
        for name in _HOOKS:
            hooks = getattr(module, name, None) or {}
            for key in [key for key, hook in hooks.items() if not _is_torchs(hook)]:
                del hooks[key]
    return stand


def _known(model: nn.Module) -> dict[int, Any]:
    """Says what stands in the copy for some objects: for results of computations, which cannot be copied, their values;
    for what belongs to the training (trainer, optimizer, data) itself."""
    known: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            for item in value if isinstance(value, (list, tuple)) else (value,):
                if isinstance(item, Tensor) and (not item.is_leaf or torch.is_inference(item)):
                    known[id(item)] = item.detach().clone()
                elif _is_of_a_training(item):
                    known[id(item)] = item
    for buffer in model.buffers():
        if not buffer.is_leaf or torch.is_inference(buffer):
            known[id(buffer)] = buffer.detach().clone()
    return known


def _is_of_a_training(item: Any) -> bool:
    data = (torch.utils.data.DataLoader, torch.utils.data.Dataset)
    kinds = (torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler, *data)
    other = type(item).__module__.partition(".")[0] in _OF_A_TRAINING and not isinstance(item, nn.Module)
    return isinstance(item, kinds) or other


def _is_torchs(hook: Any) -> bool:
    where = getattr(hook, "__module__", None) or type(hook).__module__
    return str(where).partition(".")[0] == "torch"
