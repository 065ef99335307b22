"""Networks of the second held-out set: tables with categories, graphs, experts, flows, translators, U-nets."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus import models
from tests.corpus.second import data


class Table(nn.Module):
    """Embeds the categories and joins them to the numbers."""

    def __init__(self, dropout: float = 0.1, always: bool = False) -> None:
        super().__init__()
        self.kinds = nn.ModuleList(nn.Embedding(8, 4) for _ in range(2))
        self.first, self.second, self.head = nn.Linear(14, 48), nn.Linear(48, 24), nn.Linear(24, 1)
        self.dropout, self.always = dropout, always

    def forward(self, x: Tensor) -> Tensor:
        kinds = [layer(x[:, 6 + at].long()) for at, layer in enumerate(self.kinds)]
        hidden = torch.relu(self.first(torch.cat([x[:, :6], *kinds], 1)))
        hidden = F.dropout(hidden, self.dropout, self.training or self.always)
        return self.head(torch.relu(self.second(hidden))).squeeze(1)


class Reader(nn.Module):
    """Convolutions and a recurrent layer over frames, for CTC."""

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.look = nn.Conv1d(8, 32, 5, padding=2, stride=stride)
        self.cells = nn.GRU(32, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, data.SYMBOLS + 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(torch.relu(self.look(x.transpose(1, 2))).transpose(1, 2))[0])


class Denoiser(nn.Module):
    """Guesses the noise of points in the plane at a time of the diffusion."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2 + 16, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(),
            nn.Linear(96, 2),
        )  # fmt: skip

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        waves = time.float().unsqueeze(1) * torch.exp(-torch.arange(8) * 0.8)
        return self.net(torch.cat([x, waves.sin(), waves.cos()], 1))


class Flow(nn.Module):
    """Affine couplings that turn points into noise; gives the noise and the logarithm of the volume."""

    def __init__(self, depth: int = 6) -> None:
        super().__init__()
        self.parts = nn.ModuleList(models.mlp(1, 2, 48, act=nn.Tanh) for _ in range(depth))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        volume = torch.zeros(len(x))
        for part in self.parts:
            kept, other = x[:, :1], x[:, 1:]
            scale, shift = part(kept).chunk(2, 1)
            scale = torch.tanh(scale)
            x = torch.cat([other * scale.exp() + shift, kept], 1)
            volume = volume + scale.squeeze(1)
        return x, volume


class Translator(nn.Module):
    """An encoder and a decoder with attention, fed with the right answer so far."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.words = nn.Embedding(data.WORDS, width, padding_idx=data.PAD)
        self.encoder, self.decoder = nn.GRU(width, width, batch_first=True), nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(2 * width, data.WORDS)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        seen, state = self.encoder(self.words(x))
        begin = torch.full((len(y), 1), data.BEGIN)
        said, _ = self.decoder(self.words(torch.cat([begin, y[:, :-1]], 1)), state)
        scores = said @ seen.transpose(1, 2) / seen.shape[2] ** 0.5
        scores = scores.masked_fill((x == data.PAD).unsqueeze(1), float("-inf"))
        return self.head(torch.cat([said, scores.softmax(2) @ seen], 2)).transpose(1, 2)


class Graph(nn.Module):
    """Two graph convolutions."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.first, self.second, self.drop = nn.Linear(24, width), nn.Linear(width, 4), nn.Dropout(0.5)

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        return link @ self.second(self.drop(torch.relu(link @ self.first(self.drop(x)))))


class Experts(nn.Module):
    """Sends each input to one of four networks, and says how evenly they were used."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(64, 4)
        self.experts = nn.ModuleList(models.mlp(64, 10, 32, 1) for _ in range(4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        share = self.gate(x).softmax(1)
        best, at = share.max(1)
        output = torch.zeros(len(x), 10)
        for number, expert in enumerate(self.experts):
            mine = at == number
            if mine.any():
                output[mine] = expert(x[mine])
        used = F.one_hot(at, 4).float().mean(0)
        return best.unsqueeze(1) * output, 4 * (used * share.mean(0)).sum()


class Angles(nn.Module):
    """An embedding on a sphere and a direction for each class."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = models.mlp(64, 24, 96)
        self.ways = nn.Parameter(torch.empty(10, 24))
        nn.init.xavier_uniform_(self.ways)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.trunk(x)) @ F.normalize(self.ways).T


class Stars(nn.Module):
    """Factors of users and things, whose gradients are sparse."""

    def __init__(self, sparse: bool = True, squash: bool = False) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(200, 8, sparse=sparse), nn.Embedding(100, 8, sparse=sparse)
        self.user_bias, self.item_bias = nn.Embedding(200, 1, sparse=sparse), nn.Embedding(100, 1, sparse=sparse)
        for layer in (self.users, self.items, self.user_bias, self.item_bias):
            nn.init.normal_(layer.weight, std=0.1)
        self.squash = nn.Sigmoid() if squash else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        who, what = x[:, 0], x[:, 1]
        both = (self.users(who) * self.items(what)).sum(1)
        both = both + self.user_bias(who).squeeze(1) + self.item_bias(what).squeeze(1)
        return self.squash(both) if isinstance(self.squash, nn.Sigmoid) else both + 3


class Forecast(nn.Module):
    """A recurrent layer and the next twelve hours."""

    def __init__(self, batch_first: bool = True) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(1, 32, batch_first=batch_first), nn.Linear(32, 12)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Unet(nn.Module):
    """One step down, one step up, and a bridge."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.head = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        near = self.down(x)
        return self.head(torch.cat([near, self.up(self.deep(near))], 1))


class Boxes(nn.Module):
    """Finds a rectangle and says of which kind it is; one more head may be left over."""

    def __init__(self, left_over: bool = False) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(384, 64), nn.ReLU(),
        )  # fmt: skip
        self.box, self.kind = nn.Linear(64, 4), nn.Linear(64, 2)
        if left_over:
            self.score = nn.Linear(64, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.box(hidden), self.kind(hidden)


class Letters(nn.Module):
    """A transformer that sees both sides, for filling in letters (one more sign is the mask)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        known = corpus_data.letters()
        self.tokens, self.places = nn.Embedding(known + 1, width), nn.Parameter(0.02 * torch.randn(32, width))
        layer = nn.TransformerEncoderLayer(width, 4, 64, dropout=0.0, activation="gelu", batch_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(width, known)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.tokens(x) + self.places[: x.shape[1]])).transpose(1, 2)


class Majority(nn.Module):
    """An attention block over a sequence of numbers, as used by the fine-tuned and the accumulating ones."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.put, self.place = nn.Linear(1, width), nn.Parameter(0.02 * torch.randn(16, width))
        self.norm, self.attention = nn.LayerNorm(width), nn.MultiheadAttention(width, 2, batch_first=True)
        self.net = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 48), nn.GELU(), nn.Linear(48, width))
        self.head = nn.Linear(width, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.put(x) + self.place
        seen = self.norm(x)
        x = x + self.attention(seen, seen, seen, need_weights=False)[0]
        return self.head((x + self.net(x)).mean(1))


@cache
def _majority() -> dict[str, Any]:
    torch.manual_seed(9)
    found = corpus_data.sums(seed=31)
    model = Majority()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(300):
        at = torch.randint(len(found.x), (32,))
        loss = F.cross_entropy(model(found.x[at]), found.y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {name: value.clone() for name, value in model.state_dict().items()}


def trained_majority(head: bool = True) -> Majority:
    """Gives a network that can tell the majority, with low-rank corrections and, if asked for, a new head."""
    state = torch.get_rng_state()
    weights = _majority()
    torch.set_rng_state(state)
    model = Majority()
    model.load_state_dict(weights)
    model.requires_grad_(False)
    model.net[1], model.net[3] = models.Lora(model.net[1]), models.Lora(model.net[3])
    if head:
        model.head = nn.Linear(24, 2)
    return model
