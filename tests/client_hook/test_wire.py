"""Frames: golden ones that must be read for ever, round trips of anything, and a sentence for every damage."""

from __future__ import annotations

import json
import math
import random
import struct
import zlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_hook import wire
from client_hook.decoding import FrameTooLarge, decode
from tests.client_hook.golden import FRAMES, HERE
from tests.frames import pack_group


def plain(frame: wire.Frame) -> wire.Frame:
    """Gives the frame with its views as bytes, so that it can be compared."""
    groups = tuple(
        replace(group, steps=bytes(group.steps), times_ms=bytes(group.times_ms), values=bytes(group.values))
        for group in frame.groups
    )
    return replace(frame, groups=groups)


@pytest.mark.parametrize("name", FRAMES)
def test_a_golden_frame_is_read_as_it_was_meant(name: str) -> None:
    assert plain(decode((HERE / f"{name}.frame").read_bytes())) == FRAMES[name]()


def test_the_small_golden_frame_is_still_written_the_same() -> None:
    assert wire.encode(FRAMES["0.1.0-small"]()) == (HERE / "0.1.0-small.frame").read_bytes()


def test_every_golden_file_is_tested() -> None:
    assert {path.stem for path in HERE.glob("*.frame")} == set(FRAMES)


numbers = st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7e308])


@st.composite
def groups(draw: st.DrawFn) -> wire.Group:
    columns = draw(st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4))
    steps = draw(st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=5))
    dtype = draw(st.sampled_from(["f4", "f8"]))
    value = st.floats(width=32) if dtype == "f4" else numbers
    rows = [[draw(value) for _ in columns] for _ in steps]
    return pack_group(columns, steps, [0] * len(steps), rows, dtype)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(groups(), max_size=3), st.booleans(), st.integers(0, 2**40))
def test_whatever_is_packed_comes_back_bit_for_bit(made: list[wire.Group], compress: bool, seq: int) -> None:
    frame = wire.Frame("run", "attempt", 0, seq, 1, -1, tuple(made), ({"kind": "event", "name": "x"},))
    assert plain(decode(wire.encode(frame, compress=compress))) == frame


@given(st.binary(max_size=200))
def test_noise_is_refused_with_a_sentence(noise: bytes) -> None:
    with pytest.raises(wire.FrameError, match=r"^[a-z ]+: "):
        decode(noise)


def test_one_flipped_bit_anywhere_is_noticed() -> None:
    good = wire.encode(FRAMES["0.1.0-small"]())
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        with pytest.raises(wire.FrameError):
            decode(bytes(bad))


def test_a_frame_that_ends_early_is_noticed_at_every_byte() -> None:
    good = wire.encode(FRAMES["0.1.0-compressed"]())
    for length in range(0, len(good), 7):
        with pytest.raises(wire.FrameError):
            decode(good[:length])


def raw(header: object, body: bytes = b"", *, version: int = 1, flags: int = 0, raw_bytes: int | None = None) -> bytes:
    """Builds a frame by hand, with a right checksum."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    promised = len(body) if raw_bytes is None else raw_bytes
    prefix = struct.pack("<4sBBHIII", b"GWFR", version, flags, 0, len(text), len(body), promised)
    return prefix + struct.pack("<I", zlib.crc32(body, zlib.crc32(text, zlib.crc32(prefix)))) + text + body


HEAD = {"run": "r", "attempt": "a", "rank": 0, "seq": 0, "created_ms": 0, "complete": -1}
ONE = {"columns": ["loss"], "dtype": "f8", "count": 1}
BAD = {
    "magic": (b"HTTP/1.1 200 OK and some more text", "magic: got b'HTTP', expected b'GWFR'"),
    "version": (raw(HEAD, version=2), "version: got 2, expected 1"),
    "flags": (raw(HEAD, flags=8), "flags: got 8 and reserved 0, expected flags 0 or 1 and reserved 0"),
    "header": (raw(b"{nope"), "header: not valid JSON"),
    "list": (raw([1]), "header: got list, expected an object"),
    "nan": (raw(b'{"run": NaN}'), "NaN is no JSON number"),
    "run": (raw({**HEAD, "run": ""}), "run: got '', expected a text of 1 to 100 characters"),
    "rank": (raw({**HEAD, "rank": -1}), "rank: got -1, expected an integer from 0"),
    "seq": (raw({**HEAD, "seq": True}), "seq: got True, expected an integer from 0"),
    "complete": (raw({**HEAD, "complete": 1.5}), "complete: got 1.5, expected an integer from -1"),
    "groups": (raw({**HEAD, "groups": {}}), "groups: got dict, expected a list"),
    "columns": (
        raw({**HEAD, "groups": [{**ONE, "columns": []}]}, b"x" * 24),
        "groups[0].columns: expected a list of series names, at least one",
    ),
    "dtype": (raw({**HEAD, "groups": [{**ONE, "dtype": "f2"}]}), "groups[0].dtype: got 'f2', expected 'f4' or 'f8'"),
    "count": (raw({**HEAD, "groups": [{**ONE, "count": 0}]}), "groups[0].count: got 0, expected an integer from 1"),
    "short": (
        raw({**HEAD, "groups": [ONE]}, b"x" * 8),
        "groups[0]: 1 columns × 1 steps need 24 bytes, the body has 8 left",
    ),
    "long": (raw(HEAD, b"x" * 8), "body: 8 bytes, expected 0 from the groups"),
    "zlib": (raw(HEAD, b"x" * 8, flags=1), "body: not a zlib stream"),
    "records": (raw({**HEAD, "records": [{"kind": 3}]}), "records[0]: expected an object with a text 'kind'"),
    "nested": (raw(b"[" * 100_000), "header: nested too deeply, expected a flat JSON object"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_field_is_named_with_what_would_be_right(what: str) -> None:
    data, sentence = BAD[what]
    with pytest.raises(wire.FrameError) as refused:
        decode(data)
    assert sentence in str(refused.value)


def test_a_small_frame_cannot_unpack_to_a_large_one() -> None:
    bomb = zlib.compress(bytes(50_000_000), 9)
    with pytest.raises(wire.FrameError, match="does not end at the 1000 bytes that the prefix promises"):
        decode(raw(HEAD, bomb, flags=1, raw_bytes=1_000))


def test_a_large_frame_is_unpacked_part_by_part_and_is_the_same() -> None:
    """Random bytes and noughts, so that the parts of what was sent and of what it unpacks to do not match."""
    values = random.Random(0).randbytes(3 * 2**20) + bytes(2**20)
    count = len(values) // 8
    group = wire.Group(("loss",), "f8", count, bytes(8 * count), bytes(8 * count), values)
    frame = wire.Frame("r", "a", 0, 0, 0, -1, (group,))
    assert plain(decode(wire.encode(frame))) == frame
    with pytest.raises(wire.FrameError, match="does not end at the 12582911 bytes"):
        decode(raw(HEAD, zlib.compress(bytes(3 * len(values))), flags=1, raw_bytes=3 * len(values) - 1))


def test_limits_are_checked_before_anything_is_parsed() -> None:
    with pytest.raises(FrameTooLarge, match=r"frame: 8388609 bytes, at most 8388608 are accepted"):
        decode(bytes(wire.MAX_FRAME_BYTES + 1))
    with pytest.raises(FrameTooLarge, match=r"raw bytes: 99999999, at most 16777216 are accepted"):
        decode(raw(HEAD, b"x", flags=1, raw_bytes=99_999_999))
    with pytest.raises(FrameTooLarge, match=r"header: 100002 times {, at most 50000 are accepted"):
        decode(raw({**HEAD, "records": [{}] * 100_001}))
    wide = json.dumps({**HEAD, "x": "\U0001f600" + "x" * 2_500_000}, ensure_ascii=False).encode()
    with pytest.raises(FrameTooLarge, match=r"header: takes \d+ bytes as text, at most 6291456 are accepted"):
        decode(raw(wide))


def test_a_group_whose_bytes_do_not_fit_is_not_written() -> None:
    group = replace(pack_group(("loss",), [1], [1], [[1.0]], "f8"), values=b"123")
    with pytest.raises(wire.FrameError, match=r"group of 1 columns × 1 steps: .* have \(8, 8, 3\) bytes"):
        wire.encode(wire.Frame("r", "a", 0, 0, 0, -1, (group,)))
