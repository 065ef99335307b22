"""What a provider says of itself: where to ask, and the keys that it signs with. Both are kept for an hour.

A key that is not known is looked for once more, at most every half a minute: that is how a provider changes its keys.
Not for: checking what was signed (id_tokens).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OKPKey, RSAKey

from server.accounts.oidc.errors import NotAdmitted, ProviderAway
from server.accounts.oidc.http import Http, Json

FRESH_S = 3_600.0
AGAIN_S = 30.0  # between two looks for a key that is not known
SILENT_S = 5.0  # for so long after a failure nobody asks again
LEAST_RSA_BITS = 2_048
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA")

UNKNOWN_KEY = "The provider's ID token is signed with a key that it does not show. Begin again in a minute."
log = logging.getLogger(__name__)

PublicKey = RSAKey | ECKey | OKPKey


@dataclass(frozen=True)
class Metadata:
    """The addresses of a provider, and how it wants to be asked."""

    authorization: str
    token: str
    keys: str
    userinfo: str = ""
    sign_out: str = ""
    signatures: tuple[str, ...] = SIGNATURES
    secret_in_form: bool = False
    names_itself: bool = False  # an answer without `iss` is none of its own


@dataclass(frozen=True)
class _Key:
    kid: str | None
    algorithm: str | None
    key: PublicKey

    def fits(self, kid: str | None, algorithm: str) -> bool:
        kinds: dict[str, type[PublicKey]] = {"R": RSAKey, "P": RSAKey, "E": ECKey}
        kind = OKPKey if algorithm.startswith("Ed") else kinds[algorithm[0]]
        named = kid is None or kid == self.kid
        return named and self.algorithm in (None, algorithm) and isinstance(self.key, kind)


class Discovery:
    """Reads metadata and keys of the provider with this issuer."""

    def __init__(self, issuer: str, http: Http, now: Callable[[], float] = time.monotonic) -> None:
        self._issuer = issuer
        self._http = http
        self._now = now
        self._lock = threading.Lock()
        self._metadata: tuple[Metadata, float] | None = None
        self._keys: tuple[Sequence[_Key], float] = ((), -FRESH_S)
        self._failed: tuple[str, float] = ("", -SILENT_S)

    def metadata(self) -> Metadata:
        """Gives what the provider says of itself; raises ProviderAway."""
        with self._lock:
            return self._known_metadata()

    def key(self, kid: str | None, algorithm: str) -> PublicKey:
        """Gives the key of a signature; raises NotAdmitted where the provider has none such."""
        with self._lock:
            now = self._now()
            if now - self._keys[1] >= FRESH_S:
                self._read_keys()
            found = self._found(kid, algorithm)
            if not found and self._now() - self._keys[1] >= AGAIN_S:
                self._read_keys()
                found = self._found(kid, algorithm)
        if len(found) != 1:
            raise NotAdmitted(UNKNOWN_KEY)
        return found[0].key

    def _found(self, kid: str | None, algorithm: str) -> list[_Key]:
        return [one for one in self._keys[0] if one.fits(kid, algorithm)]

    def _known_metadata(self) -> Metadata:
        now = self._now()
        if self._metadata is not None and now - self._metadata[1] < FRESH_S:
            return self._metadata[0]
        try:
            found = _metadata(self._get(self._issuer.rstrip("/") + "/.well-known/openid-configuration"), self._issuer)
        except ProviderAway:
            if self._metadata is None:
                raise
            return self._metadata[0]  # addresses change seldom
        self._metadata = found, self._now()
        return found

    def _read_keys(self) -> None:
        listed = self._get(self._known_metadata().keys).get("keys")
        self._keys = _public(listed if isinstance(listed, list) else ()), self._now()

    def _get(self, address: str) -> Json:
        sentence, at = self._failed
        if self._now() - at < SILENT_S:
            raise ProviderAway(sentence)
        try:
            return self._http.get(address)
        except ProviderAway as error:
            self._failed = str(error), self._now()
            log.warning("Nobody can sign in with OpenID Connect: %s", error)
            raise


def _metadata(found: Json, issuer: str) -> Metadata:
    if found.get("issuer") != issuer:
        named = found.get("issuer")
        said = repr(named[:200]) if isinstance(named, str) else "nothing"
        raise ProviderAway(
            f"The provider at {issuer} calls itself {said}; GRADWATCH_OIDC_ISSUER has to be exactly that."
        )
    here = urlsplit(issuer).scheme
    addresses = {}
    for name, needed in (
        ("authorization_endpoint", True),
        ("token_endpoint", True),
        ("jwks_uri", True),
        ("userinfo_endpoint", False),
        ("end_session_endpoint", False),
    ):
        address = found.get(name) or ""
        if not _is_address(address, here) and (needed or address):
            raise ProviderAway(f"The provider at {issuer} names no {here} address as its {name}.")
        addresses[name] = address
    ways = found.get("token_endpoint_auth_methods_supported")
    signs = found.get("id_token_signing_alg_values_supported")
    return Metadata(
        authorization=addresses["authorization_endpoint"],
        token=addresses["token_endpoint"],
        keys=addresses["jwks_uri"],
        userinfo=addresses["userinfo_endpoint"],
        sign_out=addresses["end_session_endpoint"],
        signatures=tuple(one for one in SIGNATURES if one in signs) if isinstance(signs, list) else SIGNATURES,
        secret_in_form=isinstance(ways, list) and "client_secret_basic" not in ways and "client_secret_post" in ways,
        names_itself=found.get("authorization_response_iss_parameter_supported") is True,
    )


def _is_address(text: Any, scheme: str) -> bool:
    """Whether it is an address as safe as the issuer's own."""
    if not isinstance(text, str) or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in (scheme, "https") and bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        return False


def _public(listed: Sequence[Any]) -> Sequence[_Key]:
    """Reads the keys that signatures can be checked with; what cannot be read is left out, as RFC 7517 has it."""
    keys = []
    for one in listed:
        if not isinstance(one, dict) or one.get("use") not in (None, "sig") or _is_weak(one):
            continue
        try:
            key = JWKRegistry.import_key(
                {name: one[name] for name in ("kty", "n", "e", "crv", "x", "y") if name in one}
            )
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            keys.append(_Key(one.get("kid"), one.get("alg"), key))
    return keys


def _is_weak(key: dict[str, Any]) -> bool:
    """Whether the modulus of RSA, six bits a letter, is shorter than anybody should take."""
    return key.get("kty") == "RSA" and 6 * len(str(key.get("n", ""))) < LEAST_RSA_BITS
