"""Scripts of the seventeenth held-out set that name digits as everybody does, with settings that not everybody has."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import Parts, cut, hits, made, shipped
from tests.corpus.probe import Probe, Recording


@cache
def _digits() -> Parts:
    x, y = shipped("digits")
    return cut(x / 16, y)


def _plan(kind: str, optimizer: torch.optim.Optimizer, rate: float, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """How the learning rate goes."""
    plans = torch.optim.lr_scheduler
    if kind == "cyclic":
        return plans.CyclicLR(optimizer, rate / 20, rate, step_size_up=40, cycle_momentum=False)
    if kind == "long warm-up":
        return plans.LambdaLR(optimizer, lambda s: min(1.0, (s + 1) / (0.6 * steps)))
    if kind == "restarts":
        return plans.CosineAnnealingWarmRestarts(optimizer, max(steps // 4, 1))
    if kind == "one cycle":
        return plans.OneCycleLR(optimizer, rate, total_steps=steps)
    if kind == "steps":
        return plans.StepLR(optimizer, 3, 0.3)
    return plans.LambdaLR(optimizer, lambda s: 1.0)


def _grown(x: Tensor, rough: float) -> Tensor:
    """Moves, darkens and spoils a picture."""
    moved = x.view(-1, 8, 8).roll((int(torch.randint(-1, 2, (1,))), int(torch.randint(-1, 2, (1,)))), (1, 2)).flatten(1)
    return moved * (torch.rand_like(moved) > 0.3 * rough) * (0.6 + 0.8 * torch.rand(len(x), 1)) + (
        0.3 * rough * torch.randn_like(moved)
    )


def digits(
    rate: float = 0.1, name: str = "sgd", momentum: float = 0.9, decay: float = 0.0, batch: int = 32, steps: int = 300,
    width: int = 64, drop: float = 0.0, norm: str = "none", wrong: float = 0.0, sums: bool = False, plan: str = "none",
    average: int = 0, every: int = 50, only: int = 0, layered: float = 1.0, rough: float = 0.0, outputs: int = 10,
    upside_down: bool = False, smooth: float = 0.0, act: str = "relu",
    per_epoch: bool = False, back: bool = True, in_order: bool = False,
) -> Recording:  # fmt: skip
    """Three layers; `wrong` labels of the training are drawn by lot, `average` begins to average weights at a step."""
    x, y, vx, vy = _digits()
    if only:
        x, y = x[:only], y[:only]
        vx, vy = x, y
    y = torch.where(torch.rand(len(y)) < wrong, torch.randint(10, (len(y),)), y)
    turn = {"none": lambda n: nn.Identity(), "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}[norm]
    bent = {"relu": nn.ReLU, "tanh": nn.Tanh, "silu": nn.SiLU}[act]
    layers = [
        nn.Sequential(nn.Linear(64, width), turn(width), bent(), nn.Dropout(drop)),
        nn.Sequential(nn.Linear(width, width), turn(width), bent(), nn.Dropout(drop)),
        nn.Linear(width, outputs),
    ]
    model = nn.Sequential(*layers)
    optimizer = made(name, model.parameters(), rate, momentum, decay)
    if layered != 1.0:
        groups = [{"params": layer.parameters(), "lr": rate * layered ** (2 - at)} for at, layer in enumerate(layers)]
        optimizer = torch.optim.SGD(groups, lr=rate, momentum=momentum, weight_decay=decay)
    schedule = _plan(plan, optimizer, rate, steps)
    slow = torch.optim.swa_utils.AveragedModel(model) if average else None
    probe = Probe(model, optimizer)
    step = 0
    while step < steps:
        for rows in (y.argsort() if in_order else torch.randperm(len(x))).split(batch):
            seen = _grown(x[rows], rough) if rough else x[rows]
            loss = F.cross_entropy(model(seen), y[rows], reduction="sum" if sums else "mean", label_smoothing=smooth)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if not per_epoch:
                schedule.step()
            probe.step(loss)
            step += 1
            if slow is not None and step > average:
                slow.update_parameters(model)
            if every and step % every == 0:
                judged = slow.module if slow is not None and step > average else model
                judged.eval()
                with torch.no_grad():
                    out = judged(vx)
                if back:
                    model.train()
                if upside_down:
                    probe.validation(F.cross_entropy(out, vy), wrong_percent=100 * (1 - hits(out, vy)))
                else:
                    probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
            if step == steps:
                break
        if per_epoch:
            schedule.step()
    return probe.finish()


def again(
    rate: float = 2e-3, steps: int = 200, before: int = 200, rated: bool = True, width: int = 64, later: float = 0.2,
    frozen: bool = False, name: str = "adam", head_rate: float = 1.0,
) -> Recording:  # fmt: skip
    """Goes on from what was learnt unseen: `frozen` keeps the first layers as they are, `later` is the new rate."""
    x, y, vx, vy = _digits()
    body = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    model = nn.Sequential(body, nn.Linear(width, 10))
    first = made(name, model.parameters(), rate)
    for _ in range(before):
        rows = torch.randint(len(x), (32,))
        first.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        first.step()
    if frozen:
        model[1] = nn.Linear(width, 2)
        y, vy = y % 2, vy % 2
        body.requires_grad_(False)
    second = made(name, [p for p in model.parameters() if p.requires_grad], rate * head_rate * (1 if frozen else later))
    if not frozen and rated:
        second.load_state_dict(first.state_dict())
        for group in second.param_groups:
            group["lr"] = rate * later
    probe = Probe(model, second, finetune=True) if frozen else Probe(model, second, first_step=before)
    for step in range(steps):
        rows = torch.randint(len(x), (32,))
        loss = F.cross_entropy(model(x[rows]), y[rows])
        second.zero_grad()
        loss.backward()
        second.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                out = model(vx)
            probe.validation(F.cross_entropy(out, vy), accuracy=hits(out, vy))
    return probe.finish()
