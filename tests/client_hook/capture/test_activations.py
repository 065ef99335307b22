"""Statistics of outputs against plain torch; which call counts; and that no hook stays."""

from __future__ import annotations

import math
from time import perf_counter

import pytest
import torch
from torch import nn

from client_hook import watch
from client_hook.capture.activations import SAMPLE, ActivationSignal
from client_hook.capture.dead_units import DeadUnitSignal
from tests.client_hook.tape import recorder_of

KINDS = ("mean", "std", "absmax", "zeros", "nonfinite")


def run(model: nn.Module, *inputs: torch.Tensor):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, ActivationSignal)
    outputs = [model(item) for item in inputs]
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    return tape, outputs


def test_small_outputs_are_measured_in_full() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 3))
    tape, outputs = run(model, torch.randn(16, 10))
    expected = {"0": model[0](torch.zeros(1, 10)), "2": outputs[0].detach()}
    output = expected["2"]
    values = {kind: tape.series(f"act/{kind}/2")[0] for kind in KINDS}
    assert values["mean"] == pytest.approx(float(output.mean()), rel=1e-5)
    assert values["std"] == pytest.approx(float(output.std(unbiased=False)), rel=1e-5)
    assert values["absmax"] == pytest.approx(float(output.abs().max()), rel=1e-6)
    assert values["zeros"] == values["nonfinite"] == 0.0
    assert 0.2 < tape.series("act/zeros/1")[0] < 0.8
    assert tape.series("act/saturated/1") == {}, "only tanh and sigmoid can saturate"


def test_a_usual_network_of_pictures_is_seen_as_it_is() -> None:
    """Its layers put out powers of two, and its pictures have a black edge."""
    torch.manual_seed(0)
    pictures = torch.zeros(64, 1, 32, 32)
    pictures[..., 6:26, 6:26] = torch.rand(64, 1, 20, 20)
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 256, 256), nn.ReLU(),
    )  # fmt: skip
    tape, _ = run(model, pictures)
    output = pictures
    for name, layer in model.named_children():
        output = layer(output).detach()
        spread, zeros = tape.series(f"act/std/{name}")[0], tape.series(f"act/zeros/{name}")[0]
        assert spread == pytest.approx(float(output.std()), rel=0.15), name
        assert zeros == pytest.approx(float((output == 0).float().mean()), abs=0.1), name


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "strided"])
def test_large_outputs_are_sampled_evenly(layout: str) -> None:
    class Given(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.manual_seed(0)
    x = torch.randn(8, 16, 32, 32) * torch.arange(1, 9).view(8, 1, 1, 1)
    if layout == "channels_last":
        x = x.to(memory_format=torch.channels_last)
    elif layout == "strided":
        x = x.repeat_interleave(2, dim=3)[..., ::2]
    model = nn.Sequential(Given(), nn.Flatten(), nn.Linear(16 * 32 * 32, 1))
    assert x.numel() > 10 * SAMPLE
    tape, _ = run(model, x)
    assert tape.series("act/std/0")[0] == pytest.approx(float(x.std()), rel=0.05)
    assert tape.series("act/mean/0")[0] == pytest.approx(0.0, abs=0.3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("peak", [1_000.0, -1_000.0, math.inf, math.nan])
def test_the_largest_value_of_a_large_output_is_that_of_all_its_elements(peak: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 1_024, dtype=dtype)
    x[37, 501] = peak
    tape, _ = run(nn.Sequential(nn.Identity(), nn.Linear(1_024, 1, dtype=dtype)), x)
    assert tape.series("act/absmax/0") == {0: pytest.approx(abs(peak), nan_ok=True)}
    assert tape.series("act/std/0")[0] == pytest.approx(1.0, rel=0.1), "a sample"


def test_saturated_is_the_share_of_values_at_the_ends() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Linear(4, 4), nn.Sigmoid())
    nn.init.zeros_(model[1].weight)
    model[1].bias.data = torch.tensor([-9.0, 0.0, 1.0, 9.0])
    tape, _ = run(model, torch.tensor([[0.0, 0.5, 3.0, -3.0]]))
    assert tape.series("act/saturated/0") == {0: 0.5}
    assert tape.series("act/saturated/2") == {0: 0.5}


def test_values_that_are_no_numbers_are_counted_and_kept() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(4, 4))
    x = torch.ones(5, 4)
    x[0, 0], x[1, 1] = math.nan, math.inf
    tape, _ = run(model, x)
    assert tape.series("act/nonfinite/0") == {0: pytest.approx(0.1)}
    assert math.isnan(tape.series("act/mean/0")[0])


def test_half_precision_does_not_overflow_in_the_sums() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(64, 1).half())
    tape, _ = run(model, torch.full((64, 64), 3_000.0, dtype=torch.float16))
    assert tape.series("act/absmax/0") == {0: 3_000.0}
    assert tape.series("act/std/0") == {0: 0.0}


def test_layers_are_in_the_order_of_their_calls() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(x))

    tape, _ = run(Backwards(), torch.ones(1, 2))
    ((_, names, _),) = [row for row in tape.rows if "act/mean/first" in row[1]]
    assert names[:2] == ("act/mean/first", "act/mean/last")


def test_a_recurrent_layers_first_tensor_counts() -> None:
    tape, outputs = run(nn.LSTM(4, 8), torch.randn(5, 3, 4))
    assert tape.series("act/mean/model")[0] == pytest.approx(float(outputs[0][0].detach().mean()), abs=1e-6)


def test_a_validation_inside_the_step_does_not_count() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, ActivationSignal)
    with torch.no_grad():
        model.eval()
        model(torch.full((1, 2), 100.0))
        model.train()
    model(torch.ones(1, 2))
    optimizer.step()
    recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert tape.series("act/mean/0") == {0: 1.0}


def test_hooks_are_there_on_measured_steps_alone() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, _ = recorder_of(model, optimizer, ActivationSignal, DeadUnitSignal)
    recorder.governor.after_step = lambda *_: recorder.counter.closed % 2 == 1  # type: ignore[method-assign]

    def hooks() -> int:
        return sum(len(module._forward_hooks) for module in model.modules())

    for step in range(6):
        assert hooks() == (4 if step % 2 == 0 else 0)
        model(torch.ones(1, 2))
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.detach()
    assert hooks() == 0


def test_units_that_never_fired_are_counted() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 6), nn.ReLU())
    with torch.no_grad():
        model[0].bias[:3] = -1e6
        model[3].bias += 10.0
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, DeadUnitSignal)
    for _ in range(20):
        model(torch.randn(4, 1, 8, 8))
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    first = tape.facts("dead_units")[0]
    assert first["1"] == {"units": 8, "dead": 3, "samples": 20, "inputs": 20 * 4 * 36, "since": 0}
    assert (first["4"]["units"], first["4"]["dead"]) == (6, 0)


def test_micro_batches_are_inputs_of_the_same_units() -> None:
    """A unit that fires in the third micro-batch of each step alone is alive."""
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.ReLU())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(4, 2))
    recorder, tape = recorder_of(model, optimizer, DeadUnitSignal)
    for _ in range(20):
        for micro in range(3):
            model(torch.tensor([[1.0, micro - 1.5]]).expand(5, 2)).sum().backward()
        optimizer.step()
        recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    assert tape.facts("dead_units")[0]["1"] == {"units": 4, "dead": 2, "samples": 20, "inputs": 300, "since": 0}


def test_units_that_die_later_are_counted_although_they_have_fired_before() -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
        model[0].bias.fill_(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    recorder, tape = recorder_of(model, optimizer, DeadUnitSignal)
    recorder.governor.budget = 1.0
    for step in range(90):
        if step == 5:  # a step that is too large takes three of four units with it
            with torch.no_grad():
                model[0].bias[:3] = -1e6
        recorder.context.sampled = True
        model(torch.rand(50, 2))
        optimizer.step()
        recorder.governor.alarm()  # the next steps are measured in full
        recorder.step(1.0, {}, perf_counter())
    recorder.finish()
    recorder.detach()
    told = [fact["1"] for fact in tape.facts("dead_units")]
    assert told[0] == {"units": 4, "dead": 0, "samples": 20, "inputs": 1_000, "since": 0}
    assert told[-1]["dead"] == 3
    assert told[-1]["inputs"] >= 500
    assert told[-1]["since"] >= 20


class Places(nn.Module):
    """Adds an embedding's weight without calling the embedding, as small GPTs do."""

    def __init__(self) -> None:
        super().__init__()
        self.places, self.head = nn.Embedding(4, 8), nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + self.places.weight)


@pytest.mark.parametrize(
    ("compiled", "words"),
    [
        (False, "activations not visible (places): nothing calls what learns there."),
        (True, "compiled: activations not visible (places and 1 more)."),
    ],
)
def test_what_is_not_seen_is_said_with_its_reason(compiled: bool, words: str) -> None:
    model = Places()
    if compiled:
        model.compile(backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, url="http://127.0.0.1:9")
    for _ in range(6):
        optimizer.zero_grad()
        loss = model(torch.randn(3, 4, 8)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert monitor.ledger["notes"] == [words]


class Refusing(torch.Tensor):
    """Answers hardly any question."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ == "is_floating_point":
            raise TypeError("nobody may ask that")
        return super().__torch_function__(func, types, args, kwargs)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("kind", [torch.strided, torch.jagged, Refusing])
def test_tensors_that_cannot_be_asked_are_left_alone(kind: object) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.LayerNorm(8), nn.Dropout(0.1), nn.Linear(8, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, url="http://127.0.0.1:9", strict=True)
    for step in range(40):
        rows = [torch.randn(length, 4) for length in (2, 3, 5)]
        if kind is Refusing:
            outputs = [model(row.as_subclass(Refusing)).as_subclass(torch.Tensor) for row in rows]
        else:
            outputs = model(torch.nested.nested_tensor(rows, layout=kind)).unbind()
        loss = sum(output.square().mean() for output in outputs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                monitor.validation(loss.item())
            model.train()
    assert monitor.ledger["notes"] == []
    monitor.finish(timeout=0.1)


@pytest.mark.parametrize("kind", ["one picture", "one graph", "one long sequence"])
def test_outputs_whose_neighbours_are_alike_are_seen_as_they_are(kind: str) -> None:
    """A few places, each with its neighbours, say little: maps are smooth, and each channel has its own mean."""
    for seed in range(4):
        torch.manual_seed(seed)
        if kind == "one picture":
            x = nn.functional.interpolate(torch.randn(1, 3, 4, 4), 128, mode="bilinear")
            layer: nn.Module = nn.Conv2d(3, 64, 3, padding=1)
        elif kind == "one graph":
            x, layer = torch.randn(7, 64).repeat_interleave(300, 0), nn.Linear(64, 128)
        else:
            x, layer = torch.randn(40, 64).repeat_interleave(100, 0).unsqueeze(0), nn.Linear(64, 128)
        tape, outputs = run(nn.Sequential(layer, nn.ReLU()), x)
        output = outputs[0].detach()
        spread = float(output.std())
        assert tape.series("act/std/1")[0] == pytest.approx(spread, rel=0.08)
        assert tape.series("act/mean/1")[0] == pytest.approx(float(output.mean()), abs=0.08 * spread)
        zeros = float((output == 0).float().mean())
        assert tape.series("act/zeros/1")[0] == pytest.approx(zeros, abs=0.04)
