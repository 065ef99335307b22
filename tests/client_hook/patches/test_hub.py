"""Who hears what: every wrapped function comes back, nothing is heard twice, an error of ours stays ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.jit._builtins as jit_builtins
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.dataloader import _BaseDataLoaderIter

from client_hook.guard import Guard
from client_hook.patches.hub import Patches
from client_hook.patches.losses import FUNCTIONS


class Listener:
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def backward(self, root) -> None:
        self.heard.append("backward")

    def after_backward(self, root) -> None:
        self.heard.append("after backward")

    def clip(self, kind, parameters, limit, norm, norm_type) -> None:
        self.heard.append(f"clip {kind} {limit} of {len(parameters)}")

    def zero_grad(self, optimizer) -> None:
        self.heard.append("zero_grad")

    def scheduler_step(self, scheduler) -> None:
        self.heard.append(f"{type(scheduler).__name__} step")

    def loss_call(self, function, args, kwargs, result) -> None:
        self.heard.append(function)

    def loss_failed(self, function, args, kwargs) -> None:
        self.heard.append(f"{function} failed")

    def batch(self, loader, wait, first) -> None:
        self.heard.append("first batch" if first else "batch")

    def scale(self, scaler) -> None:
        self.heard.append("scale")


@pytest.fixture
def hub() -> Iterator[Patches]:
    hub = Patches()
    yield hub
    for listener in list(hub._listeners.values()):
        hub.unsubscribe(listener)
    assert not hub.installed


def places() -> dict[str, object]:
    """All that is wrapped, by name."""
    schedulers = [kind for kind in vars(lr_scheduler).values() if isinstance(kind, type)]
    owners = [
        *((owner, name) for owner, name, _ in FUNCTIONS),
        *((kind, "step") for kind in schedulers if issubclass(kind, LRScheduler) and "step" in vars(kind)),
        (torch.autograd, "backward"),
        (torch.optim.Optimizer, "zero_grad"),
        (torch.amp.GradScaler, "scale"),
        (DataLoader, "__iter__"),
        (_BaseDataLoaderIter, "__next__"),
        (clip_grad, "_get_total_norm"),
        (clip_grad, "_clip_grads_with_norm_"),
        (clip_grad, "_group_tensors_by_device_and_dtype"),
        (nn.utils, "clip_grads_with_norm_"),
    ]
    return {f"{getattr(owner, '__name__', owner)}.{name}": vars(owner)[name] for owner, name in owners}


def test_every_attribute_is_wrapped_and_comes_back_by_identity(hub: Patches) -> None:
    before, table = places(), dict(jit_builtins._get_builtin_table())
    first, second = Listener(), Listener()
    hub.subscribe(first)
    during = places()
    assert [name for name in before if during[name] is before[name]] == []
    hub.subscribe(second)
    hub.subscribe(second)
    assert all(places()[name] is during[name] for name in before), "installed once"
    hub.unsubscribe(first)
    assert all(places()[name] is during[name] for name in before), "one still listens"
    hub.unsubscribe(second)
    hub.unsubscribe(second)
    assert [name for name, item in places().items() if item is not before[name]] == []
    assert dict(jit_builtins._get_builtin_table()) == table


def test_wrappers_carry_the_name_and_text_of_what_they_wrap(hub: Patches) -> None:
    before = places()
    hub.subscribe(Listener())
    for name, wrapper in places().items():
        assert (wrapper.__name__, wrapper.__doc__) == (before[name].__name__, before[name].__doc__)


def test_one_ordinary_step_is_heard_in_order(hub: Patches) -> None:
    listener = Listener()
    hub.subscribe(listener)
    model = nn.Linear(2, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(optimizer), lr_scheduler.StepLR(optimizer, 2)])
    scaler = torch.amp.GradScaler("cpu")
    loader = DataLoader(TensorDataset(torch.randn(4, 2), torch.tensor([0, 1, 2, 0])), batch_size=2)
    for inputs, labels in loader:
        optimizer.zero_grad()
        scaler.scale(F.cross_entropy(model(inputs), labels)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        nn.utils.clip_grad_value_(model.parameters(), 2.0)
        optimizer.step()
        scheduler.step()
    one = ["zero_grad", "cross_entropy", "scale", "backward", "after backward", "clip norm 1.0 of 2",
           "clip value 2.0 of 2", "ChainedScheduler step"]  # fmt: skip
    assert listener.heard == ["first batch", *one, "batch", *one]


def test_a_wrapper_that_could_not_be_removed_stays_deaf(hub: Patches, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody wraps ours and keeps it; the next monitor must not hear each backward twice."""
    monkeypatch.setattr(torch.autograd, "backward", torch.autograd.backward)  # which is there again after the test
    early = Listener()
    hub.subscribe(early)
    ours = torch.autograd.backward
    monkeypatch.setattr(torch.autograd, "backward", lambda *args, **kwargs: ours(*args, **kwargs))
    theirs = torch.autograd.backward
    hub.unsubscribe(early)
    assert torch.autograd.backward is theirs

    late = Listener()
    hub.subscribe(late)
    torch.ones(1, requires_grad=True).sum().backward()
    assert late.heard == ["backward", "after backward"]
    assert early.heard == []
    hub.unsubscribe(late)
    assert torch.autograd.backward is theirs


def test_an_error_of_a_listener_never_reaches_the_loop(hub: Patches) -> None:
    class Broken(Listener):
        guard = Guard(strict=False, quiet=True)

        def backward(self, root) -> None:
            raise RuntimeError("ours")

    broken, sound = Broken(), Listener()
    hub.subscribe(broken)
    hub.subscribe(sound)
    weight = torch.ones(2, requires_grad=True)
    weight.sum().backward()
    assert weight.grad is not None
    assert sound.heard == ["backward", "after backward"]
    assert list(broken.guard.counts.values()) == [1]


def test_an_error_of_the_function_is_the_users_own(hub: Patches) -> None:
    listener = Listener()
    hub.subscribe(listener)
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        F.cross_entropy(torch.zeros(1, 3), torch.tensor([7]))
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.zeros(()).backward()
    assert listener.heard == ["cross_entropy failed", "backward"]


def test_the_arguments_and_the_result_are_the_same_objects(hub: Patches) -> None:
    class Keeping(Listener):
        def loss_call(self, function, args, kwargs, result) -> None:
            self.seen = (*args[:2], result)

    listener = Keeping()
    hub.subscribe(listener)
    first, second = torch.zeros(2, 3), torch.tensor([0, 1])
    result = F.cross_entropy(first, second)
    assert [one is other for one, other in zip(listener.seen, (first, second, result), strict=True)] == [True] * 3
