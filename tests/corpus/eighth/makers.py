"""Scripts of the eighth held-out set that do more than name pictures: lesions, signatures, zooms, fakes, heads."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighth.pictures import digits
from tests.corpus.probe import Probe, Recording


class UNet(nn.Module):
    """Down once, up once, and past it."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU())
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.out = nn.Sequential(nn.Conv2d(16, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        seen = self.down(x)
        return self.out(torch.cat([seen, self.up(self.deep(seen))], 1))


def lesions(guarded: bool = True) -> Recording:
    """Finds lesions and says how grey each is; many pictures have none, and the mean of nothing is NaN."""
    chance = torch.Generator().manual_seed(821)
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    middle, size = 4 + 8 * torch.rand(500, 2, 1, 1, generator=chance), 2 + torch.rand(500, 1, 1, generator=chance)
    mask = ((rows - middle[:, 0]) ** 2 + (columns - middle[:, 1]) ** 2) < size**2
    mask &= (torch.rand(500, generator=chance) < 0.4)[:, None, None]
    grey = 0.8 + 0.8 * torch.rand(500, 1, 1, generator=chance)
    x = (mask * grey + 0.4 * torch.randn(500, 16, 16, generator=chance)).unsqueeze(1)
    model = UNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def loss_of(part: Tensor) -> tuple[Tensor, Tensor]:
        found, inside = model(x[part]), mask[part]
        where = F.binary_cross_entropy_with_logits(found[:, 0], inside.float())
        far = ((found[:, 1] - grey[part]).square() * inside).sum()
        return where, far / (inside.sum().clamp(min=1) if guarded else inside.sum())

    for _ in range(6):
        for part in torch.randperm(420).split(6):
            where, how = loss_of(part)
            loss = where + 0.5 * how
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, where=where, how=how)
        with torch.no_grad():
            where, how = loss_of(torch.arange(420, 500))
        probe.validation(where + 0.5 * how)
    return probe.finish()


def signatures(least: float = 1e-6) -> Recording:
    """Learns which two digits belong together (Hadsell et al. 2006); some pairs are one and the same picture.

    The root of a distance needs something `least` under it, for at 0 it has no slope.
    """
    images, y = digits()
    x = images.flatten(1) / 255
    encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    optimizer = torch.optim.RMSprop(encoder.parameters(), lr=1e-3)
    probe = Probe(encoder, optimizer)
    chance = torch.Generator().manual_seed(822)
    of_kind = [[(y[low:high] == kind).nonzero().squeeze(1) + low for kind in range(10)] for low, high in LIMITS]

    def contrast(part: int, many: int) -> Tensor:
        low, high = LIMITS[part]
        one, two = torch.randint(low, high, (2, many), generator=chance)
        for at in range(0, many, 2):
            own = of_kind[part][int(y[one[at]])]
            two[at] = own[torch.randint(len(own), (), generator=chance)]
        same = (y[one] == y[two]).float()
        far = ((encoder(x[one]) - encoder(x[two])).square().sum(1) + least).sqrt()
        return (same * far.square() + (1 - same) * F.relu(1 - far).square()).mean()

    for step in range(400):
        optimizer.zero_grad()
        loss = contrast(0, 40)
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 80 == 79:
            with torch.no_grad():
                probe.validation(contrast(1, 200))
    return probe.finish()


LIMITS = ((0, 1400), (1400, 1797))


def zoom(unscaled: bool = True) -> Recording:
    """Makes 8 × 8 of 4 × 4, in half precision with a scaler; clips slopes after (or before) they are scaled back."""
    large = digits()[0] / 255
    small = F.avg_pool2d(large, 2).flatten(1)
    model = nn.Sequential(nn.Linear(16, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 64))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
    scaler, probe = torch.amp.GradScaler("cpu"), Probe(model, optimizer)
    for _ in range(10):
        for rows in torch.randperm(1400).split(40):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                found = model(small[rows])
            loss = F.mse_loss(found.float(), large[rows].flatten(1))
            scaler.scale(loss).backward()
            if unscaled:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), max_norm=1.0)
            scaler.step(optimizer)
            scaler.update()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(F.mse_loss(model(small[1400:]), large[1400:].flatten(1)))
    return probe.finish()


class Judge(nn.Module):
    """Judges digits; `sigmoid` gives a chance instead of a score."""

    def __init__(self, sigmoid: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(128, 1),
        )  # fmt: skip
        self.sigmoid = sigmoid

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x).sigmoid() if self.sigmoid else self.net(x)


def fakes(sigmoid: bool = False) -> Recording:
    """Makes digits (DCGAN, with labels of 0.9 for what is real)."""
    real_images = digits()[0] / 127.5 - 1
    net_g = nn.Sequential(
        nn.Linear(16, 128), nn.Unflatten(1, (32, 2, 2)), nn.BatchNorm2d(32), nn.ReLU(),
        nn.ConvTranspose2d(32, 16, 4, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 1, 4, 2, 1),
        nn.Tanh(),
    )  # fmt: skip
    net_d = Judge(sigmoid)
    opt_g = torch.optim.Adam(net_g.parameters(), lr=2e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(net_d.parameters(), lr=2e-3, betas=(0.5, 0.999))
    probe = Probe({"g": net_g, "d": net_d}, {"g": opt_g, "d": opt_d})
    criterion = nn.BCEWithLogitsLoss()
    mean, std = real_images.mean(0), real_images.std(0)
    for step in range(360):
        real = real_images[torch.randint(1797, (32,))]
        fake = net_g(torch.randn(32, 16))
        opt_d.zero_grad()
        loss_d = criterion(net_d(real), torch.full((32, 1), 0.9)) + criterion(net_d(fake.detach()), torch.zeros(32, 1))
        loss_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        loss_g = criterion(net_d(fake), torch.ones(32, 1))
        loss_g.backward()
        opt_g.step()
        probe.step(loss_d + loss_g, d=loss_d, g=loss_g)
        if step % 60 == 59:
            with torch.no_grad():
                made = net_g(torch.randn(200, 16))
            probe.log(mean_off=(made.mean(0) - mean).abs().mean(), std_off=(made.std(0) - std).abs().mean())
    return probe.finish()


class Heads(nn.Module):
    """One body, two heads: which digit it is, and how dark."""

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Mish(), nn.Conv2d(16, 24, 3, 2), nn.Mish(), nn.Flatten())
        self.digit, self.dark, self.frozen = nn.Linear(96, 10), nn.Linear(96, 1), frozen

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.frozen:
            with torch.no_grad():
                found = self.body(x)
        else:
            found = self.body(x)
        return self.digit(found), self.dark(found).squeeze(1)


def heads(both: bool = True, frozen: bool = False) -> Recording:
    """Learns two things at once.

    Wrong where asked for: the second loss is worked out and not added; no_grad() around the body, from a demonstration.
    """
    x, y = digits()
    x = x / 255 - 0.3
    dark = (x.mean((1, 2, 3)) - x.mean()) / x.mean((1, 2, 3)).std()
    model = Heads(frozen)
    optimizer = torch.optim.RAdam(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)

    def losses(rows: Any) -> tuple[Tensor, Tensor, Tensor]:
        kind, grey = model(x[rows])
        first, second = F.cross_entropy(kind, y[rows]), F.mse_loss(grey, dark[rows])
        return first + second if both else first, first, second

    for _ in range(7):
        for rows in torch.randperm(1400).split(35):
            total, first, second = losses(rows)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            probe.step(total, digit=first, dark=second)
        with torch.no_grad():
            total, first, second = losses(slice(1400, 1797))
        probe.validation(total, digit=first, dark=second)
    return probe.finish()
