"""People at a shared server: they sign in, see what their role allows, and manage each other, without scripts too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from server.accounts.book import Accounts
from server.store import Store
from tests.browser.kit import RUN
from tests.browser.looks import LOOKS, assert_it_fits
from tests.browser.test_every_page import AXE, SERIOUS, visit
from tests.server.store.kit import open_run, url_in
from tests.serving import Server

pytestmark = pytest.mark.browser

PASSWORD = "seven green bicycles"
LONG = "somebody.with.a.long.name@department.of.the.lab.example"
PROJECT = "speech recognition of the whole department, second attempt"
PAGES = ("/settings/people", "/settings/tokens", "/settings/account", "/settings", "/")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with a run, three people and a token."""
    home = tmp_path_factory.mktemp("shared")
    store = Store.open(url_in(home))
    open_run(store, name="baseline")
    open_run(store, "0190a3d2-7b11-7c3e-9a55-2f6d1c0b9e99", name="second")
    accounts = Accounts(store)
    for name, role in (("ada", "admin"), (LONG, "editor"), ("vic", "viewer")):
        accounts.add_person(name, role, PASSWORD, who="the test")
    accounts.add_token("nightly trainings of the whole department", "ingest", None, who="ada")
    accounts.add_person("guest", "viewer", PASSWORD, {"default": "viewer", PROJECT: "editor"}, who="ada")
    accounts.add_token("of two projects", "write", None, ["default", PROJECT], who="ada")
    store.close()
    started = Server(home, "--token", "k" * 32)
    yield started
    started.stop()


def sign_in(page: Page, server: Server, name: str, path: str = "/") -> None:
    page.goto(server.url + path)
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").first.click()
    page.wait_for_url(server.url + path)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_pages_of_accounts_fit_keep_the_policy_and_have_no_serious_barrier(
    shared: Server, browser: Browser, theme: str, width: int
) -> None:
    source = AXE.read_text("utf-8")
    page = visit(browser, theme, width)
    page.goto(shared.url + "/sign-in")
    barriers: dict[str, list[str]] = {}

    def look(path: str) -> None:
        assert_it_fits(page, width, path)
        assert page.evaluate("() => window.policyReports") == [], path
        page.evaluate(source)
        barriers[path] = page.evaluate(SERIOUS)

    look("/sign-in")
    sign_in(page, shared, "ada")
    for path in PAGES:
        page.goto(shared.url + path)
        for closed in page.locator("details.settings__more, .settings__mute details").all():
            closed.locator("summary").click()
        look(path)
    page.goto("about:blank")  # the page would go to the sign-in form by itself
    page.context.clear_cookies()
    sign_in(page, shared, LONG)
    look("/")
    page.close()
    assert {path: found for path, found in barriers.items() if found} == {}


@pytest.mark.parametrize("scripts", [True, False])
def test_an_admin_adds_somebody_who_signs_in_and_makes_a_token(browser: Browser, tmp_path: Path, scripts: bool) -> None:
    server = Server(tmp_path)
    context = browser.new_context(java_script_enabled=scripts)
    page = context.new_page()
    try:
        page.goto(server.url + "/settings/people")
        assert "Nobody has an account yet." in page.inner_text("main")
        for name, role in (("ada", "admin"), ("vic", "viewer")):
            form = page.locator("form[action='/settings/people']")
            form.get_by_label("Name").fill(name)
            form.get_by_label("Role").select_option(role)
            form.get_by_label("Password").fill(PASSWORD)
            form.get_by_role("button").click()
            if name == "ada":  # whoever was in without a name is not any more
                page.wait_for_url("**/sign-in?next=*")
                page.get_by_label("Name").fill("ada")
                page.get_by_label("Password").fill(PASSWORD)
                page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/settings/people")
        assert page.locator("header .top__who").inner_text() == "ada"
        assert "added a person: vic, viewer" in page.inner_text("main")
        page.get_by_role("link", name="Tokens").click()
        form = page.locator("form[action='/settings/tokens']")
        form.get_by_label("Name").fill("nightly")
        form.get_by_role("button").click()
        assert page.locator("#token").inner_text().startswith("gw_")
        page.get_by_role("button", name="Revoke nightly").click()
        page.wait_for_url("**/settings/tokens")
        assert "There is no token." in page.inner_text("main")
        page.get_by_role("button", name="Sign out").first.click()
        page.wait_for_url("**/sign-in")
    finally:
        context.close()
        server.stop()


def test_a_viewer_ticks_runs_to_compare_them(shared: Server, browser: Browser) -> None:
    page = browser.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    sign_in(page, shared, "vic")
    page.locator("[data-tick]").first.check()
    bar = page.locator("[data-selection]")
    bar.get_by_text("1 ticked").wait_for()
    assert bar.locator("button:visible").all_inner_texts() == ["Clear"]
    page.locator("[data-tick]").last.check()
    bar.get_by_text("2 ticked").wait_for()
    assert bar.locator("button:visible").all_inner_texts() == ["Compare", "Clear"]
    bar.get_by_role("button", name="Clear").click()
    bar.wait_for(state="hidden")
    assert broken == []
    page.close()


def test_a_viewer_is_offered_nothing_to_change(shared: Server, browser: Browser) -> None:
    page = browser.new_page()
    sign_in(page, shared, "vic")
    page.locator(f"[data-row='{RUN}'] a").first.wait_for()
    assert page.locator("[data-run-act], [data-bulk='delete']").count() == 0
    page.goto(f"{shared.url}/runs/{RUN}")
    assert page.locator("[data-run-act]").count() == 0
    page.goto(shared.url + "/settings/people")
    assert "Not allowed: vic is a viewer; this needs the role admin" in page.inner_text("main")
    page.close()


def test_notes_that_were_typed_before_the_session_ended_are_saved_after_the_next_sign_in(
    shared: Server, browser: Browser
) -> None:
    page = visit(browser, "light", 1280)
    sign_in(page, shared, "ada", f"/runs/{RUN}/notes")
    page.get_by_label("Markdown").fill("typed for an hour")
    page.context.clear_cookies()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("You are signed out, so nothing is saved yet.").wait_for()
    other = visit(browser, "light", 1280)  # a tab of the same browser shares its cookies
    sign_in(other, shared, "ada")
    page.context.add_cookies(other.context.cookies())
    page.reload()
    page.wait_for_url(f"{shared.url}/runs/{RUN}#notes")
    page.get_by_text("typed for an hour").wait_for()
    other.context.close()
    page.context.close()
