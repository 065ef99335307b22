"""Loaded by schemathesis: most of what it names is there, so that it gets past the 404s, and it can send frames."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis.generation.value import GeneratedValue

from client_hook import wire
from server.charts.catalogue import CHARTS
from tests.browser.stage import DEEP, EMPTY, ODD, SICK
from tests.server.house import frame_bytes

SERIES = ("loss", "grad_norm", "lr/0", "val/loss", "act/std/blocks.1.fc", "update_ratio/fc.weight", "loss/kl")
THRESHOLDS = {"GW308": {"dead": 0.7}}
BODIES: Mapping[str, Mapping[str, Any]] = {
    "/api/v1/thresholds": {"project": "default", "code": "GW308", "name": "dead", "value": 0.7},
    "/api/v1/mutes": {"project": "default", "code": "GW308", "run": SICK, "reason": "Known"},
    "/api/v1/people": {"name": "ada", "role": "admin", "password": "seven green bicycles"},
    "/api/v1/people/{name}": {"role": "admin", "password": "eleven blue umbrellas"},
    "/api/v1/tokens": {"name": "nightly", "scope": "read", "days": 7},
    "/api/v1/replays": {"project": "default", "thresholds": THRESHOLDS},
    "/api/v1/runs/{run_id}/replay": {"thresholds": THRESHOLDS},
}

mostly = st.integers(0, 3).map(bool)
frames = st.binary(max_size=300) | st.integers(0, 5).map(
    lambda seq: frame_bytes(seq, {"loss": [1.0]}, first_step=400 + seq, run_id=ODD)
)
schemathesis.openapi.media_type(wire.CONTENT_TYPE, frames)


@schemathesis.hook
def before_generate_path_parameters(context: Any, strategy: Any) -> Any:
    """Names a run, a chart and a person that are there; what is deleted is the run without anything in it."""
    known = {
        "run_id": (SICK, ODD, DEEP),
        "chart": tuple(CHARTS),
        "finding_id": ("1", "2"),
        "n": (1, 3),
        "name": ("ada",),
    }
    if context.operation.method.upper() == "DELETE":
        known["run_id"] = (EMPTY,)
    if context.operation.path.endswith("/frames"):
        known["run_id"] = (ODD,)
    chosen = {name: st.sampled_from(values) for name, values in known.items()}
    return st.tuples(strategy, st.fixed_dictionaries(chosen), mostly).map(placed)


@schemathesis.hook
def before_generate_query(context: Any, strategy: Any) -> Any:
    """Names series, runs and a project that are there."""
    several = context.operation.path not in ("/api/v1/compare/chart", "/api/v1/compare/export")
    one = st.sampled_from(SERIES)
    known = {
        "name": st.lists(one, min_size=1, max_size=3) if several else one,
        "run": st.just([SICK, ODD, DEEP]),
        "project": st.just("default"),
        "x": st.sampled_from(("step", "time", "relative", *SERIES)),
        "where": st.just(["config.lr<0.15", "last.loss>=0"]),
    }
    return st.tuples(strategy, st.fixed_dictionaries(known), mostly).map(placed)


@schemathesis.hook
def before_generate_body(context: Any, strategy: Any) -> Any:
    """Names a project, a rule, a threshold, a run and a person that are there."""
    return st.tuples(strategy, st.just(BODIES.get(context.operation.path, {})), mostly).map(placed)


def placed(drawn: tuple[Any, Mapping[str, Any], bool]) -> Any:
    """Puts what is known in the place of what was drawn; what shall be wrong stays wrong."""
    value, known, wanted = drawn
    if not wanted or isinstance(value, GeneratedValue) or not isinstance(value, dict):
        return value
    return {name: known.get(name, one) for name, one in value.items()}


@schemathesis.check
def the_door_is_open(_context: Any, response: Any, _case: Any) -> None:
    """A server that takes us for a guesser would show nothing more of itself."""
    assert response.status_code != 429
