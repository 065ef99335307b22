"""Sees what each layer makes of a batch, at its first call: statistics, units that say nothing, and pictures.

Not for: which inputs matter (saliency).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from client_hook.capture.base import plain_name
from client_hook.capture.forward_hooks import first_tensor
from client_hook.inspecting.pictures import Budget, packed, spread

MOST = 60  # layers with pictures, spread over the model
MOST_LISTED = 200
PART = 2**21  # elements that are measured at once, in double precision
MOST_MAPS = 12  # of a layer
_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm, nn.modules.pooling._MaxPoolNd)
_IDLE = (nn.Identity, nn.Flatten, nn.Unflatten)
_LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)


class LayerLook:
    """Hooks the layers of a model (a copy, which nobody else runs) while it is entered."""

    def __init__(self, model: nn.Module, key: str, budget: Budget) -> None:
        named = [(layer_name(key, name), item) for name, item in model.named_modules()]
        inside = {id(part) for _, item in named if _is_whole(item) for part in item.children()}
        whole = [
            (name, item)
            for name, item in named
            if (_is_whole(item) or not any(True for _ in item.children()))
            and not isinstance(item, _IDLE)
            and id(item) not in inside
        ]
        self._modules = [pair for pair in whole if not isinstance(pair[1], torch.jit.ScriptModule)]
        self._found: dict[str, dict[str, Any]] = {}
        self._pictured = {self._modules[at][0] for at in spread(len(self._modules), MOST)}
        self._budget = budget
        self._handles: list[Any] = []
        self._maps_first = any(isinstance(item, _FIRST) for _, item in whole)  # whether channels come first, here
        self.embedded: tuple[Tensor, Tensor] | None = None  # ids and their vectors, of the first embedding
        compiled = (name for name, item in whole if isinstance(item, torch.jit.ScriptModule))
        self.left_out = [f"`{name}`: a compiled layer" for name in compiled]

    def __enter__(self) -> LayerLook:
        for name, module in self._modules:
            self._handles.append(module.register_forward_hook(self._hook(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def layers(self) -> list[dict[str, Any]]:
        """Lists what was seen, in the order of the calls; layers that were never called come last, without a shape."""
        silent = [
            {"name": name, "type": type(item).__name__, "calls": 0}
            for name, item in self._modules
            if name not in self._found
            and not isinstance(item, nn.modules.dropout._DropoutNd)  # whose rate is used alone
        ]
        every = [*self._found.values(), *silent]
        if len(every) > MOST_LISTED:
            self.left_out.append(f"{len(every) - MOST_LISTED} of {len(every)} layers")
        return every[:MOST_LISTED]

    def bad_layers(self) -> list[Any]:
        """Gives the first layer whose output is not finite, with the number of such values, and how many there are."""
        bad = [item for item in self._found.values() if item.get("nonfinite")]
        return [bad[0]["name"], bad[0]["nonfinite"], len(bad)] if bad else []

    def _hook(self, name: str) -> Any:
        def see(module: nn.Module, args: Any, output: Any) -> Any:
            known = self._found.get(name)
            if known is None:
                return self._see(name, module, args, output)
            known["calls"] += 1
            tensor = _floats(output)
            if tensor is not None:
                known["nonfinite"] = known.get("nonfinite", 0) + int((~tensor.isfinite()).sum())
            return None

        return see

    @torch.no_grad()
    def _see(self, name: str, module: nn.Module, args: Any, output: Any) -> Any:
        about = self._found[name] = {"name": name, "type": type(module).__name__, "calls": 1}
        tensor = _floats(output)
        if tensor is None:
            return None
        if isinstance(module, nn.RNNBase) and not module.batch_first and tensor.ndim == 3:
            tensor = tensor.transpose(0, 1)
        if isinstance(module, (*_FIRST, *_LAST)):
            self._maps_first = isinstance(module, _FIRST)  # and so is what others make of it, until the next
        about |= _statistics(tensor, 1 if self._maps_first and tensor.ndim > 2 else -1)
        if name in self._pictured and tensor.ndim and tensor.shape[0]:
            maps, channels = self._maps(tensor)
            if maps is not None:
                count, height, width = self._budget.take(
                    tuple(maps.shape), len(self._pictured - self._found.keys()) + 1
                )
                chosen = spread(maps.shape[0], count)
                about["maps"] = packed(maps[chosen], height, width)
                about["channels"] = [channels[at] for at in chosen]
                about["of"] = "batch" if tensor.ndim == 2 else "sample"
        return self._embed(module, args, output)

    def _maps(self, tensor: Tensor) -> tuple[Tensor | None, list[int]]:
        """Gives pictures of the first sample, one for each of some channels; of plain units one of the whole batch."""
        if tensor.ndim == 2:
            return tensor.unsqueeze(0), [0]
        first = tensor[0]
        if tensor.ndim == 3:
            return (first if self._maps_first else first.t()).unsqueeze(0), [0]
        if not self._maps_first and first.ndim > 2:
            first = first.movedim(-1, 0)
        while first.ndim > 3:
            first = first[:, first.shape[1] // 2]  # the middle slice of a volume
        if first.ndim != 3:
            return None, []
        chosen = spread(first.shape[0], MOST_MAPS)
        return first[chosen], chosen

    def _embed(self, module: nn.Module, args: Any, output: Any) -> Any:
        """Puts a leaf in the place of what the first embedding gives, so that one can ask for its gradient."""
        ids = args[0] if args else None
        if self.embedded is not None or not isinstance(module, nn.Embedding) or not isinstance(ids, Tensor):
            return None
        if ids.ndim != 2 or not isinstance(output, Tensor):
            return None
        vectors = output.detach().clone().requires_grad_()
        self.embedded = (ids.detach(), vectors)
        with torch.enable_grad():
            return vectors * 1


def _floats(output: Any) -> Tensor | None:
    """Finds what can be measured of an output; of complex numbers their size."""
    if isinstance(output, Tensor) and output.is_complex():
        return output.detach().abs()
    return first_tensor(output)


def _statistics(tensor: Tensor, channel: int) -> dict[str, Any]:
    """Measures an output in full; units that give 0 for the whole batch, and such that always give the same."""
    values = tensor.detach()
    count, zeros, total, squares, most = 0, 0, 0.0, 0.0, 0.0
    for part in values.reshape(-1).split(PART):
        known = part[part.isfinite()].double()
        if known.numel():
            count, zeros = count + known.numel(), zeros + int((known == 0).sum())
            total, squares = total + float(known.sum()), squares + float(known.square().sum())
            most = max(most, float(known.abs().max()))
    about: dict[str, Any] = {"shape": list(tensor.shape), "nonfinite": values.numel() - count}
    if count:
        mean = total / count
        deviation = max(squares / count - mean**2, 0.0) ** 0.5
        about |= {"mean": mean, "std": deviation, "absmax": most, "zeros": zeros / count}
    if tensor.ndim > 1 and tensor.shape[0] > 1 and tensor.numel():
        others = [at for at in range(tensor.ndim) if at != channel % tensor.ndim]
        least, largest = values.amin(others), values.amax(others)
        about["units"] = len(least)
        about["dead"] = int(((least == 0) & (largest == 0)).sum())
        about["constant"] = int(((least == largest) & (least != 0)).sum())
    return about


def _is_whole(module: nn.Module) -> bool:
    """Says whether a layer with layers in it does not call them all."""
    return isinstance(module, nn.MultiheadAttention)


def layer_name(key: str, name: str) -> str:
    name = plain_name(name)
    return f"{key}.{name}" if key and name else key or name or "model"
