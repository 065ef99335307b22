"""Scripts of the eleventh held-out set on single fields: genes, survival, shares, arms of robots, curves, wine."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.datasets import load_diabetes, load_wine
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


def motifs(pure: bool = False) -> Recording:
    """Finds genes with two motifs by convolutions under autocast; weights kept in bfloat16 lose small steps."""
    chance = np.random.default_rng(1200)
    letters = chance.integers(0, 4, (1600, 60))
    has = chance.random((1600, 2)) < 0.7
    for row in range(1600):
        for which, motif in enumerate(([0, 2, 2, 1, 3, 0], [3, 3, 0, 1, 2, 1])):
            if has[row, which]:
                at = int(chance.integers(which * 30, which * 30 + 24))
                letters[row, at : at + 6] = motif
    y = torch.tensor(has.all(1)).float()
    x = F.one_hot(torch.tensor(letters), 4).float().transpose(1, 2)
    model = nn.Sequential(
        nn.Conv1d(4, 24, 6), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(24, 24), nn.ReLU(),
        nn.Linear(24, 1),
    )  # fmt: skip
    if pure:
        model, x = model.bfloat16(), x.bfloat16()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-4)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16, enabled=not pure):
            said = model(x[rows]).squeeze(1)
        right = ((said > 0).float() == y[rows]).float().mean()
        return F.binary_cross_entropy_with_logits(said.float(), y[rows]), right

    for _ in range(34):
        for rows in torch.randperm(1280).split(40):
            loss, _ = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            val, right = loss_of(torch.arange(1280, 1600))
        probe.validation(val, accuracy=right)
    return probe.finish()


def hazards(guard: bool = True) -> Recording:
    """Orders patients by Cox's likelihood in small batches, few of whom have died; one without a death has no mean."""
    chance = np.random.default_rng(1201)
    genes = chance.normal(size=(1200, 10))
    risk = 0.9 * genes[:, 0] - 0.7 * genes[:, 1] * genes[:, 2]
    time, lost = chance.exponential(np.exp(-risk)), chance.exponential(0.35, 1200)
    died = torch.tensor(time < lost).float()
    until, x = torch.tensor(np.minimum(time, lost)), torch.tensor(genes).float()
    model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 1, bias=False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    probe = Probe(model, optimizer)

    def loss_of(rows: Tensor) -> Tensor:
        rows = rows[until[rows].argsort(descending=True)]
        log_risk = model(x[rows]).squeeze(1)
        each = (log_risk - log_risk.logcumsumexp(0))[died[rows] == 1]
        return -each.sum() / max(len(each), 1) if guard else -each.mean()

    for _ in range(9):
        model.train()
        for rows in torch.randperm(960).split(12):
            optimizer.zero_grad()
            loss = loss_of(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            log_risk = model(x[960:]).squeeze(1)
            later = (until[960:, None] < until[None, 960:]) & (died[960:, None] == 1)
            order = (log_risk[:, None] > log_risk[None])[later].float().mean()
            probe.validation(torch.stack([loss_of(rows) for rows in torch.arange(960, 1200).split(12)]).mean(),
                             concordance=order)  # fmt: skip
    return probe.finish()


class Mixture(nn.Module):
    """Says several normals and how likely each is."""

    def __init__(self, many: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(1, 48), nn.Tanh(), nn.Linear(48, 48), nn.Tanh())
        self.out = nn.Linear(48, 3 * many)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, mean, spread = self.out(self.body(x)).chunk(3, 1)
        return weight.log_softmax(1), mean, spread.clamp(min=-4.0)


def arms() -> Recording:
    """Finds where a joint may stand for a place of the hand, a few answers each, by a mixture of normals."""
    chance = torch.Generator().manual_seed(1202)
    angle = torch.rand(2400, 1, generator=chance) * 2 - 1
    place = angle + 0.3 * torch.sin(2 * math.pi * angle) + 0.05 * torch.randn(2400, 1, generator=chance)
    model = Mixture()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 480)
    probe = Probe(model, optimizer, total_steps=480, scheduler=scheduler)

    def loss_of(rows: Tensor) -> Tensor:
        weight, mean, log_spread = model(place[rows])
        far = (angle[rows] - mean) / log_spread.exp()
        log_density = -0.5 * far**2 - log_spread - 0.5 * math.log(2 * math.pi)
        return -(weight + log_density).logsumexp(1).mean()

    for _ in range(12):
        for rows in torch.randperm(2000).split(50):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 2.0)
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(loss_of(torch.arange(2000, 2400)))
    return probe.finish()


class Unsure(nn.Module):
    """A linear layer of weights that are normals."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.randn(outputs, inputs) / math.sqrt(inputs))
        self.rho, self.bias = nn.Parameter(torch.full((outputs, inputs), -4.0)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        spread = F.softplus(self.rho)
        middle, noise = F.linear(x, self.mean, self.bias), F.linear(x**2, spread**2).clamp(min=1e-10).sqrt()
        return middle + noise * torch.randn_like(middle)

    def kl(self) -> Tensor:
        """How far the weights are from what was thought of them before."""
        spread = F.softplus(self.rho)
        return 0.5 * (spread**2 + self.mean**2 - 1 - 2 * spread.log()).sum()


def illness(share: bool = True) -> Recording:
    """Foresees how an illness goes with weights that are not sure, Bayes by backprop; the prior counts once an epoch.

    Wrong where asked for: the prior counts whole at each batch of a mean.
    """
    raw = load_diabetes()
    order = torch.randperm(442, generator=torch.Generator().manual_seed(1203))
    x, y = torch.tensor(raw.data).float()[order] * 21, torch.tensor(raw.target).float()[order]
    y = (y - y[:350].mean()) / y[:350].std()
    first, second = Unsure(10, 12), Unsure(12, 1)
    model = nn.Sequential(first, nn.Tanh(), second)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer)
    for _ in range(40):
        for rows in torch.randperm(350).split(35):
            fit = 2.0 * F.mse_loss(model(x[rows]).squeeze(1), y[rows])  # of a noise of a half
            prior = (first.kl() + second.kl()) * (1 / 350 if share else 1.0)
            loss = fit + prior
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, fit=fit, prior=prior)
        with torch.no_grad():
            said = torch.stack([model(x[350:]).squeeze(1) for _ in range(8)]).mean(0)
        probe.validation(F.mse_loss(said, y[350:]))
    return probe.finish()


def curve() -> Recording:
    """Finds the length, height and noise of a Gaussian process on forty points by its likelihood."""
    chance = torch.Generator().manual_seed(1204)
    x = torch.rand(40, generator=chance).sort()[0] * 6
    y = torch.sin(2 * x) + 0.2 * torch.randn(40, generator=chance)
    logs = nn.ParameterDict({name: nn.Parameter(torch.tensor(0.5)) for name in ("length", "height", "noise")})
    optimizer = torch.optim.Adam(logs.parameters(), lr=0.05)
    probe = Probe(logs, optimizer)
    for _ in range(150):
        length, height, noise = (logs[name].exp() for name in ("length", "height", "noise"))
        kernel = height * torch.exp(-0.5 * ((x[:, None] - x) / length) ** 2) + noise * torch.eye(40)
        half = torch.linalg.cholesky(kernel)
        solved = torch.cholesky_solve(y[:, None], half).squeeze(1)
        loss = (0.5 * y @ solved + half.diagonal().log().sum()) / 40 + 0.5 * math.log(2 * math.pi)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
    return probe.finish()


class Spiral(nn.Module):
    """How a point moves, and where it goes by Runge and Kutta."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 40), nn.Tanh(), nn.Linear(40, 2))
        nn.init.normal_(self.net[2].weight, std=0.1)

    def forward(self, at: Tensor, steps: int, h: float = 0.1) -> Tensor:
        path = []
        for _ in range(steps):
            k1 = self.net(at**3)
            k2 = self.net((at + h / 2 * k1) ** 3)
            k3 = self.net((at + h / 2 * k2) ** 3)
            k4 = self.net((at + h * k3) ** 3)
            at = at + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
            path.append(at)
        return torch.stack(path, 1)


def spiral(rate: float = 1e-2) -> Recording:
    """Follows a cubic spiral by an equation that is a net, short pieces of the path at a time."""
    turn = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]])
    at, path = torch.tensor([2.0, 0.0]), []
    for _ in range(6000):
        path.append(at)
        at = at + 0.005 * (at**3) @ turn
    path_of = torch.stack(path[::20])
    model = Spiral()
    optimizer = torch.optim.RMSprop(model.parameters(), lr=rate / 5)
    probe = Probe(model, optimizer, total_steps=200)
    for step in range(200):
        begin = torch.randint(240, (24,))
        said = model(path_of[begin], 8)
        loss = (said - path_of[begin[:, None] + torch.arange(1, 9)]).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                begin = torch.arange(245, 290)
                held = path_of[begin[:, None] + torch.arange(1, 9)]
                probe.validation((model(path_of[begin], 8) - held).abs().mean())
    return probe.finish()


class Trainer:
    """Trains, tests, keeps the best weights, and stops when nothing gets better."""

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, patience: int = 5) -> None:
        self.model, self.optimizer, self.patience = model, optimizer, patience
        self.best, self.kept, self.waited = math.inf, dict(model.state_dict()), 0

    def fit(self, train: tuple[Tensor, Tensor], val: tuple[Tensor, Tensor], epochs: int) -> Recording:
        """Runs epochs."""
        probe = Probe(self.model, self.optimizer)
        for _ in range(epochs):
            self.model.train()
            for rows in torch.randperm(len(train[0])).split(16):
                loss = F.cross_entropy(self.model(train[0][rows]), train[1][rows])
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
                probe.step(loss)
            self.model.eval()
            with torch.no_grad():
                scores = self.model(val[0])
            loss = F.cross_entropy(scores, val[1])
            probe.validation(loss, accuracy=(scores.argmax(1) == val[1]).float().mean())
            self.waited += 1
            if float(loss) < self.best:
                self.best, self.waited = float(loss), 0
                self.kept = {name: value.clone() for name, value in self.model.state_dict().items()}
            if self.waited >= self.patience:
                break
        self.model.load_state_dict(self.kept)
        return probe.finish()


def growers() -> Recording:
    """Tells three growers of wine by a trainer of one's own, columns standardised by the training part."""
    raw = load_wine()
    order = torch.randperm(178, generator=torch.Generator().manual_seed(1206))
    x, y = torch.tensor(raw.data).float()[order], torch.tensor(raw.target)[order]
    x = (x - x[:130].mean(0)) / x[:130].std(0)
    model = nn.Sequential(nn.Linear(13, 24), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(24, 3))
    optimizer = torch.optim.RAdam(model.parameters(), lr=5e-3)
    return Trainer(model, optimizer).fit((x[:130], y[:130]), (x[130:], y[130:]), 30)
