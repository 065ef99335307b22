"""Networks of the third held-out set for digits: larger ones, of four bits, pruned, trained before."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

from tests.corpus import models
from tests.corpus.loops import pretrained_digits
from tests.corpus.third import data


class Larger(nn.Module):
    """Doubles a picture's size: convolutions and a shuffle of pixels on top of plain interpolation."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(),
            nn.Conv2d(width, 4, 3, padding=1), nn.PixelShuffle(2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x) + F.interpolate(x, scale_factor=2, mode="bilinear")


class Next(nn.Module):
    """A ConvNeXt of two blocks, whose branches are left out now and then."""

    def __init__(self, width: int = 24, leave_out: float = 0.1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 2, stride=2)
        self.wide = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, groups=width) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.net = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)) for _ in range(2)
        )
        self.scale = nn.ParameterList(nn.Parameter(0.1 * torch.ones(width)) for _ in range(2))
        self.head, self.leave_out = nn.Linear(width, 10), leave_out

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for wide, norm, net, scale in zip(self.wide, self.norms, self.net, self.scale, strict=False):
            new = (net(norm(wide(x).permute(0, 2, 3, 1))) * scale).permute(0, 3, 1, 2)
            if self.training:
                new = new * (torch.rand(len(x), 1, 1, 1) >= self.leave_out) / (1 - self.leave_out)
            x = x + new
        return self.head(self.norms[2](x.mean((2, 3))))


class FourBits(nn.Module):
    """A network with weights of four bits; the rounding is skipped on the way back, or forgotten to be."""

    def __init__(self, straight: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)])
        self.straight = straight

    def rounded(self, weight: Tensor) -> Tensor:
        """Rounds to one of sixteen values."""
        size = weight.detach().abs().max() / 7
        low = (weight / size).round().clamp(-8, 7) * size
        return weight + (low - weight).detach() if self.straight else low

    def forward(self, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.layers):
            x = F.linear(torch.relu(x) if at else x, self.rounded(layer.weight), layer.bias)
        return x


def corrected(model: nn.Sequential, zero: bool = False) -> nn.Sequential:
    """Freezes a network and gives all of its layers corrections of low rank, in place."""
    model.requires_grad_(False)
    for at in (0, 2, 4):
        model[at] = models.Lora(model[at])
        if zero:
            nn.init.zeros_(model[at].lora_a.weight)
    return model


def pruned() -> nn.Module:
    """A trained network that lost half of its weights."""
    model = pretrained_digits()
    for layer in (model[0], model[2]):
        prune.l1_unstructured(layer, "weight", 0.5)
    return model


class KeepsNorms(nn.Module):
    """A trained network whose batch norms stay as they are while the rest is tuned."""

    def __init__(self, keeps: bool = True) -> None:
        super().__init__()
        self.net, self.keeps = trained_cnn(), keeps

    def train(self, mode: bool = True) -> Any:
        """Switches, but not the norms."""
        super().train(mode)
        for layer in self.net.modules():
            if self.keeps and isinstance(layer, nn.BatchNorm2d):
                layer.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


@cache
def _cnn() -> dict[str, Any]:
    torch.manual_seed(11)
    found, model = data.pictures(), models.cnn(norm=True)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(250):
        at = torch.randint(len(found.x), (48,))
        loss = F.cross_entropy(model(found.x[at]), found.y[at] % 5)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def trained_cnn() -> nn.Sequential:
    """Gives a convolutional network that tells digits apart as far as their remainder by five; its head is new."""
    state = torch.get_rng_state()
    weights = _cnn()
    torch.set_rng_state(state)
    model = models.cnn(norm=True)
    model.load_state_dict(weights)
    model[-1] = nn.Linear(model[-1].in_features, 10)
    return model
