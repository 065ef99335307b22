"""X15: whatever is asked of the runs table is read as text: no SQL, no code, no error, and no more work than a page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from server.store import columns
from server.web.filtering import MOST_CONDITIONS
from tests.postgres import Cluster
from tests.security.payloads import PAYLOADS
from tests.server.house import House, house

PATHS = ("/api/v1/runs", "/api/v1/runs.csv", "/", "/sweep", "/fragments/runs", "/fragments/columns")
INJECTIONS = (
    "'; DROP TABLE runs; --", "' OR '1'='1", '" OR 1=1 --', "1); DELETE FROM runs; --",
    "x' UNION SELECT sql FROM sqlite_master --", "'||(SELECT pg_sleep(5))||'", "%' ESCAPE '%", "\\", "%", "_", "[a-z]*",
    "(" * 200, "$1", ":name", "?", "{0}", "%s", "%(x)s", "__import__('os').system('id')", "exec('1')", "config.lr",
    "config..", "last.", "a=b=c", "<=>=", "1e400", "nan", "-inf", "9" * 300, "0x10", "1_0", "٣", "\u202e", "İ", "ß",
    "\ud800", "a" * 600,
)  # fmt: skip
KEYS = ("lr", "model.width", "a'b", 'a"b', "a.b", "a=b", "ü", "", "%", *INJECTIONS[:9])
CONFIGS: tuple[dict[str, Any], ...] = (
    {"lr": 0.1, "model": {"width": 64}},
    {"lr": "0.1", "model": {"width": None}, "a'b": True},
    {"lr": math.pi, **{key: key for key in KEYS}},
    {},
)

words = st.sampled_from((*INJECTIONS, *KEYS, *PAYLOADS)) | st.text(max_size=40)
columns_asked = st.builds(
    "{}.{}".format, st.sampled_from(("config", "last", "min", "max", "config.model", "x", "")), words
)
signs = st.sampled_from(("=", "!=", "<", "<=", ">", ">=", "==", "=<", "~", " = ", ""))
conditions = st.builds("{}{}{}".format, columns_asked, signs, words)
sorts = (
    st.sampled_from(("started", "heard", "name", "loss", "severity", "validation", "steps", "pace", "state"))
    | columns_asked
)
questions = st.fixed_dictionaries(
    {},
    optional={
        "where": st.lists(conditions, min_size=1, max_size=4),
        "search": words | conditions,
        "tag": words,
        "project": words,
        "sort": sorts,
        "reverse": st.sampled_from(("1", "true", "", "yes")),
        "col": st.lists(columns_asked, max_size=3),
        "result": columns_asked,
        "cursor": words | st.sampled_from(("p0", "p9", "W10", "WzEsMl0")),
    },
)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A server with a few runs whose names, tags and settings are as odd as the questions."""
    url = None
    if request.param == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres_cluster")
        url = cluster.new_database()
    with house(tmp_path_factory.mktemp("asked"), database=url) as built:
        for number, config in enumerate(CONFIGS):
            name = INJECTIONS[number]
            built.open_run(f"run-{number}", name=name, tags=[name], config=config)
            built.send(0, {"loss": [1.0, math.nan], name: [2.0, 2.0]}, run_id=f"run-{number}")
        yield built


def ids(built: House) -> list[str]:
    return [item["id"] for item in built.client.get("/api/v1/runs").json()["items"]]


@settings(
    max_examples=150, deadline=5_000, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(question=questions, path=st.sampled_from(PATHS))
def test_x15_every_question_is_answered_or_refused_with_a_sentence(
    asked: House, question: dict[str, Any], path: str
) -> None:
    sent = {name: _utf8(value) for name, value in question.items()}
    answer = asked.client.get(path, params=sent)
    assert answer.status_code in (200, 400, 422), answer.text
    if answer.status_code != 200:
        assert answer.json()["detail"]
    assert len(ids(asked)) == len(CONFIGS)


@settings(max_examples=100, deadline=5_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(KEYS), sign=signs, value=words.filter(lambda text: "\0" not in text))
def test_x15_a_condition_means_what_it_says(asked: House, key: str, sign: str, value: str) -> None:
    """Compared with the same condition in plain Python: only the runs that hold it are listed."""
    text = _utf8(f"config.{key}{sign}{value}")
    condition = columns.Condition.parse(text)
    answer = asked.client.get("/api/v1/runs", params={"where": text})
    if condition is None or len(text) > 600:
        assert answer.status_code == 422
        return
    held = [
        f"run-{number}" for number, config in enumerate(CONFIGS)
        if condition.holds(columns.flat(json.loads(json.dumps(config))).get(condition.column.name))
    ]  # fmt: skip
    assert sorted(item["id"] for item in answer.json()["items"]) == held


def test_x15_a_config_is_read_once_however_many_conditions_ask_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    real = columns.flat
    with house(tmp_path) as built:
        for number in range(10):
            built.open_run(f"run-{number}", config={"a": {"b": number}})
        monkeypatch.setattr(columns, "flat", lambda config, prefix="": read.append(prefix) or real(config, prefix))
        where = [f"config.k{number}!=x" for number in range(MOST_CONDITIONS)]
        assert len(built.client.get("/api/v1/runs", params={"where": where}).json()["items"]) == 10
        assert len([prefix for prefix in read if not prefix]) == 10
        assert built.client.get("/api/v1/runs", params={"where": [*where, "config.k!=x"]}).status_code == 422


def _utf8(value: Any) -> Any:
    """Gives what a client can send."""
    if isinstance(value, list):
        return [_utf8(item) for item in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
