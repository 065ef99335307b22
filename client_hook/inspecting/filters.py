"""Shows the weights of the first layer that sees the inputs: kernels of a convolution, or the rows of a linear layer
over flattened pictures, laid out as pictures.

Not for: later layers, whose weights look at features and show nothing that a person could read.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

from torch import Tensor, nn

from client_hook.inspecting.feeding import Fed
from client_hook.inspecting.layers import layer_name
from client_hook.inspecting.pictures import SIDE, packed, spread

FEWEST, MOST = 4, 32
BYTES = 24_000


def of(model: nn.Module, key: str, fed: Fed) -> dict[str, Any] | None:
    """Gives the filters of the first layer; None where it has none that are pictures."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return _about(layer_name(key, name), module.weight, *_kernels(module.weight))
        if isinstance(module, nn.Conv1d):
            chosen = _some(module.weight)
            return _about(layer_name(key, name), module.weight, module.weight[chosen], chosen, 1)
        if isinstance(module, nn.Linear):
            layout = _layout(module.in_features, fed)
            if layout is None:
                return None
            chosen = _some(module.weight)
            planes = module.weight[chosen].reshape(len(chosen), *layout)
            return _about(layer_name(key, name), module.weight, *_planes(planes, chosen))
        if isinstance(module, nn.Embedding):
            return None
    return None


def _about(name: str, weight: Tensor, pictures: Tensor, chosen: list[int], planes: int) -> dict[str, Any]:
    return {"layer": name, "shape": list(weight.shape), "channels": chosen, "picture": packed(pictures, planes=planes)}


def _some(weight: Tensor) -> list[int]:
    """Chooses so many filters as have room."""
    most = BYTES // max(min(weight[0].numel(), 3 * SIDE * SIDE), 1)
    return spread(weight.shape[0], min(max(most, FEWEST), MOST))


def _kernels(weight: Tensor) -> tuple[Tensor, list[int], int]:
    chosen = _some(weight[:, :3] if weight.shape[1] == 3 else weight[:, 0])
    return _planes(weight[chosen], chosen)


def _planes(kernels: Tensor, chosen: list[int]) -> tuple[Tensor, list[int], int]:
    """Takes three planes as colours, and of any other number the first."""
    if kernels.shape[1] == 3:
        return kernels, chosen, 3
    return kernels[:, 0], chosen, 1


def _layout(features: int, fed: Fed) -> tuple[int, int, int] | None:
    """Says how the inputs of a linear layer lie in a picture: planes, rows, columns."""
    for _, item in fed.given:
        if item.ndim == 4 and item[0].numel() == features:
            return tuple(item.shape[1:])  # type: ignore[return-value]
        if item.ndim == 3 and item[0].numel() == features:
            return (1, *item.shape[1:])
        if item.ndim == 2 and item.shape[1] == features and features >= 16 and isqrt(features) ** 2 == features:
            return 1, isqrt(features), isqrt(features)
    return None
