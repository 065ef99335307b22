"""Reading a curve of a range test: against shapes whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from client_hook.preflight.lr_advice import judge_trial
from client_hook.preflight.lr_curve import Average, Evened, growing, noise_of, read

RATES = growing(1e-7, 10.0, 100)


def valley(falls_at: float, rises_at: float, noise: float = 0.0) -> list[float]:
    """Falls from 2 to 1 around one rate, in a logistic curve of a decade, and rises with the square above another."""
    chance = np.random.default_rng(1)
    logs = np.log10(RATES)
    down = 2 - 1 / (1 + np.exp(-4 * (logs - math.log10(falls_at))))
    up = np.where(np.array(RATES) > rises_at, (np.array(RATES) / rises_at) ** 2 - 1, 0.0)
    return list(down + up + noise * chance.standard_normal(len(RATES)))


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize(("falls_at", "rises_at"), [(1e-3, 0.3), (1e-4, 1e-2), (3e-2, 1.0)])
def test_it_finds_the_steepest_point_and_the_turn(falls_at: float, rises_at: float, noise: float) -> None:
    losses = valley(falls_at, rises_at, noise)
    reading = read(RATES, losses, 100)
    steepest = RATES[int(np.argmin(np.gradient(valley(falls_at, 1e9))))]  # the oracle: of the curve without noise
    assert reading.steepest is not None
    assert reading.turns is not None
    assert abs(math.log10(reading.steepest / steepest)) < 0.35
    assert -0.6 < math.log10(reading.turns / rises_at) < 0.35  # noise hides the first part of a gentle rise, or ends it
    assert reading.falls == pytest.approx(1.0, abs=0.35)  # a logistic curve with rate 4 falls by 4/4 a decade


def test_noise_alone_is_neither_a_fall_nor_a_rise() -> None:
    for seed in range(20):
        chance = np.random.default_rng(seed)
        reading = read(RATES, list(2.3 + 0.1 * chance.standard_normal(100)), 100)
        assert reading.turns is None
        assert reading.steepest is None or reading.falls < 0.3


def test_a_loss_that_is_no_number_ends_the_curve_at_its_turn() -> None:
    losses = [*valley(1e-3, 1e9)[:80], math.inf]
    reading = read(RATES[:81], losses, 100)
    assert reading.turns is not None
    assert RATES[70] <= reading.turns <= RATES[80]
    assert len(reading.smooth) == 80
    only = read(RATES[:1], [math.nan], 100)
    assert (only.turns, only.steepest, only.smooth) == (RATES[0], None, ())


def test_a_negative_loss_is_read_like_its_shifted_twin() -> None:
    losses = valley(1e-3, 0.3)
    plain, shifted = read(RATES, losses, 100), read(RATES, [loss - 1.5 for loss in losses], 100)
    assert shifted.steepest == plain.steepest
    assert shifted.turns == plain.turns


def test_the_average_is_the_usual_one_with_its_bias_taken_out() -> None:
    average, values = Average(100), [3.0, 1.0, 4.0, 1.0, 5.0]
    for index, value in enumerate(values):
        weights = [0.9 ** (index - at) for at in range(index + 1)]  # memory of a tenth of 100 steps: 1 - 1/10
        by_hand = sum(w * v for w, v in zip(weights, values, strict=False)) / sum(weights)
        assert average.add(value) == pytest.approx(by_hand)
    assert not average.runs_away(3.0)
    assert average.runs_away(30.0)
    assert average.runs_away(math.nan)


def test_noise_is_measured_on_a_slope_too() -> None:
    chance = np.random.default_rng(0)
    sloping = list(np.linspace(5, 1, 400) + 0.2 * chance.standard_normal(400))
    assert noise_of(sloping) == pytest.approx(0.2, rel=0.15)
    assert noise_of([1.0, 2.0]) == 0.0


def test_a_trial_is_compared_with_the_same_batches_before() -> None:
    before = [1.0, 3.0] * 8
    assert judge_trial(0.1, before, [0.9, 2.9] * 8, noise=1.4).fall == pytest.approx(0.1)
    assert judge_trial(0.1, before, [1.1, 3.1] * 8, noise=0.0).stable is False
    assert judge_trial(0.1, before, [1.001, 3.001] * 8, noise=0.0).stable is True  # a thousandth is no rise
    jumped = [1.0, 13.0, *[0.9, 2.9] * 7]  # 4 times the largest loss before is 12
    assert judge_trial(0.1, before, jumped, noise=1.4).stable is False
    assert judge_trial(0.1, before, [1.0, 11.0, *[0.9, 2.9] * 7], noise=1.4).stable is True
    assert judge_trial(0.1, before, [0.9, math.nan], noise=0.0).stable is False


def test_evening_takes_out_what_a_batch_always_has_more_and_less_of_it_as_the_loss_falls() -> None:
    before = [1.0, 3.0]
    even = Evened(before)
    assert [even(0, 1.0), even(1, 3.0), even(2, 1.0)] == pytest.approx([2.0, 2.0, 2.0])
    for index in range(3, 40):
        even(index, 0.1)
    assert even(40, 0.1) == pytest.approx(0.1, abs=0.1)  # hardly anything is left of the difference
    negative = Evened([-3.0, -1.0])
    assert negative(0, -3.0) == negative(1, -1.0) == -2.0
    assert math.isnan(even(41, math.nan))
    assert math.isfinite(even(42, 0.1))
