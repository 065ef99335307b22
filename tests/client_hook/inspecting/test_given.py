"""What `monitor.inspect` may be given: batches and models of any kind, or a sentence that says what is wrong."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook import watch
from tests.client_hook.inspecting.kit import Branches, look, same, watched


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= x.mean()
        return self.inner(x)


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (Branches(), {"x": torch.randn(3, 4), "labels": torch.zeros(3)}),
        (Branches(), (torch.randn(3, 4), torch.zeros(3))),
        (Branches(), [torch.randn(3, 4), torch.randn(3, 4), torch.zeros(3)]),
        (InPlace(), torch.randn(4, 2)),
        (nn.LSTM(4, 5, batch_first=False), torch.randn(7, 3, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)),
        (nn.Conv1d(2, 4, 3), torch.randn(2, 2, 9)),
        (nn.Conv3d(2, 4, 3), torch.randn(2, 2, 5, 6, 7)),
        (nn.Bilinear(3, 4, 5), (torch.randn(2, 3), torch.randn(2, 4))),
        (nn.Linear(4, 5, dtype=torch.bfloat16), torch.randn(2, 4, dtype=torch.bfloat16)),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5)), torch.randn(2, 4)),
        (torch.compile(nn.Linear(4, 5), backend="eager"), torch.randn(2, 4)),
    ],
)
def test_any_model_takes_the_batch_as_the_loop_has_it(model: nn.Module, batch: Any) -> None:
    before = copy.deepcopy(batch)
    found = look(model, batch)
    assert found["layers"]
    assert found["saliency"]["map" if "map" in found["saliency"] else "kind"]
    assert same(list(before.values() if isinstance(before, dict) else before),
                list(batch.values() if isinstance(batch, dict) else batch))  # fmt: skip


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (DataLoader(TensorDataset(torch.zeros(4, 2))), r"batch: got a DataLoader; pass one batch of it"),
        ("words", r"batch: found no tensor in str; pass what the model takes, or a batch"),
        (
            torch.randn(4, 3),
            r"batch: the model failed on it \(RuntimeError: .*\)\. It got input 4×3 \(float32\); pass inputs",
        ),
    ],
)
def test_a_batch_that_cannot_be_used_is_told_in_a_sentence(batch: Any, sentence: str) -> None:
    model = nn.Linear(2, 2)
    monitor, _ = watched(model)
    with pytest.raises(ValueError, match=sentence):
        monitor.inspect(batch)
    monitor.finish()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    quiet = watch(model, optimizer, url="http://127.0.0.1:9", strict=False)
    assert quiet.inspect(batch) is None
    assert any("inspect" in note for note in quiet.ledger["notes"])
    quiet.finish(timeout=0)


def test_a_model_that_cannot_be_copied_is_told() -> None:
    model = nn.Linear(2, 2)
    model.lock = threading.Lock()
    monitor, _ = watched(model)
    with pytest.raises(ValueError, match=r"model: it cannot be copied \(TypeError: "):
        monitor.inspect(torch.randn(1, 2))
    monitor.finish()
    model = nn.Sequential(nn.LazyLinear(2))
    monitor = watch(model, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1), url="http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"model: `0.weight` has no shape yet; inspect it after the first batch"):
        monitor.inspect(torch.randn(1, 2))
    monitor.finish(timeout=0)


def test_of_several_models_one_is_named() -> None:
    models: dict[str, nn.Module] = {"generator": nn.Linear(2, 3), "critic": nn.Linear(3, 1)}
    monitor, tape = watched(models)
    monitor.inspect(torch.randn(4, 2))
    monitor.inspect(torch.randn(4, 3), model="critic", step=7)
    with pytest.raises(ValueError, match="model: got 'c'; the watched models are 'generator', 'critic'"):
        monitor.inspect(torch.randn(4, 3), model="c")
    monitor.finish()
    told = [(step, value["model"], value["layers"][0]["name"]) for step, value in tape.events("inspection")]
    assert told == [(-1, "generator", "generator"), (7, "critic", "critic")]


def test_inputs_have_the_names_that_the_model_gives_them() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(9, 4), nn.LayerNorm(4)

        def forward(self, ids: torch.Tensor, extra: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.norm(self.table(ids) + extra["shift"])

    given = (torch.zeros(2, 3, dtype=torch.long), {"shift": torch.randn(2, 3, 4)})
    for batch in (given, {"ids": given[0], "extra": given[1]}, (*given, torch.zeros(2))):
        found = look(Two(), batch)
        assert [item["name"] for item in found["inputs"]] == ["ids", "extra.shift"]
        assert found["saliency"]["unused"] == []


def test_a_decoder_that_is_fed_with_its_targets_gets_them() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            if labels is None:
                raise ValueError("nothing to decode")
            logits = self.head(self.table(labels) + self.table(ids).mean(1, keepdim=True))
            return {"loss": F.cross_entropy(logits.transpose(1, 2), labels), "logits": logits}

    found = look(Decoder(), {"ids": torch.arange(8).reshape(2, 4), "labels": torch.ones(2, 3, dtype=torch.long)})
    assert found["output"]["shape"] == [2, 3, 9]
    assert [item["name"] for item in found["inputs"]] == ["ids", "labels"]


@pytest.mark.parametrize(
    "batch",
    [torch.eye(3).to_sparse(), torch.ones(2, 3).to(torch.float8_e4m3fn), torch.ones(2, 3, dtype=torch.complex64)],
    ids=["sparse", "float8", "complex"],
)
def test_odd_batches_are_shown_or_told_in_a_sentence(batch: torch.Tensor) -> None:
    class Any3(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(
                x.to_dense().abs().float() if x.layout is torch.sparse_coo or x.is_complex() else x.float()
            )

    model = Any3()
    monitor, _ = watched(model)
    try:
        monitor.inspect(batch)
    except ValueError as error:
        assert str(error).startswith("batch: ")  # noqa: PT017
    monitor.finish()
