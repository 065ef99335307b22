"""Scripts of the twelfth held-out set that learn what is alike: triplets, margins, views, two towers, a shop."""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits, table


def small_net(out: int, norm: bool = True) -> nn.Sequential:
    """Reads a digit into a vector."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.BatchNorm2d(16) if norm else nn.Identity(), nn.ReLU(), nn.Conv2d(16, 24, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(24 * 16, out),
    )  # fmt: skip


def neighbours(model: nn.Module) -> float:
    """Gives how often the nearest picture shows the same digit."""
    x, y, vx, vy = digits()
    was = model.training
    model.eval()
    with torch.no_grad():
        nearest = torch.cdist(F.normalize(model(vx)), F.normalize(model(x[:700]))).argmin(1)
    model.train(was)
    return float((y[:700][nearest] == vy).float().mean())


def triplets(margin: float = 0.3) -> Recording:
    """Learns a space for digits by triplets that are hard, but not too hard."""
    x, y, _, _ = digits()
    model = small_net(16)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)
    groups = [(y == k).nonzero().squeeze(1) for k in range(10)]
    for step in range(240):
        rows = torch.cat([g[torch.randint(0, len(g), (4,))] for g in groups])
        z = F.normalize(model(x[rows]))
        far = torch.cdist(z, z)
        same = y[rows][:, None] == y[rows][None]
        positive = (far * same).max(1).values
        others = far.masked_fill(same, math.inf)
        beyond = others.masked_fill(others <= positive[:, None], math.inf)  # farther than the positive, if there is one
        others = torch.where(beyond.min(1, keepdim=True).values.isinf(), others, beyond)
        loss = F.relu(positive - others.min(1).values + margin).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 40 == 39:
            probe.log(recall_at_1=neighbours(model))
    return probe.finish()


class Margin(nn.Module):
    """Asks for an angle more between a face and the other names, as ArcFace does."""

    def __init__(self, inside: int, kinds: int, scale: float = 16.0, margin: float = 0.2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(kinds, inside))
        nn.init.xavier_uniform_(self.weight)
        self.scale, self.margin = scale, margin

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        cosine = F.linear(F.normalize(z), F.normalize(self.weight)).clamp(-1 + 1e-6, 1 - 1e-6)
        shifted = (cosine.acos() + self.margin * F.one_hot(y, cosine.size(1))).cos()
        return self.scale * shifted


def angles(metric_learns: bool = True, epochs: int = 8) -> Recording:
    """Learns digits by angles; the head is a module of its own, with a group of its own."""
    x, y, vx, vy = digits()
    model, metric = small_net(16), Margin(16, 10)
    groups = [{"params": model.parameters()}]
    if metric_learns:
        groups.append({"params": metric.parameters()})
    optimizer = torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.3)
    probe = Probe({"backbone": model, "metric": metric}, optimizer)
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(x)).split(45):
            loss = F.cross_entropy(metric(model(x[rows]), y[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        scheduler.step()
        model.eval()
        with torch.no_grad():
            plain = metric.scale * F.linear(F.normalize(model(vx)), F.normalize(metric.weight))
        probe.validation(F.cross_entropy(plain, vy), accuracy=(plain.argmax(1) == vy).float().mean())
    return probe.finish()


def views(x: Tensor) -> Tensor:
    """Shifts, dims and spoils pictures."""
    moved = torch.stack([torch.roll(p, torch.randint(-1, 2, (2,)).tolist(), (1, 2)) for p in x])
    return moved * (0.6 + 0.8 * torch.rand(len(x), 1, 1, 1)) + 0.1 * torch.randn(moved.shape)


def simclr(steps: int = 220) -> Recording:
    """Brings two views of a picture together and others apart; afterwards the nearest pictures are looked at."""
    x, _, _, _ = digits()
    body, head = small_net(48), nn.Sequential(nn.ReLU(), nn.Linear(48, 24))
    model = nn.Sequential(body, head)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3, weight_decay=1e-5)
    probe = Probe(model, optimizer)
    for step in range(steps):
        rows = torch.randint(0, len(x), (48,))
        z = F.normalize(model(torch.cat((views(x[rows]), views(x[rows])))))
        alike = (z @ z.T / 0.3).masked_fill(torch.eye(96, dtype=torch.bool), -1e9)
        loss = F.cross_entropy(alike, torch.arange(96).roll(48))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 55 == 54:
            probe.log(recall_at_1=neighbours(body))
    return probe.finish()


def simsiam(stops: bool = True, steps: int = 260) -> Recording:
    """Has one view predict the other, which holds still."""
    x, _, _, _ = digits()
    encoder = nn.Sequential(
        small_net(48), nn.BatchNorm1d(48), nn.ReLU(), nn.Linear(48, 32, bias=False), nn.BatchNorm1d(32, affine=False)
    )
    predictor = nn.Sequential(nn.Linear(32, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 32))
    both = {"encoder": encoder, "predictor": predictor}
    optimizer = torch.optim.SGD(
        [p for m in both.values() for p in m.parameters()], lr=0.1, momentum=0.9, weight_decay=1e-4
    )
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    probe = Probe(both, optimizer)
    for step in range(steps):
        rows = torch.randint(0, len(x), (64,))
        z1, z2 = encoder(views(x[rows])), encoder(views(x[rows]))
        p1, p2 = predictor(z1), predictor(z2)
        if stops:
            z1, z2 = z1.detach(), z2.detach()
        loss = -(F.cosine_similarity(p1, z2).mean() + F.cosine_similarity(p2, z1).mean()) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        probe.step(loss)
        if step % 65 == 64:
            probe.log(recall_at_1=neighbours(encoder[0]))
    return probe.finish()


def same_kind(batch: int = 8, guarded: bool = True, epochs: int = 8) -> Recording:
    """Brings wines of one kind together: the supervised contrastive loss, on small batches."""
    x, y, vx, vy = table("wine")
    mean, std = x.mean(0), x.std(0)
    x, vx = (x - mean) / std, (vx - mean) / std
    model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    probe = Probe(model, optimizer)

    def supcon(inputs: Tensor, kinds: Tensor) -> Tensor:
        z = F.normalize(model(inputs))
        itself = torch.eye(len(z), dtype=torch.bool)
        alike = (z @ z.T / 0.2).masked_fill(itself, -1e9)
        same = (kinds[:, None] == kinds[None]) & ~itself
        chance = alike - alike.logsumexp(1, keepdim=True)
        partners = same.sum(1).clamp(min=1) if guarded else same.sum(1)
        return -((chance * same).sum(1) / partners).mean()

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch):
            loss = supcon(x[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(supcon(vx, vy))
    return probe.finish()


def towers(picture_learns: bool = True, epochs: int = 10) -> Recording:
    """Matches digits with what is said about them, with two towers and a temperature that is learnt."""
    x, y, vx, vy = digits()
    pictures, words = small_net(24), nn.EmbeddingBag(40, 24)
    temperature = nn.ParameterDict({"log_scale": nn.Parameter(torch.tensor(math.log(1 / 0.2)))})

    def said(image: Tensor, digit: Tensor) -> Tensor:
        """Gives four words: the digit, how dark, where it leans, a word that means nothing."""
        flat = image.squeeze(1)
        dark = (flat.mean((1, 2)) * 20).long().clamp(0, 9)
        lean = (flat[:, :, :4].mean((1, 2)) > flat[:, :, 4:].mean((1, 2))).long()
        return torch.stack((digit, 10 + dark, 20 + lean, torch.randint(22, 40, digit.shape)), 1)

    learning = [*words.parameters(), *temperature.parameters(), *(pictures.parameters() if picture_learns else ())]
    optimizer = torch.optim.AdamW(learning, lr=4e-3)
    probe = Probe({"pictures": pictures, "words": words, "temperature": temperature}, optimizer)

    def loss_of(image: Tensor, digit: Tensor) -> tuple[Tensor, Tensor]:
        if picture_learns:
            a = F.normalize(pictures(image))
        else:
            with torch.no_grad():  # taken over from the script that only embeds
                a = F.normalize(pictures(image))
        b = F.normalize(words(said(image, digit)))
        logits = temperature["log_scale"].exp().clamp(max=100) * a @ b.T
        own = torch.arange(len(a))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2, logits

    for _ in range(epochs):
        for rows in torch.randperm(len(x))[:1408].split(64):
            loss, _ = loss_of(x[rows], y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            loss, logits = loss_of(vx[:64], vy[:64])
        probe.validation(loss, same_digit=(vy[:64][logits.argmax(1)] == vy[:64]).float().mean())
    return probe.finish()


@cache
def bought(users: int = 150, items: int = 80) -> tuple[Tensor, Tensor]:
    """Gives who bought what, to learn from and to test with: a year of a small shop."""
    chance = torch.Generator().manual_seed(1260)
    taste, kind = torch.randn(users, 4, generator=chance), torch.randn(items, 4, generator=chance)
    wish = taste @ kind.T + 0.5 * torch.randn(items, generator=chance)
    pairs = torch.stack([torch.multinomial((1.5 * row).softmax(0), 16, generator=chance) for row in wish])
    who = torch.arange(users)[:, None].expand(users, 16)
    both = torch.stack((who, pairs), 2)
    return both[:, :13].reshape(-1, 2), both[:, 13:].reshape(-1, 2)


def shop(negatives: str = "others", epochs: int = 8) -> Recording:
    """Recommends by BPR: what was bought goes before what was not."""
    train, test = bought()
    owned = torch.zeros(150, 80, dtype=torch.bool)
    owned[train[:, 0], train[:, 1]] = True
    model = nn.ModuleDict({"user": nn.Embedding(150, 12), "item": nn.Embedding(80, 12), "bias": nn.Embedding(80, 1)})
    for part in model.values():
        nn.init.normal_(part.weight, 0, 0.1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.015, weight_decay=1e-4)
    probe = Probe(model, optimizer)

    def score(u: Tensor, i: Tensor) -> Tensor:
        return (model["user"](u) * model["item"](i)).sum(-1) + model["bias"](i).squeeze(-1)

    def ranked(u: Tensor, i: Tensor) -> Tensor:
        j = torch.multinomial((~owned[u]).float(), 1).squeeze(1) if negatives == "others" else i[torch.arange(len(i))]
        return -F.logsigmoid(score(u, i) - score(u, j)).mean()

    for _ in range(epochs):
        for rows in torch.randperm(len(train)).split(75):
            u, i = train[rows].unbind(1)
            loss = ranked(u, i)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            every = model["user"].weight @ model["item"].weight.T + model["bias"].weight.T
            top = every.masked_fill(owned, -1e9).topk(10, 1).indices
            hit = (top[test[:, 0]] == test[:, 1:]).any(1).float().mean()
            probe.validation(ranked(*test.unbind(1)), hit_at_10=hit)
    return probe.finish()
