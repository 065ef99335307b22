"""What `monitor.inspect` shows is right: statistics, pictures, filters, saliency, and what is not finite."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from client_hook.records import MAX_RECORD_BYTES
from tests.client_hook.inspecting.kit import Branches, layer, look, pictures, values_of


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


def test_a_large_model_fits_into_one_record_and_says_what_is_left_out() -> None:
    blocks = [item for _ in range(300) for item in (nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())]
    found = look(nn.Sequential(nn.Conv2d(3, 16, 3), *blocks), torch.randn(2, 3, 64, 64))
    assert len(json.dumps(found)) < MAX_RECORD_BYTES
    assert found["left_out"] == ["401 of 601 layers"]
    assert found["layers"][0]["maps"]


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


def test_large_kernels_and_pictures_fit_into_one_record_too() -> None:
    torch.manual_seed(0)
    blocks = [nn.TransformerEncoderLayer(64, 4, 128, batch_first=True) for _ in range(12)]
    model = nn.Sequential(nn.Conv2d(3, 64, 32, 32), nn.Flatten(2), nn.Linear(49, 64), *blocks)
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
