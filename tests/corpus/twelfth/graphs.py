"""Scripts of the twelfth held-out set on graphs and on choices that pay: papers, molecules, lifts, adverts, a cart."""

from __future__ import annotations

import copy
from functools import cache

import networkx as nx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def papers() -> tuple[Tensor, Tensor, Tensor]:
    """Gives who cites whom among 240 papers of four fields, words of each, and the fields; some are cited by nobody."""
    graph = nx.stochastic_block_model(
        [60] * 4, [[0.09 if a == b else 0.008 for b in range(4)] for a in range(4)], seed=11
    )
    graph.remove_edges_from([edge for edge in graph.edges if edge[0] % 40 == 7 or edge[1] % 40 == 7])
    cites = torch.tensor(nx.to_numpy_array(graph), dtype=torch.float32)
    field = torch.arange(4).repeat_interleave(60)
    chance = torch.Generator().manual_seed(1290)
    likely = torch.full((240, 48), 0.08)
    for k in range(4):
        likely[field == k, 12 * k : 12 * k + 12] = 0.2
    return cites, torch.bernoulli(likely, generator=chance), field


class GCN(nn.Module):
    """Mixes what neighbours say, twice."""

    def __init__(self, cites: Tensor, loops: bool) -> None:
        super().__init__()
        linked = cites + torch.eye(len(cites)) if loops else cites
        root = linked.sum(1).pow(-0.5)
        self.register_buffer("mix", root[:, None] * linked * root[None])
        self.layers = nn.ModuleList((nn.Linear(48, 24), nn.Linear(24, 4)))

    def forward(self, x: Tensor) -> Tensor:
        for at, layer in enumerate(self.layers):
            x = self.mix @ layer(F.dropout(x, 0.4, self.training))
            x = F.relu(x) if at + 1 < len(self.layers) else x
        return x


def citations(loops: bool = True, steps: int = 120) -> Recording:
    """Finds the fields of papers from eighty that are known; the whole graph is one batch."""
    cites, words, field = papers()
    order = torch.randperm(240, generator=torch.Generator().manual_seed(1291))
    known, rest = order[:80], order[80:]
    model = GCN(cites, loops)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=5e-4)
    probe = Probe(model, optimizer)
    for step in range(steps):
        model.train()
        loss = F.cross_entropy(model(words)[known], field[known])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 20 == 19:
            model.eval()
            with torch.no_grad():
                out = model(words)[rest]
            probe.validation(F.cross_entropy(out, field[rest]), accuracy=(out.argmax(1) == field[rest]).float().mean())
    return probe.finish()


@cache
def molecules(count: int = 500) -> list[tuple[Tensor, Tensor, int]]:
    """Gives graphs of six to twelve atoms in three kinds, with and without a ring of five, and which have it."""
    chance = torch.Generator().manual_seed(1292)
    made = []
    for at in range(count):
        size = int(torch.randint(7, 13, (1,), generator=chance))
        graph = nx.random_labeled_tree(size, seed=at)
        ring = at % 2
        if ring:
            graph.add_edges_from((k, (k + 1) % 5) for k in range(5))
        atoms = torch.randint(0, 3, (size,), generator=chance)
        made.append((torch.tensor(nx.to_numpy_array(graph), dtype=torch.float32), F.one_hot(atoms, 3).float(), ring))
    return made


class GIN(nn.Module):
    """Sums neighbours twice, then pools each graph."""

    def __init__(self, pools: str, width: int = 24) -> None:
        super().__init__()
        self.pools = pools
        self.one = nn.Sequential(
            nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.two = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU()
        )
        self.out = nn.Linear(width, 2)

    def forward(self, x: Tensor, links: Tensor, graph: Tensor, count: int) -> Tensor:
        x = self.one(x + links @ x)
        x = self.two(x + links @ x)
        if self.pools == "all":
            return self.out(x.mean(0, keepdim=True).expand(count, -1))
        total = torch.zeros(count, x.size(1)).index_add(0, graph, x)
        return self.out(total / graph.bincount(minlength=count).unsqueeze(1))


def rings(pools: str = "each", epochs: int = 12) -> Recording:
    """Says which molecules have a ring; a batch is one large graph in blocks."""
    every = molecules()

    def batch(rows: list[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        chosen = [every[i] for i in rows]
        links = torch.block_diag(*(a for a, _, _ in chosen))
        kinds = torch.cat([x for _, x, _ in chosen])
        graph = torch.repeat_interleave(torch.arange(len(chosen)), torch.tensor([len(x) for _, x, _ in chosen]))
        x = torch.cat((kinds, links.sum(1, keepdim=True) / 3), 1)
        return x, links, graph, torch.tensor([y for _, _, y in chosen])

    model = GIN(pools)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(1293))
    for _ in range(epochs):
        model.train()
        for rows in order[:400][torch.randperm(400)].split(40):
            x, links, graph, y = batch(rows.tolist())
            loss = F.cross_entropy(model(x, links, graph, len(y)), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            x, links, graph, y = batch(order[400:].tolist())
            out = model(x, links, graph, len(y))
        probe.validation(F.cross_entropy(out, y), accuracy=(out.argmax(1) == y).float().mean())
    return probe.finish()


def corridor(flat: bool = True, steps: int = 700) -> Recording:
    """Learns by Q to walk nine rooms to the right; a fall to the left ends it as well."""
    chance = torch.Generator().manual_seed(1294)
    q = nn.Sequential(nn.Linear(9, 24), nn.ReLU(), nn.Linear(24, 2))
    target = copy.deepcopy(q)
    optimizer = torch.optim.Adam(q.parameters(), lr=3e-3)
    probe = Probe(q, optimizer, moving_target=True)
    seen = torch.eye(9)
    memory: list[tuple[int, int, float, int, float]] = []
    room, taken, rewards = 3, 0, [0.0]
    for step in range(steps):
        explore = torch.rand((), generator=chance) < max(1.0 - step / 300, 0.1)
        with torch.no_grad():
            move = int(torch.randint(0, 2, (), generator=chance)) if explore else int(q(seen[room]).argmax())
        after = max(0, min(8, room + (1 if move else -1)))
        taken += 1
        gain = 1.0 if after == 8 else -1.0 if after == 0 else -0.01
        over = after in (0, 8)
        memory.append((room, move, gain, after, float(over)))
        rewards[-1] += gain
        room = after
        if over or taken == 40:
            room, taken = 3, 0
            rewards.append(0.0)
        if len(memory) < 32:
            continue
        rows = torch.randint(0, len(memory), (32,)).tolist()
        s, a, r, n, d = (torch.tensor(part) for part in zip(*(memory[i] for i in rows), strict=True))
        with torch.no_grad():
            wanted = r + 0.95 * target(seen[n]).max(1).values * (1 - d)
        valued = q(seen[s]).gather(1, a[:, None])
        loss = F.smooth_l1_loss(valued.squeeze(1) if flat else valued, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 0:
            target.load_state_dict(q.state_dict())
        probe.step(loss)
        if step % 100 == 99:
            probe.log(episode_return=sum(rewards[-6:-1]) / 5)
    return probe.finish()


def adverts(steps: int = 400) -> Recording:
    """Chooses one of five adverts for each visitor by what an ensemble believes, and learns from what was clicked."""
    chance = torch.Generator().manual_seed(1295)
    taste = torch.randn(5, 6, generator=chance)
    nets = nn.ModuleList(nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 5)) for _ in range(4))
    optimizer = torch.optim.Adam(nets.parameters(), lr=4e-3)
    probe = Probe(nets, optimizer)
    shown: list[tuple[Tensor, Tensor, Tensor]] = []
    won: list[float] = []
    for step in range(steps):
        x = torch.randn(16, 6, generator=chance)
        with torch.no_grad():
            choice = nets[int(torch.randint(0, 4, ()))](x).argmax(1)
        clicked = torch.bernoulli(((taste[choice] * x).sum(1) - 0.5).sigmoid(), generator=chance)
        won.append(float(clicked.mean()))
        shown.append((x, choice, clicked))
        rows = torch.randint(0, len(shown), (4,)).tolist()
        x, choice, clicked = (torch.cat([shown[i][part] for i in rows]) for part in range(3))
        out = torch.stack([net(x) for net in nets]).gather(2, choice.expand(4, -1).unsqueeze(2)).squeeze(2)
        loss = F.binary_cross_entropy_with_logits(out, clicked.expand(4, -1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            probe.log(reward=sum(won[-50:]) / 50)
    return probe.finish()


def cart(horizon: int = 22, steps: int = 160) -> Recording:
    """Learns to park a cart with a pole through the equations themselves: the cost of a drive is differentiated."""
    model = nn.Sequential(nn.Linear(4, 24), nn.Tanh(), nn.Linear(24, 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    probe = Probe(model, optimizer)

    def drive(s: Tensor) -> Tensor:
        cost = torch.zeros(())
        for _ in range(horizon):
            force = 8 * torch.tanh(model(s)).squeeze(1)
            x, v, angle, turn = s.unbind(1)
            push = (force + 0.05 * turn**2 * angle.sin()) / 1.1
            spin = (9.8 * angle.sin() - angle.cos() * push) / (0.5 * (4 / 3 - 0.1 * angle.cos() ** 2 / 1.1))
            slide = push - 0.05 * spin * angle.cos() / 1.1
            s = s + 0.04 * torch.stack((v, slide, turn, spin), 1)
            cost = cost + (x**2 * 0.2 + angle**2 + 0.01 * v**2).mean() / horizon
        return cost

    for step in range(steps):
        loss = drive(0.3 * torch.randn(32, 4))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            with torch.no_grad():
                probe.validation(drive(0.3 * torch.randn(200, 4)))
    return probe.finish()
