"""Scripts of the eighteenth held-out set that learn what pictures have in common: contrasts, teachers, old weights."""

from __future__ import annotations

import copy
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.pictures import ResNet
from tests.corpus.eighteenth.shelf import digits, forever, hits, judged, loaders, optimizer, scenes, schedule
from tests.corpus.probe import Probe, Recording


def another(x: Tensor) -> Tensor:
    """The same pictures moved, turned over, made darker and spoilt."""
    a, b = (int(torch.randint(-4, 5, (1,))) for _ in range(2))
    x = x.roll((a, b), (2, 3)) * (0.7 + 0.6 * torch.rand(len(x), 1, 1, 1))
    return x + 0.2 * torch.randn(len(x), x.shape[1], 1, 1) + 0.3 * torch.randn_like(x)


def contrasts(
    kind: str = "both", rate: float = 2e-3, name: str = "adamw", decay: float = 1e-4, batch: int = 64, steps: int = 150,
    heat: float = 0.2, plan: str = "warm cosine", warm: int = 15, width: int = 16, slow: float = 0.97,
    scaled: bool = True,
) -> Recording:  # fmt: skip
    """SimCLR ("both") or BYOL ("alone", with a slow copy); a line through the codes tells how good they are."""
    x, y, vx, vy = scenes()
    x, vx = (x - 0.5) / 0.2, (vx - 0.5) / 0.2
    learn, _ = loaders((x, y, vx, vy), batch)
    body = ResNet(1, width, 64)
    body.fc = nn.Identity()
    wide = 4 * width
    head = nn.Sequential(nn.Linear(wide, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64))
    model = nn.ModuleDict({"body": body, "head": head})
    if kind == "alone":
        model["guess"] = nn.Sequential(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64))
    old = copy.deepcopy(nn.Sequential(body, head)).requires_grad_(False)
    made = optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate, warm)
    probe = Probe(model, made, total_steps=steps)
    source = forever(learn)
    for step in range(steps):
        part, _ = next(source)
        one, two = another(part), another(part)
        if kind == "alone":
            a, b = (model["guess"](head(body(seen))) for seen in (one, two))
            with torch.no_grad():
                c, d = old(two), old(one)
            loss = 4 - 2 * (F.cosine_similarity(a, c) + F.cosine_similarity(b, d)).mean()
        else:
            code = head(body(torch.cat((one, two))))
            code = F.normalize(code, dim=1) if scaled else code
            alike = code @ code.T / heat
            alike = alike.masked_fill(torch.eye(len(code), dtype=torch.bool), -1e9)
            loss = F.cross_entropy(alike, (torch.arange(len(code)) + batch) % len(code))
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        with torch.no_grad():
            for a_weight, b_weight in zip(old.parameters(), nn.Sequential(body, head).parameters(), strict=True):
                a_weight.lerp_(b_weight, 1 - slow)
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                known, asked = (F.normalize(body(part), dim=1) for part in (x[:1500], vx))
                near = torch.cdist(asked, known).argmin(1)
            probe.log(neighbour_right=(y[:1500][near] == vy).float().mean())
            model.train()
    return probe.finish()


@cache
def _taught(kinds: int = 10) -> dict[str, Tensor]:
    """Weights of a net that was trained before, unseen, on other pictures."""
    torch.manual_seed(5)
    x, y, _, _ = scenes(4000, 32, 20)
    x = (x - 0.5) / 0.2
    if kinds == 10:
        x, y, _, _ = scenes()
        x = (x - 0.5) / 0.2
    model = ResNet(1, 16, kinds)
    made = torch.optim.AdamW(model.parameters(), 3e-3)
    plan = torch.optim.lr_scheduler.OneCycleLR(made, 3e-3, total_steps=160)
    for _ in range(160):
        rows = torch.randint(len(x), (64,))
        made.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        made.step()
        plan.step()
    return model.state_dict()


def _old(kinds: int) -> ResNet:
    state = torch.get_rng_state()
    known = _taught(kinds)
    torch.set_rng_state(state)
    model = ResNet(1, 16, kinds)
    model.load_state_dict(known)
    return model


def distilled(
    rate: float = 2e-3, name: str = "adam", batch: int = 64, steps: int = 200, heat: float = 4.0, share: float = 0.7,
    width: int = 8, plan: str = "cosine", given: str = "pupil",
) -> Recording:  # fmt: skip
    """A small net learns from names and from what a larger one says of each picture."""
    x, y, vx, vy = scenes()
    x, vx = (x - 0.5) / 0.2, (vx - 0.5) / 0.2
    learn, held = loaders((x, y, vx, vy), batch)
    teacher, pupil = _old(10).eval().requires_grad_(False), ResNet(1, width)
    made = optimizer(name, pupil.parameters() if given == "pupil" else pupil.body.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(pupil, made, total_steps=steps)
    source = forever(learn)
    for step in range(steps):
        part, asked = next(source)
        out = pupil(part)
        with torch.no_grad():
            told = teacher(part)
        soft = F.kl_div((out / heat).log_softmax(1), (told / heat).softmax(1), reduction="batchmean") * heat**2
        hard = F.cross_entropy(out, asked)
        loss = share * soft + (1 - share) * hard
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss, soft=soft, hard=hard)
        if step % 50 == 49:
            lost, right = judged(pupil, held, F.cross_entropy)
            probe.validation(lost, accuracy=right)
    return probe.finish()


def handed_on(
    frozen_for: int = 0, rate: float = 1e-3, head_rate: float = 1e-2, name: str = "adamw", batch: int = 32,
    steps: int = 160, thaw: bool = True, count: int = 2000, late_head: bool = False, plan: str = "one cycle",
    every: int = 40,
) -> Recording:  # fmt: skip
    """Old weights for new names: first the head alone, then all; `late_head` swaps the head after the optimizer."""
    x, y, vx, vy = scenes(count)
    x, vx = (x - 0.5) / 0.2, (vx - 0.5) / 0.2
    learn, held = loaders((x, y, vx, vy), batch)
    model = _old(20)
    if not late_head:
        model.fc = nn.Linear(64, 10)
    body = [*model.stem.parameters(), *model.body.parameters()]
    groups = [{"params": body, "lr": rate}, {"params": list(model.fc.parameters()), "lr": head_rate}]
    made = optimizer(name, groups, head_rate)
    planned = None
    if plan == "one cycle":
        planned = torch.optim.lr_scheduler.OneCycleLR(made, [rate, head_rate], total_steps=steps)
    if late_head:
        model.fc = nn.Linear(64, 10)
    if frozen_for:
        for weight in body:
            weight.requires_grad_(False)
    probe = Probe(model, made, finetune=True)
    source = forever(learn)
    for step in range(steps):
        if step == frozen_for and thaw:
            for weight in body:
                weight.requires_grad_(True)
        part, asked = next(source)
        loss = F.cross_entropy(model(part), asked)
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if (step + 1) % every == 0:
            lost, right = judged(model, held, F.cross_entropy)
            probe.validation(lost, accuracy=right)
    return probe.finish()


def metric(
    rate: float = 1e-3, batch: int = 64, steps: int = 200, gap: float = 0.3, kind: str = "pairs",
    times: float = 16.0, name: str = "adam", plan: str = "cosine",
) -> Recording:  # fmt: skip
    """Codes of digits that lie near each other where the digits are the same: pairs, or angles (ArcFace)."""
    x, y, vx, vy = digits()
    model = ResNet(1, 16, 32, 1)
    middles = nn.Parameter(torch.randn(10, 32))
    made = optimizer(name, [*model.parameters(), middles] if kind == "angles" else model.parameters(), rate)
    planned = schedule(plan, made, steps, rate)
    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(x), (batch,))
        code, asked = F.normalize(model(x[rows]), dim=1), y[rows]
        if kind == "angles":
            near = code @ F.normalize(middles, dim=1).T
            angle = near.clamp(-0.999, 0.999).acos() + gap * F.one_hot(asked, 10)
            loss = F.cross_entropy(times * angle.cos(), asked)
        else:
            far, same = torch.cdist(code, code), asked.unsqueeze(1) == asked
            loss = far[same].square().mean() + F.relu(1 + gap - far[~same]).square().mean()
        made.zero_grad()
        loss.backward()
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 50 == 49:
            model.eval()
            with torch.no_grad():
                known, out = model(x[:1500]), model(vx)
                near = F.normalize(out, dim=1) @ F.normalize(known, dim=1).T
            probe.log(neighbour_right=hits(F.one_hot(y[:1500], 10)[near.argmax(1)].float(), vy))
            model.train()
    return probe.finish()
