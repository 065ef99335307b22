"""X14: projects are tenants. Runs come, move, are deleted and come back; people and tokens get and lose projects, in
any order: what each of them lists, counts, completes, opens, changes and hears is what the model says, step by step.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count as numbers
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from starlette.testclient import TestClient
from starlette.types import Message

from server.accounts.book import Accounts
from tests.counts import count
from tests.security.people_kit import PASSWORD, sign_in
from tests.server.house import ADDRESS, House, house

COMMON, LAST = "common", "run-common"  # what everybody sees; its event is the last that a stream is told
PROJECTS = ("red-project", "green-project")
RUNS = ("run-1", "run-2", "run-3")
PEOPLE, TOKENS = ("bob", "eve"), ("one", "two")
READ, SEND, CHANGE = "read", "send", "change"
ROLES = {"viewer": {READ}, "editor": {READ, SEND, CHANGE}}
SCOPES = {"ingest": {SEND}, "read": {READ}, "write": {READ, SEND, CHANGE}}
NEVER_MS = 10**15

projects, runs, people, tokens = map(st.sampled_from, (PROJECTS, RUNS, PEOPLE, TOKENS))
who = st.sampled_from((*PEOPLE, *TOKENS))


@pytest.mark.usefixtures("quick")
def test_x14_everybody_sees_the_projects_that_the_model_says_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    Machine.folders = tmp_path_factory
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=count(3, 150), stateful_step_count=7, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


@dataclass
class Known:
    """A run of the model."""

    project: str
    trained: bool
    attempts: set[str]
    deleted: bool = False


class Machine(RuleBasedStateMachine):
    """The model: what each run is, and of each caller the rights in each project, or in all of them."""

    folders: ClassVar[pytest.TempPathFactory]

    @initialize()
    def begin(self) -> None:
        self.open = ExitStack()
        self.home: House = self.open.enter_context(house(Path(self.folders.mktemp("x14"))))
        self.home.open_run(LAST, project=COMMON)
        self.accounts = Accounts(self.home.store)
        self.addresses, self.turns = numbers(1), numbers()
        self.runs: dict[str, Known] = {LAST: Known(COMMON, True, {"x"})}
        self.rights: dict[str, Mapping[str, set[str]] | set[str]] = {}
        self.clients: dict[str, TestClient] = {}
        self.accounts.add_person("ada", "admin", PASSWORD, who="the test")
        for name, project in zip(PEOPLE, PROJECTS, strict=True):
            self.accounts.add_person(name, "viewer", PASSWORD, {COMMON: "viewer", project: "editor"}, who="ada")
            self.rights[name] = {COMMON: ROLES["viewer"], project: ROLES["editor"]}
            self.come(name)
        self.make_token("one", "write", PROJECTS[0])
        self.make_token("two", "ingest", PROJECTS[1])
        self.send("bob", "run-1", PROJECTS[0], preflight=True)
        self.send("two", "run-2", PROJECTS[1], preflight=False)

    def teardown(self) -> None:
        if hasattr(self, "open"):
            self.open.close()

    # -- who may what --------------------------------------------------------------------------------------------------

    @rule(name=people, project=projects, role=st.sampled_from((*ROLES, None)))
    def grant(self, name: str, project: str, role: str | None) -> None:
        own = self.rights[name]
        known = dict(own) if isinstance(own, Mapping) else {}
        if role is None and project not in known:
            return
        if not known:  # of the whole server until now
            self.accounts.set_project(name, COMMON, "viewer", who="ada")
            known = {COMMON: ROLES["viewer"]}
        if role is not None or project in known:
            self.accounts.set_project(name, project, role, who="ada")
        known.pop(project, None)
        self.rights[name] = known if role is None else known | {project: ROLES[role]}
        assert self.clients[name].get("/api/v1/runs").status_code == 401, "other rights end the sessions"
        self.come(name)

    @rule(name=people, role=st.sampled_from(tuple(ROLES)))
    def make_whole(self, name: str, role: str) -> None:
        self.accounts.set_role(name, role, who="ada")
        self.rights[name] = ROLES[role]
        self.come(name)

    @rule(name=tokens, scope=st.sampled_from(tuple(SCOPES)), project=st.sampled_from((*PROJECTS, "")))
    def make_token(self, name: str, scope: str, project: str) -> None:
        if name in self.clients:
            self.accounts.revoke_token(name, who="ada")
            assert self.clients[name].get("/api/v1/runs").status_code == 401
        text = self.accounts.add_token(name, scope, None, [COMMON, project] if project else None, who="ada")
        self.clients[name] = self._client(Authorization=f"Bearer {text}")
        self.rights[name] = {COMMON: SCOPES[scope], project: SCOPES[scope]} if project else SCOPES[scope]

    # -- runs ----------------------------------------------------------------------------------------------------------

    @rule(name=who, run=runs, project=projects, preflight=st.booleans())
    def send(self, name: str, run: str, project: str, preflight: bool) -> None:
        """Opens a run; that of a preflight goes to the project of its training."""
        attempt = "before" if preflight else "training"
        body = {"id": run, "attempt": attempt, "project": project, "preflight": preflight, "config": {f"key_{run}": 1}}
        found, known = self.clients[name].post("/api/v1/runs", json=body).status_code, self.runs.get(run)
        if not self._may(name, SEND, project):
            assert found == 403
        elif known is None:
            assert found == 201
            self.runs[run] = Known(project, not preflight, {attempt})
        elif not self._sees(name, known.project):
            assert found == 404
        elif not self._may(name, SEND, known.project):
            assert found == 403
        else:
            assert found == (200 if attempt in known.attempts else 201)
            if attempt not in known.attempts and not known.trained:
                known.project = project
            known.trained |= not preflight
            known.attempts.add(attempt)

    @rule(name=who, run=runs, deleted=st.booleans())
    def delete(self, name: str, run: str, deleted: bool) -> None:
        """Deletes a run or brings it back."""
        answer = self.clients[name].post("/api/v1/runs/changes", json={"ids": [run], "deleted": deleted})
        known = self.runs.get(run)
        if not self._may(name, CHANGE) or (known and self._refused(name, CHANGE, known.project)):
            assert answer.status_code == 403
        else:
            there = known is not None and self._sees(name, known.project)
            assert answer.json() == {"changed": [run] if there else []}
            if known and there:
                known.deleted = deleted

    @rule(name=who, run=runs)
    def rename(self, name: str, run: str) -> None:
        known = self.runs.get(run)
        found = self.clients[name].patch(f"/api/v1/runs/{run}", json={"name": "night"}).status_code
        if not self._may(name, CHANGE):
            assert found == 403
        elif known is None or not self._sees(name, known.project) or known.deleted:
            assert found == 404
        else:
            assert found == (403 if self._refused(name, CHANGE, known.project) else 200)

    @rule()
    def purge(self) -> None:
        """Takes deleted runs away for good."""
        self.home.store.runs.purge(NEVER_MS)
        self.runs = {run: known for run, known in self.runs.items() if not known.deleted}

    # -- what must hold ------------------------------------------------------------------------------------------------

    @invariant()
    def everybody_sees_what_the_model_says(self) -> None:
        for name, client in getattr(self, "clients", {}).items():
            if not self._may(name, READ):
                assert client.get("/api/v1/runs").status_code == 403
                continue
            seen = {run for run, known in self.runs.items() if self._may(name, READ, known.project)}
            living = {run for run in seen if not self.runs[run].deleted}
            assert self._listed(client, "") == living
            assert self._listed(client, "&deleted=true") == seen - living
            opened = {run for run in RUNS if client.get(f"/api/v1/runs/{run}").status_code == 200}
            assert opened == living - {LAST}
            if next(self.turns) % 3:
                continue  # each page takes as long as all of this
            assert client.get("/api/v1/runs.csv").text.count("\n") == 1 + len(living)
            page = client.get("/").text
            completed = set(re.findall(r"(?:red|green)-project", page))
            assert completed == {self.runs[run].project for run in living} - {COMMON}
            keys = set(re.findall(r"config\.key_(run-\d)", client.get("/fragments/columns").text))
            assert keys == living - {LAST}

    @invariant()
    def somebody_hears_of_what_the_model_says(self) -> None:
        """One at a time, and not after each step, because it takes longer."""
        names = [name for name in getattr(self, "clients", {}) if self._may(name, READ)]
        if names and next(self.turns) % 2:
            name = names[next(self.turns) % len(names)]
            seen = {run for run, known in self.runs.items() if self._may(name, READ, known.project)}
            if not isinstance(self.rights[name], Mapping):
                seen = {*RUNS, LAST}  # whoever may see every run is told of what is gone too
            assert asyncio.run(asyncio.wait_for(self._heard(self.clients[name]), 20)) == seen

    def _listed(self, client: TestClient, more: str) -> set[str]:
        return {item["id"] for item in client.get(f"/api/v1/runs?limit=500{more}").json()["items"]}

    async def _heard(self, client: TestClient) -> set[str]:
        """Gives the runs that a stream tells of, when something happens in every run."""
        live, bodies = self.home.app.state.services.live, bytearray()
        headers = [(name.encode(), value.encode()) for name, value in _sent_by(client).items()]
        scope = {
            "type": "http", "method": "GET", "path": "/api/v1/live", "query_string": b"", "http_version": "1.1",
            "headers": headers, "client": ("127.0.0.1", 5),
        }  # fmt: skip

        async def receive() -> Message:
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                if not bodies:
                    for run in (*RUNS, LAST):
                        live.publish(run, "data", 1)
                bodies.extend(message.get("body", b""))
                if LAST.encode() in bodies:
                    live.renew()

        await self.home.app(scope, receive, send)
        return set(re.findall(r"run-\w+", bodies.decode()))

    def _may(self, name: str, what: str, project: str | None = None) -> bool:
        own = self.rights[name]
        if not isinstance(own, Mapping):
            return what in own
        return what in set().union(*own.values()) if project is None else what in own.get(project, set())

    def _sees(self, name: str, project: str) -> bool:
        own = self.rights[name]
        return project in own if isinstance(own, Mapping) else True

    def _refused(self, name: str, what: str, project: str) -> bool:
        return self._sees(name, project) and not self._may(name, what, project)

    def come(self, name: str) -> None:
        self.clients[name] = self._client()
        assert sign_in(self.clients[name], name).status_code == 303

    def _client(self, **headers: str) -> TestClient:
        place = (str(ip_address("10.0.0.0") + next(self.addresses)), 1)
        return TestClient(self.home.app, base_url=ADDRESS, headers=headers, follow_redirects=False, client=place)


def _sent_by(client: TestClient) -> dict[str, Any]:
    found = {"host": "127.0.0.1:8777", "cookie": "; ".join(f"{k}={v}" for k, v in client.cookies.items())}
    return found | {"authorization": client.headers.get("authorization", "")}
