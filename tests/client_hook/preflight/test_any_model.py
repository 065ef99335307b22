"""Every way to call a model and a loss: tuples, dicts, several inputs, models with their own loss, a user's forward."""

from __future__ import annotations

from collections import OrderedDict, UserDict, namedtuple
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from client_hook.preflight import PreflightError, preflight
from client_hook.preflight.subject import Subject
from tests.client_hook.preflight.kit import HEALTHY, Case, seeded
from tests.corpus import models

X, Y = torch.randn(24, 8), torch.arange(24) % 3
QUICK = ("GW601", "GW107", "GW201", "GW202", "GW301", "GW103", "GW105", "GW101")
Pair = namedtuple("Pair", "picture label")


class Named(nn.Module):
    """Takes one input by name."""

    def __init__(self) -> None:
        super().__init__()
        self.net = models.mlp(8, 3)

    def forward(self, features: Tensor) -> Tensor:
        return self.net(features)


class Two(Named):
    """Takes two inputs, one of them optional."""

    def forward(self, features: Tensor, other: Tensor | None = None) -> Tensor:
        return self.net(features if other is None else features + other)


class Answers(Named):
    """Answers a tuple, a dict or an object."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, features: Tensor) -> Any:
        logits = self.net(features)
        if self.kind == "tuple":
            return logits, features
        return {"hidden": features * 2, "logits": logits} if self.kind == "dict" else Output(logits)


@dataclass
class Output:
    """An answer with attributes."""

    logits: Tensor


class OwnLoss(Named):
    """Computes its loss itself, as the models of transformers do."""

    def forward(self, features: Tensor, labels: Tensor | None = None, as_tuple: bool = False) -> Any:
        logits = self.net(features)
        loss = F.cross_entropy(logits, labels) if labels is not None else None
        return (loss, logits) if as_tuple else {"loss": loss, "logits": logits}


def of_dict(output: Any, y: Tensor) -> Tensor:
    return F.cross_entropy(output["logits"] if isinstance(output, dict) else output.logits, y)


WAYS: dict[str, Any] = {
    "a tuple": lambda: Case(Named(), F.cross_entropy, (X, Y)),
    "a list": lambda: Case(Named(), nn.CrossEntropyLoss(), [X, Y]),
    "a named tuple": lambda: Case(Named(), F.cross_entropy, Pair(X, Y)),
    "three parts, two of them inputs": lambda: Case(Two(), F.cross_entropy, (X, X * 0.1, Y)),
    "inputs in a tuple": lambda: Case(Two(), F.cross_entropy, ((X, X * 0.1), Y)),
    "inputs in a dict": lambda: Case(Two(), F.cross_entropy, ({"features": X, "other": X * 0.1}, Y)),
    "a dict, by the names of forward": lambda: Case(Two(), F.cross_entropy, {"features": X, "other": X, "label": Y}),
    "a dict with one input of another name": lambda: Case(Named(), F.cross_entropy, {"pixels": X, "target": Y}),
    "an ordered dict": lambda: Case(Named(), F.cross_entropy, OrderedDict(features=X, y=Y)),
    "a mapping of another type": lambda: Case(Named(), F.cross_entropy, UserDict(features=X, targets=Y)),
    "a tuple as answer": lambda: Case(Answers("tuple"), lambda out, y: F.cross_entropy(out[0], y), (X, Y)),
    "a tuple as answer, its first to a loss module": lambda: Case(Answers("tuple"), nn.CrossEntropyLoss(), (X, Y)),
    "a dict as answer": lambda: Case(Answers("dict"), of_dict, (X, Y)),
    "a dict as answer, its logits to a loss module": lambda: Case(Answers("dict"), nn.CrossEntropyLoss(), (X, Y)),
    "an object as answer": lambda: Case(Answers("object"), of_dict, (X, Y)),
    "a loss of the model, a dict": lambda: Case(OwnLoss(), None, {"features": X, "labels": Y}),
    "a loss of the model, a tuple": lambda: Case(OwnLoss(), None, {"features": X, "labels": Y, "as_tuple": True}),
    "a forward of the user's": lambda: Case(
        Named(), F.cross_entropy, {"a": X, "b": Y}, forward=lambda model, batch: model(batch["a"])
    ),
    "a forward with the whole loss": lambda: Case(
        Named(), None, (X, Y), forward=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])
    ),
    "a loss with its parts": lambda: Case(
        Named(),
        lambda out, y: {"loss": F.cross_entropy(out, y) + out.square().mean(), "fit": F.cross_entropy(out, y)},
        (X, Y),
    ),
    "a loss with named parts only": lambda: Case(
        Named(), lambda out, y: {"fit": F.cross_entropy(out, y), "size": out.square().mean()}, (X, Y)
    ),
}


def named_forward(case: Case) -> Case:
    """Lets the user's loss find the targets of a dict with other names."""
    if case.batch.__class__ is dict and "b" in case.batch:
        case.loss_fn = None
        case.forward = lambda model, batch: F.cross_entropy(model(batch["a"]), batch["b"])
    return case


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_call_a_model_works(way: str) -> None:
    case = seeded(WAYS[way])
    case = named_forward(case) if way == "a forward of the user's" else case
    plain = seeded(lambda: Case(Named(), F.cross_entropy, (X, Y)))
    report = case.report(*QUICK)
    assert report.worst in (None, "info"), str(report)
    failed = [item.reason for item in report.results if "failed on this model" in item.reason]
    assert failed == []
    assert report["GW101"].verdict == report["GW301"].verdict == report["GW105"].verdict == "passed"
    if "parts" not in way and not way.startswith(("three", "inputs in", "a dict, by")):
        assert report["GW601"].numbers["loss"] == pytest.approx(plain.check("GW601").numbers["loss"], rel=1e-5), (
            "the same loss"
        )


def test_an_autoencoder_is_compared_with_its_inputs() -> None:
    torch.manual_seed(0)
    case = Case(models.mlp(8, 8, 64), F.mse_loss, X)
    report = case.report("GW601", "GW301", "GW101")
    by_hand = float(F.mse_loss(case.model(X), X).detach())
    assert report["GW601"].numbers["loss"] == pytest.approx(by_hand, rel=1e-5)
    alone = Case(models.mlp(8, 8), lambda out: out.square().mean(), (X,))
    assert alone.check("GW301").verdict == "passed", "a loss of the answer alone"


def test_a_transformer_of_transformers_is_checked() -> None:
    import transformers  # takes seconds, and is not what the others need

    config = transformers.GPT2Config(vocab_size=31, n_positions=16, n_embd=32, n_layer=2, n_head=2)
    torch.manual_seed(0)
    model = transformers.GPT2LMHeadModel(config)
    tokens = torch.randint(0, 31, (12, 16))
    case = Case(model, None, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": tokens})
    case.optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    report = case.report(*QUICK, "GW104", "GW432", "GW434", "GW471", "GW114")
    assert report.worst in (None, "info"), str(report)
    assert report["GW104"].verdict == "passed"
    assert report["GW201"].numbers["expected"] == pytest.approx(3.434, abs=1e-3), "ln 31"
    assert [item.reason for item in report.results if "failed" in item.reason] == []


class Tokens(nn.Module):
    """Embeds tokens, with sparse gradients if asked for."""

    def __init__(self, sparse: bool) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(50, 16, sparse=sparse), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.tokens(x).mean(1))


def test_sparse_gradients_are_no_obstacle() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 50, (24, 6))
    model = Tokens(sparse=True)
    case = Case(model, F.cross_entropy, (x, x[:, 0] % 3), torch.optim.SGD(model.parameters(), 0.5))
    report = case.report()
    assert report.worst in (None, "info"), str(report)
    assert [item.reason for item in report.results if "failed on this model" in item.reason] == []


def test_wrappers_are_taken_off() -> None:
    model = Named()
    wrapped = nn.DataParallel(model)
    assert Subject(wrapped, F.cross_entropy, (X, Y)).model is model
    compiled = torch.compile(model, backend="eager")
    report = Case(compiled, F.cross_entropy, (X, Y)).report("GW301", "GW103", "GW105")
    assert [item.verdict for item in report.results] == ["passed"] * 3


def test_only_the_first_process_of_a_job_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GRADWATCH_QUIET", "0")
    monkeypatch.setenv("RANK", "1")
    report = preflight(Named(), F.cross_entropy, (X, Y), checks=["GW301"])
    assert (report["GW301"].verdict, report.run_id, capsys.readouterr().err) == ("passed", "", "")


def test_a_batch_of_the_loader_is_taken_where_none_is_given() -> None:
    case = seeded(HEALTHY["mlp"])
    case.batch = None
    assert case.check("GW301").verdict == "passed"


# -- what cannot be used gets a sentence -------------------------------------------------------------------------------


def wrong(**changes: Any) -> dict[str, Any]:
    return {
        "model": Named(),
        "loss_fn": F.cross_entropy,
        "batch": (X, Y),
        "checks": ["GW301"],
        "send": False,
        **changes,
    }


class Frozen(Named):
    """Has nothing to train."""

    def __init__(self) -> None:
        super().__init__()
        self.requires_grad_(False)


SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "no module": ({"model": "net"}, "model: got str, expected a torch.nn.Module"),
    "no parameters": (
        {"model": nn.ReLU()}, "model: ReLU has no parameter to train; its layers may be in a list, not ModuleList"),
    "all frozen": (
        {"model": Frozen()}, "model: Frozen has no parameter to train (all 6 have requires_grad=False)"),
    "a lazy model": (
        {"model": nn.LazyLinear(3)}, "model: `weight` has no shape yet; call the lazy model once with a batch before"),
    "no function": ({"loss_fn": 3}, "loss_fn: got int, expected a function (output, targets) → loss, or None where"),
    "no optimizer": ({"optimizer": "Adam"}, "optimizer: got str, expected a torch.optim.Optimizer or None"),
    "no batch": ({"batch": None}, "batch: got None; pass one batch as your loop uses it, or train_loader="),
    "a loader as batch": (
        {"batch": torch.utils.data.DataLoader([1])},
        "batch: got a DataLoader; pass it as train_loader= (then batch may be None)"),
    "no tensors": ({"batch": ("a", "b")}, "batch: found no tensor in tuple; pass (inputs, targets), a dict"),
    "no samples": ({"batch": (X[:0], Y[:0])}, "batch: its first input holds no samples (its first dimension is 0)"),
    "an empty loader": (
        {"batch": None, "train_loader": []},
        "train_loader: it gave no batch; is the data set empty, or drop_last with few samples?"),
    "no loader": (
        {"batch": None, "train_loader": 7}, "train_loader: got int, expected a DataLoader or a list of batches"),
    "an iterator": (
        {"train_loader": iter([(X, Y)])},
        "train_loader: got a list_iterator, which can be read only once; pass the DataLoader itself"),
    "a loss of many numbers": (
        {"loss_fn": lambda out, y: F.cross_entropy(out, y, reduction="none")},
        'loss: got a tensor of shape 24 (float32), expected one number; average it: reduction="mean", or .mean()'),
    "no loss at all": ({"loss_fn": lambda out, y: None}, "loss: got None, expected a tensor with one number"),
    "a number as loss": (
        {"loss_fn": lambda out, y: F.cross_entropy(out, y).item()},
        "loss: got float, expected a tensor with one number"),
    "a loss without a graph": (
        {"loss_fn": lambda out, y: F.cross_entropy(out.detach(), y)},
        "loss: it does not depend on any parameter (no grad_fn): look for detach(), .item(), "),
    "a model without its loss": (
        {"loss_fn": None},
        "loss: got a tensor of shape 24×3 (float32), expected one number; loss_fn is None, so the "),
    "a dict without its loss": (
        {"model": Answers("dict"), "loss_fn": None},
        "loss_fn: got None, and the model returned dict without a loss; pass loss_fn=function(output, targets)"),
    "an empty dict as loss": (
        {"loss_fn": lambda out, y: {"a": 1.0}}, "loss: the dict that the loss function returned holds no tensor"),
    "no such check": (
        {"checks": ["GW999"]}, "checks: there is no 'GW999'; there are GW601 (nonfinite-loss), GW107"),
    "no time": ({"seconds": 0}, "seconds: got 0, expected a number above 0"),
}  # fmt: skip


@pytest.mark.parametrize("what", SENTENCES)
def test_what_cannot_be_used_gets_a_sentence(what: str) -> None:
    changes, sentence = SENTENCES[what]
    with pytest.raises(PreflightError) as error:
        preflight(**wrong(**changes))
    assert str(error.value).startswith(sentence)


def test_shapes_that_do_not_fit_are_told_with_what_was_given() -> None:
    with pytest.raises(PreflightError, match="the model or the loss failed on it") as error:
        preflight(**wrong(batch=(torch.randn(24, 9), Y)))
    said = str(error.value)
    assert "mat1 and mat2 shapes cannot be multiplied (24x9 and 8x64)" in said
    assert "The model got inputs 24×9 (float32); the loss compares with targets 24 (int64)." in said
    assert said.endswith("pass forward=function(model, batch)")
    assert isinstance(error.value.__cause__, RuntimeError)


def test_labels_that_begin_at_one_are_told() -> None:
    with pytest.raises(PreflightError, match="out of bounds") as error:
        preflight(**wrong(batch=(X, Y + 1)))
    assert "; labels go from 1 to 3, classes count from 0 to C−1)" in str(error.value)


def test_a_model_that_a_monitor_watches_is_not_touched() -> None:
    from client_hook import watch

    model = Named()
    monitor = watch(model, torch.optim.Adam(model.parameters()))
    try:
        with pytest.raises(PreflightError, match="a monitor watches it"):
            preflight(**wrong(model=model))
    finally:
        monitor.finish(timeout=0.1)


def test_everything_is_as_it_was_after_an_error() -> None:
    model = Named()
    before = {name: item.clone() for name, item in model.state_dict().items()}
    arguments = wrong(model=model, batch=(torch.randn(24, 9), Y))
    chance = torch.get_rng_state()
    with pytest.raises(PreflightError):
        preflight(**arguments)
    assert all(torch.equal(item, before[name]) for name, item in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(item.grad is None for item in model.parameters())


def test_the_default_device_is_the_users_and_changes_no_check() -> None:
    usual = replace(seeded(HEALTHY["mlp"]), loader=None).report()
    elsewhere = replace(seeded(HEALTHY["mlp"]), loader=None)
    torch.set_default_device("meta")  # as `torch.set_default_device("cuda")`: new tensors are not where ours belong
    try:
        report = elsewhere.report()
    finally:
        torch.set_default_device(None)
    assert [(item.code, item.reason) for item in report.results] == [(item.code, item.reason) for item in usual.results]


@pytest.mark.cuda
def test_a_model_on_cuda_is_checked_where_it_is() -> None:
    for name, make in HEALTHY.items():
        if name == "gpt":
            continue  # its mask is made on the CPU
        case = seeded(make)
        case.model.cuda()
        case.optimizer = torch.optim.Adam(case.model.parameters(), 5e-3)
        report = case.report()
        assert report.worst in (None, "info"), str(report)
        assert [item.reason for item in report.results if "failed on this model" in item.reason] == []
        assert all(item.is_cuda for item in case.model.parameters())


@pytest.mark.cuda
def test_the_random_state_of_cuda_is_put_back() -> None:
    case = seeded(HEALTHY["cnn"])
    case.model.cuda()
    case.optimizer = torch.optim.Adam(case.model.parameters())
    torch.cuda.manual_seed(5)
    before = torch.cuda.get_rng_state()
    weights = [item.clone() for item in case.model.state_dict().values()]
    case.report("GW101", "GW432", "GW434")
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(weights, case.model.state_dict().values(), strict=True))


def test_the_subject_tells_inputs_from_targets() -> None:
    subject = Subject(Two(), F.cross_entropy, {"features": X, "other": X, "labels": Y})
    assert set(subject.inputs()) == {"features", "other"}
    assert subject.targets() is subject.batch["labels"]
    few = subject.rows(torch.tensor([3, 1]))
    assert torch.equal(few["features"], X[[3, 1]])
    assert torch.equal(few["labels"], Y[[3, 1]])
