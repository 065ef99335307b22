"""Somebody signs in at a provider, a process of its own, with a real browser."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.looks import LOOKS, assert_it_fits
from tests.browser.test_every_page import AXE, SERIOUS, visit
from tests.oidc_provider import CLIENT, SECRET
from tests.security.oidc_kit import CALLBACK
from tests.serving import ROOT, Server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server at which people of the lab sign in; their provider starts after it."""
    home = tmp_path_factory.mktemp("lab")
    (home / "secret").write_text(SECRET + "\n")
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        port = place.getsockname()[1]
    options = {
        "--oidc-issuer": f"http://127.0.0.1:{port}/realms/lab",
        "--oidc-client-id": CLIENT,
        "--oidc-client-secret-file": str(home / "secret"),
        "--oidc-domains": "lab.example",
        "--oidc-roles": "ml-leads=admin",
    }
    server = Server(home, *(word for pair in options.items() for word in pair))
    command = [sys.executable, "-m", "tests.oidc_provider", str(port), server.url + CALLBACK]
    provider = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert provider.stdout is not None
    assert provider.stdout.readline().strip() == options["--oidc-issuer"]
    yield server
    server.stop()
    provider.kill()
    provider.wait()
    provider.stdout.close()


def test_somebody_signs_in_at_the_provider_and_comes_to_the_page_that_was_asked_for(lab: Server, page: Page) -> None:
    page.goto(lab.url + "/rules?find=loss")
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.get_by_role("link", name="ada").click()
    page.wait_for_url(lab.url + "/rules?find=loss")
    assert page.locator("header .top__who").inner_text() == "ada@lab.example"
    page.goto(lab.url + "/settings/people")
    assert "admin · signs in with 127.0.0.1" in page.inner_text("main")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert list(cookies) == [f"gradwatch_session_{lab.port}"], "what was kept for the way is gone"
    session = cookies[f"gradwatch_session_{lab.port}"]
    assert (session["httpOnly"], session["sameSite"]) == (True, "Lax")
    page.get_by_role("button", name="Sign out").first.click()
    page.wait_for_url("**/sign-in?out=1")
    page.get_by_role("link", name="sign out there too").click()
    assert page.inner_text("h1") == "Signed out"
    page.go_back()
    page.go_back()
    page.reload()
    page.wait_for_url("**/sign-in?next=*")


def test_somebody_of_another_domain_is_told_why_and_stays_outside(lab: Server, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(lab.url)
    page.get_by_role("link", name="Sign in with 127.0.0.1").click()
    page.get_by_role("link", name="out").click()
    alert = page.get_by_role("alert")
    assert "is of a domain that may not sign in here" in alert.inner_text()
    page.goto(lab.url)
    page.wait_for_url("**/sign-in?next=*")
    page.close()


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_form_with_a_provider_has_no_barrier(lab: Server, browser: Browser, theme: str, width: int) -> None:
    page = visit(browser, theme, width)
    page.goto(lab.url + "/sign-in/oidc/callback?code=x&state=y")
    assert_it_fits(page, width, page.url)
    assert page.evaluate("() => window.policyReports") == []
    page.evaluate(AXE.read_text("utf-8"))
    assert page.evaluate(SERIOUS) == []
    page.close()
