"""CUDA graphs: the hook is silent while one is captured, and each replay that steps an optimizer is a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.monitor import Monitor
from client_hook.patches import capture
from tests.client_hook.tape import Tape, taped

STEPS = 150


def _training() -> tuple[nn.Sequential, torch.optim.Optimizer, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4)).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, capturable=True)
    return model, optimizer, torch.randn(32, 16, device="cuda"), torch.randint(0, 4, (32,), device="cuda")


def _losses(
    forward: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, monitor: Monitor | None
) -> Tensor:
    """Trains the usual way, and gives the losses without waiting for one."""
    found = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
        found.append(loss.detach().clone())
    if monitor is not None:
        monitor.finish(timeout=0.1)
    return torch.stack(found)


def _whole_step(*, hook: bool, inside: bool = False) -> tuple[Tensor, Monitor | None, Tape | None]:
    """Captures forward, backward and the optimizer's step in one graph, as torch's notes on CUDA graphs show."""
    model, optimizer, x, y = _training()
    monitor, tape = taped(model, optimizer, strict=True) if hook else (None, None)

    def step() -> Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):
        for _ in range(3):
            loss = step()
            if monitor is not None:
                monitor.step(loss)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = step()
        if monitor is not None and inside:
            monitor.step(loss)
    found = []
    for _ in range(STEPS):
        graph.replay()
        if monitor is not None:
            monitor.step(loss)
        found.append(loss.detach().clone())
    if monitor is not None:
        monitor.finish(timeout=0.1)
    return torch.stack(found), monitor, tape


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore:The AccumulateGrad node's stream")  # torch says so of its own example
@pytest.mark.parametrize("inside", [False, True])
def test_a_captured_step_trains_as_without_the_hook_and_each_replay_is_a_step(inside: bool) -> None:
    bare, _, _ = _whole_step(hook=False)
    watched, monitor, tape = _whole_step(hook=True, inside=inside)
    assert torch.equal(bare, watched)
    assert monitor is not None
    assert tape is not None
    values = tape.series("loss")
    assert list(values) == list(range(3 + STEPS))
    assert [values[step] for step in range(3, 3 + STEPS)] == watched.tolist()
    notes = [note for note in monitor.ledger["notes"] if note.startswith("CUDA graph")]
    assert len(notes) == 1 + inside, notes
    assert tape is not None
    names = [name for name in tape.names() if name.startswith(("grad_norm/", "update_ratio/", "weight_norm/"))]
    assert len(names) == 3 * 4
    for name in names:
        measured = tape.series(name)
        assert set(range(3, 20)) <= measured.keys(), name
        assert all(0.0 < measured[step] < 100.0 for step in range(3, 20)), name
    assert len(set(tape.series("grad_norm").values())) > 15, "each replay has gradients of its own"


@pytest.mark.cuda
def test_a_watched_module_can_be_made_graphed() -> None:
    def train(*, hook: bool) -> tuple[Tensor, Tape | None]:
        model, optimizer, x, y = _training()
        monitor, tape = taped(model, optimizer, strict=True) if hook else (None, None)
        assert bool(model[0]._forward_hooks) is hook
        torch.cuda.make_graphed_callables(model[0], (torch.randn_like(x),))
        return _losses(model, optimizer, x, y, monitor), tape

    bare, _ = train(hook=False)
    watched, tape = train(hook=True)
    assert torch.equal(bare, watched)
    assert tape is not None
    assert tape.series("loss") == dict(enumerate(watched.tolist()))
    assert "grad_norm" in tape.names()


@pytest.mark.cuda
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # torch's own, of its compiler
@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_model_trains_as_without_the_hook(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # inductor times versions of a kernel, which sum in another order, and takes the fastest: without the hook, too, the
    # last bit depends on which it took (on an H100, by the block size of one sum, three results in twelve processes)
    exact = hasattr(torch._inductor.config, "deterministic")
    if exact:
        monkeypatch.setattr(torch._inductor.config, "deterministic", True)

    def train(*, hook: bool) -> tuple[Tensor, Tape | None]:
        torch._dynamo.reset()
        model, optimizer, x, y = _training()
        compiled = torch.compile(model, mode=mode)
        monitor, tape = taped(model, optimizer, strict=True) if hook else (None, None)
        return _losses(compiled, optimizer, x, y, monitor), tape

    bare, _ = train(hook=False)
    watched, tape = train(hook=True)
    torch.testing.assert_close(watched, bare, rtol=0.0 if exact else 1e-6, atol=0.0)
    assert tape is not None
    assert tape.series("loss") == dict(enumerate(watched.tolist()))


def _step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    """Trains one step on the host."""
    optimizer.zero_grad()
    loss: Tensor = model(torch.ones(2, 4)).square().mean()
    loss.backward()
    optimizer.step()
    return loss


class Recorded:
    """Stands for a graph where there is no GPU: what the wrappers hear is the same."""


def test_without_a_gpu_the_wrappers_hear_begin_end_and_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    for name in ("capture_begin", "capture_end", "replay"):
        monkeypatch.setattr(
            torch.cuda.CUDAGraph, name, lambda self, name=name: done.append(f"{name} {capture.graph is self}")
        )
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)
    kind: Any = torch.cuda.CUDAGraph
    graph = Recorded()

    for _ in range(120):
        monitor.step(_step(model, optimizer))
    kind.capture_begin(graph)
    monitor.step(_step(model, optimizer))  # both belong to the graph
    monitor.log(learned=torch.tensor(1.0))
    kind.capture_end(graph)
    assert monitor._parts is not None
    assert monitor._parts.context.step == 119
    for index in range(5):
        kind.replay(graph)
        monitor.step(float(index))
    kind.replay(Recorded())  # one that steps no optimizer
    monitor.step(7.0)
    monitor.finish(timeout=0.1)
    assert done == ["capture_begin False", "capture_end False", *["replay False"] * 6]
    values = tape.series("loss")
    assert list(values) == list(range(126))
    assert [values[step] for step in range(120, 125)] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert len([note for note in monitor.ledger["notes"] if note.startswith("CUDA graph")]) == 3
    assert "learned" not in tape.names()
    assert capture.graph is None


def test_a_replay_is_measured_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is played by a function that nobody hears, which leaves gradients and weights as a graph does."""
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    gradients: dict[str, list[float]] = {"weight": [], "bias": []}
    moved: dict[str, list[float]] = {"weight": [], "bias": []}

    def run(graph: Any) -> None:
        for name, parameter in model.named_parameters():
            parameter.grad = torch.randn_like(parameter)
            gradients[name].append(float(parameter.grad.norm()))
            moved[name].append(float(0.1 * parameter.grad.norm() / parameter.detach().norm()))
            parameter.detach().sub_(0.1 * parameter.grad)

    for name, body in (("capture_begin", None), ("capture_end", None), ("replay", run)):
        monkeypatch.setattr(torch.cuda.CUDAGraph, name, body or (lambda self: None))
    monitor, tape = taped(model, optimizer, strict=True)
    kind: Any = torch.cuda.CUDAGraph
    graph = Recorded()

    for _ in range(3):
        monitor.step(_step(model, optimizer))
    kind.capture_begin(graph)
    _step(model, optimizer)
    kind.capture_end(graph)
    for _ in range(10):
        kind.replay(graph)
        monitor.step(1.0)
    monitor.finish(timeout=0.1)
    for name in ("weight", "bias"):
        for series, wanted in ((f"grad_norm/{name}", gradients), (f"update_ratio/{name}", moved)):
            found = tape.series(series)
            assert [found[step] for step in range(3, 13)] == pytest.approx(wanted[name], rel=1e-5), series
    assert "CUDA graph: activations of replayed steps are not visible." in monitor.ledger["notes"]


def test_our_hooks_are_off_while_a_module_is_made_graphed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def original(callables: Any, *_: Any) -> Any:
        seen.append(sum(len(item._forward_hooks) for item in callables))
        assert capture.graph is not None, "torch's warm-up is no batch"
        raise RuntimeError("no GPU here")

    monkeypatch.setattr(torch.cuda, "make_graphed_callables", original)
    model = nn.Linear(4, 1)
    monitor, _ = taped(model, torch.optim.SGD(model.parameters(), lr=0.01))
    before = dict(model._forward_hooks)
    assert before
    with pytest.raises(RuntimeError, match="no GPU here"):
        torch.cuda.make_graphed_callables((model,), ())
    assert seen == [0]
    assert capture.graph is None
    assert dict(model._forward_hooks) == before
    monitor.finish(timeout=0.1)
