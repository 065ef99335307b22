"""News on its way: one server sends it at a time, none is lost or doubled, and no secret gets out."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from server.domain.alerts import ChannelKind, DeliveryState, Draft, News
from server.domain.findings import Severity
from server.errors import GradwatchError
from server.store.alerts import LEASE_MS
from server.store.telling import HOLD_MS
from tests.server.store.desk import Desk, finding
from tests.server.store.kit import NOW, open_run


def test_a_lease_lets_one_server_send_and_another_after_its_death(desk: Desk) -> None:
    desk.channel()
    desk.save(finding())
    (first,) = desk.due("one")
    assert desk.due("two", LEASE_MS - 1) == []
    (second,) = desk.due("two", 1)
    assert second.mark == first.mark, "a receiver knows the same news by its key"
    assert second.tries == 2
    desk.store.alerts.sent(first, "one")  # too late: it is another one's now
    assert desk.store.alerts.latest(1)[0].state is DeliveryState.WAITING
    desk.store.alerts.sent(second, "two")
    assert desk.store.alerts.latest(1)[0].state is DeliveryState.SENT


def test_the_words_of_the_first_try_stay(desk: Desk) -> None:
    desk.channel()
    desk.save(finding())
    (first,) = desk.due()
    desk.store.alerts.again(first, "me", 30_000, "it was down")
    desk.save(finding(message="grown", state="resolved", resolved_step=12))
    assert desk.due(later_ms=29_999) == []
    (second,) = desk.due(later_ms=1)
    assert (second.news, second.mark, second.tries) == (first.news, first.mark, 2)
    desk.store.alerts.give_up(second, "me", "it is gone")
    (kept,) = desk.store.alerts.latest(1)
    assert (kept.state, kept.reason, kept.tries) == (DeliveryState.GIVEN_UP, "it is gone", 2)


def test_while_a_channel_is_down_one_piece_of_news_is_tried_and_the_others_wait(desk: Desk) -> None:
    desk.channel()
    desk.save(*(finding(number, f"GW{number}") for number in range(301, 306)))
    desk.clock.now_ms += HOLD_MS
    (first,) = desk.store.alerts.claim("me", 10)
    desk.store.alerts.again(first, "me", 60_000, "down")
    assert desk.due(later_ms=59_999) == []
    assert [due.tries for due in desk.due(later_ms=1)] == [2, 1, 1, 1, 1]


def test_a_test_is_sent_at_once_even_on_a_channel_that_is_off(desk: Desk) -> None:
    channel = desk.channel()
    desk.store.channels.switch(channel, active=False)
    number = desk.store.alerts.test(channel)
    assert number is not None
    (due,) = desk.due(later_ms=0)
    assert (due.id, due.news) == (number, News("test", Severity.INFO, at_ms=NOW))
    assert desk.store.alerts.test(99) is None
    found = desk.store.alerts.get(number)
    assert found is not None
    assert found.event == "test"


def test_what_a_broken_transaction_found_is_not_told(desk: Desk) -> None:
    desk.channel()
    with pytest.raises((GradwatchError, TypeError)):
        desk.save(finding(1), finding(2, "GW309", params={"x": object()}))
    assert desk.rows() == 0


def test_what_was_committed_is_told_after_a_restart(url: str) -> None:
    before = Desk(url)
    open_run(before.store)
    before.channel()
    before.save(finding())
    before.store.close()
    after = Desk(url)
    after.clock.now_ms = NOW + HOLD_MS
    assert after.told() == ["GW308"]
    after.store.close()


def test_several_servers_send_each_once(postgres_cluster: Any) -> None:
    url = postgres_cluster.new_database()
    one, two = Desk(url), Desk(url)
    open_run(one.store)
    for _ in range(5):
        one.channel()
    one.save(*(finding(number, f"GW{number}") for number in range(301, 311)))
    one.clock.now_ms = two.clock.now_ms = NOW + HOLD_MS
    taken: list[int] = []

    def work(desk: Desk, owner: str) -> None:
        while some := desk.store.alerts.claim(owner, 3):
            for due in some:
                taken.append(due.id)
                desk.store.alerts.sent(due, owner)

    threads = [threading.Thread(target=work, args=(desk, name)) for desk, name in ((one, "one"), (two, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    work(one, "one")
    assert sorted(taken) == sorted({*taken})
    assert len(taken) == 50
    one.store.close()
    two.store.close()


def test_a_channel_is_changed_listed_and_never_written_out_with_its_secrets(desk: Desk) -> None:
    channel = desk.channel(secret="s3cret", projects=("a", "b"), tags=("t",), ends=True)
    (found,) = desk.store.channels.list()
    assert (found.projects, found.tags, found.ends, found.secret) == (("a", "b"), ("t",), True, "s3cret")
    assert "s3cret" not in repr(found)
    assert "x.example" not in repr(found)
    assert desk.store.channels.change(channel, Draft("new", ChannelKind.NTFY, "https://ntfy.example/q"))
    changed = desk.store.channels.get(channel)
    assert changed is not None
    assert (changed.name, changed.kind, changed.created_ms) == ("new", ChannelKind.NTFY, NOW)
    assert not desk.store.channels.change(99, changed)
    assert desk.store.channels.get(99) is None
