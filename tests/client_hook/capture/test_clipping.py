"""What clipping saw and did: the norm before, the factor, and the fact about its habits."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_ as imported_earlier
from torch.nn.utils import clip_grad_value_

from tests.client_hook.capture.loops import batch, classifier, last, train
from tests.client_hook.plainly import stay_plain
from tests.client_hook.tape import taped


def clipping_with(clip, seen=None):
    """Makes the body of a loop that clips by `clip(parameters)`, and keeps the norms before and after."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        before = norm_of(model)
        clip(model.parameters())
        if seen is not None:
            seen.append((before, norm_of(model)))
        optimizer.step()
        return loss

    return body


def norm_of(model: nn.Module) -> float:
    return float(torch.linalg.vector_norm(torch.cat([item.grad.reshape(-1) for item in model.parameters()])))


@pytest.mark.parametrize("foreach", [True, False, None])
@pytest.mark.parametrize("limit", [0.3, 100.0])
def test_norm_and_factor_are_those_that_torch_used(foreach: bool | None, limit: float) -> None:
    seen: list[tuple[float, float]] = []
    tape = train(clipping_with(lambda items: nn.utils.clip_grad_norm_(items, limit, foreach=foreach), seen))
    assert tape.series("clip/before") == pytest.approx({step: before for step, (before, _) in enumerate(seen)})
    factors = {step: after / before for step, (before, after) in enumerate(seen)}
    assert tape.series("clip/coefficient") == pytest.approx(factors, rel=1e-4)
    fact = last(tape, "clipping")
    assert (fact["kind"], fact["limit"], fact["norm_type"], fact["calls"]) == ("norm", limit, 2.0, 12)
    assert fact["clipped"] == sum(after < 0.999 * before for before, after in seen)
    assert (fact["parameters"], fact["covers"], fact["empty"], fact["nonfinite"], fact["scaled"]) == (4, 1.0, 0, 0, 0)


def test_the_gradient_norm_is_measured_after_clipping() -> None:
    seen: list[tuple[float, float]] = []
    tape = train(clipping_with(lambda items: nn.utils.clip_grad_norm_(items, 0.3), seen))
    assert tape.series("grad_norm") == pytest.approx({step: after for step, (_, after) in enumerate(seen)}, rel=1e-5)


@pytest.mark.parametrize(
    "clip",
    [
        lambda items: imported_earlier(items, 0.3),
        lambda items: nn.utils.clip_grad_norm_(list(items), torch.tensor(0.3)),
        lambda items: in_two_halves(list(items)),
        lambda items: in_two_halves(list(items), generator=True),
    ],
    ids=["a name imported before watch", "a tensor as limit", "the two halves", "the two halves, a generator"],
)
def test_every_way_to_clip_is_heard_once_a_step(clip) -> None:
    tape = train(clipping_with(clip))
    assert len(tape.series("clip/before")) == 12
    assert last(tape, "clipping")["calls"] == last(tape, "loop")["clip"] == 12
    assert last(tape, "clipping")["limit"] == pytest.approx(0.3)


def in_two_halves(parameters: list[nn.Parameter], *, generator: bool = False) -> None:
    norm = nn.utils.get_total_norm([item.grad for item in parameters])
    nn.utils.clip_grads_with_norm_((item for item in parameters) if generator else parameters, 0.3, norm)


@pytest.mark.parametrize("norm_type", [1.0, math.inf])
def test_another_norm_is_named(norm_type: float) -> None:
    fact = last(train(clipping_with(lambda items: imported_earlier(items, 1.0, norm_type=norm_type))), "clipping")
    assert fact["norm_type"] == norm_type


@pytest.mark.parametrize("foreach", [True, False])
def test_value_clipping_is_measured_before_and_after(foreach: bool) -> None:
    seen: list[tuple[float, float]] = []
    tape = train(clipping_with(lambda items: clip_grad_value_(items, 0.02, foreach=foreach), seen))
    assert tape.series("clip/before") == pytest.approx({step: before for step, (before, _) in enumerate(seen)})
    factors = {step: after / before for step, (before, after) in enumerate(seen)}
    assert tape.series("clip/coefficient") == pytest.approx(factors, rel=1e-5)
    fact = last(tape, "clipping")
    assert (fact["kind"], fact["limit"], fact["norm_type"], fact["clipped"]) == ("value", 0.02, None, None)
    assert last(tape, "loop")["clip"] == 12


def test_what_is_cut_by_norm_and_by_value_has_its_factor_where_that_was_measured_and_its_norm_always() -> None:
    def clip(parameters):
        items = list(parameters)
        nn.utils.clip_grad_norm_(items, 0.5)
        clip_grad_value_(items, 0.02)

    seen: list[tuple[float, float]] = []
    body, model = clipping_with(clip, seen), classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(150):
        if step == 110:
            stay_plain(monitor)
        monitor.step(body(step, model, optimizer))
    monitor.finish(timeout=0.2)
    norms, factors = tape.series("clip/before"), tape.series("clip/coefficient")
    assert norms == pytest.approx({step: before for step, (before, _) in enumerate(seen)}, rel=1e-5)
    assert set(factors) == set(tape.series("grad_norm")) < set(range(150))
    for step, factor in factors.items():
        before, after = seen[step]
        by_norm = min(0.5 / before, 1.0)
        assert factor == pytest.approx(min(by_norm, after / (before * by_norm)), rel=1e-4)


def test_two_calls_in_one_step_make_one_point() -> None:
    """Clipping each layer by itself: the norm of both, the smaller factor."""
    model = classifier()

    def clip(_) -> None:
        parts.append([float(imported_earlier(model[index].parameters(), 0.2)) for index in (0, 2)])

    parts: list[list[float]] = []
    tape = train(clipping_with(clip), model=model)
    assert tape.series("clip/before") == pytest.approx({step: math.hypot(*pair) for step, pair in enumerate(parts)})
    smallest = {step: min(1.0, 0.2 / max(pair)) for step, pair in enumerate(parts)}
    assert tape.series("clip/coefficient") == pytest.approx(smallest, rel=1e-4)
    assert last(tape, "clipping")["covers"] == 0.5, "of the parameters, in one call"


@pytest.mark.filterwarnings("ignore:`parameters` is an empty generator")
def test_a_list_that_is_empty_the_second_time_is_counted() -> None:
    """A generator made once gives its parameters to the first call alone."""
    model = classifier()
    once = model.parameters()
    tape = train(clipping_with(lambda _: imported_earlier(once, 1.0)), model=model)
    fact = last(tape, "clipping")
    assert fact["empty"] >= 3
    assert tape.series("clip/before")[5] == 0.0


def test_norms_that_are_no_numbers_arrive_as_they_are() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels) * (math.nan if step == 4 else 1.0)
        loss.backward()
        imported_earlier(model.parameters(), 1.0)
        if step != 4:
            optimizer.step()
        return loss

    tape = train(body)
    fact = last(tape, "clipping")
    assert fact["nonfinite"] == 1
    assert any(math.isnan(norm) for norm in tape.series("clip/before").values())
    assert any(math.isnan(factor) for factor in tape.series("clip/coefficient").values())


def test_gradients_that_are_still_scaled_are_counted() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop(*, unscale: bool):
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

        def body(step, model, optimizer):
            inputs, labels = batch(step)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            scaler.scale(loss).backward()
            if unscale:
                scaler.unscale_(optimizer)
            imported_earlier(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
            return loss

        return train(body, model=model, optimizer=optimizer, steps=6)

    assert last(loop(unscale=True), "clipping")["scaled"] == 0
    wrong = loop(unscale=False)
    assert last(wrong, "clipping")["scaled"] == 6
    assert min(wrong.series("clip/before").values()) > 50, "as scaled as they are"
    assert [item["kind"] for item in last(wrong, "loop")["offences"]] == ["clip-before-unscale"]


def test_each_monitor_hears_the_clipping_of_its_own_model() -> None:
    torch.manual_seed(0)
    pairs = []
    for limit in (0.1, 0.2):
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        pairs.append((limit, model, optimizer, *taped(model, optimizer, strict=True)))
    for _ in range(4):
        for limit, model, optimizer, monitor, _tape in pairs:
            optimizer.zero_grad()
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            imported_earlier(model.parameters(), limit)
            optimizer.step()
            monitor.step(loss)
    for limit, _model, _optimizer, monitor, tape in pairs:
        monitor.finish(timeout=0.1)
        assert (last(tape, "clipping")["limit"], last(tape, "clipping")["calls"]) == (limit, 4)
        assert len(tape.series("clip/before")) == 4


def test_two_optimizers_are_told_apart() -> None:
    models = {"a": nn.Linear(3, 1), "b": nn.Linear(3, 1)}
    optimizers = {key: torch.optim.SGD(model.parameters(), lr=0.1) for key, model in models.items()}
    monitor, tape = taped(models, optimizers, strict=True)
    for _ in range(6):
        for key, model in models.items():
            optimizers[key].zero_grad()
            loss = model(torch.randn(4, 3)).square().mean()
            loss.backward()
            if key == "a":
                imported_earlier(model.parameters(), 0.1)
                optimizers[key].step()
            else:
                optimizers[key].step()
                imported_earlier(model.parameters(), 0.1)
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    offences = last(tape, "loop")["offences"]
    assert [(item["kind"], item["optimizer"], item["count"]) for item in offences] == [("clip-after-step", "b", 6)]


def test_without_clipping_there_is_nothing() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    tape = train(body)
    assert not [name for name in tape.names() if name.startswith("clip/")]
    assert tape.facts("clipping") == []


def test_a_norm_that_the_loop_changes_in_place_is_recorded_as_torch_used_it() -> None:
    seen: list[tuple[float, float]] = []

    def clip(parameters) -> None:
        nn.utils.clip_grad_norm_(parameters, 0.3).mul_(100.0)

    tape = train(clipping_with(clip, seen))
    assert tape.series("clip/before") == pytest.approx({step: before for step, (before, _) in enumerate(seen)})
