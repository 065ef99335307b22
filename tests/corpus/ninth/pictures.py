"""Scripts of the ninth held-out set on pictures: glyphs, cracks, a body that is kept, two that teach each other."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.corpus.probe import Probe, Recording


@cache
def glyphs() -> tuple[Tensor, Tensor]:
    """Digits around nought, shuffled: the last 397 are held out."""
    raw = load_digits()
    order = np.random.default_rng(110).permutation(1797)
    x = torch.tensor(raw.images[order], dtype=torch.float32).unsqueeze(1)
    return (x - 4.88) / 6.02, torch.tensor(raw.target[order])


class Glyphs(Dataset[Any]):
    """Moves a picture by a pixel now and then."""

    def __init__(self, train: bool) -> None:
        x, y = glyphs()
        self.x, self.y, self.train = (x[:1400], y[:1400], True) if train else (x[1400:], y[1400:], False)

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, at: int) -> tuple[Tensor, Tensor]:
        picture = self.x[at]
        if self.train and torch.rand(()) < 0.3:
            picture = picture.roll(int(torch.randint(-1, 2, ())), 2)
        return picture, self.y[at]


def conv_block(into: int, out: int, momentum: float) -> nn.Sequential:
    """Is what VGG is made of."""
    return nn.Sequential(
        nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out, momentum=momentum), nn.ReLU(inplace=True)
    )


class TinyVGG(nn.Module):
    """Three blocks and a dropout before the last layer."""

    def __init__(self, momentum: float = 0.1, softmax: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv_block(1, 16, momentum), nn.MaxPool2d(2), conv_block(16, 32, momentum), conv_block(32, 32, momentum),
            nn.AdaptiveAvgPool2d(2), nn.Flatten(),
        )  # fmt: skip
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(128, 10))
        self.softmax = nn.Softmax(dim=1) if softmax else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.softmax(self.classifier(self.features(x)))


def vgg(
    batch_size: int = 50, pieces: int = 1, evals: bool = True, many: int = 1400, lr: float = 0.05,
    epochs: int = 8, every_batch: bool = False, **model_args: Any,
) -> Recording:  # fmt: skip
    """Names glyphs; a batch may come in `pieces`, each with its share of the loss.

    Wrong where asked for: softmax before cross-entropy, a batch norm's momentum that is meant for many steps,
    no eval(), a schedule for epochs that moves with every batch.
    """
    whole, held = Glyphs(train=True), DataLoader(Glyphs(train=False), batch_size=199)
    loader = DataLoader(torch.utils.data.Subset(whole, range(many)), batch_size, shuffle=True, drop_last=True)
    model, criterion = TinyVGG(**model_args), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.75)
    probe = Probe(model, optimizer)

    def validate() -> None:
        if evals:
            model.eval()
        with torch.no_grad():
            seen = [(model(images), labels) for images, labels in held]
        logits, labels = (torch.cat(part) for part in zip(*seen, strict=True))
        probe.validation(criterion(logits, labels), accuracy=(logits.argmax(1) == labels).float().mean())

    for _ in range(epochs):
        model.train()
        for at, (images, labels) in enumerate(loader):
            loss = criterion(model(images), labels)
            (loss / pieces).backward()
            if (at + 1) % pieces == 0:
                optimizer.step()
                optimizer.zero_grad()
                if every_batch:
                    scheduler.step()
            probe.step(loss)
        validate()
        if not every_batch:
            scheduler.step()
    return probe.finish()


@cache
def fabric() -> tuple[Tensor, Tensor]:
    """Woven pictures, 20 × 20, with a crack of a pixel's width."""
    chance = np.random.default_rng(111)
    mask = np.zeros((420, 20, 20), dtype=np.float32)
    for picture in mask:
        row, slope = chance.uniform(4, 16), chance.normal(0, 0.4)
        start = chance.integers(0, 8)
        for column in range(start, start + chance.integers(6, 12)):
            picture[int(np.clip(row, 0, 19)), column] = 1
            row += slope + chance.normal(0, 0.3)
    weave = 0.3 * np.sin(np.arange(20) * 1.3)[None, :, None] * np.sin(np.arange(20) * 1.3)[None, None]
    x = weave + 0.8 * mask + chance.normal(0, 0.3, mask.shape)
    return torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(mask).unsqueeze(1)


class Dilated(nn.Module):
    """Looks wider and wider without becoming smaller."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for into, wide in ((1, 1), (12, 2), (12, 4)):
            layers += [nn.Conv2d(into, 12, 3, padding=wide, dilation=wide), nn.GroupNorm(3, 12), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(12, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def dice_loss(share: Tensor, mask: Tensor) -> Tensor:
    """Is 1 less the overlap, over the whole batch."""
    return 1 - (2 * (share * mask).sum() + 1) / (share.sum() + mask.sum() + 1)


def cracks(squash: Any = torch.sigmoid, overlap: float = 1.0, pixels: float = 1.0, lr: float = 5e-3) -> Recording:
    """Finds cracks, by pixels and by overlap.

    Wrong where asked for: an overlap of scores; pixels alone, of which 2 of 100 are of a crack.
    """
    x, mask = fabric()
    model = Dilated()
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)

    def losses(rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        scores = model(x[rows])
        return F.binary_cross_entropy_with_logits(scores, mask[rows]), dice_loss(squash(scores), mask[rows]), scores

    for _ in range(8):
        for rows in torch.randperm(340).split(10):
            each, whole, _ = losses(rows)
            loss = pixels * each + overlap * whole
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, pixels=each, overlap=whole)
        with torch.no_grad():
            each, whole, scores = losses(slice(340, 420))
        found, true = scores > 0, mask[340:] > 0
        iou = (found & true).sum() / (found | true).sum()
        probe.validation(pixels * each + overlap * whole, iou=iou, found=(found & true).sum() / true.sum())
    return probe.finish()


class Body(nn.Module):
    """Sees strokes; its head says which of five digits it is."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 12, 3, padding=1), nn.Conv2d(12, 24, 3, stride=2, padding=1)
        self.norm, self.fc = nn.BatchNorm2d(24), nn.Linear(24 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv2(F.relu(self.conv1(x)))))
        return self.fc(F.max_pool2d(x, 2).flatten(1))


def five_more(loaded: bool = True, head_first: bool = True) -> Recording:
    """Learns digits 5 to 9 from 120 pictures, with the body that knows 0 to 4 kept as it is (but for its last layer).

    Wrong where asked for: the weights of before are not loaded into what is frozen; the head comes after the optimizer.
    """
    x, y = glyphs()
    low, high = (y < 5).nonzero().squeeze(1), (y >= 5).nonzero().squeeze(1)
    before, model = Body(), Body()
    first = torch.optim.Adam(before.parameters(), lr=3e-3)
    for _ in range(120):
        rows = low[torch.randint(0, 700, (32,))]
        first.zero_grad()
        F.cross_entropy(before(x[rows]), y[rows]).backward()
        first.step()
    if loaded:
        model.load_state_dict(before.state_dict())
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("fc")
    if head_first:
        model.fc = nn.Linear(96, 5)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    if not head_first:
        model.fc = nn.Linear(96, 5)
    probe = Probe(model, optimizer)
    held = high[300:]
    for _ in range(30):
        model.train()
        model.norm.eval()  # its statistics are those of the body
        for rows in high[:120][torch.randperm(120)].split(12):
            loss = F.cross_entropy(model(x[rows]), y[rows] - 5)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(x[held])
        probe.validation(F.cross_entropy(said, y[held] - 5), accuracy=(said.argmax(1) == y[held] - 5).float().mean())
    return probe.finish()
