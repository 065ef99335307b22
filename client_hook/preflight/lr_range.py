"""The learning-rate range test: trains with a rate that grows at each step and looks where the loss falls.

After Smith (2017), with the settings of fast.ai: 100 steps from 1e-7 to 10. Short trials at constant rates follow,
because a growing rate notices late that it is too high. Not for: reading the curve (lr_curve), advising (lr_advice),
judging your rate (lr_check).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from client_hook.living import living
from client_hook.preflight import lr_advice, lr_sweep
from client_hook.preflight.checks import Budget
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.lr_advice import Advice, Trial
from client_hook.preflight.lr_curve import Average, Evened, Reading, growing, read
from client_hook.preflight.restore import Kept, kept, prepare
from client_hook.preflight.subject import Subject

LOW, HIGH, STEPS = 1e-7, 10.0, 100
TRIAL_STEPS = 16
FEWEST_STEPS = 30
SWEEP_SHARE = 0.4  # of the time that is left
PASSES_A_STEP = 3.0  # forwards that a step takes: one forward, and a backward of two
TRIALS_SHARE = 0.6  # of the time that is left may be gone when a trial begins: other checks train too
MOST_HALVINGS = 4  # of the gap between a stable and an unstable rate: it ends within a factor of 1.4


@dataclass(frozen=True)
class LRRange:
    """What a range test measured and advises. `yours` is the highest rate of the optimizer as it is set up.

    `losses[i]` is the loss after the step at `rates[i]`. All rates are those of the fastest group (`shares` has the
    others' parts of it). `suggestion` lies between `low` and `high`; above `diverges` the loss runs away.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    reading: Reading
    trials: tuple[Trial, ...]
    advice: Advice
    yours: float
    shares: tuple[float, ...]
    warms_up: bool
    batches: int
    ended: str
    seconds: float

    @property
    def suggestion(self) -> float | None:
        """The rate to start with; None where the curve shows none."""
        return self.advice.rate

    @property
    def steepest(self) -> float | None:
        """The rate at which the loss falls fastest; None where it does not fall."""
        return self.reading.steepest

    @property
    def diverges(self) -> float | None:
        """The rate from which on the loss runs away; None where it never does."""
        return self.advice.diverges

    @property
    def yours_runs_away(self) -> bool:
        """Says whether your rate lies above the turn and a trial at it raised the loss."""
        above = self.diverges is not None and self.yours > self.diverges
        return above and any(trial.rate == self.yours and not trial.stable for trial in self.trials)

    def __str__(self) -> str:
        said = [f"Learning-rate range test: {len(self.losses)} steps, {len(self.trials)} trials, {self.seconds:.1f} s"]
        said += [f"  {sentence}" for sentence in (*self.advice.reasons, self.ended) if sentence]
        said.append(f"  {suggested(self)} Yours is {self.yours:.3g}.")
        return "\n".join(said)


def lr_range_test(
    model: Any,
    loss_fn: Any,
    loader_or_batch: Any,
    optimizer: Optimizer,
    *,
    low: float = LOW,
    high: float = HIGH,
    steps: int = STEPS,
    seconds: float = 60.0,
    forward: Callable[[Any, Any], Any] | None = None,
) -> LRRange:
    """Finds a learning rate to start with; everything is put back afterwards, bit for bit, also after an exception.

    `loader_or_batch` is a DataLoader (or any iterable of batches that is no tuple, mapping or tensor), or one batch.
    Raises PreflightError over an argument.
    """
    _check_range(low, high, steps, seconds)
    if not isinstance(optimizer, Optimizer):
        raise PreflightError(f"optimizer: got {type(optimizer).__name__}, expected a torch.optim.Optimizer")
    is_batch = isinstance(loader_or_batch, (Tensor, Mapping, tuple))
    batch, loader = (loader_or_batch, None) if is_batch else (None, loader_or_batch)
    subject = Subject(model, loss_fn, batch, optimizer, loader, forward=forward)
    if living.sharing([model, optimizer]):
        raise PreflightError("model: a monitor watches it; run the range test before watch, or monitor.finish() first")
    with kept(subject):
        prepare(subject)
        subject.try_out()
        return measure(subject, Budget(seconds), low=low, high=high, steps=steps)


def measure(subject: Subject, budget: Budget, *, low: float = LOW, high: float = HIGH, steps: int = STEPS) -> LRRange:
    """Measures a subject; weights and optimizer are those at the call again afterwards."""
    optimizer = _optimizer(subject)
    began, peaks = monotonic(), lr_sweep.peaks(optimizer)
    shares, yours, gentle = lr_sweep.shares_of(peaks), max(peaks), lr_sweep.warms_up(optimizer)
    batches, until = subject.batches(), monotonic() + max(budget.left, 0.0)
    enough = monotonic() + TRIALS_SHARE * max(budget.left, 0.0)

    def loss_of(index: int) -> Tensor:
        budget.at(0.5 * index / steps)
        return subject.run(batches[index % len(batches)], seed=None).loss

    with kept(subject) as before, subject.mode(True):
        _start(subject, before)
        first, forward_s = _first_losses(batches, loss_of)
        steps = _affordable(steps, forward_s, budget)
        rates = growing(low, high, steps)
        _start(subject, before)
        losses = lr_sweep.train(
            optimizer, loss_of, rates, shares, even=Evened(first), until=until, average=Average(steps)
        )
        whole = len(losses) > steps or monotonic() <= until  # else the time was over on the way
        if len(losses) < 3:
            raise PreflightError(
                f"seconds: only {len(losses) - 1} steps of the range test fitted in; give it more time"
            )
        seen = rates[: len(losses) - 1]
        reading = read(seen, losses[1:], steps)
        trials: list[Trial] = []
        cut = False
        for rate in _next_rates(reading, yours, high, trials):
            cut = monotonic() > enough
            if cut:
                break
            _start(subject, before)
            tried = lr_sweep.train(optimizer, loss_of, [rate] * TRIAL_STEPS, shares, until=until)
            if len(tried) > TRIAL_STEPS or not math.isfinite(tried[-1]):
                same = [first[index % len(first)] for index in range(len(tried))]
                trials.append(lr_advice.judge_trial(rate, same, tried, reading.noise))
            budget.at(0.5 + 0.05 * len(trials))
    return LRRange(
        tuple(seen),
        tuple(losses[1:]),
        reading,
        tuple(trials),
        lr_advice.advise(reading, trials, low, seen[-1]) if whole or reading.turns else lr_advice.unfinished(seen[-1]),
        yours,
        tuple(shares),
        gentle,
        len(batches),
        _ended(len(seen), steps, seen[-1], whole=whole, cut=cut),
        monotonic() - began,
    )


def suggested(test: LRRange) -> str:
    """Says the suggestion with its range, in a sentence."""
    advice = test.advice
    if advice.rate is None or advice.low is None or advice.high is None:
        return "There is no rate to suggest."
    return f"Start near {advice.rate:.2g} (between {advice.low:.2g} and {advice.high:.2g})."


def _optimizer(subject: Subject) -> Optimizer:
    if subject.optimizer is None:
        raise PreflightError("optimizer: got None, expected a torch.optim.Optimizer")
    problem = lr_sweep.problem(subject.optimizer)
    if problem:
        raise PreflightError(f"optimizer: {problem}")
    optimizer: Optimizer = subject.optimizer
    return optimizer


def _first_losses(batches: Sequence[Any], loss_of: Callable[[int], Tensor]) -> tuple[list[float], float]:
    """Gives the loss of each batch before any step, and how long one forward takes."""
    began = monotonic()
    with torch.no_grad():
        found = [float(loss_of(index)) for index in range(len(batches))]
    for index, loss in enumerate(found):
        if not math.isfinite(loss):
            raise PreflightError(f"loss: batch {index} has a loss of {loss} before any step; a finite one is needed")
    return found, (monotonic() - began) / len(found)


def _affordable(steps: int, forward_s: float, budget: Budget) -> int:
    """Takes fewer and longer strides where the time does not suffice for all of them."""
    fit = SWEEP_SHARE * budget.left / max(PASSES_A_STEP * forward_s, 1e-9)
    return min(steps, max(FEWEST_STEPS, int(min(fit, steps))))


def _start(subject: Subject, before: Kept) -> None:
    before.put_back()
    subject.model.train()
    prepare(subject)


def _next_rates(reading: Reading, yours: float, high: float, trials: list[Trial]) -> Iterator[float]:
    """Gives the rates worth a trial; looks at the trials so far to halve the gap between stable and unstable."""
    for rate in lr_advice.wanted_trials(reading, yours, high):
        if rate > 0 and not any(abs(math.log(rate / trial.rate)) < 0.05 for trial in trials):
            yield rate
    for _ in range(MOST_HALVINGS):
        middle = lr_advice.between(trials)
        if middle is None:
            return
        yield middle


def _check_range(low: float, high: float, steps: int, seconds: float) -> None:
    if not 0 < low < high < math.inf:
        raise PreflightError(
            f"low, high: got {low!r} and {high!r}, expected two numbers above 0, the first one smaller"
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 20:
        raise PreflightError(f"steps: got {steps!r}, expected a whole number of at least 20")
    if not seconds > 0:
        raise PreflightError(f"seconds: got {seconds!r}, expected a number above 0")


def _ended(made: int, planned: int, last: float, *, whole: bool, cut: bool) -> str:
    if not whole:
        return f"The time was over at a rate of {last:.2g}, after {made} of {planned} steps."
    said = [f"It ended at {last:.2g}, where the loss ran away."] if made < planned else []
    said += ["The time did not suffice for all short trials."] if cut else []
    return " ".join(said)
