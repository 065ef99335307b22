"""Attacks on the way back from an OpenID Connect provider: forged tokens, foreign browsers, replayed answers."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import OctKey, RSAKey
from starlette.testclient import TestClient

from server.accounts.oidc import discovery
from server.web.throttle import GUESSES
from tests.oidc_provider import CLIENT, EC, PEOPLE, RSA, SECRET
from tests.security.oidc_kit import Scene, answer_of, asked_in, oidc_scene, place
from tests.security.people_kit import inside
from tests.server.house import house

Claims = dict[str, Any]
BY_RSA = {"alg": "RS256", "kid": "rsa"}
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa"})  # calls itself as the provider's key does


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with oidc_scene(tmp_path) as found:
        yield found


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with oidc_scene(tmp_path_factory.mktemp("shared")) as found:
        yield found


@pytest.fixture
def forged(shared: Scene) -> Iterator[Scene]:
    """The same server for many tokens, none of which it takes."""
    yield shared
    shared.provider.twist, shared.provider.sign = lambda claims: claims, None


def compact(header: Claims, claims: Claims, key: Any) -> str:
    return jwt.encode(header, claims, key, algorithms=[header["alg"]])


def by_hand(header: Claims, claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    """Makes what no library lends itself to."""
    signed = ".".join(plain(json.dumps(part).encode()) for part in (header, claims))
    return f"{signed}.{plain(sign(signed.encode()))}"


def plain(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unsigned(claims: Claims) -> str:
    return by_hand({"alg": "none", "kid": "rsa"}, claims, lambda _: b"")


def by_public_key(claims: Claims) -> str:
    key = RSA.as_pem(private=False)
    return by_hand({"alg": "HS256", "kid": "rsa"}, claims, lambda text: hmac.digest(key, text, "sha256"))


def changed(claims: Claims) -> str:
    head, _, signature = compact(BY_RSA, claims, RSA).split(".")
    _, body, _ = compact(BY_RSA, claims | {"email": "root@lab.example"}, RSA).split(".")
    return f"{head}.{body}.{signature}"


TWISTS: dict[str, tuple[Callable[[Claims], Claims], str]] = {
    "another issuer": (lambda one: one | {"iss": "https://evil.example"}, "it was made by another provider"),
    "a longer issuer": (lambda one: one | {"iss": one["iss"] + "/"}, "it was made by another provider"),
    "no issuer": (lambda one: without(one, "iss"), "it was made by another provider"),
    "another audience": (lambda one: one | {"aud": "wiki"}, "it was made for another program"),
    "other audiences": (lambda one: one | {"aud": ["wiki", "mail"]}, "it was made for another program"),
    "no audience": (lambda one: without(one, "aud"), "it was made for another program"),
    "several audiences and no party": (lambda one: one | {"aud": [CLIENT, "wiki"]}, "it was made for another program"),
    "another party": (lambda one: one | {"azp": "wiki"}, "it was made for another program"),
    "expired": (lambda one: one | {"exp": one["iat"] - 120}, "it has expired"),
    "no end": (lambda one: without(one, "exp"), "it has expired"),
    "an end that is no number": (lambda one: one | {"exp": "never"}, "it has expired"),
    "an end that is no end": (lambda one: one | {"exp": True}, "it has expired"),
    "of the future": (lambda one: one | {"iat": one["iat"] + 900}, "one in the future"),
    "no time": (lambda one: without(one, "iat"), "it has no time"),
    "not yet": (lambda one: one | {"nbf": one["iat"] + 900}, "it holds later only"),
    "another nonce": (lambda one: one | {"nonce": "x" * 43}, "it belongs to another sign-in"),
    "a list with the nonce": (lambda one: one | {"nonce": [one["nonce"]]}, "it belongs to another sign-in"),
    "no nonce": (lambda one: without(one, "nonce"), "it belongs to another sign-in"),
    "no subject": (lambda one: without(one, "sub"), "it names nobody"),
    "an empty subject": (lambda one: one | {"sub": ""}, "it names nobody"),
    "a subject of lines": (lambda one: one | {"sub": "1001\nroot"}, "it names nobody"),
    "a long subject": (lambda one: one | {"sub": "1" * 256}, "it names nobody"),
    "a number as subject": (lambda one: one | {"sub": 1001}, "it names nobody"),
}
SIGNED: dict[str, tuple[Callable[[Claims], str], str]] = {
    "alg none": (unsigned, "it is signed in a way that is not taken"),
    "HS256 with the public key": (by_public_key, "it is signed in a way that is not taken"),
    "HS256 with our secret": (
        lambda one: compact({"alg": "HS256"}, one, OctKey.import_key(SECRET)),
        "it is signed in a way that is not taken",
    ),
    "another key of the same name": (lambda one: compact(BY_RSA, one, STRANGER), "is not right"),
    "its own key in its header": (
        lambda one: compact(BY_RSA | {"jwk": STRANGER.as_dict(private=False)}, one, STRANGER),
        "is not right",
    ),
    "an unknown key": (lambda one: compact(BY_RSA | {"kid": "new"}, one, STRANGER), "a key that it does not show"),
    "a key of another kind": (lambda one: compact(BY_RSA | {"kid": "ec"}, one, RSA), "a key that it does not show"),
    "changed after it was signed": (changed, "is not right"),
    "no signature": (lambda one: compact(BY_RSA, one, RSA).rpartition(".")[0] + ".", "is not right"),
    "no token": (lambda _: "x", "is not right"),
    "no object": (lambda _: jws.serialize_compact(BY_RSA, b"[1]", RSA), "is not right"),
    "deep": (lambda _: jws.serialize_compact(BY_RSA, b"[" * 60_000, RSA), "is not right"),
}


def without(claims: Claims, name: str) -> Claims:
    return {key: value for key, value in claims.items() if key != name}


def refused(scene: Scene, browser: TestClient, sentence: str) -> None:
    answer = scene.sign_in(browser)
    assert answer.status_code == 403, answer.headers
    assert sentence in answer.text
    assert not inside(browser)
    assert scene.roles() == {}


@pytest.mark.parametrize("name", TWISTS)
def test_an_id_token_with_a_wrong_claim_signs_nobody_in(forged: Scene, name: str) -> None:
    forged.provider.twist, sentence = TWISTS[name]
    refused(forged, forged.browser(f"10.0.8.{list(TWISTS).index(name)}"), sentence)


@pytest.mark.parametrize("name", SIGNED)
def test_an_id_token_with_a_wrong_signature_signs_nobody_in(forged: Scene, name: str) -> None:
    forged.provider.sign, sentence = SIGNED[name]
    refused(forged, forged.browser(f"10.0.9.{list(SIGNED).index(name)}"), sentence)


def test_tokens_signed_as_they_should_be_are_taken(scene: Scene) -> None:
    scene.provider.key, scene.provider.algorithm = EC, "ES256"
    scene.provider.twist = lambda claims: claims | {"aud": [CLIENT, "wiki"], "azp": CLIENT}
    browser = scene.browser()
    assert scene.sign_in(browser).status_code == 303
    assert inside(browser)


def test_a_provider_may_change_its_keys(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    assert scene.sign_in(scene.browser()).status_code == 303
    new = RSAKey.generate_key(2048, {"kid": "new"})
    scene.provider.key, scene.provider.keys = new, [new.as_dict(private=False)]
    answer = scene.sign_in(scene.browser())
    assert (answer.status_code, "Begin again in a minute." in answer.text) == (403, True), "it was asked just now"
    monkeypatch.setattr(discovery, "AGAIN_S", 0.0)
    assert scene.sign_in(scene.browser()).status_code == 303
    scene.provider.key = RSA
    assert scene.sign_in(scene.browser()).status_code == 403, "a key that was taken back signs nobody in"


def test_an_answer_with_another_state_or_none_is_refused_unasked(scene: Scene) -> None:
    browser = scene.browser()
    for state in ("", "&state=", "&state=" + "x" * 43, "&state=%C3%A9"):
        scene.back(browser)
        asked = len(scene.provider.asked)
        answer = browser.get(f"/sign-in/oidc/callback?code=abc{state}")
        assert answer.status_code == 403
        assert "This sign-in was not begun in this browser, or is over. Begin again." in answer.text
        assert len(scene.provider.asked) == asked, "the provider is not even asked"
    assert not inside(browser)


def test_the_answer_to_one_browser_signs_no_other_in(scene: Scene) -> None:
    mallory, victim = scene.browser("10.0.0.6"), scene.browser()
    hers = scene.back(mallory)
    scene.begin(victim)  # has begun one too
    for browser in (victim, scene.browser("10.0.0.7")):
        assert browser.get(place(hers)).status_code == 403, "or somebody works in the account of another"
        assert not inside(browser)


def test_a_stolen_code_is_worth_nothing_with_the_verifier_of_another_sign_in(scene: Scene) -> None:
    stolen = asked_in(scene.back(scene.browser()))["code"]
    mallory = scene.browser("10.0.0.6")
    state = asked_in(scene.begin(mallory))["state"]
    answer = mallory.get("/sign-in/oidc/callback", params={"code": stolen, "state": state})
    assert (answer.status_code, "gave no ID token for the code (400, invalid_grant)" in answer.text) == (403, True)
    assert not inside(mallory)


def test_an_answer_is_good_once(scene: Scene) -> None:
    browser = scene.browser()
    address = scene.back(browser)
    kept = dict(browser.cookies)
    assert browser.get(place(address)).status_code == 303
    assert browser.get(place(address)).status_code == 403, "its cookie is gone"
    thief = scene.browser("10.0.0.6")
    thief.cookies.update(kept)
    answer = thief.get(place(address))
    assert (answer.status_code, "invalid_grant" in answer.text) == (403, True)
    assert not inside(thief)


def test_what_is_asked_for_cannot_be_guessed_and_is_new_each_time(scene: Scene) -> None:
    seen: set[str] = set()
    for _ in range(3):
        asked = asked_in(scene.begin(scene.browser()))
        assert asked["code_challenge_method"] == "S256"
        assert asked["response_type"] == "code"
        seen |= {asked["state"], asked["nonce"], asked["code_challenge"]}
    assert len(seen) == 9
    assert {len(one) for one in seen} == {43}


def test_the_answer_of_another_provider_is_refused(scene: Scene) -> None:
    scene.provider.metadata = {"authorization_response_iss_parameter_supported": True}
    browser = scene.browser()
    assert "is of another provider" in scene.sign_in(browser).text, "it should have named itself"
    scene.provider.more = {"iss": "https://evil.example"}
    assert "is of another provider" in scene.sign_in(browser).text
    assert scene.provider.codes != {}, "and gets no code"
    scene.provider.more = {"iss": scene.provider.issuer}
    assert scene.sign_in(browser).status_code == 303


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ({"issuer": "https://evil.example"}, "has to be exactly that"),
        ({"token_endpoint": "ftp://127.0.0.1/token"}, "names no http address as its token_endpoint"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "names no http address as its authorization_endpoint"),
        ({"jwks_uri": None}, "names no http address as its jwks_uri"),
    ],
)
def test_a_provider_that_says_strange_things_of_itself_is_not_followed(
    scene: Scene, metadata: Claims, sentence: str
) -> None:
    scene.provider.metadata = metadata
    answer = scene.browser().get("/sign-in/oidc")
    assert (answer.status_code, sentence in answer.text) == (503, True)


@pytest.mark.parametrize("host", ["a..b", ".", "a" * 70])
def test_keys_at_a_host_that_cannot_be_are_no_fault_of_who_signs_in(scene: Scene, host: str) -> None:
    scene.provider.metadata = {"jwks_uri": f"http://{host}/keys"}
    answer = scene.sign_in(scene.browser())
    assert (answer.status_code, "cannot be reached" in answer.text) == (503, True)


def test_foreign_text_is_not_repeated(scene: Scene) -> None:
    browser = scene.browser()
    state = asked_in(scene.begin(browser))["state"]
    answer = browser.get(
        "/sign-in/oidc/callback",
        params={"error": "call 555 to unlock", "error_description": "<b>call 555</b>", "state": state},
    )
    assert answer.status_code == 403
    assert "555" not in answer.text


def test_many_answers_that_go_wrong_are_slowed_down_and_nobody_else_is(scene: Scene) -> None:
    scene.provider.twist = lambda claims: claims | {"aud": "wiki"}
    browser = scene.browser()
    assert {scene.sign_in(browser).status_code for _ in range(GUESSES)} == {403}
    asked = len(scene.provider.asked)
    answer = browser.get("/sign-in/oidc/callback?code=x&state=y")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert len(scene.provider.asked) == asked
    scene.provider.twist = lambda claims: claims
    assert scene.sign_in(scene.browser("10.0.0.2")).status_code == 303


def test_a_page_of_another_site_that_sends_browsers_here_locks_nobody_out(scene: Scene) -> None:
    browser = scene.browser()
    address = scene.back(browser)
    stranger = scene.browser()
    for number in range(2 * GUESSES):
        assert stranger.get(f"/sign-in/oidc/callback?code=x&state={number}").status_code == 403
    assert browser.get(place(address)).status_code == 303


def test_strange_cookies_and_answers_fail_nothing(scene: Scene) -> None:
    for index, cookie in enumerate(("", "x", ".".join(["a" * 43] * 3), ".".join(["a" * 43] * 4), "%", "a" * 4_000)):
        browser = scene.browser(f"10.0.1.{index}")
        browser.cookies.set("gradwatch_oidc", cookie)
        for query in (
            "",
            "code=x&state=" + "a" * 43,
            "code=&state=" + "a" * 43,
            "code=" + "x" * 9_000,
            "code[]=1",
            "error=",
        ):
            assert browser.get(f"/sign-in/oidc/callback?{query}").status_code in (403, 503)


def test_without_a_provider_there_is_nothing_at_these_addresses(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        for path in ("/sign-in/oidc", "/sign-in/oidc/callback?code=x"):
            answer = home.client.get(path)
            assert (answer.status_code, "GRADWATCH_OIDC_ISSUER names one" in answer.text) == (404, True)


def test_the_provider_of_these_tests_is_as_strict_as_a_real_one(scene: Scene) -> None:
    address = scene.begin(scene.browser())
    for old, new in (("S256", "plain"), (CLIENT, "wiki"), ("8777", "8778")):
        with pytest.raises(AssertionError, match="invalid_request"):
            answer_of(address.replace(old, new), next(iter(PEOPLE)))
