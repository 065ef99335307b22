"""Settings of the hook: an argument before the environment before the default, and a note on every bad value."""

from __future__ import annotations

import pytest

from client_hook.settings import Settings


def test_an_argument_comes_before_the_environment_and_that_before_the_default() -> None:
    environ = {"GRADWATCH_URL": "http://there:1", "GRADWATCH_PROJECT": "p", "GRADWATCH_TOKEN": "t"}
    assert Settings.read(environ={}).url == "http://127.0.0.1:8777"
    assert Settings.read(environ=environ).url == "http://there:1"
    assert Settings.read(environ=environ, url="here:2").url == "http://here:2"
    assert (Settings.read(environ=environ).project, Settings.read(environ=environ).token) == ("p", "t")


@pytest.mark.parametrize(("text", "flag"), [("1", True), ("true", True), ("on", True), ("0", False), ("", False)])
def test_flags_are_read(text: str, flag: bool) -> None:
    settings = Settings.read(environ={"GRADWATCH_STRICT": text, "GRADWATCH_QUIET": text, "GRADWATCH_DISABLED": text})
    assert (settings.strict, settings.quiet, settings.disabled) == (flag, flag, flag)


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://x:99999", "http://[::1", "my server:8777"])
def test_an_address_that_is_none_is_noted(url: str) -> None:
    settings = Settings.read(environ={"GRADWATCH_URL": url})
    assert settings.notes[0].startswith(f"url: got {url!r}, expected something like http://127.0.0.1:8777")


def test_a_password_in_the_address_is_taken_out() -> None:
    settings = Settings.read(url="https://me:secret@host/gradwatch/", environ={})
    assert settings.url == "https://host/gradwatch"
    assert settings.notes == ("url: the user name and password in it are not used; pass a token instead",)
    assert "secret" not in repr(settings)


def test_a_token_that_cannot_be_one_is_not_used_and_none_is_ever_shown() -> None:
    settings = Settings.read(token="with\nbreak", environ={})
    assert settings.token is None
    assert settings.notes[0].startswith("token: it holds characters that a token cannot have")
    assert "visible" in settings.notes[0]
    assert "quiet-token" not in repr(Settings.read(token="quiet-token", environ={}))


def test_the_address_of_a_run_is_known_before_the_server_answers() -> None:
    assert Settings.read(environ={}).run_url("a/b") == "http://127.0.0.1:8777/runs/a%2Fb"


class Address:
    """An address as other libraries keep one."""

    def __str__(self) -> str:
        return "http://there:1"


def test_what_is_no_text_costs_no_training() -> None:
    settings = Settings.read(url=Address(), project=5, token=7, environ={})  # type: ignore[arg-type]
    assert (settings.url, settings.project, settings.token) == ("http://there:1", "5", None)
    assert settings.notes[0].startswith("token: it holds characters that a token cannot have")
