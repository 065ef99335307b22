"""Real trainings that break in a step which nobody measured, or in one that was: which finding is the cause."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from server.diagnosis.engine import Engine
from server.diagnosis.lifecycle import Raised
from server.domain.findings import Severity
from server.rules.registry import Registry, load_rules
from tests.corpus.diagnosis import diagnose
from tests.corpus.pace import paced
from tests.corpus.probe import Probe, Recording

LATE, EARLY = 777, 50
Break = Callable[[Tensor, Tensor, "Net"], tuple[Tensor, Tensor]]


class Inner(nn.Module):
    """Divides by what is 0 when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.factor = nn.Linear(16, 16), 1.0

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.linear(x))
        return hidden / ((hidden.sum(1, keepdim=True) + 1.0) * self.factor)


class Net(nn.Module):
    """Two layers around the one that divides; `root` may add a term to the loss whose slope is infinite."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 16), Inner(), nn.Linear(16, 3)
        self.root = self.log = False

    def forward(self, x: Tensor) -> Tensor:
        return self.c(self.b(torch.relu(self.a(x))))

    def loss(self, out: Tensor, y: Tensor) -> Tensor:
        known = F.cross_entropy(out, y)
        if self.root:
            known = known + (self.b.linear.weight * 0.0).pow(2).sum().sqrt()
        return known - (out.softmax(1) * 0.0).log().mean() if self.log else known


def nan_row(x: Tensor, y: Tensor, model: Net) -> tuple[Tensor, Tensor]:
    return torch.where(torch.arange(len(x)).unsqueeze(1) == 3, math.nan, x), y


def division(x: Tensor, y: Tensor, model: Net) -> tuple[Tensor, Tensor]:
    model.b.factor = 0.0
    return x, y


def root(x: Tensor, y: Tensor, model: Net) -> tuple[Tensor, Tensor]:
    model.root = True
    return x, y


def logarithm(x: Tensor, y: Tensor, model: Net) -> tuple[Tensor, Tensor]:
    model.log = True
    return x, y


@cache
def rules() -> Registry:
    return load_rules()


def train(harm: Break | None, at: int, *, stop: bool = False) -> Recording:
    """Trains for 40 steps after the one that is harmed; or ends with it, as a loop that checks its loss does."""
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    probe = Probe(model, optimizer)
    for step in range(at + 41):
        x = torch.randn(32, 8)
        y = (x[:, 0] > 0).long() + (x[:, 1] > 0).long()
        if step == at and harm is not None:
            x, y = harm(x, y, model)
        optimizer.zero_grad()
        loss = model.loss(model(x), y)
        loss.backward()
        optimizer.step()
        model.b.factor, model.root, model.log = 1.0, False, False
        probe.step(loss)
        if stop and step == at:
            break
    return probe.finish()


def found(recording: Recording) -> dict[str, Raised]:
    warned = [item for item in diagnose(recording, rules()).findings if item.verdict.severity is not Severity.INFO]
    return {item.code: item for item in warned if item.open}


def top_of(code: str, told: dict[str, Raised]) -> str:
    while (cause := told[code].cause) is not None:
        code = cause[0]
    return code


@pytest.mark.parametrize("stop", [False, True], ids=["goes on", "stops there"])
@pytest.mark.parametrize("at", [EARLY, LATE])
@pytest.mark.parametrize(
    ("harm", "code", "message"),
    [
        (nan_row, "GW605", "The inputs hold NaN or infinity at step {at} where they go into `a` (8 of 256 values)"),
        (division, "GW602", "The forward pass made the first non-finite value at step {at}: a division (DivBackward0)"),
    ],
)  # fmt: skip
def test_the_cause_is_what_broke_first_and_its_advice_needs_no_second_run(
    harm: Break, code: str, message: str, at: int, stop: bool
) -> None:
    told = found(train(harm, at, stop=stop))
    cause = told[code]
    assert cause.verdict.message.startswith(message.format(at=at))
    assert cause.verdict.first_step == at
    assert cause.verdict.layers[0] == {"GW605": "a", "GW602": "b.linear"}[code]
    assert "detect_anomaly" not in cause.verdict.advice
    assert top_of("GW601", told) == code
    assert "detect_anomaly" not in told["GW601"].verdict.advice
    for below in {"GW602", "GW603"} & set(told) - {code}:
        assert top_of(below, told) == code


@pytest.mark.parametrize("at", [EARLY, LATE])
def test_a_root_of_nothing_is_a_gradient_of_the_step_before_the_loss_broke(at: int) -> None:
    told = found(train(root, at))
    assert told["GW603"].verdict.message.startswith("The gradient ")
    assert told["GW603"].verdict.first_step == at
    assert told["GW603"].cause is None
    assert told["GW603"].verdict.layers[0] == "b.linear"
    assert told["GW601"].cause == ("GW603", 0)
    assert told["GW602"].cause == ("GW603", 0)


def test_an_operation_behind_the_last_layer_is_named_in_the_loss() -> None:
    told = found(train(logarithm, EARLY))
    assert told["GW601"].cause is None
    assert "came from a logarithm (LogBackward0) after the last layer `c`" in told["GW601"].verdict.message
    assert "GW605" not in told
    assert told["GW602"].cause == ("GW601", 0)


@pytest.mark.parametrize("at", [5, EARLY, LATE])
@pytest.mark.parametrize("flat", [False, True], ids=["one label each", "laid end to end"])
@pytest.mark.parametrize("penalty", [0.0, 1e-4], ids=["the loss alone", "a term beside it"])
def test_a_batch_of_which_every_target_is_ignored_is_named_in_any_step(at: int, flat: bool, penalty: float) -> None:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    probe = Probe(model, optimizer)
    for step in range(at + 41):
        x = torch.randn(32, 8)
        y = ((x[:, 0] > 0).long() + (x[:, 1] > 0).long()).masked_fill(torch.rand(32) < 0.1, -100)
        if step == at:
            y = torch.full_like(y, -100)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y.view(4, 8).view(-1) if flat else y)
        loss = loss + penalty * model.a.weight.square().sum() if penalty else loss
        loss.backward()
        if step != at:  # as one does who leaves such a step out
            optimizer.step()
        probe.step(loss)
    told = found(probe.finish())
    assert told["GW604"].cause is None
    assert told["GW604"].verdict.first_step == at
    assert "every target is ignored, and the loss is not finite since step" in told["GW604"].verdict.message
    assert told["GW604"].verdict.message.startswith("In 1 of ")


@pytest.mark.parametrize("pace", ["usual", "dense"])
def test_the_same_training_without_harm_raises_nothing(pace: str) -> None:
    with paced(pace):
        told = found(train(None, LATE))
    assert told.keys() & {"GW601", "GW602", "GW603", "GW604", "GW605"} == set()


@pytest.mark.parametrize("harm", [nan_row, division, root])
def test_where_every_step_is_measured_the_cause_is_the_same(harm: Break) -> None:
    with paced("dense"):
        told = found(train(harm, EARLY))
    code = {nan_row: "GW605", division: "GW602", root: "GW603"}[harm]
    assert told[code].cause is None
    assert told[code].verdict.first_step == EARLY
    assert top_of("GW601", told) == code


def test_step_by_step_says_the_same_as_all_at_once() -> None:
    """Live, the doctor judges what is there; the fact of the recorder comes with the step that it is about."""
    recording = train(division, LATE)
    at_once = diagnose(recording, rules()).findings
    engine = Engine([item.rule for item in rules() if not item.rule.across_ranks])
    rows = sorted((step, names, row) for names, (steps, table) in recording.rows.items()
                  for step, row in zip(steps, table, strict=True))  # fmt: skip
    for upto in range(-1, LATE + 41):
        for name, step, value in recording.facts:
            if step == upto:
                engine.evidence.add_fact(name, step, value)
        for step, names, row in rows:
            if step == upto:
                engine.evidence.add(names, [step], [[value] for value in row])
        engine.evidence.settle(upto)
        engine.advance()
    assert not engine.evidence.disordered
    engine.finish()
    assert [(item.code, item.raised_step, item.verdict.message) for item in engine.findings] == [
        (item.code, item.raised_step, item.verdict.message) for item in at_once
    ]
