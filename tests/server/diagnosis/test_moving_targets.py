"""Losses that need not fall, because the training makes their targets, are known by how they are computed."""

from __future__ import annotations

import numpy as np
import pytest

from server.diagnosis.engine import Engine
from server.rules._moving import makes_its_targets, weighs_probabilities

QUEUE = {"function": "cross_entropy", "classes": 513, "label_counts": {"0": 1664}}
SIDE_BY_SIDE = {
    "operations": ["NllLossBackward0", "LogSoftmaxBackward0", "DivBackward0", "CatBackward0", "SumBackward1"]
}


def test_values_of_actions_are_compared_with_values() -> None:
    assert makes_its_targets({"loss_call": {"function": "smooth_l1_loss", "previous_op": "GatherBackward0"}})
    assert not makes_its_targets({"loss_call": {"function": "smooth_l1_loss", "previous_op": "AddmmBackward0"}})
    assert not makes_its_targets({"loss_call": {"function": "cross_entropy", "previous_op": "GatherBackward0"}})
    assert makes_its_targets({"loss_call": {"function": None}, "graph": {"clipped_ratio": True}})
    assert not makes_its_targets({"loss_call": {"function": None}, "graph": {"clipped_ratio": False}})
    assert not makes_its_targets({})


def test_a_queue_of_its_own_answers_gets_harder() -> None:
    assert makes_its_targets({"loss_call": QUEUE, "graph": SIDE_BY_SIDE})
    assert not makes_its_targets({"loss_call": {**QUEUE, "label_counts": {"0": 800, "1": 800}}, "graph": SIDE_BY_SIDE})
    assert not makes_its_targets({"loss_call": QUEUE, "graph": {"operations": ["NllLossBackward0", "AddmmBackward0"]}})
    assert not makes_its_targets({"loss_call": QUEUE})


@pytest.mark.parametrize(("part", "moving"), [("reward", True), ("mean_return", True), ("penalty", False)])
def test_a_reward_among_the_parts_of_the_loss_is_one(part: str, moving: bool) -> None:
    engine = Engine([])
    engine.evidence.add(("loss", f"loss/{part}"), np.arange(5), np.ones((2, 5)))
    engine.evidence.settle_all()
    assert engine.window(4, 5, final=False, state="").gates.moving_target is moving


def test_two_optimizers_with_a_backward_each_play_a_game() -> None:
    two = [{"type": "Adam"}, {"type": "Adam"}]
    loop = {"calls": 100, "optimizer_step": 200, "backward": 300}
    assert makes_its_targets({"optimizers": two, "loop": loop})
    assert not makes_its_targets({"optimizers": two, "loop": {**loop, "backward": 100}})  # one loss for both
    assert not makes_its_targets({"optimizers": two[:1], "loop": loop})  # two updates for each call
    assert not makes_its_targets({"optimizers": two})


SCORES = ["SubBackward0", "MeanBackward0", "MeanBackward0", "AddmmBackward0", "AddmmBackward0", "SiluBackward0"]
TWICE = [{"op": "AddmmBackward0", "layer": name, "kind": "weighted"} for name in ("0", "2", "0", "2")]


def test_energies_of_data_less_those_of_samples_come_back_to_nothing() -> None:
    penalised = ["AddBackward0", SCORES[0], "MulBackward0", *SCORES[1:3], "MeanBackward0", *SCORES[3:], "PowBackward0"]
    assert makes_its_targets({"graph": {"operations": SCORES, "sequence": TWICE}})
    assert makes_its_targets({"graph": {"operations": ["NegBackward0", *SCORES], "sequence": TWICE}})
    assert makes_its_targets({"graph": {"operations": penalised, "sequence": TWICE}})
    assert not makes_its_targets({"graph": {"operations": SCORES, "sequence": TWICE[:2]}})  # two networks, or one batch
    squared = ["AddBackward0", "MeanBackward0", "MeanBackward0", "PowBackward0", "PowBackward0", "SubBackward0"]
    assert not makes_its_targets({"graph": {"operations": [*squared, "AddmmBackward0"], "sequence": TWICE}})
    margin = [*SCORES[:3], "ReluBackward0", "ReluBackward0", *SCORES[3:]]  # hinges have a lower end
    assert not makes_its_targets({"graph": {"operations": margin, "sequence": TWICE}})
    assert not makes_its_targets({"graph": {"operations": SCORES}})


POLICY = ["NegBackward0", "MeanBackward0", "MulBackward0", "SelectBackward0", "GatherBackward0", "LogSoftmaxBackward0"]


def test_probabilities_that_are_weighed_are_those_of_a_policy() -> None:
    assert weighs_probabilities({"graph": {"operations": POLICY}})
    assert not weighs_probabilities({"graph": {"operations": POLICY}, "loss_call": {"function": "cross_entropy"}})
    assert not weighs_probabilities({"graph": {"operations": ["NegBackward0", "MeanBackward0", *POLICY[4:]]}})
    assert not weighs_probabilities({})


def test_an_actor_beside_its_critic_is_a_policy() -> None:
    both = ["AddBackward0", "NegBackward0", "MseLossBackward0", "MeanBackward0", "MulBackward0", *POLICY[4:]]
    known = {"loss_call": {"function": "mse_loss"}}
    assert weighs_probabilities({"graph": {"operations": both}, **known})
    assert not weighs_probabilities({"graph": {"operations": [one for one in both if one[:3] != "Gat"]}, **known})


@pytest.mark.parametrize(("losses", "moving"), [([0.1, -0.2, 0.1], True), ([0.1, 0.2, 0.1], False)])
def test_a_policys_loss_is_of_both_signs(losses: list[float], moving: bool) -> None:
    engine = Engine([])
    engine.evidence.add(("loss",), np.arange(3), np.array([losses]))
    engine.evidence.add_fact("graph", 0, {"operations": POLICY})
    engine.evidence.settle_all()
    assert engine.window(2, 3, final=False, state="").gates.moving_target is moving
