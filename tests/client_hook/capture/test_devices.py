"""Models whose parameters lie on several devices.

Without a GPU the second device is torch's meta device, whose tensors have shapes and no values: what lies there is left
out, and the rest is as ever. On a GPU (marker cuda) both parts have values, and every one must be right.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import watch
from client_hook.capture.tensors import meeting_place
from tests.client_hook.tape import Tape, taped

STEPS = 115  # the last fifteen hardly measured


class Branches(nn.Module):
    """Two classifiers side by side, each on a device of its own."""

    def __init__(self, far: str) -> None:
        super().__init__()
        self.near = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        self.far = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)).to(far)


def train(far: str, *, hook: bool = True, clip: bool = True) -> tuple[Tape | None, list[dict[str, float]], list[float]]:
    """Trains both; gives what was sent, and the norms and losses as float64 says."""
    torch.manual_seed(0)
    model = Branches(far)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    monitor, tape = taped(model, optimizer, strict=True) if hook else (None, None)
    norms, losses = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
        loss = F.cross_entropy(model.near(x), y)
        loss.backward()
        F.cross_entropy(model.far(x.to(far)), y.to(far)).backward()
        if clip:
            nn.utils.clip_grad_norm_(model.near.parameters(), 10.0)
        norms.append({name: norm_of(item) for name, item in model.named_parameters() if not item.is_meta})
        optimizer.step()
        if monitor is not None:
            monitor.step(loss)
        losses.append(loss.item())
    if monitor is not None:
        monitor.finish(timeout=0.2)
        assert monitor.ledger["dropped"] == {}
    return tape, norms, losses


def norm_of(parameter: Tensor) -> float:
    assert parameter.grad is not None
    return float(torch.linalg.vector_norm(parameter.grad.double()))


def check_norms(tape: Tape, norms: list[dict[str, float]]) -> None:
    measured = tape.series("grad_norm")
    assert set(range(20)) <= measured.keys()
    each = {name: tape.series(f"grad_norm/{name}") for name in norms[0]}
    for step, total in measured.items():
        assert total == pytest.approx(sum(norm**2 for norm in norms[step].values()) ** 0.5, rel=1e-6)
        for name, norm in norms[step].items():
            assert each[name][step] == pytest.approx(norm, rel=1e-6, abs=1e-12)


def test_what_has_no_values_is_left_out_and_the_rest_is_right() -> None:
    tape, norms, losses = train("meta")
    assert tape is not None
    check_norms(tape, norms)
    assert tape.series("loss") == dict(enumerate(losses))
    assert not [name for name in tape.names() if "/far" in name and not name.startswith("act/")]
    assert {"act/mean/near.0", "update_ratio/near.0.weight", "clip/before"} <= tape.names()
    devices = {item["name"]: item["device"] for item in tape.facts("model")[-1]["parameters"]}
    assert devices == {name: "meta" if name.startswith("far") else "cpu" for name in devices}
    assert losses == train("meta", hook=False)[2], "bit-identical with and without the hook"


def test_a_loss_without_a_value_is_said() -> None:
    model = nn.Linear(4, 1, device="meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=False)
    for _ in range(120):
        optimizer.zero_grad()
        loss = model(torch.ones(2, 4, device="meta")).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.2)
    (note,) = [note for note in monitor.ledger["notes"] if "meta device" in note]
    assert note.startswith("monitor.step: NotANumber: loss: got a tensor on the meta device, which has no value (120 ")


@pytest.mark.cuda
@pytest.mark.parametrize("far", ["cuda:0", "cuda:1"])
def test_both_devices_are_measured_and_nobody_waits_for_one(far: str) -> None:
    if torch.device(far).index >= torch.cuda.device_count():
        pytest.skip(f"this machine has {torch.cuda.device_count()} GPU")
    tape, norms, losses = train(far)
    assert tape is not None
    check_norms(tape, norms)
    assert tape.series("loss") == dict(enumerate(losses))
    assert "update_ratio/far.0.weight" in tape.names()
    assert losses == train(far, hook=False)[2]


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """Makes new tensors appear on the meta device, as a user of `torch.set_default_device("cuda")` has it."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def test_the_default_device_is_the_users_and_changes_nothing_of_ours(request: pytest.FixtureRequest) -> None:
    def run() -> tuple[dict[str, dict[int, float]], list[float]]:
        with torch.device("cpu"):
            torch.manual_seed(0)
            model = Branches("cpu")
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9)
        monitor, tape = taped(model, optimizer, strict=True)
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            with torch.device("cpu"):
                x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
            loss = F.cross_entropy(model.near(x), y) + F.cross_entropy(model.far(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            if step % 3 == 0:
                nn.utils.clip_grad_value_(model.parameters(), 0.1)
            optimizer.step()
            monitor.step(loss)
            if step % 40 == 39:
                model.eval()
                with torch.no_grad():
                    monitor.validation(F.cross_entropy(model.near(x), y))
                monitor.log(learned=loss, steps=step)
                model.train()
            losses.append(loss.item())
        monitor.finish(timeout=0.2)
        assert not [note for note in monitor.ledger["notes"] if "Error" in note]
        names = [name for name in tape.names() if not name.startswith(("hook/", "time/", "system/", "data/"))]
        return {name: tape.series(name) for name in names}, losses

    usual = run()
    request.getfixturevalue("elsewhere")
    there = run()
    assert there[1] == usual[1]
    assert there[0].keys() == usual[0].keys()
    steps = {name: sorted(set(values) & set(there[0][name])) for name, values in usual[0].items()}
    assert all(steps.values())
    for name, common in steps.items():
        assert [there[0][name][step] for step in common] == [usual[0][name][step] for step in common], name


def test_what_lies_on_several_devices_meets_on_none_that_must_be_waited_for() -> None:
    near, far = torch.ones(2), torch.ones(2, device="meta")
    assert meeting_place([near, far]) == meeting_place([far, near]) == torch.device("meta")
    assert meeting_place([near]) == torch.device("cpu")


@pytest.mark.cuda
def test_parts_of_a_loss_and_norms_of_two_devices_are_right() -> None:
    torch.manual_seed(0)
    model = Branches("cuda:0")
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    monitor, tape = taped(model, optimizer, strict=True)
    told: dict[str, list[float]] = {"loss/near": [], "loss/far": [], "clip/before": []}
    for step in range(150):
        torch.cuda.set_sync_debug_mode("error" if step >= 120 else "default")
        optimizer.zero_grad()
        x, y = torch.randn(8, 4), torch.randint(0, 3, (8,))
        near = F.cross_entropy(model.near(x), y)
        far = F.cross_entropy(model.far(x.to("cuda", non_blocking=True)), y.to("cuda", non_blocking=True))
        near.backward()
        far.backward()
        clipped = [nn.utils.clip_grad_norm_(part.parameters(), 0.5) for part in (model.near, model.far)]
        optimizer.step()
        monitor.step(near, near=near, far=far)
        torch.cuda.set_sync_debug_mode("default")
        told["loss/near"].append(near.item())
        told["loss/far"].append(far.item())
        told["clip/before"].append(math.hypot(*(norm.item() for norm in clipped)))
    monitor.finish(timeout=0.2)
    for name, values in told.items():
        assert tape.series(name) == pytest.approx(dict(enumerate(values)), rel=1e-6), name
