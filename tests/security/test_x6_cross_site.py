"""X6: a page of another site changes nothing, whatever route it asks and however; and no GET changes anything."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import select

from server.store import schema
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import diagnose, finding

STRANGERS: tuple[dict[str, str], ...] = (
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:8778"},
    {"Origin": "http://127.0.0.1:8777.evil.example"},
    {"Origin": "http://127.0.0.1:8777", "Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Content-Type": "text/plain"},
    {"Origin": "https://evil.example", "X-HTTP-Method-Override": "GET", "X-Forwarded-Host": "evil.example"},
)
PARTS = {"run_id": RUN, "chart": "loss", "finding_id": "1", "mute_id": "1", "n": "1", "code": "GW308"}
LIVE = re.compile(r"/live$")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run(config={"lr": 0.1})
        built.send(0, {"loss": [1.0, 2.0], "act/std/relu": [1.0, 1.0]})
        diagnose(built, finding())
        built.store.wishes.add_mute(
            project="default", run=RUN, code="GW308", layers="", reason="known", who="Ada", now_ms=1, expires_ms=None
        )
        yield built


def routes(built: House) -> list[tuple[str, str]]:
    """Lists method and address of every route, with ids of what is there."""
    found = set()
    for context in iter_route_contexts(list(built.app.routes)):
        path = re.sub(r"\{([^}:]*)[^}]*\}", lambda part: PARTS.get(part[1], "x"), str(context.path))
        found |= {(method, path) for method in context.methods or ()}
    return sorted(found)


def rows(built: House) -> dict[str, list[str]]:
    """Reads all that the database holds."""
    with built.store._database.read() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(select(table)).all()))
            for table in schema.metadata.sorted_tables
        }


def test_x6_every_change_that_a_page_of_another_site_asks_for_is_refused(full: House) -> None:
    changing = [(method, path) for method, path in routes(full) if method not in ("GET", "HEAD", "OPTIONS")]
    assert {method for method, _ in changing} == {"POST", "PUT", "PATCH", "DELETE"}
    assert len(changing) >= 15
    for method, path in changing:
        for headers in STRANGERS:
            answer = full.client.request(method, path, headers=headers, content=b"{}")
            assert answer.status_code == 403, (method, path, headers)
            assert answer.json()["detail"].startswith("Origin header: got ")


def test_x6_a_get_changes_nothing(full: House) -> None:
    asked = [(method, path) for method, path in routes(full) if method in ("GET", "HEAD") and not LIVE.search(path)]
    assert len(asked) >= 40
    before = rows(full)
    for method, path in asked:
        for query in ("", "?_method=DELETE", "?deleted=true&archived=true"):
            answer = full.client.request(method, path + query, headers={"X-HTTP-Method-Override": "DELETE"})
            assert answer.status_code < 500, (method, path)
    assert rows(full) == before
