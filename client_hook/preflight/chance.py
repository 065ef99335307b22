"""Remembers the random generators of the process and of a loader, so that looking at data changes no training."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Undo = Callable[[], Any]


def generators(loader: Any) -> list[Undo]:
    """Remembers every random generator that training code uses; calling what it gives puts them back."""
    python, cpu = random.getstate(), torch.get_rng_state()
    undo: list[Undo] = [lambda: random.setstate(python), lambda: torch.set_rng_state(cpu)]
    numpy = sys.modules.get("numpy")  # never imported for this
    if numpy is not None and hasattr(numpy, "random"):
        numbers = numpy.random.get_state()
        undo.append(lambda: numpy.random.set_state(numbers))
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        devices = torch.cuda.get_rng_state_all()
        undo.append(lambda: torch.cuda.set_rng_state_all(devices))
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    for owner in (loader, getattr(loader, "sampler", None), inner):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, torch.Generator):
            undo.append(_undo(generator, generator.get_state()))
    return undo


def _undo(generator: torch.Generator, state: Tensor) -> Undo:
    return lambda: generator.set_state(state)
