"""What the model is fed is measured, training and validation apart, and a hole in it is told at once."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.tape import taped


def test_it_measures_the_scale_of_the_training_inputs() -> None:
    fact = last(train(), "inputs")["model"]
    expected = torch.cat([batch(step)[0] for step in range(12)])
    assert fact["shape"] == [12, 8]
    assert (
        fact["rms"] == torch.linalg.vector_norm(expected).item() / expected.numel() ** 0.5
        or abs(fact["rms"] - expected.square().mean().sqrt().item()) < 1e-5
    )
    assert abs(fact["absmax"] - expected.abs().max().item()) < 1e-5
    assert fact["nonfinite"] is None


class Counted(nn.Module):
    """Reads tokens, and is told how many of them count, as by the Hugging Face Trainer."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.head = nn.Embedding(9, 8), nn.Linear(8, 5)

    def forward(self, tokens: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        return self.head(self.read(tokens)).sum(1) / number


def test_a_single_number_beside_tokens_is_no_input() -> None:
    def body(step, model, optimizer):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(torch.randint(0, 9, (12, 24)), torch.tensor(288.0)), batch(step)[1])
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, model=Counted()), "inputs")["model"]
    assert (fact["shape"], fact["rms"]) == ([12, 24], None)


class Agent(nn.Module):
    """Is asked by methods of its own, and by its forward in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = nn.Linear(1, 16)
        self.parts = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 5)])

    def act(self, x: torch.Tensor) -> torch.Tensor:
        late = self.clock(torch.full((len(x), 1), 1e4))
        return self.parts[1]((self.parts[0](x / 255) + 1e-4 * late).relu())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.act(x)


def test_what_enters_a_model_whose_forward_is_never_called_is_what_its_parts_are_given() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model.act(255 * x), y)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            F.cross_entropy(model(255 * x), y)
        return loss

    fact = last(train(body, model=Agent()), "inputs")["model"]
    assert (fact["shape"], fact["batches"]) == ([12, 8], 11)
    assert fact["absmax"] == pytest.approx(max(batch(step)[0].abs().max().item() for step in range(1, 12)))
    assert (fact["validation"]["shape"], fact["validation"]["batches"]) == ([12, 8], 11)
    assert fact["validation"]["absmax"] == pytest.approx(fact["absmax"])


class Sum(nn.Module):
    """Adds what it is given in a list, as a layer of Keras does."""

    def forward(self, both: list[torch.Tensor]) -> torch.Tensor:
        return both[0] + both[1]


def test_a_list_of_what_other_parts_made_is_no_entrance() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model["last"](model["sum"]([model["left"](x), model["right"](x)])), y)
        loss.backward()
        optimizer.step()
        return loss

    parts = {"left": nn.Linear(8, 16), "right": nn.Linear(8, 16), "sum": Sum(), "last": nn.Linear(16, 5)}
    assert last(train(body, model=nn.ModuleDict(parts)), "inputs")["model"]["shape"] == [12, 8]


def test_a_model_that_is_called_itself_is_fed_what_it_is_given() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(255 * x), y)
        loss.backward()
        optimizer.step()
        return loss

    model = Agent()
    fact = last(train(body, model=model), "inputs")["model"]
    assert fact["batches"] == 12
    assert fact["absmax"] > 255
    assert not any(item._forward_hooks for item in model.modules())


def test_it_lists_the_largest_columns_of_a_table() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        x[:, 3] *= 1000
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body), "inputs")["model"]
    assert fact["features"][0]["index"] == 3
    assert fact["features"][0]["rms"] > 300 * fact["median_rms"]


def test_it_tells_the_step_of_a_value_that_is_not_finite() -> None:
    def body(step, model, optimizer):
        x, y = batch(step)
        if step == 7:
            x[0, 0] = float("nan")
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if step != 7:
            loss.backward()
            optimizer.step()
        else:
            optimizer.step()
        return loss

    found = last(train(body), "inputs")["model"]["nonfinite"]
    assert found == {"batches": 1, "first_step": 7}


def test_inputs_in_double_precision_are_measured_like_others() -> None:
    model = classifier().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(12):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x.double()), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish()
    fact = last(tape, "inputs")["model"]
    expected = torch.cat([batch(step)[0] for step in range(12)])
    assert fact["dtype"] == "float64"
    assert abs(fact["rms"] - expected.square().mean().sqrt().item()) < 1e-5


def test_it_sees_validation_between_unsampled_steps_and_leaves_no_hook() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(30):
        monitor.step(usual(step, model, optimizer))
        if step % 10 == 9:
            model.eval()
            with torch.no_grad():
                for part in range(3):
                    x, y = batch(100 + part)
                    F.cross_entropy(model(4 * x), y)
            model.train()
    monitor.finish(timeout=0.1)
    fact = last(tape, "inputs")["model"]
    assert 3.5 < fact["validation"]["rms"] / fact["rms"] < 4.5
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_tokens_have_a_shape_and_no_scale() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(24, 5))

    def body(step, model, optimizer):
        chance = torch.Generator().manual_seed(step)
        x, y = torch.randint(0, 9, (12, 6), generator=chance), torch.randint(0, 5, (12,), generator=chance)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    fact = last(train(body, model=model), "inputs")["model"]
    assert (fact["shape"], fact["dtype"], fact["rms"]) == ([12, 6], "int64", None)


def test_an_input_that_another_part_computes_is_told_from_data() -> None:
    models = nn.ModuleDict({"body": nn.Linear(8, 5), "head": nn.Linear(5, 5)})
    optimizer = torch.optim.SGD(models.parameters(), lr=0.1)
    monitor, tape = taped(dict(models), optimizer, strict=True)
    for step in range(4):
        x, y = batch(step)
        optimizer.zero_grad()
        loss = F.cross_entropy(models["head"](models["body"](x)), y)
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    fact = last(tape, "inputs")
    assert (fact["body"]["computed"], fact["head"]["computed"]) == (False, True)


class Widened(nn.Module):
    """Computes with what arrives in eight bits, beside weights that are kept in as many."""

    def __init__(self) -> None:
        super().__init__()
        self.passed, self.trained = nn.Identity(), nn.Linear(4, 3)
        self.kept = nn.Parameter(torch.ones(3, 4).to(torch.float8_e4m3fn), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.passed(x).float()
        return self.trained(x) + x @ self.kept.float().T


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_tensors_of_eight_bits_are_left_alone_also_when_a_loss_breaks(kind: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Widened()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for step in range(12):
        optimizer.zero_grad()
        output = model(torch.randn(8, 4).to(kind))
        loss = (output * (float("nan") if step == 9 else 1.0)).square().mean()
        loss.backward()
        optimizer.step()
        monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert len(tape.series("loss")) == 12
    assert tape.facts("flight")[-1]["breaks"][0]["step"] == 9


def test_of_a_long_table_columns_are_measured_from_end_to_end() -> None:
    """The first rows of a table that is in order of time say nothing of its column of time."""
    table = torch.randn(20_000, 10)
    table[:, 0] = torch.linspace(-2, 2, 20_000)
    head = nn.Linear(10, 1)

    def body(step, model, optimizer):
        loss = model(table).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    columns = last(train(body, model=head, steps=3), "inputs")["model"]["features"]
    time = next(item for item in columns if item["index"] == 0)
    assert abs(time["mean"]) < 0.02
    assert time["std"] == pytest.approx(4 / 12**0.5, rel=0.02)
