"""What attention is allowed to see beside what the loss asks for, in real small models."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.capture.foresight import BATCHES, AttentionMasksSignal
from tests.client_hook.tape import recorder_of

LENGTH, WORDS = 9, 12
CAUSAL = nn.Transformer.generate_square_subsequent_mask(LENGTH)


class Reader(nn.Module):
    """Reads tokens with an attention of the test's choice, and answers for each place."""

    def __init__(self, attend: Callable[[Tensor], Tensor] | nn.Module, first: bool = True) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS)
        self.attend, self.first = attend, first

    def forward(self, x: Tensor, *others: Tensor, labels: Tensor | None = None) -> Tensor:
        answers = self.head(self.attend(self.tokens(x)))
        return answers if labels is None else F.cross_entropy(answers[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def fused(**how: Any) -> Callable[[Tensor], Tensor]:
    return lambda x: F.scaled_dot_product_attention(x.unsqueeze(1), x.unsqueeze(1), x.unsqueeze(1), **how).squeeze(1)


class Multihead(nn.Module):
    """Calls `nn.MultiheadAttention`, which asks for its weights by default and is not fused then."""

    def __init__(self, first: bool = True, **how: Any) -> None:
        super().__init__()
        self.inner, self.how = nn.MultiheadAttention(8, 2, batch_first=first), how

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, x, x, **self.how)[0]


class Layers(nn.Module):
    """Two layers of PyTorch's encoder."""

    def __init__(self, **how: Any) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        self.inner, self.how = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), how

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x, **self.how)


def text(step: int, width: int = LENGTH + 1) -> Tensor:
    return torch.randint(1, WORDS, (6, width), generator=torch.Generator().manual_seed(step))


def following(model: nn.Module, step: int) -> Tensor:
    """Asks for the next token."""
    rows = text(step)
    return F.cross_entropy(model(rows[:, :-1]).transpose(1, 2), rows[:, 1:])


def sights(model: nn.Module, loss_of: Callable[[nn.Module, int], Tensor] = following) -> list[dict]:
    """Trains some steps and gives what was told."""
    torch.manual_seed(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    recorder, tape = recorder_of(model, optimizer, AttentionMasksSignal)
    for step in range(BATCHES + 2):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        loss.backward()
        optimizer.step()
        recorder.step(loss, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert not any(layer._forward_hooks for layer in model.modules())
    return tape.facts("sight")


def is_next(fact: dict) -> bool:
    return fact["next"] == fact["places"] > 0 and fact["telling"] > fact["places"] // 2


@pytest.mark.parametrize(
    ("attend", "calls", "unmasked"),
    [
        (fused(), 4, 4),
        (fused(is_causal=True), 4, 0),
        (fused(attn_mask=CAUSAL), 4, 0),
        (fused(attn_mask=CAUSAL == 0), 4, 0),
        (fused(attn_mask=torch.ones(6, 1, 1, LENGTH, dtype=torch.bool)), 4, 4),
        (Multihead(), 4, 4),
        (Multihead(attn_mask=CAUSAL), 4, 0),
        (Multihead(attn_mask=CAUSAL < 0, is_causal=True), 4, 0),
        (Multihead(attn_mask=CAUSAL, is_causal=True, need_weights=False), 8, 0),
        (Layers(), 16, 16),
        (Layers(mask=CAUSAL, is_causal=True), 16, 0),
        (lambda x: (x @ x.mT).softmax(-1) @ x, 0, 0),
    ],
    ids=[
        "fused",
        "causal",
        "float",
        "bool",
        "padding",
        "heads",
        "heads-mask",
        "heads-causal",
        "heads-fused",
        "layers",
        "layers-causal",
        "own",
    ],
)
def test_it_tells_masked_attention_from_open_one(attend: Any, calls: int, unmasked: int) -> None:
    told = sights(Reader(attend))
    assert len(told) == 2  # after the first batch, and when enough were seen
    assert (told[-1]["batches"], told[-1]["length"]) == (BATCHES, LENGTH)
    assert is_next(told[-1])
    assert (told[-1]["calls"], told[-1]["open"]) == (calls, unmasked)


def flat(model: nn.Module, step: int) -> Tensor:
    rows = text(step)
    rows[:, 5:] = 0
    return F.cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten(), ignore_index=0)


def inside(model: nn.Module, step: int) -> Tensor:
    rows = text(step, LENGTH)
    return model(rows, torch.ones_like(rows), labels=rows)


@pytest.mark.parametrize("loss_of", [flat, inside])
def test_targets_are_found_however_they_are_shaped(loss_of: Callable) -> None:
    told = sights(Reader(fused()), loss_of)[-1]
    assert is_next(told)
    assert told["open"] == told["calls"] == BATCHES
    assert told["places"] == BATCHES * 6 * (4 if loss_of is flat else LENGTH - 1)


def test_time_may_come_first() -> None:
    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = text(step).T
        return F.cross_entropy(model(rows[:-1]).flatten(0, 1), rows[1:].flatten())

    told = sights(Reader(Multihead(first=False)), loss_of)[-1]
    assert is_next(told)
    assert (told["length"], told["calls"], told["open"]) == (LENGTH, BATCHES, BATCHES)


def test_masked_words_are_no_next_tokens() -> None:
    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = text(step, LENGTH)
        hidden = torch.rand(rows.shape) < 0.3
        return F.cross_entropy(model(rows.masked_fill(hidden, 0)).transpose(1, 2), rows.masked_fill(~hidden, -100))

    told = sights(Reader(fused()), loss_of)[-1]
    assert told["open"] == told["calls"] > 0
    assert told["next"] < 0.5 * told["places"]
    assert told["same"] < 0.2 * told["places"], "the mask has a number, too"
    assert told["covered"] == told["places"] - told["same"]

    def of_all(model: nn.Module, step: int) -> Tensor:
        rows = text(step, LENGTH)
        return F.cross_entropy(model(rows.masked_fill(torch.rand(rows.shape) < 0.3, 0)).transpose(1, 2), rows)

    told = sights(Reader(fused()), of_all)[-1]
    assert 0.5 * told["places"] < told["same"] < told["places"] == told["same"] + told["covered"]


def test_a_model_with_another_input_and_one_that_reads_numbers_are_left_alone() -> None:
    def beside(model: nn.Module, step: int) -> Tensor:
        rows = text(step)
        return F.cross_entropy(model(rows[:, :-1], torch.randn(6, 30, 5)).transpose(1, 2), rows[:, 1:])

    assert sights(Reader(fused()), beside) == []
    numbers = nn.Sequential(nn.Linear(8, 8), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True))
    assert sights(numbers, lambda model, step: model(torch.randn(4, 6, 8)).square().mean()) == []


class Translator(nn.Module):
    """PyTorch's encoder and decoder, a layer of each."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(WORDS, 8), nn.Linear(8, WORDS)
        self.inner, self.causal = nn.Transformer(8, 2, 1, 1, 16, 0.0, batch_first=True), causal

    def forward(self, x: Tensor, y: Tensor, labels: Tensor | None = None) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(y.shape[1]) if self.causal else None
        answers = self.head(self.inner(self.tokens(x), self.tokens(y), tgt_mask=mask))
        return answers if labels is None else F.cross_entropy(answers.transpose(1, 2), labels)


@pytest.mark.parametrize("causal", [False, True])
def test_of_a_decoder_beside_an_encoder_its_own_text_is_looked_at(causal: bool) -> None:
    def loss_of(model: nn.Module, step: int, length: int = LENGTH + 5) -> Tensor:
        rows = text(step)
        return F.cross_entropy(model(text(step, length), rows[:, :-1]).transpose(1, 2), rows[:, 1:])

    told = sights(Translator(causal), loss_of)[-1]
    assert is_next(told)
    assert told["length"] == LENGTH, "that of the encoder may be open"
    assert (told["calls"], told["open"]) == (2 * BATCHES, 0 if causal else 2 * BATCHES), "heads, and what they call"

    def as_long(model: nn.Module, step: int) -> Tensor:
        return loss_of(model, step, LENGTH)

    assert not is_next(sights(Translator(causal), as_long)[-1]), (
        "nothing tells the two apart: it is that of the encoder"
    )


@pytest.mark.parametrize("both_ways", [False, True])
def test_a_recurrent_layer_that_reads_backwards_too_is_seen(both_ways: bool) -> None:
    class Spelling(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(WORDS, 8)
            self.cells = nn.GRU(8, 8, batch_first=True, bidirectional=both_ways)
            self.head = nn.Linear(16 if both_ways else 8, WORDS)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(self.tokens(x))[0])

    told = sights(Spelling())[-1]
    assert is_next(told)
    assert told["both_ways"] == (["cells"] if both_ways else [])


def test_labels_that_a_model_is_given_are_no_text_that_it_reads() -> None:
    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = text(step)
        return model(text(step, LENGTH + 5), rows[:, :-1], labels=rows[:, :-1])

    assert sights(Translator(True), loss_of) == []


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("way", ["heads", "fused", "own", "own, to a large number"])
def test_a_mask_that_shows_padding_alone_is_seen(way: str, inverted: bool) -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.heads = nn.Embedding(WORDS, 8), nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            seen, hidden = self.tokens(x), (x != 0) if inverted else (x == 0)
            if way == "heads":
                seen = self.heads(seen, seen, seen, key_padding_mask=hidden)[0]
            elif way.startswith("own"):  # two heads, of which one row has no padding and is shown all or nothing
                scores = torch.stack([seen @ seen.mT, seen @ seen.mT], 1)
                least = -1e9 if "large" in way else float("-inf")
                chances = scores.masked_fill(hidden[:, None, None], least).softmax(-1)
                seen = F.dropout(chances, 0.1).mean(1) @ seen
            else:
                seen = fused(attn_mask=~hidden[:, None, None])(seen)
            return self.head(seen[:, 0])

    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = text(step, LENGTH)
        rows["large" in way :, 6:] = 0
        return F.cross_entropy(model(rows), torch.arange(6) % 3)

    told = sights(Padded(), loss_of)[-1]
    assert told["padded"] == BATCHES
    assert told["only_padding"] == (BATCHES if inverted else 0)
    assert told["next"] == 0


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("kind", [nn.ModuleDict, nn.ModuleList])
def test_a_model_that_is_called_part_by_part_is_seen(kind: type[nn.Module], inverted: bool) -> None:
    parts: list[nn.Module] = [
        nn.Embedding(WORDS, 8),
        nn.Embedding(LENGTH, 8),
        nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True),
        nn.Linear(8, 3),
    ]
    words, places, layer, head = parts

    def loss_of(model: nn.Module, step: int) -> Tensor:
        rows = text(step, LENGTH)
        rows[:, 6:] = 0
        hidden = (rows != 0) if inverted else (rows == 0)
        x = places(torch.arange(LENGTH).expand(6, -1)) + words(rows)
        return F.cross_entropy(head(layer(x, src_key_padding_mask=hidden)[:, 0]), torch.arange(6) % 3)

    model = kind(parts) if kind is nn.ModuleList else kind({str(at): part for at, part in enumerate(parts)})
    told = sights(model, loss_of)[-1]
    assert told["padded"] == BATCHES + 2
    assert told["only_padding"] == (BATCHES + 2 if inverted else 0)
