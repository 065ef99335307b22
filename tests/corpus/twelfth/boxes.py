"""Scripts of the twelfth held-out set that find things in pictures: a grid, anchors, heat, masks."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import scenes

CELLS = 6


def body(width: int = 16) -> nn.Sequential:
    """Reads a picture of 24 by 24 into 6 by 6 cells."""
    return nn.Sequential(
        nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.1), nn.MaxPool2d(2),
        nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.1),
    )  # fmt: skip


def flipped(boxes: Tensor) -> Tensor:
    """Turns boxes as a mirror does."""
    return torch.stack((1 - boxes[..., 2], boxes[..., 1], 1 - boxes[..., 0], boxes[..., 3]), -1)


def on_grid(boxes: Tensor, kinds: Tensor, pixels: float) -> tuple[Tensor, Tensor, Tensor]:
    """Says of each cell whether an object's centre is in it, its box (offset, size) and its kind."""
    count = len(boxes)
    there, place, kind = torch.zeros(count, 36), torch.zeros(count, 36, 4), torch.zeros(count, 36, dtype=torch.long)
    for at in range(boxes.size(1)):
        rows = (kinds[:, at] >= 0).nonzero().squeeze(1)
        box = boxes[rows, at]
        centre, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
        cell = (centre * CELLS).long().clamp(0, CELLS - 1)
        spot = cell[:, 1] * CELLS + cell[:, 0]
        there[rows, spot], kind[rows, spot] = 1.0, kinds[rows, at]
        place[rows, spot] = torch.cat((centre * CELLS - cell, size), 1) * pixels
    return there, place, kind


class Grid(nn.Module):
    """Predicts for each cell: a box, whether there is one, which kind."""

    def __init__(self, bounded: bool) -> None:
        super().__init__()
        self.body, self.head, self.bounded = body(12), nn.Conv2d(24, 7, 1), bounded

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.head(self.body(x)).flatten(2).transpose(1, 2)
        box = out[..., :4].sigmoid() if self.bounded else out[..., :4]
        return box, out[..., 4], out[..., 5:]


def grid(mirror_boxes: bool = True, pixels: float = 1.0, epochs: int = 10) -> Recording:
    """Finds boxes and frames as YOLO does, on mirrored pictures too."""
    pictures, boxes, kinds = scenes()
    model = Grid(bounded=pixels == 1.0)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor, mirrored: bool) -> tuple[Tensor, Tensor, Tensor]:
        x, wanted = pictures[rows], boxes[rows]
        if mirrored:
            x = x.flip(3)
            wanted = flipped(wanted) if mirror_boxes else wanted
        there, place, kind = on_grid(wanted, kinds[rows], pixels)
        box, sure, scores = model(x)
        full = there > 0
        return (
            F.mse_loss(box[full], place[full]),
            F.binary_cross_entropy_with_logits(sure, there),
            F.cross_entropy(scores[full], kind[full]),
        )

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(760).split(38):
            box, sure, kind = losses(rows, bool(torch.rand(()) < 0.5))
            loss = 5 * box + 4 * sure + 0.5 * kind
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, box=box, objectness=sure, kind=kind)
        model.eval()
        with torch.no_grad():
            box, sure, kind = losses(torch.arange(760, 900), mirrored=False)
        probe.validation(5 * box + 4 * sure + 0.5 * kind, box=box, objectness=sure, kind=kind)
    return probe.finish()


@cache
def anchors() -> Tensor:
    """Gives three boxes (centre, size) at each cell."""
    line = (torch.arange(CELLS) + 0.5) / CELLS
    ys, xs = torch.meshgrid(line, line, indexing="ij")
    centres = torch.stack((xs, ys), -1).reshape(-1, 1, 2)
    sizes = torch.tensor([[0.3, 0.3], [0.36, 0.22], [0.22, 0.36]]).expand(36, 3, 2)
    return torch.cat((centres.expand(36, 3, 2), sizes), -1).reshape(-1, 4)


def overlaps(boxes: Tensor, others: Tensor) -> Tensor:
    """Gives intersections over unions."""
    low, high = torch.max(boxes[:, None, :2], others[None, :, :2]), torch.min(boxes[:, None, 2:], others[None, :, 2:])
    both = (high - low).clamp(min=0).prod(2)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1)[:, None] + (others[:, 2:] - others[:, :2]).prod(1)[None] - both
    return both / area


def matched(boxes: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
    """Gives each anchor a kind (0 is the background) and what to move it by."""
    base = anchors()
    corners = torch.cat((base[:, :2] - base[:, 2:] / 2, base[:, :2] + base[:, 2:] / 2), 1)
    label, move = torch.zeros(len(base), dtype=torch.long), torch.zeros(len(base), 4)
    real = boxes[kinds >= 0]
    if len(real):
        best, which = overlaps(corners, real).max(1)
        nearest = overlaps(corners, real).argmax(0)
        best[nearest], which[nearest] = 2.0, torch.arange(len(real))
        hit = real[which]
        centre, size = (hit[:, :2] + hit[:, 2:]) / 2, hit[:, 2:] - hit[:, :2]
        move = torch.cat(((centre - base[:, :2]) / base[:, 2:] / 0.1, (size / base[:, 2:]).log() / 0.2), 1)
        label = torch.where(best > 0.45, kinds[kinds >= 0][which] + 1, 0)
    return label, move


@cache
def prepared(least: int, clean: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Gives pictures with what their anchors should say; one annotation in 40 has no width if nobody cleaned."""
    pictures, boxes, kinds = scenes(480, 2, least, 1203)
    boxes = boxes.clone()
    if not clean:
        boxes[39::40, 0, 2] = boxes[39::40, 0, 0]
    pairs = [matched(b, k) for b, k in zip(boxes, kinds, strict=True)]
    return pictures, torch.stack([label for label, _ in pairs]), torch.stack([move for _, move in pairs])


def hard_negatives(losses: Tensor, positive: Tensor) -> Tensor:
    """Keeps of the background what is most mistaken: three for each object, and three where there is none."""
    losses = losses.detach().masked_fill(positive, -1.0)
    rank = losses.argsort(1, descending=True).argsort(1)
    return rank < (3 * positive.sum(1, keepdim=True)).clamp(min=3)


def multibox(
    guarded: bool = True, clean: bool = True, each: str = "batch", momentum: float = 0.9, epochs: int = 12
) -> Recording:
    """Finds boxes and frames by anchors, as SSD does; some pictures are empty."""
    pictures, labels, moves = prepared(0, clean)
    trunk, head = body(12), nn.Conv2d(24, 3 * 7, 3, padding=1)
    model = nn.Sequential(trunk, head)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=momentum, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    probe = Probe(model, optimizer)

    def losses(rows: Tensor) -> tuple[Tensor, Tensor]:
        out = model(pictures[rows]).view(len(rows), 3, 7, 36).permute(0, 3, 1, 2).reshape(len(rows), -1, 7)
        label, positive = labels[rows], labels[rows] > 0
        confidence = F.cross_entropy(out[..., :3].transpose(1, 2), label, reduction="none")
        kept = positive | hard_negatives(confidence, positive)
        if each == "picture":  # a refactoring: the mean over the objects of each picture, then over pictures
            place = F.smooth_l1_loss(out[..., 3:], moves[rows], reduction="none").sum(2)
            inside, shown = (place * positive).sum(1), positive.sum(1)
            shown = shown.clamp(min=1) if guarded else shown
            return (inside / shown).mean(), ((confidence * kept).sum(1) / kept.sum(1)).mean()
        many = positive.sum().clamp(min=1)
        place = F.smooth_l1_loss(out[..., 3:][positive], moves[rows][positive], reduction="sum") / many
        return place, confidence[kept].sum() / kept.sum()

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(400).split(20):
            place, confidence = losses(rows)
            loss = 0.5 * place + confidence
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, place=place, confidence=confidence)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            place, confidence = losses(torch.arange(400, 480))
        probe.validation(0.5 * place + confidence, place=place, confidence=confidence)
    return probe.finish()


def heat(prior: float = -2.2, epochs: int = 10) -> Recording:
    """Marks the centres of things by heat, as CenterNet does, with a focal loss."""
    pictures, boxes, kinds = scenes(540, 2, 1, 1204)
    line = (torch.arange(24) + 0.5) / 24
    centre = (boxes[..., :2] + boxes[..., 2:]) / 2
    far = (line.view(1, 1, 1, 24) - centre[..., 0, None, None]) ** 2 + (
        line.view(1, 1, 24, 1) - centre[..., 1, None, None]
    ) ** 2
    near = (-far / (2 * 0.05**2)).exp() * (kinds >= 0)[..., None, None]
    target = near.amax(1, keepdim=True)
    target[target > 0.85] = 1.0
    model = nn.Sequential(
        nn.Conv2d(1, 8, 5, padding=2), nn.SiLU(), nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.SiLU(),
        nn.Conv2d(8, 8, 3, padding=4, dilation=4), nn.SiLU(), nn.Conv2d(8, 1, 1),
    )  # fmt: skip
    nn.init.constant_(model[-1].bias, prior)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def focal(x: Tensor, y: Tensor) -> Tensor:
        p = model(x).sigmoid().clamp(1e-4, 1 - 1e-4)
        hit = y.eq(1).float()
        found = (p.log() * (1 - p) ** 2 * hit).sum()
        quiet = ((1 - p).log() * p**2 * (1 - y) ** 4 * (1 - hit)).sum()
        return -(found + quiet) / hit.sum().clamp(min=1)

    for _ in range(epochs):
        for rows in torch.randperm(450).split(18):
            loss = focal(pictures[rows], target[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(focal(pictures[450:], target[450:]))
    return probe.finish()
