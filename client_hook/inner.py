"""Takes a model out of what wraps it for several processes or compiles it: neither changes what it computes."""

from __future__ import annotations

from typing import Any

from torch import nn


def inner(model: Any) -> Any:
    """Gives the model inside of the wrappers, or the model itself."""
    while True:
        found = getattr(model, "_orig_mod", None)
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            found = model.module
        if not isinstance(found, nn.Module) or found is model:
            return model
        model = found
