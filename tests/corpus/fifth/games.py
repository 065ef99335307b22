"""Scripts of the fifth held-out set that make their data as they go, or train two networks: lake, ring, pictures."""

from __future__ import annotations

import random
from collections import deque
from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording


@cache
def pixels(standardised: bool = False) -> tuple[Tensor, Tensor]:
    """Digits as rows between 0 and 1, or around 0."""
    raw = load_digits()
    x = torch.tensor(raw.data, dtype=torch.float32) / 16
    return (x - x.mean()) / x.std() if standardised else x, torch.tensor(raw.target)


class VAE(nn.Module):
    """The autoencoder of PyTorch's examples, for smaller pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = nn.Linear(64, 64), nn.Linear(64, 8), nn.Linear(64, 8)
        self.fc3, self.fc4 = nn.Linear(8, 64), nn.Linear(64, 64)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h1 = F.relu(self.fc1(x))
        mu, logvar = self.fc21(h1), self.fc22(h1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * logvar)
        return self.fc4(F.relu(self.fc3(z))), mu, logvar


def autoencode(sign: float = -0.5, reduction: str = "sum", standardised: bool = False) -> Recording:
    """Learns to make digits; the reconstruction is summed up as the divergence is."""
    x, _ = pixels(standardised)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def loss_function(rows: Tensor) -> tuple[Tensor, Tensor]:
        recon, mu, logvar = model(rows)
        bce = F.binary_cross_entropy_with_logits(recon, rows, reduction=reduction)
        return bce, sign * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())

    for _ in range(14):
        for rows in torch.randperm(1400).split(70):
            optimizer.zero_grad()
            bce, kld = loss_function(x[rows])
            loss = bce + kld
            loss.backward()
            optimizer.step()
            probe.step(loss, bce=bce, kld=kld)
        with torch.no_grad():
            parts = [sum(loss_function(part)) for part in x[1400:1750].split(70)]
        probe.validation(sum(parts) / len(parts))
    return probe.finish()


class Lake:
    """A frozen lake of 4 × 4 with four holes; what is at its end is worth one, or what somebody says."""

    HOLES, END = (5, 7, 11, 12), 15

    def __init__(self, worth: float) -> None:
        self.worth, self.at, self.left = worth, 0, 0

    def reset(self) -> Tensor:
        """Begins on some field that is no hole."""
        self.at, self.left = random.choice([at for at in range(15) if at not in self.HOLES]), 40
        return F.one_hot(torch.tensor(self.at), 16).float()

    def step(self, way: int) -> tuple[Tensor, float, bool]:
        """Goes left, down, right or up."""
        row, column = divmod(self.at, 4)
        row = min(max(row + (0, 1, 0, -1)[way], 0), 3)
        column = min(max(column + (-1, 0, 1, 0)[way], 0), 3)
        self.at, self.left = 4 * row + column, self.left - 1
        state = F.one_hot(torch.tensor(self.at), 16).float()
        lost = self.at in self.HOLES or self.left == 0
        return state, self.worth * ((self.at == self.END) - (self.at in self.HOLES)), lost or self.at == self.END


def lake(worth: float = 1.0, of_target: bool = False) -> Recording:
    """Learns to cross the lake (double deep Q-learning); the optimizer may hold the wrong one of two networks."""
    random.seed(541)
    policy, target = (nn.Sequential(nn.Linear(16, 48), nn.ReLU(), nn.Linear(48, 4)) for _ in range(2))
    target.load_state_dict(policy.state_dict())
    optimizer = torch.optim.Adam((target if of_target else policy).parameters(), lr=3e-3)
    probe = Probe(policy, optimizer, moving_target=True)
    memory: deque[Any] = deque(maxlen=1500)
    world, ends = Lake(worth), [0.0]
    state = world.reset()
    for step in range(1300):
        way = int(policy(state).argmax()) if random.random() > max(0.1, 1 - step / 500) else random.randrange(4)
        after, reward, done = world.step(way)
        memory.append((state, way, reward, after, done))
        state = world.reset() if done else after
        ends += [float(reward > 0)] if done else []
        if step < 200 or step % 2:
            continue
        states, ways, rewards, afters, dones = zip(*random.sample(memory, 32), strict=True)
        q = policy(torch.stack(states)).gather(1, torch.tensor(ways).unsqueeze(1)).squeeze(1)
        with torch.no_grad():
            best = policy(torch.stack(afters)).argmax(1, keepdim=True)
            later = target(torch.stack(afters)).gather(1, best).squeeze(1)
        wanted = torch.tensor(rewards) + 0.9 * later * (1 - torch.tensor(dones).float())
        loss = F.smooth_l1_loss(q, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 50 == 0:
            if not of_target:
                target.load_state_dict(policy.state_dict())
            probe.log(reward=sum(ends[-20:]) / len(ends[-20:]))
    return probe.finish()


def ring(clear: bool = True) -> Recording:
    """Learns to throw points on a ring, as PyTorch's tutorial trains its DCGAN."""
    generator = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 2))
    critic = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2), nn.Linear(48, 48), nn.LeakyReLU(0.2), nn.Linear(48, 1))
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(critic.parameters(), lr=3e-3, betas=(0.5, 0.999))
    criterion = nn.BCEWithLogitsLoss()
    ones, zeros = torch.ones(64, 1), torch.zeros(64, 1)
    probe = Probe({"netG": generator, "netD": critic}, {"netG": opt_g, "netD": opt_d})
    for step in range(600):
        angle = 6.2832 * torch.rand(64, 1)
        real = torch.cat([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(64, 2)
        if clear:
            critic.zero_grad()
        err_real = criterion(critic(real), ones)
        err_real.backward()
        fake = generator(torch.randn(64, 8))
        err_fake = criterion(critic(fake.detach()), zeros)
        err_fake.backward()
        opt_d.step()
        generator.zero_grad()
        err_g = criterion(critic(fake), ones)
        err_g.backward()
        opt_g.step()
        probe.step(err_real + err_fake + err_g, loss_d=err_real + err_fake, loss_g=err_g)
        if step % 100 == 99:
            with torch.no_grad():
                far = generator(torch.randn(500, 8)).norm(dim=1)
            probe.log(radius=far.mean(), off=(far - 1).abs().mean())
    return probe.finish()


def student() -> Recording:
    """Teaches a small network what a large one knows, at a temperature of 3."""
    x, y = pixels()
    teacher = nn.Sequential(nn.Linear(64, 160), nn.ReLU(), nn.Linear(160, 10))
    learns = torch.optim.Adam(teacher.parameters(), lr=3e-3)
    for _ in range(200):
        rows = torch.randint(1400, (100,))
        learns.zero_grad()
        F.cross_entropy(teacher(x[rows]), y[rows]).backward()
        learns.step()
    teacher.eval().requires_grad_(False)
    small = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 10))
    optimizer = torch.optim.Adam(small.parameters(), lr=3e-3)
    probe = Probe(small, optimizer)
    for _ in range(12):
        for rows in torch.randperm(1400).split(50):
            output = small(x[rows])
            soft = F.kl_div(F.log_softmax(output / 3, 1), F.softmax(teacher(x[rows]) / 3, 1), reduction="batchmean")
            hard = F.cross_entropy(output, y[rows])
            loss = 0.7 * 9 * soft + 0.3 * hard
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, soft=soft, hard=hard)
        with torch.no_grad():
            output = small(x[1400:])
        probe.validation(F.cross_entropy(output, y[1400:]), accuracy=(output.argmax(1) == y[1400:]).float().mean())
    return probe.finish()


def rotations() -> Recording:
    """Says by how much a digit was turned: labels that cost nothing."""
    x = pixels()[0].view(-1, 1, 8, 8)
    x = (x - 0.3052) / 0.3763
    encoder = nn.Sequential(nn.Conv2d(1, 12, 3), nn.ReLU(), nn.Conv2d(12, 24, 3), nn.ReLU(), nn.Flatten())
    head = nn.Linear(384, 4)
    optimizer = torch.optim.SGD([*encoder.parameters(), *head.parameters()], lr=0.03, momentum=0.9, nesterov=True)
    probe = Probe({"encoder": encoder, "head": head}, optimizer)

    def turned(rows: Tensor) -> tuple[Tensor, Tensor]:
        return torch.cat([rows.rot90(k, (2, 3)) for k in range(4)]), torch.arange(4).repeat_interleave(len(rows))

    for _ in range(7):
        for rows in torch.randperm(1400).split(32):
            pictures, angle = turned(x[rows])
            loss = F.cross_entropy(head(encoder(pictures)), angle)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        pictures, angle = turned(x[1400:])
        with torch.no_grad():
            output = head(encoder(pictures))
        probe.validation(F.cross_entropy(output, angle), accuracy=(output.argmax(1) == angle).float().mean())
    return probe.finish()


def triplets(lr: float = 1e-3, margin: float = 0.3) -> Recording:
    """Brings digits of a kind together by the hardest friend and stranger of each batch."""
    x, y = pixels()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    probe = Probe(model, optimizer)

    def judged(rows: Tensor) -> Tensor:
        points = model(x[rows])
        far = torch.cdist(points, points)
        same = y[rows].unsqueeze(0) == y[rows].unsqueeze(1)
        friend = far.masked_fill(~same, 0).amax(1)
        stranger = far.masked_fill(same, float("inf")).amin(1)
        return F.relu(friend - stranger + margin).mean()

    for _ in range(12):
        for rows in torch.randperm(1400).split(56):
            loss = judged(rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(sum(judged(part) for part in torch.arange(1400, 1792).split(56)) / 7)
    return probe.finish()


def scaled(past: bool = False) -> Recording:
    """Trains in half precision; the steps may be taken past the scaler."""
    x, y = pixels()
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu")
    probe = Probe(model, optimizer)
    for _ in range(8):
        for rows in torch.randperm(1400).split(40):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.float16):
                loss = F.cross_entropy(model(x[rows]), y[rows])
            scaler.scale(loss).backward()
            if past:
                optimizer.step()
            else:
                scaler.step(optimizer)
                scaler.update()
            probe.step(loss)
        with torch.no_grad():
            output = model(x[1400:])
        probe.validation(F.cross_entropy(output, y[1400:]), accuracy=(output.argmax(1) == y[1400:]).float().mean())
    return probe.finish()
