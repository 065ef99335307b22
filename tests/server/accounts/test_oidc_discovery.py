"""What a provider says of itself: kept, asked again where its keys changed, and not asked again and again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from server.accounts.oidc.discovery import AGAIN_S, FRESH_S, SILENT_S, Discovery
from server.accounts.oidc.errors import NotAdmitted, ProviderAway
from server.accounts.oidc.http import MOST_BYTES, Http
from tests.oidc_provider import EC, RSA, Provider, provider

NEW = RSAKey.generate_key(2048, {"kid": "new"})
KEYS = "/realms/lab/keys"
METADATA = "/realms/lab/.well-known/openid-configuration"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def lab() -> Iterator[Provider]:
    with provider("http://127.0.0.1:8777/sign-in/oidc/callback") as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def discovery(lab: Provider, clock: Clock) -> Iterator[Discovery]:
    http = Http()
    yield Discovery(lab.issuer, http, clock)
    http.close()


def public(*keys: Any, **more: Any) -> list[dict[str, Any]]:
    return [key.as_dict(private=False) | more for key in keys]


def test_it_is_asked_once_an_hour(lab: Provider, clock: Clock, discovery: Discovery) -> None:
    for _ in range(5):
        assert discovery.metadata().token == lab.issuer + "/token"
        assert discovery.key("rsa", "RS256").kid != ""
    assert lab.asked == [METADATA, KEYS]
    clock.now += FRESH_S + 1
    discovery.metadata()
    discovery.key("ec", "ES256")
    assert lab.asked == [METADATA, KEYS] * 2


def test_a_new_key_is_found_at_once_and_an_old_one_is_gone(lab: Provider, clock: Clock, discovery: Discovery) -> None:
    discovery.key("rsa", "RS256")
    clock.now += AGAIN_S + 1
    lab.keys = public(NEW)
    assert discovery.key("new", "RS256").as_dict(private=False)["n"] == NEW.as_dict(private=False)["n"]
    with pytest.raises(NotAdmitted):
        discovery.key("rsa", "RS256")


def test_keys_that_nobody_knows_do_not_make_it_ask_again_and_again(
    lab: Provider, clock: Clock, discovery: Discovery
) -> None:
    for number in range(20):
        clock.now += 1
        with pytest.raises(NotAdmitted, match="with a key that it does not show"):
            discovery.key(f"made up {number}", "RS256")
    assert lab.asked.count(KEYS) == 1
    clock.now += AGAIN_S
    with pytest.raises(NotAdmitted):
        discovery.key("made up", "RS256")
    assert lab.asked.count(KEYS) == 2


def test_a_token_that_names_no_key_is_checked_with_the_only_one_that_fits(lab: Provider, discovery: Discovery) -> None:
    lab.keys = public(RSA, EC)
    assert discovery.key(None, "ES256").as_dict(private=False)["crv"] == "P-256"
    lab.keys = public(RSA, NEW)
    with pytest.raises(NotAdmitted):
        Discovery(lab.issuer, Http()).key(None, "RS256")


@pytest.mark.parametrize(
    "keys",
    [
        public(RSA, use="enc"),
        public(RSA, alg="RS512"),
        [{"kty": "RSA", "kid": "rsa", "n": "q" * 171, "e": "AQAB"}],  # 1024 bits
        [OctKey.import_key("x" * 32, {"kid": "rsa"}).as_dict(private=True)],
        [{"kty": "RSA", "kid": "rsa", "n": "!", "e": "AQAB"}, {"kty": "LWE", "kid": "rsa"}, "rsa", None, {}],
        "none",
        None,
    ],
)  # fmt: skip
def test_keys_that_are_not_for_this_are_left_out(lab: Provider, discovery: Discovery, keys: Any) -> None:
    lab.keys = keys
    with pytest.raises(NotAdmitted):
        discovery.key("rsa", "RS256")
    if isinstance(keys, list):
        lab.keys = [*keys, *public(EC)]
        assert Discovery(lab.issuer, Http()).key("ec", "ES256")


def test_a_provider_that_is_away_is_asked_again_after_a_moment_only(
    lab: Provider, clock: Clock, discovery: Discovery
) -> None:
    lab.down = True
    for _ in range(5):
        with pytest.raises(ProviderAway, match="openid-configuration answered 500 and not 200"):
            discovery.metadata()
    assert len(lab.asked) == 1
    lab.down = False
    clock.now += SILENT_S + 0.1
    assert discovery.metadata().keys == lab.issuer + "/keys"


def test_what_it_said_before_holds_on_while_it_is_away(lab: Provider, clock: Clock, discovery: Discovery) -> None:
    told = discovery.metadata()
    lab.down = True
    clock.now += FRESH_S + 1
    assert discovery.metadata() == told


def test_the_answers_are_read_up_to_a_limit(lab: Provider, discovery: Discovery) -> None:
    lab.metadata = {"more": "x" * MOST_BYTES}
    with pytest.raises(ProviderAway, match="answered too much, or too slowly"):
        discovery.metadata()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/", "http://nowhere.invalid/", "http://[::1]:9/x"])
def test_who_cannot_be_reached_is_named_without_a_stack_trace(address: str) -> None:
    with pytest.raises(ProviderAway, match=r"The provider's address .* cannot be reached \(ConnectError\)"):
        Http().get(address)


def test_it_is_not_led_elsewhere(lab: Provider) -> None:
    lab.redirect_uri = "http://127.0.0.1:1/"
    asked = "client_id=gradwatch&response_type=code&code_challenge_method=S256&scope=openid&login=ada"
    long = "x" * 43
    address = f"{lab.issuer}/authorize?{asked}&state={long}&nonce={long}&code_challenge={long}"
    with pytest.raises(ProviderAway, match="with what is no JSON object"):
        Http().get(address + "&redirect_uri=http://127.0.0.1:1/")
