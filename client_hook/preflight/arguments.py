"""Says which argument of preflight is of a wrong kind, or is a model that cannot be checked here.

Not for: what the model does with a batch (subject).
"""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from client_hook.preflight.errors import PreflightError, kind


def check_kinds(model: Any, loss_fn: Any, optimizer: Any) -> None:
    """Raises PreflightError over an argument that is of another kind than it should be."""
    if not isinstance(model, nn.Module):
        raise PreflightError(f"model: got {kind(model)}, expected a torch.nn.Module")
    if loss_fn is not None and not callable(loss_fn):
        raise PreflightError(
            f"loss_fn: got {kind(loss_fn)}, expected a function (output, targets) → loss, or None where the model "
            "returns its own loss"
        )
    if optimizer is not None and not isinstance(optimizer, Optimizer):
        raise PreflightError(f"optimizer: got {kind(optimizer)}, expected a torch.optim.Optimizer or None")


def check_loader(loader: Any) -> None:
    """Raises PreflightError over a loader that can be read only once."""
    if hasattr(loader, "__next__"):
        raise PreflightError(
            f"train_loader: got a {kind(loader)}, which can be read only once; pass the DataLoader itself"
        )


def check_model(model: nn.Module) -> None:
    """Raises PreflightError over a model that has nothing to train, or no whole weights yet."""
    if not any(item.requires_grad for item in model.parameters()):
        total = sum(1 for _ in model.parameters())
        raise PreflightError(
            f"model: {type(model).__name__} has no parameter to train"
            + (f" (all {total} have requires_grad=False)" if total else "; its layers may be in a list, not ModuleList")
        )
    lazy = [name for name, item in model.named_parameters() if nn.parameter.is_lazy(item)]
    if lazy:
        raise PreflightError(f"model: `{lazy[0]}` has no shape yet; call the lazy model once with a batch before")
    if any(hasattr(item, "to_local") for item in model.parameters()):
        raise PreflightError("model: its parameters are sharded; call preflight before fully_shard")
    several = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
    if several and any(isinstance(item, nn.SyncBatchNorm) for item in model.modules()):
        raise PreflightError("model: SyncBatchNorm waits for the other processes; call preflight before them")
