"""The page of an inspection: what the training sent is painted and said; anything else does no harm."""

from __future__ import annotations

import base64
import math
import struct
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from server.charts import pictures as painted
from server.domain import inspection
from server.domain.outside import number
from tests.inspected import Words, digits, event, seen
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, look

PAGE = f"/runs/{RUN}/inspect"
API = f"/api/v1/runs/{RUN}/inspections"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run()
        yield found


_numbers = count()


def tell(server: House, *records: dict[str, Any]) -> None:
    """Sends a frame that holds records alone."""
    answer = server.send(next(_numbers), {"loss": []}, records=list(records))
    assert answer.status_code in (200, 201, 202), answer.text


def pixels(address: str) -> np.ndarray:
    """Reads a PNG as any reader does: chunks with their sums, rows of RGBA."""
    kind, _, body = address.partition(",")
    raw = base64.b64decode(body)
    assert kind == "data:image/png;base64"
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(raw):
        length, name = struct.unpack(">I4s", raw[at : at + 8])
        data = raw[at + 8 : at + 8 + length]
        assert struct.unpack(">I", raw[at + 8 + length : at + 12 + length])[0] == zlib.crc32(name + data)
        chunks[name], at = data, at + 12 + length
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 4 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


def pictures_of(codes: np.ndarray, *, signed: bool = False) -> inspection.Pictures:
    return inspection.Pictures(codes.astype(np.uint8), -1.0, 1.0, signed)


def test_pictures_stand_side_by_side_with_a_transparent_line_between() -> None:
    sheet = pixels(painted.strip(pictures_of(np.full((3, 1, 2, 4), 254)), across=2))
    assert sheet.shape == (5, 9, 4)
    assert sheet[:2, :4, 3].all()
    assert not sheet[:, 4, 3].any()
    assert not sheet[2, :, 3].any()
    assert not sheet[3:, 5:, 3].any(), "the third stands alone in its row"


@pytest.mark.parametrize("signed", [True, False])
def test_colours_run_from_the_lowest_to_the_highest_value_and_what_is_not_finite_has_its_own(signed: bool) -> None:
    ramp = pixels(painted.strip(pictures_of(np.arange(256).reshape(1, 1, 1, 256), signed=signed)))[0, :, :3].astype(int)
    assert (ramp[:255] == pixels(painted.legend(signed=signed))[0, :, :3]).all()
    assert len({tuple(colour) for colour in ramp}) > 200
    assert tuple(ramp[255]) == painted.WRONG
    assert (np.abs(ramp[:255] - ramp[255]).sum(1) > 60).all()
    if signed:
        assert ramp[0, 2] > ramp[0, 0], "below 0 is blue"
        assert ramp[254, 0] > ramp[254, 2], "above 0 is red"
        assert (ramp[127] > 240).all()
    else:
        assert (np.diff(ramp[:255] @ [0.2126, 0.7152, 0.0722]) > -0.5).all(), "and gets lighter"


def test_three_planes_are_colours() -> None:
    codes = np.zeros((1, 3, 1, 2), np.uint8)
    codes[0, :, 0, 0], codes[0, :, 0, 1] = (10, 20, 30), (255, 0, 0)
    assert pixels(painted.single(pictures_of(codes), 0))[0, :, :3].tolist() == [[10, 20, 30], list(painted.WRONG)]


def test_the_page_shows_filters_saliency_and_every_layer(server: House) -> None:
    tell(server, event(seen(digits(), torch.rand(6, 1, 8, 8))))
    page = look(server, PAGE)
    assert "Step 7: 6 samples, answer 6 × 3" in page.text
    assert "Filters of 0 Weights 4 × 1 × 3 × 3; all 4 filters." in page.text
    assert "Size of the gradient of the largest output of each sample with respect to each input." in page.text
    assert "1 ReLU · 6 × 4 × 6 × 6" in page.text
    words = page.values("alt")
    assert "1, first sample: all 4 channels; from 0 to" in " ".join(words)
    assert "3: samples downwards, units across; from" in " ".join(words)
    assert sum(word.startswith("Sample ") for word in words) == 4
    images = [(attributes["src"], attributes) for tag, attributes in page.tags if tag == "img"]
    for source, attributes in images:
        height, width, _ = pixels(str(source)).shape
        assert int(str(attributes["width"])) * height == int(str(attributes["height"])) * width or "96" in str(
            attributes
        )


def test_the_painted_maps_are_those_of_the_model(server: House) -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU())
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    batch = torch.zeros(1, 1, 4, 4)
    batch[0, 0, 1, 2], batch[0, 0, 3, 0] = 1.0, float("nan")
    tell(server, event(seen(model, batch)))
    page = look(server, PAGE)
    source = next(item["src"] for tag, item in page.tags if tag == "img" and str(item["alt"]).startswith("1, first"))
    shown = pixels(str(source))[..., :3]
    dark, light = (tuple(pixels(painted.legend(signed=False))[0, at, :3]) for at in (0, 254))
    assert tuple(shown[1, 2]) == light
    assert tuple(shown[3, 0]) == painted.WRONG
    assert sum(tuple(colour) == dark for colour in shown.reshape(-1, 3)) == 14
    assert "Input input has 1 value that is not finite." in page.text
    assert "0 is the first layer with 1 value that is not finite; 1 layer after it as well." in page.text


def test_what_stands_out_is_said(server: House) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.fire, self.spare = nn.Linear(2, 4), nn.ReLU(), nn.Linear(1, 1)
            with torch.no_grad():
                self.first.bias.fill_(-100.0)

        def forward(self, x: torch.Tensor, hint: torch.Tensor) -> torch.Tensor:
            return self.fire(self.first(x))

    tell(server, event(seen(Odd(), (torch.randn(5, 2), torch.randn(5, 2)))))
    page = look(server, PAGE)
    assert "warning The answer does not hang on input hint at all." in page.text
    assert "warning fire : 0 for every sample, in all units." in page.text
    assert "info Not called: layer spare ." in page.text


def test_columns_of_a_table_are_listed_by_their_share(server: House) -> None:
    model = nn.Linear(3, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0, -3.0]]))
    tell(server, event(seen(model, torch.randn(4, 3))))
    assert "column 2 75 % column 0 25 % column 1 0 %" in look(server, PAGE).text


def test_words_are_shaded_by_their_share(server: House) -> None:
    tell(server, event(seen(Words(), torch.tensor([[4, 5, 6], [6, 5, 4]]))))
    shades = [str(item["class"]) for tag, item in look(server, PAGE).tags if "token" in str(item.get("class"))]
    assert shades == [f"token token--{shade}" for shade in (0, 5, 9, 0, 5, 9)]


def test_each_inspection_has_an_address_and_the_newest_is_shown_first(server: House) -> None:
    value = {"model": "", "samples": 3}
    for step in (0, 50, 100):
        tell(server, event({**value, "samples": step + 1}, step, 1_000 + step))
    page = look(server, PAGE)
    assert "Step 100: 101 samples" in page.text
    assert f"{PAGE}?n=2" in page.values("href")
    assert f"{PAGE}?n=4" not in page.values("href")
    assert "Step 0: 1 sample." in look(server, PAGE + "?n=1").text
    assert "Step 50: 51 samples" in look(server, f"/runs/{RUN}/fragments/inspect?n=2").text
    assert "Step 100: 101 samples" in look(server, PAGE + "?n=99").text
    assert server.client.get(PAGE + "?n=0").status_code == 422


def test_the_api_lists_inspections_and_gives_what_came(server: House) -> None:
    assert server.client.get(API).json() == {"items": [], "next": None}
    value = seen(nn.Linear(2, 2), torch.randn(3, 2))
    tell(server, event({"samples": 1}, 3), event(value, 9, 2_000))
    listed = server.client.get(API).json()["items"]
    assert [(item["n"], item["step"], item["attempt"]) for item in listed] == [(1, 3, 1), (2, 9, 1)]
    told = server.client.get(f"{API}/2").json()
    assert (told["step"], told["value"]) == (9, value)
    missing = server.client.get(f"{API}/3")
    assert missing.status_code == 404
    assert "The run has 2 inspections, and none has the number 3" in missing.text
    assert server.client.get("/api/v1/runs/nobody/inspections").status_code == 404


def test_without_an_inspection_the_page_says_how_to_make_one(server: House) -> None:
    page = look(server, PAGE)
    assert "Nobody looked inside this model yet" in page.text
    assert "monitor.inspect((inputs, targets))" in page.text
    assert PAGE in look(server, f"/runs/{RUN}").values("href")
    assert look(server, "/runs/nobody/inspect", 404)


def packed(**more: Any) -> dict[str, Any]:
    return {"count": 1, "planes": 1, "height": 1, "width": 2, "low": 0, "high": 1, "values": "AAA=", **more}


@pytest.mark.parametrize(
    "value",
    [
        {}, [], "text", None, {"layers": "none", "inputs": {"a": 1}, "saliency": [], "filters": 3, "left_out": {}},
        {"layers": [None, {}, {"name": 3, "shape": ["a", -1, 2.5, True], "units": 2**60, "mean": "nan"}]},
        {"layers": [{"name": EVIL, "type": EVIL, "calls": 1, "maps": packed(values=EVIL)}], "left_out": [EVIL]},
        {"inputs": [{"name": EVIL, "dtype": EVIL, "nonfinite": 3}], "model": EVIL},
        {"saliency": {"of": EVIL, "unused": [EVIL], "shares": [None, "x", 1], "ids": [["a"], 3], "map": packed()}},
        {"filters": {"layer": EVIL, "shape": [], "picture": packed()}},
    ],
)  # fmt: skip
def test_whatever_comes_is_shown_as_text_or_left_out(server: House, value: Any) -> None:
    tell(server, event(value))
    page = look(server, PAGE)
    assert "alert(1)" not in "".join(page.values("onerror"))
    assert [tag for tag, item in page.tags if tag == "img" and item.get("src") == "x"] == []
    assert server.client.get(f"{API}/1").status_code in (200, 404)


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": "AA=="}, {"values": "not base64"}, {"values": 3}, {"count": 0}, {"count": 10**9}, {"height": -1},
        {"width": 600}, {"planes": 2}, {"planes": 3},
    ],
)  # fmt: skip
def test_bytes_that_are_no_picture_are_none(wrong: dict[str, Any]) -> None:
    assert inspection.pictures(packed()) is not None
    assert inspection.pictures(packed(**wrong)) is None


def test_what_was_inspected_is_not_read_for_the_other_pages(server: House, monkeypatch: pytest.MonkeyPatch) -> None:
    tell(server, event(seen(digits(), torch.rand(6, 1, 8, 8))))
    asked = server.store.records.events

    def without(run_id: str, **wanted: Any) -> Any:
        found = asked(run_id, **wanted)
        assert all(item.kind != inspection.EVENT for item in found)
        return found

    monkeypatch.setattr(server.store.records, "events", without)
    look(server, f"/runs/{RUN}")
    assert server.client.get(f"/api/v1/runs/{RUN}/charts/loss").status_code == 200


def test_words_are_compared_with_the_largest_and_not_with_the_smallest(server: House) -> None:
    saliency = {"of": "x", "ids": [[1, 2, 3], [4, 5, 6]], "map": packed(
        count=2, width=3, low=1.5, high=3.0, values=base64.b64encode(bytes([0, 0, 254, 0, 0, 255])).decode()
    )}  # fmt: skip
    tell(server, event({"saliency": saliency}))
    page = look(server, PAGE)
    words = [str(item["title"]) for tag, item in page.tags if "token" in str(item.get("class"))]
    half, whole = "50 % of the largest", "100 % of the largest"
    assert words == [half, half, whole, whole, whole, "not finite"]


def test_a_column_and_an_answer_that_are_not_finite_are_told(server: House) -> None:
    shares = {"of": "x", "kind": "features", "shares": [None, 0.25, 0.75]}
    tell(server, event({"saliency": shares, "output": {"shape": [2, 2], "nonfinite": 1}, "bad_layers": ["late", 3, 2]}))
    text = look(server, PAGE).text
    assert "The gradient of the answer is not finite at column 0 ." in text
    assert "The answer has 1 value that is not finite." in text
    assert "late is the first layer with 3 values that are not finite; 1 layer after it as well." in text
    assert "column 2 75 % column 1 25 %" in text


def test_an_answer_whose_gradient_is_gone_is_told(server: House) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2), nn.Softmax(1))
    with torch.no_grad():
        model[1].weight.mul_(1e4)
    tell(server, event(seen(model, torch.rand(3, 1, 8, 8))))
    assert "warning The gradient of the answer is 0 at every input shown" in look(server, PAGE).text
    tell(server, event(seen(digits(), torch.rand(3, 1, 8, 8)), 8, 2_000))
    assert "The gradient of the answer is 0" not in look(server, PAGE).text


@pytest.mark.parametrize("value", [True, "3", None, [], 10**400, -(10**400)])
def test_what_is_no_number_is_not_taken_for_one(value: Any) -> None:
    assert math.isnan(number(value))
    assert (number(3), number(-0.5), number(float("inf"))) == (3.0, -0.5, math.inf)
