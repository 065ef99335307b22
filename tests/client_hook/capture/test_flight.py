"""The flight recorder names what broke first, with step, batch and random state, also on steps that are not sampled."""

from __future__ import annotations

import base64
import math
import sys
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from client_hook.capture import batch_print, first_bad
from client_hook.capture.flight import describe
from tests.client_hook.tape import Tape, taped

BREAKS_AT = 150  # long after the steps that are all sampled


class Net(nn.Module):
    """Three layers; `between` may break what goes from the first to the second."""

    def __init__(self, between: Callable[[Tensor], Tensor] = torch.relu) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head, self.between = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 3), between
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.head(torch.relu(self.second(self.between(self.first(x)))))


def train(
    model: nn.Module, *, bad: Callable[[int, Tensor], Tensor] = lambda step, x: x, clip: bool = False, steps: int = 160,
    loss_of: Callable[[int, Tensor], Tensor] | None = None, error_at: int = -1, sampled: bool = False,
) -> Tape:  # fmt: skip
    """Trains on a loader; gives what reached the outbox. Measuring in full is too dear after step 100, unless asked."""
    data = DataLoader(TensorDataset(torch.randn(16 * steps, 8), torch.arange(16 * steps) % 3), batch_size=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True, budget=1.0 if sampled else 1e-6)
    error = None
    for step, (x, y) in enumerate(data):
        if step == error_at:
            error = RuntimeError("the loop ended here")
            break
        optimizer.zero_grad()
        out = model(bad(step, x))
        loss = loss_of(step, out) if loss_of is not None else F.cross_entropy(out, y)
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        monitor.step(loss)
    monitor.__exit__(type(error) if error else None, error, None)
    return tape


def breaks(tape: Tape) -> list[dict[str, Any]]:
    facts = tape.facts("flight")
    return facts[-1]["breaks"] if facts else []


def only_break(tape: Tape) -> dict[str, Any]:
    found = breaks(tape)
    assert [item["reason"] for item in found] == [found[0]["reason"]], found
    return found[0]


def test_a_healthy_training_has_no_record() -> None:
    assert breaks(train(Net())) == []


def test_a_batch_that_is_no_number_is_named_with_its_print() -> None:
    poisoned: list[Tensor] = []

    def bad(step: int, x: Tensor) -> Tensor:
        if step == BREAKS_AT:
            x[3, 2] = math.nan
            poisoned.append(x)
        return x

    broken = only_break(train(Net(), bad=bad))
    assert (broken["step"], broken["reason"]) == (BREAKS_AT, "nonfinite-loss")
    assert broken["first_bad"]["direction"] == "input"
    assert broken["first_bad"]["module"] == "first"
    assert broken["batch"]["from"] == "loader"
    assert broken["batch"]["tensors"][0]["nonfinite"] == 1
    assert broken["batch"]["tensors"][0] == batch_print.fingerprint(poisoned)[0]


def test_the_operation_that_made_the_first_bad_value_is_named() -> None:
    """A logarithm of zero between the layers, on one step only."""
    model = Net()
    step_now = [0]

    def between(hidden: Tensor) -> Tensor:
        step_now[0] += 1
        return torch.log(torch.relu(hidden)) if step_now[0] == BREAKS_AT + 1 else torch.relu(hidden)

    model.between = between
    found = only_break(train(model))["first_bad"]
    assert (found["direction"], found["module"], found["operation"]) == ("forward", "first", "LogBackward0")


@pytest.mark.parametrize(
    ("norms", "direction"),
    [((), "unseen"), ((100, 101), "unseen"), ((99, 100), "backward"), ((20, 100), "unseen")],
    ids=str,
)
def test_what_a_device_tells_late_is_no_claim_about_weights_that_broke_since(
    norms: tuple[int, ...], direction: str
) -> None:
    """The losses and norms of a device come some steps late; by then every weight is bad, whatever was first."""
    model = Net()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.01), strict=True)
    assert monitor._parts is not None
    context = monitor._parts.context
    assert context.on_bad_norm is not None
    assert context.on_break is not None
    context.counter.closed = 106
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(math.nan)
    for step in norms:
        context.on_bad_norm(step)
    context.on_break("nonfinite-loss", 100)
    found = only_break(tape)
    monitor.finish(timeout=0.1)
    assert found["step"] == 100
    assert found["first_bad"] == {
        "direction": direction, "module": None, "tensor": None, "operation": None, "later": 7, "count": 6,
        "all": [name for name, _ in model.named_parameters()],
    }  # fmt: skip


def test_what_is_known_late_is_a_fact_of_the_step_at_which_it_is_known() -> None:
    """What the doctor has judged meanwhile stays as it was, so a replay says the same as he did then."""
    model = Net()
    monitor, tape = taped(model, torch.optim.SGD(model.parameters(), lr=0.01), strict=True)
    assert monitor._parts is not None
    context = monitor._parts.context
    assert context.on_break is not None
    context.counter.closed = 106
    context.on_break("nonfinite-loss", 100)
    sent = [step for kind, name, step, _ in tape.records if (kind, name) == ("fact", "flight")]
    monitor.finish(timeout=0.1)
    assert sent == [106]


def test_an_operation_behind_the_last_weights_is_one_of_the_loss() -> None:
    def loss_of(step: int, out: Tensor) -> Tensor:
        return (out.square().mean() * (0.0 if step == BREAKS_AT else 1.0)).log().square()

    found = only_break(train(Net(), loss_of=loss_of, sampled=True))["first_bad"]
    assert (found["direction"], found["module"], found["operation"]) == ("loss", "head", "LogBackward0")


def test_another_head_that_is_called_later_does_not_come_after_an_operation_of_the_loss() -> None:
    model = Net()

    def loss_of(step: int, out: Tensor) -> Tensor:
        entropy = (out.softmax(1) * (0.0 if step == BREAKS_AT else 1.0)).log().mean()
        return entropy + model.head(torch.ones(2, 8)).square().mean()

    found = only_break(train(model, loss_of=loss_of, sampled=True))["first_bad"]
    assert (found["direction"], found["operation"]) == ("loss", "LogBackward0")


def test_the_end_of_a_graph_that_saved_nothing_names_no_operation() -> None:
    """A mean passes on what it was given; of a sum nobody knows which of its terms was bad."""

    def loss_of(step: int, out: Tensor) -> Tensor:
        return (out + (torch.inf if step == BREAKS_AT else 0.0)).mean() ** 1

    found = only_break(train(Net(), loss_of=lambda step, out: loss_of(step, out) + 0.0, sampled=True))["first_bad"]
    assert found["direction"] == "loss"
    assert found["operation"] is None or "Add" not in found["operation"]


@pytest.mark.parametrize("function", [F.mse_loss, F.smooth_l1_loss, F.binary_cross_entropy_with_logits])
def test_a_target_that_is_no_number_is_an_input_and_no_fault_of_the_last_layer(function: Any) -> None:
    def loss_of(step: int, out: Tensor) -> Tensor:
        return function(out, torch.full_like(out, math.nan if step == BREAKS_AT else 0.0))

    assert only_break(train(Net(), loss_of=loss_of))["first_bad"]["direction"] == "input"


def test_a_factor_that_is_no_number_is_the_losses_own_and_not_in_the_batch() -> None:
    def loss_of(step: int, out: Tensor) -> Tensor:
        return out.square().mean() * torch.tensor(math.nan if step == BREAKS_AT else 1.0)

    found = only_break(train(Net(), loss_of=loss_of, sampled=True))["first_bad"]
    assert (found["direction"], found["operation"]) == ("loss", "MulBackward0")


def test_minus_infinity_in_a_mask_is_not_what_broke_first() -> None:
    mask = torch.zeros(16, 16).masked_fill(torch.ones(16, 16).triu(1).bool(), -math.inf)

    def between(hidden: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(hidden, hidden, hidden, attn_mask=mask)

    def loss_of(step: int, out: Tensor) -> Tensor:
        return (out / (0.0 if step == BREAKS_AT else 1.0)).square().mean()

    found = only_break(train(Net(between), loss_of=loss_of))["first_bad"]
    assert (found["direction"], found["module"]) == ("loss", "head")


def test_weights_that_run_away_are_two_breaks_the_jump_and_the_overflow() -> None:
    def loss_of(step: int, out: Tensor) -> Tensor:
        return out.square().mean() * (1e30 if step == BREAKS_AT else 1.0)

    jump, overflow = breaks(train(Net(), loss_of=loss_of, steps=200))
    assert (jump["reason"], jump["step"], jump["first_bad"]) == ("loss-spike", BREAKS_AT, None)
    assert (overflow["reason"], overflow["step"]) == ("nonfinite-loss", BREAKS_AT + 1)
    assert overflow["first_bad"]["direction"] == "forward"


def test_a_metric_that_is_no_number_and_learned_from_by_nobody_breaks_nothing() -> None:
    metrics = []

    def loss_of(step: int, out: Tensor) -> Tensor:
        metrics.append(F.mse_loss(out, torch.full_like(out, math.nan if step == BREAKS_AT else 0.0)))
        return F.cross_entropy(out, torch.arange(16) % 3)

    assert breaks(train(Net(), loss_of=loss_of)) == []
    assert metrics[BREAKS_AT].isnan()
    assert metrics[BREAKS_AT].requires_grad


@pytest.mark.parametrize("second", [False, True])
def test_a_term_of_its_own_beside_a_loss_function_is_looked_at_too(second: bool) -> None:
    """Added to the other, or in a backward of its own: where the loss function says nothing odd."""

    def loss_of(step: int, out: Tensor) -> Tensor:
        own = torch.log(out.square().mean() * (0.0 if step == BREAKS_AT else 1.0)).abs()
        known = F.cross_entropy(out, torch.arange(16) % 3)
        if not second:
            return known + own
        known.backward(retain_graph=True)
        return own

    broken = only_break(train(Net(), loss_of=loss_of))
    assert (broken["step"], broken["reason"]) == (BREAKS_AT, "nonfinite-loss")
    assert broken["first_bad"]["operation"] == "LogBackward0"


def test_a_scaler_that_looks_for_its_scale_breaks_nothing() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1e36)
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(12):
        out = model(torch.randn(16, 8))
        loss = 1e4 * (out - out.detach()).sum() + 1.0  # flat in value and steep in slope
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert any(not math.isfinite(norm) for norm in tape.series("clip/before").values()), "it did overflow"
    assert breaks(tape) == []


def sqrt_at_zero(step: int, out: Tensor) -> Tensor:
    """Its value is 0, its gradient 0/0, from step 150 on."""
    loss = out.square().mean()
    return loss + torch.sqrt((out[:, 0] * 0.0).square().sum()) if step == BREAKS_AT else loss


def test_a_gradient_that_breaks_is_found_at_the_clipping_of_the_same_step() -> None:
    broken = breaks(train(Net(), loss_of=sqrt_at_zero, clip=True))[0]
    assert (broken["step"], broken["reason"]) == (BREAKS_AT, "nonfinite-gradient")
    assert (broken["first_bad"]["direction"], broken["first_bad"]["module"]) == ("backward", "head")
    assert broken["first_bad"]["count"] == 6, "all of them, and the one nearest to the loss is named"


def test_without_clipping_it_is_found_at_the_next_step_in_the_weights() -> None:
    broken = breaks(train(Net(), loss_of=sqrt_at_zero))[0]
    assert (broken["step"], broken["reason"]) == (BREAKS_AT + 1, "nonfinite-loss")
    assert (broken["first_bad"]["direction"], broken["first_bad"]["module"]) == ("update", "head")


def test_on_a_sampled_step_the_measured_gradients_tell() -> None:
    tape = train(Net(), loss_of=lambda step, out: sqrt_at_zero(step + BREAKS_AT - 5, out), steps=10)
    broken = breaks(tape)[0]
    assert (broken["step"], broken["reason"]) == (5, "nonfinite-gradient")
    assert broken["first_bad"]["module"] == "head"


def test_a_spike_has_a_record_and_full_detail_after_it() -> None:
    tape = train(Net(), loss_of=lambda step, out: out.square().mean() + (50.0 if step == BREAKS_AT else 0.0), steps=220)
    broken = only_break(tape)
    assert (broken["step"], broken["reason"], broken["first_bad"]) == (BREAKS_AT, "loss-spike", None)
    assert broken["batch"]["tensors"][0]["shape"] == [16, 8]
    sampled = set(tape.series("grad_norm"))
    after = sorted(step for step in sampled if step > BREAKS_AT)[:10]
    assert after == list(range(after[0], after[0] + 10)), "ten steps in a row"
    assert after[0] <= BREAKS_AT + 33, "at once, or where steps are so short that several close together, after those"
    assert BREAKS_AT - 1 not in sampled
    assert set(tape.series("loss")) == set(range(220)), "the scalars of every step"


def test_the_last_samples_come_with_batches_and_states() -> None:
    tape = train(Net(), bad=lambda step, x: x * math.nan if step == 15 else x, steps=20)
    broken = breaks(tape)[0]
    assert [item["step"] for item in broken["samples"]] == list(range(8, 16))
    assert all(item["batch"]["tensors"][0]["hash"] for item in broken["samples"])
    assert len({item["batch"]["tensors"][0]["hash"] for item in broken["samples"]}) == 8
    assert broken["rng"]["step"] == 15
    state = torch.frombuffer(
        bytearray(zlib.decompress(base64.b85decode(broken["rng"]["torch_state"]))), dtype=torch.uint8
    )
    assert describe(state)["torch"] == broken["rng"]["torch"]
    torch.set_rng_state(state)  # it can be set again


def test_an_exception_leaves_a_record_of_where_it_stood() -> None:
    broken = only_break(train(Net(), error_at=30))
    assert (broken["reason"], broken["step"]) == ("exception", 30)
    assert broken["samples"]


def test_targets_stand_for_the_batch_where_there_is_no_loader() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(6):
        x, y = torch.randn(16, 8), torch.arange(16) % 3
        loss = F.cross_entropy(model(x * (math.inf if step == 5 else 1.0)), y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert breaks(tape)[0]["batch"] == {"from": "targets", "tensors": batch_print.fingerprint([y])}


def test_a_checkpoint_is_not_computed_again_to_look_inside() -> None:
    class Checkpointed(Net):
        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(super().forward, x, use_reentrant=False)

    model = Checkpointed(lambda x: torch.softmax(x, dim=1))
    train(model, bad=lambda step, x: x * math.nan if step == 5 else x, steps=8)
    assert model.calls == 16, "forward and its repetition in each backward"
    loss = Checkpointed()(torch.full((4, 8), math.nan)).sum()
    assert "direction" in first_bad.in_graph(_Nothing(), loss)  # type: ignore[arg-type]


class _Nothing:
    """A context that knows no parameter."""

    def parameter_name(self, _: Tensor) -> None:
        return None


def test_breaks_are_bounded_the_first_and_the_newest_are_kept() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor, tape = taped(model, optimizer, strict=True, budget=1e-6)
    for step in range(1600):
        loss = model(torch.randn(4, 8)).square().mean() + (1e3 if step % 210 == 205 else 0.0)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    kept = [item["step"] for item in breaks(tape)]
    assert len(kept) == 4
    assert kept[0] < kept[1] < kept[2] < 1000 < kept[3]


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(10),
        torch.ones(3, dtype=torch.bool),
        torch.randn(2, 3).to(torch.bfloat16),
        torch.zeros(0),
        torch.tensor(1),
        (torch.arange(5_000) % 2).to(torch.uint16),
    ],
    ids=["integers", "booleans", "bf16", "empty", "one number", "many 16-bit pixels"],
)
def test_the_print_is_the_same_for_the_same_values(tensor: Tensor) -> None:
    first, again = batch_print.fingerprint([tensor]), batch_print.fingerprint([tensor.clone()])
    assert first == again
    assert first[0]["shape"] == list(tensor.shape)
    other = batch_print.fingerprint([tensor.eq(0)])
    assert not tensor.numel() or first != other


def test_targets_of_a_gradient_of_each_sample_are_named_and_not_read() -> None:
    """`vmap` has let go of them when the loss turns out to be odd: asking for their values raises."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True, budget=1e-6)

    def of_one(weights: dict[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.cross_entropy(torch.func.functional_call(model, weights, (x[None],)), y[None])
        return loss, loss

    slopes = torch.func.vmap(torch.func.grad(of_one, has_aux=True), in_dims=(None, 0, 0))
    for step in range(BREAKS_AT + 1):
        x, y = torch.randn(16, 8) * (math.inf if step == BREAKS_AT else 1.0), torch.arange(16) % 3
        each, losses = slopes({key: value.detach() for key, value in model.named_parameters()}, x, y)
        for key, value in model.named_parameters():
            value.grad = each[key].mean(0)
        optimizer.step()
        monitor.step(losses.mean())
    monitor.finish(timeout=0.1)
    [broken] = breaks(tape)
    assert broken["step"] == BREAKS_AT
    assert broken["batch"]["from"] == "targets"
    assert [item["hash"] for item in broken["batch"]["tensors"]] == [None]


@pytest.mark.parametrize("steps", [3, BREAKS_AT])
@pytest.mark.parametrize("by_exit", [False, True])
def test_a_loop_that_ends_itself_over_its_loss_has_told_it(steps: int, by_exit: bool) -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    monitor, tape = taped(model, optimizer, strict=True)

    def train() -> None:
        for step in range(steps + 1):
            x = torch.full((8, 4), math.nan if step == steps else 1.0)
            loss = F.cross_entropy(model(x), torch.arange(8) % 3) + 0.1 * model.weight.square().sum()
            if not torch.isfinite(loss):
                if by_exit:
                    sys.exit("the loss is NaN")
                raise FloatingPointError("the loss is NaN")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            monitor.step(loss)

    with pytest.raises((SystemExit, FloatingPointError)), monitor:
        train()
    losses = tape.series("loss")
    assert list(losses) == list(range(steps + 1))
    assert math.isnan(losses[steps])
    first, *others = tape.facts("flight")[-1]["breaks"]
    assert (first["reason"], first["step"], first["first_bad"]["direction"]) == ("nonfinite-loss", steps, "input")
    assert [item["reason"] for item in others] == ["exception"]
