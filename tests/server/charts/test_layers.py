"""The heatmap, and the charts with a line a parameter."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest

from server.charts.catalogue import to_json
from tests.server.charts.kit import draw, finding, grid, series


def many(prefix: str, count: int, length: int = 30):
    return [series(f"{prefix}layer{index:04}", np.full(length, 10.0 ** -(index % 7))) for index in range(count)]


def test_rows_are_in_the_order_of_the_calls_and_named() -> None:
    given = [series("act/std/b", [1.0]), series("act/std/a", [2.0]), series("act/std/gone", [3.0])]
    drawing = draw("layers", *given, layers=["b", "a"])
    assert drawing.data[0]["y"] == ["b", "a", "gone"]
    assert drawing.layout["yaxis"]["autorange"] == "reversed"


def test_a_cell_shows_the_value_farthest_from_zero() -> None:
    values = np.full(10_000, 0.1)
    values[5_000] = -50.0
    drawing = draw("layers", series("act/mean/a", values), stat="mean")
    assert float(np.nanmin(drawing.data[0]["z"])) == -50.0


def test_cells_travel_as_bytes_that_hold_the_same_values() -> None:
    drawing = draw("layers", *many("act/std/", 3, 4))
    told = json.loads(to_json(drawing, ""))["figure"]["data"][0]["z"]
    assert (told["dtype"], told["shape"]) == ("f4", "3, 4")
    cells = np.frombuffer(base64.b64decode(told["bdata"]), "<f4").reshape(3, 4)
    np.testing.assert_array_equal(cells, drawing.data[0]["z"])


def test_cells_with_values_that_are_no_number_have_their_own_colour() -> None:
    drawing = draw("layers", series("act/std/a", [1.0, math.nan, math.inf]))
    bad = drawing.data[1]
    assert [value for value in bad["z"][0].tolist() if value == value] == [1.0, 1.0]
    assert "not finite" in drawing.summary


def test_two_thousand_layers_stay_a_picture_of_bounded_size() -> None:
    drawing = draw("layers", *many("act/std/", 2_000, 100), layers=[])
    assert drawing.data[0]["z"].shape == (480, 100)
    assert drawing.detail.startswith("a row: up to 5 layers · ")
    assert len(drawing.layout["yaxis"]["tickvals"]) <= 40


def test_an_exact_zero_has_a_colour_of_its_own() -> None:
    drawing = draw("layers", series("act/std/a", [1.0, 0.0]), series("act/std/b", [1e-6, 1.0]))
    cells, zeros = drawing.data[0]["z"], drawing.data[1]["z"]
    assert np.isnan(cells[0][1])
    assert np.isfinite(zeros).tolist() == [[False, True], [False, False]]
    assert drawing.data[1]["meta"] == "exactly 0"


def test_one_exploding_layer_does_not_turn_the_others_into_one_colour() -> None:
    given = [series(f"act/std/layer{index}", np.full(100, 1.0 + index / 10)) for index in range(150)]
    drawing = draw("layers", *given, series("act/std/boom", np.full(100, 1e9)))
    # the others lie between 10^0 and 10^1.2; the colours end there, and what is beyond has the colour of the end
    assert drawing.data[0]["zmax"] < 1.5


def test_a_folded_module_shows_what_is_dead_broken_or_large_in_it() -> None:
    given = [
        series("act/std/blocks.0.a", [1.0] * 6),
        series("act/std/blocks.0.b", [0.0, math.nan, 50.0, 1.0, 1.0, 1.0]),
        series("act/std/head", [1.0] * 6),
    ]
    drawing = draw("layers", *given, unfolded=["none"])
    assert drawing.data[0]["y"] == ["blocks ▸ 2", "head"]
    assert np.isfinite(drawing.data[1]["z"]).tolist() == [[True] + [False] * 5, [False] * 6]  # dead
    assert np.isfinite(drawing.data[2]["z"]).tolist() == [[False, True] + [False] * 4, [False] * 6]  # broken
    assert drawing.data[0]["z"][0][2] == pytest.approx(math.log10(50.0))
    assert drawing.rows == [{"path": "blocks", "folded": True}, {"path": "head", "folded": False}]


def test_few_parameters_are_all_drawn_and_many_as_a_band() -> None:
    few = draw("param-grad-norms", *many("grad_norm/", 5))
    assert [trace["name"] for trace in few.data] == [f"layer{index:04}" for index in range(5)]
    crowd = draw("param-grad-norms", *many("grad_norm/", 300))
    names = [trace["name"] for trace in crowd.data]
    assert names[:3] == ["lowest", "all 300", "median of 300"]
    assert 3 < len(names) <= 12


def test_a_parameter_that_a_finding_names_is_drawn() -> None:
    drawing = draw("param-grad-norms", *many("grad_norm/", 300), findings=[finding(3, layers=("layer0123",), name="x")])
    assert "layer0123" in [trace["name"] for trace in drawing.data]


def test_the_grid_loses_no_extreme() -> None:
    chance = np.random.default_rng(0)
    values = chance.normal(0, 1, 5_003)
    cells = grid([series("a", values), series("b", values[:77], every=13)], 60)
    assert cells.low[0].min() == values.min()
    assert cells.high[0].max() == values.max()
    assert cells.nonfinite.sum() == 0
    assert len(cells.steps) == 60


def test_a_cell_lasts_until_the_next_one_and_the_last_to_the_end() -> None:
    drawing = draw("layers", series("act/std/a", [1.0, 2.0, 3.0], every=50), series("act/std/b", [1.0, 2.0], every=7))
    assert drawing.data[0]["x"] == drawing.columns == [0, 7, 50, 100, 101]


def test_colours_are_labelled_with_values_not_with_their_logarithms() -> None:
    near = draw("layers", series("act/std/a", [0.1, 1.0])).data[0]["colorbar"]
    assert near["ticktext"] == ["0.1", "0.2", "0.5", "1"]
    assert near["tickvals"] == pytest.approx([math.log10(float(words)) for words in near["ticktext"]], abs=1e-9)
    far = draw("layers", series("act/std/a", [1e-7, 1e7])).data[0]["colorbar"]
    assert far["ticktext"] == ["1e-6", "0.0001", "0.01", "1", "100", "1e4", "1e6"]


def test_without_a_model_table_layers_are_counted_as_readers_count() -> None:
    given = [series(f"act/std/blocks.{index}", [1.0]) for index in (10, 2, 1)]
    assert draw("layers", *given).data[0]["y"] == ["blocks.1", "blocks.2", "blocks.10"]


def test_what_is_dead_or_broken_shows_also_among_more_layers_than_a_screen_has_lines() -> None:
    given = many("act/std/", 2_000, 10)
    given[777] = series("act/std/layer0777", [0.0] * 10)
    given[1_500] = series("act/std/layer1500", [math.nan] * 10)
    given[3] = series("act/std/layer0003", [1e9] * 10)
    drawing = draw("layers", *given, layers=[])
    cells, dead, broken = (trace["z"] for trace in drawing.data)
    assert float(np.nanmax(cells)) == 9.0
    assert np.isfinite(dead).sum() == np.isfinite(broken).sum() == 10
    row = int(np.flatnonzero(np.isfinite(dead[:, 0]))[0])
    members = int(drawing.data[0]["y"][row].partition(", ")[2].split()[0])
    first = int(drawing.rows[row]["path"].removeprefix("layer"))
    assert first <= 777 < first + members


def test_regular_samples_have_cells_of_one_width_and_the_true_steps_beside_them() -> None:
    drawing = draw("layers", series("act/std/a", np.ones(1_000), every=3))
    edges = np.array(drawing.data[0]["x"])
    np.testing.assert_allclose(np.diff(edges), edges[1] - edges[0])
    assert drawing.columns[:3] == [0, 6, 15]  # 1,000 samples on 400 columns: two or three each
    assert drawing.columns[-1] == 2_998
    assert np.abs(edges - drawing.columns).max() <= edges[1]


def test_a_folded_block_is_not_its_normalisation() -> None:
    """A layer norm is 1 throughout and the largest: a block that shrinks would look like one that does not."""
    given = [
        series("act/std/blocks.0.norm", [1.0] * 4),
        series("act/std/blocks.0.up", [0.5, 0.4, 0.3, 0.2]),
        series("act/std/blocks.0.down", [0.2, 0.1, 0.09, 0.08]),
        series("act/std/head", [1.0] * 4),
    ]
    drawing = draw("layers", *given, unfolded=["none"])
    assert (10.0 ** drawing.data[0]["z"][0]).tolist() == pytest.approx([0.5, 0.4, 0.3, 0.2])
    assert "in a folded row that of the layer in the middle" in drawing.detail
    assert "from 0.2 (blocks) to 1 (head)" in drawing.summary
    assert "folded" not in draw("layers", *given, unfolded=["*"]).detail


def test_a_folded_block_still_shows_its_largest_output() -> None:
    given = [series("act/absmax/blocks.a", [1.0, 1.0]), series("act/absmax/blocks.b", [7.0, 8.0])]
    given += [series("act/absmax/blocks.c", [2.0, 2.0]), series("act/absmax/head", [1.0, 1.0])]
    drawing = draw("layers", *given, stat="absmax", unfolded=["none"])
    assert (10.0 ** drawing.data[0]["z"][0]).tolist() == pytest.approx([7.0, 8.0])
