"""Scripts of the fourteenth held-out set that look at pictures: cloth, turned digits, twins, a pupil."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as schedules

from tests.corpus.fourteenth.stock import Four, accuracy, cut, digits
from tests.corpus.probe import Probe, Recording


@cache
def cloths(count: int = 1500, size: int = 16, seed: int = 14) -> Four:
    """Colour pictures of cloth whose stripes run in one of six directions."""
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 6, (count,), generator=g)
    angle = (y * (math.pi / 6) + 0.12 * torch.randn(count, generator=g)).view(-1, 1, 1)
    wave = 0.9 + 0.5 * torch.rand(count, 1, 1, generator=g)
    at = torch.arange(size).float()
    phase = 6.28 * torch.rand(count, 1, 1, generator=g)
    stripe = torch.sin(wave * (at.view(1, -1, 1) * angle.sin() + at.view(1, 1, -1) * angle.cos()) + phase)
    colour = 0.5 + 0.4 * torch.randn(count, 3, 1, 1, generator=g)
    x = stripe.unsqueeze(1) * colour + 0.5 * torch.randn(count, 3, size, size, generator=g)
    return cut(x, y, seed)


def _block(inputs: int, outputs: int, norm: str, stride: int = 1) -> nn.Sequential:
    kinds = {"batch": nn.BatchNorm2d(outputs), "group": nn.GroupNorm(4, outputs), "none": nn.Identity()}
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1, bias=norm == "none"), kinds[norm], nn.ReLU())


def weave(
    norm: str = "batch", optimizer_name: str = "sgd", rate: float = 0.05, batch: int = 32, epochs: int = 8,
    schedule: str = "cosine", augment: str = "flip", ordered: bool = False, decay: float = 5e-4,
    drop: float = 0.0, gamma: float = 0.1,
) -> Recording:  # fmt: skip
    """Tells the direction of stripes; `augment` "turns" turns each picture as if directions were no matter."""
    x, y, vx, vy = cloths()
    if ordered:
        x, y = x[y.argsort()], y[y.argsort()]
    net = nn.Sequential(
        _block(3, 12, norm), _block(12, 24, norm, 2), _block(24, 24, norm, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(drop), nn.Linear(24, 6),
    )  # fmt: skip
    steps = epochs * (len(x) // batch)
    opt: torch.optim.Optimizer
    if optimizer_name == "sgd":
        opt = torch.optim.SGD(net.parameters(), lr=rate, momentum=0.9, weight_decay=decay, nesterov=True)
    else:
        opt = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    made: dict[str, schedules.LRScheduler] = {
        "cosine": schedules.CosineAnnealingLR(opt, steps),
        "steps": schedules.StepLR(opt, 3, gamma),
        "none": schedules.ConstantLR(opt, 1.0),
    }
    if schedule == "one-cycle":
        made["one-cycle"] = schedules.OneCycleLR(opt, rate, total_steps=steps + 1)
    probe = Probe(net, opt, total_steps=steps)
    for _ in range(epochs):
        net.train()
        order = torch.arange(len(x)) if ordered else torch.randperm(len(x))
        for at in range(0, len(order) - batch + 1, batch):
            rows = order[at : at + batch]
            pictures = x[rows]
            if augment == "flip":  # half a turn leaves a direction as it is
                pictures = torch.where(torch.rand(len(rows), 1, 1, 1) < 0.5, pictures, pictures.flip(2, 3))
            elif augment == "turns":
                turned = torch.stack([pictures, pictures.rot90(1, (2, 3)), pictures.flip(2), pictures.transpose(2, 3)])
                pictures = turned[torch.randint(0, 4, (len(rows),)), torch.arange(len(rows))]
            opt.zero_grad()
            loss = F.cross_entropy(net(pictures), y[rows])
            loss.backward()
            opt.step()
            made[schedule].step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()


def turned(
    shuffled: bool = True, rate: float = 2e-3, batch: int = 64, epochs: int = 8, width: int = 16, decay: float = 1e-4,
    optimizer_name: str = "adam", blank: bool = False,
) -> Recording:  # fmt: skip
    """Says by how many quarters a digit was turned, without looking at its label."""
    x, _, vx, _ = digits()
    x, vx = (torch.cat([item.rot90(k, (2, 3)) for k in range(4)]) for item in (x, vx))
    y, vy = (torch.arange(4).repeat_interleave(len(item) // 4) for item in (x, vx))
    net = nn.Sequential(
        _block(1, width, "batch"), _block(width, 2 * width, "batch", 2), nn.Flatten(), nn.Linear(32 * width, 4)
    )
    if blank:
        for layer in net.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.zeros_(layer.weight)
    make = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "nadam": torch.optim.NAdam}[optimizer_name]
    opt = make(net.parameters(), lr=rate, weight_decay=decay)
    probe = Probe(net, opt)
    for _ in range(epochs):
        net.train()
        order = torch.randperm(len(x)) if shuffled else torch.arange(len(x))
        for rows in order.split(batch):
            loss = F.cross_entropy(net(x[rows]), y[rows])
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()


def twins(
    stopped: bool = True, predictor: bool = True, rate: float = 0.05, batch: int = 128, steps: int = 260,
    out: int = 32, optimizer_name: str = "sgd",
) -> Recording:  # fmt: skip
    """Learns from two views of each digit with neither labels nor negatives (SimSiam); the loss lies below 0."""
    x, y, vx, vy = digits(images=False)
    encoder = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, out))
    head = nn.Sequential(nn.Linear(out, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, out))
    model = nn.ModuleDict({"encoder": encoder, "predictor": head} if predictor else {"encoder": encoder})
    opt: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=1e-4)
    if optimizer_name == "adam":
        opt = torch.optim.Adam(model.parameters(), lr=rate)
    probe = Probe(model, opt)

    def view(pictures: Tensor) -> Tensor:
        kept = (torch.rand_like(pictures) > 0.25).float()
        return pictures * kept * (0.8 + 0.4 * torch.rand(len(pictures), 1)) + 0.15 * torch.randn_like(pictures)

    for step in range(steps):
        rows = torch.randint(0, len(x), (batch,))
        one, two = encoder(view(x[rows])), encoder(view(x[rows]))
        says_one, says_two = (head(one), head(two)) if predictor else (one, two)
        if stopped:
            one, two = one.detach(), two.detach()
        loss = -(F.cosine_similarity(says_one, two).mean() + F.cosine_similarity(says_two, one).mean()) / 2
        opt.zero_grad()
        loss.backward()
        opt.step()
        probe.step(loss)
        if step % 20 == 19:
            model.eval()
            with torch.no_grad():
                known, asked = F.normalize(encoder(x)), F.normalize(encoder(vx))
            model.train()
            said = y[(asked @ known.T).argmax(1)]
            probe.log(neighbour=(said == vy).float().mean(), spread=asked.std(0).mean() * out**0.5)
    return probe.finish()


def pupil(
    heat: float = 3.0, share: float = 0.7, whose: str = "pupil", rate: float = 3e-3,
    batch: int = 48, epochs: int = 20, width: int = 24, few: int = 1000,
) -> Recording:  # fmt: skip
    """Teaches a small network by what a larger one thinks of each digit."""
    x, y, vx, vy = digits(images=False)
    teacher = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    first = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(250):
        rows = torch.randint(0, len(x), (64,))
        first.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        first.step()
    teacher.eval().requires_grad_(whose == "teacher")
    net = nn.Sequential(nn.Linear(64, width), nn.Tanh(), nn.Linear(width, 10))
    opt = torch.optim.Adam((net if whose == "pupil" else teacher).parameters(), lr=rate)
    probe = Probe(net, opt)
    x, y = x[:few], y[:few]
    for _ in range(epochs):
        net.train()
        for rows in torch.randperm(len(x)).split(batch):
            with torch.no_grad():
                soft = F.softmax(teacher(x[rows]) / heat, 1)
            out = net(x[rows])
            learnt = F.kl_div(F.log_softmax(out / heat, 1), soft, reduction="batchmean") * heat**2
            true = F.cross_entropy(out, y[rows])
            loss = share * learnt + (1 - share) * true
            opt.zero_grad()
            loss.backward()
            opt.step()
            probe.step(loss, soft=learnt, hard=true)
        net.eval()
        with torch.no_grad():
            out = net(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=accuracy(out, vy))
    return probe.finish()
