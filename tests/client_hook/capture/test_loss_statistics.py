"""What is kept of the outputs and targets of a loss that are too many to look at."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from client_hook.capture.loss_statistics import MAX_ELEMENTS, thin


@pytest.mark.parametrize("shape", [(100, 6, 96, 96), (8, 21, 128, 128), (4, 3, 512, 512), (300, 2, 12, 12)])
def test_of_maps_every_row_is_looked_at(shape: tuple[int, ...]) -> None:
    """Each picture has a class of its own: two pictures of a hundred say nothing of the others."""
    batch, classes, *places = shape
    wanted = torch.arange(batch).view(-1, 1, 1).expand(batch, *places)
    outputs = wanted[:, None].expand(shape)
    for looked_at in (thin(outputs, 1)[:, 0], thin(wanted, None)):
        assert looked_at.numel() * (classes if looked_at.ndim == 4 else 1) <= 2 * MAX_ELEMENTS
        assert looked_at.unique().tolist() == list(range(batch))
    assert thin(outputs, 1).shape[1] == classes


def test_a_row_of_many_classes_is_looked_at_alone() -> None:
    assert thin(torch.empty(2, 50_000, 16), 1).shape == (1, 50_000, 1)


@pytest.mark.parametrize("places", [2, 4, 6, 8, 10, 12, 16, 24, 32])
def test_of_flattened_sequences_every_place_is_looked_at(places: int) -> None:
    """Every second row would be every second place of each sequence."""
    rows = torch.arange(places).repeat(9_600 // places)
    outputs = F.one_hot(rows, 32).float()
    looked_at = thin(outputs, 1).argmax(1)
    assert len(looked_at) * 32 <= MAX_ELEMENTS
    counts = torch.bincount(looked_at, minlength=places)
    assert int(counts.min()) > 0.7 * len(looked_at) / places
    assert torch.equal(thin(outputs[:10], 1), outputs[:10]), "nothing is left out of little"
