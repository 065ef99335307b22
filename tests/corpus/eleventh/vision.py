"""Scripts of the eleventh held-out set that see: residual nets, patches, masks, key points, boxes, a new head."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def written() -> tuple[Tensor, Tensor]:
    """1,797 digits of 8 × 8 in a mixed order, from 0 to 1, and what they are."""
    raw = load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1120))
    return torch.tensor(raw.images).float()[order].unsqueeze(1) / 16, torch.tensor(raw.target)[order]


class Basic(nn.Module):
    """Two convolutions beside a way round."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, momentum: float = 0.1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(outputs, momentum=momentum), nn.BatchNorm2d(outputs, momentum=momentum)
        self.short: nn.Module = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(out)) + self.short(x))


def jiggle(x: Tensor) -> Tensor:
    """Moves each picture by up to a pixel."""
    across, down = (int(torch.randint(-1, 2, (1,))) for _ in range(2))
    return torch.roll(x, (across, down), (2, 3))


def resnet(
    period: int | None = None,
    batch: int = 64,
    epochs: int = 6,
    again: bool = True,
    keep: float = 0.1,
    push: float = 0.9,
) -> Recording:
    """Learns digits by a small residual net, SGD with Nesterov, a cosine over all steps, and shifted pictures.

    Wrong where asked for: a period in epochs, batches of two, or a net that stays in eval() after the first test.
    """
    x, y = written()
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, momentum=keep), nn.ReLU(),
        Basic(12, 12, momentum=keep), Basic(12, 24, 2, keep), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(24, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=push, nesterov=True, weight_decay=5e-4)
    size = 1400
    steps = epochs * (size // batch)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, period or steps)
    probe = Probe(model, optimizer, total_steps=steps)
    model.train()
    for _ in range(epochs):
        if again:
            model.train()
        for rows in torch.randperm(size)[: size // batch * batch].split(batch):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(jiggle(x[rows])), y[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            scores = model(x[size:])
        right = (scores.argmax(1) == y[size:]).float().mean()
        probe.validation(F.cross_entropy(scores, y[size:]), accuracy=right)
    return probe.finish()


class ViT(nn.Module):
    """Attends over sixteen patches and a token of its own."""

    def __init__(self, size: int = 48, dim: int = -1) -> None:
        super().__init__()
        self.patch = nn.Conv2d(1, size, 2, 2)
        self.token, self.place = nn.Parameter(torch.zeros(1, 1, size)), nn.Parameter(torch.randn(1, 17, size) * 0.02)
        self.blocks = nn.ModuleList(
            nn.ModuleDict({
                "norm1": nn.LayerNorm(size), "qkv": nn.Linear(size, 3 * size), "proj": nn.Linear(size, size),
                "norm2": nn.LayerNorm(size), "up": nn.Linear(size, 2 * size), "down": nn.Linear(2 * size, size),
            })
            for _ in range(2)
        )  # fmt: skip
        self.norm, self.head, self.dim = nn.LayerNorm(size), nn.Linear(size, 10), dim

    def attend(self, block: nn.ModuleDict, x: Tensor) -> Tensor:
        batch, length, size = x.shape
        q, k, v = block["qkv"](x).reshape(batch, length, 3, 4, size // 4).permute(2, 0, 3, 1, 4)
        weights = torch.einsum("bhid,bhjd->bhij", q, k) / math.sqrt(size // 4)
        mixed = torch.einsum("bhij,bhjd->bihd", weights.softmax(self.dim), v)
        return block["proj"](mixed.reshape(batch, length, size))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.place
        for block in self.blocks:
            x = x + self.attend(block, block["norm1"](x))  # type: ignore[arg-type]
            x = x + block["down"](F.gelu(block["up"](block["norm2"](x))))  # type: ignore[index]
        return self.head(self.norm(x[:, 0]))


def patches(rate: float = 2e-3, dim: int = -1, warm: int = 30, smooth: float = 0.05) -> Recording:
    """Learns digits by patches, with a warm start; a softmax over the batch lets pictures see each other."""
    x, y = written()
    model = ViT(dim=dim)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.02)
    first = torch.optim.lr_scheduler.LinearLR(optimizer, 0.05, total_iters=warm)
    then = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 220)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, then], [warm])
    probe = Probe(model, optimizer, total_steps=250)
    for step in range(250):
        rows = torch.randint(1400, (48,))
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x[rows]), y[rows], label_smoothing=smooth)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step < 249:
            scheduler.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                scores = model(x[1400:])
            right = (scores.argmax(1) == y[1400:]).float().mean()
            probe.validation(F.cross_entropy(scores, y[1400:]), accuracy=right)
    return probe.finish()


@cache
def scans(count: int = 500, size: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures with a bright disc in noise, where it is, which box it fills, and its place."""
    chance = torch.Generator().manual_seed(1122)
    middle = 4 + torch.rand(count, 2, generator=chance) * (size - 8)
    radius = 2 + torch.rand(count, 1, generator=chance) * 2
    grid = torch.stack(torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij"), -1)
    far = (grid[None] - middle[:, None, None]).norm(dim=-1)
    mask = (far < radius[:, None]).float().unsqueeze(1)
    picture = mask + 0.5 * torch.randn(count, 1, size, size, generator=chance)
    return picture, mask, torch.cat([middle - radius, middle + radius], 1), middle


def dice(chances: Tensor, mask: Tensor) -> Tensor:
    """One less the overlap."""
    both = (chances * mask).sum((1, 2, 3))
    return 1 - ((2 * both + 1) / (chances.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)).mean()


def lesions(squash: Callable[[Tensor], Tensor] = torch.sigmoid) -> Recording:
    """Outlines lesions by their overlap; an overlap of logits may be as good as one likes."""
    picture, mask, _, _ = scans()
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.GroupNorm(3, 12), nn.ReLU(), nn.Conv2d(12, 12, 5, padding=2), nn.ReLU(),
        nn.Conv2d(12, 1, 3, padding=1),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(400).split(20):
            optimizer.zero_grad()
            loss = dice(squash(model(picture[rows])), mask[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            chances = squash(model(picture[400:]))
        said, true = chances > 0.5, mask[400:] > 0.5
        probe.validation(dice(chances, mask[400:]), iou=(said & true).sum() / (said | true).sum())
    return probe.finish()


def landmark(pixels: bool = False) -> Recording:
    """Finds the middle of a spot, in shares of the picture by a sigmoid; in pixels it cannot be said."""
    picture, _, _, middle = scans()
    target = middle if pixels else middle / 16
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 32),
        nn.ReLU(), nn.Linear(32, 2), nn.Sigmoid(),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(12):
        for rows in torch.randperm(400).split(25):
            optimizer.zero_grad()
            loss = F.smooth_l1_loss(model(picture[rows]), target[rows], beta=0.05)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = model(picture[400:])
        probe.validation(F.smooth_l1_loss(said, target[400:], beta=0.05), far=(said - target[400:]).norm(dim=1).mean())
    return probe.finish()


def boxes(scale: float = 16.0, guard: bool = True) -> Recording:
    """Says whether a spot is large, and draws a box round those, in shares; boxes in pixels drown the question.

    Wrong where asked for: the mean over the large ones of a batch in which there may be none.
    """
    picture, _, box, _ = scans()
    large = (box[:, 2] - box[:, 0] > 6).float()
    target = box / scale
    trunk = nn.Sequential(
        nn.Conv2d(1, 12, 3, 2, 1), nn.LeakyReLU(0.1), nn.Conv2d(12, 24, 3, 2, 1), nn.LeakyReLU(0.1), nn.Flatten()
    )
    model = nn.ModuleDict({"trunk": trunk, "box": nn.Linear(384, 4), "large": nn.Linear(384, 1)})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        seen = model["trunk"](picture[rows])
        said = model["large"](seen).squeeze(1)
        wrong = F.mse_loss(model["box"](seen), target[rows], reduction="none").mean(1)
        where = 5.0 * (wrong * large[rows]).sum() / large[rows].sum().clamp(min=1.0 if guard else 0.0)
        right = ((said > 0).float() == large[rows]).float().mean()
        return where, F.binary_cross_entropy_with_logits(said, large[rows]), right

    for _ in range(6):
        for rows in torch.randperm(400).split(5):
            optimizer.zero_grad()
            where, what, _ = losses(rows)
            loss = where + what
            loss.backward()
            optimizer.step()
            probe.step(loss, box=where, large=what)
        with torch.no_grad():
            where, what, right = losses(torch.arange(400, 500))
        probe.validation(where + what, accuracy=right)
    return probe.finish()


def new_head(early: bool = False) -> Recording:
    """Learns to tell digits below five, then gives the net a new head for all ten and trains it at two rates.

    Wrong where asked for: the optimizer was made before the new head, and trains the old one.
    """
    x, y = written()
    trunk = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(256, 48))
    model = nn.Sequential(trunk, nn.ReLU(), nn.Linear(48, 5))
    few = (y[:1400] < 5).nonzero().squeeze(1)
    before = torch.optim.Adam(model.parameters(), lr=2e-3)
    for rows in few[torch.randperm(len(few))].split(32):
        before.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        before.step()
    old = torch.optim.Adam([{"params": trunk.parameters(), "lr": 1e-3}, {"params": model[2].parameters()}], lr=3e-3)
    model[2] = nn.Linear(48, 10)
    new = torch.optim.Adam([{"params": trunk.parameters(), "lr": 1e-3}, {"params": model[2].parameters()}], lr=3e-3)
    optimizer = old if early else new
    probe = Probe(model, optimizer, finetune=True)
    for _ in range(9):
        for rows in torch.randperm(1400).split(35):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            scores = model(x[1400:])
        right = (scores.argmax(1) == y[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, y[1400:]), accuracy=right)
    return probe.finish()
