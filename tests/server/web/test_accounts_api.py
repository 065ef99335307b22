"""The API of people and tokens: what it makes, changes and ends, and what it never says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.accounts.book import Accounts
from tests.security.oidc_kit import oidc_scene
from tests.security.people_kit import OTHER, PASSWORD, browser, inside, people, sign_in
from tests.server.accounts.kit import quick_passwords
from tests.server.house import House

PEOPLE, TOKENS = "/api/v1/people", "/api/v1/tokens"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A server with ada, an admin, eve, an editor, and vic, a viewer."""
    quick_passwords(monkeypatch)
    with people(tmp_path) as found:
        yield found


@pytest.fixture
def admin(home: House) -> TestClient:
    """A program with a token of the scope admin."""
    client = browser(home)
    token = Accounts(home.store).add_token("robot", "admin", None, who="the test")
    client.headers["Authorization"] = f"Bearer {token}"
    return client


def sentence(answer: Any, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    return str(answer.json()["detail"])


def test_a_person_is_added_listed_changed_and_removed(home: House, admin: TestClient) -> None:
    answer = admin.post(PEOPLE, json={"name": " Bob ", "role": "editor", "password": PASSWORD})
    assert answer.status_code == 201
    item = answer.json()
    assert item == {
        "name": "bob",
        "role": "editor",
        "projects": None,
        "issuer": None,
        "created_ms": item["created_ms"],
        "signed_in_ms": None,
    }
    bob = browser(home, "bob")
    assert [one["name"] for one in admin.get(PEOPLE).json()["items"]] == ["ada", "bob", "eve", "vic"]
    answer = admin.patch(f"{PEOPLE}/Bob", json={"role": "viewer"})
    assert (answer.status_code, answer.json()["role"]) == (200, "viewer")
    assert not inside(bob), "another role ends the sessions"
    sign_in(bob, "bob")
    assert admin.patch(f"{PEOPLE}/bob", json={"password": OTHER}).status_code == 200
    assert not inside(bob)
    assert sign_in(bob, "bob", PASSWORD).status_code == 401
    assert sign_in(bob, "bob", OTHER).status_code == 303
    Accounts(home.store).add_token("bob's", "read", None, who="bob")
    assert admin.delete(f"{PEOPLE}/bob").json() == {"tokens": ["bob's"]}
    assert not inside(bob)
    assert sentence(admin.delete(f"{PEOPLE}/bob"), 404) == "Nobody is called 'bob'"
    done = [(deed.who, deed.action, deed.about) for deed in home.store.audit.newest(3)]
    assert done[0] == ("the token 'robot'", "removed a person", "bob, viewer")


def test_a_person_of_some_projects_is_added_and_changed(home: House, admin: TestClient) -> None:
    roles = {"vision": "editor", "speech": "viewer"}
    item = admin.post(PEOPLE, json={"name": "bob", "password": PASSWORD, "projects": roles}).json()
    assert (item["role"], item["projects"]) == ("editor", roles)
    bob = browser(home, "bob")
    assert bob.get("/api/v1/runs").json()["items"] == [], "the run is of the project default"
    assert admin.patch(f"{PEOPLE}/bob", json={"projects": {"default": "viewer"}}).json()["role"] == "viewer"
    assert not inside(bob), "other projects end the sessions"
    sign_in(bob, "bob")
    assert [one["project"] for one in bob.get("/api/v1/runs").json()["items"]] == ["default"]
    assert admin.patch(f"{PEOPLE}/bob", json={"projects": {}}).json()["projects"] == {}
    assert admin.patch(f"{PEOPLE}/bob", json={"role": "viewer"}).json()["projects"] is None
    both = admin.patch(f"{PEOPLE}/bob", json={"role": "viewer", "projects": {}})
    assert "it holds a role, projects or a password, one of them" in sentence(both)
    assert sentence(admin.patch(f"{PEOPLE}/bob", json={"projects": {"x": "admin"}})).startswith("field projects")
    assert sentence(admin.patch(f"{PEOPLE}/ada", json={"projects": {}})).startswith("'ada' is the only admin")


def test_a_token_of_some_projects_opens_those(home: House, admin: TestClient) -> None:
    made = admin.post(TOKENS, json={"name": "mine", "scope": "read", "projects": ["vision", "default"]}).json()
    assert made["projects"] == ["default", "vision"]
    with_it = {"Authorization": f"Bearer {made['token']}"}
    assert len(browser(home).get("/api/v1/runs", headers=with_it).json()["items"]) == 1
    other = admin.post(TOKENS, json={"name": "other", "scope": "read", "projects": ["vision"]}).json()
    with_it = {"Authorization": f"Bearer {other['token']}"}
    assert browser(home).get("/api/v1/runs", headers=with_it).json()["items"] == []
    said = "An admin, a person or a token, is one of the whole server, never of some projects alone."
    assert sentence(admin.post(TOKENS, json={"name": "x", "scope": "admin", "projects": ["vision"]})) == said
    assert sentence(admin.post(TOKENS, json={"name": "x", "projects": []})).startswith("field projects")


def test_the_pages_give_and_take_projects_without_scripts(home: House) -> None:
    ada = browser(home, "ada")
    added = ada.post(
        "/settings/people", data={"name": "bob", "role": "editor", "project": "later", "password": PASSWORD}
    )
    assert added.status_code == 303
    role = "/settings/people/bob/role"
    assert ada.post(role, data={"project": "default", "role": "viewer"}).status_code == 303
    page = ada.get("/settings/people").text
    assert "viewer of &#39;default&#39;, editor of &#39;later&#39;" in page
    assert '<option value="default"></option>' in page, "known projects are offered"
    assert ada.post(role, data={"project": "later", "role": "none"}).status_code == 303
    assert home.store.people.find("bob")[0].projects == {"default": "viewer"}  # type: ignore[index]
    assert ada.post(role, data={"project": "default", "role": "admin"}).status_code == 422
    assert ada.post(role, data={"role": "viewer"}).status_code == 303
    assert home.store.people.find("bob")[0].projects is None  # type: ignore[index]
    made = ada.post("/settings/tokens", data={"name": "t", "scope": "ingest", "projects": "later\r\n default \r\n\r\n"})
    assert made.status_code == 200
    assert home.store.tokens.list()[0].projects == {"later", "default"}
    assert "for default, later alone · made by ada" in made.text


def test_a_token_is_shown_once_and_opens_until_it_is_revoked(home: House, admin: TestClient) -> None:
    answer = admin.post(TOKENS, json={"name": "nightly", "scope": "read", "days": 7})
    assert (answer.status_code, answer.headers["cache-control"]) == (201, "no-store")
    made = answer.json()
    assert made["expires_ms"] - made["created_ms"] == pytest.approx(7 * 86_400_000, abs=10_000)
    assert (made["state"], made["made_by"]) == ("valid", "the token 'robot'")
    with_it = {"Authorization": f"Bearer {made['token']}"}
    assert browser(home).get("/api/v1/runs", headers=with_it).status_code == 200
    listed = admin.get(TOKENS)
    assert made["token"] not in listed.text
    assert [one["name"] for one in listed.json()["items"]] == ["nightly", "robot"]
    assert admin.delete(f"{TOKENS}/{made['id']}").status_code == 204
    assert browser(home).get("/api/v1/runs", headers=with_it).status_code == 401
    assert admin.delete(f"{TOKENS}/{made['id']}").status_code == 204, "it stays revoked"
    assert admin.get(TOKENS).json()["items"][0]["state"] == "revoked"
    assert sentence(admin.delete(f"{TOKENS}/999"), 404) == "No token has the number 999"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", PEOPLE, {"name": "ada", "password": PASSWORD}, "There is a person called 'ada' already."),
        ("POST", PEOPLE, {"name": "a b", "password": PASSWORD}, "The name is 'a b', expected 1 to 64 letters"),
        (
            "POST",
            PEOPLE,
            {"name": "bob", "password": "s3cret"},
            "The password has 6 characters; at least 12",
        ),
        ("POST", PEOPLE, {"name": "bob", "password": "s3cret" * 50}, "field password: string should have at most 256"),
        ("POST", PEOPLE, {"name": "bob", "password": ["s3cret"]}, "field password: input should be a valid string"),
        ("POST", PEOPLE, {"name": "bob"}, "field password: it is missing"),
        ("POST", PEOPLE, {"name": "bob", "password": PASSWORD, "role": "root"}, "field role: got 'root'"),
        ("POST", PEOPLE, {"name": "bob", "password": PASSWORD, "id": 1}, "field id: it is not known here"),
        ("PATCH", PEOPLE + "/ada", {"role": "viewer"}, "'ada' is the only admin; make somebody else one first."),
        ("PATCH", PEOPLE + "/eve", {}, "it holds a role, projects or a password, one of them"),
        (
            "PATCH",
            PEOPLE + "/eve",
            {"role": "viewer", "password": "s3cret" * 9},
            "it holds a role, projects or a password",
        ),
        ("POST", PEOPLE, [{"name": "bob", "password": "s3cret"}], "field body: input should be a valid dictionary"),
        ("DELETE", PEOPLE + "/ada", None, "'ada' is the only admin; make somebody else one first."),
        ("POST", TOKENS, {"name": "robot"}, "There is a token called 'robot' already"),
        ("POST", TOKENS, {"name": " "}, "The token's name is '', expected 1 to 100 characters"),
        ("POST", TOKENS, {"name": "x", "days": 0}, "field days: got 0; input should be greater than 0"),
        ("POST", TOKENS, {"name": "x", "scope": "all"}, "field scope: got 'all'"),
        ("DELETE", TOKENS + "/x", None, "path part token_id: got 'x'"),
    ],
)
def test_what_is_wrong_is_said_without_a_password(
    admin: TestClient, home: House, method: str, path: str, body: Any, said: str
) -> None:
    before = admin.get(PEOPLE).json()
    text = sentence(admin.request(method, path, json=body))
    assert said in text
    assert "s3cret" not in text
    assert admin.get(PEOPLE).json() == before


def test_who_is_not_there_cannot_be_changed(admin: TestClient) -> None:
    assert sentence(admin.patch(f"{PEOPLE}/nobody", json={"role": "viewer"}), 404) == "Nobody is called 'nobody'"
    assert admin.patch(f"{PEOPLE}/{'x' * 65}", json={"role": "viewer"}).status_code == 422


def test_only_those_who_may_do_everything_come_here(home: House) -> None:
    accounts = Accounts(home.store)
    for client in (browser(home, "eve"), browser(home, "vic")):
        assert {client.get(path).status_code for path in (PEOPLE, TOKENS)} == {403}
    for scope in ("ingest", "read", "write"):
        headers = {"Authorization": f"Bearer {accounts.add_token(scope, scope, None, who='the test')}"}
        assert home.client.post(TOKENS, json={"name": "x", "scope": "admin"}, headers=headers).status_code == 403
    foreign = browser(home, "ada").post(TOKENS, json={"name": "x"}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403


def test_it_says_who_signs_in_at_a_provider(tmp_path: Path) -> None:
    with oidc_scene(tmp_path, oidc_roles="ml-leads=admin", passwords="no") as scene:
        ada = scene.browser()
        scene.sign_in(ada)
        assert [one["issuer"] for one in ada.get(PEOPLE).json()["items"]] == [scene.provider.issuer]
        answer = ada.patch(f"{PEOPLE}/ada@lab.example", json={"password": PASSWORD})
        assert "and has no password here." in sentence(answer)
        answer = ada.post(PEOPLE, json={"name": "bob", "password": PASSWORD})
        assert sentence(answer).startswith("Passwords are switched off here (GRADWATCH_PASSWORDS)")
