"""Wrappers are invisible to what reads or traces programs: torch.compile, scripting, tracing, export, functorch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook.patches.hub import Patches
from tests.client_hook.tape import taped

Call = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
HALF = torch.full((4, 3), 0.5)
LOSSES: dict[str, tuple[nn.Module, torch.Tensor, torch.Tensor]] = {
    "cross_entropy": (nn.CrossEntropyLoss(), torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])),
    "nll_loss": (nn.NLLLoss(), torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])),
    "binary_cross_entropy": (nn.BCELoss(), HALF, HALF),
    "binary_cross_entropy_with_logits": (nn.BCEWithLogitsLoss(), HALF, HALF),
    "mse_loss": (nn.MSELoss(), torch.zeros(4, 3), HALF),
    "l1_loss": (nn.L1Loss(), torch.zeros(4, 3), HALF),
    "smooth_l1_loss": (nn.SmoothL1Loss(), torch.zeros(4, 3), HALF),
    "huber_loss": (nn.HuberLoss(), torch.zeros(4, 3), HALF),
    "kl_div": (nn.KLDivLoss(reduction="batchmean"), HALF.log(), HALF),
    "poisson_nll_loss": (nn.PoissonNLLLoss(), torch.zeros(4, 3), HALF),
    "soft_margin_loss": (nn.SoftMarginLoss(), torch.zeros(4, 3), torch.ones(4, 3)),
}


class Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def loss_call(self, function, args, kwargs, result) -> None:
        self.calls.append(function)

    def backward(self, root) -> None:
        self.calls.append("backward")

    def zero_grad(self, optimizer) -> None:
        self.calls.append("zero_grad")

    def clip(self, kind, parameters, limit, norm, norm_type) -> None:
        self.calls.append("clip")


@pytest.fixture
def ear() -> Iterator[Ear]:
    hub, ear = Patches(), Ear()
    hub.subscribe(ear)
    yield ear
    hub.unsubscribe(ear)


@pytest.mark.parametrize("name", LOSSES)
def test_each_loss_is_heard_and_still_scripts(name: str, ear: Ear) -> None:
    loss, first, second = LOSSES[name]
    expected = loss(first, second)
    assert ear.calls == [name]
    with pytest.warns(DeprecationWarning, match="script"):
        scripted = torch.jit.script(loss)
    assert torch.equal(scripted(first, second), expected)
    assert ear.calls == [name], "a script calls the operator itself"


def whole_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Callable[..., torch.Tensor]:
    def forward_and_loss(inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(inputs), labels) + F.mse_loss(inputs, torch.zeros_like(inputs))

    return forward_and_loss


def compiled_run(*, listening: bool, backend: str) -> tuple[list[float], int, dict[str, int]]:
    """Compiles forward and loss as one graph, and trains a few steps."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled = torch.compile(whole_step(model, optimizer), backend=backend, fullgraph=True)
    hub, ear = Patches(), Ear()
    if listening:
        hub.subscribe(ear)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = compiled(torch.randn(4, 4), torch.tensor([0, 1, 2, 0]))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    hub.unsubscribe(ear)
    return (
        losses,
        torch._dynamo.utils.counters["stats"]["unique_graphs"],
        dict(torch._dynamo.utils.counters["graph_break"]),
    )


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_loss_is_one_graph_with_and_without_listeners(backend: str) -> None:
    heard = compiled_run(listening=True, backend=backend)
    assert heard == compiled_run(listening=False, backend=backend)
    assert heard[1:] == (1, {})


def test_a_compiled_function_clears_and_clips_as_ever(ear: Ear) -> None:
    torch._dynamo.reset()
    model = nn.Linear(4, 3)
    model(torch.randn(2, 4)).sum().backward()
    before = [item.grad.clone() for item in model.parameters()]

    @torch.compile(backend="eager")
    def clip() -> torch.Tensor:
        return nn.utils.clip_grad_norm_(model.parameters(), 0.5)

    norm = clip()
    for item, old in zip(model.parameters(), before, strict=True):
        assert torch.allclose(item.grad, old * (0.5 / (norm + 1e-6)))


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_tracers_see_what_they_saw(ear: Ear) -> None:
    inputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    plain = F.cross_entropy(inputs, labels)
    assert torch.equal(torch.jit.trace(lambda a, b: F.cross_entropy(a, b), (inputs, labels))(inputs, labels), plain)
    traced = torch.fx.symbolic_trace(nn.CrossEntropyLoss())
    assert torch.equal(traced(inputs, labels), plain)
    exported = torch.export.export(nn.CrossEntropyLoss(), (inputs, labels))
    assert any("cross_entropy_loss" in str(node.target) for node in exported.graph.nodes)


def test_functional_transforms_go_on(ear: Ear) -> None:
    inputs, labels = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    gradient = torch.func.grad(lambda a: F.cross_entropy(a, labels))(inputs)
    assert torch.allclose(gradient, (inputs.softmax(1) - F.one_hot(labels, 3)) / 4, atol=1e-6)
    each = torch.func.vmap(lambda a, b: F.cross_entropy(a[None], b[None]))(inputs, labels)
    assert torch.allclose(each, F.cross_entropy(inputs, labels, reduction="none"))


@pytest.mark.filterwarnings("ignore")  # Dynamo meets old parts of torch on its way
def test_a_step_inside_a_compiled_function_has_the_rates_of_its_schedule() -> None:
    torch._dynamo.reset()
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    monitor, tape = taped(model, optimizer)

    update = torch.compile(optimizer.step, backend="eager")
    rates = []
    for _ in range(9):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 4)).square().mean()
        loss.backward()
        rates.append(optimizer.param_groups[0]["lr"])
        update()
        scheduler.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert tape.series("lr/0") == dict(enumerate(rates))


def test_a_watched_model_and_a_copy_of_it_script() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    heard = [item for module in model.modules() for item in module._forward_hooks.values()]
    assert heard
    for one in (model, copy.deepcopy(model)):
        with pytest.warns(DeprecationWarning, match="script"):
            scripted = torch.jit.script(one)
        assert torch.equal(scripted(torch.ones(2, 4)), one(torch.ones(2, 4)))
    assert [item for module in model.modules() for item in module._forward_hooks.values()] == heard
    loss = model(torch.ones(2, 4)).sum()
    loss.backward()
    optimizer.step()
    monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert "act/std/0" in tape.names()
