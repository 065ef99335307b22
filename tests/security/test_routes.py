"""Every route of the server, whatever room it comes from, is behind the door, except for those that this file names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from starlette.routing import BaseRoute, Mount
from starlette.testclient import TestClient

from tests.server.house import ADDRESS, House, house

TOKEN = "a-token-of-enough-characters"
MAY_BE_OPEN = {
    ("GET", "/api/v1/health"), ("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/static"),
    ("GET", "/sign-in/oidc"), ("GET", "/sign-in/oidc/callback"), ("GET", "/sign-in/oidc/out"),
}  # fmt: skip


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path, TOKEN) as found:
        yield found


def walk(routes: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(routes):
        if isinstance(context.original_route, Mount):
            yield "GET", context.original_route.path
            continue
        for method in sorted(set(context.methods or ()) - {"HEAD"}):
            yield method, str(context.path)


def all_routes(app_house: House) -> list[tuple[str, str]]:
    return sorted(set(walk(list(app_house.app.routes))))


def test_the_walk_sees_the_routes_of_every_room(locked: House) -> None:
    paths = {path for _, path in all_routes(locked)}
    for room in ("/", "/rules", "/runs/{run_id}", "/api/v1/runs", "/api/v1/runs/{run_id}/frames",
                 "/api/v1/runs/{run_id}/live", "/api/v1/runs/{run_id}/series/data", "/static",
                 "/api/v1/openapi.json"):  # fmt: skip
        assert room in paths


def test_every_route_needs_the_token_unless_it_is_named_here(locked: House) -> None:
    stranger = TestClient(locked.app, base_url=ADDRESS, follow_redirects=False)
    let_in = set()
    for method, path in all_routes(locked):
        answer = stranger.request(method, re.sub(r"\{[^}]*\}", "x", path))
        if answer.status_code != 401:
            let_in.add((method, path))
    assert let_in <= MAY_BE_OPEN
    refused_by_the_form = {("POST", "/sign-in")}  # open, and answers 401 itself where the token is wrong
    let_in |= refused_by_the_form
    assert {place for place in let_in if place[1] != "/static"} == MAY_BE_OPEN - {("GET", "/static")}


def test_a_page_leads_a_stranger_to_the_sign_in_form(locked: House) -> None:
    stranger = TestClient(locked.app, base_url=ADDRESS, follow_redirects=False)
    answer = stranger.get("/runs/x?stat=mean", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fruns%2Fx%3Fstat%3Dmean"
    form = stranger.get(answer.headers["location"])
    assert form.status_code == 200
    assert 'name="token"' in form.text


def test_signing_in_opens_every_page_and_signing_out_closes_them(locked: House) -> None:
    browser = TestClient(locked.app, base_url=ADDRESS, follow_redirects=False)
    answer = browser.post("/sign-in", data={"token": TOKEN, "next": "/rules"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/rules")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower() or "samesite=strict" in cookie.lower()
    assert browser.get("/rules").status_code == 200
    assert browser.get("/api/v1/runs").status_code == 200
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/api/v1/runs").status_code == 401


def test_every_answer_carries_the_policy(locked: House) -> None:
    for path in ("/", "/rules", "/sign-in", "/api/v1/runs", "/static/css/nothing.css", "/no/such/page", "/runs/x"):
        policy = locked.client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert ("style-src-attr" in policy) == path.startswith("/runs/")


def test_a_foreign_host_name_is_answered_by_nobody(locked: House) -> None:
    answer = locked.client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Host header: got 'evil.example'; this server is called ")


def test_a_page_of_another_site_cannot_change_a_run(locked: House) -> None:
    locked.open_run()
    answer = locked.client.patch(
        "/api/v1/runs/0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e77",
        json={"archived": True},
        headers={"Origin": "https://evil.example"},
    )
    assert answer.status_code == 403
    assert answer.json()["detail"].startswith("Origin header: got 'https://evil.example' for the host ")
