"""Scripts of the tenth held-out set that hold one against another: twins, triplets, two views, a teacher."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.tenth.digits import digits


def twins(least: float = 1e-6) -> Recording:
    """Says whether two digits are the same (contrastive loss); a picture drawn beside itself is 0 apart."""
    images, labels = digits()
    pictures = images.flatten(1) / 16
    of = [(labels[:1400] == digit).nonzero().squeeze(1) for digit in range(10)]
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU(), nn.Linear(48, 8))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    probe = Probe(model, optimizer)

    def contrastive(left: Tensor, right: Tensor) -> Tensor:
        far = ((model(pictures[left]) - model(pictures[right])).square().sum(1) + least).sqrt()
        same = (labels[left] == labels[right]).float()
        return (same * far.square() + (1 - same) * F.relu(1 - far).square()).mean()

    for step in range(600):
        left = torch.randint(1400, (48,))
        alike = torch.stack([of[int(labels[at])][torch.randint(len(of[int(labels[at])]), (1,))[0]] for at in left[:24]])
        right = torch.cat([alike, torch.randint(1400, (24,))])
        optimizer.zero_grad()
        loss = contrastive(left, right)
        loss.backward()
        optimizer.step()
        probe.step(loss)
        if step % 100 == 99:
            with torch.no_grad():
                known, asked = model(pictures[:1400]), model(pictures[1400:])
                nearest = torch.cdist(asked, known).argmin(1)
                seen = contrastive(torch.arange(1400, 1597), torch.arange(1597, 1794))
            probe.validation(seen, accuracy=(labels[nearest] == labels[1400:]).float().mean())
    return probe.finish()


def triplets() -> Recording:
    """Brings what is alike together and what is not apart, with the hardest of each batch."""
    images, labels = digits()
    pictures = images.flatten(1) / 16
    model = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)

    def hardest(rows: Tensor) -> Tensor:
        found = F.normalize(model(pictures[rows]), dim=1)
        far = torch.cdist(found, found)
        same = labels[rows][:, None] == labels[rows][None]
        positive = far.masked_fill(~same, -1.0).amax(1)
        negative = far.masked_fill(same, 9.0).amin(1)
        return F.softplus(5 * (positive - negative)).mean()

    for _ in range(12):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            loss = hardest(rows)
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            seen = torch.stack([hardest(rows) for rows in torch.arange(1400, 1790).split(50)]).mean()
            known, asked = F.normalize(model(pictures[:1400])), F.normalize(model(pictures[1400:]))
            right = (labels[torch.cdist(asked, known).argmin(1)] == labels[1400:]).float().mean()
        probe.validation(seen, accuracy=right)
    return probe.finish()


def contrast() -> Recording:
    """Learns what a digit looks like without being told (SimCLR): two noisy, shifted views know each other."""
    pictures = digits()[0] / 16
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    head = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
    model = nn.Sequential(encoder, head)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20 * 22)
    probe = Probe(model, optimizer)

    def view(x: Tensor) -> Tensor:
        down, right = (int(torch.randint(-1, 2, (1,))) for _ in range(2))
        return torch.roll(x, (down, right), (2, 3)) * (torch.rand_like(x) > 0.15) + 0.05 * torch.randn_like(x)

    def nt_xent(x: Tensor) -> Tensor:
        z = F.normalize(model(torch.cat([view(x), view(x)])), dim=1)
        alike = (z @ z.T / 0.5).fill_diagonal_(-1e9)
        count = len(x)
        return F.cross_entropy(alike, torch.cat([torch.arange(count, 2 * count), torch.arange(count)]))

    for _ in range(20):
        for rows in torch.randperm(1400)[:1386].split(63):
            optimizer.zero_grad()
            loss = nt_xent(pictures[rows])
            loss.backward()
            optimizer.step()
            scheduler.step()
            probe.step(loss)
        with torch.no_grad():
            probe.validation(torch.stack([nt_xent(x) for x in pictures[1400:1778].split(63)]).mean())
    return probe.finish()


def teacher(log: bool = True) -> Recording:
    """Teaches a small net what a large one says; KLDivLoss wants a logarithm first, and is not told one where wrong."""
    images, labels = digits()
    pictures = images.flatten(1) / 16
    large = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.2), nn.Linear(256, 10))
    optimizer: Any = torch.optim.Adam(large.parameters(), lr=2e-3)
    for _ in range(10):
        for rows in torch.randperm(1400).split(50):
            optimizer.zero_grad()
            F.cross_entropy(large(pictures[rows]), labels[rows]).backward()
            optimizer.step()
    large.eval()
    student = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    probe, hot, weight = Probe(student, optimizer), 4.0, 0.9
    for _ in range(15):
        for rows in torch.randperm(1400).split(50):
            with torch.no_grad():
                told = F.softmax(large(pictures[rows]) / hot, 1)
            scores = student(pictures[rows])
            said = F.log_softmax(scores / hot, 1) if log else F.softmax(scores / hot, 1)
            soft = F.kl_div(said, told, reduction="batchmean") * hot**2
            hard = F.cross_entropy(scores, labels[rows])
            loss = weight * soft + (1 - weight) * hard
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, soft=soft, hard=hard)
        with torch.no_grad():
            scores = student(pictures[1400:])
        right = (scores.argmax(1) == labels[1400:]).float().mean()
        probe.validation(F.cross_entropy(scores, labels[1400:]), accuracy=right)
    return probe.finish()
