"""Scripts of the twelfth held-out set that begin with what was learnt before: adapters, new heads, teachers."""

from __future__ import annotations

import copy
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import digits, scored


def backbone(drop: float = 0.0) -> nn.Sequential:
    """Makes what is trained first."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 64), nn.ReLU(), nn.Dropout(drop),
    )  # fmt: skip


@cache
def hub() -> dict[str, dict[str, Tensor]]:
    """Gives the weights as they are downloaded: of a backbone and a head that tell ten digits apart."""
    before = torch.get_rng_state()
    torch.manual_seed(1220)
    x, y, _, _ = digits()
    body, head = backbone(), nn.Linear(64, 10)
    optimizer = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(150):
        rows = torch.randint(0, len(x), (64,))
        optimizer.zero_grad()
        F.cross_entropy(head(body(x[rows])), y[rows]).backward()
        optimizer.step()
    torch.set_rng_state(before)
    return {"body": copy.deepcopy(body.state_dict()), "head": copy.deepcopy(head.state_dict())}


class LoRALinear(nn.Module):
    """Adds a product of two thin matrices to a layer that stays as it is."""

    def __init__(self, base: nn.Linear, rank: int = 4, alpha: float = 8.0, zeros: str = "b") -> None:
        super().__init__()
        self.base, self.scale = base, alpha / rank
        self.lora_a = nn.Parameter(torch.zeros(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        if zeros == "b":
            nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + (x @ self.lora_a.T @ self.lora_b.T) * self.scale


def turned(images: Tensor) -> Tensor:
    """Turns pictures by ninety degrees and lets their light fade: the new task."""
    return torch.rot90(images, 1, (2, 3)) * 0.7 + 0.1


def lora(zeros: str = "b", marker: str = "lora_", made: str = "after", head: bool = False) -> Recording:
    """Adapts a classifier of digits to pictures that lie on their side; all but the adapters is frozen."""
    x, y, vx, vy = digits()
    x, vx = turned(x), turned(vx)
    body, top = backbone(), nn.Linear(64, 10)
    body.load_state_dict(hub()["body"])
    top.load_state_dict(hub()["head"])
    model = nn.Sequential(body, top)
    early = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    body[8] = LoRALinear(body[8], rank=8, alpha=16.0, zeros=zeros)
    model[1] = LoRALinear(top, zeros=zeros)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = marker in name or (head and name.startswith("1.base"))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=5e-3, weight_decay=0.0) if made == "after" else early
    probe = Probe(model, optimizer, finetune=True)
    for _ in range(6):
        model.eval()  # the norms keep what they know
        for rows in torch.randperm(len(x)).split(40):
            loss = F.cross_entropy(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            outputs = model(vx)
        probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
    return probe.finish()


def thawed(add: bool = True) -> Recording:
    """Trains a new head for odd and even, then all of it; the body enters the optimizer when it thaws."""
    x, y, vx, vy = digits()
    labels, test = (y % 2).float(), (vy % 2).float()
    body, head = backbone(0.1), nn.Linear(64, 1)
    body.load_state_dict(hub()["body"])
    model = nn.Sequential(body, head)
    body.requires_grad_(False)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.02, momentum=0.9)
    probe = Probe(model, optimizer)
    for epoch in range(8):
        model.train()
        if epoch == 2:
            body.requires_grad_(True)
            if add:
                optimizer.add_param_group({"params": list(body.parameters()), "lr": 0.005})
        if epoch < 2 or not add:
            body.eval()
        for rows in torch.randperm(len(x))[:1400].split(50):
            optimizer.zero_grad()
            loss = F.binary_cross_entropy_with_logits(model(x[rows]).squeeze(1), labels[rows])
            loss.backward()
            optimizer.step()
            probe.step(loss)
        model.eval()
        with torch.no_grad():
            said = model(vx).squeeze(1)
        right = ((said > 0).float() == test).float().mean()
        probe.validation(F.binary_cross_entropy_with_logits(said, test), accuracy=right)
    return probe.finish()


def frozen(prefix: str = "", epochs: int = 7) -> Recording:
    """Trains only a head on features of a downloaded body, which is frozen and stays in its evaluating mode."""
    x, y, vx, vy = digits()
    x, vx = x.flip(3), vx.flip(3)  # in a mirror
    body = backbone()
    body.load_state_dict({prefix + name: value for name, value in hub()["body"].items()}, strict=False)
    for parameter in body.parameters():
        parameter.requires_grad = False
    head = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10))
    model = nn.ModuleDict({"body": body, "head": head})
    optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()), lr=3e-3)
    probe = Probe(model, optimizer)
    body.eval()
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(48):
            loss = F.cross_entropy(head(body(x[rows])), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss)
        with torch.no_grad():
            outputs = head(body(vx))
        probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
    return probe.finish()


class Distiller:
    """Has a student listen to a teacher, and to the labels a little."""

    def __init__(self, temperature: float = 4.0, alpha: float = 0.7, listens: bool = True) -> None:
        self.temperature, self.alpha, self.listens = temperature, alpha, listens
        body, head = backbone(0.5), nn.Linear(64, 10)
        body.load_state_dict(hub()["body"])
        head.load_state_dict(hub()["head"])
        self.teacher = nn.Sequential(body, head).requires_grad_(False)
        self.student = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def losses(self, large: Tensor, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        said = output if self.listens else large
        soft_targets = F.softmax(large / self.temperature, dim=1)
        soft = F.kl_div(F.log_softmax(said / self.temperature, dim=1), soft_targets, reduction="batchmean")
        return soft * self.temperature**2, F.cross_entropy(output, target)

    def fit(self, epochs: int = 9) -> Recording:
        x, y, vx, vy = digits()
        optimizer = torch.optim.RMSprop(self.student.parameters(), lr=2e-3)
        probe = Probe(self.student, optimizer)
        self.teacher.eval()
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).split(36):
                with torch.no_grad():
                    large = self.teacher(x[rows])
                soft, hard = self.losses(large, self.student(x[rows]), y[rows])
                loss = self.alpha * soft + (1 - self.alpha) * hard
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                probe.step(loss, soft=soft, hard=hard)
            with torch.no_grad():
                outputs = self.student(vx)
            probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
        return probe.finish()


def distilled(**slip: Any) -> Recording:
    """Distils a network of convolutions into one of two layers."""
    return Distiller(**slip).fit()
