"""Sign-in with OpenID Connect: who comes in, as whom, with which session, and what stays as it was with passwords."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from server.accounts.book import Accounts
from server.app import create_app
from server.domain.accounts import Arrival, Role
from server.live import Live
from tests.oidc_provider import SECRET
from tests.security.oidc_kit import CALLBACK, Scene, asked_in, oidc_scene, place
from tests.security.people_kit import PAGE, PASSWORD, inside, sign_in
from tests.server.empty import rules
from tests.server.house import ADDRESS

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def scene(tmp_path: Path, quick: None) -> Iterator[Scene]:
    with oidc_scene(tmp_path) as found:
        yield found


def test_a_person_signs_in_at_the_provider_and_out_again(scene: Scene) -> None:
    browser = scene.browser()
    assert not inside(browser), "a server with a provider is open to nobody"
    form = browser.get("/sign-in?next=/rules").text
    assert f'href="/sign-in/oidc?next=%2Frules">Sign in with 127.0.0.1:{scene.provider.server_address[1]}</a>' in form
    assert 'name="password"' not in form, "nobody has one yet"
    answer = scene.sign_in(browser, target="/rules")
    assert (answer.status_code, answer.headers["location"]) == (303, "/rules")
    assert answer.headers["cache-control"] == "no-store"
    session, attempt = answer.headers.get_list("set-cookie")[:2]
    assert session.startswith("gradwatch_session_8777=")
    assert "HttpOnly" in session
    assert "samesite=lax" in session.lower()
    assert attempt.startswith('gradwatch_oidc="";')
    assert inside(browser)
    assert ">ada@lab.example</a>" in browser.get("/", headers=PAGE).text
    answer = browser.post("/sign-out")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?out=1")
    assert not inside(browser)
    assert "and may still be signed in at 127.0.0.1" in browser.get("/sign-in?out=1").text
    source = f"the provider 127.0.0.1:{scene.provider.server_address[1]}"
    assert scene.log() == [("ada@lab.example", "signed in", ""), (source, "added a person", "ada@lab.example, viewer")]


def test_the_session_is_a_new_one_and_has_the_flags_of_a_public_https_address(tmp_path: Path) -> None:
    public = "https://gradwatch.lab.example"
    with oidc_scene(tmp_path, public=public, allowed_hosts="gradwatch.lab.example") as scene:
        browser = scene.browser()
        browser.base_url = public  # type: ignore[assignment]
        browser.cookies.set("gradwatch_session_8777", "what somebody put there before")
        answer = scene.sign_in(browser)
        assert answer.status_code == 303
        session, attempt = answer.headers.get_list("set-cookie")
        assert "what somebody put" not in session
        assert len(session.partition(";")[0]) > 60
        assert "; Secure" in session
        assert attempt.startswith("__Host-gradwatch_oidc=")
        assert "Path=/;" in attempt


def test_where_people_come_back_to_is_of_the_settings_and_never_of_a_request(tmp_path: Path) -> None:
    with oidc_scene(tmp_path, allowed_hosts="other.example") as scene:
        browser = scene.browser()
        answer = browser.get("/sign-in/oidc?next=/rules", headers={"Host": "other.example"})
        assert answer.headers["location"] == "http://127.0.0.1:8777/sign-in/oidc?next=%2Frules&again=1"
        headers = {"Host": "other.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https"}
        asked = asked_in(browser.get("/sign-in/oidc?again=1", headers=headers).headers["location"])
        assert asked["redirect_uri"] == "http://127.0.0.1:8777" + CALLBACK
        assert browser.get("/sign-in/oidc", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example", "/\\evil.example", "/sign-out", "javascript:1"]
)
def test_what_follows_stays_on_this_site(scene: Scene, target: str) -> None:
    browser = scene.browser()
    assert scene.sign_in(browser, target=target).headers["location"] == "/"
    lured = scene.browser()
    address = scene.back(lured)
    name, kept = next((name, value) for name, value in lured.cookies.items() if "oidc" in name)
    lured.cookies.clear()
    lured.cookies.set(name, kept.rpartition(".")[0] + ".%2F%2Fevil.example")
    assert lured.get(place(address)).headers["location"] == "/"


def test_a_person_is_the_subject_and_not_the_address(scene: Scene) -> None:
    scene.sign_in(scene.browser(), "ada")
    scene.provider.people["ada"]["email"] = "ada.lovelace@lab.example"
    scene.provider.people["eve"]["email"] = "ada@lab.example"  # which is hers from now on
    eve = scene.browser()
    answer = scene.sign_in(eve, "eve")
    assert answer.status_code == 403
    assert "belongs to another person of the provider here, so nobody was signed in" in answer.text
    assert not inside(eve)
    ada = scene.browser()
    assert scene.sign_in(ada, "ada").status_code == 303
    assert ">ada@lab.example</a>" in ada.get("/", headers=PAGE).text, "she is who she was"
    assert len(scene.roles()) == 1


def test_the_account_of_a_person_with_a_password_goes_to_nobody_of_the_provider(scene: Scene) -> None:
    Accounts(scene.store).add_person("ada@lab.example", "admin", PASSWORD, who="the test")
    browser = scene.browser()
    answer = scene.sign_in(browser)
    assert answer.status_code == 403
    assert "belongs to a person who signs in another way here" in answer.text
    assert not inside(browser)
    assert sign_in(browser, "ada@lab.example").status_code == 303


@pytest.mark.parametrize("password", ["", " ", "none", PASSWORD])
def test_no_password_opens_the_account_of_a_person_of_the_provider(scene: Scene, password: str) -> None:
    scene.sign_in(scene.browser())
    answer = sign_in(scene.browser(), "ada@lab.example", password)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text


def test_nobody_gives_a_person_of_the_provider_a_password(scene: Scene) -> None:
    accounts = Accounts(scene.store)
    accounts.add_person("root", "admin", PASSWORD, who="the test")
    ada, root = scene.browser(), scene.browser()
    scene.sign_in(ada)
    sign_in(root, "root")
    answer = root.post("/settings/people/ada@lab.example/password", data={"password": PASSWORD})
    assert (answer.status_code, "and has no password here." in answer.text) == (422, True)
    answer = ada.post("/settings/account", data={"old": "", "new": PASSWORD, "again": PASSWORD})
    assert (answer.status_code, "your password is kept there." in answer.text) == (422, True)
    assert inside(ada)


def test_removal_and_another_role_end_the_sessions_of_a_person_of_the_provider(scene: Scene) -> None:
    accounts = Accounts(scene.store)
    accounts.add_person("root", "admin", PASSWORD, who="the test")
    browser = scene.browser()
    scene.sign_in(browser)
    accounts.set_role("ada@lab.example", "editor", who="the test")
    assert not inside(browser)
    scene.sign_in(browser)
    assert scene.roles()["ada@lab.example"] == "editor", "the provider settles no role here"
    accounts.remove_person("ada@lab.example", who="the test")
    assert not inside(browser)


def test_groups_give_roles_at_each_sign_in_where_the_settings_say_so(tmp_path: Path) -> None:
    with oidc_scene(tmp_path, oidc_roles="lab=editor, ml-leads=admin") as scene:
        first, eve = scene.browser(), scene.browser()
        scene.sign_in(first)
        scene.sign_in(eve, "eve")
        assert scene.roles() == {"ada@lab.example": "admin", "eve@lab.example": "editor"}
        page = first.get("/settings/people", headers=PAGE).text
        assert "Who this is, the password and the role (by groups, at each sign-in) are kept by 127.0.0.1" in page
        assert "Save the role" not in page, "they may be limited to projects alone"
        scene.provider.people["ada"]["groups"] = []
        second = scene.browser()
        assert scene.sign_in(second).status_code == 303
        assert scene.roles()["ada@lab.example"] == "viewer", "even the only admin: the provider decides"
        assert [inside(first), inside(second)] == [False, True]
        assert scene.log()[1][1:] == ("changed a role", "ada@lab.example: admin to viewer")


@pytest.mark.parametrize("option", ["oidc_groups", "oidc_roles"])
def test_a_provider_that_tells_no_groups_is_named_and_gives_nobody_more(
    tmp_path: Path, option: str, caplog: pytest.LogCaptureFixture
) -> None:
    with oidc_scene(tmp_path, **{option: "lab=admin"}) as scene:
        del scene.provider.people["ada"]["groups"]
        answer = scene.sign_in(scene.browser())
        assert answer.status_code == (403 if option == "oidc_groups" else 303)
        assert "tells no groups (claim 'groups'). An admin of this server can ask for another scope" in caplog.text
        assert "admin" not in scene.roles().values()


@pytest.mark.parametrize(
    ("login", "options", "sentence"),
    [
        ("new", {}, "has not verified your e-mail address"),
        ("out", {}, "is of a domain that may not sign in here"),
        (
            "eve",
            {"oidc_domains": "*", "oidc_groups": "ml-leads"},
            "You are in none of the groups that may sign in here",
        ),
        ("out", {"oidc_groups": "lab"}, "is of a domain that may not sign in here"),
        ("nobody", {}, "did not sign you in (access_denied)"),
        ("ada", {"oidc_name_claim": "nickname"}, "holds nothing that a person can be called here"),
    ],
)
def test_who_may_not_come_in_is_told_why(tmp_path: Path, login: str, options: dict[str, str], sentence: str) -> None:
    with oidc_scene(tmp_path, **options) as scene:
        browser = scene.browser()
        answer = scene.sign_in(browser, login)
        assert answer.status_code == 403
        assert sentence in answer.text
        assert "Sign in with 127.0.0.1" in answer.text, "and can try another account"
        assert not inside(browser)
        assert scene.roles() == {}


@pytest.mark.parametrize(
    "address", ["ada@lab.example.evil.example", "ada@evillab.example", "x@lab.example@evil.example", "lab.example", ""]
)
def test_only_the_whole_domain_counts(scene: Scene, address: str) -> None:
    scene.provider.people["ada"]["email"] = address
    assert scene.sign_in(scene.browser()).status_code == 403


def test_a_domain_needs_a_verified_address_though_the_name_is_another_claim(tmp_path: Path) -> None:
    with oidc_scene(tmp_path, oidc_name_claim="preferred_username") as scene:
        scene.provider.people["new"]["preferred_username"] = "newcomer"
        assert "has not verified your e-mail address" in scene.sign_in(scene.browser(), "new").text
        scene.provider.people["ada"]["preferred_username"] = "Ada"
        assert scene.sign_in(scene.browser()).status_code == 303
        assert scene.roles() == {"ada": "viewer"}


def test_what_the_id_token_lacks_is_asked_at_userinfo(scene: Scene) -> None:
    scene.provider.thin = True
    browser = scene.browser()
    assert scene.sign_in(browser).status_code == 303
    assert inside(browser)
    scene.provider.people["eve"]["sub"] = "1001"  # whose e-mail is not hers
    scene.provider.twist = lambda claims: claims | {"sub": "1002"}
    assert "tells of another person than its ID token" in scene.sign_in(scene.browser(), "eve").text
    scene.provider.twist = lambda claims: claims | {"sub": "1001", "email": "root@lab.example"}
    answer = scene.sign_in(scene.browser(), "eve")  # verified is said of another address than the token's
    assert "does not say whether your e-mail address is verified" in answer.text


def test_an_unreachable_provider_leaves_the_password_form(scene: Scene) -> None:
    Accounts(scene.store).add_person("root", "admin", PASSWORD, who="the test")
    scene.provider.down = True
    browser = scene.browser()
    answer = browser.get("/sign-in/oidc?next=/rules")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "10"
    assert "cannot sign you in now: " in answer.text
    assert "openid-configuration answered 500 and not 200. Try again later, or ask an admin." in answer.text
    assert 'name="password"' in answer.text
    assert 'value="/rules"' in answer.text
    assert sign_in(browser, "root").status_code == 303


def test_a_provider_that_goes_away_in_the_middle_is_said(scene: Scene) -> None:
    browser = scene.browser()
    address = scene.back(browser)
    scene.provider.down = True
    answer = browser.get(place(address))
    assert (answer.status_code, "where it should have given a token" in answer.text) == (503, True)
    assert not inside(browser)


def test_somebody_can_sign_out_of_the_provider_too(scene: Scene) -> None:
    answer = scene.browser().get("/sign-in/oidc/out")
    assert (answer.status_code, answer.headers["location"]) == (303, scene.provider.issuer + "/end?client_id=gradwatch")
    Accounts(scene.store).add_person("root", "admin", PASSWORD, who="the test")
    root = scene.browser()
    sign_in(root, "root")
    assert root.post("/sign-out").headers["location"] == "/sign-in", "who has a password here is out with that"


def test_a_provider_without_an_address_for_signing_out_is_named(scene: Scene) -> None:
    scene.provider.metadata = {"end_session_endpoint": None}
    answer = scene.browser().get("/sign-in/oidc/out")
    assert (answer.status_code, "has no address for signing out." in answer.text) == (404, True)
    scene.provider.down = True
    assert scene.browser().get("/sign-in/oidc/out").status_code == 404, "that is known by now"


def test_passwords_can_be_switched_off(tmp_path: Path) -> None:
    with oidc_scene(tmp_path, token="k" * 32, passwords="no") as scene:
        Accounts(scene.store).add_person("root", "admin", PASSWORD, who="the test")
        browser = scene.browser()
        form = browser.get("/sign-in").text
        assert 'name="password"' not in form
        assert 'name="token"' in form, "the way in for whoever runs the server"
        answer = sign_in(browser, "root")
        assert (answer.status_code, "Passwords are switched off here; sign in with 127.0.0.1" in answer.text) == (
            403,
            True,
        )
        browser.post("/sign-in", data={"token": "k" * 32})
        page = browser.get("/settings/people", headers=PAGE).text
        assert "Add somebody" not in page
        answer = browser.post("/settings/people", data={"name": "eve", "role": "viewer", "password": PASSWORD})
        assert (answer.status_code, "Passwords are switched off here (GRADWATCH_PASSWORDS)" in answer.text) == (
            422,
            True,
        )


def test_the_page_of_people_says_how_each_signs_in(scene: Scene) -> None:
    Accounts(scene.store).add_person("root", "admin", PASSWORD, who="the test")
    ada, root = scene.browser(), scene.browser()
    scene.sign_in(ada)
    sign_in(root, "root")
    page = root.get("/settings/people", headers=PAGE).text
    host = f"127.0.0.1:{scene.provider.server_address[1]}"
    assert f"viewer · signs in with {host} · since" in page
    assert "admin · signs in with a password · since" in page
    assert 'action="/settings/people/ada%40lab.example/password"' not in page
    assert f"You sign in with {host}, where your password is kept." in ada.get("/settings/account", headers=PAGE).text


def test_no_secret_is_on_a_page_or_in_the_log(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        browser = scene.browser()
        pages = [scene.sign_in(browser, "out").text]
        codes = list(scene.provider.access)
        scene.provider.sign = lambda claims: "not.a.token"
        pages.append(scene.sign_in(browser).text)
        pages += [browser.get("/sign-in").text, str(scene.app.state.services.settings)]
    said = "\n".join([*pages, caplog.text])
    assert codes
    for secret in (SECRET, *codes, *scene.provider.access):
        assert secret not in said
    assert "Nobody was signed in at 127.0.0.1" in caplog.text


def test_people_come_back_to_another_server_of_the_same_database(scene: Scene) -> None:
    other = replace(scene.app.state.services.settings, port=8778)
    app = create_app(other, scene.store, Live(), registry=rules(), diagnose=False)
    first = scene.browser()
    address = scene.back(first)
    second = TestClient(app, base_url=ADDRESS, follow_redirects=False)
    second.cookies.update(first.cookies)
    assert second.get(place(address)).status_code == 303
    assert inside(second)


def test_an_address_of_which_nobody_says_whether_it_is_verified_is_not_taken(scene: Scene) -> None:
    del scene.provider.people["ada"]["email_verified"]
    answer = scene.sign_in(scene.browser())
    assert (answer.status_code, "does not say whether your e-mail address is verified" in answer.text) == (403, True)


def test_two_who_come_at_once_are_one_person(scene: Scene) -> None:
    arrival = Arrival(scene.provider.issuer, "1001", "ada@lab.example", Role.VIEWER)
    accounts = Accounts(scene.store)
    assert accounts.arrive(arrival, who="x").id == accounts.arrive(arrival, who="x").id
    other = Arrival("https://other.example", "1001", "ada@other.example", Role.VIEWER)
    assert accounts.arrive(other, who="x").name == "ada@other.example"
