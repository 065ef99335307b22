"""Loops that are right, however they are written: counters, and no offence."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, kinds, last, train, usual
from tests.client_hook.tape import taped


def test_a_right_loop_has_counts_and_no_offence() -> None:
    loop = last(train(usual, steps=20), "loop")
    assert loop["offences"] == []
    assert (loop["calls"], loop["steps"], loop["backward"], loop["optimizer_step"], loop["zero_grad"]) == (20,) * 5
    assert loop["backwards_per_step"] == 1
    assert loop["zero_grad_checked"] > 0
    assert loop["zero_grad_missing"] == 0


def test_clipping_in_its_place_is_none() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    tape = train(body)
    assert kinds(tape) == {}
    assert last(tape, "loop")["clip"] == 12


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_norms_that_are_kept_on_purpose_are_told_from_a_forgotten_mode(forgotten: bool, wrapped: bool) -> None:
    inner = classifier(nn.BatchNorm1d(5), nn.Linear(5, 5))
    model = nn.Sequential(inner) if wrapped else inner
    (inner if forgotten else inner[3]).eval()
    assert kinds(train(model=model)) == ({"eval-during-training": 0} if forgotten else {})


@pytest.mark.parametrize("cleared", [True, False])
def test_an_optimizer_with_a_closure_is_none(cleared: bool) -> None:
    model = classifier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def body(step, model, optimizer):
        inputs, labels = batch(step)

        def closure():
            if cleared:
                optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        return optimizer.step(closure)

    loop = last(train(body, model=model, optimizer=optimizer), "loop")
    assert loop["offences"] == []
    assert loop["closures"] is True
    backwards, empty = loop["in_closures"]
    assert backwards >= 20
    assert empty == (backwards if cleared else 0)


def test_the_last_of_several_backwards_may_come_in_the_closure() -> None:
    def body(step, model, optimizer):
        parts = iter(range(4))

        def closure():
            inputs, labels = batch(4 * step + next(parts))
            loss = F.cross_entropy(model(inputs), labels) / 4
            loss.backward()
            return loss

        optimizer.zero_grad()
        for _ in range(3):
            closure()
        return optimizer.step(closure)

    loop = last(train(body), "loop")
    assert loop["offences"] == []
    assert loop["in_closures"] == [0, 0], "they add up on purpose"


@pytest.mark.parametrize("place", ["after the forward", "after the backward", "after the step"])
def test_monitor_step_may_stand_anywhere_in_the_loop(place: str) -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 30)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(30):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        if place == "after the forward":
            monitor.step(loss)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if place == "after the backward":
            monitor.step(loss)
        optimizer.step()
        scheduler.step()
        if place == "after the step":
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    loop = last(tape, "loop")
    assert loop["offences"] == []
    assert (loop["backward"], loop["optimizer_step"], loop["clip"], loop["scheduler_step"]) == (30,) * 4


@pytest.mark.parametrize("skipped", [(), (0, 1), (3,)])
def test_steps_that_a_scaler_leaves_out_are_no_offence(skipped: tuple[int, ...]) -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        scaler.scale(loss * (float("inf") if step in skipped else 1.0)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        if step > 4:  # by epochs
            scheduler.step()
        return loss

    loop = last(train(body, model=model, optimizer=optimizer), "loop")
    assert loop["offences"] == []
    assert loop["optimizer_step"] == 12 - len(skipped)
    assert loop["steps"] == 12


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_resumed_run_may_wind_its_scheduler_forward() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(7):
        scheduler.step()
    for step in range(10):
        monitor.step(usual(step, model, optimizer))
        scheduler.step()
    monitor.finish(timeout=0.1)
    assert last(tape, "loop")["offences"] == []


def test_a_gan_with_two_optimizers_has_none() -> None:
    torch.manual_seed(0)
    models = {"generator": nn.Linear(4, 8), "judge": nn.Linear(8, 1)}
    optimizers = {key: torch.optim.Adam(model.parameters()) for key, model in models.items()}
    monitor, tape = taped(models, optimizers, strict=True)
    loss_of = F.binary_cross_entropy_with_logits
    for _ in range(20):
        fake = models["generator"](torch.randn(6, 4))
        optimizers["judge"].zero_grad()
        real = loss_of(models["judge"](torch.randn(6, 8)), torch.ones(6, 1))
        judging = real + loss_of(models["judge"](fake.detach()), torch.zeros(6, 1))
        judging.backward()
        optimizers["judge"].step()
        optimizers["generator"].zero_grad()
        fooling = loss_of(models["judge"](fake), torch.ones(6, 1))
        fooling.backward()
        optimizers["generator"].step()
        monitor.step(judging + fooling, judge=judging, generator=fooling)
    monitor.finish(timeout=0.1)
    loop = last(tape, "loop")
    assert loop["offences"] == []
    assert (loop["steps"], loop["optimizer_step"]) == (20, 40)


@pytest.mark.parametrize("unseen", [False, True], ids=["in place", "through .data"])
def test_the_two_backwards_of_sam_are_no_offence(unseen: bool) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        with torch.no_grad():
            moves = [0.05 * item.grad for item in model.parameters()]
            for item, move in zip(model.parameters(), moves, strict=True):
                (item.data if unseen else item).add_(move)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        with torch.no_grad():
            for item, move in zip(model.parameters(), moves, strict=True):
                (item.data if unseen else item).sub_(move)
        optimizer.step()
        return loss

    tape = train(body)
    assert kinds(tape) == {}
    loop = last(tape, "loop")
    assert loop["backwards_per_step"] == 1, "the first pass is no part of the step"
    assert loop["accumulation"] == {"steps": 1, "discarded": 0, "factor": [1, None]}, (
        "the first turn has no mark to compare with"
    )


def test_a_loss_that_is_cut_from_its_graph_goes_backward_from_a_leaf() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        if step < 3:
            loss.backward()
        else:
            for _ in range(2):
                torch.tensor(loss.item(), requires_grad=True).backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=12), "loop")
    assert loop["backward"] == 3 + 2 * 9
    assert loop["accumulation"]["factor"] in ([1, None], [2, None])


def test_optimizers_that_step_within_the_backward_are_none() -> None:
    model = classifier()
    optimizers = {str(i): torch.optim.SGD([item], lr=0.1) for i, item in enumerate(model.parameters())}
    for optimizer, item in zip(optimizers.values(), model.parameters(), strict=True):

        def step_at_once(_: torch.Tensor, optimizer: torch.optim.Optimizer = optimizer) -> None:
            optimizer.step()
            optimizer.zero_grad()

        item.register_post_accumulate_grad_hook(step_at_once)

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    assert kinds(train(body, model=model, optimizer=optimizers)) == {}


@pytest.mark.parametrize("cleared", [False, True])
def test_gradients_that_are_written_by_hand_are_none(cleared: bool) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        if cleared:
            optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        parameters = list(model.parameters())
        for item, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            item.grad = gradient
        optimizer.step()
        return loss

    assert kinds(train(body, steps=30)) == {}


def test_a_step_without_new_gradients_is_one_also_where_they_are_written_by_hand() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        parameters = list(model.parameters())
        if step < 5:
            for item, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                item.grad = gradient
        optimizer.step()
        return loss

    assert kinds(train(body)) == {"step-without-backward": 5}


def descent(step, model, optimizer):
    """Moves the weights without the optimizer, which is there to be watched."""
    inputs, labels = batch(step)
    loss = F.cross_entropy(model(inputs), labels)
    loss.backward()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 0.1 * parameter.grad
            parameter.grad = None
    return loss


def descent_through_data(step, model, optimizer):
    """Does so where autograd keeps no count."""
    inputs, labels = batch(step)
    loss = F.cross_entropy(model(inputs), labels)
    for parameter, gradient in zip(
        model.parameters(), torch.autograd.grad(loss, tuple(model.parameters())), strict=True
    ):
        parameter.data.sub_(gradient, alpha=0.1)
    return loss


@pytest.mark.parametrize("body", [descent, descent_through_data])
@pytest.mark.parametrize("steps", [12, 300])
def test_weights_that_move_by_hand_are_not_said_to_stand_still(body, steps: int) -> None:
    model = classifier()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.1), strict=True)
    for step in range(steps):
        monitor.step(body(step, model, None))
    monitor.finish(timeout=0.1)
    assert kinds(tape) == {}
    assert last(tape, "loop")["weights_moved"] is True
    assert any("no step that could be heard" in note for note in monitor.ledger["notes"])


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning", "ignore:Dynamo does not")
def test_an_optimizer_that_steps_inside_a_compiled_function_is_not_said_never_to_step() -> None:
    torch._dynamo.reset()
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    compiled_step = torch.compile(lambda: optimizer.step(), backend="eager")

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        compiled_step()
        return loss

    tape = train(body, model=model, optimizer=optimizer, steps=20)
    assert kinds(tape) == {}
    assert last(tape, "loop")["weights_moved"] is True


def test_the_backwards_of_a_model_that_nobody_watches_are_its_own() -> None:
    model, other = classifier(), classifier()
    others = torch.optim.SGD(other.parameters(), lr=0.1)

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        usual(100 + step, other, others)
        return loss

    tape = train(body, model=model)
    loop = last(tape, "loop")
    assert (loop["backward"], loop["backwards_per_step"], loop["offences"]) == (12, 1, [])
    assert loop["accumulation"]["steps"] == 0
