"""Host names, origins and protecting headers, on a small application of their own."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from server.config import Settings
from server.web.security import CHART_POLICY, STRICT_POLICY, HostCheck, OriginCheck, SecurityHeaders, allowed_names

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def client(settings: Settings | None = None) -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        return PlainTextResponse("hello")

    settings = settings or Settings(allowed_hosts=("gradwatch.lab",))
    stack = [Middleware(SecurityHeaders), Middleware(HostCheck, settings=settings), Middleware(OriginCheck)]
    app = Starlette(routes=[Route("/{rest:path}", answer, methods=METHODS)], middleware=stack)
    return TestClient(app, base_url="http://127.0.0.1:8777")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8777", "LOCALHOST", "[::1]:8777", "gradwatch.lab:1"])
def test_it_answers_to_its_own_names(host: str) -> None:
    assert client().get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "evil.example:8777",
        "localhost.evil.example",
        "192.168.0.7",
        "",
        "localhost:80:80",
        "localhost:x",
        "[::1",
        "[::1]x",
        "localhost@evil.example",
        "gradwatch.lab.",
    ],
)
def test_a_foreign_name_gets_a_400_whatever_other_headers_claim(host: str) -> None:
    forged = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost", "X-Host": "localhost"}
    answer = client().get("/", headers={"Host": host, **forged})
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith("Host header: got ")
    assert answer.json()["detail"].endswith("Further names go into GRADWATCH_ALLOWED_HOSTS")


def test_bound_to_every_address_it_answers_to_numbers_but_not_to_foreign_names() -> None:
    everywhere = client(Settings(host="0.0.0.0", token="t"))
    assert everywhere.get("/", headers={"Host": "192.168.0.7:8777"}).status_code == 200
    assert everywhere.get("/", headers={"Host": "evil.example"}).status_code == 400


def test_the_bound_name_is_allowed() -> None:
    assert "10.0.0.5" in allowed_names(Settings(host="10.0.0.5"))


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "http://127.0.0.1:8777", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://[", "Sec-Fetch-Site": "same-origin"},
        {"Origin": ""},
    ],
)
def test_a_change_from_another_site_is_refused(method: str, headers: dict[str, str]) -> None:
    answer = client().request(method, "/", headers=headers)
    assert answer.status_code == 403
    said = headers.get("Origin", "none")
    assert answer.json()["detail"] == (
        f"Origin header: got {said!r} for the host '127.0.0.1:8777'; a page of another site asked for this change, or "
        "a proxy does not pass the Host header on"
    )


@pytest.mark.parametrize("method", METHODS[1:])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://127.0.0.1:8777"},
        {"Origin": "http://127.0.0.1:8777", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_our_own_pages_and_programs_may_change_things(method: str, headers: dict[str, str]) -> None:
    assert client().request(method, "/", headers=headers).status_code == 200


def test_method_override_headers_do_nothing() -> None:
    headers = {"X-HTTP-Method-Override": "GET", "Origin": "http://evil.example"}
    assert client().post("/", headers=headers).status_code == 403


def test_reading_is_not_stopped_by_an_origin() -> None:
    assert client().get("/", headers={"Origin": "http://evil.example"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/rules", "/runs", "/nothing"])
def test_every_answer_carries_the_protecting_headers(path: str) -> None:
    headers = client().get(path).headers
    assert headers["content-security-policy"] == STRICT_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"


def test_refusals_carry_them_too() -> None:
    assert client().get("/", headers={"Host": "evil.example"}).headers["x-content-type-options"] == "nosniff"


def test_only_run_pages_allow_style_attributes() -> None:
    assert client().get("/runs/abc").headers["content-security-policy"] == CHART_POLICY
    assert "style-src-attr" not in STRICT_POLICY
    assert "unsafe" not in STRICT_POLICY
    assert CHART_POLICY.replace("style-src-attr 'unsafe-inline'; ", "") == STRICT_POLICY
