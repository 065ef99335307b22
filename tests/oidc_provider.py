"""A small OpenID Connect provider with real keys, for the tests: in a thread, where they twist what it answers, or, as
`python -m tests.oidc_provider PORT REDIRECT_URI`, a process of its own.

It keeps to the rules that protect a client: a code is given once, for one redirect address, and for one verifier.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT, SECRET = "gradwatch", "a secret + of the client: 7f3a"
RSA, EC = RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "ec"})
PEOPLE: dict[str, dict[str, Any]] = {
    "ada": {"sub": "1001", "email": "ada@lab.example", "email_verified": True, "groups": ["ml-leads", "lab"]},
    "eve": {"sub": "1002", "email": "Eve@lab.example", "email_verified": True, "groups": ["lab"]},
    "new": {"sub": "1003", "email": "new@lab.example", "email_verified": False, "groups": []},
    "out": {"sub": "1004", "email": "out@elsewhere.example", "email_verified": True, "groups": ["lab"]},
}
Twist = Callable[[dict[str, Any]], Any]


class Provider(ThreadingHTTPServer):
    """What it is asked, and what it answers; a test may change each of these."""

    daemon_threads = True

    def __init__(self, port: int = 0, redirect_uri: str = "") -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.issuer = f"http://127.0.0.1:{self.server_address[1]}/realms/lab"
        self.redirect_uri = redirect_uri
        self.people = {name: dict(claims) for name, claims in PEOPLE.items()}
        self.key: RSAKey | ECKey = RSA
        self.algorithm = "RS256"
        self.keys: list[dict[str, Any]] = [RSA.as_dict(private=False), EC.as_dict(private=False)]
        self.metadata: dict[str, Any] = {}
        self.twist: Twist = lambda claims: claims
        self.sign: Twist | None = None
        self.thin = False  # tells of a person at userinfo alone
        self.more: dict[str, str] = {}  # in the address that leads back
        self.down = False
        self.asked: list[str] = []
        self.codes: dict[str, tuple[dict[str, str], str]] = {}
        self.access: dict[str, str] = {}

    def signed(self, claims: dict[str, Any]) -> str:
        """Gives an ID token."""
        if self.sign is not None:
            return str(self.sign(claims))
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key)


class Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    server: Provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append(parts.path)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        place = parts.path.removeprefix("/realms/lab")
        if self.server.down:
            self._answer(500, {})
        elif place == "/.well-known/openid-configuration":
            issuer = self.server.issuer
            told = {"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "jwks_uri": issuer + "/keys",
                    "token_endpoint": issuer + "/token", "userinfo_endpoint": issuer + "/userinfo",
                    "end_session_endpoint": issuer + "/end",
                    "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256", "none"]}  # fmt: skip
            self._answer(200, told | self.server.metadata)
        elif place == "/keys":
            self._answer(200, {"keys": self.server.keys})
        elif place == "/authorize":
            self._authorize(asked)
        elif place == "/end":
            right = asked.get("client_id") == CLIENT
            page = b'<!doctype html><link rel="icon" href="data:,"><title>Lab</title><h1>Signed out</h1>'
            self._send(200 if right else 400, "text/html", page)
        elif place == "/userinfo":
            login = self.server.access.get(self.headers.get("Authorization", "").removeprefix("Bearer "))
            self._answer(200 if login else 401, self.server.people.get(login or "", {}))
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        self.server.asked.append(urlsplit(self.path).path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        fields = {name: values[0] for name, values in parse_qs(body).items()}
        if self.server.down or not self.path.endswith("/token"):
            self._answer(500, {})
        elif not self._is_client():
            self._answer(401, {"error": "invalid_client"})
        else:
            self._token(fields)

    def _authorize(self, asked: dict[str, str]) -> None:
        right = {"client_id": CLIENT, "response_type": "code", "code_challenge_method": "S256"}
        wrong = [name for name, value in right.items() if asked.get(name) != value]
        wrong += [name for name in ("state", "nonce", "code_challenge") if len(asked.get(name, "")) < 43]
        if wrong or asked.get("redirect_uri") != self.server.redirect_uri or "openid" not in asked["scope"].split():
            self._answer(400, {"error": "invalid_request", "wrong": wrong})
            return
        login = asked.get("login")
        if login is None:
            links = (f'<a href="?{escape(urlencode({**asked, "login": name}))}">{name}</a>' for name in PEOPLE)
            head = '<!doctype html><link rel="icon" href="data:,"><title>Lab</title><h1>Who are you?</h1>'
            page = head + " ".join(links)
            self._send(200, "text/html", page.encode())
            return
        back = {"state": asked["state"], **self.server.more}
        if login in self.server.people:
            code = back["code"] = secrets.token_urlsafe()
            self.server.codes[code] = asked, login
        else:
            back["error"] = "access_denied"
        self.send_response(302)
        self.send_header("Location", f"{asked['redirect_uri']}?{urlencode(back)}")
        self.end_headers()

    def _token(self, fields: dict[str, str]) -> None:
        asked, login = self.server.codes.pop(fields.get("code", ""), ({}, ""))
        hashed = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(hashed).rstrip(b"=").decode()
        right = asked.get("code_challenge") == challenge and asked.get("redirect_uri") == fields.get("redirect_uri")
        if not right or fields.get("grant_type") != "authorization_code":
            self._answer(400, {"error": "invalid_grant"})
            return
        now = int(time.time())
        person = self.server.people[login]
        claims = {"iss": self.server.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= {"sub": person["sub"]} if self.server.thin else person
        access = secrets.token_urlsafe()
        self.server.access[access] = login
        token = self.server.signed(self.server.twist(claims))
        self._answer(200, {"access_token": access, "token_type": "Bearer", "id_token": token})

    def _is_client(self) -> bool:
        kind, _, pair = self.headers.get("Authorization", "").partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":") if kind == "Basic" else ("", "", "")
        return (unquote_plus(name), unquote_plus(secret)) == (CLIENT, SECRET)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(content).encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def provider(redirect_uri: str) -> Iterator[Provider]:
    """Runs one in a thread."""
    made = Provider(redirect_uri=redirect_uri)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


if __name__ == "__main__":
    alone = Provider(int(sys.argv[1]), sys.argv[2])
    print(alone.issuer, flush=True)
    alone.serve_forever()
