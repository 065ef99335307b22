"""Says whether what runs now is recorded by a tracer that runs Python. Not for: Dynamo, which folds such questions."""

from __future__ import annotations

import torch

_PROXY = torch._C._TorchDispatchModeKey.PROXY


def is_traced() -> bool:
    """Asks for `torch.jit.trace` and for `make_fx`: an operation of ours would be a part of the graph."""
    proxies = torch._C._get_dispatch_mode(_PROXY) or torch._ops._get_dispatch_mode_pre_dispatch(_PROXY)
    return bool(proxies or torch._C._get_tracing_state())
