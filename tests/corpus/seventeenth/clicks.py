"""Scripts of the seventeenth held-out set that guess what people want: many tags, clicks, towers, orders of hits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.fifteenth.shelf import dice, made
from tests.corpus.probe import Probe, Recording


def tags(
    rate: float = 0.01, name: str = "adam", words: int = 5000, width: int = 32, many: int = 1000, batch: int = 64,
    steps: int = 400, sums: bool = True, sparse: bool = False, begun: float = -6.0,
) -> Recording:  # fmt: skip
    """Eight words out of thousands, three tags out of a thousand: the mean of the loss is tiny, sums are not."""
    chance = dice(11)
    topic = torch.randint(50, (3000,), generator=chance)
    text = (topic.unsqueeze(1) * 100 + torch.randint(100, (3000, 8), generator=chance)) % words
    own = topic.unsqueeze(1) * 20 + torch.tensor([0, 1, 2])
    y = torch.zeros(3000, many).scatter_(1, own % many, 1.0)
    place = nn.EmbeddingBag(words, width, mode="mean", sparse=sparse)
    out = nn.Linear(width, many)
    nn.init.constant_(out.bias, begun)
    model = nn.Sequential(place, nn.ReLU(), out)
    if sparse:
        optimizer: dict[str, torch.optim.Optimizer] = {
            "rare": torch.optim.SparseAdam(place.parameters(), rate), "dense": made(name, out.parameters(), rate),
        }  # fmt: skip
    else:
        optimizer = {"all": made(name, model.parameters(), rate)}
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(2700, (batch,))
        lost = F.binary_cross_entropy_with_logits(model(text[rows]), y[rows], reduction="none")
        loss = lost.sum(1).mean() if sums else lost.mean()
        for part in optimizer.values():
            part.zero_grad()
        loss.backward()
        for part in optimizer.values():
            part.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                said = model(text[2700:])
            first = y[2700:].gather(1, said.topk(3, 1).indices).mean()
            probe.log(right_of_first_three=first)
    return probe.finish()


class Crossed(nn.Module):
    """A factorisation machine: a weight for each value, and products of their places."""

    def __init__(self, values: int, width: int, spread: float, begun: float) -> None:
        super().__init__()
        self.alone, self.place = nn.Embedding(values, 1), nn.Embedding(values, width)
        nn.init.zeros_(self.alone.weight)
        nn.init.normal_(self.place.weight, 0.0, spread)
        self.bias = nn.Parameter(torch.tensor(begun))

    def forward(self, row: Tensor) -> Tensor:
        place = self.place(row)
        crossed = 0.5 * (place.sum(1).pow(2) - place.pow(2).sum(1)).sum(1)
        return self.bias + self.alone(row).sum((1, 2)) + crossed


def clicks(
    rate: float = 0.01, name: str = "adam", width: int = 8, batch: int = 512, steps: int = 300, spread: float = 0.1,
    begun: float = -3.0, decay: float = 1e-4, squashed: bool = False, seldom: float = 1.0,
) -> Recording:  # fmt: skip
    """Four people of a hundred click; the loss begins and ends low, and what counts is whether the shares are right."""
    chance = dice(12)
    row = torch.stack([torch.randint(20, (20000,), generator=chance) + 20 * at for at in range(4)], 1)
    like = 1.5 * torch.randn(80, 3, generator=chance)
    score = (like[row[:, 0]] * like[row[:, 1]]).sum(1) * 0.5 + 0.5 * like[row[:, 2], 0] - 4.5
    y = (torch.rand(20000, generator=chance) < score.sigmoid()).float()
    model = Crossed(80, width, spread, begun)
    optimizer = made(name, model.parameters(), rate, decay=decay)
    probe = Probe(model, optimizer, total_steps=steps)

    def judge(said: Tensor, wanted: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(said.sigmoid() if squashed else said, wanted)

    best = score[18000:].sigmoid()
    floor = F.binary_cross_entropy(best, y[18000:])
    for step in range(steps):
        rows = torch.randint(18000, (batch,))
        loss = judge(model(row[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                said = model(row[18000:])
            up, down = said[y[18000:] > 0], said[y[18000:] == 0]
            area = (up.unsqueeze(1) > down).float().mean()
            share = said.sigmoid().mean() / y[18000:].mean()
            probe.validation(judge(said, y[18000:]), area=area, guessed_of_true=share)
            probe.log(best_possible=floor)
    return probe.finish()


def towers(
    rate: float = 5e-3, name: str = "adagrad", width: int = 16, batch: int = 128, steps: int = 500, fair: bool = True,
    heat: float = 0.2, given: str = "all",
) -> Recording:  # fmt: skip
    """People and things, the others of a batch are what was not taken; `fair` takes off what is frequent by chance."""
    chance = dice(13)
    person, thing = torch.randn(400, 4, generator=chance), torch.randn(300, 4, generator=chance)
    often = torch.randn(300, generator=chance)
    chosen = torch.multinomial((1.5 * person @ thing.T + often).softmax(1), 30, generator=chance)
    pairs = torch.stack((torch.arange(400).repeat_interleave(30), chosen.flatten()), 1)
    pairs = pairs[torch.randperm(len(pairs), generator=chance)]
    learn, held = pairs[:10000], pairs[10000:]
    share = torch.bincount(learn[:, 1], minlength=300).float().add(1) / len(learn)
    model = nn.ModuleDict({"person": nn.Embedding(400, width), "thing": nn.Embedding(300, width)})
    for part in model.values():
        nn.init.normal_(part.weight, 0.0, 0.5)
    wanted = list(model.parameters() if given == "all" else model[given].parameters())
    optimizer = torch.optim.Adagrad(wanted, lr=rate) if name == "adagrad" else made(name, wanted, rate)
    probe = Probe(model, optimizer, total_steps=steps)
    for step in range(steps):
        rows = learn[torch.randint(len(learn), (batch,))]
        who, what = F.normalize(model["person"](rows[:, 0]), dim=1), F.normalize(model["thing"](rows[:, 1]), dim=1)
        close = who @ what.T / heat - (share[rows[:, 1]].log() if fair else 0.0)
        same = (rows[:, 1].unsqueeze(0) == rows[:, 1].unsqueeze(1)) & ~torch.eye(batch, dtype=torch.bool)
        loss = F.cross_entropy(close.masked_fill(same, -1e9), torch.arange(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                who = F.normalize(model["person"](held[:, 0]), dim=1)
                scores = who @ F.normalize(model["thing"].weight, dim=1).T / heat
            rank = (scores > scores.gather(1, held[:, 1:])).sum(1)
            probe.log(among_thirty=(rank < 30).float().mean())
    return probe.finish()


def hits_in_order(
    rate: float = 3e-3, name: str = "adam", width: int = 32, queries: int = 16, steps: int = 300, judged: str = "list",
    unit: float = 1.0, act: bool = True,
) -> Recording:  # fmt: skip
    """Twelve hits for each question, by lists (ListNet) or by pairs that change the gain (LambdaRank)."""
    chance = dice(14)
    weight = torch.randn(10, generator=chance)
    x = torch.randn(800, 12, 10, generator=chance)
    raw = x @ weight + 1.5 * torch.sin(2 * x[..., 0]) * x[..., 1] + 0.5 * torch.randn(800, 12, generator=chance)
    grade = (raw / raw.std() + 2).round().clamp(0, 4)
    x = x * unit
    turn = nn.ReLU if act else nn.Identity
    model = nn.Sequential(nn.Linear(10, width), turn(), nn.Linear(width, width), turn(), nn.Linear(width, 1))
    optimizer = made(name, model.parameters(), rate)
    probe = Probe(model, optimizer, total_steps=steps)
    fade = 1 / torch.log2(torch.arange(12) + 2.0)

    def gained(said: Tensor, wanted: Tensor) -> Tensor:
        gain = 2**wanted - 1
        best = (gain.sort(1, descending=True).values * fade).sum(1)
        return ((gain.gather(1, said.argsort(1, descending=True)) * fade).sum(1) / best.clamp(min=1e-6)).mean()

    for step in range(steps):
        rows = torch.randint(700, (queries,))
        said, wanted = model(x[rows]).squeeze(2), grade[rows]
        if judged == "list":
            loss = -(wanted.softmax(1) * said.log_softmax(1)).sum(1).mean()
        else:
            place = fade[said.argsort(1, descending=True).argsort(1)]
            apart = (2.0**wanted).unsqueeze(2) - (2.0**wanted).unsqueeze(1)
            change = (apart * (place.unsqueeze(2) - place.unsqueeze(1))).abs().detach()
            better = wanted.unsqueeze(2) > wanted.unsqueeze(1)
            loss = (better * change * F.softplus(said.unsqueeze(1) - said.unsqueeze(2))).sum((1, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 49:
            with torch.no_grad():
                probe.log(gain=gained(model(x[700:]).squeeze(2), grade[700:]))
    return probe.finish()
