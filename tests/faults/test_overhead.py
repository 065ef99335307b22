"""H9: what the hook costs is measured by itself and kept down, whatever the model. Figures: `benchmarks.overhead`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import pytest
import torch

from benchmarks.models import COUNTERPARTS, Training, cnn, gpt, mlp
from benchmarks.models import MODELS as BENCHMARKED
from client_hook import watch
from client_hook.governor import FIRST_STEPS_S

# the three of RELIABILITY, the last two with few and small examples: what the hook measures is parameters and layers
MODELS: dict[str, Callable[[], Training]] = {
    "mlp": partial(mlp, 512, 64),
    "residual network": partial(cnn, 4),
    "twelve layers of attention": partial(gpt, 64, 12, 4, 64),
}
EARLY, LATE = 100, 60  # steps
CEILING = 0.10  # ten times the promise: this catches what no longer governs itself


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_h9_the_share_of_the_hook_is_lowered_to_its_budget(make: Callable[[], Training]) -> None:
    torch.manual_seed(0)
    training = make()
    monitor = watch(training.model, training.optimizer, url="http://127.0.0.1:9", strict=False)
    governor = monitor._parts.recorder.governor  # type: ignore[union-attr]
    for _ in range(EARLY + LATE):
        monitor.step(training.step())
    monitor.finish(timeout=0.1)
    summary = governor.summary()
    print(json.dumps(summary))
    early, late = summary["sampled_steps"] - summary["sampled_after_100"], summary["sampled_after_100"]
    # fewer fit into the two seconds where one takes half a second, because of what else this machine does
    assert early >= 20 or summary["first_20_s"] > FIRST_STEPS_S / 4, "the first steps are looked at closely"
    assert late / LATE < 0.5 * early / EARLY, "and later ones seldom"
    assert summary["share"] <= CEILING
    assert summary["share"] < summary["steps_20_100_share"]
    said = [note for note in monitor.ledger["notes"] if not note.startswith("activations not visible (places)")]
    assert (said, monitor.ledger["dropped"]) == ([], {}), "nothing went wrong on the way"


def test_h9_each_model_of_the_promise_has_its_counterpart_in_the_benchmark() -> None:
    assert set(COUNTERPARTS) == {"MLP 4x512", "ResNet-18", "12-layer transformer"}
    assert set(COUNTERPARTS.values()) <= BENCHMARKED.keys()


def test_h9_a_measurement_that_becomes_dear_is_made_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same training, whose measurements take a hundred times as long by the governor's clock."""
    samples = []
    for factor in (1.0, 100.0):
        training = mlp(64, 16)
        monitor = watch(training.model, training.optimizer, url="http://127.0.0.1:9", strict=False)
        governor = monitor._parts.recorder.governor  # type: ignore[union-attr]
        real = type(governor).after_step

        def dear(elapsed_s: float, spent_s: float, sampled: bool, governor=governor, factor=factor, real=real) -> bool:
            more = (factor - 1) * spent_s if sampled else 0.0
            return real(governor, elapsed_s + more, spent_s + more, sampled)

        monkeypatch.setattr(governor, "after_step", dear)
        for _ in range(EARLY + LATE):
            monitor.step(training.step())
        monitor.finish(timeout=0.1)
        samples.append(governor.summary()["sampled_steps"])
    assert samples[1] < samples[0]
