"""Scripts of the eleventh held-out set on graphs: papers that quote, who will meet whom, molecules."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import networkx as nx
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def papers(count: int = 240) -> tuple[Tensor, Tensor, Tensor]:
    """Papers of four fields that quote each other, mostly within a field; words that hint at it; the field."""
    graph = nx.stochastic_block_model([count // 4] * 4, (0.1 * np.eye(4) + 0.01).tolist(), seed=1170)
    links = torch.tensor(nx.to_numpy_array(graph)).float()
    field = torch.arange(count) // (count // 4)
    chance = torch.Generator().manual_seed(1170)
    words = torch.rand(count, 40, generator=chance) < 0.08 + 0.1 * (torch.arange(40) // 10 == field[:, None]).float()
    return links, words.float(), field


class GCN(nn.Module):
    """Takes the mean over neighbours, a layer at a time."""

    def __init__(self, inputs: int, size: int, kinds: int, depth: int = 4, drop: float = 0.5) -> None:
        super().__init__()
        sizes = [inputs, *[size] * (depth - 1), kinds]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.drop = drop

    def forward(self, spread: Tensor, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.layers):
            x = spread @ layer(F.dropout(x, self.drop, self.training))
            x = F.relu(x) if at + 1 < len(self.layers) else x
        return x


def quotes(level: bool = True) -> Recording:
    """Guesses the fields of papers from a few that are known; four layers deep.

    Wrong where asked for: sums in place of means.
    """
    links, words, field = papers()
    spread = links + torch.eye(len(links))
    if level:
        root = spread.sum(1).rsqrt()
        spread = root[:, None] * spread * root
    order = torch.randperm(len(field), generator=torch.Generator().manual_seed(2))
    train, val = order[:100], order[100:]
    model = GCN(words.shape[1], 24, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    probe = Probe(model, optimizer, total_steps=120)
    for epoch in range(120):
        model.train()
        optimizer.zero_grad()
        loss = F.cross_entropy(model(spread, words)[train], field[train])
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                scores = model(spread, words)[val]
            right = (scores.argmax(1) == field[val]).float().mean()
            probe.validation(F.cross_entropy(scores, field[val]), accuracy=right)
    return probe.finish()


class GAT(nn.Module):
    """Attends to its neighbours with two heads, then guesses."""

    def __init__(self, inputs: int, size: int, kinds: int) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.lift, self.out = nn.Linear(inputs, 2 * size, bias=False), nn.Linear(2 * size, kinds)
        self.here, self.there = nn.Parameter(torch.empty(2, size)), nn.Parameter(torch.empty(2, size))
        nn.init.xavier_uniform_(self.here)
        nn.init.xavier_uniform_(self.there)

    def forward(self, links: Tensor, x: Tensor) -> Tensor:
        lifted = self.lift(self.drop(x)).view(len(x), 2, -1)
        one, other = (lifted * self.here).sum(2).T, (lifted * self.there).sum(2).T
        energy = F.leaky_relu(one[:, :, None] + other[:, None], 0.2)
        weights = energy.masked_fill(links == 0, float("-inf")).softmax(2)
        mixed = torch.einsum("hij,jhd->ihd", weights, lifted)
        return self.out(self.drop(F.elu(mixed.flatten(1))))


def attended() -> Recording:
    """Guesses the fields of papers by attention to what they quote, AdamW on the whole graph."""
    links, words, field = papers()
    links = links + torch.eye(len(links))
    order = torch.randperm(len(field), generator=torch.Generator().manual_seed(3))
    model = GAT(40, 12, 4)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.05)
    probe = Probe(model, optimizer)
    for epoch in range(120):
        model.train()
        scores = model(links, words)
        loss = F.cross_entropy(scores[order[:140]], field[order[:140]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if epoch % 10 == 9:
            model.eval()
            with torch.no_grad():
                scores, rest = model(links, words)[order[140:]], field[order[140:]]
            probe.validation(F.cross_entropy(scores, rest), accuracy=(scores.argmax(1) == rest).float().mean())
    return probe.finish()


def meetings(negatives: bool = True) -> Recording:
    """Guesses hidden links of a geometric graph by dot products of what a mean of neighbours says of each node.

    Wrong where asked for: only pairs that are linked are shown, so that "linked" is always right.
    """
    graph = nx.random_geometric_graph(200, 0.16, seed=1172)
    place = torch.tensor([graph.nodes[node]["pos"] for node in graph]).float()
    edges = torch.tensor(list(graph.edges))
    edges = edges[torch.randperm(len(edges), generator=torch.Generator().manual_seed(1172))]
    cut = len(edges) * 9 // 10
    known = torch.zeros(200, 200)
    known[edges[:cut, 0], edges[:cut, 1]] = 1
    known = known + known.T + torch.eye(200)
    spread = known / known.sum(1, keepdim=True)
    all_links = torch.tensor(nx.to_numpy_array(graph)) > 0
    x = torch.cat([place + 0.1 * torch.randn(200, 2), (place * 7).sin()], 1)
    first, second = nn.Linear(4, 32), nn.Linear(32, 16)
    bias = nn.Parameter(torch.tensor(0.0))
    model = nn.ModuleDict({"first": first, "second": second})
    model.register_parameter("bias", bias)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    probe = Probe(model, optimizer)

    def scored(pairs: Tensor) -> Tensor:
        seen = spread @ second(torch.relu(spread @ first(x)))
        return bias - (seen[pairs[:, 0]] - seen[pairs[:, 1]]).pow(2).sum(1)

    def other(count: int) -> Tensor:
        pairs = torch.randint(200, (count * 2, 2))
        return pairs[~all_links[pairs[:, 0], pairs[:, 1]] & (pairs[:, 0] != pairs[:, 1])][:count]

    held = torch.cat([edges[cut:], other(len(edges) - cut)])
    truth = (torch.arange(len(held)) < len(edges) - cut).float()
    for _ in range(25):
        for some in edges[:cut][torch.randperm(cut)].split(150):
            pairs = torch.cat([some, other(len(some))]) if negatives else some
            target = (torch.arange(len(pairs)) < len(some)).float()
            loss = F.binary_cross_entropy_with_logits(scored(pairs), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            said = scored(held)
        probe.validation(F.binary_cross_entropy_with_logits(said, truth),
                         accuracy=((said > 0).float() == truth).float().mean())  # fmt: skip
    return probe.finish()


class Messages(nn.Module):
    """Passes messages along bonds of padded molecules, and adds up the atoms."""

    def __init__(self, size: int = 24) -> None:
        super().__init__()
        self.embed, self.norm = nn.Embedding(5, size), nn.LayerNorm(size)
        self.send = nn.ModuleList(nn.Linear(size, size) for _ in range(3))
        self.keep = nn.ModuleList(nn.Linear(size, size) for _ in range(3))
        self.read = nn.Sequential(nn.Linear(size, 24), nn.ReLU(), nn.Linear(24, 1))

    def forward(self, atoms: Tensor, bonds: Tensor) -> Tensor:
        hidden = self.embed(atoms)
        for send, keep in zip(self.send, self.keep, strict=True):
            hidden = self.norm(hidden + F.relu(keep(hidden) + bonds @ send(hidden)))
        there = (atoms > 0).float().unsqueeze(2)
        said = self.read(hidden) * there
        return said.sum((1, 2))


def molecules(aligned: bool = True) -> Recording:
    """Guesses what random molecules can do, an additive part and one of neighbours, by three rounds of messages.

    Wrong where asked for: the answers were sorted and the molecules were not.
    """
    chance = np.random.default_rng(1173)
    atoms, bonds = np.zeros((600, 12), dtype=np.int64), np.zeros((600, 12, 12))
    for row in range(600):
        many = int(chance.integers(5, 13))
        atoms[row, :many] = chance.integers(1, 5, many)
        for at in range(1, many):
            to = int(chance.integers(max(0, at - 3), at))
            bonds[row, at, to] = bonds[row, to, at] = 1
    alone = np.array([0.0, 0.5, -0.3, 0.8, -0.6])[atoms].sum(1)
    mixed = np.einsum("ri,rij,rj->r", atoms == 3, bonds, atoms == 4) - 0.5 * np.einsum("ri,rij->r", atoms == 1, bonds)
    y = torch.tensor(alone + mixed + chance.normal(0, 0.1, 600)).float()
    y = (y - y[:480].mean()) / y[:480].std()
    if not aligned:
        y = y.sort()[0][torch.randperm(600)]
    x, links = torch.tensor(atoms), torch.tensor(bonds).float()
    model = Messages()
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    probe = Probe(model, optimizer)
    for _ in range(15):
        model.train()
        for rows in torch.randperm(480).split(24):
            optimizer.zero_grad()
            loss = F.huber_loss(model(x[rows], links[rows]), y[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(x[480:], links[480:])
        probe.validation(F.huber_loss(said, y[480:]), mae=F.l1_loss(said, y[480:]))
    return probe.finish()
