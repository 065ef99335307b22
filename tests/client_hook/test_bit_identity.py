"""The hook never changes the mathematics: with a seed, the losses are the same bits with and without it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook import watch
from tests.client_hook.tape import taped
from tests.dynamo import compilations, forget

STEPS = 140  # past the hundredth, where the hook changes its ways


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small operations on two threads of a busy machine take a hundred times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, num_layers=2, dropout=0.2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)
        return self.head(states[:, -1])


class Attention(nn.Module):
    """A small GPT with dropout and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(16, 24)
        self.qkv, self.projection, self.norm = nn.Linear(24, 72), nn.Linear(24, 24), nn.LayerNorm(24)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(24, 16, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + self.drop(self.projection(F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=0.1)))
        return self.head(x).mean(1)


def encoder() -> nn.Module:
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.Flatten(), nn.Linear(48, 4))


def series() -> nn.Module:
    return nn.Sequential(nn.Conv1d(6, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 16), nn.Sigmoid(), nn.Linear(16, 4))


def cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(72, 4),
    )  # fmt: skip


def images() -> torch.Tensor:
    return torch.randn(16, 1, 8, 8)


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], torch.Tensor]]] = {
    "mlp": (mlp, images),
    "cnn with batch norm and dropout": (cnn, images),
    "lstm": (Recurrent, lambda: torch.randn(16, 6, 8)),
    "small gpt": (Attention, lambda: torch.randint(0, 16, (16, 10))),
    "encoder": (encoder, lambda: torch.randn(16, 6, 8)),
    "series": (series, lambda: torch.randn(16, 6, 8)),
}


def train(
    make: Callable[[], nn.Module],
    batch: Callable[[], torch.Tensor],
    *,
    hooked: bool,
    compiled: str | None = None,
    validate: bool = True,
) -> list[float]:
    torch.manual_seed(3)
    model = make()
    forward = torch.compile(model, backend=compiled) if compiled else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    monitor = watch(forward, optimizer, url="http://127.0.0.1:9", budget=0.5) if hooked else None
    losses: list[float] = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(batch()), torch.randint(0, 4, (16,)))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if monitor is not None:
            monitor.step(loss, part=loss)
        if validate and step % 10 == 9:
            model.eval()
            with torch.no_grad():
                losses.append(F.cross_entropy(forward(batch()), torch.randint(0, 4, (16,))).item())
            model.train()
            if monitor is not None:
                monitor.validation(losses[-1])
    losses += [float(parameter.detach().double().sum()) for parameter in model.parameters()]
    losses.append(float(torch.rand(())))  # the generator stands where it stood
    if monitor is not None:
        monitor.finish(timeout=0.2)
    return losses


@pytest.mark.parametrize("case", CASES)
def test_h8_losses_are_the_same_bits(case: str) -> None:
    make, batch = CASES[case]
    assert train(make, batch, hooked=True) == train(make, batch, hooked=False)


def test_what_is_counted_counts_a_recompilation() -> None:
    forget()
    compiled = torch.compile(torch.sin, backend="aot_eager", dynamic=False)
    seen = []
    for length in (2, 2, 3):
        compiled(torch.ones(length))
        seen.append(compilations())
    assert seen[1] == seen[0] == {"graphs": 1, "compiled again": 0}
    assert seen[2] == {"graphs": 2, "compiled again": 1}


@pytest.mark.parametrize("case", ["mlp", "small gpt", "encoder", "series"])
def test_a_compiled_model_stays_the_same_and_compiles_as_often(case: str) -> None:
    make, batch = CASES[case]
    results = {}
    for hooked in (True, False):
        forget()
        losses = train(make, batch, hooked=hooked, compiled="aot_eager", validate=False)
        results[hooked] = (losses, compilations(), dict(torch._dynamo.utils.counters["graph_break"]))
    assert results[True] == results[False]


def test_a_model_that_was_compiled_long_before_is_not_compiled_again() -> None:
    forget()
    torch.manual_seed(0)
    model = mlp()
    compiled = torch.compile(model, backend="aot_eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(compiled(images()), torch.randint(0, 4, (16,)))
        loss.backward()
        optimizer.step()
        return loss

    step()
    before = compilations()
    monitor, tape = taped(compiled, optimizer, budget=0.5)
    for _ in range(STEPS):
        monitor.step(step())
    monitor.finish(timeout=0.2)
    step()
    assert compilations() == before, "not even once, when the hooks came"
    assert "grad_norm/1.weight" in tape.names(), "what is no activation is seen as ever"


def test_copies_and_saved_models_carry_no_hook_of_ours(tmp_path) -> None:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, url="http://127.0.0.1:9")
    assert any(module._forward_hooks for module in model.modules()), "step 0 is measured"
    twin = copy.deepcopy(model)
    again = pickle.loads(pickle.dumps(model))
    torch.save(model, tmp_path / "model.pt")
    loaded = torch.load(tmp_path / "model.pt", weights_only=False)
    monitor.finish(timeout=0.2)
    x = images()
    for other in (twin, again, loaded):
        assert torch.equal(other(x), model(x))
        hooks = [hook for module in other.modules() for hook in module._forward_hooks.values()]
        assert all(not type(hook).__module__.startswith("client_hook") for hook in hooks)
