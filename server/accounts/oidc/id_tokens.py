"""Checks an ID token: who signed it, how, for whom, for which sign-in, and until when.

Not for: whether the person may come in (claims).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, JoseError

from server.accounts.oidc.discovery import Discovery
from server.accounts.oidc.errors import NotAdmitted

LEEWAY_S = 60
LONGEST_SUBJECT = 255

_WHY = {
    "iss": "it was made by another provider",
    "aud": "it was made for another program",
    "azp": "it was made for another program",
    "exp": "it has expired, or the clocks differ",
    "iat": "it has no time, or one in the future: the clocks differ",
    "nbf": "it holds later only: the clocks differ",
    "nonce": "it belongs to another sign-in",
    "sub": "it names nobody",
}
NOT_TAKEN = "The provider's ID token is not taken:"
UNREADABLE = "its signature is not right"


def checked(
    token: str, discovery: Discovery, issuer: str, client_id: str, nonce: str, now_s: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Gives the claims of a token that is for this sign-in; raises NotAdmitted."""
    claims = _signed(token, discovery)
    registry = jwt.JWTClaimsRegistry(
        now=int(now_s()),
        leeway=LEEWAY_S,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": client_id},
        exp={"essential": True},
        iat={"essential": True},
        sub={"essential": True},
    )
    try:
        registry.validate(claims)
    except ClaimError as error:
        raise _refusal(error.claim.partition(",")[0]) from None
    audience, party = claims["aud"], claims.get("azp")
    if party != client_id and (party is not None or (isinstance(audience, list) and len(audience) > 1)):
        raise _refusal("azp")
    if claims.get("nonce") != nonce:
        raise _refusal("nonce")
    if len(claims["sub"]) > LONGEST_SUBJECT or not claims["sub"].isprintable():
        raise _refusal("sub")
    return claims


def _signed(token: str, discovery: Discovery) -> dict[str, Any]:
    signatures = discovery.metadata().signatures
    try:
        header = jws.extract_compact(token.encode()).headers()
        algorithm, kid = header.get("alg"), header.get("kid")
        # never what the token says alone: "none", and HS256 with a key that everybody knows, are what forgers say
        if algorithm not in signatures:
            raise NotAdmitted(f"{NOT_TAKEN} it is signed in a way that is not taken")
        key = discovery.key(kid if isinstance(kid, str) else None, str(algorithm))
        registry = jws.JWSRegistry(algorithms=[str(algorithm)], strict_check_header=False)
        return jwt.decode(token, key, registry=registry).claims
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise NotAdmitted(f"{NOT_TAKEN} {UNREADABLE}") from None


def _refusal(claim: str) -> NotAdmitted:
    return NotAdmitted(f"{NOT_TAKEN} {_WHY.get(claim, 'a claim of it is not right')}")
