"""Gathers what signals compute from tensors alone: norms of many, a cheap sample of one, a count of what is not finite.

Nothing here draws random numbers, records a graph or writes to a tensor that is not its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

EXACT_FROM = (
    16_384  # elements: a longer sum of float32 squares on the CPU loses the sixth digit, at 10 million the fourth
)
ROW = 4_096
PARTS, GOLDEN_PARTS = 89, 55  # Fibonacci numbers: a fraction that no length of a sequence divides
FEWEST_PLACES = 8  # that are left along a dimension of a map
CHOICES = 128  # of places that are kept, 32 kB each
COLUMNS = 64  # names of series that are kept: a model may use other parameters in each step


def local(tensor: Tensor) -> Tensor:
    """Returns what of a tensor lies in this process (a DTensor's shard), without its history."""
    to_local = getattr(tensor, "to_local", None)
    if to_local is not None:
        tensor = to_local()
    return tensor.detach()


def share(tensor: Tensor) -> float:
    """Says with which weight a local norm enters the root of the summed squares over all ranks: where several hold the
    same values (a DTensor's replicas), they count once."""
    placements = getattr(tensor, "placements", None)
    if placements is None:
        return 1.0
    mesh: Any = getattr(tensor, "device_mesh", None)
    replicas = math.prod(mesh.size(index) for index, item in enumerate(placements) if item.is_replicate())
    return float(replicas**-0.5)


def dense(tensor: Tensor) -> Tensor:
    """Returns the values of a tensor that has no usable layout of its own: a sparse one's coalesced values."""
    if tensor.layout is torch.strided:
        return tensor
    if tensor.layout is torch.sparse_coo:
        return tensor.coalesce().values()
    return tensor.values() if tensor.layout in (torch.sparse_csr, torch.sparse_csc) else tensor.to_dense()


def meeting_place(tensors: Iterable[Tensor]) -> torch.device:
    """Chooses where tensors of several devices are brought together without waiting: on a GPU if one of them is there.

    Never on the host then: what has not arrived there when it is read is any number.
    """
    devices = [tensor.device for tensor in tensors]
    return next((device for device in devices if device.type != "cpu"), devices[0])


def norms(tensors: Sequence[Tensor]) -> Tensor:
    """Takes the norm of each tensor as one float32 vector, on a GPU if one of them is there.

    Half precision is summed in float32, because its squares overflow at 256.
    """
    groups: dict[tuple[torch.device, bool], list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault((tensor.device, tensor.dtype in _HALF), []).append(index)
    if len(groups) == 1:
        ((_, half),) = groups
        return torch.stack(_norms(tensors, half))
    device = meeting_place(tensors)
    result: list[Tensor | None] = [None] * len(tensors)
    for (_, half), indexes in groups.items():
        for index, norm in zip(indexes, _norms([tensors[index] for index in indexes], half), strict=True):
            result[index] = norm.to(device, non_blocking=True)
    return torch.stack([norm for norm in result if norm is not None])


def _norms(tensors: Sequence[Tensor], half: bool) -> list[Tensor]:
    tensors = [_real(tensor) for tensor in tensors]
    if tensors[0].is_cpu and any(_is_long(item) for item in tensors):
        return _long_norms(tensors, half)
    norms = torch._foreach_norm(list(tensors), 2, dtype=torch.float32 if half else None)
    return [norm.float() for norm in norms]


def exact_norm(tensor: Tensor) -> float:
    """Takes one norm in float64; where even there the squares vanish, the sum stands for it: only zeros are 0."""
    tensor = _real(tensor)
    norm = torch.linalg.vector_norm(tensor, dtype=torch.float64).item()
    return float(norm or torch.linalg.vector_norm(tensor, 1))


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def _is_long(tensor: Tensor) -> bool:
    wide = tensor.dtype is torch.float64
    return tensor.numel() > EXACT_FROM and not wide and (tensor.is_contiguous() or is_dense(tensor))


def _long_norms(tensors: Sequence[Tensor], half: bool) -> list[Tensor]:
    short = [tensor for tensor in tensors if not _is_long(tensor)]
    others = iter(_norms(short, half) if short else [])
    return [_row_by_row(tensor) if _is_long(tensor) else next(others) for tensor in tensors]


def _row_by_row(tensor: Tensor) -> Tensor:
    """Takes a long norm as the norm of the norms of its rows, which float32 holds to seven digits."""
    rows = tensor.numel() // ROW
    flat = torch.as_strided(tensor, (rows, ROW), (ROW, 1))
    rest = torch.as_strided(tensor, (tensor.numel() - rows * ROW,), (1,), tensor.storage_offset() + rows * ROW)
    parts = [torch.linalg.vector_norm(item, dim=-1, dtype=torch.float32).reshape(-1) for item in (flat, rest)]
    norm: Tensor = torch.linalg.vector_norm(torch.cat(parts), dtype=torch.float64).float()
    return norm


def sample(tensor: Tensor, count: int) -> Tensor:
    """Returns a float32 copy of at most `count` elements, spread evenly over the memory and over what repeats in it."""
    tensor = _real(tensor)
    elements = tensor.numel()
    if elements <= count:
        return tensor.reshape(-1).to(torch.float32, copy=True)
    if not (tensor.is_contiguous() or is_dense(tensor)):
        tensor = tensor.contiguous()
    flat = torch.as_strided(tensor, (elements,), (1,))
    return flat.index_select(0, scattered(elements, count, tensor.device)).float()


def scattered(elements: int, count: int, device: torch.device) -> Tensor:
    """Chooses a place in each of so many equal stretches, by a hash of its number: regular ones fall into step with
    what repeats in a tensor, and neighbours (of a picture, a text, a graph) say the same thing."""
    stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
    return _scattered(elements, count, device, stream)


@lru_cache(maxsize=CHOICES)
def _scattered(elements: int, count: int, device: torch.device, stream: int) -> Tensor:  # noqa: ARG001
    """Keeps places by stream: on another one they might be read before they are there."""
    at = torch.arange(count, dtype=torch.float64, device="cpu")
    at = (at + (12.9898 * at).sin() * 43_758.5453 % 1) * (elements / count)
    return at.long().clamp(max=elements - 1).to(device, non_blocking=True)


def places(size: int, times: int, device: torch.device) -> Tensor:
    """Lists about one in so many of the places of a dimension, apart by no whole number."""
    apart = PARTS * times + GOLDEN_PARTS
    return torch.arange((size - 1) * PARTS // apart + 1, device=device) * apart // PARTS


def rows(tensor: Tensor, most: int) -> Tensor:
    """Returns at most so many rows, from everywhere: the first ones of a sorted table are all of one kind."""
    size = len(tensor)
    return tensor if size <= most else tensor.index_select(0, places(size, -(-size // most), tensor.device))


def spread(tensor: Tensor, most: int, channel: int = 1) -> Tensor:
    """Returns a view of about `most` elements, with all channels: places of a map go first, then examples, because one
    example says little of the others."""
    for dimension in [item for item in range(1, tensor.ndim) if item != channel] + [0]:
        times = -(-tensor.numel() // most)
        if dimension:
            times = min(times, tensor.shape[dimension] // FEWEST_PLACES)
        if times > 1:
            tensor = tensor[(slice(None),) * dimension + (slice(None, None, times),)]
    return tensor


@lru_cache(maxsize=COLUMNS)
def columns(names: tuple[str, ...], kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Names series: of each kind that of every name. Most steps ask for the same."""
    return tuple(kind + name for kind in kinds for name in names)


def is_dense(tensor: Tensor) -> bool:
    """Says whether the elements fill one stretch of memory in some order (channels_last, a transposed matrix)."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def nonfinite(tensor: Tensor) -> Tensor:
    """Counts the elements that are NaN or infinite, on the tensor's device."""
    if tensor.dtype.itemsize == 1:  # PyTorch does not ask float8
        tensor = tensor.to(torch.bfloat16)
    return tensor.numel() - torch.isfinite(tensor).sum()


def readable(tensor: Tensor) -> bool:
    """Says whether values can be read without asking a functional transform or another process for them."""
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and not tensor.is_complex()
        and not is_wrapped(tensor)
        and tensor.numel() > 0
    )


def is_wrapped(tensor: Tensor) -> bool:
    """Says whether a functional transform (vmap, func.grad) stands between a tensor and its values."""
    return bool(torch._C._functorch.is_functorch_wrapped_tensor(tensor))


_HALF = frozenset({torch.float16, torch.bfloat16})
