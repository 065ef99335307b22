"""`monitor.inspect`: what it shows is right, and the model and its training stay as they were, bit for bit."""

from __future__ import annotations

import base64
import copy
import json
import math
import random
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from client_hook import watch
from client_hook.inspecting import inspection
from client_hook.patches import capture, patches
from client_hook.records import MAX_RECORD_BYTES
from tests.client_hook.tape import taped


def watched(model: nn.Module | dict[str, nn.Module]) -> Any:
    models = model.values() if isinstance(model, dict) else [model]
    optimizer = torch.optim.SGD([item for one in models for item in one.parameters()], lr=0.1)
    return taped(model, optimizer)


def look(model: nn.Module, batch: Any) -> dict[str, Any]:
    monitor, tape = watched(model)
    monitor.inspect(batch)
    monitor.finish()
    [(step, value)] = tape.events("inspection")
    assert step == -1
    json.dumps(value, allow_nan=False)
    return value


def values_of(picture: Mapping[str, Any]) -> np.ndarray:
    """Reads a picture as its page does; what is not finite is NaN."""
    codes = np.frombuffer(base64.b64decode(picture["values"]), np.uint8).astype(float)
    planes = (picture["planes"],) if picture["planes"] > 1 else ()
    span = picture["high"] - picture["low"]
    values = np.where(codes == 255, np.nan, picture["low"] + codes / 254 * span)
    return values.reshape(picture["count"], *planes, picture["height"], picture["width"])


def layer(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(item for item in found["layers"] if item["name"] == name)


def pictures() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Flatten(), nn.LazyLinear(5)
    )  # fmt: skip


def state_of(model: nn.Module) -> list[Any]:
    return [
        [item.clone() for item in model.state_dict().values()],
        [None if item.grad is None else item.grad.clone() for item in model.parameters()],
        [item._version for item in model.parameters()],
        [(module.training, list(module._forward_hooks), list(module._forward_pre_hooks)) for module in model.modules()],
        [torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()],
    ]


def same(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other


def test_the_model_and_every_random_generator_stay_as_they_were() -> None:
    model = pictures()
    batch = torch.randn(6, 3, 9, 9)
    model(batch).sum().backward()
    monitor, tape = watched(model)
    before = state_of(model)
    given = batch.clone()
    monitor.inspect((batch, torch.zeros(6)))
    assert same(state_of(model), before)
    assert torch.equal(batch, given)
    assert not batch.requires_grad
    monitor.finish()
    assert len(tape.events("inspection")) == 1


class OwnLoss(nn.Module):
    """Computes its loss in its forward, draws, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.drop = nn.Linear(6, 6), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return F.mse_loss(self.inner(self.drop(x) + torch.randn_like(x)), x)


def test_a_training_that_is_inspected_records_the_same_as_one_that_is_not() -> None:
    def train(*, inspects: bool) -> tuple[list[float], list[Any], list[Any]]:
        torch.manual_seed(3)
        model = OwnLoss()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor, tape = taped(model, optimizer)
        losses = []
        for step in range(140):
            optimizer.zero_grad()
            loss = model(torch.randn(8, 6))
            if inspects and step in (1, 50, 130):
                monitor.inspect(torch.randn(8, 6, generator=torch.Generator().manual_seed(step)))
            loss.backward()
            optimizer.step()
            monitor.step(loss)
            losses.append(loss.item())
        assert model.calls == 140
        monitor.finish()
        assert len(tape.events("inspection")) == 3 * inspects
        told = [
            item for item in tape.records if item[:2] in {("fact", name) for name in ("loss_call", "graph", "outputs")}
        ]
        return losses, told, sorted(tape.names())

    assert train(inspects=True) == train(inspects=False)


def test_statistics_are_those_of_the_whole_batch_in_evaluation() -> None:
    model, batch = pictures(), torch.randn(6, 3, 9, 9)
    model(batch)
    found = look(model, batch)
    expected = F.relu(model[1].eval()(model[0](batch))).detach().double()
    seen = layer(found, "2")
    assert (seen["type"], seen["shape"], seen["calls"], seen["nonfinite"]) == ("ReLU", [6, 8, 7, 7], 1, 0)
    assert seen["mean"] == pytest.approx(float(expected.mean()), rel=1e-6)
    assert seen["std"] == pytest.approx(float(expected.std(correction=0)), rel=1e-6)
    assert seen["absmax"] == pytest.approx(float(expected.abs().max()))
    assert seen["zeros"] == pytest.approx(float((expected == 0).double().mean()))
    assert found["samples"] == 6
    assert found["output"]["shape"] == [6, 5]
    assert found["inputs"][0]["max"] == pytest.approx(float(batch.max()))


def test_the_maps_are_those_of_the_first_sample() -> None:
    model, batch = pictures(), torch.randn(6, 3, 9, 9)
    model(batch)
    seen = layer(look(model, batch), "0")
    maps, expected = values_of(seen["maps"]), model[0](batch)[0].detach().numpy()
    assert seen["channels"] == list(range(8))
    assert seen["maps"]["signed"]
    assert np.abs(maps - expected).max() < (seen["maps"]["high"] - seen["maps"]["low"]) / 254


def test_filters_of_three_colours_are_shown_as_they_are() -> None:
    model = pictures()
    model(torch.randn(2, 3, 9, 9))
    filters = look(model, torch.randn(2, 3, 9, 9))["filters"]
    shown = values_of(filters["picture"])
    assert (filters["layer"], filters["shape"], shown.shape) == ("0", [8, 3, 3, 3], (8, 3, 3, 3))
    assert np.abs(shown - model[0].weight.detach().numpy()).max() < 0.01


def test_rows_of_a_linear_layer_over_flat_pictures_are_pictures() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 40), nn.ReLU(), nn.Linear(40, 10))
    for batch in (torch.randn(4, 1, 28, 28), torch.randn(4, 28, 28), torch.randn(4, 784)):
        filters = look(model, batch)["filters"]
        shown = values_of(filters["picture"])
        expected = model[1].weight.detach().numpy()[filters["channels"]].reshape(-1, 28, 28)
        assert shown.shape == (30, 28, 28)
        assert np.abs(shown - expected).max() < 0.001
    assert look(nn.Sequential(nn.Linear(13, 4)), torch.randn(4, 13))["filters"] is None


def test_what_is_too_large_for_a_picture_keeps_its_spike_and_its_nan() -> None:
    batch = torch.zeros(1, 1, 200, 200)
    batch[0, 0, 17, 33], batch[0, 0, 150, 20] = -9.0, math.nan
    model = nn.Sequential(nn.Dropout(), nn.Conv2d(1, 1, 1))
    seen = layer(look(model, batch), "0")
    shown = values_of(seen["maps"])
    assert shown.shape[-1] < 200
    assert np.nanmin(shown) == pytest.approx(-9.0)
    assert np.isnan(shown).sum() == 1
    assert seen["nonfinite"] == 1


def test_units_that_say_nothing_are_counted() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    with torch.no_grad():
        model[0].weight[:3] = 0
        model[0].bias[:3] = torch.tensor([-1.0, -1.0, 2.0])
    seen = layer(look(model, torch.randn(64, 4)), "1")
    assert (seen["units"], seen["dead"], seen["constant"]) == (6, 2, 1)


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor, hint: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        return {"logits": self.used(self.used(x)), "hint": torch.zeros(()) if hint is None else hint.sum()}


def test_layers_say_how_often_they_were_called() -> None:
    found = look(Branches(), torch.randn(3, 4))
    assert [(item["name"], item["calls"]) for item in found["layers"]] == [("used", 2), ("unused", 0)]


def test_saliency_is_the_size_of_the_gradient_of_the_largest_output() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    batch = torch.randn(5, 1, 6, 6)
    found = look(model, batch)["saliency"]
    shown = values_of(found["map"])
    answers = model(batch).argmax(1)[:4]
    expected = model[1].weight.detach().abs()[answers].reshape(4, 6, 6).numpy()
    assert found["answers"] == answers.tolist()
    assert found["of"] == "the largest output of each sample"
    assert np.abs(shown - expected).max() < 0.001
    assert np.abs(values_of(found["pictures"]) - batch[:4, 0].numpy()).max() < 0.05


def test_of_a_table_each_column_has_its_share() -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, -1.0, 0.0]]))
    found = look(model, (torch.randn(8, 3), torch.zeros(8)))["saliency"]
    assert (found["kind"], found["of"], found["shares"]) == ("features", "the output of each sample", [0.75, 0.25, 0.0])


def test_of_words_the_gradient_at_their_vectors_counts() -> None:
    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(20, 4), nn.Linear(4, 2)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(ids)[:, 2])  # the others are not looked at

    model = Words()
    for frozen in (False, True):
        model.table.weight.requires_grad_(not frozen)
        found = look(model, torch.arange(12).reshape(2, 6))["saliency"]
        sizes = values_of(found["map"])
        assert found["ids"] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
        assert sizes.shape == (2, 1, 6)
        assert (sizes > 0).sum(2).tolist() == [[1], [1]]
        assert (sizes[:, 0, 2] > 0).all()


def test_an_answer_that_does_not_hang_on_its_input_is_told() -> None:
    class Deaf(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.answer = nn.Parameter(torch.randn(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.answer.expand(len(x), 3)

    found = look(Deaf(), torch.randn(4, 2))
    assert found["saliency"]["unused"] == ["x"]

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x).detach()

    found = look(Cut(), torch.randn(4, 2))
    assert found["saliency"] is None
    assert found["left_out"] == [
        "saliency: the output has no gradient (look for detach(), argmax or no_grad() in the model)"
    ]


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x -= x.mean()
        return self.inner(x)


@pytest.mark.parametrize(
    ("model", "batch"),
    [
        (Branches(), {"x": torch.randn(3, 4), "labels": torch.zeros(3)}),
        (Branches(), (torch.randn(3, 4), torch.zeros(3))),
        (Branches(), [torch.randn(3, 4), torch.randn(3, 4), torch.zeros(3)]),
        (InPlace(), torch.randn(4, 2)),
        (nn.LSTM(4, 5, batch_first=False), torch.randn(7, 3, 4)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), torch.randn(2, 5, 8)),
        (nn.Conv1d(2, 4, 3), torch.randn(2, 2, 9)),
        (nn.Conv3d(2, 4, 3), torch.randn(2, 2, 5, 6, 7)),
        (nn.Bilinear(3, 4, 5), (torch.randn(2, 3), torch.randn(2, 4))),
        (nn.Linear(4, 5, dtype=torch.bfloat16), torch.randn(2, 4, dtype=torch.bfloat16)),
        (nn.utils.parametrizations.spectral_norm(nn.Linear(4, 5)), torch.randn(2, 4)),
        (torch.compile(nn.Linear(4, 5), backend="eager"), torch.randn(2, 4)),
    ],
)
def test_any_model_takes_the_batch_as_the_loop_has_it(model: nn.Module, batch: Any) -> None:
    before = copy.deepcopy(batch)
    found = look(model, batch)
    assert found["layers"]
    assert found["saliency"]["map" if "map" in found["saliency"] else "kind"]
    assert same(list(before.values() if isinstance(before, dict) else before),
                list(batch.values() if isinstance(batch, dict) else batch))  # fmt: skip


def test_validation_code_may_call_it() -> None:
    model = nn.Linear(2, 3)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            assert look(model, torch.randn(4, 2))["saliency"]["shares"]


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (DataLoader(TensorDataset(torch.zeros(4, 2))), r"batch: got a DataLoader; pass one batch of it"),
        ("words", r"batch: found no tensor in str; pass what the model takes, or a batch"),
        (
            torch.randn(4, 3),
            r"batch: the model failed on it \(RuntimeError: .*\)\. It got input 4×3 \(float32\); pass inputs",
        ),
    ],
)
def test_a_batch_that_cannot_be_used_is_told_in_a_sentence(batch: Any, sentence: str) -> None:
    model = nn.Linear(2, 2)
    monitor, _ = watched(model)
    with pytest.raises(ValueError, match=sentence):
        monitor.inspect(batch)
    monitor.finish()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    quiet = watch(model, optimizer, url="http://127.0.0.1:9", strict=False)
    assert quiet.inspect(batch) is None
    assert any("inspect" in note for note in quiet.ledger["notes"])
    quiet.finish(timeout=0)


def test_a_model_that_cannot_be_copied_is_told() -> None:
    model = nn.Linear(2, 2)
    model.lock = threading.Lock()
    monitor, _ = watched(model)
    with pytest.raises(ValueError, match=r"model: it cannot be copied \(TypeError: "):
        monitor.inspect(torch.randn(1, 2))
    monitor.finish()
    model = nn.Sequential(nn.LazyLinear(2))
    monitor = watch(model, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1), url="http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"model: `0.weight` has no shape yet; inspect it after the first batch"):
        monitor.inspect(torch.randn(1, 2))
    monitor.finish(timeout=0)


def test_of_several_models_one_is_named() -> None:
    models: dict[str, nn.Module] = {"generator": nn.Linear(2, 3), "critic": nn.Linear(3, 1)}
    monitor, tape = watched(models)
    monitor.inspect(torch.randn(4, 2))
    monitor.inspect(torch.randn(4, 3), model="critic", step=7)
    with pytest.raises(ValueError, match="model: got 'c'; the watched models are 'generator', 'critic'"):
        monitor.inspect(torch.randn(4, 3), model="c")
    monitor.finish()
    told = [(step, value["model"], value["layers"][0]["name"]) for step, value in tape.events("inspection")]
    assert told == [(-1, "generator", "generator"), (7, "critic", "critic")]


def test_a_large_model_fits_into_one_record_and_says_what_is_left_out() -> None:
    blocks = [item for _ in range(300) for item in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    found = look(nn.Sequential(nn.Conv2d(3, 16, 3), *blocks), torch.randn(2, 3, 64, 64))
    assert len(json.dumps(found)) < MAX_RECORD_BYTES
    assert found["left_out"] == ["401 of 601 layers"]
    assert found["layers"][0]["maps"]


def test_nothing_is_done_after_the_end_or_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise AssertionError

    model = nn.Linear(2, 2)
    monitor, tape = watched(model)
    monitor.finish()
    monkeypatch.setattr("client_hook.inspecting.inspection", fails)
    monitor.inspect(torch.randn(1, 2))
    assert not tape.events("inspection")
    monkeypatch.setenv("GRADWATCH_DISABLED", "1")
    watch(model, torch.optim.SGD(model.parameters(), lr=0.1)).inspect(torch.randn(1, 2))


def test_sharded_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(2, 2)
    monitor, _ = watched(model)
    monkeypatch.setattr(type(model), "_get_fsdp_state", lambda _: None, raising=False)
    with pytest.raises(ValueError, match="its weights are sharded over processes"):
        inspection(monitor._parts.context, torch.randn(1, 2))
    monitor.finish()


def test_inputs_have_the_names_that_the_model_gives_them() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.norm = nn.Embedding(9, 4), nn.LayerNorm(4)

        def forward(self, ids: torch.Tensor, extra: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.norm(self.table(ids) + extra["shift"])

    given = (torch.zeros(2, 3, dtype=torch.long), {"shift": torch.randn(2, 3, 4)})
    for batch in (given, {"ids": given[0], "extra": given[1]}, (*given, torch.zeros(2))):
        found = look(Two(), batch)
        assert [item["name"] for item in found["inputs"]] == ["ids", "extra.shift"]
        assert found["saliency"]["unused"] == []


def test_pictures_are_spread_over_a_deep_model() -> None:
    blocks = [item for _ in range(80) for item in (nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())]
    layers = look(nn.Sequential(*blocks, nn.Flatten()), torch.randn(2, 4, 32, 32))["layers"]
    drawn = [int(item["name"]) for item in layers if "maps" in item]
    assert (len(layers), len(drawn)) == (160, 60)
    assert drawn[-1] > 150


def test_the_answer_of_a_language_model_is_that_of_its_last_position() -> None:
    class Causal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.table(ids).cumsum(1) * torch.tensor([1.0, 0.0, 1.0]).view(1, 3, 1))

    found = look(Causal(), torch.tensor([[1, 2, 3]]))["saliency"]
    assert found["of"] == "the largest output at the last position of each sample"
    assert (values_of(found["map"]) > 0).all()


def test_a_decoder_that_is_fed_with_its_targets_gets_them() -> None:
    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Embedding(9, 4), nn.Linear(4, 9)

        def forward(self, ids: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
            if labels is None:
                raise ValueError("nothing to decode")
            logits = self.head(self.table(labels) + self.table(ids).mean(1, keepdim=True))
            return {"loss": F.cross_entropy(logits.transpose(1, 2), labels), "logits": logits}

    found = look(Decoder(), {"ids": torch.arange(8).reshape(2, 4), "labels": torch.ones(2, 3, dtype=torch.long)})
    assert found["output"]["shape"] == [2, 3, 9]
    assert [item["name"] for item in found["inputs"]] == ["ids", "labels"]


class Norm(nn.Module):
    """Writes to its own weight in its forward, in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner = nn.Embedding(10, 4, max_norm=0.5), nn.Linear(4, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            self.inner.weight.div_(2.0)
            ids += 1
        return self.inner(self.table(ids))


def test_what_a_forward_writes_to_weights_or_ids_stays_with_the_copy() -> None:
    model, ids = Norm(), torch.tensor([[1, 2], [3, 4]])
    before = state_of(model)
    look(model, ids)
    assert same(state_of(model), before)
    assert ids.tolist() == [[1, 2], [3, 4]]


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
def test_hooks_of_the_user_are_not_called_and_those_that_make_weights_are() -> None:
    called: list[str] = []
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.ReLU())
    with torch.no_grad():
        model[0].weight_g.mul_(3.0)
    model[1].register_forward_hook(lambda *_: called.append("forward"))
    model.register_forward_pre_hook(lambda *_: called.append("before"))
    model[1].register_full_backward_hook(lambda *_: called.append("backward"))
    batch = torch.randn(4, 3)
    found = look(model, batch)
    assert called == []
    assert layer(found, "0")["absmax"] == pytest.approx(float(model[0](batch).detach().abs().max()), rel=1e-6)


def test_what_belongs_to_the_training_is_not_copied() -> None:
    class Held(nn.Linear):
        pass

    model = Held(2, 2)
    model.data = TensorDataset(torch.zeros(3, 2))
    model.optimizer = torch.optim.Adam(model.parameters())
    model.data.__dict__["__deepcopy__"] = None  # would raise
    assert look(model, torch.randn(1, 2))["layers"]


def test_ids_that_were_made_in_inference_mode_are_fine() -> None:
    with torch.inference_mode():
        ids = torch.tensor([[1, 2], [3, 4]])
        found = look(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, 2)), ids)
    assert found["saliency"]["kind"] == "tokens"


def test_two_threads_may_inspect_and_everybody_is_heard_again() -> None:
    class Slow(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            inside.set()
            proceed.wait(30)
            return super().forward(x)

    inside, proceed = threading.Event(), threading.Event()
    models = [Slow(2, 2), Slow(2, 2)]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    monitors = [taped(*pair)[0] for pair in zip(models, optimizers, strict=True)]
    threads = [threading.Thread(target=monitor.inspect, args=(torch.ones(1, 2),)) for monitor in monitors]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    proceed.set()
    for thread in threads:
        thread.join(30)
    assert not patches.hushed
    for monitor in monitors:
        monitor.finish()


def test_compiled_parts_run_as_they_are_written() -> None:
    graphs = 0

    def counts(graph: Any, _: Any) -> Any:
        nonlocal graphs
        graphs += 1
        return graph.forward

    model = nn.Sequential(torch.compile(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), backend=counts))
    batch = torch.randn(3, 4)
    model(batch)
    before = graphs
    found = look(model, batch)
    assert [item["type"] for item in found["layers"]] == ["Linear", "ReLU"]
    assert graphs == before
    model(batch)
    assert graphs == before


def test_any_choice_of_precision_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "fp32_precision", "ieee")
    assert look(nn.LSTM(2, 3, batch_first=True), torch.randn(2, 4, 2))["layers"]
    assert torch.backends.cudnn.enabled


def test_large_kernels_and_pictures_fit_into_one_record_too() -> None:
    torch.manual_seed(0)
    blocks = [nn.TransformerEncoderLayer(64, 4, 128, batch_first=True) for _ in range(12)]
    model = nn.Sequential(nn.Conv2d(3, 64, 32, 32), nn.Flatten(2), *blocks[:0], nn.Linear(49, 64), *blocks)
    found = look(model, torch.randn(4, 3, 224, 224))
    assert len(json.dumps(found)) < MAX_RECORD_BYTES
    assert found["filters"]["picture"]["count"] == 7
    assert sum("maps" in item for item in found["layers"]) > 40
    assert found["saliency"]["pictures"]


def test_the_first_layer_that_is_not_finite_is_named_however_deep_and_however_often_it_is_called() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.shared = nn.ModuleList(nn.Linear(2, 2) for _ in range(250)), nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.shared(x)
            for at, one in enumerate(self.inner):
                x = one(x) * (float("nan") if at == 239 else 1.0)
            return self.shared(x)

    found = look(Deep(), torch.randn(3, 2))
    assert found["bad_layers"] == ["shared", 6, 11]
    assert found["output"]["nonfinite"] == 6


def test_a_column_whose_gradient_is_not_finite_has_no_share() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 1, bias=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.sqrt())

    batch = torch.ones(4, 3)
    batch[1, 0] = 0.0
    shares = look(Root(), batch)["saliency"]["shares"]
    assert shares[0] is None
    assert sum(shares[1:]) == pytest.approx(1.0)


def test_double_precision_is_judged_as_such() -> None:
    model = nn.Linear(2, 2, dtype=torch.float64)
    for size in (1e60, 1e-60):
        seen = look(model, size * torch.randn(3, 2, dtype=torch.float64))["layers"][0]
        assert (seen["nonfinite"], seen["dead"]) == (0, 0)


@pytest.mark.parametrize(
    "batch",
    [torch.eye(3).to_sparse(), torch.ones(2, 3).to(torch.float8_e4m3fn), torch.ones(2, 3, dtype=torch.complex64)],
    ids=["sparse", "float8", "complex"],
)
def test_odd_batches_are_shown_or_told_in_a_sentence(batch: torch.Tensor) -> None:
    class Any3(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(
                x.to_dense().abs().float() if x.layout is torch.sparse_coo or x.is_complex() else x.float()
            )

    model = Any3()
    monitor, _ = watched(model)
    try:
        monitor.inspect(batch)
    except ValueError as error:
        assert str(error).startswith("batch: ")  # noqa: PT017
    monitor.finish()


def test_while_a_graph_is_captured_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monitor, _ = watched(model := nn.Linear(2, 2))
    monkeypatch.setattr(capture, "graph", object())
    with pytest.raises(ValueError, match="a CUDA graph is being captured"):
        inspection(monitor._parts.context, torch.ones(1, 2))
    monkeypatch.undo()
    monitor.finish()
    assert model is not None


def test_a_model_that_waits_for_other_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.inner(x)
            dist.all_reduce(y.detach())
            return y

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        monitor, _ = watched(model := Shared())
        with monkeypatch.context() as several:
            several.setattr(dist, "get_world_size", lambda *_: 2)
            with pytest.raises(ValueError, match="model: it calls allreduce_, for which other processes must wait"):
                inspection(monitor._parts.context, torch.ones(1, 2))
        assert model(torch.ones(1, 2)).shape == (1, 2)
        monitor.finish()
    finally:
        dist.destroy_process_group()
