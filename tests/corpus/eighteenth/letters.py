"""Scripts of the eighteenth held-out set that foretell what is written next, or what was hidden."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.corpus.eighteenth.shelf import optimizer, schedule, spelt, words
from tests.corpus.probe import Probe, Recording


class Attention(nn.Module):
    """Causal attention as in nanoGPT."""

    def __init__(self, width: int, heads: int, drop: float, causal: bool) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.heads, self.drop, self.causal = heads, drop, causal
        self.resid = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2))
        y = F.scaled_dot_product_attention(
            q, k, v, dropout_p=self.drop if self.training else 0.0, is_causal=self.causal
        )
        return self.resid(self.c_proj(y.transpose(1, 2).flatten(2)))


class Layer(nn.Module):
    """Attention and two linear layers, norms first."""

    def __init__(self, width: int, heads: int, drop: float, causal: bool) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, drop, causal)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(drop))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """nanoGPT with its first weights."""

    def __init__(
        self, signs: int, length: int, width: int, depth: int, heads: int, drop: float = 0.0, causal: bool = True,
        tied: bool = True, std: float = 0.02,
    ) -> None:  # fmt: skip
        super().__init__()
        self.wte, self.wpe, self.drop = nn.Embedding(signs, width), nn.Embedding(length, width), nn.Dropout(drop)
        self.h = nn.ModuleList([Layer(width, heads, drop, causal) for _ in range(depth)])
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, signs, bias=False)
        if tied:
            self.wte.weight = self.lm_head.weight
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                small = std / math.sqrt(2 * depth) if name.endswith("c_proj.weight") else std
                nn.init.normal_(weight, 0.0, small)
            elif name.endswith("bias"):
                nn.init.zeros_(weight)

    def forward(self, idx: Tensor) -> Tensor:
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(idx.shape[1])))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


def _decaying(model: nn.Module, rate: float, decay: float, betas: Any) -> torch.optim.Optimizer:
    """AdamW that spares norms and biases."""
    known = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in known if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in known if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas)


def written(
    kind: str = "letters", rate: float = 1e-3, decay: float = 0.1, betas: Any = (0.9, 0.99), batch: int = 16,
    length: int = 64, steps: int = 300, width: int = 96, depth: int = 4, heads: int = 4, drop: float = 0.0,
    plan: str = "warm cosine", warm: int = 30, clip: float | None = 1.0, signs: int = 2000, parts: int = 1,
    causal: bool = True, tied: bool = True, shifted: bool = True, std: float = 0.02, name: str = "adamw",
    clear: bool = True, shared: bool = True, every: int = 60,
) -> Recording:  # fmt: skip
    """nanoGPT on letters, or on words of a large vocabulary; not `shifted` asks for what was read."""
    if kind == "letters":
        text, signs = spelt()
    else:
        text = words(2000, 200, signs).flatten()
    cut = int(0.9 * len(text))
    model = GPT(signs, length, width, depth, heads, drop, causal, tied, std)
    made = _decaying(model, rate, decay, betas) if name == "adamw" else optimizer(name, model.parameters(), rate, decay)
    planned = schedule(plan, made, steps, rate, warm)
    ahead = 1 if shifted else 0

    def drawn(low: int, high: int, many: int) -> tuple[Tensor, Tensor]:
        at = torch.randint(low, high - length - 1, (many,)).tolist()
        x = torch.stack([text[a : a + length] for a in at])
        return x, torch.stack([text[a + ahead : a + ahead + length] for a in at])

    probe = Probe(model, made, total_steps=steps)
    for step in range(steps):
        for part in range(parts):
            x, y = drawn(0, cut, batch)
            logits = model(x)
            loss = F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))
            (loss / parts if shared else loss).backward()
            if part + 1 < parts:
                probe.step(loss)
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        if planned:
            planned.step()
        if clear:
            made.zero_grad(set_to_none=True)
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                x, y = drawn(cut, len(text), 48)
                lost = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
            model.train()
            probe.validation(lost, perplexity=lost.exp())
    return probe.finish()


class Cells(nn.Module):
    """Words, recurrent layers, words, as in PyTorch's example."""

    def __init__(self, signs: int, width: int, layers: int, drop: float, kind: str) -> None:
        super().__init__()
        self.drop, self.encoder = nn.Dropout(drop), nn.Embedding(signs, width)
        self.rnn = getattr(nn, kind)(width, width, layers, dropout=drop if layers > 1 else 0.0)
        self.decoder = nn.Linear(width, signs)
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, x: Tensor, hidden: Any) -> tuple[Tensor, Any]:
        out, hidden = self.rnn(self.drop(self.encoder(x)), hidden)
        return self.decoder(self.drop(out)), hidden


def on_and_on(
    rate: float = 20.0, name: str = "sgd", clip: float | None = 0.25, batch: int = 20, length: int = 35,
    steps: int = 300, width: int = 96, layers: int = 2, drop: float = 0.2, signs: int = 1000, kind: str = "LSTM",
    every: int = 100, quarter: bool = True,
) -> Recording:  # fmt: skip
    """The word-level example: the state goes on, the rate is quartered where validation gets no better."""
    text = words(60, 4000, signs).flatten()
    many = 200_000 // batch
    columns, held = text[: many * batch].view(batch, many).T, text[200_000:220_000].view(10, -1).T
    model = Cells(signs, width, layers, drop, kind)
    made = optimizer(name, model.parameters(), rate, momentum=0.0)
    probe = Probe(model, made)
    hidden, at, best = None, 0, float("inf")
    for step in range(steps):
        if at + length + 1 >= many:
            at, hidden = 0, None
        x, y = columns[at : at + length], columns[at + 1 : at + 1 + length]
        at += length
        hidden = (
            tuple(h.detach() for h in hidden)
            if isinstance(hidden, tuple)
            else None
            if hidden is None
            else hidden.detach()
        )
        made.zero_grad()
        out, hidden = model(x, hidden)
        loss = F.cross_entropy(out.flatten(0, 1), y.flatten())
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        made.step()
        probe.step(loss)
        if step % every == every - 1:
            model.eval()
            with torch.no_grad():
                out, _ = model(held[:200], None)
                lost = float(F.cross_entropy(out.flatten(0, 1), held[1:201].flatten()))
            model.train()
            probe.validation(lost)
            if lost > best and quarter:
                for group in made.param_groups:
                    group["lr"] /= 4
            best = min(best, lost)
    return probe.finish()


class Bert(nn.Module):
    """PyTorch's encoder over words and places."""

    def __init__(self, signs: int, length: int, width: int, depth: int, drop: float) -> None:
        super().__init__()
        self.put, self.place = nn.Embedding(signs, width, padding_idx=0), nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, drop, "gelu", batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self.head = nn.Linear(width, signs)
        nn.init.normal_(self.put.weight, 0.0, 0.02)
        nn.init.normal_(self.place.weight, 0.0, 0.02)

    def forward(self, x: Tensor, padding: Tensor | None) -> Tensor:
        seen = self.put(x) + self.place(torch.arange(x.shape[1]))
        return self.head(self.encoder(seen, src_key_padding_mask=padding))


def hidden_words(
    rate: float = 2e-3, batch: int = 16, length: int = 48, steps: int = 350, width: int = 64, depth: int = 2,
    signs: int = 2000, plan: str = "linear", warm: int = 25, drop: float = 0.1, share: float = 0.15,
    everywhere: bool = False, upside_down: bool = False, shortest: int = 32,
) -> Recording:  # fmt: skip
    """BERT: 15 of 100 words are hidden, changed or kept; `everywhere` asks for all, also those in plain sight."""
    text = words(4000, length, signs, moves=False)
    model = Bert(signs, length, width, depth, drop)
    made = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01)
    planned = schedule(plan, made, steps, rate, warm)
    probe = Probe(model, made, total_steps=steps)

    def drawn(low: int, high: int, many: int) -> tuple[Tensor, Tensor, Tensor]:
        y = text[torch.randint(low, high, (many,))].clone()
        ends = torch.randint(shortest, length + 1, (many, 1))
        y[torch.arange(length) >= ends] = 0
        chosen = (torch.rand(y.shape) < share) & (y > 0)
        how = torch.rand(y.shape)
        x = torch.where(chosen & (how < 0.8), 1, y)
        x = torch.where(chosen & (how > 0.9), torch.randint(4, signs, y.shape), x)
        asked = torch.where((y > 0) if everywhere else chosen, y, -100)
        return x, asked, (y > 0) if upside_down else (y == 0)

    for step in range(steps):
        x, asked, padding = drawn(0, 3600, batch)
        out = model(x, padding)
        loss = F.cross_entropy(out.flatten(0, 1), asked.flatten(), ignore_index=-100)
        made.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        made.step()
        if planned:
            planned.step()
        probe.step(loss)
        if step % 70 == 69:
            model.eval()
            with torch.no_grad():
                x, asked, padding = drawn(3600, 4000, 100)
                out = model(x, padding)
                lost = F.cross_entropy(out.flatten(0, 1), asked.flatten(), ignore_index=-100)
                right = (out.argmax(2) == asked)[asked >= 0].float().mean()
            model.train()
            probe.validation(lost, accuracy=right)
    return probe.finish()
