"""What torch.jit.trace and make_fx record of a watched model is the model alone, and nobody is warned of the hook."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

import client_hook
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import taped

HOOK = str(Path(client_hook.__file__).parent)
PLAIN_AT = 130


class Whole(nn.Module):
    """Answers its own loss, of a layer, fused attention and another layer."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(8, 24), nn.Linear(8, 3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        heads = F.scaled_dot_product_attention(*self.into(x).chunk(3, dim=-1))
        return F.cross_entropy(self.out(heads).flatten(0, 1), labels)


def recorded(model: nn.Module) -> tuple[Any, ...]:
    """Traces a model in both ways; gives the operations, and what of the hook was warned about."""
    given = torch.randn(2, 5, 8), torch.randint(0, 3, (10,))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        traced = torch.jit.trace(model, given)
        graphs = [make_fx(model, pre_dispatch=early)(*given).graph for early in (False, True)]
    told_of_hook = [str(item.message) for item in told if item.filename.startswith(HOOK)]
    return (
        [node.kind() for node in traced.inlined_graph.nodes()],
        [str(node) for graph in graphs for node in graph.nodes],
        told_of_hook,
    )


def recordings(*, hooked: bool) -> list[tuple[Any, ...]]:
    """Trains, and traces the model in measured, in heard and in plain steps."""
    torch.manual_seed(0)
    model = Whole()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = taped(model, optimizer, strict=True)[0] if hooked else None
    found = []
    for step in range(PLAIN_AT + 1):
        optimizer.zero_grad()
        loss = model(torch.randn(2, 5, 8), torch.randint(0, 3, (10,)))
        assert step != PLAIN_AT or monitor is None or is_plain(monitor)
        if step in (0, 5, 60, PLAIN_AT):
            found.append(recorded(model))
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
            if step == 110:
                stay_plain(monitor)
    if monitor is not None:
        monitor.finish(timeout=0.1)
    return found


def test_tracers_record_the_model_alone() -> None:
    for with_hook, without in zip(recordings(hooked=True), recordings(hooked=False), strict=True):
        assert with_hook == without
        assert without[2] == []
