"""Ingest: what is refused with which sentence, what is only counted, and what a stored frame answers."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client_hook import wire
from server import ingest as room
from server.domain.findings import Finding, Severity
from server.domain.runs import DiagnosisState
from server.errors import Busy, InvalidFrame, TooLarge, UnknownRun
from server.ingest import Ingest, openings
from server.live import Live
from server.store import Store
from tests.frames import pack_group
from tests.server.empty import put_database
from tests.server.store.kit import RUN, url_in
from tests.server.store.kit import sent_frame as frame_bytes

ATTEMPT = "a1"

OPENING = {"id": RUN, "attempt": ATTEMPT, "project": "p"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    put_database(tmp_path / "gradwatch.db")
    opened = Store.open(url_in(tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def ingest(store: Store) -> Ingest:
    taking = Ingest(store, Live(), lambda: 1_790_000_000_000)
    taking.open_run(OPENING)
    return taking


def patched(body: bytes, **header: Any) -> bytes:
    """Gives a frame with other header fields and a CRC that fits."""
    size = int.from_bytes(body[8:12], "little")
    changed = json.dumps({**json.loads(body[24 : 24 + size]), **header}).encode()
    prefix = body[:8] + len(changed).to_bytes(4, "little") + body[12:20]
    rest = changed + body[24 + size :]
    return prefix + zlib.crc32(rest, zlib.crc32(prefix)).to_bytes(4, "little") + rest


def record(**fields: Any) -> dict[str, Any]:
    return {"kind": "fact", "name": "data", "step": 0, "time_ms": 1, "value": {}, **fields}


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "frame: 0 bytes, expected at least the 24 bytes of the prefix"),
        (b"PK\x03\x04" + bytes(40), r"magic: got b'PK\\x03\\x04', expected b'GWFR'"),
        (frame_bytes(0, {"loss": [1.0]})[:-1], r"length: got \d+ bytes, expected \d+ from the prefix"),
        (frame_bytes(0, {"loss": [1.0]})[:-1] + b"\xff", "crc: got 0x"),
        (patched(frame_bytes(0, {"loss": [1.0]}), seq=-1), "seq: got -1, expected an integer from 0"),
        (patched(frame_bytes(0, {"loss": [1.0]}), attempt="a/b"), "attempt: got 'a/b', expected 1 to 100 letters"),
        (patched(frame_bytes(0, {"loss": [1.0]}), attempt="\ud800"), "attempt: got .*, expected 1 to 100 letters"),
        (frame_bytes(0, {"loss": [1.0]}, run_id="else"), "run: the frame says 'else', the address '0190a3d2.*'; both"),
    ],
)
def test_a_bad_frame_is_refused_with_field_value_and_what_would_be_right(
    ingest: Ingest, body: bytes, sentence: str
) -> None:
    with pytest.raises(InvalidFrame, match=sentence):
        ingest.accept(RUN, body)


def test_limits_are_checked_before_anything_is_inflated(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = bytearray(frame_bytes(0, {"loss": [0.0] * 10_000}))
    bomb[16:20] = (2**31).to_bytes(4, "little")
    with pytest.raises(TooLarge, match=rf"raw bytes: {2**31}, at most {wire.MAX_RAW_BYTES} are accepted"):
        ingest.accept(RUN, bytes(bomb))
    with pytest.raises(TooLarge, match=f"at most {wire.MAX_FRAME_BYTES} are accepted"):
        ingest.accept(RUN, bytes(wire.MAX_FRAME_BYTES + 1))
    monkeypatch.setattr("server.ingest.intake.MAX_COLUMNS_OF_A_FRAME", 2)
    with pytest.raises(TooLarge, match="groups: 3 columns, at most 2 are accepted"):
        ingest.accept(RUN, frame_bytes(0, {"a": [1.0], "b": [1.0], "c": [1.0]}))


def test_a_bad_name_step_or_record_is_counted_and_what_is_beside_it_is_kept(ingest: Ingest, store: Store) -> None:
    columns = ("loss", "", "bad\nname", "x" * 501)
    group = pack_group(columns, [0, -7, 2], [1, 1, -5], [[1.0] * 4, [2.0] * 4, [math.nan] * 4], "f8")
    records = (record(kind="zap"), record(name=""), record(step="x"), record(kind="status", name="asleep"), record())
    answer = ingest.accept(RUN, wire.encode(wire.Frame(RUN, ATTEMPT, 0, 0, 1, 2, (group,), records)))
    counts = {drop["reason"].split(",")[0][:24]: drop["count"] for drop in answer["dropped"]}
    assert sum(drop["count"] for drop in answer["dropped"] if drop["what"] == "records") == 4
    assert sum(drop["count"] for drop in answer["dropped"] if drop["what"] == "values") == 3 * 3 + 1, counts
    assert "records[3].name is 'asleep', expected one of crashed, failed, finished, stopped" in [
        drop["reason"] for drop in answer["dropped"]
    ]
    (loss,) = store.series.read(RUN, ["loss"])
    np.testing.assert_equal((loss.steps.tolist(), loss.values.tolist()), ([0, 2], [1.0, math.nan]))
    assert loss.times_ms.tolist() == [1, 1_790_000_000_000]
    assert store.records.facts(RUN) == {"data": {}}


def test_an_answer_does_not_grow_with_the_reasons(ingest: Ingest) -> None:
    records = tuple(record(kind="zap") for _ in range(5_000))
    columns = ("loss", *(f"bad\n{number}" for number in range(200)))
    group = pack_group(columns, [0], [1], [[1.0] * len(columns)], "f8")
    dropped = ingest.accept(RUN, wire.encode(wire.Frame(RUN, ATTEMPT, 0, 0, 1, 2, (group,), records)))["dropped"]
    assert len(dropped) == room.intake.MOST_REASONS + 2
    assert sum(drop["count"] for drop in dropped if drop["what"] == "values") == 200
    assert sum(drop["count"] for drop in dropped if drop["what"] == "records") == 5_000
    assert dropped[-1] == {"reason": "further reasons, as those of the first 100", "what": "records", "count": 5_000}


def test_a_record_that_is_too_long_is_left_out(ingest: Ingest) -> None:
    texts = {"a": ["x" * 1_000_000, "y" * 1_000_001]}
    answer = ingest.accept(RUN, patched(frame_bytes(0, {"loss": [1.0]}), records=[record(value=texts)]))
    assert answer["dropped"] == [
        {"reason": "records[0]: 2000002 characters, at most 2000000 are kept", "what": "records", "count": 1}
    ]


def test_json_that_no_browser_could_hold_is_made_sound(ingest: Ingest, store: Store) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    body = patched(
        frame_bytes(0, {"loss": [1.0]}),
        records=[record(value={"text": "a\ud800b", "big": 10**40, "é": 1}), record(name="deep", value=deep)],
    )
    answer = ingest.accept(RUN, body)
    assert answer["dropped"] == [
        {"reason": "records[1].value is nested more than 32 deep", "what": "records", "count": 1}
    ]
    assert store.records.facts(RUN) == {"data": {"text": "a?b", "big": str(10**40), "é": 1}}


def test_notes_and_the_end_become_events(ingest: Ingest, store: Store) -> None:
    records = [
        record(kind="event", name="note", value={"text": "hello"}),
        record(kind="status", name="failed", time_ms=9, value={"exception": "ValueError"}),
    ]
    ingest.accept(RUN, frame_bytes(0, {"loss": [1.0]}, records=tuple(records)))
    assert [(event.kind, dict(event.value)) for event in store.records.events(RUN)] == [
        ("note", {"text": "hello"}),
        ("failed", {"exception": "ValueError", "state": "failed"}),
    ]
    run = store.runs.get(RUN)
    assert run is not None
    assert (run.state, run.ended_ms) == ("failed", 9)


def test_an_acknowledgement_carries_the_open_findings(ingest: Ingest, store: Store) -> None:
    assert ingest.accept(RUN, frame_bytes(0, {"loss": [1.0]}))["findings"] == []
    open_one = Finding(RUN, 1, "GW201", "n", 1, Severity.ERROR, "open", 1, 1, 1, "It is so.", "Do this.")
    store.findings.save(RUN, findings=[open_one], checks=[], diagnosed_step=1, diagnosis=DiagnosisState.LIVE,
                        seen_version=1, verdict="")  # fmt: skip
    answer = ingest.accept(RUN, frame_bytes(1, {"loss": [1.0]}))
    assert answer["findings"] == [
        {"id": "1", "code": "GW201", "name": "n", "severity": "error", "state": "open", "first_step": 1,
         "message": "It is so.", "advice": "Do this.", "cause": None}
    ]  # fmt: skip
    store.findings.patch(RUN, 1, muted=True)
    assert ingest.accept(RUN, frame_bytes(1, {"loss": [1.0]})) == {
        "seq": 1, "duplicate": True, "contiguous": 1, "dropped": [], "findings": []
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"id": None}, "id: got None, expected 1 to 100 letters"),
        ({"id": "../x"}, r"id: got '\.\./x', expected 1 to 100 letters"),
        ({"attempt": 7}, "attempt: got 7, expected"),
        ({"rank": -1}, "rank: got -1, expected an integer from 0"),
        ({"rank": True}, "rank: got True"),
        ({"started_ms": 10**15}, "started_ms: got 1000000000000000, expected an integer from 0, below"),
        ({"tags": ""}, "tags: got '', expected a list"),
        ({"config": False}, "config: got False, expected an object"),
        ({"tags": "a"}, "tags: got 'a', expected a list of at most 100 texts"),
        ({"preflight": "yes"}, "preflight: got 'yes', expected true or false"),
        ({"config": [1]}, r"config: got \[1\], expected an object"),
        ({"name": 3}, "name: got 3, expected a text of at most 200 characters"),
    ],
)
def test_an_opening_names_the_field_that_is_wrong(ingest: Ingest, fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidFrame, match=sentence):
        ingest.open_run({**OPENING, **fields})


def test_frames_of_an_unknown_run_and_too_many_bodies_are_told_so(ingest: Ingest) -> None:
    with pytest.raises(UnknownRun, match="Run other is not known here; open it with POST /api/v1/runs"):
        ingest.accept("other", frame_bytes(0, {"loss": [1.0]}, run_id="other"))
    with (
        ingest.hold(room.MAX_BODIES_BYTES),
        pytest.raises(Busy, match="bytes of frames wait here already"),
        ingest.hold(1),
    ):
        pass
    with ingest.hold(room.MAX_BODIES_BYTES + 1):  # alone, anything may pass
        pass


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_frame_with_changed_bytes_is_refused_as_invalid_and_nothing_else(data: st.DataObject) -> None:
    body = bytearray(frame_bytes(0, {"loss": [0.5] * 100}, records=(record(),)))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))])
    nobody: Any = None
    with pytest.raises(InvalidFrame):
        Ingest(nobody, Live(), lambda: 0).accept(RUN, cut)


def test_the_api_describes_every_field_of_an_opening() -> None:
    told = openings.SCHEMA["properties"]
    new = openings.read_opening(
        {"id": "r", "attempt": "a", **{name: None for name in told if name not in ("id", "attempt")}}
    )
    assert set(told) == {one.name for one in fields(new)}
