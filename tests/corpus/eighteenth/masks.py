"""Scripts of the eighteenth held-out set that find things in pictures of 48 points: masks, boxes, joints."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import dice, fit, forever, loaders, optimizer, schedule
from tests.corpus.probe import Probe, Recording

SIDE = 48
ROW, COLUMN = torch.meshgrid(torch.arange(SIDE).float(), torch.arange(SIDE).float(), indexing="ij")


@cache
def things(count: int, seed: int, small: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A disc or a box of one colour before clutter: the picture, the mask (0, 1, 2), the box, the kind."""
    chance = dice(seed)
    kind = torch.randint(2, (count,), generator=chance)
    half = 1.0 + torch.rand(count, 2, generator=chance) if small else 5 + 7 * torch.rand(count, 2, generator=chance)
    half[:, 1] = torch.where(kind == 0, half[:, 0], half[:, 1])
    middle = 12 + 24 * torch.rand(count, 2, generator=chance)
    down = (ROW - middle[:, 0].view(-1, 1, 1)) / half[:, 0].view(-1, 1, 1)
    across = (COLUMN - middle[:, 1].view(-1, 1, 1)) / half[:, 1].view(-1, 1, 1)
    disc, box = down**2 + across**2 <= 1, (down.abs() <= 1) & (across.abs() <= 1)
    inside = torch.where((kind == 0).view(-1, 1, 1), disc, box)
    mask = inside.long() * (1 + kind).view(-1, 1, 1)
    clutter = F.interpolate(torch.rand(count, 3, 6, 6, generator=chance), size=SIDE, mode="bilinear")
    colour = 0.3 * torch.rand(count, 3, 1, 1, generator=chance) + torch.tensor([0.7, 0.1, 0.4]).view(1, 3, 1, 1)
    picture = torch.where(inside.unsqueeze(1), colour, 0.8 * clutter)
    picture = (picture + 0.1 * torch.randn(picture.shape, generator=chance)).clamp(0, 1)
    return picture, mask, torch.cat((middle, half), 1), kind


def twice(a: int, b: int, act: bool = True) -> nn.Sequential:
    """Two convolutions with batch norm."""
    turn = nn.ReLU if act else nn.Identity
    return nn.Sequential(
        nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), turn(), nn.Conv2d(b, b, 3, padding=1), nn.BatchNorm2d(b),
        turn(),
    )  # fmt: skip


class UNet(nn.Module):
    """Down three times and up again, with bridges."""

    def __init__(self, out: int, width: int = 8, act: bool = True) -> None:
        super().__init__()
        sizes = [width * 2**at for at in range(4)]
        self.down = nn.ModuleList([twice(a, b, act) for a, b in pairwise([3, *sizes])])
        self.up = nn.ModuleList([nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairwise(sizes)])
        self.join = nn.ModuleList([twice(2 * a, a, act) for a in sizes[:3]])
        self.last = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        kept = []
        for at, layer in enumerate(self.down):
            x = layer(x if at == 0 else F.max_pool2d(x, 2))
            kept.append(x)
        for at in (2, 1, 0):
            x = self.join[at](torch.cat((self.up[at](x), kept[at]), 1))
        return self.last(x)


def overlap(out: Tensor, mask: Tensor) -> Tensor:
    """One minus Dice."""
    share = out.sigmoid().flatten(1)
    mask = mask.flatten(1)
    return 1 - ((2 * (share * mask).sum(1) + 1) / (share.sum(1) + mask.sum(1) + 1)).mean()


def covered(
    judged: str = "names", rate: float = 1e-3, name: str = "adam", batch: int = 16, steps: int = 150, width: int = 8,
    plan: str = "cosine", small: bool = False, edge: bool = False, act: bool = True, squashed: bool = False,
    decay: float = 0.0, weigh: float = 1.0, **more: Any,
) -> Recording:  # fmt: skip
    """Covers the thing: three names a point, or one ("both": cross-entropy and Dice); `edge` leaves out the rim."""
    x, mask, _, _ = things(1500, 191, small)
    vx, vmask, _, _ = things(200, 192, small)
    x, vx = x * 2 - 1, vx * 2 - 1
    if edge:
        rim = F.max_pool2d((mask > 0).float().unsqueeze(1), 3, 1, 1).squeeze(1) != (mask > 0).float()
        mask = torch.where(rim, 255, mask)
    single = judged != "names"
    model: nn.Module = UNet(1 if single else 3, width, act)
    if squashed:
        model = nn.Sequential(model, nn.Sigmoid())
    made = optimizer(name, model.parameters(), rate, decay)
    heavy = torch.tensor(weigh)

    def loss_of(out: Tensor, asked: Tensor) -> Tensor:
        if not single:
            return F.cross_entropy(out, asked, ignore_index=255)
        wanted = (asked > 0).float().unsqueeze(1)
        lost = F.binary_cross_entropy_with_logits(out, wanted, pos_weight=heavy if weigh != 1 else None)
        return lost + overlap(out, wanted) if judged == "both" else lost

    learn, _ = loaders((x, mask, vx, vmask), batch)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, **more)
    source = forever(learn)
    for step in range(steps):
        part, asked = next(source)
        loss = loss_of(model(part), asked)
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 30 == 29:
            model.eval()
            with torch.no_grad():
                out = model(vx)
            found = (out.squeeze(1) > (0.5 if squashed else 0)) if single else out.argmax(1) > 0
            full = vmask > 0
            shared = (found & full).sum() / (found | full).sum().clamp(min=1)
            probe.validation(loss_of(out, vmask), iou=shared)
            model.train()
    return probe.finish()


class Grid(nn.Module):
    """Says for each of 36 cells whether a middle lies in it, where, how large and of which kind."""

    def __init__(self, width: int, norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for a, b in ((3, width), (width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(a, b, 3, 2, 1, bias=not norm), nn.BatchNorm2d(b) if norm else nn.Identity()]
            layers.append(nn.LeakyReLU(0.1))
        self.body = nn.Sequential(*layers, nn.Conv2d(4 * width, 4 * width, 3, padding=1), nn.LeakyReLU(0.1))
        self.head = nn.Conv2d(4 * width, 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).permute(0, 2, 3, 1)


def boxes(
    rate: float = 2e-3, name: str = "adam", batch: int = 32, steps: int = 250, width: int = 16, plan: str = "cosine",
    heavy: float = 5.0, given: str = "all", decay: float = 0.0, pixels: bool = False,
) -> Recording:  # fmt: skip
    """A detector as YOLO is one: squares for boxes, cross-entropies for what is there and of which kind."""
    x, _, box, kind = things(3000, 193)
    vx, _, vbox, vkind = things(300, 194)
    model = Grid(width)
    made = optimizer(name, (model if given == "all" else model.body).parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)

    def lost(out: Tensor, box: Tensor, kind: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        cell = (box[:, :2] / 8).long()
        full = torch.zeros(out.shape[:3])
        at = (torch.arange(len(out)), cell[:, 0], cell[:, 1])
        full[at] = 1
        there = F.binary_cross_entropy_with_logits(out[..., 0], full, reduction="sum") / len(out)
        said = out[at]
        unit = 1.0 if pixels else 8.0
        wanted = torch.cat(((box[:, :2] - 8 * cell) / unit, box[:, 2:] / unit), 1)
        return there, F.smooth_l1_loss(said[:, 1:5], wanted), F.cross_entropy(said[:, 5:], kind)

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        there, where, what = lost(model(x[rows]), box[rows], kind[rows])
        loss = there + heavy * where + what
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss, there=there, where=where, what=what)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                out = model(vx)
                there, where, what = lost(out, vbox, vkind)
            best = out[..., 0].flatten(1).argmax(1)
            right = best == (vbox[:, 0] / 8).long() * 6 + (vbox[:, 1] / 8).long()
            probe.validation(there + heavy * where + what, found=right.float().mean())
            model.train()
    return probe.finish()


def joints(
    rate: float = 2e-3, name: str = "adam", batch: int = 16, steps: int = 200, width: int = 12, wide: float = 2.0,
    plan: str = "one cycle", high: float = 1.0,
) -> Recording:  # fmt: skip
    """Two corners of the thing as heat maps of half the size, by squares."""
    x, _, box, _ = things(1500, 195)
    vx, _, vbox, _ = things(200, 196)
    row, column = ROW[::2, ::2], COLUMN[::2, ::2]

    def heat(box: Tensor) -> Tensor:
        corners = torch.stack((box[:, :2] - box[:, 2:], box[:, :2] + box[:, 2:]), 1)
        far = (row - corners[:, :, :1, None]) ** 2 + (column - corners[:, :, 1:, None]) ** 2
        return high * (-far / (2 * (2 * wide) ** 2)).exp()

    model = nn.Sequential(
        twice(3, width),
        nn.MaxPool2d(2),
        twice(width, 2 * width),
        twice(2 * width, 2 * width),
        nn.Conv2d(2 * width, 2, 1),
    )
    learn, held = loaders((x, heat(box), vx, heat(vbox)), batch)
    made = optimizer(name, model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)

    def loss_of(out: Tensor, asked: Tensor) -> Tensor:
        return 100 * F.mse_loss(out, asked)

    return fit(model, made, learn, held, loss_of, steps, planned, every=40, named=False)
