"""X14, X1: whoever may see some projects alone gets from every route what a server would give that has nothing else.

Two servers are asked the same: one has the runs of `ours` alone, the other those of `theirs` too, with everything that
could be told of them. What comes back must be the same to the letter.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient
from starlette.types import Message

import server.web
from server.accounts.book import Accounts
from server.domain.runs import NewRun
from server.store import Store
from server.web import access
from server.web.access import Reach
from server.web.lookup import existing_run
from tests.security.people_kit import PASSWORD, browser
from tests.security.test_routes import all_routes
from tests.server.accounts.kit import quick_passwords
from tests.server.house import ADDRESS, ATTEMPT, House, frame_bytes, house

OURS, THEIRS = "ours", "theirs-zebra"
OUR_RUN, THEIR_RUN = "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e77", "0190a3d2-7b11-7c3e-9a55-0123456789ab"
NO_RUN = "0190a3d2-7b11-7c3e-9a55-ffffffffffff"
FRAME = {"Content-Type": "application/vnd.gradwatch.frame"}
TOLD = re.compile(r"zebra|0123456789ab", re.IGNORECASE)  # of what may not be seen, where the request does not name it

# streams do not end; what they tell is in the model (test_x14_tenants_model)
STREAMS = {"/api/v1/live", "/api/v1/runs/{run_id}/live"}
# what names runs and projects elsewhere than in the path
QUERIES: Mapping[str, tuple[str, ...]] = {
    "/": ("", "?project={project}", "?search={run}", "?search=zebra", "?search=told-in-notes", "?tag=zebra-tag",
          "?shelf=deleted", "?shelf=archived", "?where=config.zebra_key=1", "?sort=config.zebra_key",
          "?col=config.zebra_key"),
    "/api/v1/runs": ("", "?project={project}", "?search={run}", "?search=zebra", "?tag=zebra-tag", "?deleted=true",
                     "?archived=true", "?where=config.zebra_key=1", "?sort=last.zebra/loss", "?limit=1",
                     "?sort=name", "?sort=loss", "?severity=error"),
    "/api/v1/runs.csv": ("", "?project={project}", "?col=last.zebra/loss", "?search=zebra"),
    "/fragments/runs": ("", "?project={project}", "?search=zebra", "?where=last.zebra/loss>0"),
    "/fragments/columns": ("", "?project={project}"),
    "/sweep": ("", "?project={project}", "?search=zebra", "?result=last.zebra/loss"),
    "/compare": ("", "?run={run}", "?run={ours}&run={run}"),
    "/api/v1/compare/chart": ("?run={run}&name=zebra/loss", "?run={ours}&run={run}&name=loss",
                              "?run={ours}&run={run}&name=loss&group=config.zebra_key"),
    "/api/v1/compare/export": ("?run={run}&name=loss", "?run={ours}&run={run}&name=loss"),
    "/schedule": ("", "?run={run}", "?run={ours}"),
    "/settings": ("", "?project={project}", "?project={project}&run={run}", "?project=ours&run={run}"),
    "/api/v1/mutes": ("?project={project}",),
    "/api/v1/thresholds": ("?project={project}",),
    "/api/v1/replays": ("?project={project}",),
    "/rules": ("", "?find=zebra"),
    "/api/v1/runs/{run_id}/series/data": ("?name=loss",),
    "/api/v1/runs/{run_id}/series/export": ("?name=loss",),
    "/runs/{run_id}/fragments/layer": ("?layer=fc",),
    "/runs/{run_id}/fragments/flight": ("?step=1",),
}  # fmt: skip
BODIES: Mapping[tuple[str, str], tuple[dict[str, Any], ...]] = {
    ("POST", "/api/v1/runs/changes"): (
        {"ids": ["{run}"], "archived": True},
        {"ids": ["{run}", "{none}"], "deleted": True},
        {"ids": ["{run}"], "add_tags": [f"t{n}" for n in range(100)]},
    ),
    ("POST", "/api/v1/replays"): ({"project": "{project}", "thresholds": {}}, {"project": "nowhere", "thresholds": {}}),
    ("PATCH", "/api/v1/runs/{run_id}"): ({"name": "x"}, {"archived": True}, {"tags": ["x"]}),
    ("PATCH", "/api/v1/runs/{run_id}/findings/{finding_id}"): ({"muted": True},),
    ("PUT", "/api/v1/runs/{run_id}/notes"): ({"text": "x"}, {"text": "x", "after": 1}),
    ("POST", "/api/v1/runs/{run_id}/replay"): ({"thresholds": {}},),
    ("POST", "/api/v1/runs"): (
        {"id": "{none}", "attempt": ATTEMPT, "project": "{project}"},
        {"id": "{run}", "attempt": ATTEMPT, "project": "{project}"},
        {"id": "{run}", "attempt": ATTEMPT},
        {"id": "{run}", "attempt": ATTEMPT, "project": "nowhere"},
    ),
}
WHO = ("viewer", "editor", "token read", "token write", "token ingest", "nothing")


def fill(home: House, *, theirs: bool) -> None:
    """Puts a run of ours there and, where there are two kinds, everything that can be told of theirs."""
    home.open_run(OUR_RUN, project=OURS, name="our run", config={"lr": 0.1}, tags=["night"])
    home.send(0, {"loss": [1.0, 0.5, float("nan")]}, run_id=OUR_RUN)
    home.diagnose()
    if not theirs:
        return
    home.clock.now_ms += 1_000
    home.open_run(
        THEIR_RUN, project=THEIRS, name="zebra run", config={"zebra_key": 1, "lr": 0.2}, tags=["zebra-tag", "night"]
    )
    home.send(0, {"loss": [2.0, float("nan")], "zebra/loss": [1.0, 1.0]}, run_id=THEIR_RUN)
    home.open_run("zebra-gone", project=THEIRS, name="zebra gone")
    home.open_run("zebra-old", project="theirs-zebra-2", name="zebra old")
    home.diagnose()
    store = home.store
    store.runs.update_many(["zebra-gone"], home.clock(), deleted=True)
    store.runs.update_many(["zebra-old"], home.clock(), archived=True)
    words = {"who": "zebra", "reason": "zebra", "now_ms": home.clock()}
    store.wishes.add_mute(THEIRS, "*", **words)
    for text in ("zebra before", "zebra now, told-in-notes"):
        store.notes.write(THEIR_RUN, text, who="zebra", now_ms=home.clock())
    store.wishes.set_threshold(THEIRS, "GW201", "zebra", 1.0, **words)
    replays = home.app.state.services.replays
    replays.start(THEIRS, {})
    home.clock.now_ms -= 1_000


class World:
    """A server with people and tokens of `ours` alone, and a client for each."""

    def __init__(self, home: House, *, theirs: bool) -> None:
        self.home = home
        fill(home, theirs=theirs)
        accounts = Accounts(home.store)
        accounts.add_person("ada", "admin", PASSWORD, who="the test")
        accounts.add_person("viewer", "viewer", PASSWORD, {OURS: "viewer"}, who="the test")
        accounts.add_person("editor", "viewer", PASSWORD, {OURS: "editor", "later": "viewer"}, who="the test")
        accounts.add_person("nothing", "viewer", PASSWORD, {}, who="the test")
        self.clients = {name: browser(home, name) for name in ("ada", "viewer", "editor", "nothing")}
        for scope in ("read", "write", "ingest"):
            text = accounts.add_token(scope, scope, None, [OURS], who="the test")
            self.clients[f"token {scope}"] = TestClient(
                home.app, base_url=ADDRESS, headers={"Authorization": f"Bearer {text}"}, follow_redirects=False
            )

    def ask(self, who: str, method: str, path: str, body: Any = None, *, run: str) -> tuple[Any, ...]:
        more: dict[str, Any] = {}
        if path.endswith("/frames"):
            more = {"content": frame_bytes(0, {"loss": [1.0]}, run_id=run), "headers": FRAME}
        elif body is not None:
            more = {"json": body}
        answer = self.clients[who].request(method, path, **more)
        headers = {name: value for name, value in answer.headers.items() if name not in ("date", "set-cookie")}
        return answer.status_code, headers, answer.text


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, World]]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        quick_passwords(patch)
        homes = [stack.enter_context(house(tmp_path_factory.mktemp(name))) for name in ("alone", "both")]
        yield World(homes[0], theirs=False), World(homes[1], theirs=True)


def questions(home: House) -> Iterator[tuple[str, str, Any]]:
    """Gives every route, with everything by which it could be asked about a run that may not be seen."""
    for method, path in all_routes(home):
        reach = next((line[3] for line in access.TABLE if line[:2] == (method, path)), None)
        if path in STREAMS or path == "/static" or reach is Reach.WHOLE or path.startswith("/sign-"):
            continue
        for query in QUERIES.get(path, ("",)):
            for body in BODIES.get((method, path), (None,)):
                yield method, path + query, body


def named(text: str, run: str) -> str:
    names = {"{run_id}": run, "{run}": run, "{none}": NO_RUN, "{ours}": OUR_RUN, "{project}": THEIRS}
    for name, value in names.items():
        text = text.replace(name, value)
    text = text.replace("{chart}", "loss").replace("{code}", "GW201").replace("{finding_id}", "1").replace("{n}", "1")
    return re.sub(r"\{\w+\}", "x", text)


def filled(body: Any, run: str) -> Any:
    if isinstance(body, dict):
        return {name: filled(value, run) for name, value in body.items()}
    if isinstance(body, list):
        return [filled(value, run) for value in body]
    return named(body, run) if isinstance(body, str) else body


def test_x14_every_route_answers_as_if_nothing_else_were_there(worlds: tuple[World, World]) -> None:
    alone, both = worlds
    wrong, asked = [], 0
    for who in ("editor", "token ingest"):
        for method, path, body in questions(both.home):
            ask = (who, method, named(path, THEIR_RUN), filled(body, THEIR_RUN))
            got, expected = (world.ask(*ask, run=THEIR_RUN) for world in (both, alone))
            asked += 1
            if got != expected:
                wrong.append((ask, expected[0], got[0], expected[2][:300], got[2][:300]))
    assert asked > 150
    assert wrong == []


def test_x14_nothing_of_other_projects_is_told_anywhere(worlds: tuple[World, World]) -> None:
    """Also in pages of runs that may be seen; words that the request itself brings are not looked at."""
    _, both = worlds
    told = []
    for who in ("viewer", "token read"):
        for method, path, _ in questions(both.home):
            asked = named(path, OUR_RUN)
            if method != "GET" or TOLD.search(asked) or "openapi" in path:
                continue
            status, headers, text = both.ask(who, method, asked, run=OUR_RUN)
            told += [(who, asked, status, found[0]) for found in TOLD.finditer(f"{headers} {text}")]
    assert told == []
    assert TOLD.search(both.ask("ada", "GET", "/", run=OUR_RUN)[2]), "an admin sees all of it"


def test_x01_a_run_of_another_project_is_one_that_is_not_there(worlds: tuple[World, World]) -> None:
    _, both = worlds
    wrong = []
    for method, path, needs, reach in access.TABLE:
        if reach is not Reach.RUN or path in STREAMS:
            continue
        body = BODIES.get((method, path), (None,))[0]
        for who in WHO:
            asked = [both.ask(who, method, named(path, run), body, run=run) for run in (THEIR_RUN, NO_RUN)]
            found = [(status, text.replace(THEIR_RUN, NO_RUN)) for status, _, text in asked]
            right = 404 if both.clients[who] and _may(who, needs) else 403
            if found[0] != found[1] or found[0][0] != right:
                wrong.append((who, method, path, found))
    assert wrong == []


def _may(who: str, needs: access.Needs) -> bool:
    own = {
        "viewer": {access.READ}, "nothing": {access.READ}, "editor": {access.READ, access.CHANGE, access.SEND},
        "token read": {access.READ}, "token write": {access.READ, access.CHANGE, access.SEND},
        "token ingest": {access.SEND},
    }  # fmt: skip
    return not own[who].isdisjoint(needs)


def test_x14_an_id_that_is_taken_elsewhere_opens_nothing_and_changes_nothing(tmp_path: Path, quick: None) -> None:
    """That it is taken is all there is to learn, by whoever knows the id: it has 74 random bits."""
    with house(tmp_path) as home:
        both = World(home, theirs=True)
        before = repr(home.store.runs.get(THEIR_RUN))
        for preflight in (False, True):
            body = {"id": THEIR_RUN, "attempt": "another", "project": OURS, "preflight": preflight}
            for who in ("editor", "token write", "token ingest"):
                status, _, text = both.ask(who, "POST", "/api/v1/runs", body, run=THEIR_RUN)
                assert (status, text) == (404, f'{{"detail":"No run has the id \'{THEIR_RUN}\' here"}}')
        assert repr(home.store.runs.get(THEIR_RUN)) == before
        assert len(home.store.runs.attempts(THEIR_RUN)) == 1


def test_x14_a_token_of_a_project_sends_its_runs_there_and_nowhere_else(tmp_path: Path, quick: None) -> None:
    with house(tmp_path) as home:
        both = World(home, theirs=True)
        body = {"id": NO_RUN, "attempt": ATTEMPT, "project": OURS}
        for status in (201, 200):
            assert both.ask("token ingest", "POST", "/api/v1/runs", body, run=NO_RUN)[0] == status
            assert both.ask("token ingest", "POST", f"/api/v1/runs/{NO_RUN}/frames", run=NO_RUN)[0] == 200
        assert both.ask("token ingest", "GET", f"/api/v1/runs/{NO_RUN}/verdict", run=NO_RUN)[0] == 200
        refused = both.ask("token ingest", "POST", "/api/v1/runs", {**body, "project": THEIRS}, run=NO_RUN)
        assert refused[0] == 403
        assert "the token 'ingest' may send runs of these projects: 'ours'; got 'theirs-zebra'" in refused[2]


def test_x14_a_run_moves_to_a_project_only_with_rights_on_both(tmp_path: Path, quick: None) -> None:
    """A preflight's run goes to the project that the training names."""
    with house(tmp_path) as home:
        both = World(home, theirs=True)
        Accounts(home.store).add_person("both", "viewer", PASSWORD, {OURS: "editor", THEIRS: "editor"}, who="the test")
        both.clients["both"] = browser(home, "both")
        home.client.post("/api/v1/runs", json={})
        first = {"id": NO_RUN, "attempt": "before", "project": THEIRS, "preflight": True}
        assert both.ask("both", "POST", "/api/v1/runs", first, run=NO_RUN)[0] == 201
        moved = {"id": NO_RUN, "attempt": ATTEMPT, "project": OURS}
        assert both.ask("editor", "POST", "/api/v1/runs", moved, run=NO_RUN)[0] == 404
        assert both.ask("editor", "GET", f"/api/v1/runs/{NO_RUN}", run=NO_RUN)[0] == 404
        assert both.ask("both", "POST", "/api/v1/runs", moved, run=NO_RUN)[0] == 201
        assert both.ask("editor", "GET", f"/api/v1/runs/{NO_RUN}", run=NO_RUN)[0] == 200


def test_x14_a_viewer_of_a_project_may_not_change_there_what_an_editor_of_another_may(
    tmp_path: Path, quick: None
) -> None:
    with house(tmp_path) as home:
        both = World(home, theirs=True)
        Accounts(home.store).add_person("mixed", "viewer", PASSWORD, {OURS: "viewer", THEIRS: "editor"}, who="the test")
        client = both.clients["mixed"] = browser(home, "mixed")
        said = "Not allowed: mixed is a viewer of the project 'ours'; this needs the role editor or admin"
        answers = (
            client.patch(f"/api/v1/runs/{OUR_RUN}", json={"name": "x"}),
            client.delete(f"/api/v1/runs/{OUR_RUN}"),
            client.post(f"/api/v1/runs/{OUR_RUN}/replay", json={"thresholds": {}}),
            client.post("/api/v1/runs/changes", json={"ids": [THEIR_RUN, OUR_RUN], "archived": True}),
            client.post("/api/v1/replays", json={"project": OURS, "thresholds": {}}),
            client.post("/api/v1/runs", json={"id": OUR_RUN, "attempt": "more", "project": THEIRS}),
        )
        assert [(one.status_code, one.json()["detail"]) for one in answers] == [(403, said)] * len(answers)
        assert client.patch(f"/api/v1/runs/{THEIR_RUN}", json={"name": "x"}).status_code == 200
        assert client.post("/api/v1/runs/changes", json={"ids": [THEIR_RUN], "archived": True}).json() == {
            "changed": [THEIR_RUN]
        }
        pages = [client.get(f"/runs/{run}", headers={"Accept": "text/html"}).text for run in (OUR_RUN, THEIR_RUN)]
        assert ["data-run-act" in page for page in pages] == [False, True]
        table = client.get("/?shelf=archived", headers={"Accept": "text/html"}).text
        table += client.get("/", headers={"Accept": "text/html"}).text
        assert [f'data-run="{run}"' in table for run in (OUR_RUN, THEIR_RUN)] == [False, True]


def told(home: House, client: TestClient, path: str, then: Callable[[list[bytes]], None]) -> list[bytes]:
    """Listens to a stream until it ends, and gives its parts; after each of them something happens."""
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    scope = {
        "type": "http", "method": "GET", "path": path, "query_string": b"", "http_version": "1.1",
        "headers": [(b"host", b"127.0.0.1:8777"), (b"cookie", cookie.encode())], "client": ("127.0.0.1", 5),
    }  # fmt: skip
    bodies: list[bytes] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            bodies.append(message.get("body", b""))
            await asyncio.to_thread(then, bodies)

    asyncio.run(asyncio.wait_for(home.app(scope, receive, send), 20))
    return bodies


@pytest.mark.parametrize("path", ["/api/v1/live", f"/api/v1/runs/{OUR_RUN}/live"])
@pytest.mark.parametrize("whole", [False, True])
def test_x14_a_stream_ends_with_the_right_to_hear_it(tmp_path: Path, quick: None, path: str, whole: bool) -> None:
    """At the very next thing that happens, and without telling of it."""
    with house(tmp_path) as home:
        both, accounts = World(home, theirs=not whole), Accounts(home.store)
        if whole:
            accounts.set_role("viewer", "viewer", who="the test")
            both.clients["viewer"] = browser(home, "viewer")
        live = home.app.state.services.live

        def then(bodies: list[bytes]) -> None:
            if len(bodies) == 1:
                if not whole:
                    live.publish(THEIR_RUN, "state", 4_242)
                live.publish(OUR_RUN, "state", 1_111)
            elif b"1111" in bodies[-1]:
                accounts.set_projects("viewer", {"later": "viewer"}, who="the test")
                live.publish(OUR_RUN, "state", 9_999)

        bodies = told(home, both.clients["viewer"], path, then)
        assert b"1111" in bodies[-2]
        assert bodies[-1] == b""
        assert not TOLD.search(str(bodies))
        assert live.listeners == 0


@pytest.mark.parametrize("path", ["/api/v1/live", f"/api/v1/runs/{NO_RUN}/live"])
def test_x14_a_stream_tells_no_more_of_a_run_that_moves_away(tmp_path: Path, quick: None, path: str) -> None:
    with house(tmp_path) as home:
        both = World(home, theirs=False)
        live, runs = home.app.state.services.live, home.store.runs
        runs.open(NewRun(NO_RUN, "before", project=OURS, preflight=True), 1)

        def then(bodies: list[bytes]) -> None:
            if len(bodies) == 1:
                live.publish(NO_RUN, "data", 1_111)
            elif b"1111" in bodies[-1]:
                runs.open(NewRun(NO_RUN, "training", project=THEIRS), 1)
                live.publish(NO_RUN, "data", 2_222)  # which the next one takes the place of
                live.publish(NO_RUN, "state", 9_999)
                live.publish(NO_RUN, "data", 9_999)
                live.publish(OUR_RUN, "data", 8_888)
            elif b"8888" in bodies[-1]:
                live.renew()

        bodies = told(home, both.clients["viewer"], path, then)
        assert any(b"1111" in body for body in bodies)
        assert not any(b"9999" in body for body in bodies)


def test_x14_a_replay_over_another_project_is_one_that_is_not_there(tmp_path: Path, quick: None) -> None:
    with house(tmp_path) as home, pytest.MonkeyPatch.context() as patch:
        both, replays = World(home, theirs=True), home.app.state.services.replays
        replays.close()
        patch.setattr(replays, "_run", lambda work, most: None)  # it is under way, and stays so
        begun = replays.start(THEIRS, {}).id
        for method, path in (
            ("GET", "/api/v1/replays/"), ("DELETE", "/api/v1/replays/"),
            ("GET", "/settings/replays/"), ("POST", "/settings/replays/"),
        ):  # fmt: skip
            end = "/stop" if method == "POST" else ""
            asked = [both.ask("editor", method, f"{path}{one}{end}", run=OUR_RUN) for one in (begun, "nowhere")]
            assert asked[0][0] == asked[1][0] == 404, path
            assert asked[0][2].replace(begun, "nowhere") == asked[1][2]
        refused = both.ask("editor", "POST", "/api/v1/replays", {"project": OURS, "thresholds": {}}, run=OUR_RUN)
        assert (refused[0], refused[2]) == (409, '{"detail":"Another replay is under way: wait for its end"}')
        assert replays.get(begun).state == "running"


def test_x14_every_route_that_lists_is_asked_about_what_may_not_be_seen() -> None:
    """By the first test of this file: a new route has to be given its questions there."""
    seen = {line[:2] for line in access.TABLE if line[3] is Reach.SEEN}
    by_id = {path for _, path in seen if "{replay_id}" in path}  # the test before this one
    assert {path for method, path in seen if method == "GET"} - set(QUERIES) - by_id - STREAMS == set()
    assert {place for place in seen if place[0] != "GET" and place[1] not in by_id} - set(BODIES) == set()


def test_x01_every_route_of_a_run_asks_the_one_place_that_knows_who_may_see_it(worlds: tuple[World, World]) -> None:
    """Frames go another way, past the router: the intake asks for them (tests above)."""
    _, both = worlds
    frames = "/api/v1/runs/{run_id}/frames"
    assert {line[1] for line in access.TABLE if line[3] is Reach.RUN} == {
        line[1] for line in access.TABLE if "{run_id}" in line[1]
    }
    without = set()
    for context in iter_route_contexts(list(both.home.app.routes)):
        if "{run_id}" in str(context.path) and context.path != frames:
            found = context.original_route.dependant.dependencies  # type: ignore[attr-defined]
            if existing_run not in [one.call for one in found]:
                without.add(context.path)
    assert without == set()


# -- the store and its callers -----------------------------------------------------------------------------------------

# of one run, or of runs, that the caller has found before; or of no run
OF_RUNS_FOUND = {"run_id", "run_ids", "handed", "frame", "batch"}
OF_NO_RUN = {"sign_ins", "people", "tokens", "audit", "channels", "alerts"}
INTERNAL = {  # of the diagnosis, the housekeeping and the start; nothing of what they give is shown
    "runs.purge", "runs.retire", "wishes.set_threshold", "wishes.thresholds_version", "wishes.add_mute",
    "wishes.end_mute", "wishes.apply_all_mutes", "wishes.expire_mutes", "findings.speech",
    "queue", "sealer", "frames.fresh", "frames.submit", "frames.accept", "frames.replay",
}  # fmt: skip


def scoped(store: Store) -> set[str]:
    """Names the methods of the repositories that take a sight; every other one must be known to need none."""
    found = set()
    for noun, repository in vars(store).items():
        if noun.startswith("_") or noun in OF_NO_RUN | INTERNAL:
            continue
        for name, method in inspect.getmembers(repository, inspect.ismethod):
            if name.startswith("_") or f"{noun}.{name}" in INTERNAL:
                continue
            parameters = inspect.signature(method).parameters
            if "sight" in parameters:
                found.add(f"{noun}.{name}")
            else:
                assert OF_RUNS_FOUND & set(parameters), f"{noun}.{name} lists runs and takes no sight"
    return found


def test_x14_every_query_of_the_store_takes_the_sight_or_runs_that_were_found_with_one(
    worlds: tuple[World, World],
) -> None:
    assert scoped(worlds[0].home.store) == {
        "runs.get", "runs.open", "runs.page", "runs.projects", "runs.projects_of", "runs.update_many",
        "wishes.muted_by_hand", "wishes.mutes", "wishes.threshold_history", "wishes.thresholds",
    }  # fmt: skip


def test_x14_no_page_asks_the_store_without_the_sight_of_its_caller(worlds: tuple[World, World]) -> None:
    names = {place.split(".")[1] for place in scoped(worlds[0].home.store)} | {"known", "start"}
    forgotten = []
    for path in sorted(Path(server.web.__file__).parent.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(call, ast.Call):
                continue
            # `runs.get(…)`, and `run_in_threadpool(runs.get, …)`
            for asked in (call.func, *call.args):
                if isinstance(asked, ast.Attribute) and asked.attr in names and _of_the_store(asked):
                    given = {keyword.arg for keyword in call.keywords}
                    if "sight" not in given:
                        forgotten.append(f"{path.name}:{asked.lineno} {ast.unparse(asked)}")
    assert forgotten == []


def _of_the_store(asked: ast.Attribute) -> bool:
    place = ast.unparse(asked.value)
    return place.endswith((".runs", "._runs", "wishes", ".replays"))
