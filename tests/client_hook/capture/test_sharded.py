"""Sharded and parallel models: what PyTorch puts in a parameter's place for a while, and what it hands from rank to
rank, is known for what it is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Replicate
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.client_hook.capture.loops import classifier, last, train
from tests.client_hook.tape import taped


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Makes this process the only rank."""
    distributed.init_process_group("fake", rank=0, world_size=1, store=FakeStore())
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize("policy", [MixedPrecisionPolicy(), MixedPrecisionPolicy(param_dtype=torch.bfloat16)])
@pytest.mark.parametrize("watchers", [1, 2])
def test_a_gathered_parameter_is_the_one_that_was_sharded(policy: MixedPrecisionPolicy, watchers: int) -> None:
    model = classifier()
    fully_shard(model[0], mp_policy=policy)
    fully_shard(model, mp_policy=policy)
    others = [taped(other, torch.optim.SGD(other.parameters(), 0.1))[0] for other in [nn.Linear(2, 2)] * (watchers - 1)]
    graph = last(train(model=model), "graph")
    for other in others:
        other.finish(timeout=0.1)
    assert (graph["unreached"], graph["unregistered"], graph["backwards"]) == ([], [], 3)
    assert graph["factors"] == ["0.weight", "2.weight"]


class Writer(nn.Module):
    """Guesses the token after each token."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = nn.Embedding(9, 8), nn.Linear(8, 9)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.head(self.table(tokens))


def test_tokens_that_every_rank_has_are_read_as_any_others() -> None:
    torch.manual_seed(0)
    model = Writer()
    plan = {"table": RowwiseParallel(input_layouts=Replicate()), "head": ColwiseParallel(output_layouts=Replicate())}
    parallelize_module(model, init_device_mesh("cpu", (1,)), plan)
    tokens = torch.randint(9, (4, 6))

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())
        loss.backward()
        optimizer.step()
        return loss

    outputs = last(train(body, model=model, optimizer=torch.optim.Adam(model.parameters(), 0.1), steps=40), "outputs")
    assert outputs["model"]["copies"][-1] == 1.0  # it has learned what it was told to
