"""Distributed training over NCCL with one GPU: the wrappers are a cluster's, the values those of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from tests.client_hook.tape import Tape, taped

pytestmark = [pytest.mark.cuda, pytest.mark.filterwarnings("ignore")]  # torch warns of a group of one process
STEPS = 130


@pytest.fixture
def group() -> Iterator[None]:
    device = torch.device("cuda:0")
    distributed.init_process_group("nccl", store=distributed.HashStore(), rank=0, world_size=1, device_id=device)
    yield
    distributed.destroy_process_group()


def _sharded(model: nn.Module) -> nn.Module:
    for module in model.children():
        if isinstance(module, nn.Linear):
            fully_shard(module)
    fully_shard(model)
    return model


def _train(wrap: Callable[[nn.Module], nn.Module] | None, *, hook: bool = True) -> tuple[Tape | None, list[float]]:
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)).cuda()
    if wrap is not None:
        model = wrap(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    monitor, tape = taped(model, optimizer, strict=True) if hook else (None, None)
    x, y = torch.randn(64, 16, device="cuda"), torch.randint(0, 4, (64,), device="cuda")
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
        found.append(loss.detach().clone())
    if monitor is not None:
        monitor.finish(timeout=0.2)
    return tape, torch.stack(found).tolist()


@pytest.mark.parametrize("wrap", [DistributedDataParallel, _sharded], ids=["ddp", "fully_shard"])
def test_wrapped_models_are_measured_as_the_bare_one(group: None, wrap: Callable[[nn.Module], nn.Module]) -> None:
    bare, _ = _train(None)
    tape, losses = _train(wrap)
    assert losses == _train(wrap, hook=False)[1], "bit-identical with and without the hook"
    assert tape is not None
    assert bare is not None
    assert tape.series("loss") == dict(enumerate(losses))
    for name in ("grad_norm", "grad_norm/0.weight", "act/std/0", "update_ratio/2.weight", "clip/before"):
        ours, theirs = tape.series(name), bare.series(name)
        assert set(range(20)) <= ours.keys(), name
        assert ours[5] == pytest.approx(theirs[5], rel=1e-3), name
