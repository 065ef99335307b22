"""A preflight and the training after it are one run: what each of them says of it, whichever comes first."""

from __future__ import annotations

from typing import Any

import pytest

from server.domain.runs import Run, RunState
from server.store import Store
from tests.server.store.kit import NOW, RUN, frame, group, open_run, samples, status

BEFORE, AFTER = "the preflight's", "the training's"


def preflight(store: Store, attempt: str = "p1", state: str = "finished", **more: Any) -> int:
    number = open_run(store, attempt=attempt, preflight=True, **more)
    store.frames.accept(frame(0, attempt=attempt, records=[status(state, -1)]))
    return number


def training(store: Store, attempt: str = "a1", **more: Any) -> int:
    number = open_run(store, attempt=attempt, **{"started_ms": NOW + 60_000, **more})
    store.frames.accept(frame(0, group({"loss": [2.0, 1.0]}, [0, 1]), attempt=attempt))
    return number


def the_run(store: Store) -> Run:
    run = store.runs.get(RUN)
    assert run is not None
    return run


def test_a_preflight_alone_is_a_run_without_a_training(store: Store) -> None:
    assert preflight(store) == 0
    run = the_run(store)
    assert (run.attempts, run.only_preflight, run.state, run.ended_ms) == (0, True, RunState.FINISHED, NOW + 1)
    assert run.name == "preflight 0b9e77"


def test_the_training_makes_it_its_own_run(store: Store) -> None:
    preflight(store)
    assert training(store) == 1
    run = the_run(store)
    assert (run.attempts, run.only_preflight, run.state, run.ended_ms) == (1, False, RunState.RUNNING, None)
    assert (run.name, run.started_ms, run.last_step, run.last_loss) == ("run 0b9e77", NOW + 60_000, 1, 1.0)
    assert samples(store, "loss") == [(0, 2.0), (1, 1.0)]
    store.frames.accept(frame(1, attempt="a1", records=[status("finished", 1)]))
    assert the_run(store).state is RunState.FINISHED
    assert training(store, "a2") == 2  # a training that goes on is a second one as ever
    assert the_run(store).attempts == 2


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the preflight arrives last"])
@pytest.mark.parametrize(
    ("told", "then", "name"),
    [(None, None, "run 0b9e77"), (BEFORE, None, BEFORE), (None, AFTER, AFTER), (BEFORE, AFTER, AFTER)],
)
def test_the_name_is_the_trainings_or_else_the_preflights(
    store: Store, told: str | None, then: str | None, name: str, late: bool
) -> None:
    both = [lambda: preflight(store, name=told), lambda: training(store, name=then)]
    for one in reversed(both) if late else both:
        one()
    assert the_run(store).name == name


@pytest.mark.parametrize("late", [False, True], ids=["in order", "the preflight arrives last"])
def test_config_and_tags_are_joined_and_the_project_is_the_trainings(store: Store, late: bool) -> None:
    both = [
        lambda: preflight(store, project="vision", config={"finetune": True}, host="laptop"),
        lambda: training(store, project="text", tags=("night",), host="cluster"),
    ]
    for one in reversed(both) if late else both:
        one()
    run = the_run(store)
    assert (run.project, dict(run.config), run.tags, run.host) == ("text", {"finetune": True}, ("night",), "cluster")
    assert store.runs.projects() == ["text"]


def test_the_config_of_the_training_counts_more(store: Store) -> None:
    preflight(store, config={"lr": 1.0})
    training(store, config={"lr": 0.1})
    assert dict(the_run(store).config) == {"lr": 0.1}


def test_a_preflight_beside_a_training_leaves_it_as_it_is(store: Store) -> None:
    training(store, name=AFTER)
    before = the_run(store)
    assert preflight(store, state="failed", name=BEFORE, started_ms=NOW + 90_000) == 0
    run = the_run(store)
    same = ("name", "state", "attempts", "started_ms", "ended_ms", "last_step", "last_loss", "sparkline", "project")
    assert [getattr(run, field) for field in same] == [getattr(before, field) for field in same]
    assert samples(store, "loss") == [(0, 2.0), (1, 1.0)]


def test_a_preflight_that_failed_is_made_good_by_the_next_one_or_by_the_training(store: Store) -> None:
    preflight(store, state="failed")
    assert the_run(store).state is RunState.FAILED
    assert preflight(store, "p2") == -1
    assert (the_run(store).state, the_run(store).attempts) == (RunState.FINISHED, 0)
    training(store)
    assert [(one.key, one.number, one.is_training) for one in store.runs.attempts(RUN)] == [
        ("p1", 0, False), ("p2", -1, False), ("a1", 1, True),
    ]  # fmt: skip


def test_a_training_shows_itself_where_its_preflight_was_put_away(store: Store) -> None:
    preflight(store)
    store.runs.update_many([RUN], NOW, archived=True, deleted=True)
    training(store)
    run = the_run(store)
    assert (run.archived, run.deleted_ms) == (False, None)


def test_opening_a_preflight_again_changes_nothing(store: Store) -> None:
    assert preflight(store) == open_run(store, attempt="p1", preflight=True) == 0
    training(store)
    assert open_run(store, attempt="p1", preflight=True) == 0
    assert (the_run(store).attempts, the_run(store).state) == (1, RunState.RUNNING)


def test_only_a_training_that_speaks_again_ends_the_silence(store: Store) -> None:
    preflight(store)
    training(store)
    store.queue.mark_silent(NOW + 1_000_000, NOW + 1_000_000)
    open_run(store, attempt="p1", preflight=True)
    assert the_run(store).state is RunState.SILENT
    open_run(store, attempt="a1")
    assert the_run(store).state is RunState.RUNNING
