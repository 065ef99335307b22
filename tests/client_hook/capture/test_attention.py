"""Scores of fused attention against plain torch; which calls count; and that the wrapper goes."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook.capture.attention import AttentionSignal
from tests.client_hook.tape import recorder_of


class Attends(nn.Module):
    """Fused attention over a sequence, with what the call was given kept."""

    def __init__(self, **how: object) -> None:
        super().__init__()
        self.put = nn.Linear(8, 24)
        self.how = how
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.put(x).reshape(*x.shape[:2], 3, 2, 4).permute(2, 0, 3, 1, 4)
        self.seen.append((query.detach()[0, 0], key.detach()[0, 0]))
        return F.scaled_dot_product_attention(query, key, value, **self.how)


def run(model: nn.Module, *inputs: torch.Tensor):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, AttentionSignal)
    for item in inputs:
        model(item).sum().backward()
    with torch.no_grad():
        model(inputs[0])
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    return tape


def expected(model: Attends, scale: float, seen: torch.Tensor) -> tuple[float, float]:
    """Computes both in the plain way, from the first call."""
    query, key = model.seen[0]
    scores = (query @ key.T * scale).masked_fill(~seen, -math.inf)
    weights = scores.softmax(1)
    entropy = [
        -sum(float(p) * math.log(p) for p in row if p > 0) / math.log(max(int(s.sum()), 2))
        for row, s in zip(weights, seen, strict=True)
    ]
    return float(scores[seen].abs().max()), sum(entropy) / len(entropy)


@pytest.mark.parametrize("how", [{}, {"is_causal": True}, {"scale": 3.0}], ids=["plain", "causal", "scaled"])
def test_the_first_head_of_the_first_example_is_measured(how: dict) -> None:
    torch.manual_seed(0)
    model = Attends(**how)
    tape = run(model, 3 * torch.randn(5, 12, 8))
    seen = torch.ones(12, 12, dtype=torch.bool)
    score, entropy = expected(model, how.get("scale", 0.5), seen.tril() if "is_causal" in how else seen)
    assert tape.series("act/scores/0")[0] == pytest.approx(score, rel=1e-5)
    assert tape.series("act/attention_entropy/0")[0] == pytest.approx(entropy, rel=1e-4)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
def test_what_a_mask_hides_does_not_count(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    seen = torch.ones(12, 12, dtype=torch.bool).tril(3)
    mask = seen if kind is torch.bool else torch.zeros(12, 12).masked_fill(~seen, -math.inf)
    model = Attends(attn_mask=mask)
    tape = run(model, 3 * torch.randn(5, 12, 8))
    score, entropy = expected(model, 0.5, seen)
    assert tape.series("act/scores/0")[0] == pytest.approx(score, rel=1e-5)
    assert tape.series("act/attention_entropy/0")[0] == pytest.approx(entropy, rel=1e-4)


def test_calls_are_numbered_and_those_behind_the_backward_do_not_count() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    )
    tape = run(model, torch.randn(4, 6, 8), torch.randn(4, 6, 8))
    assert {name for name in tape.names() if name.startswith("act/scores/")} == {"act/scores/0", "act/scores/1"}


def test_the_result_is_the_same_and_the_original_comes_back() -> None:
    torch.manual_seed(0)
    original = F.scaled_dot_product_attention
    model, x = Attends(), torch.randn(5, 12, 8)
    plain = model(x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, _ = recorder_of(model, optimizer, AttentionSignal)
    assert F.scaled_dot_product_attention is not original
    assert torch.equal(model(x), plain)
    recorder.detach()
    assert F.scaled_dot_product_attention is original


def test_the_rows_that_are_looked_at_come_from_everywhere() -> None:
    """The first half of the queries look at themselves alone, the others at all keys alike."""
    torch.manual_seed(0)
    length = 62
    scores = torch.zeros(1, 1, length, length)
    scores[..., : length // 2, :] = torch.eye(length)[: length // 2] * 50
    tape = run(Attends(attn_mask=scores), torch.zeros(1, length, 8))
    assert tape.series("act/attention_entropy/0")[0] == pytest.approx(0.5, abs=0.05)


def test_a_long_sequence_is_looked_at_in_a_few_rows() -> None:
    torch.manual_seed(0)
    tape = run(Attends(is_causal=True), torch.randn(1, 3000, 8))
    assert math.isfinite(tape.series("act/scores/0")[0])
    assert 0 < tape.series("act/attention_entropy/0")[0] <= 1
