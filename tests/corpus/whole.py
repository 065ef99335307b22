"""Makes a setup of a script that does everything itself: its data, its model, its loop.

Not for: what the usual loop can do (setup).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.optim import Adam

from tests.corpus import data
from tests.corpus.probe import Recording
from tests.corpus.setup import Setup


def _optimizer(model: nn.Module) -> Adam:
    return Adam(model.parameters(), 1e-3)


def whole(script: Callable[..., Recording], seed: int = 0, **more: Any) -> Setup:
    """Runs a script; `more` is what a mistake in it changes."""
    return Setup(data.digits, nn.Identity, _optimizer, seed=seed, loop=lambda setup: script(**more))
