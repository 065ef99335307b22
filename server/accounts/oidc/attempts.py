"""A sign-in that has begun: what its browser keeps in a cookie until the provider sends it back.

Not for: the cookie itself (server.web.oidc).
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

LONGEST_TARGET = 1_500  # a cookie has 4 KiB

_PACKED = re.compile(r"([\w-]{43})\.([\w-]{43})\.([\w-]{43})\.([\w.~%-]{1,4096})", re.ASCII)


def _random() -> str:
    return secrets.token_urlsafe(32)


@dataclass(frozen=True)
class Attempt:
    """`state` ties the answer to this browser, `nonce` the ID token, `verifier` the code; then on to `target`."""

    target: str = "/"
    state: str = field(default_factory=_random, repr=False)
    nonce: str = field(default_factory=_random, repr=False)
    verifier: str = field(default_factory=_random, repr=False)

    @property
    def challenge(self) -> str:
        """What the provider is told of the verifier (S256)."""
        hashed = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()

    def packed(self) -> str:
        """Gives the text of the cookie."""
        target = quote(self.target, safe="")
        return ".".join((self.state, self.nonce, self.verifier, target if len(target) <= LONGEST_TARGET else "%2F"))

    @classmethod
    def unpacked(cls, text: str) -> Attempt | None:
        """Reads the text of a cookie; None where it is none of ours."""
        found = _PACKED.fullmatch(text)
        return None if found is None else cls(unquote(found[4]), found[1], found[2], found[3])
