"""Added columns of the runs table, their order, changes of several runs at once, and deletion that can be undone."""

from __future__ import annotations

import math

import pytest

from server.errors import InvalidFrame
from server.store import Store
from tests.server.store.kit import NOW, frame, group, open_run


@pytest.fixture
def three(store: Store) -> Store:
    for run_id, rate, loss in (("a", 0.1, [3.0, 2.0]), ("b", "high", [1.0, math.nan]), ("c", None, [5.0, 0.5])):
        config = {} if rate is None else {"optimizer": {"lr": rate}, "nesterov": True}
        open_run(store, run_id, config=config, tags=("night",) if run_id == "a" else ())
        store.frames.accept(frame(0, group({"loss": loss, "act/std/fc": loss}, [0, 1]), run_id=run_id))
    return store


def test_a_column_is_an_entry_of_the_config_or_a_figure_of_a_series(three: Store) -> None:
    found = three.columns.values(["a", "b", "c"], ["config.optimizer.lr", "config.nesterov", "last.loss", "min.loss"])
    assert found["a"] == {"config.optimizer.lr": 0.1, "config.nesterov": "true", "last.loss": 2.0, "min.loss": 2.0}
    assert found["b"]["config.optimizer.lr"] == "high"
    assert math.isnan(found["b"]["last.loss"])  # type: ignore[arg-type]
    assert found["b"]["min.loss"] == 1.0
    assert found["c"] == {"last.loss": 0.5, "min.loss": 0.5}
    assert three.columns.values(["c"], ["max.loss", "last.unknown", "nonsense"])["c"] == {"max.loss": 5.0}


def test_the_newest_attempt_is_the_one_that_counts(three: Store) -> None:
    open_run(three, "a", attempt="a2")
    three.frames.accept(frame(0, group({"loss": [7.0]}, [0]), run_id="a", attempt="a2"))
    assert three.columns.values(["a"], ["last.loss", "min.loss"])["a"] == {"last.loss": 7.0, "min.loss": 7.0}


def test_series_of_single_layers_are_not_offered_as_columns(three: Store) -> None:
    assert three.columns.known(["a", "b", "c"]) == ["config.nesterov", "config.optimizer.lr", "last.loss"]


@pytest.mark.parametrize(
    ("sort", "reverse", "expected"),
    [
        ("last.loss", False, ["c", "a", "b"]),  # NaN is beyond every number
        ("last.loss", True, ["b", "a", "c"]),
        ("config.optimizer.lr", False, ["a", "b", "c"]),  # numbers, then texts, then those without
        ("config.optimizer.lr", True, ["b", "a", "c"]),  # those without stay last
    ],
)
def test_runs_are_sorted_by_a_column_page_by_page(three: Store, sort: str, reverse: bool, expected: list[str]) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while len(seen) < 9:
        page = three.runs.page(sort=sort, reverse=reverse, cursor=cursor, limit=1)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
    assert seen == expected


def test_an_unknown_sort_is_refused_with_what_would_be_right(store: Store) -> None:
    with pytest.raises(InvalidFrame, match=r"sort: got 'size'; one of started, heard, .* or a column is needed"):
        store.runs.page(sort="size")


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["config.optimizer.lr=1e-1"], ["a"]),  # the same number, however it is written
        (["config.optimizer.lr=high"], ["b"]),
        (["config.optimizer.lr!=0.1"], ["b", "c"]),  # also a run that has none
        (["config.optimizer.lr<1"], ["a"]),  # a text has no place among numbers
        (["config.nesterov=true"], ["a", "b"]),
        (["last.loss=nan"], ["b"]),
        (["last.loss<=2", "min.loss>=1"], ["a"]),
        (["last.loss>high"], []),
    ],
)
def test_runs_are_narrowed_by_what_their_columns_hold(three: Store, where: list[str], expected: list[str]) -> None:
    by_name = three.runs.page(where=where, sort="name")
    assert [run.id for run in by_name.items] == expected
    by_column = three.runs.page(where=where, sort="config.optimizer.lr")
    assert sorted(run.id for run in by_column.items) == expected


def test_pages_of_narrowed_runs_go_on_where_the_last_one_ended(three: Store) -> None:
    first = three.runs.page(where=["config.nesterov=true"], sort="name", limit=1)
    second = three.runs.page(where=["config.nesterov=true"], sort="name", limit=1, cursor=first.next)
    assert [run.id for run in (*first.items, *second.items)] == ["a", "b"]
    assert second.next is None


def test_what_is_no_condition_is_refused(store: Store) -> None:
    with pytest.raises(InvalidFrame, match=r"where: got 'lr=1'; a column, a comparison and a value are needed"):
        store.runs.page(where=["lr=1"])


def test_a_sort_can_be_turned_round(three: Store) -> None:
    assert three.runs.page(sort="loss").items[0].id == "c"
    assert three.runs.page(sort="loss", reverse=True).items[-1].id == "c"


def test_a_tag_narrows_to_runs_that_have_exactly_that_one(three: Store) -> None:
    three.runs.update("b", tags=["nightly", 'a"b'])
    assert [run.id for run in three.runs.page(tag="night").items] == ["a"]
    assert [run.id for run in three.runs.page(tag='a"b').items] == ["b"]


def test_several_runs_are_tagged_and_archived_in_one_go(three: Store) -> None:
    changed = three.runs.update_many(["a", "c", "unknown"], NOW, archived=True, add_tags=["x"], remove_tags=["night"])
    assert sorted(changed) == ["a", "c"]
    assert {run.id: run.tags for run in three.runs.page(archived=True).items} == {"a": ("x",), "c": ("x",)}
    assert [run.id for run in three.runs.page().items] == ["b"]


def test_a_deleted_run_is_hidden_can_be_brought_back_and_is_purged_in_the_end(three: Store) -> None:
    three.runs.update_many(["a", "b"], NOW, deleted=True)
    assert [run.id for run in three.runs.page().items] == ["c"]
    assert {run.id for run in three.runs.page(deleted=True).items} == {"a", "b"}
    three.runs.update_many(["a"], NOW + 1, deleted=False)
    assert {run.id for run in three.runs.page().items} == {"a", "c"}
    assert len(three.series.read("a", ["loss"])) == 1
    assert three.runs.purge(NOW) == []
    assert three.runs.purge(NOW + 1) == ["b"]
    assert three.runs.get("b") is None
