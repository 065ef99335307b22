"""X12: what changes about a person ends all sessions of that person at once, and nobody gets the session of another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from server.accounts.book import Accounts
from server.app import create_app
from server.config import Settings
from server.live import Live
from server.web import gate
from tests.security.people_kit import OTHER, PAGE, PASSWORD, browser, inside, sign_in
from tests.server.empty import rules
from tests.server.house import RUN, Clock, House, house

pytestmark = pytest.mark.usefixtures("quick")


def change_role(home: House) -> None:
    Accounts(home.store).set_role("eve", "viewer", who="the test")


def change_password(home: House) -> None:
    Accounts(home.store).set_password("eve", OTHER, who="the test")


def remove(home: House) -> None:
    Accounts(home.store).remove_person("eve", who="the test")


@pytest.mark.parametrize("change", [change_role, change_password, remove])
def test_x12_a_change_ends_every_session_of_that_person_at_once(home: House, change: Any) -> None:
    one, two, other = browser(home, "eve"), browser(home, "eve"), browser(home, "vic")
    assert inside(one)
    change(home)
    assert [inside(one), inside(two), inside(other)] == [False, False, True]


def test_x12_so_it_is_by_the_pages(home: House) -> None:
    ada, eve = browser(home, "ada"), browser(home, "eve")
    for path, fields, password in (
        ("role", {"role": "viewer"}, PASSWORD),
        ("password", {"password": OTHER}, OTHER),
        ("remove", {}, None),
    ):
        answer = ada.post(f"/settings/people/eve/{path}", data=fields)
        assert (answer.status_code, answer.headers["location"]) == (303, "/settings/people")
        assert not inside(eve)
        if password:
            eve = browser(home, "eve", password)
    assert sign_in(browser(home), "eve", OTHER).status_code == 401


def test_x12_a_form_of_who_is_signed_out_meanwhile_changes_nothing_and_says_how_to_go_on(home: House) -> None:
    typed = {"text": "typed for an hour", "after": "0"}
    answer = browser(home).post(f"/runs/{RUN}/notes", data=typed, headers=PAGE)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "You are signed out, so nothing is saved yet." in answer.text
    assert home.store.notes.get(RUN).version == 0
    for other in ({}, PAGE | {"HX-Request": "true"}, PAGE | {"Authorization": "Bearer wrong"}):
        answer = browser(home).post(f"/runs/{RUN}/notes", data=typed, headers=other)
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/json")


def test_x12_a_new_person_of_the_same_name_gets_no_session_of_the_old_one(home: House) -> None:
    old = browser(home, "vic")
    accounts = Accounts(home.store)
    accounts.remove_person("vic", who="the test")
    accounts.add_person("vic", "admin", PASSWORD, who="the test")
    assert not inside(old)


def test_x12_who_is_changed_while_signing_in_does_not_come_in(home: House) -> None:
    found = Accounts(home.store).sign_in("eve", PASSWORD)
    assert found is not None
    change_password(home)
    assert home.store.sign_ins.open("hash", 10**9, 10**9, *found) is False
    assert home.store.sign_ins.find("hash", 10**9, 10**9) is None


def test_x12_every_server_on_the_database_knows_at_once(home: House) -> None:
    settings = Settings(home=Path(), database="", port=8778)
    second = create_app(settings, home.store, Live(), registry=rules(), diagnose=False, clock=Clock())
    eve = browser(home, "eve")
    there = TestClient(second, base_url="http://127.0.0.1:8778", cookies=dict(eve.cookies))
    assert inside(there)
    change_role(home)
    assert not inside(there)


def test_x12_a_live_stream_ends_soon_after_its_listener_is_signed_out(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "ASKED_AGAIN_S", 0.0)
    eve = browser(home, "eve")
    cookie = "; ".join(f"{name}={value}" for name, value in eve.cookies.items())
    scope = {
        "type": "http", "method": "GET", "path": "/api/v1/live", "query_string": b"", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1:8777"), (b"cookie", cookie.encode())], "client": ("127.0.0.1", 5),
    }  # fmt: skip
    bodies: list[bytes] = []
    ended: list[bool] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        bodies.append(message.get("body", b""))
        ended.append(not message.get("more_body", False))
        if len(bodies) == 1:
            await asyncio.to_thread(change_role, home)
            home.app.state.services.live.publish(RUN, "state", 7)

    asyncio.run(asyncio.wait_for(home.app(scope, receive, send), 20))
    assert b"event: state" in bodies[0]
    assert (bodies[1:], ended) == ([b""], [False, True])
    assert home.app.state.services.live.listeners == 0


def test_signing_out_ends_the_session(home: House) -> None:
    eve = browser(home, "eve")
    kept = dict(eve.cookies)
    assert eve.post("/sign-out").status_code == 303
    eve.cookies.update(kept)
    assert not inside(eve)


def test_a_restart_signs_nobody_out(tmp_path: Path) -> None:
    with house(tmp_path) as first:
        Accounts(first.store).add_person("ada", "admin", PASSWORD, who="the test")
        cookies = dict(browser(first, "ada").cookies)
    with house(tmp_path) as second:
        client = browser(second)
        client.cookies.update(cookies)
        assert inside(client)
