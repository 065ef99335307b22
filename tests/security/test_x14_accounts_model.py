"""X14: people and tokens come, change and go in any order, at two servers on one database: whoever asks gets what the
model says, at either. Runs belong to all who are known; there are no tenants to keep apart.
"""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_address
from itertools import count as numbers
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from starlette.testclient import TestClient

from server.accounts.book import Accounts
from server.app import create_app
from server.live import Live
from tests.counts import count
from tests.security.people_kit import OTHER, PASSWORD, sign_in
from tests.server.empty import rules
from tests.server.house import ADDRESS, RUN, house

NAMES, ROLES, SCOPES = ("bob", "eve", "vic"), ("viewer", "editor", "admin"), ("ingest", "read", "write", "admin")
ASKED = (
    ("GET", "/api/v1/runs", None),
    ("PATCH", f"/api/v1/runs/{RUN}", {"name": "night"}),
    ("GET", "/api/v1/alerts/channels", None),
)
NOTHING = (401, 401, 401)
PERSON = {"viewer": (200, 403, 403), "editor": (200, 200, 403), "admin": (200, 200, 200)}
TOKEN = {"ingest": (403, 403, 403), "read": (200, 403, 403), "write": (200, 200, 403), "admin": (200, 200, 200)}

names, passwords_ = st.sampled_from(NAMES), st.sampled_from((PASSWORD, OTHER))


@pytest.mark.usefixtures("quick")
def test_x14_everybody_may_do_what_the_model_says_and_nothing_else(tmp_path_factory: pytest.TempPathFactory) -> None:
    Machine.folders = tmp_path_factory
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=count(4, 200), stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class Machine(RuleBasedStateMachine):
    """The model: who is known with which role and password, which sessions are open and which tokens hold."""

    folders: ClassVar[pytest.TempPathFactory]

    @initialize()
    def begin(self) -> None:
        self.open = ExitStack()
        home = self.open.enter_context(house(Path(self.folders.mktemp("x14"))))
        home.open_run()
        self.accounts = Accounts(home.store)
        self.accounts.add_person("ada", "admin", PASSWORD, who="the test")  # the last one cannot go
        settings_ = home.app.state.services.settings
        second = create_app(settings_, home.store, Live(), registry=rules(), diagnose=False, clock=home.clock)
        self.apps = (home.app, second)
        self.addresses, self.turns = numbers(1), numbers()
        self.people: dict[str, tuple[str, str]] = {}
        self.sessions: dict[str, str] = {}  # what a browser sends → whose it is, "" once it has ended
        self.tokens: dict[str, tuple[str, str]] = {}  # name → what is sent, scope; "" once it is revoked
        for name, role in zip(NAMES, ROLES, strict=True):
            self.add(name, role, PASSWORD)
            self.come(name, PASSWORD, 0)
        self.make_token("write", "one")

    def teardown(self) -> None:
        if hasattr(self, "open"):
            self.open.close()

    @rule(name=names, role=st.sampled_from(ROLES), password=passwords_)
    def add(self, name: str, role: str, password: str) -> None:
        if name not in self.people:
            self.accounts.add_person(name, role, password, who="ada")
            self.people[name] = (role, password)

    @rule(name=names, role=st.sampled_from(ROLES))
    def change_role(self, name: str, role: str) -> None:
        if name in self.people and self.people[name][0] != role:
            self.accounts.set_role(name, role, who="ada")
            self.people[name] = (role, self.people[name][1])
            self._ended(name)

    @rule(name=names, password=passwords_)
    def change_password(self, name: str, password: str) -> None:
        if name in self.people:
            self.accounts.set_password(name, password, who="ada")
            self.people[name] = (self.people[name][0], password)
            self._ended(name)

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name in self.people:
            self.accounts.remove_person(name, who="ada")
            del self.people[name]
            self._ended(name)

    @rule(name=names, password=passwords_, which=st.integers(0, 1))
    def come(self, name: str, password: str, which: int) -> None:
        client = self._client(which)
        right = self.people.get(name, ("", ""))[1] == password
        if right:
            assert sign_in(client, name, password).status_code == 303
            self.sessions["; ".join(f"{key}={value}" for key, value in client.cookies.items())] = name
        else:
            assert self.accounts.sign_in(name, password) is None

    @precondition(lambda self: self.sessions)
    @rule(data=st.data(), which=st.integers(0, 1))
    def go(self, data: st.DataObject, which: int) -> None:
        cookie = data.draw(st.sampled_from(list(self.sessions)))
        self._client(which, Cookie=cookie).post("/sign-out")
        self.sessions[cookie] = ""

    @rule(scope=st.sampled_from(SCOPES), name=st.sampled_from(("one", "two")))
    def make_token(self, scope: str, name: str) -> None:
        if not self.tokens.get(name, ("", ""))[1]:
            self.tokens[name] = (self.accounts.add_token(name, scope, None, who="ada"), scope)

    @rule(name=st.sampled_from(("one", "two")))
    def revoke(self, name: str) -> None:
        if self.tokens.get(name, ("", ""))[1]:
            self.accounts.revoke_token(name, who="ada")
            self.tokens[name] = (self.tokens[name][0], "")

    @invariant()
    def everybody_gets_what_the_model_says(self) -> None:
        if not hasattr(self, "apps"):
            return
        for cookie, name in self.sessions.items():
            assert self._answers(Cookie=cookie) == (PERSON[self.people[name][0]] if name else NOTHING)
        for text, scope in self.tokens.values():
            assert self._answers(Authorization=f"Bearer {text}") == (TOKEN[scope] if scope else NOTHING)

    def _ended(self, name: str) -> None:
        self.sessions = {cookie: "" if whose == name else whose for cookie, whose in self.sessions.items()}

    def _client(self, which: int, **headers: str) -> TestClient:
        address = (
            str(ip_address("10.0.0.0") + next(self.addresses)),
            1,
        )  # guesses at one address are no guesses at another
        app = self.apps[which]
        return TestClient(app, base_url=ADDRESS, headers=headers, follow_redirects=False, client=address)

    def _answers(self, **headers: str) -> tuple[int, ...]:
        """Asks each thing of one of the two servers, in turn."""
        asked = [(self._client(next(self.turns) % 2, **headers), *question) for question in ASKED]
        return tuple(client.request(method, path, json=body).status_code for client, method, path, body in asked)
