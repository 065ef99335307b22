"""PyTorch-Ignite: an engine's iterations are steps, an evaluator's metrics the validation, an exception a failure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

pytestmark = pytest.mark.filterwarnings("default")  # theirs are not our errors


def engines(model: Any, optimizer: Any, norms: list[float]) -> tuple[Any, Any]:
    from ignite.engine import Engine, Events, create_supervised_evaluator
    from ignite.metrics import Loss

    from tests.client_hook.integrations.kit import norm_by_hand

    def update(_: Engine, batch: dict[str, torch.Tensor]) -> None:
        optimizer.zero_grad()
        model(**batch)["loss"].backward()
        norms.append(norm_by_hand(model))
        optimizer.step()

    trainer = Engine(update)
    evaluator = create_supervised_evaluator(
        model.body, {"loss": Loss(torch.nn.functional.cross_entropy)},
        prepare_batch=lambda batch, **_: (batch["x"], batch["labels"]),
    )  # fmt: skip
    from tests.client_hook.integrations.kit import Rows

    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: evaluator.run(DataLoader(Rows(), batch_size=32)))
    return trainer, evaluator


def test_every_step_arrives_with_its_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_hook.integrations import ignite as integration
    from tests.client_hook.integrations.kit import Net, Rows, tape_behind

    tapes = tape_behind(monkeypatch, integration)
    model, norms = Net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer, evaluator = engines(model, optimizer, norms)
    integration.GradwatchHandler(model, optimizer).attach(trainer, validation=evaluator)
    trainer.run(DataLoader(Rows(), batch_size=8), max_epochs=2)
    (tape,) = tapes
    assert tape.series("loss") == pytest.approx(dict(enumerate(model.losses)), rel=1e-6)
    assert tape.series("grad_norm") == pytest.approx(dict(enumerate(norms)), rel=1e-6)
    assert list(tape.series("val/loss")) == [3, 7]


def test_an_exception_is_a_failure_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from client_hook.integrations import ignite as integration
    from tests.client_hook.integrations.kit import Net, tape_behind

    tapes = tape_behind(monkeypatch, integration)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer, _ = engines(model, optimizer, [])
    integration.GradwatchHandler(model, optimizer).attach(trainer)
    with pytest.raises(TypeError):
        trainer.run([{"x": torch.zeros(2, 4), "labels": torch.zeros(2, dtype=torch.long)}, {"wrong": 1}])
    assert list(tapes[0].series("loss")) == [0]
    assert tapes[0].facts("flight")[-1]["breaks"][-1]["reason"] == "exception"


def test_micro_batches_are_one_step_with_the_loss_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    from ignite.engine import create_supervised_trainer

    from client_hook.integrations import ignite as integration
    from tests.client_hook.integrations.kit import Net, Rows, mean_of, tape_behind

    tapes = tape_behind(monkeypatch, integration)
    model, losses = Net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = create_supervised_trainer(
        model.body, optimizer, torch.nn.functional.cross_entropy, gradient_accumulation_steps=4,
        prepare_batch=lambda batch, **_: (batch["x"], batch["labels"]),
        output_transform=lambda x, y, y_pred, loss: losses.append(loss.item()),
    )  # fmt: skip
    integration.GradwatchHandler(model, optimizer).attach(trainer)
    trainer.run(DataLoader(Rows(), batch_size=2), max_epochs=3)
    assert tapes[0].series("loss") == pytest.approx(mean_of(losses, 4), rel=1e-6)
    assert list(tapes[0].series("grad_norm")) == list(range(12))


def test_iterations_in_which_no_watched_optimizer_steps_are_steps_after_a_while(monkeypatch: Any) -> None:
    from ignite.engine import Engine

    from client_hook.integrations import ignite as integration
    from tests.client_hook.integrations.kit import Net, tape_behind

    tapes = tape_behind(monkeypatch, integration)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def update(_: Engine, batch: torch.Tensor) -> None:
        model.zero_grad()
        model.body(batch).square().mean().backward()

    trainer = Engine(update)
    integration.GradwatchHandler(model, optimizer).attach(trainer)
    trainer.run(torch.ones(100, 2, 4), max_epochs=1)
    told = list(tapes[0].series("loss").values())
    assert len(told) > 30
    assert told == pytest.approx([float(model.body(torch.ones(2, 4)).square().mean())] * len(told))


def test_an_exception_that_somebody_handles_stays_handled(monkeypatch: pytest.MonkeyPatch) -> None:
    from ignite.engine import Events

    from client_hook.integrations import ignite as integration
    from tests.client_hook.integrations.kit import Net, tape_behind

    tapes = tape_behind(monkeypatch, integration)
    model, handled = Net(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer, _ = engines(model, optimizer, [])
    integration.GradwatchHandler(model, optimizer).attach(trainer)
    trainer.add_event_handler(Events.EXCEPTION_RAISED, lambda _, error: handled.append(error))
    trainer.run([{"wrong": 1}])
    assert [type(error) for error in handled] == [TypeError]
    assert tapes[0].facts("flight")[-1]["breaks"][-1]["reason"] == "exception"
