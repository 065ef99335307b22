"""Networks of the fourth held-out set: those of everybody's first notebooks."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data


class Churn(nn.Module):
    """Embeddings of three columns beside five numbers."""

    def __init__(self, end: nn.Module | None = None) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(many, 4) for many in (4, 8, 5))
        self.net = nn.Sequential(
            nn.Linear(17, 48), nn.ReLU(), nn.Dropout(0.2), nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1)
        )
        self.end = end or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found = [table(x[:, at].long()) for at, table in enumerate(self.tables)]
        return self.end(self.net(torch.cat([*found, x[:, 3:]], 1))).squeeze(1)


def normed_table(columns: int, outputs: int, dropout: float = 0.3) -> nn.Sequential:
    """Fully connected layers, each with a batch norm and a dropout after the activation."""
    return nn.Sequential(
        nn.Linear(columns, 64), nn.BatchNorm1d(64), nn.ReLU(),
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(dropout), nn.Linear(32, outputs),
    )  # fmt: skip


def pictures(dropout: float = 0.25, end: nn.Module | None = None) -> nn.Sequential:
    """Three convolutions with norms, dropout, and a head."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 24, 3, padding=1), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        nn.Dropout(dropout), nn.Linear(128, 10), *([end] if end else []),
    )  # fmt: skip


def separable() -> nn.Sequential:
    """Convolutions of single channels, and then of single points."""
    layers: list[nn.Module] = [nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
    for stride in (1, 2, 1):
        layers += [nn.Conv2d(16, 16, 3, stride, 1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
        layers += [nn.Conv2d(16, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(64, 10))


class Moves(nn.Module):
    """Recurrent layers over three axes; the last state is judged."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM, depth: int = 1, dropout: float = 0.0, both: bool = False):
        super().__init__()
        self.cells = kind(3, 24, depth, batch_first=True, dropout=dropout, bidirectional=both)
        self.head = nn.Linear(48 if both else 24, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0].mean(1))


class Causal(nn.Module):
    """A block of a temporal convolutional network."""

    def __init__(self, inputs: int, width: int, apart: int) -> None:
        super().__init__()
        self.pad = 2 * apart
        self.first, self.second = nn.Conv1d(inputs, width, 3, dilation=apart), nn.Conv1d(width, width, 3)
        self.past = nn.Conv1d(inputs, width, 1) if inputs != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found = torch.relu(self.first(F.pad(x, (self.pad, 0))))
        return torch.relu(self.second(F.pad(found, (2, 0))) + self.past(x))


class Temporal(nn.Module):
    """Dilated convolutions that see only what was."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(Causal(3, 20, 1), Causal(20, 20, 2), Causal(20, 20, 4))
        self.head = nn.Linear(20, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x.transpose(1, 2)).mean(2))


class Shop(nn.Module):
    """A recurrent layer that reads four weeks, and says what comes."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM, ahead: int = 1) -> None:
        super().__init__()
        self.cells = kind(1, 32, batch_first=True)
        self.head = nn.Linear(32, ahead)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Bag(nn.Module):
    """The mean of the words' vectors, and a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(300, 24, mode="mean", padding_idx=0)
        self.head = nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.words(x))


class Review(nn.Module):
    """An encoder with a token of its own that is judged; padding is masked."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(301, 32, padding_idx=0), nn.Embedding(25, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 64, 0.1, batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (1, 0), value=300)
        found = self.words(x) + self.place(torch.arange(x.shape[1]))
        return self.head(self.body(found, src_key_padding_mask=x == 0)[:, 0])


class Sorter(nn.Module):
    """An encoder that gives a number for every place."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers, self.place = nn.Embedding(10, 32), nn.Embedding(8, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 96, 0.0, "gelu", batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, nn.LayerNorm(32), enable_nested_tensor=False)
        self.head = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.numbers(x) + self.place(torch.arange(8)))).transpose(1, 2)


class Cleans(nn.Module):
    """Squeezes a picture and rebuilds it; the half that squeezes may be run without gradient."""

    def __init__(self, no_grad: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 10)
        )
        self.decoder = nn.Sequential(
            nn.Linear(10, 96), nn.ReLU(), nn.Unflatten(1, (24, 2, 2)), nn.ConvTranspose2d(24, 12, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(12, 1, 4, 2, 1), nn.Sigmoid(),
        )  # fmt: skip
        self.no_grad = no_grad

    def forward(self, x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.no_grad):
            code = self.encoder(x)
        return self.decoder(code)


def spectral() -> nn.Sequential:
    """Convolutions over wavelengths, with norms."""
    return nn.Sequential(
        nn.Conv1d(1, 12, 7, 2, 3), nn.BatchNorm1d(12), nn.ReLU(), nn.Conv1d(12, 24, 5, 2, 2), nn.BatchNorm1d(24),
        nn.ReLU(), nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Linear(192, 4),
    )  # fmt: skip


def plain_spectral() -> nn.Sequential:
    """The same without norms."""
    return nn.Sequential(*(layer for layer in spectral() if not isinstance(layer, nn.BatchNorm1d)))


def finder() -> nn.Sequential:
    """Convolutions, and two numbers."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.ReLU(), nn.Conv2d(12, 24, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(384, 48), nn.ReLU(), nn.Linear(48, 2),
    )  # fmt: skip


def painter() -> nn.Sequential:
    """Convolutions that keep the size."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 1),
    )  # fmt: skip


@cache
def _trained() -> dict[str, Any]:
    """Trains the pictures' network on digits, unwatched."""
    with torch.random.fork_rng():
        torch.manual_seed(41)
        found, model = corpus_data.digits(images=True), pictures()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(250):
            at = torch.randint(len(found.x), (64,))
            loss = F.cross_entropy(model(found.x[at]), found.y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model.state_dict()


def trained_pictures(frozen: bool = False) -> nn.Sequential:
    """Gives a network that knows digits, with a new head; the rest frozen if asked for."""
    model = pictures()
    model.load_state_dict(_trained())
    model.requires_grad_(not frozen)
    model[13] = nn.Linear(128, 10)
    return model
