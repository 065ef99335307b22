"""Scripts of the twelfth held-out set with transformers: one that writes code, one that sorts, experts, adapters."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.probe import Probe, Recording
from tests.corpus.twelfth.shelf import text


class Attends(nn.Module):
    """Attends with several heads to what came before."""

    def __init__(self, width: int, heads: int, length: int, mask: str) -> None:
        super().__init__()
        self.c_attn, self.c_proj, self.heads = nn.Linear(width, 3 * width), nn.Linear(width, width), heads
        ones = torch.ones(length, length)
        seen = {"causal": ones.tril(), "none": ones, "upside down": ones.triu()}[mask]
        self.register_buffer("seen", seen.bool())

    def forward(self, x: Tensor) -> Tensor:
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2) for part in self.c_attn(x).split(c, dim=2))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(k.size(-1))
        scores = scores.masked_fill(~self.seen[:t, :t], float("-inf"))
        y = F.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(b, t, c))


class Block(nn.Module):
    """Attends, then thinks."""

    def __init__(self, width: int, heads: int, length: int, mask: str) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attends(width, heads, length, mask)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Says what comes next."""

    def __init__(
        self, kinds: int, length: int, width: int = 48, layers: int = 2, mask: str = "causal", std: float = 0.02
    ):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(kinds, width), nn.Embedding(length, width)
        self.h = nn.ModuleList(Block(width, 4, length, mask) for _ in range(layers))
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, kinds, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, 0.0, std)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.wte(idx) + self.wpe(torch.arange(idx.size(1)))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        if targets is None:
            return logits, logits
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1), ignore_index=-1)


def groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Lets matrices decay, and nothing else."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def coder(
    steps: int = 300,
    shift: int = 1,
    rate: float = 3e-3,
    decay: float = 0.1,
    order: str = "usual",
    precision: str = "float",
    **model_args: Any,
) -> Recording:
    """Writes Python, sign by sign."""
    signs, kinds = text()
    cut, length = int(0.9 * len(signs)), 32
    model = GPT(kinds, length, **model_args)
    if precision == "bfloat16":
        model.to(torch.bfloat16)
    optimizer = torch.optim.AdamW(groups(model, decay), lr=rate, betas=(0.9, 0.95))
    probe = Probe(model, optimizer, total_steps=steps)

    def batch(data: Tensor, size: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(len(data) - length - 1, (size,)).tolist()
        return torch.stack([data[i : i + length] for i in at]), torch.stack(
            [data[i + shift : i + shift + length] for i in at]
        )

    for step in range(steps):
        share = step / steps
        factor = min((step + 1) / 20, 1.0) * (0.1 + 0.45 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        _, loss = model(*batch(signs[:cut], 12))
        model.zero_grad(set_to_none=True)
        if order == "clipped first":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        if order == "usual":
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                probe.validation(torch.stack([model(*batch(signs[cut:], 32))[1] for _ in range(3)]).mean())
    return probe.finish()


def sorter(steps: int = 240, learns: str = "answers", shared: bool = False) -> Recording:
    """Sorts six figures from 0 to 2: reads them, then writes them in order; only what it writes is judged."""

    def problems(count: int) -> tuple[Tensor, Tensor]:
        given = torch.randint(0, 3, (count, 6))
        whole = torch.cat((given, given.sort(1).values), 1)
        x, y = whole[:, :-1].clone(), whole[:, 1:].clone()
        if learns == "answers":
            y[:, :5] = -1
        return x, y

    model = GPT(3, 11)
    if shared:
        model.lm_head.weight = model.wte.weight
    optimizer = torch.optim.AdamW(groups(model, 0.1), lr=1.5e-3)
    probe = Probe(model, optimizer)
    for step in range(steps):
        _, loss = model(*problems(32))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        probe.step(loss)
        if step % 60 == 59:
            with torch.no_grad():
                x, y = problems(200)
                logits, loss = model(x, y)
            probe.validation(loss, solved=(logits.argmax(2) == y)[:, 5:].all(1).float().mean())
    return probe.finish()


class Experts(nn.Module):
    """Sends each token to the best of its experts."""

    def __init__(self, width: int, count: int = 4) -> None:
        super().__init__()
        self.router = nn.Linear(width, count, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)) for _ in range(count)
        )
        self.balance = torch.zeros(())

    def forward(self, x: Tensor) -> Tensor:
        flat = x.reshape(-1, x.size(-1))
        chances = self.router(flat).softmax(-1)
        best, chosen = chances.topk(1, -1)
        out = torch.zeros_like(flat)
        for at, expert in enumerate(self.experts):
            rows = (chosen == at).any(-1)
            if rows.any():
                out[rows] = expert(flat[rows]) * (best * (chosen == at)).sum(-1)[rows, None]
        shares = F.one_hot(chosen[:, 0], len(self.experts)).float().mean(0)
        self.balance = len(self.experts) * (shares * chances.mean(0)).sum()
        return out.view_as(x)


class Sparse(nn.Module):
    """Reads rows of a digit as eight tokens, attends, and asks its experts."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.read, self.place = nn.Linear(8, width), nn.Parameter(0.02 * torch.randn(8, width))
        self.attn = nn.MultiheadAttention(width, 4, batch_first=True)
        self.norm1, self.norm2, self.moe = nn.LayerNorm(width), nn.LayerNorm(width), Experts(width)
        self.head = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.read(x.squeeze(1)) + self.place
        h = self.norm1(x)
        x = x + self.attn(h, h, h, need_weights=False)[0]
        return self.head((x + self.moe(self.norm2(x))).mean(1))


def sparse(weight: float = 0.02, favour: float = 0.0) -> Recording:
    """Learns digits by experts that are kept equally busy."""
    from tests.corpus.twelfth.shelf import digits, scored

    x, y, vx, vy = digits()
    model = Sparse()
    with torch.no_grad():
        model.moe.router.weight[0] += favour
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    probe = Probe(model, optimizer)
    for _ in range(9):
        for rows in torch.randperm(len(x)).split(45):
            task = F.cross_entropy(model(x[rows]), y[rows])
            balance = model.moe.balance
            loss = task + weight * balance
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            probe.step(loss, task=task, balance=balance)
        with torch.no_grad():
            outputs = model(vx)
        probe.validation(F.cross_entropy(outputs, vy), accuracy=scored(outputs, vy))
    return probe.finish()
