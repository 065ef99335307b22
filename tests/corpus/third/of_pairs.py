"""Loops of the third held-out set that compare: pairs, two towers, preferences, neighbours, likes."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus import data as corpus_data
from tests.corpus import models
from tests.corpus.probe import Recording
from tests.corpus.second.loops import descend, go, some
from tests.corpus.setup import Setup
from tests.corpus.third import data
from tests.corpus.third.models import neighbours
from tests.corpus.third.transformers import Llama


def siamese(setup: Setup, cut: bool = False) -> Recording:
    """Learns whether two digits are the same (Hadsell et al. 2006); a cut leaves the trunk without gradient."""
    found = corpus_data.digits()
    model = nn.ModuleDict({"trunk": models.mlp(64, 32), "head": nn.Linear(32, 8)})
    optimizer = setup.optimizer(model)
    seed = data.chance(setup.seed)

    def place(x: Tensor) -> Tensor:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not cut):
            seen = model["trunk"](x)
        return model["head"](torch.relu(seen))

    def loss_of(x: Tensor, y: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        far = F.pairwise_distance(place(x), place(x[other]))
        same = (y == y[other]).float()
        return (same * far**2 + (1 - same) * (1.5 - far).clamp(min=0) ** 2).mean(), (far < 0.75) == (same == 1)

    def partners(y: Tensor) -> Tensor:
        alike = (y.unsqueeze(0) == y.unsqueeze(1)).float()
        wanted = torch.where(torch.rand(len(y), 1, generator=seed) < 0.5, alike, 1 - alike)
        return torch.multinomial(wanted + 1e-9, 1, generator=seed).squeeze(1)

    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        at = draw()
        return descend(optimizer, loss_of(found.x[at], found.y[at], partners(found.y[at]))[0])

    def check() -> dict[str, Any]:
        loss, right = loss_of(found.val_x, found.val_y, partners(found.val_y))
        return {"loss": float(loss), "accuracy": float(right.float().mean())}

    return go(setup, model, optimizer, each, check)


class Towers(nn.Module):
    """Pictures on one side, three words on the other, and a temperature that is learned."""

    def __init__(self, scale: float | None) -> None:
        super().__init__()
        self.picture = models.mlp(64, 24, 96, 1)
        self.words, self.text = nn.Embedding(18, 24), models.mlp(24, 24, 48, 1)
        self.scale = None if scale is None else nn.Parameter(torch.tensor(scale).log())

    def forward(self, x: Tensor, words: Tensor) -> Tensor:
        both = F.normalize(self.picture(x)) @ F.normalize(self.text(self.words(words).mean(1))).T
        return both if self.scale is None else both * self.scale.exp()


def captions(x: Tensor, y: Tensor) -> Tensor:
    """Describes a digit: which one it is, how much ink there is, and where."""
    rows = x.reshape(-1, 8, 8)
    ink = ((rows.sum((1, 2)) - 13) / 4).clamp(0, 3).long()
    left = ((rows[:, :, :4].sum((1, 2)) / rows.sum((1, 2)) - 0.38) / 0.08).clamp(0, 3).long()
    return torch.stack([y, 10 + ink, 14 + left], 1)


def two_towers(setup: Setup, scale: float | None = 1 / 0.07) -> Recording:
    """Finds the caption of each picture among those of the batch, and the other way round (CLIP)."""
    found = corpus_data.digits()
    words, val_words = (captions(x, y) for x, y in data.pairs(found))
    model = Towers(scale)
    optimizer = setup.optimizer(model)
    draw = some(setup, len(found.x))

    def loss_of(x: Tensor, text: Tensor) -> Tensor:
        scores, mine = model(x, text), torch.arange(len(x))
        return (F.cross_entropy(scores, mine) + F.cross_entropy(scores.T, mine)) / 2

    def each(_: int) -> Tensor:
        at = draw()
        return descend(optimizer, loss_of(found.x[at], words[at]))

    def check() -> dict[str, Any]:
        return {"loss": float(loss_of(found.val_x[: setup.batch], val_words[: setup.batch]))}

    return go(setup, model, optimizer, each, check)


def simsiam(setup: Setup, stops: bool = True) -> Recording:
    """Predicts one view of a digit from another one, which stands still meanwhile (Chen & He 2021)."""
    found = corpus_data.digits()
    model = nn.ModuleDict(
        {
            "encoder": nn.Sequential(
                nn.Linear(64, 96), nn.BatchNorm1d(96), nn.ReLU(), nn.Linear(96, 48), nn.BatchNorm1d(48, affine=False)
            ),
            "predictor": nn.Sequential(nn.Linear(48, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 48)),
        }
    )
    optimizer = setup.optimizer(model)
    scheduler = setup.scheduler(optimizer) if setup.scheduler else None
    draw = some(setup, len(found.x))

    def each(_: int) -> Tensor:
        x = found.x[draw()]
        views = [x * (torch.rand_like(x) > 0.25) + 0.1 * torch.randn_like(x) for _ in range(2)]
        z = [model["encoder"](view) for view in views]
        p = [model["predictor"](item) for item in z]
        if stops:
            z = [item.detach() for item in z]
        loss = descend(optimizer, -(F.cosine_similarity(p[0], z[1]) + F.cosine_similarity(p[1], z[0])).mean() / 2)
        if scheduler is not None:
            scheduler.step()
        return loss

    return go(setup, model, optimizer, each)


def likes(setup: Setup, size: float | None = 0.1) -> Recording:
    """Ranks what somebody bought above what he did not (BPR); embeddings start at a size, or as PyTorch starts them."""
    pairs, last = data.bought()
    model = nn.ModuleDict({"users": nn.Embedding(300, 8), "things": nn.Embedding(150, 8)})
    if size is not None:
        for layer in model.values():
            nn.init.normal_(layer.weight, std=size)
    optimizer = setup.optimizer(model)
    draw, seed = some(setup, len(pairs)), data.chance(setup.seed + 1)

    def score(who: Tensor, what: Tensor) -> Tensor:
        return (model["users"](who) * model["things"](what)).sum(-1)

    def loss_of(who: Tensor, what: Tensor) -> Tensor:
        other = torch.randint(150, what.shape, generator=seed)
        return -F.logsigmoid(score(who, what) - score(who, other)).mean()

    def each(_: int) -> Tensor:
        return descend(optimizer, loss_of(*pairs[draw()].T))

    def check() -> dict[str, Any]:
        who = torch.arange(300)
        above = score(who, last).unsqueeze(1) > score(who.unsqueeze(1), torch.arange(150).unsqueeze(0))
        return {"loss": float(loss_of(who, last)), "auc": float(above.float().mean())}

    return go(setup, model, optimizer, each, check)


def skip_gram(setup: Setup) -> Recording:
    """Tells words that stand near a word from five drawn at random (word2vec)."""
    text, many = data.words()
    model = neighbours()
    optimizer = setup.optimizer(model)
    draw, seed = some(setup, len(text) - 6), data.chance(setup.seed + 1)
    often = torch.bincount(text, minlength=many).float() ** 0.75

    def each(_: int) -> Tensor:
        at = draw() + 3
        near = text[at + torch.tensor([-3, -2, -1, 1, 2, 3])[torch.randint(6, at.shape, generator=seed)]]
        others = torch.multinomial(often, 5 * len(at), replacement=True, generator=seed).reshape(-1, 5)
        middle = model["middle"](text[at]).unsqueeze(2)
        right = (model["beside"](near).unsqueeze(1) @ middle).squeeze(2)
        wrong = (model["beside"](others) @ middle).squeeze(2)
        return descend(optimizer, -(F.logsigmoid(right).sum(1) + F.logsigmoid(-wrong).sum(1)).mean())

    return go(setup, model, optimizer, each)


def _rows(many: int, seed: int) -> Tensor:
    chance = data.chance(seed)
    steps = torch.randint(1, 3, (many, 12), generator=chance)
    return (torch.randint(12, (many, 1), generator=chance) + steps.cumsum(1)) % 12


@cache
def _taught() -> dict[str, Tensor]:
    """Trains a small language model on rows that climb by one or two, unwatched."""
    torch.manual_seed(12)
    model, rows = Llama(32, letters=12), _rows(3000, 320)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    for _ in range(120):
        at = torch.randint(len(rows), (32,))
        descend(optimizer, F.cross_entropy(model(rows[at, :-1]), rows[at, 1:]))
    return {name: value.clone() for name, value in model.state_dict().items()}


def preferences(setup: Setup, copied: bool = True) -> Recording:
    """Learns from pairs which of two rows is liked better: the one with more steps of two (DPO)."""
    state = torch.get_rng_state()
    weights = _taught()
    torch.set_rng_state(state)
    policy = Llama(32, letters=12)
    policy.load_state_dict(weights)
    reference = copy.deepcopy(policy).requires_grad_(False) if copied else policy
    optimizer = setup.optimizer(policy)
    rows = _rows(4000, 321).reshape(2000, 2, 12)
    twos = (rows.diff(dim=2) % 12 == 2).sum(2)
    order = (twos[:, 0] < twos[:, 1]).long()
    every = torch.arange(2000)
    chosen, refused = rows[every, order], rows[every, 1 - order]
    draw = some(setup, 1800)

    def likely(model: nn.Module, x: Tensor) -> Tensor:
        return -F.cross_entropy(model(x[:, :-1]), x[:, 1:], reduction="none").sum(1)

    def loss_of(at: Tensor) -> tuple[Tensor, Tensor]:
        ours = likely(policy, chosen[at]) - likely(policy, refused[at])
        with torch.no_grad():
            theirs = likely(reference, chosen[at]) - likely(reference, refused[at])
        return -F.logsigmoid(0.1 * (ours - theirs)).mean(), ours > theirs

    def check() -> dict[str, Any]:
        loss, right = loss_of(every[1800:])
        return {"loss": float(loss), "accuracy": float(right.float().mean())}

    return go(setup, policy, optimizer, lambda _: descend(optimizer, loss_of(draw())[0]), check)
