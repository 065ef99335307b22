"""Wraps the fused attention that `torch.nn.functional` looks up each time it is called.

`nn.MultiheadAttention` goes through the same name. Not for: attention that is written out as products and a softmax.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import compiler
from torch.compiler import is_dynamo_compiling
from torch.nn import functional as F

from client_hook.patches.attributes import Replacement, replace

if TYPE_CHECKING:
    from client_hook.patches.hub import Ears


def install(ears: Ears) -> list[Replacement]:
    """Wraps it."""

    def make(original: Any) -> Any:
        def scaled_dot_product_attention(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if not (is_dynamo_compiling() or compiler._is_compiling_flag):  # Dynamo folds this away
                for listen in ears.attention:
                    listen(args, kwargs)
            return result

        return scaled_dot_product_attention

    return replace(F, "scaled_dot_product_attention", make)
