"""The order of the calls in a loop: counters of a right one, and the first offence of each wrong one."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.tape import taped


def kinds(tape) -> dict[str, int]:
    return {item["kind"]: item["first_step"] for item in last(tape, "loop")["offences"]}


def test_a_right_loop_has_counts_and_no_offence() -> None:
    loop = last(train(usual, steps=20), "loop")
    assert loop["offences"] == []
    assert (loop["calls"], loop["steps"], loop["backward"], loop["optimizer_step"], loop["zero_grad"]) == (20,) * 5
    assert loop["backwards_per_step"] == 1
    assert loop["zero_grad_checked"] > 0
    assert loop["zero_grad_missing"] == 0


def test_a_forgotten_zero_grad_is_counted_in_every_step() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=20), "loop")
    assert loop["zero_grad"] == 0
    assert loop["zero_grad_missing"] == loop["zero_grad_checked"] >= 10


def test_gradient_accumulation_is_no_offence() -> None:
    def body(step, model, optimizer):
        optimizer.zero_grad()
        for micro in range(4):
            inputs, labels = batch(4 * step + micro)
            loss = F.cross_entropy(model(inputs), labels) / 4
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=15), "loop")
    assert loop["backwards_per_step"] == 4
    assert loop["offences"] == []
    assert loop["zero_grad_missing"] == 0


def test_gradients_that_are_written_after_clearing_count_as_cleared() -> None:
    """Reptile: a copy learns by itself, and how far it went is the gradient."""

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        fast = copy.deepcopy(model)
        inner = torch.optim.SGD(fast.parameters(), lr=0.1)
        for _ in range(3):
            loss = F.cross_entropy(fast(inputs), labels)
            inner.zero_grad()
            loss.backward()
            inner.step()
        optimizer.zero_grad()
        for slow, quick in zip(model.parameters(), fast.parameters(), strict=True):
            slow.grad = slow.data - quick.data
        optimizer.step()
        return loss

    loop = last(train(body, steps=15), "loop")
    assert loop["offences"] == []
    assert loop["zero_grad_missing"] == 0
    assert loop["backwards_per_step"] is None
    assert loop["accumulation"]["steps"] == 0


def test_gradients_that_are_cleared_by_hand_count_as_cleared() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        for parameter in model.parameters():
            parameter.grad = None
        loss.backward()
        optimizer.step()
        return loss

    assert last(train(body, steps=15), "loop")["zero_grad_missing"] == 0


def test_a_step_without_a_backward_is_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        if step < 5:
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        return loss

    assert kinds(train(body))["step-without-backward"] == 5


def test_clipping_after_the_step_is_seen() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss

    assert "clip-after-step" in kinds(train(body))


def test_clipping_before_the_backward_is_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        optimizer.step()
        return loss

    assert kinds(train(body)).keys() & {"clip-before-backward"}


def test_clipping_before_the_backward_keeps_its_name_where_few_steps_are_heard() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    plain = 0
    for step in range(300):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        plain += monitor._parts.recorder._plain is not None
    monitor.finish(timeout=0.1)
    assert plain > 50
    assert set(kinds(tape)) == {"clip-before-backward"}


@pytest.mark.parametrize(("by", "to_none"), [("optimizer", True), ("optimizer", False), ("model", True)])
def test_clearing_between_backward_and_step_is_seen(by: str, to_none: bool) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        (optimizer if by == "optimizer" else model).zero_grad(set_to_none=to_none)
        optimizer.step()
        return loss

    assert set(kinds(train(body))) == {"zero-grad-before-step"}


def test_gradients_that_are_written_by_hand_after_clearing_are_no_offence() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        gradients = [parameter.grad.clone() for parameter in model.parameters()]
        optimizer.zero_grad()
        for parameter, gradient in zip(model.parameters(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss

    assert kinds(train(body)) == {}


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


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_scheduler_that_steps_first_is_seen() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 5)

    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        scheduler.step()
        optimizer.step()
        return loss

    tape = train(body, model=model, optimizer=optimizer)
    assert "scheduler-before-optimizer" in kinds(tape)
    assert last(tape, "loop")["scheduler_step"] == 12


def test_training_in_eval_mode_is_seen_where_it_matters() -> None:
    model = classifier(nn.Dropout(0.5))

    def body(step, model, optimizer):
        if step == 6:
            model.eval()
        return usual(step, model, optimizer)

    assert kinds(train(body, model=model, steps=20))["eval-during-training"] >= 6


@pytest.mark.parametrize("forgotten", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_norms_that_are_kept_on_purpose_are_told_from_a_forgotten_mode(forgotten: bool, wrapped: bool) -> None:
    inner = classifier(nn.BatchNorm1d(5), nn.Linear(5, 5))
    model = nn.Sequential(inner) if wrapped else inner
    (inner if forgotten else inner[3]).eval()
    assert kinds(train(model=model)) == ({"eval-during-training": 0} if forgotten else {})


def test_an_optimizer_that_never_steps_is_said_at_the_end() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        return loss

    assert "never-stepped" in kinds(train(body, steps=60))


def test_a_loop_in_which_nothing_steps_is_heard_to_the_end() -> None:
    model = classifier()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.1), strict=True)
    for step in range(300):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert [item["count"] for item in last(tape, "loop")["offences"]] == [300]
    assert any(loop["calls"] == 256 for loop in tape.facts("loop")), "said as soon as it is certain"


def test_an_optimizer_with_a_closure_is_none() -> None:
    model = classifier()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)

    def body(step, model, optimizer):
        inputs, labels = batch(step)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            return loss

        return optimizer.step(closure)

    loop = last(train(body, model=model, optimizer=optimizer), "loop")
    assert loop["offences"] == []
    assert loop["closures"] is True


def test_two_backwards_through_one_graph_are_seen() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward(retain_graph=step >= 2)
        if step >= 2:
            loss.backward()
        optimizer.step()
        return loss

    offences = last(train(body), "loop")["offences"]
    seen = [(item["kind"], item["count"], item["of"], item["first_step"]) for item in offences]
    assert seen == [("backward-twice", 10, 12, 2)], "of 12 steps, so that a habit is known as one"


def test_gradients_thrown_away_between_micro_batches_are_seen() -> None:
    def body(step, model, optimizer):
        for micro in range(4):
            inputs, labels = batch(4 * step + micro)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels) / 4
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert [item["kind"] for item in loop["offences"]] == ["gradients-discarded"]
    assert loop["accumulation"] == {"steps": 12, "discarded": 11, "factor": [4, 0.25]}, (
        "the first turn has no mark to compare with"
    )


@pytest.mark.parametrize("begins", [0, 6])
def test_a_backward_for_the_gradient_of_an_input_is_no_micro_batch(begins: int) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        if step >= begins:
            shift = torch.zeros_like(inputs, requires_grad=True)
            F.cross_entropy(model(inputs + shift), labels.clone()).backward()
            inputs = inputs + 0.1 * shift.grad.sign()
            optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body, steps=20), "loop")
    assert (loop["offences"], loop["accumulation"]["discarded"]) == ([], 0)


def test_gradients_that_are_put_together_by_hand_are_not_lost() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        parts = []
        for half in (slice(0, 6), slice(6, 12)):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs[half]), labels[half])
            loss.backward()
            parts.append([item.grad.clone() for item in model.parameters()])
        for item, one, other in zip(model.parameters(), *parts, strict=True):
            item.grad = (one + other) / 2
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["accumulation"]["discarded"]) == ([], 0)


def test_two_losses_of_one_forward_are_accumulation_and_no_offence() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = F.cross_entropy(outputs, labels)
        loss.backward(retain_graph=True)
        outputs.square().mean().backward()
        optimizer.step()
        return loss

    assert kinds(train(body)) == {}


@pytest.mark.parametrize("to_none", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_clearing_to_zeros_or_none_at_either_end_counts(to_none: bool, when: str) -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        loss = F.cross_entropy(model(inputs), labels)
        if when == "before":
            optimizer.zero_grad(set_to_none=to_none)
        loss.backward()
        optimizer.step()
        if when == "after":
            optimizer.zero_grad(set_to_none=to_none)
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["zero_grad"], loop["zero_grad_missing"]) == ([], 12, 0)
    assert loop["zero_grad_checked"] == 11


def test_the_model_can_clear_in_the_optimizers_place() -> None:
    def body(step, model, optimizer):
        inputs, labels = batch(step)
        model.zero_grad()
        loss = F.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert (loop["offences"], loop["zero_grad"], loop["zero_grad_missing"]) == ([], 0, 0)


def test_accumulation_that_is_never_cleared_is_seen() -> None:
    def body(step, model, optimizer):
        for micro in range(3):
            inputs, labels = batch(3 * step + micro)
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
        optimizer.step()
        return loss

    loop = last(train(body), "loop")
    assert kinds_of(loop) == {"zero-grad-missing": 1}
    assert loop["zero_grad_missing"] == loop["zero_grad_checked"] == 11


def kinds_of(loop) -> dict[str, int]:
    return {item["kind"]: item["first_step"] for item in loop["offences"]}


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


def test_the_fact_comes_at_the_first_steps_and_when_an_offence_is_new() -> None:
    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        if step == 13:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        return loss

    tape = train(body, steps=30)
    sent = [step for kind, name, step, _ in tape.records if (kind, name) == ("fact", "loop")]
    assert sent == [2, 4, 9, 13, 19, 29]


def test_the_factor_of_a_loss_is_read_again_when_the_number_of_micro_batches_changes() -> None:
    def body(step, model, optimizer):
        parts = 1 if step < 150 else 4
        optimizer.zero_grad()
        for micro in range(parts):
            inputs, labels = batch(4 * step + micro)
            loss = F.cross_entropy(model(inputs), labels)
            (loss / parts if parts > 1 else loss).backward()
        optimizer.step()
        return loss

    tape = train(body, steps=600)
    assert tape.facts("loop")[0]["accumulation"]["factor"] == [1, None]
    loop = last(tape, "loop")
    assert (loop["backwards_per_step"], loop["accumulation"]["factor"]) == (4, [4, 0.25])


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
