"""Runs preflight on the models of the corpus, sick and healthy, before they are trained.

A fault that only shows while it trains (a loop's order, a schedule) is out of its reach. Not for: the trainings.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook.preflight.checks import chosen
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.results import Report
from client_hook.preflight.runner import run_checks
from client_hook.preflight.subject import Subject
from tests.corpus import loops, models
from tests.corpus.setup import Setup

SECONDS = 60.0
OTHER_LOOPS = (loops.gan, loops.contrastive, loops.reinforce, loops.shared_norm_gan)


@dataclass
class Flown:
    """What preflight said of one training of the corpus."""

    name: str
    root: tuple[str, ...]  # what is wrong with it; empty for a healthy one
    report: Report = field(default_factory=Report)
    refused: str = ""  # the sentence, where preflight could not begin

    @property
    def said(self) -> dict[str, str]:
        """Severity by code, of warnings and errors."""
        return {item.code: item.severity for item in self.report.found if item.severity != "info"}


def subject_of(setup: Setup) -> Subject:
    """Makes what preflight is given: model, loss, loader and optimizer as the training has them."""
    torch.manual_seed(setup.seed)
    found = setup.data()
    if setup.loop in OTHER_LOOPS:
        return _other_loop(setup, found.x, found.y)
    x, y = found.x, found.y
    model = setup.model()
    optimizer: Any = setup.optimizer(model)
    if setup.loop is loops.lbfgs:
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, history_size=10)
    loader = _loader(setup, x, y)
    x, y = next(iter(loader))

    def loss(output: Any, target: Tensor) -> Any:
        data = setup.loss(output, target)
        if setup.penalty is None:
            return data
        penalty = setup.penalty(model)
        return {"loss": data + penalty, "data": data, "penalty": penalty}

    def forward(module: nn.Module, batch: Any) -> Any:
        return setup.call(module, batch[0])

    return Subject(model, loss, (x, y), optimizer, loader, forward=forward)


def _loader(setup: Setup, x: Tensor, y: Tensor) -> DataLoader[Any]:
    chance = torch.Generator().manual_seed(setup.seed)
    last = len(x) > setup.batch

    def collate(rows: list[Any]) -> tuple[Tensor, Tensor]:
        x, y = (torch.stack(parts) for parts in zip(*rows, strict=True))
        return setup.batch_change(x, y, 0)

    return DataLoader(
        TensorDataset(x, y), setup.batch, shuffle=setup.shuffle, generator=chance, drop_last=last, collate_fn=collate
    )


def _other_loop(setup: Setup, x: Tensor, y: Tensor) -> Subject:
    """Makes the subject of a loop that has its own way to the loss: each model alone, its partner fixed."""
    loader = _loader(setup, x, y)
    if setup.loop is loops.contrastive:
        model: nn.Module = models.mlp(64, 16, 96)

        def forward(module: nn.Module, batch: Any) -> Tensor:
            views = [F.normalize(module(batch[0] + 0.1 * torch.randn_like(batch[0])), dim=1) for _ in range(2)]
            return F.cross_entropy(views[0] @ views[1].T / 0.2, torch.arange(len(batch[0])))

    elif setup.loop is loops.reinforce:
        model = models.mlp(64, 10)

        def forward(module: nn.Module, batch: Any) -> Tensor:
            choice = torch.distributions.Categorical(logits=module(batch[0]))
            action = choice.sample()
            reward = (action == batch[1]).float()
            return -(choice.log_prob(action) * (reward - 0.1)).mean() - 0.01 * choice.entropy().mean()

    else:
        generator = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Sigmoid())
        model = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 1))

        def forward(module: nn.Module, batch: Any) -> Tensor:
            real, fake = module(batch[0]), module(generator(torch.randn(len(batch[0]), 16)).detach())
            wanted = F.binary_cross_entropy_with_logits(real, torch.full_like(real, 0.9))
            return wanted + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))

    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return Subject(model, None, next(iter(loader)), optimizer, loader, forward=forward)


def fly(name: str, setup: Setup, root: tuple[str, ...] = (), *codes: str) -> Flown:
    """Runs preflight on one training of the corpus."""
    try:
        return Flown(name, root, run_checks(subject_of(setup), chosen(codes or None), SECONDS))
    except PreflightError as error:
        return Flown(name, root, refused=str(error))


def as_text(flown: Iterable[Flown]) -> str:
    """Makes the table: what each check said of healthy and of sick models, and how long it took."""
    every = list(flown)
    healthy, sick = [item for item in every if not item.root], [item for item in every if item.root]
    silent = sum(not item.said and not item.refused for item in healthy)
    seen = sum(bool(item.said) or bool(item.refused) for item in sick)
    named = sum(bool(set(item.said) & set(item.root)) for item in sick)
    times = [item.report.seconds for item in every]
    head = ("check", "passed", "info", "false", "sick", "not for it", "left out", "median s", "max s")
    lines = [
        f"healthy models   {silent} of {len(healthy)} without a warning or an error",
        f"sick trainings   {seen} of {len(sick)} stopped before they begin, {named} with their cause by name",
        f"time             median {median(times):.1f} s, longest {max(times):.1f} s",
        "",
        "{:40} {:>6} {:>5} {:>5} {:>5} {:>10} {:>8} {:>9} {:>6}".format(*head),
    ]
    counts = counts_of(every)
    for code in sorted(counts):
        count = counts[code]
        lines.append(
            f"{code} {count['name']:34} {count['passed']:6} {count['info']:5} {count['false']:5} {count['sick']:5} "
            f"{count['not_evaluated']:10} {count['left_out']:8} {count['median_s']:9.2f} {count['max_s']:6.2f}"
        )
    lines += ["", "false alarms"]
    lines += [f"  {item.name}: {result.code} {result.severity}: {result.message}" for item in healthy
              for result in item.report.found if result.severity != "info"]  # fmt: skip
    lines += [f"  {item.name}: refused: {item.refused}" for item in healthy if item.refused]
    lines += ["", "sick trainings: what is wrong → what preflight said"]
    lines += [
        f"  {item.name}: {' or '.join(item.root)} → {', '.join(item.said) or item.refused[:90] or 'nothing'}"
        for item in sick
    ]
    return "\n".join(lines)


def counts_of(flown: Iterable[Flown]) -> dict[str, dict[str, Any]]:
    """Counts by check."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    names: dict[str, str] = {}
    seconds: dict[str, list[float]] = defaultdict(list)
    for item in flown:
        for result in item.report.results:
            names[result.code] = result.name
            seconds[result.code].append(result.seconds)
            kind = result.verdict if result.verdict != "found" else "info" if result.severity == "info" else ""
            counts[result.code][kind or ("sick" if item.root else "false")] += 1
        for left in item.report.left_out:
            names[left.code] = left.name
            counts[left.code]["left_out"] += 1
    kinds = ("passed", "info", "false", "sick", "not_evaluated", "left_out")
    return {
        code: {
            "name": names[code],
            **{kind: count[kind] for kind in kinds},
            "median_s": round(median(seconds[code] or [0.0]), 3),
            "max_s": round(max(seconds[code] or [0.0]), 3),
        }
        for code, count in counts.items()
    }


def write(path: Path, flown: Iterable[Flown]) -> None:
    """Adds the counts to the file of the catalogue page."""
    every = list(flown)
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    content["preflight"] = {
        "healthy": sum(not item.root for item in every),
        "sick": sum(bool(item.root) for item in every),
        "checks": {
            code: {key: value for key, value in count.items() if not key.endswith("_s")}
            for code, count in sorted(counts_of(every).items())
        },
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
