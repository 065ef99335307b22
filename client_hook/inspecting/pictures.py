"""Packs values as small pictures: one byte a value, with the range beside it. What is larger than a picture is reduced
to the value of largest size in each cell, so that no spike and no NaN is averaged away.

Not for: colours, which the page knows.
"""

from __future__ import annotations

import base64
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 254  # the last code says "not finite"
BAD = 255
SIDE = 40  # of a picture, at most
FEWEST = 8  # of a picture, where many share the room


class Budget:
    """Shares a number of bytes out over pictures whose number is known only at the end of the call."""

    def __init__(self, total: int) -> None:
        self._left = total

    def take(self, wanted: tuple[int, ...], others: int) -> tuple[int, int, int]:
        """Says how many pictures of which sides, of (count, rows, columns), are allowed while others are to come."""
        count, height, width = wanted
        room = self._left // max(others, 1)
        side = SIDE
        while side > FEWEST and min(height, side) * min(width, side) * min(count, 4) > room:
            side -= 4
        height, width = min(height, side), min(width, side)
        count = max(min(count, room // max(height * width, 1)), 1)
        self._left -= count * height * width
        return count, height, width


def packed(pictures: Tensor, height: int = SIDE, width: int = SIDE, planes: int = 1) -> dict[str, Any]:
    """Packs `count × rows × columns` values, or with 3 planes `count × 3 × rows × columns`, as one picture each."""
    values = pictures.detach().double().cpu()
    rows, columns = values.shape[-2:]
    if rows > height or columns > width:
        values = reduced(values, min(rows, height), min(columns, width))
    finite = values.isfinite()
    known = values[finite]
    low, high = (float(known.min()), float(known.max())) if known.numel() else (0.0, 0.0)
    signed = low < 0 < high and planes == 1
    begin, end = (-max(-low, high), max(-low, high)) if signed else (low, high)
    codes = (values - begin) / (end - begin or 1.0) * LEVELS
    codes = torch.where(finite, codes.round(), torch.tensor(float(BAD), dtype=torch.float64)).to(torch.uint8)
    return {
        "count": values.shape[0],
        "planes": planes,
        "height": values.shape[-2],
        "width": values.shape[-1],
        "signed": signed,
        "low": begin,
        "high": end,
        "values": base64.b64encode(bytes(codes.contiguous().view(-1).tolist())).decode(),
    }


def reduced(values: Tensor, height: int, width: int) -> Tensor:
    """Keeps of each cell the value of largest size; a NaN stays one."""
    flat = values.reshape(1, -1, *values.shape[-2:])
    top, bottom = F.adaptive_max_pool2d(flat, (height, width)), -F.adaptive_max_pool2d(-flat, (height, width))
    kept = torch.where(bottom.abs() > top.abs(), bottom, top)
    return kept.reshape(*values.shape[:-2], height, width)


def spread(count: int, most: int) -> list[int]:
    """Chooses so many of `count` places, evenly."""
    most = min(count, most)
    return [at * count // most for at in range(most)]
