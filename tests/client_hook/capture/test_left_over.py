"""What the last block of a chain leaves over, and overlaps of raw scores, from real graphs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.client_hook.capture.test_crossed import graph_of

X, Y = torch.randn(12, 8), torch.randn(12, 3)


class Block(nn.Module):
    """Hands on what it cannot explain."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.back, self.ahead = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = self.body(x).relu()
        return x - self.back(found), self.ahead(found)


class Chain(nn.Module):
    """N-BEATS; or the same with a block whose output nobody adds up, or that hands nothing on."""

    def __init__(self, used: int = 3, cut: int = -1) -> None:
        super().__init__()
        self.blocks, self.used, self.cut = nn.ModuleList(Block() for _ in range(3)), used, cut

    def forward(self, x: Tensor) -> Tensor:
        said = []
        for at, block in enumerate(self.blocks):
            left, more = block(x)
            x = left.detach() if at == self.cut else left
            said.append(more)
        return torch.stack(said[: self.used]).sum(0)


class Beside(nn.Module):
    """WaveNet: what a block hands on and what it answers lie in two lists."""

    def __init__(self) -> None:
        super().__init__()
        self.on = nn.ModuleList(nn.Linear(8, 8) for _ in range(4))
        self.out = nn.ModuleList(nn.Linear(8, 3) for _ in range(4))

    def forward(self, x: Tensor) -> Any:
        said: Any = 0
        for on, out in zip(self.on, self.out, strict=True):
            said = said + out(x)
            x = x + on(x).tanh()
        return said


class Heads(nn.Module):
    """Three layers, then three heads, of which the loss forgets the last."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
        self.heads = nn.ModuleList(nn.Linear(8, 3) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.body:
            x = layer(x).relu()
        return torch.stack([head(x) for head in self.heads][:2]).sum(0)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (Chain, ["blocks.2.back.bias", "blocks.2.back.weight"]),
        (lambda: Chain(used=2), []),  # the whole block is in vain
        (lambda: Chain(cut=0), []),  # another of them does not learn either
        (Beside, ["on.3.bias", "on.3.weight"]),
        (Heads, []),
    ],
    ids=["chain", "block-in-vain", "cut", "beside", "heads"],
)
def test_the_end_of_a_chain_is_left_over(model: Any, found: list[str]) -> None:
    graph = graph_of(lambda model: F.mse_loss(model(X), Y), model())
    assert graph["left_over"] == found
    assert set(found) <= set(graph["unreached"]), "whatever else is cut is told as well"


def dice(share: Tensor, mask: Tensor) -> Tensor:
    """Is 1 less the overlap."""
    return 1 - (2 * (share * mask).sum() + 1) / (share.sum() + mask.sum() + 1)


MASK = (Y > 0).float()


@pytest.mark.parametrize(
    ("loss", "found"),
    [
        (lambda z: F.binary_cross_entropy_with_logits(z, MASK) + dice(z, MASK), True),
        (lambda z: F.binary_cross_entropy_with_logits(z, MASK) + dice(z.sigmoid(), MASK), False),
        (lambda z: F.cross_entropy(z, MASK.argmax(1)) + dice(z, MASK), True),
        (lambda z: F.cross_entropy(z, MASK.argmax(1)) + dice(z.softmax(1), MASK), False),
        (lambda z: F.cross_entropy(z, MASK.argmax(1)) + z.pow(2).sum() / z.abs().sum(), False),
        (lambda z: F.cross_entropy(z, MASK.argmax(1)) + z.sum() / 36, False),
    ],
    ids=["scores", "sigmoid", "classes", "softmax", "sizes", "mean"],
)
def test_an_overlap_of_scores_is_told(loss: Any, found: bool) -> None:
    assert graph_of(lambda model: loss(model(X)), nn.Linear(8, 3))["overlap_of_scores"] is found
