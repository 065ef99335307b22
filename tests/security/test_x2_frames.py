"""X2, the binary part: a frame may hold anything; it is taken or refused with a sentence, and every page stands."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_hook import wire
from tests.security.payloads import PAYLOADS
from tests.server.house import ATTEMPT, RUN, House, house

TYPE = {"Content-Type": wire.CONTENT_TYPE}
PAGES = (
    "/", f"/runs/{RUN}", f"/runs/{RUN}/layers", f"/runs/{RUN}/inspect", f"/runs/{RUN}/preflight", f"/runs/{RUN}/report",
    f"/runs/{RUN}/fragments/flight", f"/api/v1/runs/{RUN}", f"/api/v1/runs/{RUN}/charts/loss",
    f"/api/v1/runs/{RUN}/charts/layers", f"/compare?run={RUN}", f"/schedule?run={RUN}",
)  # fmt: skip
NAMES = (
    "loss", "val/loss", "lr/0", "act/std/a", "act/nonfinite/a", "grad_norm/a", "update_ratio/", "system/x", "hook/x",
    "/", "epoch", "clip/before", "time/step", "",
)  # fmt: skip
FACTS = (
    "model", "config", "environment", "data", "optimizers", "schedulers", "loss_call", "plan", "gradients", "ledger",
    "preflight", "flight", "console", "ending", "graph", "gradient_meaning", "overhead", "previous_attempt",
)  # fmt: skip

texts = st.sampled_from((*NAMES, *FACTS, *PAYLOADS[:20])) | st.text(max_size=20)
numbers = st.integers() | st.floats() | st.sampled_from((0, -1, 2**53, 2**63, 10**30, 1e308))
leaves = st.none() | st.booleans() | numbers | texts
keys = st.sampled_from(
    ("layers", "name", "type", "order", "results", "left_out", "breaks", "lines", "curves", "x", "y", "groups", "value",
     "thresholds", "numbers", "inputs", "filters", "saliency", "maps", "shape", "first_bad", "batch", "tensors", "code")
) | st.text(max_size=5)  # fmt: skip
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=25
)
records = st.fixed_dictionaries(
    {"kind": st.sampled_from(("fact", "event", "status")) | leaves},
    optional={
        "name": st.sampled_from((*FACTS, "inspection", "note", "finished", "failed", "crashed")) | leaves,
        "step": st.integers(-2, 50) | numbers,
        "time_ms": st.just(1_790_000_000_000) | numbers,
        "value": values,
    },
)
shapes = st.fixed_dictionaries(
    {}, optional={"columns": st.lists(texts, max_size=4) | leaves, "dtype": st.sampled_from(("f4", "f8")) | leaves,
                  "count": st.integers(0, 4) | leaves}
)  # fmt: skip
headers = st.fixed_dictionaries(
    {"run": st.just(RUN), "attempt": st.just(ATTEMPT), "created_ms": st.just(0)},
    optional={
        "rank": st.integers(0, 2) | leaves,
        "seq": st.integers(0, 10_000) | leaves,
        "complete": st.integers(-1, 50) | leaves,
        "groups": st.lists(shapes, max_size=2) | values,
        "records": st.lists(records, max_size=4) | values,
    },
)


def framed(header: Any, body: bytes, packed: bool) -> bytes:
    """Builds a frame by hand, with a right checksum; non-finite numbers are as JSON should not have them."""
    text = json.dumps(header).encode()
    sent = zlib.compress(body) if packed else body
    prefix = struct.pack("<4sBBHIII", wire.MAGIC, wire.VERSION, int(packed), 0, len(text), len(sent), len(body))
    return prefix + struct.pack("<I", zlib.crc32(sent, zlib.crc32(text, zlib.crc32(prefix)))) + text + sent


def right(header: dict[str, Any]) -> dict[str, Any]:
    """Gives the header without what would have the whole frame refused, so that what is in it is looked at."""
    listed = [one for one in header.get("records", ()) if isinstance(one, dict) and isinstance(one.get("kind"), str)]
    return {
        **header,
        "rank": 0,
        "complete": -1,
        "groups": [],
        "records": json.loads(json.dumps(listed), parse_constant=str),
    }


@pytest.fixture(scope="module")
def taking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with one run."""
    with house(tmp_path_factory.mktemp("frames")) as built:
        built.open_run()
        built.send(20_000, {"loss": [1.0, 0.5]})
        yield built


def send(built: House, body: bytes) -> int:
    answer = built.client.post(f"/api/v1/runs/{RUN}/frames", content=body, headers=TYPE)
    assert answer.status_code in (200, 409, 413, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]
    return int(answer.status_code)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(header=headers | values, body=st.binary(max_size=120), packed=st.booleans())
def test_x2_whatever_a_frame_holds_it_is_taken_or_refused_with_a_sentence(
    taking: House, header: Any, body: bytes, packed: bool
) -> None:
    send(taking, framed(header, body, packed))


_seqs = iter(range(30_000, 40_000))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(header=headers.filter(lambda one: isinstance(one.get("records"), list)), path=st.sampled_from(PAGES))
def test_x2_whatever_records_a_frame_holds_every_page_stands(taking: House, header: Any, path: str) -> None:
    assert send(taking, framed({**right(header), "seq": next(_seqs)}, b"", packed=False)) in (200, 422)
    taking.diagnose()
    answer = taking.client.get(path, headers={"Accept": "text/html"})
    assert answer.status_code == 200, path
