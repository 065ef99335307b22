"""Facts about the model, the optimizer, the data and the machine, from real loops."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from client_hook.capture import environment
from client_hook.capture.data import describe
from client_hook.capture.environment import read_git
from client_hook.capture.secrets import mask
from tests.client_hook.capture.loops import batch, classifier, last, train, usual
from tests.client_hook.plainly import is_plain, stay_plain
from tests.client_hook.tape import taped


def test_the_model_table_lists_leaf_modules_in_call_order() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(16, 5)
            self.unused = nn.Linear(3, 3)
            self.trunk = nn.Linear(8, 16)
            self.trunk.bias.requires_grad_(False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.trunk(x)))

    torch.manual_seed(0)
    model = last(train(model=Backwards()), "model")
    layers = {layer["name"]: layer for layer in model["layers"]}
    assert (layers["trunk"]["order"], layers["head"]["order"], layers["unused"]["order"]) == (0, 1, None)
    assert layers["trunk"]["output_shape"] == [12, 16]
    assert (layers["trunk"]["parameters"], layers["trunk"]["trainable"]) == (144, 128)
    assert layers["head"]["type"] == "Linear"
    assert model["total"] == 144 + 85 + 12
    parameters = {item["name"]: item for item in model["parameters"]}
    assert parameters["trunk.weight"]["shape"] == [16, 8]
    assert parameters["trunk.weight"]["groups"] == ["0"]
    assert parameters["trunk.bias"]["trainable"] is False


def test_weights_are_described_as_they_were_at_the_start() -> None:
    model = classifier()
    nn.init.uniform_(model[0].weight)
    nn.init.constant_(model[2].bias, 0.25)
    table = {item["name"]: item for item in last(train(model=model), "model")["parameters"]}
    assert (table["0.weight"]["mean"], table["0.weight"]["std"]) == pytest.approx((0.5, 12**-0.5), rel=0.1)
    assert [table["2.bias"][key] for key in ("mean", "std", "absmax")] == [0.25, 0.0, 0.25]


def test_parameters_that_no_optimizer_holds_have_no_group() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model[0].parameters(), lr=0.1)
    fact = last(train(model=model, optimizer=optimizer), "model")
    groups = {item["name"]: item["groups"] for item in fact["parameters"]}
    assert groups == {"0.weight": ["0"], "0.bias": ["0"], "2.weight": [], "2.bias": []}


def test_stale_tensors_of_an_optimizer_are_counted() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model[2] = nn.Linear(16, 5)
    fact = last(train(model=model, optimizer=optimizer), "optimizers")
    assert fact[0]["type"] == "SGD"
    assert fact[0]["stale"] == 2


def test_groups_send_their_values_as_series() -> None:
    model = classifier()
    groups = [{"params": model[0].parameters(), "lr": 0.5, "name": "trunk"}, {"params": model[2].parameters()}]
    optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.05, betas=(0.8, 0.9))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def body(step, model, optimizer):
        loss = usual(step, model, optimizer)
        scheduler.step()
        return loss

    tape = train(body, model=model, optimizer=optimizer, steps=4)
    assert list(tape.series("lr/trunk").values()) == pytest.approx([0.5, 0.25, 0.125, 0.0625])
    assert list(tape.series("lr/1").values()) == pytest.approx([0.01, 0.005, 0.0025, 0.00125])
    described = last(tape, "optimizers")[0]["groups"]
    assert [group["name"] for group in described] == ["trunk", "1"]
    assert [group["initial_lr"] for group in described] == [0.5, 0.01]
    assert described[0]["weight_decay"] == 0.05
    assert described[0]["betas"] == [0.8, 0.9]
    found = last(tape, "schedulers")[0]
    assert (found["type"], found["arguments"]["gamma"], found["steps"]) == ("ExponentialLR", 0.5, 4)


def test_a_loader_gives_waits_epochs_and_its_settings() -> None:
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 5, (40,)))
    loader = DataLoader(data, batch_size=8, shuffle=True, drop_last=True)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(3):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert list(tape.series("time/data")) == list(range(15))
    assert all(wait > 0 for wait in tape.series("time/data").values())
    assert list(tape.series("epoch").values()) == pytest.approx([(step + 1) / 5 for step in range(15)])
    fact = last(tape, "data")
    assert (fact["batches_per_epoch"], fact["batch_size"], fact["dataset_size"]) == (5, 8, 40)
    assert (fact["shuffle"], fact["drop_last"], fact["loader"], fact["epochs"]) == (True, True, True, 3)


class Alternately(Sampler):
    """Draws the first example and the last one in turn."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __iter__(self):
        return iter([0, self.size - 1] * (self.size // 2))

    def __len__(self) -> int:
        return self.size


@pytest.mark.parametrize(
    ("sampler", "weights", "uneven"),
    [
        (WeightedRandomSampler([0.9, 0.1], 40), 2, True),
        (WeightedRandomSampler([1.0] * 40, 40), 40, False),
        (Alternately(40), None, True),
        (SubsetRandomSampler(range(20)), None, False),
        (None, None, False),
    ],
    ids=["weights", "even-weights", "own", "subset", "in-order"],
)
def test_a_sampler_that_somebody_chose_is_known(sampler, weights, uneven) -> None:
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 5, (40,)))
    about = describe(DataLoader(data, batch_size=8, sampler=sampler))
    assert (about["weights"], about["uneven"]) == (weights, uneven)


class Share(BatchSampler):
    """Gives a rank its share of somebody's batches."""

    def __init__(self, batches: BatchSampler) -> None:
        self.batch_sampler = batches


class Pairs:
    """Makes batches by itself."""

    batch_size = 2

    def __iter__(self):
        return iter([[0, 39]] * 20)


@pytest.mark.parametrize(
    ("batches", "sampler", "shuffle"),
    [
        (BatchSampler(RandomSampler(range(40)), 8, drop_last=True), "RandomSampler", True),
        (Share(BatchSampler(RandomSampler(range(40)), 8, drop_last=True)), "RandomSampler", True),
        (BatchSampler(SequentialSampler(range(40)), 8, drop_last=True), "SequentialSampler", False),
        (BatchSampler(WeightedRandomSampler([0.9, 0.1], 40), 8, drop_last=True), "WeightedRandomSampler", None),
        (Pairs(), "Pairs", None),
    ],
    ids=["random", "share", "in-order", "weights", "own"],
)
def test_of_batches_that_somebody_made_the_order_is_that_of_their_sampler(batches, sampler, shuffle) -> None:
    about = describe(DataLoader(TensorDataset(torch.randn(40, 8)), batch_sampler=batches))
    assert (about["sampler"], about["shuffle"]) == (sampler, shuffle)


def test_a_validation_before_the_first_step_is_no_training_however_many_batches_it_has() -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 5, (40,)))
    training, validation = DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=40)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    for _ in range(3):
        with torch.no_grad():
            for inputs, labels in validation:
                F.cross_entropy(model(inputs), labels)
        for inputs, labels in training:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    fact = last(tape, "data")
    assert (fact["shuffle"], fact["batch_size"], [item["training"] for item in fact["others"]]) == (True, 8, [False])


def test_a_batch_that_was_drawn_before_a_validation_belongs_to_the_training() -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(40, 8), torch.randint(0, 5, (40,)))
    training, validation = DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=20)
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    unheard = iter(training)  # a framework may begin before anybody listens
    next(unheard)
    monitor, tape = taped(model, optimizer, strict=True)
    for batches in (unheard, iter(training), iter(training)):
        for step, (inputs, labels) in enumerate(batches):
            if step % 2 == 0:
                with torch.no_grad():
                    for rows, answers in validation:
                        F.cross_entropy(model(rows), answers)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    fact = last(tape, "data")
    assert (fact["shuffle"], fact["batch_size"]) == (True, 8)
    assert [item["training"] for item in fact["others"]] == [False]


def test_a_loader_that_is_asked_without_gradients_may_be_for_training() -> None:
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(400, 8), torch.randint(0, 5, (400,)))
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    with torch.no_grad():
        for inputs, labels in DataLoader(data, batch_size=8):
            with torch.enable_grad():
                optimizer.zero_grad()
                loss = F.cross_entropy(model(inputs), labels)
                loss.backward()
                optimizer.step()
            monitor.step(loss)
    monitor.finish(timeout=0.1)
    assert last(tape, "data")["loader"] is True


def test_without_a_loader_nothing_is_invented() -> None:
    tape = train()
    assert tape.series("time/data") == {}
    assert last(tape, "data")["loader"] is False


@pytest.mark.parametrize(
    ("kind", "remembers"),
    [
        (torch.optim.Adam, True),
        (partial(torch.optim.SGD, momentum=0.9), True),
        (torch.optim.Adagrad, True),
        (torch.optim.SGD, False),
    ],
)
def test_a_training_that_began_before_it_was_watched_is_told(kind: Any, remembers: bool) -> None:
    model = classifier()
    optimizer = kind(model.parameters(), lr=0.01)
    assert last(train(model=model, optimizer=optimizer), "plan")["trained_before"] is False
    assert last(train(model=model, optimizer=optimizer), "plan")["trained_before"] is remembers


def test_the_plan_is_declared_or_inferred() -> None:
    assert last(train(total_steps=500), "plan")["total_steps"] == 500
    plan = last(train(config={"total_steps": 70, "finetune": True}), "plan")
    assert (plan["total_steps"], plan["finetune"]) == (70, True)


def test_the_environment_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--api-key", "abc123", "--lr", "0.1", "--password=hunter2"])
    monkeypatch.setattr(environment, "PATIENCE_AT_FINISH_S", 60.0)  # for a machine that reads the packages slowly
    tape = train(config={"lr": 0.1, "wandb_token": "s3cret", "nested": {"aws_secret_key": "x9"}})
    written = json.dumps([tape.facts("environment"), tape.facts("config")])
    for secret in ("abc123", "hunter2", "s3cret", "x9"):
        assert secret not in written
    fact = tape.facts("environment")[-1]
    assert "--lr 0.1" in fact["command"]
    assert fact["seeds"]["torch"] == torch.initial_seed()
    assert fact["torch"] == torch.__version__
    assert fact["device"] == "cpu"
    assert fact["packages"]["torch"].split("+")[0] in torch.__version__


def test_the_packages_are_those_of_the_standard_library_without_its_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "old.egg-info": "Version: 1\nName: Old-One\n\nName: not this",
        "torn.dist-info": "Name: x",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / ("PKG-INFO" if name.endswith("egg-info") else "METADATA")).write_text(text)
    found = {item.metadata["Name"]: item.version for item in metadata.distributions()}
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delattr(metadata.Distribution, "metadata")
    assert environment._packages() == {**found, "Old-One": "1"}


def test_git_tells_commit_branch_and_whether_something_is_not_committed(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-b", "work")
    (tmp_path / "file").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    assert read_git(str(tmp_path)) == {"commit": git("rev-parse", "HEAD"), "branch": "work", "dirty": False}
    (tmp_path / "file").write_text("2")
    found = read_git(str(tmp_path))
    assert found is not None
    assert found["dirty"] is True


def test_no_repository_is_none(tmp_path: Path) -> None:
    assert read_git(str(tmp_path)) is None


def test_a_parameter_without_a_gradient_is_named() -> None:
    model = classifier()

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.idle = model, nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    fact = last(train(model=Wrapped()), "gradients")
    assert sorted(fact["none"], reverse=True) == ["idle.weight", "idle.bias"]
    assert fact["zero"] == []


def test_nothing_stays_after_the_run() -> None:
    model = classifier()
    train(model=model)
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    inputs, _ = batch(0)
    assert model(inputs).shape == (12, 5)


def test_masking_keeps_what_is_no_secret() -> None:
    assert mask({"max_token": 9, "wandb_token": "x"}) == {"max_token": 9, "wandb_token": "***"}
    assert mask({"tokenizer": "bpe", "token": "x", "keys": 3}) == {"tokenizer": "bpe", "token": "***", "keys": 3}


def test_a_scheduler_that_takes_over_in_plain_steps_is_told_though_it_is_gone_before_the_end() -> None:
    model = classifier()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor, tape = taped(model, optimizer, strict=True)
    stay_plain(monitor)
    first = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    second = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)
    plain = False
    for step in range(200):
        monitor.step(usual(step, model, optimizer))
        plain = plain or (step == 150 and is_plain(monitor))
        (first if step < 150 else second).step()
    assert plain, "it takes over where nobody listens"
    del first, second
    gc.collect()
    monitor.finish(timeout=0.1)
    found = [(item["type"], item["steps"], item["per"]) for item in last(tape, "schedulers")]
    assert found == [("CosineAnnealingLR", 150, "step"), ("SWALR", 50, "step")]
