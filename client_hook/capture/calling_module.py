"""Finds the module whose `forward` calls a function, for wrappers of functions that know no module."""

from __future__ import annotations

import sys
from types import FrameType

from torch import nn


def calling_module() -> nn.Module | None:
    """Gives the module whose method called the function that asks; None where no module did."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module):
            return owner
        frame = frame.f_back
    return None
