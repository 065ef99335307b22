"""The models of the first set."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from tests.corpus import data


class Attends(nn.Module):
    """PyTorch's own transformer encoder over a short sequence."""

    def __init__(self, dropout: float = 0.1) -> None:
        super().__init__()
        self.put = nn.Linear(1, 32)
        self.place = nn.Parameter(0.02 * torch.randn(1, 16, 32))
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=dropout, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.put(x) + self.place).mean(1))


class Letters(nn.Module):
    """An embedding, a recurrent layer, and letters again."""

    def __init__(self, kind: type[nn.Module] = nn.GRU) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.letters(), 24)
        self.cells = kind(24, 48, batch_first=True)
        self.head = nn.Linear(48, data.letters())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(self.embedding(x))[0]).transpose(1, 2)


class Window(nn.Module):
    """Bengio's language model: the letters before, side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(data.letters(), 12)
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(96, 64), nn.Tanh(), nn.Linear(64, data.letters()))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.embedding(x))


class TwoWay(nn.Module):
    """A bidirectional LSTM."""

    def __init__(self, cut: bool = False) -> None:
        super().__init__()
        self.cells = nn.LSTM(1, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 2)
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        found = self.cells(x)[0].mean(1)
        return self.head(found.detach() if self.cut else found)


class Plain(nn.Module):
    """A vanilla recurrent layer, with weights of a chosen size."""

    def __init__(self, size: float) -> None:
        super().__init__()
        self.cells = nn.RNN(1, 24, batch_first=True, nonlinearity="relu")
        nn.init.normal_(self.cells.weight_hh_l0, std=size)
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class InADict(nn.Module):
    """Keeps its branches in a plain dict."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = {"a": nn.Linear(10, 32), "b": nn.Linear(32, 32)}
        self.head = nn.Linear(32, 1)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts.values():
            x = torch.relu(part(x))
        return self.head(x)


def tone_net(norm: type[nn.Module] | None = None) -> nn.Sequential:
    """Convolutions over time."""
    return nn.Sequential(
        nn.Conv1d(1, 16, 7, stride=2, padding=3), nn.ReLU(), nn.Conv1d(16, 32, 5, stride=2, padding=2),
        nn.BatchNorm1d(32) if norm else nn.Identity(), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        nn.Linear(32, 4),
    )  # fmt: skip


def group_cnn() -> nn.Sequential:
    """Convolutions with group norm and dropout of channels."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU(), nn.Dropout2d(0.1),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.GroupNorm(4, 32), nn.SiLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(128, 10),
    )  # fmt: skip


def weight_normed() -> nn.Sequential:
    """Weight normalisation on every layer."""
    layers = [
        parametrizations.weight_norm(nn.Linear(10, 48)),
        nn.ReLU(),
        parametrizations.weight_norm(nn.Linear(48, 1)),
    ]
    return nn.Sequential(*layers)


def squeeze_net() -> nn.Sequential:
    """An autoencoder."""
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 12), nn.ReLU(), nn.Linear(12, 32), nn.ReLU(),
                         nn.Linear(32, 64))  # fmt: skip
