"""Makes the trainings of the corpus, which say nothing of a device, run on one: models, batches and chance live there.

Chance differs from device to device, so these are other trainings of the same kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch


@contextmanager
def living_on(device: str) -> Iterator[None]:
    """Puts every new tensor and every new generator there."""
    if device == "cpu":
        yield
        return
    generator: Any = torch.Generator

    class There:  # a class, because torch writes `Generator | None`
        def __new__(cls, place: Any = device) -> Any:
            return generator(place)

    with torch.device(device), patch.object(torch, "Generator", There):
        yield
