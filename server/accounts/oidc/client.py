"""The flow: where a browser is sent to sign in, and who has come when the provider sends it back."""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote_plus, urlencode

from server.accounts.oidc import claims, id_tokens
from server.accounts.oidc.attempts import Attempt
from server.accounts.oidc.discovery import Discovery, Metadata
from server.accounts.oidc.errors import NotAdmitted, NotBegun, ProviderAway
from server.accounts.oidc.http import Http
from server.domain.accounts import Arrival
from server.domain.providers import E_MAIL, Provider

CALLBACK = "/sign-in/oidc/callback"
LONGEST_CODE = 4_096
ANOTHER_BROWSER = "This sign-in was not begun in this browser, or is over. Begin again."


class OpenId:
    """Signs people in at a provider, for a server at `public_address`, where it sends them back to."""

    def __init__(
        self,
        provider: Provider,
        public_address: str,
        http: Http | None = None,
        now: Callable[[], float] = time.monotonic,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.provider = provider
        self.public_address = public_address
        self._http = http or Http()
        self._discovery = Discovery(provider.issuer, self._http, now)
        self._now_s = now_s

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to: of the settings, never of a request."""
        return self.public_address + CALLBACK

    def close(self) -> None:
        """Ends the connections to the provider."""
        self._http.close()

    def address_of(self, attempt: Attempt) -> str:
        """Gives the provider's address for a sign-in that begins; raises ProviderAway."""
        asked = {
            "response_type": "code",
            "client_id": self.provider.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(self.provider.scopes),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        return _with_query(self._discovery.metadata().authorization, asked)

    def address_to_sign_out(self) -> str:
        """Gives the provider's address for ending its own session, "" where it has none; raises ProviderAway."""
        address = self._discovery.metadata().sign_out
        return _with_query(address, {"client_id": self.provider.client_id}) if address else ""

    def arrived(self, attempt: Attempt | None, answer: Mapping[str, str]) -> Arrival:
        """Gives who has come with this answer of the provider; raises NotAdmitted or ProviderAway."""
        if attempt is None or not hmac.compare_digest(attempt.state.encode(), answer.get("state", "").encode()):
            raise NotBegun(ANOTHER_BROWSER)
        metadata = self._discovery.metadata()
        named = answer.get("iss")
        if (named is None and metadata.names_itself) or named not in (None, self.provider.issuer):
            raise NotAdmitted("The answer is of another provider than this sign-in was begun at. Begin again.")
        if "error" in answer:
            raise NotAdmitted(f"{self.provider.host} did not sign you in ({_word(answer['error'])}). Begin again.")
        code = answer.get("code", "")
        if not 0 < len(code) <= LONGEST_CODE:
            raise NotAdmitted(f"The answer of {self.provider.host} has no code. Begin again.")
        found = self._tokens(metadata, code, attempt)
        told = id_tokens.checked(
            found["id_token"],
            self._discovery,
            self.provider.issuer,
            self.provider.client_id,
            attempt.nonce,
            self._now_s,
        )
        return claims.arrival(self.provider, self._completed(metadata, told, found.get("access_token")))

    def _tokens(self, metadata: Metadata, code: str, attempt: Attempt) -> dict[str, Any]:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        client, secret, authorization = self.provider.client_id, self.provider.secret, ""
        if secret and not metadata.secret_in_form:
            pair = f"{quote_plus(client)}:{quote_plus(secret)}"
            authorization = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            fields |= {"client_id": client} | ({"client_secret": secret} if secret else {})
        status, found = self._http.post(metadata.token, fields, authorization)
        if status >= 500:
            raise ProviderAway(f"{self.provider.host} answered {status} where it should have given a token.")
        if status != 200 or not isinstance(found.get("id_token"), str):
            why = _word(found.get("error"))
            more = " The client id or its secret is wrong: an admin can mend that." if why == "invalid_client" else ""
            raise NotAdmitted(
                f"{self.provider.host} gave no ID token for the code ({status}, {why}).{more} Begin again."
            )
        return found

    def _completed(self, metadata: Metadata, told: dict[str, Any], access_token: Any) -> dict[str, Any]:
        """Adds what many providers tell at their userinfo address alone; what the ID token says goes first."""
        missing = claims.needed(self.provider) - told.keys()
        if not missing or not metadata.userinfo or not isinstance(access_token, str) or not access_token.isascii():
            return told
        more = self._http.get(metadata.userinfo, access_token)
        if more.get("sub") != told["sub"]:
            raise NotAdmitted("The provider tells of another person than its ID token. Begin again.")
        if told.get(E_MAIL, more.get(E_MAIL)) != more.get(E_MAIL):
            more.pop(claims.VERIFIED, None)  # that is said of another address
        return {**more, **told}


def _with_query(address: str, asked: Mapping[str, str]) -> str:
    return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"


def _word(said: Any) -> str:
    """Gives an error code of OAuth; anything else is foreign text, which is not repeated."""
    return said if isinstance(said, str) and re.fullmatch(r"[a-z_]{1,40}", said) else "no reason given"
