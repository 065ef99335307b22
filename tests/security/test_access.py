"""X1: what everybody may do at every route; one without a line in the table of access is closed, and found here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Receive, Send
from starlette.types import Scope as HttpScope

from server.accounts import powers
from server.accounts.book import Accounts
from server.domain.accounts import EVERY_PROJECT, Person, Role, Scope, Sight, Token
from server.web import access
from server.web.auth import Door
from server.web.gate import Gate
from tests.security.test_routes import all_routes
from tests.server.house import ADDRESS, House, house

TOKEN = "a-token-of-enough-characters"
PASSWORD = "seven green bicycles"
INSIDE = 299  # what the room behind the gate answers
ROLES, SCOPES = ("viewer", "editor", "admin"), ("ingest", "read", "write", "admin")
OF_A_PROJECT = ("viewer", "editor"), ("ingest", "read", "write")  # as which somebody may be of some projects alone

OPEN = {
    "GET /api/v1/health", "GET /sign-in", "POST /sign-in", "GET /static",
    "GET /sign-in/oidc", "GET /sign-in/oidc/callback", "GET /sign-in/oidc/out",
}  # fmt: skip
EVERYBODY_KNOWN = {"POST /sign-out"}
SENDING = {"POST /api/v1/runs", "POST /api/v1/runs/{run_id}/frames"}
SENDING_OR_READING = {"GET /api/v1/runs/{run_id}/verdict"}
CHANGING = {
    "DELETE /api/v1/replays/{replay_id}", "DELETE /api/v1/runs/{run_id}", "PATCH /api/v1/runs/{run_id}",
    "PATCH /api/v1/runs/{run_id}/findings/{finding_id}", "POST /api/v1/replays", "POST /api/v1/runs/changes",
    "POST /api/v1/runs/{run_id}/replay", "POST /settings/replays/{replay_id}/stop",
    "PUT /api/v1/runs/{run_id}/notes", "POST /runs/{run_id}/notes",
}  # fmt: skip
MANAGING = {
    "DELETE /api/v1/mutes/{mute_id}", "POST /api/v1/mutes", "POST /api/v1/thresholds", "POST /settings/mutes",
    "POST /settings/mutes/{mute_id}/end", "POST /settings/thresholds",
    "GET /api/v1/people", "POST /api/v1/people", "DELETE /api/v1/people/{name}", "PATCH /api/v1/people/{name}",
    "GET /api/v1/tokens", "POST /api/v1/tokens", "DELETE /api/v1/tokens/{token_id}",
    "GET /settings/people", "POST /settings/people", "POST /settings/people/{name}/password",
    "POST /settings/people/{name}/remove", "POST /settings/people/{name}/role",
    "GET /settings/tokens", "POST /settings/tokens", "POST /settings/tokens/revoke",
    "GET /settings/alerts", "POST /settings/alerts", "POST /settings/alerts/{channel_id}",
    "GET /api/v1/alerts/channels", "POST /api/v1/alerts/channels", "DELETE /api/v1/alerts/channels/{channel_id}",
    "POST /api/v1/alerts/channels/{channel_id}/test",
}  # fmt: skip
OF_ONESELF = {"POST /settings/account"}  # changes nobody else
READERS = {"viewer", "editor", "admin", "token read", "token write", "token admin", "server"}
READERS |= {"project viewer", "project editor", "project token read", "project token write"}
SENDERS = {"editor", "admin", "token ingest", "token write", "token admin", "server"}
SENDERS |= {"project editor", "project token ingest", "project token write"}
CHANGERS = READERS - {"viewer", "token read", "project viewer", "project token read"}
MANAGERS = {"admin", "token admin", "server"}


def allowed(route: str) -> set[str]:
    """Gives who may use a route; everything that is not named here is a GET that readers may use."""
    if route in SENDING:
        return SENDERS
    if route in SENDING_OR_READING or route in EVERYBODY_KNOWN:
        return SENDERS | READERS
    if route in CHANGING:
        return CHANGERS
    if route in MANAGING:
        return MANAGERS
    assert route in OF_ONESELF or route.startswith("GET "), f"{route} has to be named in this file"
    return READERS


async def room(scope: HttpScope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": INSIDE, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Scene:
    """The gate of a server with people and tokens, a room behind it, and a client for each of those who come."""

    def __init__(self, home: House) -> None:
        self.routes = [f"{method} {path}" for method, path in all_routes(home)]
        accounts = Accounts(home.store)
        door = Door(TOKEN, 8777, kept=home.store.sign_ins, accounts=accounts)
        self.gate = Gate(room, door)
        for role in ("admin", "viewer", "editor"):
            accounts.add_person(role, role, PASSWORD, who="the test")
        self.clients: dict[str, TestClient] = {"nobody": self._client(), "server": self._client(TOKEN)}
        for role in ROLES:
            found = accounts.sign_in(role, PASSWORD)
            assert found is not None
            self.clients[role] = self._client()
            self.clients[role].cookies.set(door.cookie, str(door.sessions.open(*found)))
        for scope in SCOPES:
            self.clients[f"token {scope}"] = self._client(accounts.add_token(scope, scope, None, who="the test"))
        for role in OF_A_PROJECT[0]:
            name = f"project-{role}"
            accounts.add_person(name, role, PASSWORD, {"theirs": role}, who="the test")
            found = accounts.sign_in(name, PASSWORD)
            assert found is not None
            self.clients[f"project {role}"] = self._client()
            self.clients[f"project {role}"].cookies.set(door.cookie, str(door.sessions.open(*found)))
        for scope in OF_A_PROJECT[1]:
            text = accounts.add_token(f"project {scope}", scope, None, ["theirs"], who="the test")
            self.clients[f"project token {scope}"] = self._client(text)

    def _client(self, token: str = "") -> TestClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return TestClient(self.gate, base_url=ADDRESS, headers=headers, follow_redirects=False)

    def ask(self, who: str, route: str, **more: Any) -> Any:
        method, path = route.split(" ")
        return self.clients[who].request(method, re.sub(r"\{[^}]*\}", "x", path), **more)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with house(tmp_path_factory.mktemp("house")) as home:
        yield Scene(home)


def test_x01_every_route_has_a_line_and_every_line_a_route(scene: Scene) -> None:
    told = {f"{method} {path}".replace("/static/{file}", "/static") for method, path, *_ in access.TABLE}
    assert told - set(scene.routes) == set()
    assert set(scene.routes) - told == set()


def test_x01_everybody_gets_exactly_what_the_role_or_the_scope_allows(scene: Scene) -> None:
    wrong = []
    for route in scene.routes:
        if route in OPEN:
            expected = dict.fromkeys(scene.clients, INSIDE)
        else:
            let_in = allowed(route)
            expected = {who: INSIDE if who in let_in else 403 for who in scene.clients} | {"nobody": 401}
        found = {who: scene.ask(who, route.replace("/static", "/static/x")).status_code for who in scene.clients}
        wrong += [(route, who, found[who], status) for who, status in expected.items() if found[who] != status]
    assert wrong == []


def test_x01_a_route_without_a_line_is_closed_to_all_but_those_who_may_do_everything(scene: Scene) -> None:
    for route in ("GET /new/page", "POST /new/page", "PUT /api/v1/runs/x", "OPTIONS /", "GET /staticx"):
        found = {who: scene.ask(who, route).status_code for who in scene.clients}
        assert found == {who: INSIDE if who in MANAGERS else 404 for who in scene.clients} | {"nobody": 401}, route


def test_x01_who_may_ask_for_an_answer_may_ask_for_its_head(scene: Scene) -> None:
    assert scene.ask("viewer", "HEAD /rules").status_code == INSIDE
    assert scene.ask("token ingest", "HEAD /rules").status_code == 403
    assert scene.ask("nobody", "HEAD /sign-in").status_code == INSIDE


@pytest.mark.parametrize(
    ("who", "route", "sentence"),
    [
        ("viewer", "DELETE /api/v1/runs/x", "viewer is a viewer; this needs the role editor or admin"),
        ("editor", "GET /settings/people", "editor is an editor; this needs the role admin"),
        (
            "token ingest",
            "GET /api/v1/runs",
            "the token 'ingest' has the scope ingest; this needs the scope read, write or admin",
        ),
        (
            "token read",
            "POST /api/v1/runs",
            "the token 'read' has the scope read; this needs the scope ingest, write or admin",
        ),
        ("token write", "POST /settings/tokens", "the token 'write' has the scope write; this needs the scope admin"),
    ],
)
def test_x01_what_is_missing_is_said(scene: Scene, who: str, route: str, sentence: str) -> None:
    answer = scene.ask(who, route)
    assert (answer.status_code, answer.json()) == (403, {"detail": f"Not allowed: {sentence}"})


def test_x01_a_person_sees_a_page_that_says_so(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        accounts = Accounts(home.store)
        for role in ("admin", "viewer"):
            accounts.add_person(role, role, PASSWORD, who="the test")
        home.client.post("/sign-in", data={"name": "viewer", "password": PASSWORD})
        for method in ("GET", "POST"):  # of a form that was open when the role changed
            answer = home.client.request(method, "/settings/people", headers={"Accept": "text/html"})
            assert answer.status_code == 403
            assert "Not allowed: viewer is a viewer; this needs the role admin" in answer.text
            assert 'action="/sign-out"' in answer.text
        assert home.client.get("/nothing/here", headers={"Accept": "text/html"}).status_code == 404


def test_x01_tokens_and_cookies_of_nobody_open_nothing(scene: Scene) -> None:
    for token in ("gw_", "gw_" + "x" * 43, "x", TOKEN[:-1]):
        answer = scene.ask("nobody", "GET /api/v1/runs", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        assert answer.json()["detail"] == "Authorization: the token is not one that this server knows"
    for cookie in ("", "x", "x" * 4_000):
        answer = scene.ask("nobody", "GET /api/v1/runs", headers={"Cookie": f"gradwatch_session_8777={cookie}"})
        assert answer.status_code == 401
    assert scene.ask("nobody", "GET /api/v1/runs?token=" + TOKEN).status_code == 401


def test_x01_a_request_of_which_the_gate_knows_nothing_sees_no_project() -> None:
    assert powers.NOBODY.sight() == Sight(frozenset())
    assert powers.EVERYBODY.sight() == powers.WITH_SERVER_TOKEN.sight() == EVERY_PROJECT


def test_x01_an_admin_of_a_project_would_manage_nothing() -> None:
    """No way leads there; a row that somebody wrote by hand opens no more than its projects."""
    person = Person(1, "bob", Role.ADMIN, 0, projects={"vision": Role.ADMIN})
    token = Token(1, "t", Scope.ADMIN, "ada", 0, projects=frozenset({"vision"}))
    for caller in (powers.of_person(person), powers.of_token(token)):
        assert not caller.may(powers.Power.MANAGE)
        assert not caller.may_in("speech", powers.Power.READ)
        assert caller.may_in("vision", powers.Power.CHANGE)
