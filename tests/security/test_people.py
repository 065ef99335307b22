"""People sign in by name; what changes about one ends all sessions of that person at once; guessing is slowed down."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from server.accounts import passwords
from server.accounts.book import Accounts, digest
from server.app import create_app
from server.config import Settings
from server.domain.accounts import Role
from server.live import Live
from server.store import Store
from server.web import gate
from server.web.auth import address_of
from server.web.throttle import GUESSES, GUESSES_AT_A_NAME
from tests.server.accounts.kit import quick_passwords
from tests.server.empty import rules
from tests.server.house import ADDRESS, RUN, Clock, House, house

PASSWORD = "seven green bicycles"
OTHER = "eleven blue umbrellas"
TOKEN = "a-token-of-enough-characters"
PAGE = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick_passwords(monkeypatch)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run()
        accounts = Accounts(found.store)
        for name, role in (("ada", "admin"), ("eve", "editor"), ("vic", "viewer")):
            accounts.add_person(name, role, PASSWORD, who="the test")
        yield found


def browser(home: House, name: str = "", password: str = PASSWORD, address: str = "10.0.0.1") -> TestClient:
    client = TestClient(home.app, base_url=ADDRESS, follow_redirects=False, client=(address, 50_000))
    if name:
        assert sign_in(client, name, password).status_code == 303
    return client


def sign_in(client: TestClient, name: str, password: str = PASSWORD, target: str = "/") -> Any:
    return client.post("/sign-in", data={"name": name, "password": password, "next": target})


def inside(client: TestClient) -> bool:
    return client.get("/api/v1/runs").status_code == 200


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


@pytest.mark.parametrize(
    ("name", "password"), [("ada", OTHER), ("nobody", PASSWORD), ("a\0b", PASSWORD), ("ada", ""), ("ada", "x" * 5_000)]
)
def test_a_wrong_name_and_a_wrong_password_are_told_alike(home: House, name: str, password: str) -> None:
    client = browser(home)
    answer = sign_in(client, name, password)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert password not in answer.text or not password


def test_an_unknown_name_costs_the_same_work(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Counted:
        def verify(self, kept: str, password: str) -> bool:
            checked.append(kept.rpartition("$")[0].rpartition("$")[0])
            return hasher.verify(kept, password)

    hasher = passwords._HASHER
    passwords._nobodys()
    monkeypatch.setattr(passwords, "_HASHER", Counted())
    for name in ("ada", "nobody", "no-other"):
        assert sign_in(browser(home), name, OTHER).status_code == 401
    assert len(checked) == 3
    assert checked[0] == checked[1] == checked[2], "with the same parameters"
    for name in ("ada", "nobody"):
        assert sign_in(browser(home), name, OTHER).status_code == 401
    assert len(checked) == 3, "the same again, which is no new guess, costs nothing"
    monkeypatch.setattr(passwords, "_HASHER", hasher)
    Accounts(home.store).set_password("ada", OTHER, who="the test")
    assert sign_in(browser(home), "ada", OTHER).status_code == 303


def test_nobody_has_the_password_of_nobody(home: House) -> None:
    assert sign_in(browser(home), "nobody", "nobody's").status_code == 401


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


def test_a_server_that_others_reach_stays_closed_when_its_last_person_is_gone(home: House) -> None:
    settings = Settings(home=Path(), database="", port=8778, host="0.0.0.0", allowed_hosts=("testserver",))
    shared = create_app(settings, home.store, Live(), registry=rules(), diagnose=False, clock=Clock())
    for name in ("vic", "eve", "ada"):
        home.store.people.remove(name, who="the test")
    assert TestClient(shared).get("/api/v1/runs").status_code == 401
    assert inside(browser(home)), "on loopback the door is open, as it was before there was anybody"


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


def test_ones_old_password_cannot_be_guessed_there(home: House) -> None:
    eve = browser(home, "eve")
    for number in range(GUESSES_AT_A_NAME):
        assert (
            eve.post("/settings/account", data={"old": f"guess-{number}", "new": OTHER, "again": OTHER}).status_code
            == 422
        )
    answer = eve.post("/settings/account", data={"old": PASSWORD, "new": OTHER, "again": OTHER})
    assert (answer.status_code, int(answer.headers["retry-after"]) > 0) == (429, True)


def test_guessing_is_slowed_down_for_an_address(home: House) -> None:
    client = browser(home)
    for number in range(GUESSES):
        assert sign_in(client, f"person-{number}", OTHER).status_code == 401
    answer = sign_in(client, "ada")
    assert answer.status_code == 429
    assert "Too many passwords were tried for this name or from this address." in answer.text
    assert int(answer.headers["retry-after"]) > 0
    assert sign_in(browser(home, address="10.0.0.2"), "ada").status_code == 303


def test_guessing_is_slowed_down_for_a_name_from_wherever_known_or_not(home: House) -> None:
    for name in ("eve", "nobody"):
        for number in range(GUESSES_AT_A_NAME):
            assert sign_in(browser(home, address=f"10.1.{number}.1"), name, f"guess-{number}").status_code == 401
        assert sign_in(browser(home, address="10.2.0.1"), name).status_code == 429
    assert sign_in(browser(home, address="10.2.0.1"), "ada").status_code == 303


def test_a_stranger_cannot_lock_out_a_person_where_that_person_has_signed_in(home: House) -> None:
    at_home = browser(home, "eve", address="10.2.0.1")
    at_home.post("/sign-out")
    for number in range(GUESSES_AT_A_NAME):
        sign_in(browser(home, address=f"10.1.{number}.1"), "eve", f"guess-{number}")
    assert sign_in(browser(home, address="10.2.0.2"), "eve").status_code == 429
    assert sign_in(at_home, "eve").status_code == 303
    for number in range(GUESSES):
        assert sign_in(at_home, "eve", f"mistyped-{number}").status_code == 401
    assert sign_in(at_home, "eve").status_code == 429, "guesses from there are slowed down as any"


def test_a_network_of_one_customer_is_one_address() -> None:
    def address(host: str) -> str:
        return address_of({"client": (host, 50_000)})

    assert address("2001:db8:1:2::5") == address("2001:db8:1:2:ffff::6") != address("2001:db8:1:3::5")
    assert address("::ffff:10.0.0.1") == address("10.0.0.1") != address("::ffff:10.0.0.2")
    assert address("fe80::1%eth0") == address("fe80::2%eth0")
    assert address("testclient") == "testclient"


def test_the_same_wrong_password_again_is_no_new_guess(home: House) -> None:
    client = browser(home)
    for _ in range(3 * GUESSES):
        assert sign_in(client, "ada", "mistyped password").status_code == 401
    assert sign_in(client, "ada").status_code == 303


def test_signing_out_ends_the_session(home: House) -> None:
    eve = browser(home, "eve")
    kept = dict(eve.cookies)
    assert eve.post("/sign-out").status_code == 303
    eve.cookies.update(kept)
    assert not inside(eve)


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


def test_only_hashes_are_kept(home: House, tmp_path: Path) -> None:
    ada = browser(home, "ada")
    token = Accounts(home.store).add_token("nightly", "ingest", None, who="the test")
    home.client.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
    home.store.close()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("gradwatch.db*"))
    assert digest(token).encode() in stored
    for secret in (token, PASSWORD, *ada.cookies.values()):
        assert secret.encode() not in stored


def test_a_token_that_ended_says_so(home: House) -> None:
    accounts = Accounts(home.store)
    token = accounts.add_token("short", "read", 1.0, who="the test")
    headers = {"Authorization": f"Bearer {token}"}
    assert home.client.get("/api/v1/runs", headers=headers).status_code == 200
    now = home.store._clock()
    home.store._clock = lambda: now + 2 * 86_400_000
    answer = home.client.get("/api/v1/runs", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Authorization: the token 'short' has expired")
    accounts.revoke_token("short", who="the test")
    answer = home.client.get("/api/v1/runs", headers=headers)
    assert (answer.status_code, answer.json()["detail"]) == (401, "Authorization: the token 'short' was revoked")


def test_who_guesses_tokens_keeps_no_training_of_the_same_address_out(tmp_path: Path) -> None:
    with house(tmp_path, TOKEN) as home:
        token = Accounts(home.store).add_token("trainings", "read", None, who="the test")
        client = browser(home)

        def status(text: str) -> int:
            return client.get("/api/v1/runs", headers={"Authorization": f"Bearer {text}"}).status_code

        assert [status(f"guess-{number}") for number in range(GUESSES)] == [401] * GUESSES
        assert [status("gw_guess"), status("another guess")] == [429, 429]
        assert status(token) == 200, "it has 256 random bits: whoever brings it does not guess"
        assert status(TOKEN) == 429, "that of the server may be short"


def test_trainings_whose_tokens_ended_are_no_guesses(home: House) -> None:
    accounts, client = Accounts(home.store), browser(home)
    for number in range(GUESSES + 1):
        token = accounts.add_token(f"old-{number}", "ingest", None, who="the test")
        accounts.revoke_token(f"old-{number}", who="the test")
        answer = client.get("/api/v1/runs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["detail"].endswith("was revoked")) == (401, True)
    assert sign_in(client, "ada").status_code == 303


def test_when_a_token_was_used_is_noted_once_a_minute(home: House) -> None:
    token = Accounts(home.store).add_token("nightly", "read", None, who="the test")
    headers = {"Authorization": f"Bearer {token}"}
    start = home.store._clock()

    def used_at(later_ms: int) -> int | None:
        home.store._clock = lambda: start + later_ms
        assert home.client.get("/api/v1/runs", headers=headers).status_code == 200
        home.store._writer.run(lambda _: None)  # behind the note
        return next(one.used_ms for one in home.store.tokens.list())

    assert used_at(0) == start
    assert used_at(59_000) == start
    assert used_at(60_000) == start + 60_000


def test_a_restart_signs_nobody_out(tmp_path: Path) -> None:
    with house(tmp_path) as first:
        Accounts(first.store).add_person("ada", "admin", PASSWORD, who="the test")
        cookies = dict(browser(first, "ada").cookies)
    with house(tmp_path) as second:
        client = browser(second)
        client.cookies.update(cookies)
        assert inside(client)


def test_a_store_of_two_servers_knows_a_revoked_token_within_a_second(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path / 'gradwatch.db'}")
    try:
        store._database.shared = True
        token = Accounts(store).add_token("nightly", "read", None, who="the test")
        assert store.tokens.find(digest(token)) is not None
        (kept, read_at) = store.tokens._known[digest(token)]
        assert store.tokens.known(digest(token)) == kept
        store.tokens._known[digest(token)] = kept, read_at - 1.1
        assert store.tokens.known(digest(token)) is None, "read again"
    finally:
        store.close()
