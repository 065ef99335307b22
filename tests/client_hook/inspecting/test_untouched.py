"""`monitor.inspect` leaves model, training, other threads and other processes as they were, bit for bit."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from client_hook import watch
from client_hook.inspecting import inspection
from client_hook.patches import capture, patches
from tests.client_hook.inspecting.kit import layer, look, pictures, same, state_of, watched
from tests.client_hook.plainly import stay_plain
from tests.client_hook.tape import taped


def test_the_model_and_every_random_generator_stay_as_they_were() -> None:
    model = pictures()
    batch = torch.randn(6, 3, 9, 9)
    model(batch).sum().backward()
    monitor, tape = watched(model)
    before = state_of(model)
    given = batch.clone()
    monitor.inspect((batch, torch.zeros(6)))
    assert same(state_of(model), before)
    assert torch.equal(batch, given)
    assert not batch.requires_grad
    monitor.finish()
    assert len(tape.events("inspection")) == 1


class OwnLoss(nn.Module):
    """Computes its loss in its forward, draws, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop = nn.Linear(6, 6), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return F.mse_loss(self.inner(self.drop(x) + torch.randn_like(x)), x)


def test_a_training_that_is_inspected_records_the_same_as_one_that_is_not() -> None:
    def train(*, inspects: bool) -> tuple[list[float], list[Any], list[Any]]:
        torch.manual_seed(3)
        model = OwnLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor, tape = taped(model, optimizer)
        losses = []
        for step in range(140):
            if step == 20:
                stay_plain(monitor)  # which steps are measured later hangs on how busy the machine is
            optimizer.zero_grad()
            loss = model(torch.randn(8, 6))
            if inspects and step in (1, 50, 130):
                monitor.inspect(torch.randn(8, 6, generator=torch.Generator().manual_seed(step)))
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            losses.append(loss.item())
        assert model.calls == 140
        monitor.finish()
        assert len(tape.events("inspection")) == 3 * inspects
        told = [
            item for item in tape.records if item[:2] in {("fact", name) for name in ("loss_call", "graph", "outputs")}
        ]
        return losses, told, sorted(tape.names())

    assert train(inspects=True) == train(inspects=False)


class Norm(nn.Module):
    """Writes to its own weight in its forward, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(10, 4, max_norm=0.5), nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.inner.weight.div_(2.0)
            ids += 1
        return self.inner(self.table(ids))


def test_what_a_forward_writes_to_weights_or_ids_stays_with_the_copy() -> None:
    model, ids = Norm(), torch.tensor([[1, 2], [3, 4]])
    before = state_of(model)
    look(model, ids)
    assert same(state_of(model), before)
    assert ids.tolist() == [[1, 2], [3, 4]]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_hooks_of_the_user_are_not_called_and_those_that_make_weights_are() -> None:
    called: list[str] = []
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.ReLU())
    with torch.no_grad():
        model[0].weight_g.mul_(3.0)
    model[1].register_forward_hook(lambda *_: called.append("forward"))
    model.register_forward_pre_hook(lambda *_: called.append("before"))
    model[1].register_full_backward_hook(lambda *_: called.append("backward"))
    batch = torch.randn(4, 3)
    found = look(model, batch)
    assert called == []
    assert layer(found, "0")["absmax"] == pytest.approx(float(model[0](batch).detach().abs().max()), rel=1e-6)


def test_what_belongs_to_the_training_is_not_copied() -> None:
    class Data(TensorDataset):
        def __deepcopy__(self, memo: Any) -> Any:
            raise AssertionError("the data were copied")

    model = nn.Linear(2, 2)
    model.data = Data(torch.zeros(3, 2))
    model.optimizer = torch.optim.Adam(model.parameters())
    assert look(model, torch.randn(1, 2))["layers"]


def test_two_threads_may_inspect_and_everybody_is_heard_again() -> None:
    class Slow(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            proceed.wait(30)
            return super().forward(x)

    inside, proceed = threading.Event(), threading.Event()
    models = [Slow(2, 2), Slow(2, 2)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    monitors = [taped(*pair)[0] for pair in zip(models, optimizers, strict=True)]
    threads = [threading.Thread(target=monitor.inspect, args=(torch.ones(1, 2),)) for monitor in monitors]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    proceed.set()
    for thread in threads:
        thread.join(30)
    assert not patches.hushed
    for monitor in monitors:
        monitor.finish()


def test_compiled_parts_run_as_they_are_written() -> None:
    graphs = 0

    def counts(graph: Any, _: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    model = nn.Sequential(torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend=counts))
    batch = torch.randn(3, 4)
    model(batch)
    before = graphs
    found = look(model, batch)
    assert [item["type"] for item in found["layers"]] == ["Linear", "ReLU"]
    assert graphs == before
    model(batch)
    assert graphs == before


def test_any_choice_of_precision_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "fp32_precision", "ieee")
    assert look(nn.LSTM(2, 3, batch_first=True), torch.randn(2, 4, 2))["layers"]
    assert torch.backends.cudnn.enabled


def test_while_a_graph_is_captured_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, _ = watched(model := nn.Linear(2, 2))
    monkeypatch.setattr(capture, "graph", object())
    with pytest.raises(ValueError, match="a CUDA graph is being captured"):
        inspection(monitor._parts.context, torch.ones(1, 2))
    monkeypatch.undo()
    monitor.finish()
    assert model is not None


def test_a_model_that_waits_for_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            dist.all_reduce(y.detach())
            return y

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        monitor, _ = watched(model := Shared())
        with monkeypatch.context() as several:
            several.setattr(dist, "get_world_size", lambda *_: 2)
            with pytest.raises(ValueError, match="model: it calls allreduce_, for which other processes must wait"):
                inspection(monitor._parts.context, torch.ones(1, 2))
        assert model(torch.ones(1, 2)).shape == (1, 2)
        monitor.finish()
    finally:
        dist.destroy_process_group()


def test_sharded_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    monitor, _ = watched(model)
    monkeypatch.setattr(type(model), "_get_fsdp_state", lambda _: None, raising=False)
    with pytest.raises(ValueError, match="its weights are sharded over processes"):
        inspection(monitor._parts.context, torch.randn(1, 2))
    monitor.finish()


def test_nothing_is_done_after_the_end_or_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise AssertionError

    model = nn.Linear(2, 2)
    monitor, tape = watched(model)
    monitor.finish()
    monkeypatch.setattr("client_hook.inspecting.inspection", fails)
    monitor.inspect(torch.randn(1, 2))
    assert not tape.events("inspection")
    monkeypatch.setenv("GRADWATCH_DISABLED", "1")
    watch(model, torch.optim.SGD(model.parameters(), lr=0.1)).inspect(torch.randn(1, 2))


def test_validation_code_may_call_it() -> None:
    model = nn.Linear(2, 3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert look(model, torch.randn(4, 2))["saliency"]["shares"]


def test_ids_that_were_made_in_inference_mode_are_fine() -> None:
    with torch.inference_mode():
        ids = torch.tensor([[1, 2], [3, 4]])
        found = look(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)), ids)
    assert found["saliency"]["kind"] == "tokens"
