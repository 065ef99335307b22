"""What is told on a channel: incidents and ends of runs, each once, in the transaction that brings them about."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from client_hook.cli import main
from server.domain.alerts import DeliveryState
from server.domain.findings import Severity
from server.store import now_ms
from server.store.telling import DAY_MS, HOLD_MS
from tests.server.store.desk import Desk, finding
from tests.server.store.kit import NOW, RUN, open_run, status

OTHER = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99"


def test_a_finding_is_told_once_with_its_words(desk: Desk) -> None:
    desk.channel()
    desk.save(finding())
    assert desk.due(later_ms=HOLD_MS - 1) == [], "it is held back, so that its cause may come"
    (due,) = desk.due(later_ms=1)
    news = due.news
    assert (news.event, news.severity, news.project, news.run, news.run_id) == (
        "finding", Severity.ERROR, "vision", "night", RUN,
    )  # fmt: skip
    assert (news.code, news.name, news.message, news.advice) == ("GW308", "dead-relu", "Layer a: dead", "Try x")
    assert (news.first_step, news.last_step, news.number) == (3, 9, 1)
    desk.store.alerts.sent(due, "me")
    desk.save(finding(last_step=20))
    assert desk.told() == []
    (kept,) = desk.store.alerts.latest(9)
    assert (kept.state, kept.tries, kept.sent_ms) == (DeliveryState.SENT, 1, NOW + HOLD_MS)


def test_a_channel_hears_of_its_severity_and_above(desk: Desk) -> None:
    least = {severity: desk.channel(severity=severity) for severity in Severity}
    desk.save(finding(1, "GW301", "warning"), finding(2, "GW302", "info"), finding(3, "GW303", "error"))
    heard: dict[int, set[str]] = {}
    for due in desk.due():
        heard.setdefault(due.channel.id, set()).add(due.news.code)
    assert heard == {
        least[Severity.ERROR]: {"GW303"},
        least[Severity.WARNING]: {"GW301", "GW303"},
        least[Severity.INFO]: {"GW301", "GW302", "GW303"},
    }


def test_a_finding_that_grows_is_told_when_it_reaches_the_channel(desk: Desk) -> None:
    desk.channel()
    desk.save(finding(severity="warning"))
    assert desk.told() == []
    desk.save(finding(severity="error"))
    assert desk.told() == ["GW308"]


def test_what_was_told_as_a_warning_is_told_once_more_as_an_error(desk: Desk) -> None:
    desk.channel(severity=Severity.WARNING)
    desk.save(finding(severity="warning"))
    desk.save(finding(severity="error"))
    (due,) = desk.due()
    assert due.news.severity is Severity.ERROR, "one that grows before it is told is told once"
    desk.store.alerts.sent(due, "me")
    for severity in ("warning", "error", "warning"):
        desk.save(finding(state="resolved", resolved_step=10))
        desk.save(finding(severity=severity))
        assert desk.told() == [], "of one that flaps nobody hears again"
    desk.save(finding(2, "GW401", "warning"))
    assert desk.told() == ["GW401"]
    desk.save(finding(2, "GW401", "error"))
    (grown,) = desk.due()
    assert (grown.news.code, grown.news.severity) == ("GW401", Severity.ERROR)


def test_projects_and_tags_choose_the_runs(desk: Desk) -> None:
    for wanted in ({"projects": ("vision",)}, {"tags": ("big", "small")}, {"projects": ("vision", "x"), "tags": ()}):
        desk.channel(**wanted)
    for other in ({"projects": ("visio",)}, {"tags": ("small",)}, {"projects": ("vision",), "tags": ("small",)}):
        desk.channel(**other)
    desk.save(finding())
    assert sorted(due.channel.id for due in desk.due()) == [1, 2, 3]


def test_what_a_cause_absorbs_is_not_told(desk: Desk) -> None:
    desk.channel(severity=Severity.WARNING)
    desk.save(finding(1, "GW201"), *(finding(number, f"GW4{number}", cause=1) for number in range(2, 40)))
    (due,) = desk.due()
    assert (due.news.code, due.news.symptoms) == ("GW201", 38)


def test_of_a_symptom_whose_cause_comes_at_once_the_cause_is_told_alone(desk: Desk) -> None:
    desk.channel()
    desk.save(finding(1, "GW401"), finding(2, "GW402"))
    desk.save(finding(1, "GW401", cause=3), finding(2, "GW402", cause=3), finding(3, "GW201", "warning"))
    assert desk.told() == ["GW201"], "as severe as what follows from it, and once"
    assert desk.rows() == 1


def test_of_a_cause_that_comes_later_than_its_symptom_was_told_nobody_hears_again(desk: Desk) -> None:
    desk.channel()
    desk.save(finding(1, "GW401"))
    assert desk.told() == ["GW401"]
    desk.save(finding(1, "GW401", cause=2), finding(2, "GW201"))
    assert desk.told() == []


def test_a_warning_that_a_new_symptom_makes_an_error_is_told(desk: Desk) -> None:
    desk.channel()
    desk.save(finding(1, "GW201", "warning"))
    desk.save(finding(2, "GW401", "error", cause=1))
    (due,) = desk.due()
    assert (due.news.code, due.news.severity) == ("GW201", Severity.ERROR)


def test_one_that_flaps_is_told_once_in_an_attempt(desk: Desk) -> None:
    desk.channel()
    for number in range(1, 6):
        desk.save(finding(number))
        desk.told()
        desk.save(finding(number, state="resolved", resolved_step=10))
    assert desk.rows() == 1
    desk.save(finding(6, attempt=2))
    assert desk.told() == ["GW308"]


def test_one_that_resolves_before_it_is_told_is_not_told_and_its_next_coming_is(desk: Desk) -> None:
    desk.channel()
    desk.save(finding(1))
    desk.save(finding(1, state="resolved", resolved_step=10))
    assert desk.told() == []
    desk.save(finding(2))
    assert desk.told() == ["GW308"]


def test_what_was_muted_or_acknowledged_is_not_told(desk: Desk) -> None:
    desk.channel()
    desk.store.wishes.add_mute("vision", "GW308", reason="known", now_ms=NOW)
    desk.save(finding(1))
    desk.store.wishes.apply_mutes([RUN], NOW)
    desk.save(finding(2, "GW309"))
    desk.store.findings.patch(RUN, 2, acknowledged=True)
    desk.save(finding(3, "GW310"))
    assert desk.told() == ["GW310"]
    desk.store.wishes.end_mute(1, NOW)
    desk.save(finding(4, "GW311", "info"))
    assert desk.told() == [], "that a mute ends is no news"


def test_what_was_found_before_the_channel_was_made_is_not_told(desk: Desk) -> None:
    desk.save(finding(1), finding(2, "GW302", "warning"))
    desk.channel(severity=Severity.INFO)
    desk.save(finding(1, last_step=99), finding(3, "GW401", cause=1))
    assert desk.told() == []
    desk.save(finding(2, "GW302", "error"))
    assert desk.told() == ["GW302"], "that it grew is new"


def test_of_a_run_of_another_day_or_a_deleted_one_nobody_is_told(desk: Desk) -> None:
    desk.channel()
    desk.store.runs.update_many([RUN], NOW, deleted=True)
    desk.save(finding(1))
    desk.store.runs.update_many([RUN], NOW, deleted=False)
    desk.clock.now_ms += DAY_MS + 1
    desk.save(finding(2, "GW309"))
    assert desk.told() == []
    assert desk.rows() == 0
    desk.hear()
    desk.save(finding(3, "GW310"))
    assert desk.told() == ["GW310"]


def test_what_an_import_brings_is_not_told_until_the_run_is_heard_of(url: str, tmp_path: Path) -> None:
    home = Desk(f"sqlite:///{tmp_path}/home.db", now_ms())
    open_run(home.store)
    home.hear()
    home.save(finding(1, "GW301"))
    home.store.close()
    there = Desk(url)
    there.channel(ends=True, severity=Severity.INFO)
    there.store.close()
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", home.url]) == 0
    assert main(["import", str(file), "--database", url]) == 0
    there = Desk(url, now_ms())
    there.save(finding(1, "GW301", last_step=99), finding(2, "GW302"))
    there.store.queue.mark_silent(there.clock() + 1, there.clock())
    assert there.told() == []
    there.seq = home.seq
    there.hear()
    there.save(finding(3, "GW303"))
    assert there.told() == ["GW303"]
    there.store.close()


def test_what_is_exported_has_no_channel_and_no_alert_in_it(desk: Desk, tmp_path: Path) -> None:
    desk.channel(address="https://hooks.example/services/T0K3N", secret="s3cr3t-key")
    desk.save(finding())
    (due,) = desk.due()
    desk.store.alerts.give_up(due, "me", "gone")
    file = tmp_path / "runs.db"
    assert main(["export", str(file), "--database", desk.url]) == 0
    written = file.read_bytes()
    assert b"Layer a: dead" in written
    assert b"T0K3N" not in written
    assert b"s3cr3t" not in written
    with closing(sqlite3.connect(file)) as database:
        for table in ("channels", "alerts"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


@pytest.mark.parametrize("state", ["failed", "crashed"])
def test_that_a_run_broke_is_told_with_its_diagnosis(desk: Desk, state: str) -> None:
    desk.channel()
    desk.save()
    desk.hear(status(state))
    (due,) = desk.due()
    assert (due.news.event, due.news.severity, due.news.message) == (state, Severity.ERROR, "2 problems")


def test_of_two_words_about_one_end_the_stronger_is_told(desk: Desk) -> None:
    desk.channel()
    desk.hear(status("crashed"))
    desk.hear(status("failed"))
    assert desk.told() == ["failed"]


def test_ends_are_told_on_wish_alone(desk: Desk) -> None:
    desk.channel()
    desk.channel(ends=True)
    desk.hear(status("finished"))
    (due,) = desk.due()
    assert (due.channel.id, due.news.event, due.news.severity) == (2, "finished", Severity.INFO)


def test_silence_is_told_in_the_words_of_its_finding_and_not_twice(desk: Desk) -> None:
    desk.channel()
    assert desk.store.queue.mark_silent(NOW + 1, NOW + 1) == [RUN]
    desk.save(finding(1, "GW503", message="Nothing was heard", advice="Look at it"))
    (due,) = desk.due()
    assert (due.news.event, due.news.message, due.news.advice) == ("silent", "Nothing was heard", "Look at it")
    desk.hear()
    desk.store.queue.mark_silent(desk.clock() + 1, desk.clock() + 1)
    assert desk.told() == [], "once in an attempt"
    open_run(desk.store, attempt="a2")
    desk.hear(attempt="a2")
    desk.store.queue.mark_stuck([RUN], desk.clock())
    assert desk.told() == ["stuck"], "another attempt may tell again"


def test_silence_that_was_muted_or_is_over_is_not_told(desk: Desk) -> None:
    desk.channel()
    desk.store.queue.mark_silent(NOW + 1, NOW + 1)
    desk.hear()
    assert desk.told() == [], "it was heard again"
    desk.store.queue.mark_stuck([RUN], desk.clock())
    desk.save(finding(1, "GW503"))
    desk.store.findings.patch(RUN, 1, muted=True)
    assert desk.told() == []


def test_of_a_preflight_nobody_is_told(desk: Desk) -> None:
    desk.channel(ends=True)
    open_run(desk.store, OTHER, "p1", preflight=True)
    desk.seq = 0
    desk.hear(status("failed"), run_id=OTHER, attempt="p1")
    assert desk.told() == []


def test_a_run_that_waited_in_a_spool_for_days_is_not_told(desk: Desk) -> None:
    desk.clock.now_ms += 3 * DAY_MS
    desk.channel(ends=True)
    desk.hear(status("failed"))  # which was so at NOW + 1, by its machine's clock
    assert desk.told() == []


def test_a_channel_that_is_off_or_gone_tells_nothing(desk: Desk) -> None:
    first, second = desk.channel(), desk.channel()
    desk.save(finding(1))
    desk.store.channels.switch(first, active=False)
    desk.store.channels.remove(second)
    assert desk.rows() == 0
    desk.save(finding(2, "GW309"))
    desk.store.channels.switch(first, active=True)
    assert desk.told() == [], "what happened meanwhile is not made up for"
    desk.save(finding(3, "GW310"))
    assert desk.told() == ["GW310"]


def test_a_deleted_run_takes_its_alerts_with_it(desk: Desk) -> None:
    desk.channel()
    desk.save(finding())
    desk.store.runs.delete(RUN)
    assert desk.rows() == 0
    assert desk.told() == []
