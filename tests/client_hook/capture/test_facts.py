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
from torch.utils.data import DataLoader, Sampler, SubsetRandomSampler, TensorDataset, WeightedRandomSampler

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


def test_without_a_loader_nothing_is_invented() -> None:
    tape = train()
    assert tape.series("time/data") == {}
    assert last(tape, "data")["loader"] is False


def test_the_graph_names_what_the_loss_does_not_reach() -> None:
    class Detached(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lost = nn.Linear(8, 8)
            self.head = nn.Linear(8, 5)
            self.blocks = [nn.Linear(5, 5)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.blocks[0](self.head(self.lost(x).detach()))

    torch.manual_seed(0)
    graph = last(train(model=Detached()), "graph")
    assert graph["unreached"] == ["lost.weight", "lost.bias"]
    assert sorted(item["shape"] for item in graph["unregistered"]) == [[5], [5, 5]]
    assert graph["root"] == "NllLossBackward0"


def test_the_graph_names_what_inputs_are_multiplied_by_and_no_other_table() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.product = nn.Parameter(torch.randn(8, 6))
            self.rates = nn.Parameter(torch.linspace(-5, 0, 6).repeat(6, 1))
            self.head = nn.Linear(6, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head((x @ self.product).unsqueeze(1) * self.rates.exp()).sum(1)

    torch.manual_seed(0)
    factors = last(train(model=Own()), "graph")["factors"]
    assert {"product", "head.weight"} <= set(factors) <= {"product", "head.weight", "head.bias"}


def test_the_graph_names_parameters_whose_size_is_part_of_the_loss() -> None:
    def penalised(step, model, optimizer):
        inputs, labels = batch(step)
        optimizer.zero_grad()
        ways = model[0].weight.abs().sum() + model[0].bias.pow(2).sum() + model[2].weight.norm()
        loss = F.cross_entropy(2.0 * model(inputs), labels) + ways + (model[2].bias * model[2].bias).sum()
        loss.backward()
        optimizer.step()
        return loss

    assert last(train(penalised), "graph")["penalised"] == ["0.bias", "0.weight", "2.bias", "2.weight"]
    assert last(train(), "graph")["penalised"] == []


def _squared(model: nn.Module, wanted: torch.Tensor) -> torch.Tensor:
    loss = ((model(torch.randn(12, 8)) - wanted) ** 2).mean()
    loss.backward()
    return loss


def test_the_graph_tells_what_each_softmax_goes_over_and_what_a_loss_averages() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.looks, self.head = nn.Linear(2, 4), nn.Linear(4, 1)
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.looks(x.reshape(len(x), 4, 2))
            weights = (seen @ seen.transpose(1, 2)).softmax(0)
            return self.head(self.block(weights @ seen).mean(1))

    torch.manual_seed(0)
    model = Attention()
    tape = train(lambda *_: _squared(model, torch.randn(12)), model=model, steps=3)
    graph = last(tape, "graph")
    assert [0, 12, 4, 4] in graph["softmaxes"]
    assert list(graph["reduced"]) == [12, 12]
    assert last(tape, "model")["time_first"] == ["block.self_attn"]


@pytest.mark.parametrize(
    ("mask", "seen"),
    [
        (torch.ones(80, 80).tril(), [80, 0, 0]),
        (torch.ones(80, 80).triu(), [0, 80, 0]),
        (torch.ones(80, 80), [80, 80, 80]),
        (torch.ones(80, 80).tril(8), [80, 80, 0]),
    ],
    ids=["causal", "upside down", "none", "prefix"],
)
def test_the_graph_tells_what_attention_that_is_written_out_shows(mask: torch.Tensor, seen: list[int]) -> None:
    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        x = model(torch.randn(3, 80, 4))
        scores = (x @ x.mT).masked_fill(mask == 0, float("-inf"))
        loss = (scores.softmax(-1) @ x).mean() + x.softmax(-1).sum() + (x @ x.mT).softmax(1).sum()
        loss.backward()
        return loss

    assert last(train(body, model=nn.Linear(4, 4), steps=3), "graph")["sees"] == [seen]


def test_a_product_of_two_that_are_computed_ends_a_row_of_layers() -> None:
    """Values, answers and what follows are three layers in a row, but attention between them is no line."""
    heads = nn.MultiheadAttention(8, 2, batch_first=True)

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        values = model[0](torch.randn(3, 5, 8))
        loss = model[2](model[1](values, values, values, need_weights=True)[0]).square().mean()
        loss.backward()
        return loss

    graph = last(train(body, model=nn.ModuleList([nn.Linear(8, 8), heads, nn.Linear(8, 8)]), steps=3), "graph")
    assert graph["weighted"] == 4
    assert [(run["weighted"], run["last"]) for run in graph["linear_runs"]] == [(2, "MmBackward0"), (2, "2")]
    assert graph["activations"] == 3, "the softmax, what its scores are a product of, and what it weighs"


def test_the_graph_tells_views_that_count_rows_anew_and_what_is_squashed_twice() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(4, 6), nn.Linear(12, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen = self.first(x.view(3, 12, 4)).permute(1, 0, 2)  # a view where a transpose was meant
            return self.head(seen.reshape(18, 12)).sigmoid().view(-1).sigmoid()

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        loss = model(torch.randn(12, 3, 4)).mean()
        loss.backward()
        return loss

    graph = last(train(body, model=Turned(), steps=3), "graph")
    assert [[12, 3, 4], [3, 12, 4]] in graph["views"]
    assert [[12, 3, 6], [18, 12]] in graph["views"]
    assert graph["twice"] == ["SigmoidBackward0"]


def test_the_graph_names_weights_between_two_sines_and_the_frequency() -> None:
    class Waves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 5)

        def forward(self, x):
            return self.last(torch.sin(30 * self.second(torch.sin(30 * self.first(x)))))

    assert last(train(model=Waves()), "graph")["sines"] == {"second.weight": 30.0}
    assert last(train(model=classifier()), "graph")["sines"] == {}


@pytest.mark.parametrize(("kept", "held"), [(lambda loss: loss, 20), (lambda loss: loss.detach(), None)])
def test_graphs_that_somebody_holds_are_counted(kept, held) -> None:
    total = torch.zeros(())

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        nonlocal total
        loss = usual(step, model, optimizer)
        total = total + kept(loss)
        return loss

    facts = train(body, steps=24).facts("kept_graphs")
    assert [fact["held"] for fact in facts] == ([held] if held else [])


def test_graphs_that_are_let_go_are_told_at_the_end() -> None:
    kept: list[torch.Tensor] = []

    def body(step: int, model: nn.Module, optimizer: torch.optim.Optimizer) -> torch.Tensor:
        kept.append(usual(step, model, optimizer))
        loss = kept[-1]
        if step == 109:
            kept.clear()  # an epoch without a data loader
        return loss

    assert [fact["held"] for fact in train(body, steps=120).facts("kept_graphs")] == [20, 0]


def test_a_monitor_that_was_never_finished_holds_no_graph_of_the_next() -> None:
    forgotten = classifier()
    before, _ = taped(forgotten, torch.optim.SGD(forgotten.parameters(), lr=0.1))  # its cell of a notebook failed
    assert train(steps=120).facts("kept_graphs") == []
    before.finish(timeout=0.1)


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
