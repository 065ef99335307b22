"""The hook asks no other rank: one rank may be watched alone, and the others never wait for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from tests.client_hook.capture.loops import batch, classifier
from tests.client_hook.tape import taped


class Collectives(TorchDispatchMode):
    """Counts what is asked of other ranks, within operations on sharded tensors too."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if DTensor in types:
            return NotImplemented
        if "c10d" in operation.namespace:
            self.asked[str(operation)] += 1
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def first_of_two() -> Iterator[None]:
    """Makes this process a rank whose collectives return at once."""
    distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield
    distributed.destroy_process_group()


def asked(*, hooked: bool) -> Counter[str]:
    """Trains a sharded model, and counts what is asked of the other rank."""
    model = classifier()
    fully_shard(model[0])
    fully_shard(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with Collectives() as collectives:
        monitor = taped(model, optimizer, strict=True)[0] if hooked else None
        for step in range(12):
            inputs, labels = batch(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if monitor is not None:
                monitor.step(loss)
        if monitor is not None:
            monitor.finish(timeout=0.1)
    return collectives.asked


@pytest.mark.usefixtures("first_of_two")
def test_a_sharded_model_that_is_watched_asks_the_other_ranks_for_nothing_more() -> None:
    plain = asked(hooked=False)
    assert sum(plain.values()) > 0
    assert asked(hooked=True) == plain
