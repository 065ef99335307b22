"""Runs: opening, pages, filters, orders, silence, deletion; and what the diagnosis stores of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import func, select

from server.domain.findings import CheckResult, Evidence, Finding, Severity
from server.domain.runs import DiagnosisState, RunState
from server.errors import InvalidFrame
from server.store import Store, schema
from server.store.run_list import SORTS
from tests.server.store.kit import NOW, RUN, frame, group, open_run, status


def finding(number: int, severity: Severity = Severity.WARNING, **more: object) -> Finding:
    return Finding(RUN, number, "GW201", "loss-diverges", 1, severity, "open", 3, 5, 9, "It grows.", "Lower it.",
                   layers=("fc",), evidence=Evidence({"z": 4.5}, {"word": "é"}, ("loss",), 4.0), **more)  # fmt: skip


def save(store: Store, *findings: Finding, version: int | None = None, state: str = "live") -> None:
    store.findings.save(RUN, findings=findings, checks=[CheckResult("GW201", "found"), CheckResult("GW202", "passed")],
                        diagnosed_step=9, diagnosis=DiagnosisState(state), verdict="One problem.",
                        seen_version=store.runs.frame_version(RUN) if version is None else version)  # fmt: skip


def test_opening_is_idempotent_and_a_new_attempt_counts_on(store: Store) -> None:
    assert open_run(store, name="first", tags=("a", "ü"), config={"lr": 0.1}) == 1
    assert open_run(store, name="other") == 1
    assert open_run(store, attempt="a2") == 2
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.name, run.tags, dict(run.config), run.attempts) == ("first", ("a", "ü"), {"lr": 0.1}, 2)
    assert [attempt.key for attempt in store.runs.attempts(RUN)] == ["a1", "a2"]
    assert store.runs.get("unknown") is None
    assert store.runs.frame_version("unknown") == -1


@pytest.mark.parametrize("sort", SORTS)
def test_pages_show_each_run_once_in_every_order(store: Store, sort: str) -> None:
    for number in range(23):
        open_run(store, f"run-{number:02}", started_ms=NOW + number // 3, name=f"Name {number % 5}")
        if number % 2:
            store.frames.accept(frame(0, group({"loss": [float(number % 4)]}, [0]), run_id=f"run-{number:02}"))
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = store.runs.page(sort=sort, cursor=cursor, limit=4)
        seen += [run.id for run in page.items]
        cursor = page.next
        if cursor is None:
            break
        assert re.fullmatch(r"[A-Za-z0-9_-]+", cursor)
    assert len(seen) == 23
    assert len(set(seen)) == 23
    whole = [run.id for run in store.runs.page(sort=sort, limit=500).items]
    assert seen == whole


@pytest.mark.parametrize(
    "cursor", ["x", "W10", "eyJhIjoxfQ", "WyJcdWQ4MDAiLCAiYSJd", "WzEwMDAwMDAwMDAwMDAwMDAwMDAwMCwgImEiXQ"]
)
def test_a_cursor_of_nobody_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidFrame, match=f"cursor: got '{cursor}'; only `next` of the page before is right"):
        store.runs.page(cursor=cursor)


def test_runs_are_filtered(store: Store) -> None:
    open_run(store, "one", project="vision", name="Big_net", tags=("night",))
    open_run(store, "two", project="text", name="bigXnet")
    store.frames.accept(frame(0, run_id="two", records=[status("failed")]))
    store.runs.update("one", archived=False, name="Big_net 2")

    def ids(**where: object) -> list[str]:
        return [run.id for run in store.runs.page(**where).items]  # type: ignore[arg-type]

    assert ids(project="vision") == ["one"]
    assert ids(state="failed") == ["two"]
    assert ids(search="big_") == ["one"]  # an underscore means itself
    assert ids(search="NIGHT") == ["one"]
    assert ids(search="tw") == ["two"]
    assert ids(severity="error") == []
    assert store.runs.projects() == ["text", "vision"]
    store.runs.update("two", archived=True)
    assert ids() == ["one"]
    assert ids(archived=True) == ["two"]


def test_a_run_that_says_nothing_becomes_silent_and_runs_again_with_its_next_word(store: Store) -> None:
    open_run(store)
    assert store.queue.mark_silent(NOW, NOW + 1) == []
    version = store.runs.frame_version(RUN)
    assert store.queue.mark_silent(NOW + 1, NOW + 60_000) == [RUN]
    assert store.runs.frame_version(RUN) > version
    save(store, state="final")
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), received_ms=NOW + 70_000))
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.state, run.diagnosis) == (RunState.RUNNING, DiagnosisState.LIVE)
    assert store.queue.dirty() == [RUN]


def test_deleting_a_run_leaves_nothing_of_it_and_all_of_the_others(store: Store, tmp_path: Path) -> None:
    for run_id in (RUN, "other"):
        open_run(store, run_id)
        store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), run_id=run_id, records=[status("finished")]))
    save(store, finding(1))
    assert store.runs.delete(RUN)
    assert not store.runs.delete(RUN)
    with store._database.read() as connection:
        for table in schema.metadata.sorted_tables:
            if "run_id" in table.c:
                left = select(func.count()).select_from(table).where(table.c.run_id == RUN)
                assert connection.execute(left).scalar_one() == 0, table.name
    assert len(store.series.read("other", ["loss"])) == 1
    open_run(store)
    store.frames.accept(frame(0, group({"b": [1.0], "loss": [2.0]}, [0])))
    assert [info.name for info in store.series.names(RUN)] == ["b", "loss"]


def test_findings_are_kept_with_what_users_said(store: Store) -> None:
    open_run(store)
    save(store, finding(1), finding(2, Severity.ERROR), finding(3, cause=2))
    assert store.findings.list(RUN)[0] == finding(1)
    muted = store.findings.patch(RUN, 2, acknowledged=True, muted=True)
    assert muted is not None
    assert (muted.acknowledged, muted.muted) == (True, True)
    save(store, finding(2, Severity.ERROR))
    assert store.findings.list(RUN)[1].muted
    assert store.findings.patch(RUN, 99, muted=True) is None
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.worst_severity, dict(run.open_counts), run.verdict) == ("warning", {"warning": 2}, "One problem.")
    assert run.muted == 1
    assert [check.outcome for check in store.findings.checks(RUN)] == ["found", "passed"]


def test_a_run_is_as_severe_as_the_worst_below_its_causes_and_is_found_by_that(store: Store) -> None:
    open_run(store)
    save(store, finding(1), finding(2, Severity.ERROR, cause=1))
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.worst_severity, dict(run.open_counts), run.muted) == ("error", {"error": 1}, 0)
    assert [item.id for item in store.runs.page(severity="error").items] == [RUN]
    assert store.runs.page(severity="warning").items == ()
    store.findings.patch(RUN, 1, muted=True)
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.worst_severity, dict(run.open_counts), run.muted) == ("error", {"error": 1}, 1)


def test_a_diagnosis_of_an_older_state_leaves_the_run_dirty_and_not_final(store: Store) -> None:
    open_run(store)
    seen = store.runs.frame_version(RUN)
    store.frames.accept(frame(0, group({"loss": [1.0]}, [0]), records=[status("finished")]))
    save(store, version=seen, state="final")
    run = store.runs.get(RUN)
    assert run is not None
    assert run.diagnosis == DiagnosisState.LIVE
    assert store.queue.dirty() == [RUN]
    save(store, state="final")
    assert store.queue.dirty() == []
