"""Scripts of the fifteenth held-out set that make pictures or places in a space: autoencoders, a GAN, twins."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.corpus.fifteenth.shelf import Parts, cut, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


def squeeze(
    lowest: float = 0.0, last: str = "sigmoid", judged: str = "mse", code: int = 12, rate: float = 1e-2,
    name: str = "adam", batch: int = 50, epochs: int = 24, momentum: float = 0.9, noise: float = 0.0,
) -> Recording:  # fmt: skip
    """Squeezes digits by convolutions; `lowest` -1 brings the pixels to -1 to 1."""
    x, _, vx, _ = _digits()
    x, vx = (part.view(-1, 1, 8, 8) for part in (x, vx))
    if lowest < 0:
        x, vx = x * 2 - 1, vx * 2 - 1
    encoder = nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(64, code),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(code, 64), nn.ReLU(), nn.Unflatten(1, (16, 2, 2)),
        nn.ConvTranspose2d(16, 8, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(8, 1, 2, stride=2),
    )  # fmt: skip
    decoder += nn.Sequential(*{"none": [], "sigmoid": [nn.Sigmoid()], "tanh": [nn.Tanh()], "relu": [nn.ReLU()]}[last])
    model = nn.Sequential(encoder, decoder)
    distance = {"mse": nn.MSELoss(), "bce": nn.BCELoss(), "l1": nn.L1Loss()}[judged]
    optimizer = made(name, model.parameters(), rate, momentum)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for (pictures,) in DataLoader(TensorDataset(x), batch_size=batch, shuffle=True):
            out = model(pictures + noise * torch.randn_like(pictures))
            loss = distance(out, pictures)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        probe.validation(distance(out, vx), unexplained=(out - vx).pow(2).mean() / vx.var(0).mean())
    return probe.finish()


class Dreamer(nn.Module):
    """A VAE of two layers each way."""

    def __init__(self, code: int, width: int, deviation: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(64, width), nn.ReLU())
        self.mean, self.spread = nn.Linear(width, code), nn.Linear(width, code)
        self.back = nn.Sequential(nn.Linear(code, width), nn.ReLU(), nn.Linear(width, 64))
        self.deviation = deviation

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = self.body(x)
        mean, spread = self.mean(h), self.spread(h)
        wide = spread.exp() if self.deviation == "exp" else (0.5 * spread).exp()
        return self.back(mean + wide * torch.randn_like(mean)), mean, spread


def dream(
    weight: float = 1.0, pixels: str = "sum", code: int = 8, width: int = 96, rate: float = 4e-3, name: str = "adam",
    batch: int = 64, epochs: int = 20, sign: float = -0.5, deviation: str = "half", spoken: bool = True,
    clip: float | None = None,
) -> Recording:  # fmt: skip
    """Dreams of digits; `pixels` "mean" averages over them where the divergence is summed."""
    x, _, vx, _ = _digits()
    model = Dreamer(code, width, deviation)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer)

    def parts(data: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, mean, spread = model(data)
        lost = F.binary_cross_entropy_with_logits(out, data, reduction="none")
        lost = lost.sum(1).mean() if pixels == "sum" else lost.mean()
        divergence = (sign * (1 + spread - mean**2 - spread.exp())).sum(1).mean()
        return lost, weight * divergence, (out.sigmoid() - data).pow(2).mean() / data.var(0).mean()

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(batch):
            recon, kl, _ = parts(x[rows])
            loss = recon + kl
            optimizer.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            probe.step(loss, **({"recon": recon, "kl": kl} if spoken else {}))
        model.eval()
        with torch.no_grad():
            recon, kl, error = parts(vx)
        probe.validation(recon + kl, unexplained=error)
    return probe.finish()


def forge(
    rate: float = 1e-3, faster: float = 1.0, detached: bool = True, clear: str = "both", last: str = "tanh",
    batch: int = 64, steps: int = 700, width: int = 96, smooth: float = 1.0,
) -> Recording:  # fmt: skip
    """Forges zeros and ones, -1 to 1, by two networks."""
    pixels, y = shipped("digits")
    real = pixels[y < 2] / 8 - 1
    ends: dict[str, list[nn.Module]] = {"tanh": [nn.Tanh()], "sigmoid": [nn.Sigmoid()], "none": []}
    gen = nn.Sequential(
        nn.Linear(16, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 64), *ends[last]
    )
    dis = nn.Sequential(
        nn.Linear(64, width), nn.LeakyReLU(0.2), nn.Dropout(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2),
        nn.Linear(width, 1),
    )  # fmt: skip
    opt_g = torch.optim.Adam(gen.parameters(), lr=rate, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(dis.parameters(), lr=rate * faster, betas=(0.5, 0.999))
    probe = Probe({"gen": gen, "dis": dis}, {"gen": opt_g, "dis": opt_d})
    criterion = nn.BCEWithLogitsLoss()
    true, false = torch.full((batch, 1), smooth), torch.zeros(batch, 1)
    for step in range(steps):
        fake = gen(torch.randn(batch, 16))
        if clear == "both":
            opt_d.zero_grad()
        lost_d = criterion(dis(real[torch.randint(len(real), (batch,))]), true) + criterion(dis(fake.detach()), false)
        lost_d.backward()
        opt_d.step()
        opt_g.zero_grad()
        judged = dis(fake) if detached else dis(fake.detach())
        lost_g = criterion(judged, torch.ones(batch, 1))
        lost_g.backward()
        opt_g.step()
        probe.step(lost_d + lost_g, dis=lost_d, gen=lost_g)
        if step % 50 == 49:
            with torch.no_grad():
                fake = gen(torch.randn(300, 16))
            near = torch.cdist(fake, real).min(1).values.mean()
            probe.log(nearest=near, mean_off=(fake.mean(0) - real.mean(0)).abs().mean())
    return probe.finish()


class Place(nn.Module):
    """A digit as a point."""

    def __init__(self, width: int, points: int, unit: bool, norm: bool) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(64, width), nn.BatchNorm1d(width) if norm else nn.Identity(), nn.ReLU(), nn.Linear(width, points)
        )
        self.unit = unit

    def forward(self, x: Tensor) -> Tensor:
        x = self.net(x)
        return F.normalize(x, dim=1) if self.unit else x


def _found(model: nn.Module, x: Tensor, y: Tensor, vx: Tensor, vy: Tensor) -> Tensor:
    """How often the nearest picture to learn from is of the same digit."""
    model.eval()
    with torch.no_grad():
        far = torch.cdist(model(vx), model(x))
    model.train()
    return (y[far.argmin(1)] == vy).float().mean()


def triplets(
    margin: float = 0.5, rate: float = 1e-3, name: str = "adam", width: int = 64, points: int = 12, unit: bool = True,
    norm: bool = True, batch: int = 48, steps: int = 400, turned: bool = False, hardest: bool = False,
    momentum: float = 0.9,
) -> Recording:  # fmt: skip
    """Puts digits of one kind together; `turned` hands over what is alike and what is not in the wrong order."""
    x, y, vx, vy = _digits()
    model = Place(width, points, unit, norm)
    optimizer = made(name, model.parameters(), rate, momentum)
    criterion = nn.TripletMarginLoss(margin)
    of = [(y == kind).nonzero().view(-1) for kind in range(10)]
    probe = Probe(model, optimizer)
    for step in range(steps):
        kind = torch.randint(10, (batch,))
        other = (kind + torch.randint(1, 10, (batch,))) % 10
        rows = [
            torch.stack([of[int(k)][torch.randint(len(of[int(k)]), (1,))[0]] for k in kinds])
            for kinds in (kind, kind, other)
        ]
        anchor, same, apart = (model(x[r]) for r in rows)
        if hardest:
            far = torch.cdist(anchor, apart) + 1e3 * (kind.unsqueeze(1) == other.unsqueeze(0))
            apart = apart[far.argmin(1)]
        loss = criterion(anchor, apart, same) if turned else criterion(anchor, same, apart)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            probe.validation(None, nearest=_found(model, x, y, vx, vy))
    return probe.finish()


def twins(
    margin: float = 1.0, rate: float = 1e-3, name: str = "adam", root: str = "safe", turned: bool = False,
    width: int = 64, batch: int = 64, steps: int = 450, same_rows: bool = False,
) -> Recording:  # fmt: skip
    """Says whether two pictures show the same digit, by their distance; `root` is how that is computed."""
    x, y, vx, vy = _digits()
    model = Place(width, 8, False, False)
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer)

    def judge(px: Tensor, py: Tensor) -> Tensor:
        half = len(px) // 2
        a, b = model(px[:half]), model(px[half : 2 * half])
        alike = (py[:half] == py[half : 2 * half]).float()
        squared = (a - b).pow(2).sum(1)
        far = squared.sqrt() if root == "bare" else (squared + 1e-6).sqrt()
        if turned:
            alike = 1 - alike
        return (alike * squared + (1 - alike) * F.relu(margin - far) ** 2).mean()

    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        wanted = (torch.rand(batch // 2) < 0.5).nonzero().view(-1)
        order = rows.clone()
        for at in wanted.tolist():  # half of the pairs are alike; now and then a picture meets itself
            pool = (y == y[rows[at]]).nonzero().view(-1)
            order[batch // 2 + at] = rows[at] if same_rows and at % 8 == 0 else pool[torch.randint(len(pool), (1,))[0]]
        loss = judge(x[order], y[order])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                lost = judge(vx, vy)
            probe.validation(lost, nearest=_found(model, x, y, vx, vy))
    return probe.finish()
