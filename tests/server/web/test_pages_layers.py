"""The layers page: the module tree, what is folded, and the drawer of one layer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, diagnose, fact, finding, look

AT = f"/runs/{RUN}/layers"
NAMES = ("head", "blocks.0.fc", "blocks.1.fc")
MODEL = {"layers": [{"name": "blocks.0.fc", "type": "Linear", "order": 0, "output_shape": [8, 4], "parameters": 20},
                    {"name": "blocks.1.fc", "type": "Linear", "order": 1}, {"name": "head", "order": 2}]}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run()
        values = {f"act/std/{name}": [1.0, 0.5] for name in NAMES}
        values |= {"grad_norm/blocks.0.fc.weight": [1.0, 1.0], "grad_norm/blocks.0.fc.bias": [0.1, 0.1]}
        found.send(0, {"loss": [1.0, 1.0], **values}, records=[fact("model", MODEL)])
        yield found


def test_the_tree_stands_in_the_order_of_the_model(home: House) -> None:
    page = look(home, AT)
    assert page.values("data-layer") == ["blocks.0.fc", "blocks.1.fc", "head"]
    assert page.values("data-module") == ["blocks", "blocks.0", "blocks.1"]
    assert "standard deviation of the output" in page.texts


def test_what_is_unfolded_stands_in_the_address_and_reaches_the_heatmap(home: House) -> None:
    page = look(home, AT + "?open=blocks")
    url = next(url for url in page.values("data-url") if "/charts/layers" in url)
    assert url.endswith("charts/layers?stat=std&open=blocks")
    assert [row["path"] for row in home.client.get(url).json()["rows"]] == ["blocks.0", "blocks.1", "head"]


def test_the_drawer_shows_all_series_facts_and_findings_of_a_layer(home: House) -> None:
    diagnose(home, finding(layers=("blocks.0.fc",)))
    page = look(home, AT + "?layer=blocks.0.fc")
    assert "type Linear output 8 × 4 parameters 20" in page.text
    urls = [url for url in page.values("data-url") if "/charts/series?" in url]
    assert [url.partition("?")[2] for url in urls] == [
        "name=act%2Fstd%2Fblocks.0.fc",
        "name=grad_norm%2Fblocks.0.fc.weight&name=grad_norm%2Fblocks.0.fc.bias",
    ]
    assert page.values("data-finding") == ["GW308"]
    assert "Layer relu: 61 % of the units are 0." in look(home, f"/runs/{RUN}/fragments/layer?layer=blocks.0.fc").text
    assert "Nothing was measured of this layer yet." in look(home, AT + "?layer=none").text


def test_a_run_without_layers_says_when_they_come(home: House) -> None:
    home.open_run("plain")
    assert "No layer was measured yet" in look(home, "/runs/plain/layers").texts


def test_names_of_layers_are_text(home: House) -> None:
    home.send(1, {f"act/std/{EVIL}": [1.0]}, first_step=2)
    page = look(home, AT)
    assert EVIL in page.values("data-layer")
    assert not [tag for tag, _ in page.tags if tag == "img"]


def test_two_thousand_layers_are_a_page(home: House) -> None:
    home.open_run("deep")
    series = {f"act/std/blocks.{n // 20}.part{n % 20}": [1.0, 2.0] for n in range(2_000)}
    home.send(0, series, run_id="deep")
    page = look(home, "/runs/deep/layers")
    assert len(page.values("data-layer")) == 2_000
    url = next(url for url in page.values("data-url") if "/charts/layers" in url)
    assert len(home.client.get(url).json()["rows"]) == 100


def test_the_map_keeps_to_the_layers_that_were_found_and_unfolds_them(home: House) -> None:
    url = f"/api/v1/runs/{RUN}/charts/layers"
    found = home.client.get(url, params={"stat": "std", "find": "FC blocks", "open": "none"}).json()
    assert found["rows"] == [{"path": "blocks.0.fc", "folded": False}, {"path": "blocks.1.fc", "folded": False}]
    weights = home.client.get(url, params={"stat": "grad_norm", "find": "bias"}).json()
    assert [row["path"] for row in weights["rows"]] == ["blocks.0.fc.bias"]
    none = home.client.get(url, params={"find": "act/std"}).json()
    assert (none["figure"], none["summary"]) == (None, "No layer has these words in its name.")
