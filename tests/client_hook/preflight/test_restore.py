"""Everything that a check touches is put back bit for bit, also when the check raises or is interrupted."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from client_hook.preflight.checks import passed
from client_hook.preflight.runner import run_checks
from tests.client_hook.preflight.kit import HEALTHY, Case, seeded


class Vandal:
    """A check that changes everything it can reach."""

    code, name, passes = "GW199", "vandal", 1

    def __init__(self, error: BaseException | None) -> None:
        self.error = error

    def run(self, subject: Any, budget: Any) -> Any:
        model, optimizer = subject.model, subject.optimizer
        for batch in subject.batches():
            optimizer.zero_grad()
            subject.run(batch, seed=None).loss.backward()
            optimizer.step()
        optimizer.param_groups[0]["lr"] = 7.0
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(3))]})
        optimizer.state.clear()
        model.eval()
        model.register_forward_hook(lambda *_: None)
        next(model.modules()).surprise = [1, 2]
        with torch.no_grad():
            for item in model.parameters():
                item.mul_(float("nan"))
                item.requires_grad_(False)
            for module in model.modules():
                for key in module._buffers:
                    module._buffers[key] = torch.ones(2)
        random.random(), np.random.rand(), torch.rand(1)
        if self.error is not None:
            raise self.error
        return passed(self, "done")


def everything(case: Case) -> dict[str, Any]:
    """Describes all that must stay as it is, in bytes where it is numbers."""
    model, optimizer = case.model, case.optimizer
    assert optimizer is not None
    raw = lambda item: None if item is None else (item.dtype, tuple(item.shape), item.detach().numpy().tobytes())  # noqa: E731
    return {
        "values": {name: raw(item) for name, item in model.state_dict(keep_vars=True).items()},
        "objects": [id(item) for item in [*model.parameters(), *model.buffers()]],
        "storages": [item.data_ptr() for item in model.parameters()],
        "gradients": [(id(item.grad), raw(item.grad)) for item in model.parameters()],
        "flags": [item.requires_grad for item in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "hooks": [len(module._forward_hooks) for module in model.modules()],
        "groups": [{key: item for key, item in group.items() if key != "params"} for group in optimizer.param_groups],
        "held": [[id(item) for item in group["params"]] for group in optimizer.param_groups],
        "state": {id(key): {name: raw(item) for name, item in state.items()} for key, state in optimizer.state.items()},
        "state object": id(optimizer.state),
        "random": (random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()),
        "loader": case.loader.generator.get_state().tolist(),
    }


def trained(name: str) -> Case:
    """Makes a case in the middle of a training: with optimizer state, gradients and a mixed mode."""
    case = seeded(HEALTHY[name])
    assert case.optimizer is not None
    case.subject().run().loss.backward()
    case.optimizer.step()
    next(iter(case.model.children())).eval()
    return case


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize(
    "error", [None, RuntimeError("no"), KeyboardInterrupt()], ids=["ends", "raises", "interrupted"]
)
def test_everything_is_put_back_bit_for_bit(name: str, error: BaseException | None) -> None:
    case = trained(name)
    before = everything(case)
    try:
        report = run_checks(case.subject(), [Vandal(error), Vandal(None)], 60.0)
        assert [item.verdict for item in report.results] == ["not_evaluated" if error else "passed", "passed"]
    except KeyboardInterrupt:
        assert isinstance(error, KeyboardInterrupt)
    after = everything(case)
    assert [key for key in before if before[key] != after[key]] == []


def test_each_check_starts_from_the_same_place() -> None:
    case = seeded(HEALTHY["cnn"])
    losses = []

    class Looks(Vandal):
        def run(self, subject: Any, budget: Any) -> Any:
            losses.append([subject.run(batch, seed=None).loss.item() for batch in subject.batches(3)])
            return super().run(subject, budget)

    report = run_checks(case.subject(), [Looks(None), Looks(RuntimeError("no")), Looks(None)], 60.0)
    assert [item.reason for item in report.results] == ["", "it failed on this model (RuntimeError: no)", ""]
    assert losses[0] == losses[1] == losses[2]
