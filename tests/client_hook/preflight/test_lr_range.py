"""The learning-rate range test: it finds the largest stable rate of a bowl, and rates at which real models learn."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook import lr_range_test
from client_hook.preflight import PreflightError, checks, lr_range, lr_sweep, runner
from client_hook.preflight.lr_range import LRRange
from tests.client_hook.preflight.kit import HEALTHY, Case, seeded
from tests.client_hook.preflight.test_restore import everything, trained


class Bowl(nn.Module):
    """½ Σ λ x²: gradient descent is stable below 2/λmax, and only there."""

    def __init__(self, curvatures: list[float]) -> None:
        super().__init__()
        self.curvatures = torch.tensor(curvatures)
        self.x = nn.Parameter(torch.randn(len(curvatures), generator=torch.Generator().manual_seed(3)))

    def forward(self, ones: Tensor) -> Tensor:
        return 0.5 * (self.curvatures * self.x**2).sum() * ones.mean()


def bowl_test(curvatures: list[float], **options: Any) -> LRRange:
    model = Bowl(curvatures)
    optimizer = torch.optim.SGD(model.parameters(), lr=options.pop("lr", 1e-3))
    return lr_range_test(model, None, torch.ones(4, 1), optimizer, **options)


@pytest.mark.parametrize(
    "curvatures", [[1.0], [0.01, 0.1, 1, 10, 100], [3, 3.1, 50], [1000.0], [10 ** (at / 5 - 3) for at in range(20)]]
)
def test_it_finds_the_largest_stable_rate_of_a_bowl(curvatures: list[float]) -> None:
    test = bowl_test(curvatures)
    largest_stable = 2 / max(curvatures)
    assert test.diverges is not None
    assert test.suggestion is not None
    assert largest_stable / 1.5 < test.diverges < 1.5 * largest_stable
    assert 0.005 * largest_stable < test.suggestion < 0.7 * largest_stable
    for trial in test.trials:  # the oracle: |1 - rate λ| of the steepest direction
        if abs(trial.rate / largest_stable - 1) > 0.2:
            assert trial.stable == (trial.rate < largest_stable)


def trained_loss(case: Case, rate: float, steps: int = 60) -> float:
    """Trains from the weights of the case, the plain way, and gives the mean loss of the last tenth."""
    assert case.optimizer is not None
    start = {name: item.clone() for name, item in case.model.state_dict().items()}
    optimizer = type(case.optimizer)(case.model.parameters(), lr=rate)
    losses = []
    torch.manual_seed(7)
    while len(losses) < steps:
        for inputs, targets in case.loader:
            optimizer.zero_grad()
            loss = case.loss_fn(case.model(inputs), targets)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    case.model.load_state_dict(start)
    mean = sum(losses[-steps // 10 :]) / (steps // 10)
    return mean if math.isfinite(mean) else math.inf


@pytest.mark.parametrize("name", HEALTHY)
def test_training_at_the_suggestion_beats_a_hundredth_and_a_hundredfold_of_it(name: str) -> None:
    case = seeded(HEALTHY[name])
    test = lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer)
    assert test.suggestion is not None
    assert test.advice.low is not None
    assert test.advice.high is not None
    assert test.advice.low <= test.suggestion <= test.advice.high
    at_it = trained_loss(case, test.suggestion)
    assert at_it < trained_loss(case, test.suggestion / 100)
    assert at_it < trained_loss(case, test.suggestion * 100)
    assert "Start near" in str(test)
    assert "runs away" in str(test)


@pytest.mark.parametrize("breaks_at", [None, 30])
def test_everything_is_put_back_bit_for_bit_also_after_an_exception(breaks_at: int | None) -> None:
    case = trained("cnn")
    calls = 0

    def loss_fn(output: Tensor, targets: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == breaks_at:
            raise RuntimeError("the disk is gone")
        return F.cross_entropy(output, targets)

    before = everything(case)
    if breaks_at is None:
        lr_range_test(case.model, loss_fn, case.loader, case.optimizer)
    else:
        with pytest.raises(RuntimeError, match="the disk is gone"):
            lr_range_test(case.model, loss_fn, case.loader, case.optimizer)
    after = everything(case)
    assert [key for key in before if before[key] != after[key]] == []


def test_groups_keep_their_proportion_and_a_tensor_of_a_rate_stays_the_same_one() -> None:
    case = seeded(HEALTHY["mlp"])
    first, *rest = case.model.parameters()
    rate = torch.tensor(1e-3)
    optimizer = torch.optim.SGD([{"params": [first], "lr": rate}, {"params": rest, "lr": 1e-4}], foreach=False)
    seen = []
    optimizer.register_step_post_hook(lambda one, *_: seen.append([float(group["lr"]) for group in one.param_groups]))
    test = lr_range_test(case.model, case.loss_fn, case.loader, optimizer)
    assert test.yours == pytest.approx(1e-3)
    assert test.shares == pytest.approx((1.0, 0.1))
    assert all(slow == pytest.approx(fast / 10) for fast, slow in seen)
    assert seen[0][0] == pytest.approx(1e-7)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(1e-3)


OPTIMIZERS = [
    torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.NAdam,
    torch.optim.RAdam, torch.optim.Adamax, torch.optim.ASGD, torch.optim.Rprop, torch.optim.Adafactor,
    torch.optim.LBFGS,
]  # fmt: skip


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_any_optimizer_is_good_enough(kind: Any) -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = kind(case.model.parameters(), lr=1e-3)
    before = everything(case)
    test = lr_range_test(case.model, case.loss_fn, case.batch, case.optimizer, steps=40)
    after = everything(case)
    assert [key for key in before if before[key] != after[key]] == []
    assert test.suggestion is not None
    assert 1e-7 < test.suggestion < 10


def test_the_verdict_names_a_rate_that_runs_away_and_one_that_is_far_too_low() -> None:
    case = seeded(HEALTHY["mlp"])
    assert case.optimizer is not None
    group = case.optimizer.param_groups[0]
    healthy = case.check("GW106")
    assert (healthy.verdict, healthy.numbers["yours"]) == ("passed", 1e-3)
    assert healthy.message.startswith("Your learning rate is 0.001. Start near ")
    marks = [mark["label"].rpartition(" ")[0] for mark in healthy.curves["range test"]["marks"]]
    assert marks == ["steepest", "runs away", "yours", "suggestion"]
    assert healthy.curves["range test"]["log_x"]

    group["lr"] = 5.0
    high = case.check("GW106")
    assert (high.verdict, high.severity) == ("found", "warning")
    assert high.message.startswith("Your learning rate of 5 lies above ")
    assert "runs away" in high.message

    group["lr"] = 1e-6
    low = case.check("GW106")
    assert (low.verdict, low.severity) == ("found", "info")
    assert "where the loss falls fastest" in low.message
    assert low.advice.startswith("Start near ")


def test_a_schedule_that_begins_gently_makes_a_high_peak_an_info() -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = torch.optim.SGD(case.model.parameters(), lr=100.0)
    assert case.check("GW106").severity == "warning"
    torch.optim.lr_scheduler.LinearLR(case.optimizer, start_factor=0.001)
    gentle = case.check("GW106")
    assert (gentle.verdict, gentle.severity, gentle.numbers["yours"]) == ("found", "info", 100.0)
    assert gentle.advice.endswith("Your schedule begins below it: keep its warm-up.")


def test_it_says_why_it_cannot_judge() -> None:
    case = seeded(HEALTHY["mlp"])
    assert case.optimizer is not None
    case.optimizer.param_groups[0]["lr"] = None
    assert case.check("GW106").reason == (
        "a range test needs a learning rate in every group; group 0 of Adam has lr=None"
    )
    case.optimizer = None
    assert case.check("GW106").reason == "it needs the optimizer: preflight(model, loss_fn, batch, optimizer)"


def test_a_model_that_cannot_learn_gets_no_suggestion() -> None:
    model = Bowl([1.0])
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)  # holds none of its weights
    test = lr_range_test(model, None, torch.ones(4, 1), optimizer)
    assert test.suggestion is None
    assert test.steepest is None
    assert test.diverges is None
    assert test.advice.reasons == (
        "Between 1e-07 and 10 the loss neither fell nor ran away: the rate is not what is missing.",
    )


class Clock:
    """Every look at it takes a hundredth of a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.01
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (checks, lr_range, lr_sweep):
        monkeypatch.setattr(module, "monotonic", made)
    monkeypatch.setattr(runner, "monotonic", lambda: 0.0)  # a pass seems to take no time, however slow the machine
    return made


@pytest.mark.usefixtures("clock")
def test_it_ends_with_its_time_and_suggests_nothing_that_it_has_not_seen() -> None:
    case = seeded(HEALTHY["mlp"])
    short = lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer, seconds=0.5)
    assert 10 < len(short.losses) < 60
    assert re.fullmatch(r"The time was over at a rate of \S+, after \d+ of \d+ steps\.", short.ended)
    assert short.suggestion is None
    (why,) = short.advice.reasons
    assert why.endswith("before the loss had run away: that is too early for a suggestion.")
    assert case.check("GW106", seconds=0.25).verdict == "not_evaluated"
    longer = lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer, seconds=2.0)
    assert longer.suggestion is not None
    assert longer.ended.endswith("The time did not suffice for all short trials.")
    with pytest.raises(PreflightError, match="seconds: only 0 steps of the range test fitted in; give it more time"):
        lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer, seconds=1e-9)


def test_a_slow_model_is_tested_in_fewer_and_longer_strides() -> None:
    fits = lr_range._affordable
    assert fits(100, 0.001, checks.Budget(60)) == 100
    assert fits(100, 0.1, checks.Budget(60)) == pytest.approx(0.4 * 60 / 0.3, abs=1)
    assert fits(100, 10.0, checks.Budget(60)) == 30
    assert fits(25, 10.0, checks.Budget(60)) == 25  # as few as were asked for
    case = seeded(HEALTHY["mlp"])
    coarse = lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer, steps=30)
    fine = lr_range_test(case.model, case.loss_fn, case.loader, case.optimizer)
    assert coarse.suggestion is not None
    assert fine.suggestion is not None
    assert 0.1 < coarse.suggestion / fine.suggestion < 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"low": 0.0}, "low, high: got 0.0 and 10.0, expected two numbers above 0, the first one smaller"),
        ({"low": 1.0, "high": 0.5}, "low, high: got 1.0 and 0.5, expected two numbers above 0, the first one smaller"),
        ({"steps": 5}, "steps: got 5, expected a whole number of at least 20"),
        ({"seconds": 0}, "seconds: got 0, expected a number above 0"),
    ],
)
def test_bad_arguments_get_a_sentence(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(PreflightError) as told:
        bowl_test([1.0], **options)
    assert str(told.value) == sentence
    with pytest.raises(PreflightError, match="optimizer: got NoneType, expected a torch"):
        lr_range_test(Bowl([1.0]), None, torch.ones(4, 1), None)  # type: ignore[arg-type]


class Scaled(nn.Module):
    """Classifies well from the start; some samples are easy, others hopeless."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(8, 3)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:, :3] = 4 * torch.eye(3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x)


def test_batches_of_unequal_difficulty_are_no_loss_that_runs_away() -> None:
    torch.manual_seed(0)
    x = torch.randn(320, 8)
    y = x[:, :3].argmax(1)
    wrong = torch.arange(320) % 7 == 0
    y[wrong] = (y[wrong] + 1) % 3
    loader = list(zip(x.split(4), y.split(4), strict=True))  # losses of 0.01 to 5
    model = Scaled()
    test = lr_range_test(model, F.cross_entropy, loader, torch.optim.Adam(model.parameters(), lr=1e-3))
    assert test.diverges is None or test.diverges > 1e-2
    assert test.suggestion is None or test.suggestion > 1e-4
    assert not test.yours_runs_away


def test_a_batch_whose_loss_is_no_number_is_named() -> None:
    case = seeded(HEALTHY["mlp"])
    loader = [(x.clone(), y) for x, y in case.loader]
    loader[3][0][0, 0] = math.inf
    with pytest.raises(PreflightError, match="loss: batch 3 has a loss of nan before any step; a finite one is needed"):
        lr_range_test(case.model, case.loss_fn, loader, case.optimizer)
    case.loader = loader
    assert case.check("GW106").reason == "loss: batch 3 has a loss of nan before any step; a finite one is needed"


def test_the_rate_of_an_optimizer_that_looks_for_its_own_step_is_not_judged() -> None:
    case = seeded(HEALTHY["mlp"])
    case.optimizer = torch.optim.LBFGS(case.model.parameters(), lr=10.0, max_iter=4)
    assert case.check("GW106").reason == (
        "LBFGS chooses the length of its steps itself: on single batches its rate says little"
    )
