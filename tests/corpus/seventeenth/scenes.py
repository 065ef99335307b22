"""Scripts of the seventeenth held-out set that find things in drawn pictures: boxes, masks, joints, depth, flow."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording

SIDE = 16
ROW, COLUMN = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")


def _squares(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A bright square on noise: the picture, its middle and half its side, and the mask."""
    chance = dice(seed)
    half = 1.5 + 2 * torch.rand(count, generator=chance)
    middle = 3 + 9 * torch.rand(count, 2, generator=chance)
    far = torch.maximum((ROW - middle[:, 0].view(-1, 1, 1)).abs(), (COLUMN - middle[:, 1].view(-1, 1, 1)).abs())
    mask = (far <= half.view(-1, 1, 1)).float()
    bright = 0.5 + torch.rand(count, 1, 1, generator=chance)
    picture = mask * bright + 0.3 * torch.randn(count, SIDE, SIDE, generator=chance)
    return picture.unsqueeze(1), torch.cat((middle, half.unsqueeze(1)), 1), mask


def _body(width: int, out: int, norm: bool = False, act: bool = True) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs in (1, width, width):
        layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.BatchNorm2d(width) if norm else nn.Identity()]
        layers.append(nn.ReLU() if act else nn.Identity())
    return nn.Sequential(*layers, nn.Conv2d(width, out, 1))


def anchors(
    rate: float = 5e-3, name: str = "adam", width: int = 12, batch: int = 16, steps: int = 200, begun: float = -4.0,
    gamma: float = 2.0, clip: float | None = 5.0,
) -> Recording:  # fmt: skip
    """Each of 64 places has two anchors, nearly all of them empty: focal loss over the number of full ones."""
    x, box, _ = _squares(1200, 21)
    model = nn.Sequential(_body(width, width), nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(width, 8, 3, padding=1))
    nn.init.constant_(model[3].bias[:2].data, begun)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    grid = torch.stack(torch.meshgrid(*[torch.arange(0.5, SIDE, 2)] * 2, indexing="ij")).flatten(1).T
    sizes = torch.tensor([2.0, 3.0])

    def aims(wanted: Tensor) -> tuple[Tensor, Tensor]:
        near = (grid - wanted[:, None, :2]).abs().amax(2) < 1.6
        fits = (sizes - wanted[:, 2:]).abs() < 0.8
        full = near.unsqueeze(2) & fits.unsqueeze(1)
        shift = (wanted[:, None, :2] - grid) / 2
        size = (wanted[:, 2:] / sizes).log()
        shift, size = shift.unsqueeze(2).expand(-1, -1, 2, -1), size[:, None, :, None].expand(-1, 64, -1, -1)
        return full, torch.cat((shift, size), 3)

    def said(part: Tensor) -> tuple[Tensor, Tensor]:
        out = model(part).flatten(2).transpose(1, 2)
        return out[:, :, :2], out[:, :, 2:].unflatten(2, (2, 3))

    for step in range(steps):
        rows = torch.randint(1000, (batch,))
        full, aim = aims(box[rows])
        score, where = said(x[rows])
        sure = torch.where(full, score.sigmoid(), 1 - score.sigmoid())
        raw = F.binary_cross_entropy_with_logits(score, full.float(), reduction="none")
        focal = ((1 - sure) ** gamma * raw).sum() / full.sum().clamp(min=1)
        off = F.smooth_l1_loss(where[full], aim[full], reduction="sum") / full.sum().clamp(min=1)
        loss = focal + off
        optimizer.zero_grad()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        probe.step(loss, full=focal, where=off)
        if step % 50 == 49:
            with torch.no_grad():
                score, where = said(x[1000:])
            best = score.flatten(1).argmax(1)
            rows = torch.arange(200)
            middle = grid[best // 2] + 2 * where.flatten(1, 2)[rows, best, :2]
            probe.log(dots_off=(middle - box[1000:, :2]).norm(dim=1).mean())
    return probe.finish()


def masks(
    rate: float = 5e-3, name: str = "adam", width: int = 12, batch: int = 16, steps: int = 200, judged: str = "dice",
    norm: bool = False, safe: float = 1.0, shuffled: bool = True, squashed: bool = True, act: bool = True,
) -> Recording:  # fmt: skip
    """Dice alone, its negative, or with a cross entropy that counts little."""
    x, _, mask = _squares(800, 22)
    model = _body(width, 1, norm, act)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(said: Tensor, wanted: Tensor) -> Tensor:
        part = said.sigmoid() if squashed else said
        both = (2 * (part * wanted).sum((1, 2)) + safe) / (part.sum((1, 2)) + wanted.sum((1, 2)) + safe)
        if judged == "negative":
            return -both.mean()
        more = 0.3 * F.binary_cross_entropy_with_logits(said, wanted) if judged == "both" else 0.0
        return 1 - both.mean() + more

    for step in range(steps):
        rows = torch.randint(700, (batch,))
        loss = judge(model(x[rows]).squeeze(1), mask[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out = model(x[700:]).squeeze(1)
            model.train()
            hard = (out > 0).float()
            found = 2 * (hard * mask[700:]).sum() / (hard.sum() + mask[700:].sum())
            probe.validation(judge(out, mask[700:]), dice=found)
    return probe.finish()


def joints(
    rate: float = 5e-3, name: str = "adam", width: int = 12, batch: int = 16, steps: int = 250, spread: float = 1.0,
    unit: float = 1.0, begun: float = 1.0,
) -> Recording:  # fmt: skip
    """The four corners of a square as small hills; the mean squared error begins at a hundredth and ends far below."""
    x, box, _ = _squares(1000, 23)
    side = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    corner = box[:, None, :2] + side * box[:, None, 2:]
    far = (ROW - corner[..., 0, None, None]) ** 2 + (COLUMN - corner[..., 1, None, None]) ** 2
    heat = (-far / (2 * spread**2)).exp() * unit
    model = _body(width, 4)
    model[0] = nn.Conv2d(1, width, 5, padding=2)
    model[6] = nn.Conv2d(width, width, 5, padding=2)
    with torch.no_grad():
        for value in model.parameters():
            value *= begun
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(900, (batch,))
        loss = F.mse_loss(model(x[rows]), heat[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                top = model(x[900:]).flatten(2).argmax(2)
            found = torch.stack((top // SIDE, top % SIDE), 2)
            off = (found - corner[900:]).norm(dim=2)
            probe.log(within_two_dots=(off < 2).float().mean(), dots_off=off.mean())
    return probe.finish()


def far(
    rate: float = 5e-3, name: str = "adam", width: int = 12, batch: int = 16, steps: int = 220, free: float = 0.5,
    kind: str = "depth",
) -> Recording:  # fmt: skip
    """How far away a thing is (logarithms of metres, their common part half free); "flow" says where it went."""
    x, box, mask = _squares(1000, 24)
    metres = torch.where(mask > 0, 30 / box[:, 2].view(-1, 1, 1), torch.full_like(mask, 40.0))
    moved = torch.randint(-1, 2, (1000, 2))
    after = torch.stack([a.roll((int(b[0]), int(b[1])), (1, 2)) for a, b in zip(x, moved, strict=True)])
    model = _body(width, 1 if kind == "depth" else 2)
    model[3] = nn.Conv2d(width, width, 5, padding=2)
    if kind == "flow":
        model[0] = nn.Conv2d(2, width, 3, padding=1)
        x = torch.cat((x, after), 1)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(rows: Tensor) -> tuple[Tensor, Tensor]:
        said = model(x[rows])
        if kind == "depth":
            off = said.squeeze(1) + 3 - metres[rows].log()
            return ((off**2).mean((1, 2)) - free * off.mean((1, 2)) ** 2).mean(), (off.exp() - 1).abs().mean()
        gap = (said - moved[rows].float()[:, :, None, None]).norm(dim=1)
        whole = mask[rows].sum()
        return ((gap**2 + 0.01).sqrt() * mask[rows]).sum() / whole, (gap * mask[rows]).sum() / whole

    for step in range(steps):
        loss, _ = judge(torch.randint(900, (batch,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost, wrong = judge(torch.arange(900, 1000))
            probe.validation(lost, off=wrong)
    return probe.finish()
