"""The networks of the corpus: small ones of every usual kind."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def mlp(inputs: int, outputs: int, width: int = 64, depth: int = 2, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    """Fully connected layers with an activation between them."""
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), act()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


def he(model: nn.Module) -> nn.Module:
    """Initialises the linear layers for ReLU, the last one small."""
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    for layer in linear:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)
    nn.init.normal_(linear[-1].weight, std=0.05)
    return model


def cnn(
    channels: int = 12, classes: int = 10, size: int = 8, norm: bool = False, dropout: float = 0.0
) -> nn.Sequential:
    """Two convolutions, with batch norm if asked for."""
    layers: list[nn.Module] = [nn.Conv2d(1, channels, 3, padding=1, bias=not norm)]
    layers += [nn.BatchNorm2d(channels)] if norm else []
    layers += [nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=not norm)]
    layers += [nn.BatchNorm2d(2 * channels)] if norm else []
    layers += [nn.ReLU(), nn.Flatten()]
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(2 * channels * (size // 2) ** 2, classes))


class Residual(nn.Module):
    """A block of a residual network; its last norm may start at zero."""

    def __init__(self, width: int, zero: bool) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.norm2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        if zero:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.relu(self.norm1(self.first(x)))
        return F.relu(x + self.norm2(self.second(hidden)))


class ResNet(nn.Module):
    """A stem, three blocks and a head."""

    def __init__(self, width: int = 12, classes: int = 10, zero: bool = True) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(*(Residual(width, zero) for _ in range(3)))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, kind: type[nn.Module] = nn.LSTM, inputs: int = 1, width: int = 24, outputs: int = 2) -> None:
        super().__init__()
        self.cells, self.head = kind(inputs, width, batch_first=True), nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Reader(nn.Module):
    """Reads letters one after the other, and answers from the best of all its notes, or from the last one alone."""

    def __init__(self, kind: type[nn.Module] = nn.GRU, letters: int = 8, outputs: int = 4, last: bool = False) -> None:
        super().__init__()
        self.embedding, self.cells = nn.Embedding(letters, 16), kind(16, 32, batch_first=True)
        self.head, self.last = nn.Linear(32, outputs), last

    def forward(self, x: Tensor) -> Tensor:
        notes = self.cells(self.embedding(x))[0]
        return self.head(notes[:, -1] if self.last else notes.amax(1))


class DropsByFunction(nn.Module):
    """Calls dropout as a function, and tells it the mode or forgets that."""

    def __init__(self, inputs: int, outputs: int, rate: float = 0.3, told: bool = True) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(inputs, 96), nn.Linear(96, outputs)
        self.rate, self.told = rate, told

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.first(x))
        hidden = F.dropout(hidden, self.rate, self.training) if self.told else F.dropout(hidden, self.rate)
        return self.head(hidden)


class Mixture(nn.Module):
    """A block of eight experts, of which a router chooses one for each row; `bias` favours the first from the start."""

    def __init__(self, inputs: int, outputs: int, width: int = 32, bias: float = 0.0) -> None:
        super().__init__()
        self.put, self.norm, self.router = nn.Linear(inputs, width), nn.LayerNorm(width), nn.Linear(width, 8)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(8)
        )
        self.last, self.head = nn.LayerNorm(width), nn.Linear(width, outputs)
        self.balance = torch.zeros(())
        with torch.no_grad():
            self.router.bias[0] += bias

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.put(x)
        seen = self.norm(hidden)
        chances = self.router(seen).softmax(1)
        chosen = chances.argmax(1)
        self.balance = 8 * (F.one_hot(chosen, 8).float().mean(0) * chances.mean(0)).sum()
        for number, expert in enumerate(self.experts):
            rows = (chosen == number).nonzero().squeeze(1)
            if len(rows):
                hidden = hidden.index_add(0, rows, expert(seen[rows]) * chances[rows, number].unsqueeze(1))
        return self.head(self.last(hidden))


class Block(nn.Module):
    """Attention and a small network, each on a normalised input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.net = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        seen = self.norm1(x)
        x = x + self.attention(seen, seen, seen, attn_mask=mask, need_weights=False)[0]
        return x + self.net(self.norm2(x))


class Gpt(nn.Module):
    """A small language model; `causal` says whether it may only look back."""

    def __init__(self, letters: int, width: int = 32, depth: int = 2, length: int = 32, dropout: float = 0.0) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(letters, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, 2, dropout) for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, letters, bias=False)
        self.causal = True
        for layer in self.modules():
            if isinstance(layer, nn.Linear | nn.Embedding):
                nn.init.normal_(layer.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        length = x.shape[1]
        mask = torch.full((length, length), float("-inf")).triu(1) if self.causal else None
        hidden = self.tokens(x) + self.places(torch.arange(length))
        for block in self.blocks:
            hidden = block(hidden, mask)
        return self.head(self.norm(hidden)).transpose(1, 2)


class Vae(nn.Module):
    """Encodes pictures of 64 pixels into 4 numbers with a spread, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
        self.decoder = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, 1)
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(code), mean, log_variance


class TwoHeads(nn.Module):
    """One trunk, a class and a number."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(inputs, 48), nn.ReLU())
        self.classes, self.number = nn.Linear(48, classes), nn.Linear(48, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.trunk(x)
        return self.classes(hidden), self.number(hidden)


class Lora(nn.Module):
    """A frozen layer with a trainable correction of low rank, whose second factor starts at zero."""

    def __init__(self, layer: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = layer.requires_grad_(False)
        self.lora_a = nn.Linear(layer.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + self.lora_b(self.lora_a(x))


class Wrapped(nn.Module):
    """Puts a function behind a model."""

    def __init__(self, model: nn.Module, after: object) -> None:
        super().__init__()
        self.model, self.after = model, after

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.model(x))  # type: ignore[operator]


class Chain(nn.Module):
    """Explains a part of its input in each block and hands on the rest (N-BEATS, Oreshkin et al. 2019); the last block
    has nobody to hand it to."""

    def __init__(self, *, left_over: bool = True, blocks: int = 4) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.ModuleDict({"body": nn.Linear(20, 64), "answer": nn.Linear(64, 5), "explained": nn.Linear(64, 20)})
            for _ in range(blocks)
        )
        if not left_over:
            del self.blocks[-1]["explained"]

    def forward(self, x: Tensor) -> Tensor:
        answer = torch.zeros(len(x), 5)
        for block in self.blocks:
            hidden = torch.relu(block["body"](x))
            answer = answer + block["answer"](hidden)
            if "explained" in block:
                x = x - block["explained"](hidden)
        return answer


class Shares(nn.Module):
    """Divides hidden units by their mean, so that they are shares; an example without a signal has a mean of 0."""

    def __init__(self, eps: float = 1e-3) -> None:
        super().__init__()
        self.trunk, self.hidden, self.head = nn.Linear(20, 64, bias=False), nn.Linear(64, 64), nn.Linear(64, 5)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.trunk(x))
        hidden = hidden / (hidden.mean(1, keepdim=True) + self.eps)
        return self.head(torch.relu(self.hidden(hidden)))
