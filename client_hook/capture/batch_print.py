"""Takes the fingerprint of a batch: shapes, types, and a hash of a few hundred values of each tensor.

The same data gives the same print in every run, so a bad batch can be found again. Not for: when it is taken (flight).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from client_hook.capture import tensors as tensor_tools
from client_hook.capture.forward_trace import tensors_in

VALUES = 512
MAX_TENSORS = 8


def tensors_of(batch: Any) -> list[Tensor]:
    """Lists the first tensors of a batch, however it is nested."""
    found: list[Tensor] = []
    for item in tensors_in(batch):
        found.append(item)
        if len(found) == MAX_TENSORS:
            break
    return found


def fingerprint(batch: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Describes tensors that lie on the host; those of a device or of a transform are named, and not read."""
    return [_of(item) for item in batch]


@torch.no_grad()
def _of(tensor: Tensor) -> dict[str, Any]:
    about: dict[str, Any] = {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
    unread = tensor.layout is not torch.strided or tensor_tools.is_wrapped(tensor)
    if unread or not tensor.is_cpu or not tensor.numel():
        return {**about, "hash": None}
    whole = tensor.detach().contiguous()
    flat = picked = whole.view(-1)
    if len(flat) > VALUES:
        picked = flat[tensor_tools.scattered(len(flat), VALUES, flat.device)]  # of types that index_select lacks too
    about["hash"] = hashlib.blake2b(bytes(picked.view(torch.uint8).tolist()), digest_size=8).hexdigest()
    if flat.is_floating_point():
        about["nonfinite"] = int(tensor_tools.nonfinite(flat))
    return about
