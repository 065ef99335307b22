"""Scripts of the twelfth held-out set of other kinds: halves, an estimator, attacks, domains, tags."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits, scored, table


def halves(weights: str = "float32", epochs: int = 12) -> Recording:
    """Learns digits in half precision: products in bfloat16, weights in full."""
    x, y, vx, vy = digits()
    x, vx = (x.flatten(1) - 0.3) / 0.37, (vx.flatten(1) - 0.3) / 0.37
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    if weights == "bfloat16":
        model, x, vx = model.bfloat16(), x.bfloat16(), vx.bfloat16()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)
    probe = Probe(model, optimizer)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(40):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=weights == "float32"):
                loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx).float()
        probe.validation(F.cross_entropy(out, vy), accuracy=scored(out, vy))
    return probe.finish()


class Classifier:
    """Behaves like an estimator of scikit-learn: fit, predict; stops early and keeps the best weights."""

    def __init__(
        self, hidden: int = 32, rate: float = 0.1, patience: int = 12, judged: str = "loss", mode: str = "min"
    ):
        self.hidden, self.rate, self.patience, self.judged, self.mode = hidden, rate, patience, judged, mode

    def fit(self, x: Tensor, y: Tensor, vx: Tensor, vy: Tensor, epochs: int = 45) -> Recording:
        self.net_ = nn.Sequential(nn.Linear(x.size(1), self.hidden), nn.SiLU(), nn.Linear(self.hidden, 2))
        optimizer = torch.optim.SGD(self.net_.parameters(), lr=self.rate)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, self.mode, factor=0.2, patience=3)
        probe = Probe(self.net_, optimizer, scheduler=scheduler)
        self.best_, waited, best = copy.deepcopy(self.net_.state_dict()), 0, float("inf")
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(57):
                optimizer.zero_grad()
                loss = F.cross_entropy(self.net_(x[rows]), y[rows])
                loss.backward()
                optimizer.step()
                probe.step(loss)
            with torch.no_grad():
                out = self.net_(vx)
            seen, right = F.cross_entropy(out, vy), scored(out, vy)
            probe.validation(seen, accuracy=right)
            scheduler.step(seen if self.judged == "loss" else right)
            waited = 0 if seen < best - 1e-4 else waited + 1
            if waited == 0:
                best, self.best_ = float(seen), copy.deepcopy(self.net_.state_dict())
            if waited >= self.patience:
                break
        self.net_.load_state_dict(self.best_)
        return probe.finish()

    @torch.no_grad()
    def predict(self, x: Tensor) -> Tensor:
        return self.net_(x).argmax(1)


def estimator(**made: Any) -> Recording:
    """Fits an estimator to tumours."""
    x, y, vx, vy = table("breast_cancer")
    mean, std = x.mean(0), x.std(0)
    return Classifier(**made).fit((x - mean) / std, y, (vx - mean) / std, vy)


def attacked(cleared: bool = True, strength: float = 0.1, epochs: int = 9) -> Recording:
    """Learns digits that an attacker has changed a little against it."""
    x, y, vx, vy = digits()
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(96, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)
    optimizer.zero_grad()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(48):
            spoilt = x[rows].clone().requires_grad_()
            (slope,) = torch.autograd.grad(F.cross_entropy(model(spoilt), y[rows]), spoilt)
            loss = F.cross_entropy(model((x[rows] + strength * slope.sign()).clamp(0, 1)), y[rows])
            if cleared:
                optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            out = model(vx)
        probe.validation(F.cross_entropy(out, vy), accuracy=scored(out, vy))
    return probe.finish()


class Reversed(torch.autograd.Function):
    """Passes what it is given, and turns the gradient round."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * grad, None


def domains(steps: int = 280) -> Recording:
    """Learns digits from printed ones only, but so that photographed ones look the same to it."""
    x, y, vx, vy = digits()
    photo, test = (0.35 + 0.4 * p + 0.05 * torch.randn(p.shape) for p in (x, vx))
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 48), nn.ReLU()
    )
    kind, domain = nn.Linear(48, 10), nn.Sequential(nn.Linear(48, 24), nn.ReLU(), nn.Linear(24, 1))
    model = nn.ModuleDict({"body": body, "kind": kind, "domain": domain})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    origin = torch.cat((torch.zeros(32), torch.ones(32)))
    for step in range(steps):
        a, b = torch.randint(0, len(x), (32,)), torch.randint(0, len(x), (32,))
        seen = body(torch.cat((x[a], photo[b])))
        task = F.cross_entropy(kind(seen[:32]), y[a])
        weight = min(1.0, step / 150) * 0.3
        told = F.binary_cross_entropy_with_logits(domain(Reversed.apply(seen, weight)).squeeze(1), origin)
        loss = task + told
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss, task=task, domain=told)
        if step % 40 == 39:
            with torch.no_grad():
                out, far = kind(body(vx)), kind(body(test))
            probe.validation(F.cross_entropy(out, vy), accuracy=scored(out, vy), photographs=scored(far, vy))
    return probe.finish()


def tags(loss_name: str = "bce", drop: float = 0.2, epochs: int = 9) -> Recording:
    """Tags songs: each has none to five of eight tags."""
    chance = torch.Generator().manual_seed(1296)
    x = torch.randn(1500, 20, generator=chance)
    mixer = torch.randn(20, 8, generator=chance) / 20**0.5
    y = (1.5 * torch.tanh(x) @ mixer * 2 + 0.4 * torch.randn(1500, 8, generator=chance) > 0.8).float()
    model = nn.Sequential(nn.Linear(20, 48), nn.BatchNorm1d(48), nn.ReLU(), nn.Dropout(drop), nn.Linear(48, 8))
    optimizer = torch.optim.NAdam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)

    def criterion(out: Tensor, wanted: Tensor) -> Tensor:
        if loss_name == "softmax":
            return F.cross_entropy(out, wanted)
        return F.binary_cross_entropy_with_logits(out, wanted)

    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(1200).split(48):
            loss = criterion(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            out = model(x[1200:])
        said, true = out > 0, y[1200:] > 0
        probe.validation(criterion(out, y[1200:]), f1=2 * (said & true).sum() / (said.sum() + true.sum()))
    return probe.finish()
