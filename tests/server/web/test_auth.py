"""The door: who gets in, how sessions begin and end, how guessing is slowed, and where signing in may lead."""

from __future__ import annotations

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.middleware import Middleware
from starlette.testclient import TestClient

from server.accounts.powers import Caller
from server.errors import StoreError
from server.web.auth import MAX_FORM_BYTES, Door, router_for, safe_next
from server.web.gate import Gate
from server.web.sessions import IDLE_S, LONGEST_S, MOST_SESSIONS, SessionsInMemory
from server.web.throttle import GUESS_WINDOW_S, GUESSES, Throttle

TOKEN = "correct-horse-battery"
PAGE = {"Accept": "text/html"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """A locked house with one room, one door and a clock that the test moves."""

    def __init__(self, token: str | None = TOKEN) -> None:
        self.clock = Clock()
        self.door = Door(token, 8777, self.clock)
        app = FastAPI(middleware=[Middleware(Gate, door=self.door)], openapi_url=None)

        def form(request: Request, target: str, message: str, status: int, name: str) -> Response:
            return PlainTextResponse(f"form|{target}|{message}", status)

        app.include_router(router_for(self.door, form))

        @app.api_route("/{rest:path}", methods=["GET", "POST"])
        def room(rest: str) -> PlainTextResponse:
            return PlainTextResponse(f"room {rest}")

        self.client = TestClient(app, base_url="http://127.0.0.1:8777", follow_redirects=False)

    def sign_in(self, token: str = TOKEN, target: str = "/") -> Response:
        return self.client.post("/sign-in", data={"token": token, "next": target})  # type: ignore[return-value]

    def inside(self) -> bool:
        return self.client.get("/runs", headers=PAGE).status_code == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_without_a_token_the_house_is_open() -> None:
    scene = Scene(token=None)
    assert scene.inside()
    answer = scene.client.get("/sign-in?next=/runs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs")


@pytest.mark.parametrize(
    "path", ["/api/v1/runs", "/api/v1/nothing", "/nothing", "/", "/static", "/staticx", "//static/x"]
)
def test_everything_is_closed_unless_it_is_named(path: str) -> None:
    answer = Scene().client.get(path)
    assert answer.status_code == 401
    assert answer.json() == {"detail": "Authorization: a token is needed: send the header Authorization: Bearer TOKEN"}
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "path",
    ["/static/../api/v1/runs", "/static/%2e%2e/api/v1/runs", "/api/v1/health/", "/sign-in/../runs", "/API/v1/health"],
)
def test_an_open_name_opens_nothing_beside_it(path: str) -> None:
    answer = Scene().client.get(path)
    assert answer.status_code == 401 or answer.text.startswith("room static/")


def test_health_and_static_are_open_for_reading_only() -> None:
    client = Scene().client
    assert client.get("/api/v1/health").status_code == 200
    assert client.get("/static/css/base.css").status_code == 200
    assert client.post("/api/v1/health").status_code == 401
    assert client.post("/static/css/base.css").status_code == 401


def test_the_right_token_opens_the_api_and_the_pages() -> None:
    client = Scene().client
    assert client.get("/api/v1/runs", headers=bearer(TOKEN)).status_code == 200
    assert client.get("/runs", headers=bearer(TOKEN) | PAGE).status_code == 200
    assert client.get("/api/v1/runs", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    "header", ["Bearer wrong", "Bearer", "Basic " + TOKEN, TOKEN, "Bearer " + TOKEN + "x", "Bearer " + TOKEN[:-1]]
)
def test_a_wrong_token_opens_nothing(header: str) -> None:
    answer = Scene().client.get("/api/v1/runs", headers={"Authorization": header})
    assert answer.status_code == 401


def test_a_token_in_the_address_opens_nothing() -> None:
    assert Scene().client.get(f"/api/v1/runs?token={TOKEN}&access_token={TOKEN}").status_code == 401


def test_a_browser_is_sent_to_the_form_and_back() -> None:
    scene = Scene()
    answer = scene.client.get("/runs/a b?tab=lr&x=1", headers=PAGE)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fruns%2Fa%2520b%3Ftab%3Dlr%26x%3D1"
    assert scene.client.get(answer.headers["location"]).text == "form|/runs/a%20b?tab=lr&x=1|"
    back = scene.sign_in(target="/runs/a%20b?tab=lr&x=1")
    assert (back.status_code, back.headers["location"]) == (303, "/runs/a%20b?tab=lr&x=1")
    assert scene.inside()


def test_a_fragment_is_refused_rather_than_filled_with_the_form() -> None:
    answer = Scene().client.get("/runs", headers=PAGE | {"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/sign-in"


def test_the_cookie_is_random_http_only_and_same_site() -> None:
    first, second = Scene().sign_in(), Scene().sign_in()
    cookie = first.headers["set-cookie"]
    assert cookie.startswith("gradwatch_session_8777=")
    assert f"; HttpOnly; Max-Age={LONGEST_S}; Path=/; SameSite=lax" in cookie
    assert "Secure" not in cookie  # plain http; over https it is
    assert TOKEN not in cookie
    assert cookie.split(";")[0] != second.headers["set-cookie"].split(";")[0]


def test_over_https_the_cookie_is_one_that_no_neighbour_can_put_there() -> None:
    scene = Scene()
    sent = {"data": {"token": TOKEN, "next": "/"}, "headers": {"Origin": "https://lab.example"}}  # behind a proxy
    cookie = scene.client.post("/sign-in", **sent).headers["set-cookie"]
    assert cookie.startswith("__Host-gradwatch_session_8777=")
    assert cookie.endswith("; Path=/; SameSite=lax; Secure")
    ours = cookie.partition(";")[0]
    planted = f"gradwatch_session_8777={scene.door.sessions.open()}"
    scene.client.cookies.clear()
    asked = {"Cookie": f"{planted}; {ours}"}
    assert scene.door.sessions_of(dict(pair.split("=", 1) for pair in asked["Cookie"].split("; ")))[0][1] in ours
    out = scene.client.post("/sign-out", headers=asked).headers.get_list("set-cookie")
    assert sorted((one.partition("=")[0], "Secure" in one, "Max-Age=0" in one) for one in out) == [
        ("__Host-gradwatch_session_8777", True, True), ("gradwatch_session_8777", False, True),
    ]  # fmt: skip
    assert scene.client.get("/runs", headers=PAGE | asked).status_code == 303, "both are over"


def test_the_wrong_token_signs_nobody_in() -> None:
    scene = Scene()
    answer = scene.sign_in("wrong")
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert not scene.inside()


def test_signing_in_gives_a_new_session_and_ignores_one_that_the_browser_brings() -> None:
    scene = Scene()
    scene.client.cookies.set(scene.door.cookie, "planted")
    scene.sign_in()
    assert scene.door.sessions.caller("planted") is None


def test_signing_out_ends_the_session_at_the_server() -> None:
    scene = Scene()
    scene.sign_in()
    key = scene.client.cookies[scene.door.cookie]
    scene.client.post("/sign-out")
    scene.client.cookies.set(scene.door.cookie, key)
    assert not scene.inside()


def test_a_database_that_is_away_is_told_to_who_is_signed_in() -> None:
    scene = Scene()
    scene.sign_in()

    class Away(SessionsInMemory):
        def caller(self, key: str, *, seen: bool = True) -> Caller | None:
            raise StoreError("The database does not answer.")

    scene.door.sessions = Away(scene.clock)
    page = scene.client.get("/runs", headers=PAGE)
    assert (page.status_code, page.headers["retry-after"]) == (503, "5")
    assert "<p>The database does not answer.</p>" in page.text
    answer = scene.client.get("/api/v1/runs")
    assert (answer.status_code, answer.json()) == (503, {"detail": "The database does not answer."})


def test_a_session_ends_after_idle_hours_and_after_its_longest_life() -> None:
    scene = Scene()
    scene.sign_in()
    scene.clock.now += IDLE_S - 1
    assert scene.inside()
    scene.clock.now += IDLE_S
    assert not scene.inside()
    scene.sign_in()
    for _ in range(LONGEST_S // (IDLE_S // 2)):
        scene.clock.now += IDLE_S // 2
        assert scene.inside() == (scene.clock.now < 1_000.0 + 2 * IDLE_S - 1 + LONGEST_S)


def test_the_number_of_sessions_is_bounded() -> None:
    sessions = SessionsInMemory(Clock())
    first = sessions.open()
    for _ in range(MOST_SESSIONS):
        sessions.open()
    assert sessions.caller(first) is None


def test_guessing_is_throttled_at_the_form_and_at_the_api() -> None:
    scene = Scene()
    for number in range(GUESSES):
        answer = scene.sign_in(f"guess-{number}")
        assert answer.status_code == 401
    answer = scene.sign_in(TOKEN)
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == str(GUESS_WINDOW_S + 1)
    assert (
        answer.text
        == f"form|/|Too many different tokens were tried from this address. Try again in {GUESS_WINDOW_S + 1} s"
    )
    api = scene.client.get("/api/v1/runs", headers=bearer(TOKEN))
    assert (api.status_code, api.headers["retry-after"]) == (429, str(GUESS_WINDOW_S + 1))
    scene.clock.now += GUESS_WINDOW_S + 1
    assert scene.client.get("/api/v1/runs", headers=bearer(TOKEN)).status_code == 200


def test_of_a_thousand_guesses_a_minute_only_the_first_are_looked_at() -> None:
    scene = Scene()
    answers = [
        scene.client.get("/api/v1/runs", headers=bearer(f"guess-{number}")).status_code for number in range(1_000)
    ]
    assert answers == [401] * GUESSES + [429] * (1_000 - GUESSES)


def test_a_training_with_one_wrong_token_locks_out_nobody() -> None:
    scene = Scene()
    for _ in range(10 * GUESSES):
        assert scene.client.get("/api/v1/runs", headers=bearer("mistyped")).status_code == 401
    assert scene.client.get("/api/v1/runs", headers=bearer(TOKEN)).status_code == 200


def test_those_who_are_signed_in_stay_in_while_another_guesses() -> None:
    scene = Scene()
    scene.sign_in()
    for number in range(GUESSES + 1):
        scene.client.post("/sign-in", data={"token": f"guess-{number}"})
    assert scene.inside()


def test_the_throttle_forgets_the_address_that_was_quiet_longest() -> None:
    throttle = Throttle(Clock())
    for number in range(GUESSES):
        throttle.failed("10.0.0.1", str(number))
    assert throttle.wait_s("10.0.0.1") > 0
    for number in range(1_000):
        throttle.failed(f"10.1.{number // 256}.{number % 256}", "x")
    assert throttle.wait_s("10.0.0.1") == 0


def test_a_form_that_is_far_too_long_is_refused() -> None:
    scene = Scene()
    assert scene.client.post("/sign-in", content=b"token=" + b"x" * MAX_FORM_BYTES).status_code == 413


@pytest.mark.parametrize("target", ["/", "/runs", "/runs/a?x=1#y", "/runs/a%20b", "/runs?next=//evil.example"])
def test_x9_paths_on_this_site_are_kept(target: str) -> None:
    assert safe_next(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/%5cevil.example",
        "/%2f%2fevil.example",
        "%2f%2fevil.example",
        "https://evil.example",
        "https:evil.example",
        "HTTPS://evil.example",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.example",
        "",
        " /runs",
        "/ /evil.example",
        "/\t/evil.example",
        "\t//evil.example",
        "/\r\nSet-Cookie: x=1",
        "/runs%0d%0aSet-Cookie:%20x=1",
        "/\x00",
        "/sign-in?next=/",
        "/sign-out",
        "/runs/ü",
    ],
)
def test_x9_everything_that_could_lead_elsewhere_leads_home(target: str) -> None:
    assert safe_next(target) == "/"
    scene = Scene()
    assert scene.sign_in(target=target).headers["location"] == "/"
