"""Makes a room in which a copy of a model may run: nobody of ours hears it, nothing is compiled for it, no other
process is waited for, and the random generators are put back. One inspection at a time; what other threads call
meanwhile is not heard either.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from client_hook.inspecting.errors import InspectError
from client_hook.preflight import chance

_COLLECTIVES = ("c10d", "_c10d_functional", "c10d_functional")
_one_at_a_time = threading.Lock()


@contextmanager
def apart(patches: Any, model: nn.Module) -> Iterator[None]:
    """Enters the room; `model` is what will run in it."""
    with _one_at_a_time, ExitStack() as until:
        for put_back in chance.generators(None):
            until.callback(put_back)
        until.callback(patches.hush, patches.hushed)
        patches.hush(True)
        until.enter_context(torch.inference_mode(False))
        until.enter_context(torch.enable_grad())
        until.enter_context(torch.compiler.set_stance("force_eager"))  # no compiling of hooks, and no recompile counts
        if any(isinstance(item, nn.RNNBase) for item in model.modules()) and torch.backends.cudnn.enabled:
            # cuDNN's recurrent layers have no backward in evaluation
            torch.backends.cudnn.enabled = False
            until.callback(setattr, torch.backends.cudnn, "enabled", True)
        if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
            until.enter_context(_Alone())  # type: ignore[no-untyped-call]
        yield


class _Alone(TorchDispatchMode):
    """Refuses collectives: one process would wait for others, or take part in what they do next."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace in _COLLECTIVES:
            raise InspectError(
                f"model: it calls {func.__name__.partition('.')[0]}, for which other processes must wait"
            )
        return func(*args, **(kwargs or {}))
