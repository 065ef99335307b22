"""How the courier reacts to each answer of WIRE.md's table."""

from __future__ import annotations

import json
import random
from collections import deque
from typing import Any

import pytest

from client_hook import wire
from client_hook.courier import Courier
from client_hook.decoding import decode
from client_hook.ledger import Ledger
from client_hook.spool import Parcel
from client_hook.transport import Answer, Backoff
from tests.frames import pack_group

OPENING = {"id": "run", "attempt": "a", "rank": 0, "project": "p", "started_ms": 1, "config": {"lr": 1}, "pid": 7}


def parcel(seq: int) -> Parcel:
    group = pack_group(("loss",), [seq], [1], [[1.0]], "f8")
    return Parcel(wire.encode(wire.Frame("run", "a", 0, seq, 1, seq, (group,))), seq, 1)


class Source:
    """A queue of frames that notes what it is told."""

    def __init__(self, count: int) -> None:
        self.waiting = deque(parcel(seq) for seq in range(count))
        self.acknowledged: list[int] = []
        self.kept: list[int] = []
        self.aside: list[tuple[int, str]] = []

    def peek(self) -> Parcel | None:
        return self.waiting[0] if self.waiting else None

    def acknowledge(self, seq: int) -> bool:
        if self.waiting and self.waiting[0].seq == seq:
            self.waiting.popleft()
        self.acknowledged.append(seq)
        return True

    def keep(self, seq: int) -> None:
        self.kept.append(self.waiting.popleft().seq)

    def set_aside(self, given: Parcel, reason: str) -> None:
        self.aside.append((given.seq, reason))


class Scripted:
    """A transport that gives the answers of a list, then 200s."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = deque(answers)
        self.asked: list[tuple[str, bytes]] = []

    def post(self, path: str, body: bytes, content_type: str) -> Answer:
        self.asked.append((path, body))
        if self.answers:
            return self.answers.popleft()
        if path == "/api/v1/runs":
            return Answer(201, {"id": "run", "attempt": 1, "url": "http://here/runs/run"})
        return Answer(200, {"seq": decode(body).seq, "duplicate": False, "dropped": [], "findings": []})

    def get(self, path: str) -> Answer:
        return Answer(200)

    def interrupt(self) -> None:
        return

    abort = close = interrupt


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def courier(source: Source, *answers: Answer) -> tuple[Courier, Scripted, Clock, list[str]]:
    transport, clock, said = Scripted(*answers), Clock(), []
    made = Courier(
        source, transport, dict(OPENING), ledger=Ledger(), say=said.append, backoff=Backoff(draw=lambda: 1.0),
        monotonic=clock,
    )  # fmt: skip
    return made, transport, clock, said


OPENED = Answer(201, {"id": "run", "attempt": 1})


def run_dry(made: Courier, clock: Clock, source: Source, calls: int = 60) -> None:
    for _ in range(calls):
        made.work()
        clock.now += made.wait_s()
        if source.peek() is None:
            return


def test_it_opens_the_run_and_delivers_in_order() -> None:
    source = Source(3)
    made, transport, clock, said = courier(source)
    run_dry(made, clock, source)
    assert source.acknowledged == [0, 1, 2]
    opening = json.loads(transport.asked[0][1])
    assert "pid" not in opening, "only what the server asks for"
    assert opening["config"] == {"lr": 1}
    assert (made.url, said, made.delivered_frames) == ("http://here/runs/run", [], 3)


def test_an_unknown_run_is_opened_again() -> None:
    source = Source(1)
    made, transport, clock, _ = courier(source, OPENED, Answer(404, {"detail": "no such run"}))
    run_dry(made, clock, source)
    assert [path for path, _ in transport.asked].count("/api/v1/runs") == 2
    assert source.acknowledged == [0]
    assert clock.now == 0.0, "without waiting"


def test_another_frame_of_the_same_identity_keeps_ours() -> None:
    source = Source(2)
    made, _, clock, said = courier(source, OPENED, Answer(409, {"detail": "another frame"}))
    run_dry(made, clock, source)
    assert (source.kept, source.acknowledged, made.kept) == ([0], [1], 1)
    assert "Two processes probably share one GRADWATCH_ATTEMPT" in said[0]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_frame_that_is_refused_for_good_is_set_aside_and_its_place_filled(status: int) -> None:
    source = Source(2)
    made, transport, clock, said = courier(source, OPENED, Answer(status, {"detail": "dtype: got 'f2'"}))
    run_dry(made, clock, source)
    assert source.aside == [(0, "dtype: got 'f2'")]
    filler = decode(transport.asked[2][1])
    assert (filler.seq, filler.groups) == (0, ())
    assert source.acknowledged == [0, 1]
    assert said == ["The server refused frame 0: dtype: got 'f2'"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_missing_token_is_said_once_and_everything_kept(status: int) -> None:
    source = Source(2)
    refused = Answer(status, {"detail": "a token is needed"})
    made, _, clock, said = courier(source, OPENED, *[refused] * 4)
    run_dry(made, clock, source)
    assert source.acknowledged == [0, 1]
    assert clock.now == 4 * 30.0
    sentence = "The server wants a token (a token is needed). Everything is kept; set GRADWATCH_TOKEN and run "
    assert said == [sentence + "`gradwatch sync`."]


@pytest.mark.parametrize("status", [429, 503, 507])
def test_a_busy_server_is_left_alone_as_long_as_it_says(status: int) -> None:
    source = Source(1)
    made, transport, clock, _ = courier(source, OPENED, Answer(status, {"detail": "busy"}, 17.0))
    made.work()
    made.work()
    assert made.wait_s() == 17.0
    asked = len(transport.asked)
    assert not made.work()
    assert len(transport.asked) == asked, "it does not call while it waits"
    clock.now += 17.0
    assert made.work()
    assert source.acknowledged == [0]


def test_waits_double_up_to_a_minute() -> None:
    source = Source(1)
    made, _, clock, _ = courier(source, *[Answer(0, problem="refused")] * 9)
    waits = []
    for _ in range(9):
        made.work()
        waits.append(made.wait_s())
        clock.now += made.wait_s()
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_description_of_which_nothing_is_taken_is_sent_without_its_project() -> None:
    source = Source(1)
    made, transport, clock, said = courier(source, *[Answer(422, {"detail": "project: got 5"})] * 2)
    run_dry(made, clock, source)
    assert json.loads(transport.asked[2][1]) == {"id": "run", "attempt": "a", "rank": 0, "started_ms": 1}
    assert source.acknowledged == [0]
    assert len(said) == 1


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ([Answer(422, {"detail": "id: no"})] * 3, True),
        ([OPENED, Answer(404, {"detail": "no run"}), OPENED, Answer(404, {"detail": "no run"})], True),
        ([Answer(404, {"detail": "not here"})] * 3, False),
        ([Answer(401, {"detail": "token"})] * 3, False),
        ([Answer(503, {"detail": "busy"})] * 3, False),
        ([Answer(0, problem="nobody")] * 3, False),
    ],
)
def test_a_refusal_of_this_run_alone_is_told_from_a_server_that_takes_nothing(
    answers: list[Answer], refused: bool
) -> None:
    made, transport, _, _ = courier(Source(1), *answers)
    while transport.answers:
        made.hurry()
        made.work()
    assert made.turned_away is refused


def test_a_description_that_the_server_refuses_is_sent_without_the_extras() -> None:
    source = Source(1)
    made, transport, clock, said = courier(source, Answer(422, {"detail": "config: too large"}))
    run_dry(made, clock, source)
    assert "config" not in json.loads(transport.asked[1][1])
    assert source.acknowledged == [0]
    assert "sent without it" in said[0]


def test_an_answer_for_another_frame_is_no_acknowledgement() -> None:
    source = Source(1)
    made, _, clock, _ = courier(source, OPENED, Answer(200, {"seq": 5}))
    made.work()
    made.work()
    assert source.acknowledged == []
    clock.now += 60
    made.work()
    assert source.acknowledged == [0]


def test_findings_and_dropped_values_come_with_the_acknowledgement() -> None:
    source = Source(1)
    finding: dict[str, Any] = {"code": "GW601"}
    body = {"seq": 0, "findings": [finding], "dropped": [{"reason": "name too long", "count": 1}]}
    made, _, _, _ = courier(source, OPENED, Answer(200, body))
    made.work()
    made.work()
    assert made.findings == [finding]
    assert made._ledger.as_dict()["dropped"] == {"refused by the server: name too long": 1}


def test_the_waits_are_drawn_from_no_generator_of_the_training() -> None:
    random.seed(0)
    before = random.getstate()
    backoff = Backoff()
    assert len({backoff.failed() for _ in range(8)}) > 1
    assert random.getstate() == before
