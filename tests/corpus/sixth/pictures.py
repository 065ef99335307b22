"""Scripts of the sixth held-out set that see: tiles, roads, clips, writers, episodes, a picture by its coordinates."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus.probe import Probe, Recording


class Tiles(Dataset):
    """Tiles with one of six patterns, in grain; made when they are asked for the first time."""

    def __init__(self, part: str, first: int = 0, ordered: bool = False) -> None:
        chance = torch.Generator().manual_seed(611 if part == "train" else 612)
        count = 900 if part == "train" else 240
        self.labels = torch.randint(0, 6, (count,), generator=chance)
        self.labels = self.labels.sort().values if ordered else self.labels
        patterns = (torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(613)) > 0.5).float()
        turned = torch.stack([patterns.rot90(k, (2, 3)) for k in range(4)])
        way = torch.randint(0, 4, (count,), generator=chance)
        self.images = turned[way, self.labels] - 0.5 + 0.45 * torch.randn(count, 1, 8, 8, generator=chance)
        self.labels = self.labels + first

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index], self.labels[index]


class TileNet(nn.Module):
    """Convolutions with group norms."""

    def __init__(self, classes: int = 6) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(1, 16, 3, padding=1), nn.GroupNorm(4, 16)
        self.conv2, self.norm2 = nn.Conv2d(16, 24, 3, padding=1), nn.GroupNorm(4, 24)
        self.fc = nn.Linear(24 * 4, classes)
        nn.init.normal_(self.fc.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.silu(self.norm1(self.conv1(x))), 2)
        x = F.max_pool2d(F.silu(self.norm2(self.conv2(x))), 2)
        return self.fc(x.flatten(1))


def freeze_convolutions(model: nn.Module) -> nn.Module:
    """Comes from a script for networks that were trained before."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad = "fc" in name
    return model


def cut_and_mixed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Puts a piece of another tile into each, and mixes the answers by how large it is."""
    other, high = torch.randperm(len(x)), int(torch.randint(1, 5, ()))
    x = x.clone()
    x[:, :, :high] = x[other, :, :high]
    sides = F.one_hot(y, 6).float()
    return x, sides * (1 - high / 8) + sides[other] * high / 8


def tiles(
    make: Any = TileNet, optimizer_of: Any = None, batch: int = 30, mixed: bool = False, warm: int = 0,
    first: int = 0, ordered: bool = False, clip_value: float = 0.0, epochs: int = 7, autocast: bool = False,
) -> Recording:  # fmt: skip
    """Tells tiles apart; what is asked for changes one line of it."""
    loader = DataLoader(Tiles("train", ordered=ordered), batch, shuffle=not ordered)
    model = make()
    make_optimizer = optimizer_of or (lambda parameters: torch.optim.Adam(parameters, lr=2e-3))
    optimizer = make_optimizer([p for p in model.parameters() if p.requires_grad])
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=warm) if warm else None
    probe = Probe(model, optimizer)

    def answer(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            return model(x).float()

    test = Tiles("test", first)
    for _ in range(epochs):
        model.train()
        for x, y in loader:
            if mixed:
                x, y = cut_and_mixed(x, y)
            loss = F.cross_entropy(answer(x), y)
            optimizer.zero_grad()
            loss.backward()
            if clip_value:
                nn.utils.clip_grad_value_(model.parameters(), clip_value)
            optimizer.step()
            if rise:
                rise.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = answer(test.images)
        right = (output.argmax(1) == test.labels).float().mean()
        probe.validation(F.cross_entropy(output, test.labels), accuracy=right)
    return probe.finish()


class SevenWays(TileNet):
    """Knows one kind more than there are, so that labels from 1 to 6 fit in, too."""

    def __init__(self) -> None:
        super().__init__(7)


class Mixer(nn.Module):
    """Mixes patches, then channels; its activations may be left out."""

    def __init__(self, activation: Any = nn.GELU, same: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 24, 2, 2)
        self.spots = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), activation(), nn.Linear(32, 16))
        self.channels = nn.Sequential(nn.LayerNorm(24), nn.Linear(24, 48), activation(), nn.Linear(48, 24))
        self.norm, self.head = nn.LayerNorm(24), nn.Linear(24, 6)
        if same:
            for parameter in self.parameters():
                nn.init.constant_(parameter, same)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).flatten(2)
        x = x + self.spots(x)
        x = x.transpose(1, 2)
        x = x + self.channels(x)
        return self.head(self.norm(x).mean(1))


def roads(weights: tuple[float, float] | None = (1.0, 12.0)) -> Recording:
    """Finds roads of one point's width from above; clouds hide some points, which do not count (255)."""
    chance = torch.Generator().manual_seed(614)
    y = torch.zeros(400, 14, 14, dtype=torch.long)
    y[torch.arange(400), torch.randint(0, 14, (400,), generator=chance)] = 1
    y[:, :, 7:][torch.rand(400, generator=chance) < 0.7] = 0
    x = 0.8 * y.float() + 0.6 * torch.randn(400, 14, 14, generator=chance)
    y[torch.rand(400, 14, 14, generator=chance) < 0.15] = 255
    x = x.unsqueeze(1)
    net = nn.Sequential(
        nn.Conv2d(1, 12, (3, 5), padding=(1, 2)), nn.ReLU(), nn.Conv2d(12, 12, (1, 5), padding=(0, 2)), nn.ReLU(),
        nn.Conv2d(12, 2, 1),
    )  # fmt: skip
    criterion = nn.CrossEntropyLoss(weight=torch.tensor(weights) if weights else None, ignore_index=255)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3 if weights else 1e-3)
    probe = Probe(net, optimizer)
    for _ in range(6):
        for at in torch.randperm(320).split(16):
            loss = criterion(net(x[at]), y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            output = net(x[320:])
        said, true = output.argmax(1) == 1, y[320:] == 1
        overlap = (said & true).sum() / ((said | true) & (y[320:] < 255)).sum().clamp(min=1)
        probe.validation(criterion(output, y[320:]), iou=overlap)
    return probe.finish()


def clips() -> Recording:
    """Says where something moves to, from six frames (convolutions over time, too)."""
    chance = torch.Generator().manual_seed(615)
    y = torch.randint(0, 4, (500,), generator=chance)
    way = torch.tensor([[0, 1], [0, -1], [1, 0], [-1, 0]])[y]
    start = torch.randint(0, 8, (500, 2), generator=chance)
    x = 0.25 * torch.randn(500, 1, 6, 8, 8, generator=chance)
    for frame in range(6):
        at = (start + frame * way) % 8
        x[torch.arange(500), 0, frame, at[:, 0], at[:, 1]] += 2.5
    model = nn.Sequential(
        nn.Conv3d(1, 8, 3, padding=1), nn.BatchNorm3d(8), nn.ReLU(), nn.MaxPool3d((1, 2, 2)),
        nn.Conv3d(8, 12, (3, 2, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(432, 4),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(10):
        model.train()
        for at in torch.randperm(400).split(25):
            loss = F.cross_entropy(model(x[at]), y[at])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            output = model(x[400:])
        probe.validation(F.cross_entropy(output, y[400:]), accuracy=(output.argmax(1) == y[400:]).float().mean())
    return probe.finish()


@cache
def written() -> tuple[Tensor, Tensor]:
    """Digits as rows around 0."""
    raw = load_digits()
    return torch.tensor(raw.data, dtype=torch.float32) / 8 - 0.6, torch.tensor(raw.target)


def twins(other: float = -1.0) -> Recording:
    """Learns whether two digits are the same one, by the angle between them; `other` marks those that are not."""
    x, y = written()
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    criterion = nn.CosineEmbeddingLoss(margin=0.2)
    probe, chance = Probe(model, optimizer), torch.Generator().manual_seed(616)

    def pairs(first: int, last: int, many: int) -> tuple[Tensor, Tensor]:
        a, b = torch.randint(first, last, (2, many), generator=chance)
        half = many // 2
        for at in range(half):
            same = (y[first:last] == y[a[at]]).nonzero().squeeze(1)
            b[at] = first + same[torch.randint(len(same), (), generator=chance)]
        mark = torch.where(y[a] == y[b], 1.0, other)
        return criterion(model(x[a]), model(x[b]), mark), mark

    for step in range(240):
        loss, _ = pairs(0, 1400, 32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.validation(pairs(1400, 1797, 200)[0])
    return probe.finish()


def episodes() -> Recording:
    """Learns to learn: five of ten digits in each episode, three pictures of each to know them by (prototypes)."""
    x, y = written()
    encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 24))
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=5e-4, weight_decay=0.05)
    probe, of_kind = Probe(encoder, optimizer), [(y == kind).nonzero().squeeze(1) for kind in range(10)]

    def episode(first: int, last: int) -> tuple[Tensor, Tensor]:
        rows = []
        for kind in torch.randperm(10)[:5]:
            own = of_kind[kind]
            own = own[(own >= first) & (own < last)]
            rows.append(own[torch.randperm(len(own))[:8]])
        seen = x[torch.stack(rows)]
        points = encoder(seen + 0.2 * torch.randn_like(seen))
        far = torch.cdist(points[:, 3:].flatten(0, 1), points[:, :3].mean(1)).pow(2)
        truth = torch.arange(5).repeat_interleave(5)
        return F.cross_entropy(-far, truth), (far.argmin(1) == truth).float().mean()

    for step in range(200):
        loss, _ = episode(0, 1400)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                seen = [episode(1400, 1797) for _ in range(10)]
            probe.validation(sum(loss for loss, _ in seen) / 10, accuracy=sum(right for _, right in seen) / 10)
    return probe.finish()


class Sine(nn.Module):
    """A layer of a SIREN."""

    def __init__(self, inputs: int, outputs: int, first: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        bound = 1 / inputs if first else (6 / inputs) ** 0.5 / 15
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(15 * self.linear(x))


def painting(points: bool = False, end: nn.Module | None = None) -> Recording:
    """Learns one picture: what is where, by coordinates from -1 to 1, or by points counted from 0."""
    size = 40
    at = torch.arange(size).float() if points else torch.linspace(-1, 1, size)
    where = torch.cartesian_prod(at, at)
    plain = torch.cartesian_prod(torch.linspace(-1, 1, size), torch.linspace(-1, 1, size))
    far = plain.norm(dim=1)
    color = (torch.sin(9 * far) * torch.exp(-far) + 0.5 * torch.sin(5 * plain[:, 0] * plain[:, 1])).unsqueeze(1)
    model = nn.Sequential(Sine(2, 48, True), Sine(48, 48), nn.Linear(48, 1), *([end] if end else []))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer, total_steps=300)
    for step in range(300):
        rows = torch.randint(size * size, (400,))
        loss = F.mse_loss(model(where[rows]), color[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 75 == 74:
            with torch.no_grad():
                probe.validation(F.mse_loss(model(where), color))
    return probe.finish()
