"""People of a server: who comes in, what a role sees, and who did what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.accounts.book import Accounts
from server.app import create_app
from server.config import Settings
from server.domain.accounts import Role
from server.live import Live
from tests.security.people_kit import OTHER, PAGE, PASSWORD, TOKEN, browser, inside, sign_in
from tests.server.empty import rules
from tests.server.house import RUN, Clock, House, house

pytestmark = pytest.mark.usefixtures("quick")


def test_once_there_is_somebody_nobody_comes_in_unknown(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        assert inside(browser(home))
        assert home.client.get("/sign-in").status_code == 303
        answer = home.client.post("/settings/people", data={"name": "Ada", "role": "admin", "password": PASSWORD})
        assert (answer.status_code, answer.headers["location"]) == (303, "/settings/people")
        stranger = browser(home)
        assert (
            stranger.get("/settings/people", headers=PAGE).headers["location"] == "/sign-in?next=%2Fsettings%2Fpeople"
        )
        form = stranger.get("/sign-in").text
        assert 'name="password"' in form
        assert 'name="token"' not in form
        answer = sign_in(stranger, " ADA ", target="/rules")
        assert (answer.status_code, answer.headers["location"]) == (303, "/rules")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert "samesite=lax" in answer.headers["set-cookie"].lower()
        page = stranger.get("/", headers=PAGE).text
        assert 'href="/settings/account"' in page
        assert ">ada</a>" in page


def test_who_asks_while_the_first_person_is_added_leaves_no_open_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with house(tmp_path) as home:
        read = home.store._database.read

        @contextmanager
        def slow_read() -> Iterator[Any]:
            with read() as connection:
                yield connection
                patch.undo()
                home.store.people.add("ada", Role.ADMIN, "hash", who="the test")

        with monkeypatch.context() as patch:
            patch.setattr(home.store._database, "read", slow_read)
            assert home.store.people.any() is False, "as it was when the question was asked"
        assert home.store.people.any() is True
        assert not inside(browser(home))


def test_the_servers_own_token_stays_and_has_its_own_form(tmp_path: Path) -> None:
    with house(tmp_path, TOKEN) as home:
        Accounts(home.store).add_person("ada", "admin", PASSWORD, who="the test")
        stranger = browser(home)
        form = stranger.get("/sign-in").text
        assert 'name="password"' in form
        assert 'name="token"' in form
        assert stranger.post("/sign-in", data={"token": TOKEN}).status_code == 303
        assert stranger.get("/settings/people").status_code == 200
        assert "no password to change" in stranger.get("/settings/account").text
        assert stranger.post("/settings/account", data={"old": "x", "new": OTHER, "again": OTHER}).status_code == 403


def test_a_server_that_others_reach_stays_closed_when_its_last_person_is_gone(home: House) -> None:
    settings = Settings(home=Path(), database="", port=8778, host="0.0.0.0", allowed_hosts=("testserver",))
    shared = create_app(settings, home.store, Live(), registry=rules(), diagnose=False, clock=Clock())
    for name in ("vic", "eve", "ada"):
        home.store.people.remove(name, who="the test")
    assert TestClient(shared).get("/api/v1/runs").status_code == 401
    assert inside(browser(home)), "on loopback the door is open, as it was before there was anybody"


def test_ones_own_password_needs_the_old_one_and_keeps_this_browser(home: House) -> None:
    eve, elsewhere = browser(home, "eve"), browser(home, "eve")
    old_cookie = dict(eve.cookies)
    for fields, sentence in (
        ({"old": OTHER, "new": OTHER, "again": OTHER}, "The old password is another one."),
        ({"old": PASSWORD, "new": OTHER, "again": PASSWORD}, "The two new passwords differ; nothing was changed."),
        ({"old": PASSWORD, "new": "short", "again": "short"}, "The password has 5 characters; at least 12 are needed."),
    ):
        answer = eve.post("/settings/account", data=fields)
        assert (answer.status_code, sentence in answer.text) == (422, True)
    answer = eve.post("/settings/account", data={"old": PASSWORD, "new": OTHER, "again": OTHER})
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/account?changed=1")
    assert "every other browser is signed out" in eve.get("/settings/account?changed=1").text
    assert [inside(eve), inside(elsewhere)] == [True, False]
    again = browser(home)
    again.cookies.update(old_cookie)
    assert not inside(again), "the cookie of before is worth nothing"


def test_the_only_admin_stays(home: House) -> None:
    ada = browser(home, "ada")
    for path, fields in (("role", {"role": "viewer"}), ("remove", {})):
        answer = ada.post(f"/settings/people/ada/{path}", data=fields)
        assert answer.status_code == 422
        assert "is the only admin; make somebody else one first." in answer.text
    assert ada.post("/settings/people/eve/role", data={"role": "admin"}).status_code == 303
    assert ada.post("/settings/people/ada/role", data={"role": "viewer"}).status_code == 303
    assert not inside(ada)


def test_what_a_viewer_cannot_do_is_not_offered_and_refused_anyhow(home: House) -> None:
    vic, eve, ada = browser(home, "vic"), browser(home, "eve"), browser(home, "ada")
    page = {name: client.get("/", headers=PAGE).text for name, client in (("vic", vic), ("eve", eve))}
    assert 'data-run-act="delete"' in page["eve"]
    assert 'data-run-act="delete"' not in page["vic"]
    assert 'data-bulk="delete"' not in page["vic"]
    assert "/settings/people" not in eve.get("/settings", headers=PAGE).text
    settings = {
        name: client.get("/settings?rule=GW205", headers=PAGE).text for name, client in (("eve", eve), ("ada", ada))
    }
    assert "Silence a rule" in settings["ada"]
    assert 'value="save"' in settings["ada"]
    assert "Silence a rule" not in settings["eve"]
    assert 'value="save"' not in settings["eve"]
    assert vic.delete(f"/api/v1/runs/{RUN}").status_code == 403
    assert eve.delete(f"/api/v1/runs/{RUN}").status_code == 204


def test_a_page_of_another_site_changes_nothing_in_the_name_of_who_is_signed_in(home: House) -> None:
    ada = browser(home, "ada")
    for path in ("/settings/people", "/settings/tokens", "/settings/account", "/sign-out"):
        answer = ada.post(path, data={"name": "x"}, headers={"Origin": "https://evil.example"})
        assert answer.status_code == 403
        assert answer.json()["detail"].startswith("Origin header:")
    assert inside(ada)


def test_who_did_what_is_in_the_log_and_cannot_be_typed(home: House) -> None:
    ada, eve = browser(home, "ada"), browser(home, "eve")
    made = ada.post("/settings/tokens", data={"name": "nightly", "scope": "ingest", "days": ""}).text
    assert "gw_" in made
    ada.post("/settings/tokens/revoke", data={"name": "nightly"})
    ada.post("/settings/people/vic/role", data={"role": "editor"})
    ada.post("/api/v1/mutes", json={"project": "default", "code": "GW308", "reason": "known", "who": "somebody else"})
    assert [mute.who for mute in home.store.wishes.mutes("default")] == ["ada"]
    eve.delete(f"/api/v1/runs/{RUN}")
    log = [(deed.who, deed.action, deed.about) for deed in home.store.audit.newest(7)]
    assert log == [
        ("eve", "deleted 1 run", RUN),
        ("ada", "changed a role", "vic: viewer to editor"),
        ("ada", "revoked a token", "nightly, ingest"),
        ("ada", "made a token", "nightly, ingest"),
        ("eve", "signed in", ""),
        ("ada", "signed in", ""),
        ("the test", "added a person", "vic, viewer"),
    ]
    assert "vic: viewer to editor" in ada.get("/settings/people", headers=PAGE).text
