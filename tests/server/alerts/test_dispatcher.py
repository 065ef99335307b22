"""From a finding to a receiver: retries with growing waits, and nobody else waits meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from server.alerts import Dispatcher, Senders
from server.alerts.dispatcher import MOST_AGE_MS, WAITS_S
from server.alerts.errors import NotSent, Refused
from server.alerts.guard import Guard
from server.alerts.http import Poster
from server.config import Settings
from server.diagnosis import Diagnosis
from server.domain.alerts import ChannelKind, DeliveryState, Draft, Due
from server.errors import StoreError
from server.live import Live
from server.store import Store
from tests.server.alerts.kit import BASE, mailbox, receiver
from tests.server.empty import put_database, rules
from tests.server.house import Clock
from tests.server.store.kit import RUN, frame, group, open_run, status
from tests.serving import wait_until

START = 1_790_000_000_000


class Line:
    """Sends nothing, and fails as it is told."""

    def __init__(self, *errors: Exception | None) -> None:
        self.sent: list[Due] = []
        self.errors = list(errors)

    def send(self, due: Due) -> None:
        """Notes it, and raises the next error, or the last one again and again."""
        self.sent.append(due)
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0] if self.errors else None
        if error is not None:
            raise error


class Office:
    """A store with one channel, whose clock the test moves."""

    def __init__(self, folder: Path) -> None:
        put_database(folder / "gradwatch.db")
        self.clock = Clock(START)
        self.store = Store.open(f"sqlite:///{folder}/gradwatch.db", self.clock)
        self.channel = self.add()

    def add(self, kind: ChannelKind = ChannelKind.WEBHOOK, address: str = "https://x.example/", **more: Any) -> int:
        return self.store.channels.add(Draft("ours", kind, address, **more))

    def tries(self, dispatcher: Dispatcher, most: int = 50) -> list[float]:
        """Lets the time go on second by second, and gives when something was tried, in seconds."""
        found: list[float] = []
        for _ in range(most):
            if dispatcher.run_once():
                found.append((self.clock() - START) / 1_000)
            (newest, *_) = self.store.alerts.latest(1)
            if newest.state is not DeliveryState.WAITING:
                break
            self.clock.now_ms = max(newest.due_ms, self.clock())
        return found


def state_of(office: Office, number: int | None) -> DeliveryState:
    found = office.store.alerts.get(number or 0)
    assert found is not None
    return found.state


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.store.close()


def test_a_receiver_that_is_down_is_tried_with_growing_waits_and_then_given_up(office: Office) -> None:
    office.store.alerts.test(office.channel)
    line = Line(NotSent("it answered 503"))
    found = office.tries(Dispatcher(office.store, line))
    assert [later - sooner for sooner, later in pairwise(found)] == list(WAITS_S)
    assert max(WAITS_S) == 3_600
    (kept,) = office.store.alerts.latest(1)
    assert (kept.state, kept.reason) == (DeliveryState.GIVEN_UP, "it answered 503; tried 9 times")
    assert len({due.mark for due in line.sent}) == 1


def test_one_that_comes_back_gets_it(office: Office) -> None:
    office.store.alerts.test(office.channel)
    assert office.tries(Dispatcher(office.store, Line(NotSent("down"), NotSent("down"), None))) == [0, 10, 40]
    (kept,) = office.store.alerts.latest(1)
    assert (kept.state, kept.reason, kept.tries) == (DeliveryState.SENT, "", 3)


def test_what_it_asks_to_wait_is_waited(office: Office) -> None:
    office.store.alerts.test(office.channel)
    line = Line(NotSent("busy", 500.0), NotSent("busy", 1.0), None)
    assert office.tries(Dispatcher(office.store, line)) == [0, 500, 530], "but never less than our own wait"


def test_what_will_never_work_is_given_up_at_once(office: Office) -> None:
    office.store.alerts.test(office.channel)
    assert office.tries(Dispatcher(office.store, Line(Refused("it answered 404")))) == [0]
    assert office.store.alerts.latest(1)[0].reason == "it answered 404"


def test_a_sender_that_fails_in_a_way_of_its_own_is_tried_again_and_then_given_up(office: Office) -> None:
    office.store.alerts.test(office.channel)
    found = office.tries(Dispatcher(office.store, Line(UnicodeEncodeError("ascii", "secret", 0, 1, "odd"))))
    assert [later - sooner for sooner, later in pairwise(found)] == list(WAITS_S)
    (kept,) = office.store.alerts.latest(1)
    assert kept.state is DeliveryState.GIVEN_UP
    assert kept.reason == "It could not be sent (UnicodeEncodeError); tried 9 times"


def test_what_is_days_old_is_tried_once_more(office: Office) -> None:
    office.store.alerts.test(office.channel)
    office.clock.now_ms += MOST_AGE_MS + 1
    assert len(office.tries(Dispatcher(office.store, Line(NotSent("down"))))) == 1
    assert office.store.alerts.latest(1)[0].state is DeliveryState.GIVEN_UP


def test_a_receiver_that_hangs_holds_up_no_channel_no_frame_no_diagnosis_and_no_end(office: Office) -> None:
    other = office.add()
    hangs, let_go = threading.Event(), threading.Event()

    class Hanging(Line):
        def send(self, due: Due) -> None:
            super().send(due)
            if due.channel.id == office.channel:
                hangs.set()
                let_go.wait(60)

    dispatcher = Dispatcher(office.store, Hanging(), interval_s=0.01)
    for channel in (office.channel, other):
        office.store.alerts.test(channel)
    dispatcher.start()
    assert hangs.wait(20)
    wait_until(lambda: state_of(office, 2) is DeliveryState.SENT, "the other channel has its own")
    later = office.store.alerts.test(other)
    waits = office.store.alerts.test(office.channel)
    wait_until(lambda: state_of(office, later) is DeliveryState.SENT, "a later one too, while the first still hangs")
    open_run(office.store)
    broken = frame(0, group({"loss": [float("nan")] * 60}, range(60)), records=[status("failed", 59)])
    assert office.store.frames.accept(broken).seq == 0
    diagnosis = Diagnosis(office.store, Live(), rules(), office.clock)
    while diagnosis.run_once():
        pass
    assert office.store.findings.list(RUN)
    dispatcher.stop()
    assert state_of(office, waits) is DeliveryState.WAITING, "a receiver gets one at a time"
    assert state_of(office, 1) is DeliveryState.WAITING
    let_go.set()
    wait_until(lambda: state_of(office, 1) is DeliveryState.SENT, "it is noted when it comes back")


def test_the_thread_goes_on_after_trouble_with_the_database(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    class Troubled:
        """The store, whose database cannot be reached at first."""

        def __init__(self) -> None:
            self.asked = 0
            self.now_ms = office.store.now_ms

        @property
        def alerts(self) -> Any:
            self.asked += 1
            if self.asked < 3:
                raise StoreError("The database is away.")
            return office.store.alerts

    line = Line()
    office.store.alerts.test(office.channel)
    dispatcher = Dispatcher(cast("Store", Troubled()), line, interval_s=0.01)
    dispatcher.start()
    wait_until(lambda: line.sent, "it is sent")
    dispatcher.stop()
    assert [record.message for record in caplog.records] == [
        "Sending alerts pauses: The database is away.", "Sending alerts goes on",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in ChannelKind if kind is not ChannelKind.MAIL])
def test_each_kind_reaches_a_web_server_with_a_key_that_stays(office: Office, kind: ChannelKind) -> None:
    with receiver() as got:
        got.answers = [(503, {}), (200, {})]
        settings = replace(Settings(), public_url=BASE, alert_hosts=(got.host,))
        channel = office.add(kind, f"{got.url}/T0K3N", secret="s3cret")
        office.store.alerts.test(channel)
        office.tries(Dispatcher(office.store, Senders(settings, lambda: START / 1_000)))
    assert [heard.path for heard in got.heard] == ["/" if kind is ChannelKind.NTFY else "/T0K3N"] * 2
    first, second = (heard.headers["Idempotency-Key"] for heard in got.heard)
    assert first == second
    assert got.heard[0].json
    assert ("X-Gradwatch-Signature" in got.heard[0].headers) == (kind is ChannelKind.WEBHOOK)
    assert office.store.alerts.latest(1)[0].state is DeliveryState.SENT


def test_mail_reaches_a_mail_server(office: Office) -> None:
    with mailbox() as box:
        settings = replace(Settings(), smtp_url=f"smtp://127.0.0.1:{box.port}", mail_from="g@lab.example")
        office.store.alerts.test(office.add(ChannelKind.MAIL, "ada@lab.example"))
        office.tries(Dispatcher(office.store, Senders(settings, lambda: START / 1_000)))
        assert [mail[2]["Subject"] for mail in box.mails] == ["Gradwatch: a test"]
    assert office.store.alerts.latest(1)[0].state is DeliveryState.SENT


def test_a_channel_into_the_network_is_given_up_without_a_call(office: Office) -> None:
    with receiver() as got:
        office.store.alerts.test(office.add(address=f"{got.url}/"))
        poster = Poster(Guard(), lambda: 0.0)
        office.tries(Dispatcher(office.store, Senders(Settings(), lambda: 0.0, poster)))
        assert got.heard == []
    assert office.store.alerts.latest(1)[0].reason.startswith("The host 127.0.0.1 leads into a private")
