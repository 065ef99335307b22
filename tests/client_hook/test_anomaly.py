"""What the loss watch takes for odd; being wrong here costs a few measurements, no more."""

from __future__ import annotations

import random

from client_hook.anomaly import LossWatch


def test_it_notices_the_first_loss_that_is_no_number() -> None:
    watch = LossWatch()
    assert watch.look(1.0) is None
    assert watch.look(float("nan")) == "nonfinite-loss"
    assert watch.look(float("inf")) is None, "still the same"
    assert watch.look(1.0) is None
    assert watch.look(float("-inf")) == "nonfinite-loss"


def test_it_notices_a_jump_and_not_the_noise() -> None:
    noise = random.Random(0)
    watch = LossWatch()
    quiet = [watch.look(2.0 / (1 + step / 100) + noise.gauss(0, 0.05)) for step in range(3_000)]
    assert quiet.count(None) >= 2_999
    assert watch.look(5.0) == "loss-spike"


def test_a_constant_loss_is_quiet() -> None:
    watch = LossWatch()
    assert not any(watch.look(1.0) for _ in range(100))
    assert watch.look(1.0000001) is None


def test_the_rounding_of_a_loss_that_came_to_nothing_is_quiet() -> None:
    """One batch learned by heart: the loss of float32 moves in units of 2^-29 there, and stands still for long."""
    watch = LossWatch()
    odd = [watch.look(2.3 * 0.8**step) for step in range(100)]
    odd += [watch.look(2.0**-25 + (step % 700 == 0) * 2.0**-29) for step in range(5_000)]
    assert not any(odd)
    assert watch.bound > 2.0**-25 + 2.0**-29, "plain steps hold a loss against it"
    assert watch.look(1e-3) == "loss-spike", "small against the beginning, and no rounding"
