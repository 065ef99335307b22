"""Settings: where each comes from, and the sentence for each that is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from server.config import Settings, SettingsError, add_arguments


def test_defaults_listen_on_this_machine_alone(tmp_path: Path) -> None:
    settings = Settings.read({}, {"GRADWATCH_HOME": str(tmp_path)})
    assert (settings.host, settings.port, settings.token) == ("127.0.0.1", 8777, None)
    assert settings.database == f"sqlite:///{tmp_path}/gradwatch.db"
    assert settings.address == "http://127.0.0.1:8777"


def test_the_home_is_a_dot_folder_unless_named() -> None:
    assert Settings.read({}, {}).home == Path("~/.gradwatch").expanduser()


def test_an_argument_wins_over_the_environment() -> None:
    environment = {"GRADWATCH_PORT": "9000", "GRADWATCH_SERVER_TOKEN": "from-environment"}
    settings = Settings.read({"port": "9001"}, environment)
    assert (settings.port, settings.token) == (9001, "from-environment")


def test_every_setting_is_an_option_with_its_variable_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    text = parser.format_help()
    for option in ("--host", "--port", "--home", "--database", "--token", "--allowed-hosts"):
        assert option in text
    assert "GRADWATCH_SERVER_TOKEN" in text


def test_the_token_and_the_password_of_the_mail_server_are_not_in_the_repr() -> None:
    assert "secret" not in repr(Settings.read({"token": "secret", "smtp_url": "smtps://ada:secret@host"}, {}))


def test_the_settings_of_alerts_are_read() -> None:
    environment = {
        "GRADWATCH_PUBLIC_URL": "https://gradwatch.lab.example/",
        "GRADWATCH_ALERT_HOSTS": "Hooks.lab.example, 10.0.0.5:8080, [::1]:81",
        "GRADWATCH_SMTP_URL": "smtps://ada:p%40ss@mail.example:465",
        "GRADWATCH_MAIL_FROM": "gradwatch@lab.example",
    }
    settings = Settings.read({}, environment)
    assert settings.public_url == "https://gradwatch.lab.example"
    assert settings.alert_hosts == ("hooks.lab.example", "10.0.0.5:8080", "[::1]:81")
    assert settings.smtp_url == "smtps://ada:p%40ss@mail.example:465"
    assert settings.mail_from == "gradwatch@lab.example"


@pytest.mark.parametrize(
    "url", ["mail.example", "http://mail.example", "smtps://", "smtp://a:secret@b:x", "smtp://h/p"]
)
def test_a_wrong_mail_server_is_told_without_its_password(url: str) -> None:
    with pytest.raises(SettingsError, match="--smtp-url cannot be read: smtps://user:password@host:465") as caught:
        Settings.read({"smtp_url": url}, {})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "environment", "sentence"),
    [
        ({"port": "80a"}, {}, "--port is '80a': a number from 0 to 65535 is needed (0 = a free port)"),
        ({}, {"GRADWATCH_PORT": "-1"}, "GRADWATCH_PORT is '-1': a number from 0 to 65535 is needed (0 = a free port)"),
        ({"port": "65536"}, {}, "--port is '65536': a number from 0 to 65535 is needed (0 = a free port)"),
        ({"host": "http://x"}, {}, "--host is 'http://x': an address or a host name is needed, such as 127.0.0.1"),
        ({"host": "1.2.3.4:80"}, {}, "--host is '1.2.3.4:80': an address or a host name is needed, such as 127.0.0.1"),
        ({"database": "/d/a.db"}, {}, "--database is '/d/a.db': a URL is needed, such as sqlite:////d/a.db"),
        ({"token": ""}, {}, "--token is empty or holds spaces or characters outside ASCII: a header cannot carry it"),
        (
            {"token": "zwölf"},
            {},
            "--token is empty or holds spaces or characters outside ASCII: a header cannot carry it",
        ),
        (
            {},
            {"GRADWATCH_ALLOWED_HOSTS": "a.example,*"},
            "GRADWATCH_ALLOWED_HOSTS holds '*': plain host names are needed, such as gradwatch.lab.example",
        ),
        (
            {"public_url": "gradwatch.lab.example/x"},
            {},
            (
                "--public-url is 'gradwatch.lab.example/x': an address without a path is needed, such as "
                "https://gradwatch.lab.example"
            ),
        ),
        (
            {"alert_hosts": "http://a"},
            {},
            "--alert-hosts holds 'http://a': hosts are needed, such as hooks.lab.example or 10.0.0.5:8080",
        ),
        (
            {"mail_from": "nobody"},
            {},
            "--mail-from is 'nobody': one address is needed, such as gradwatch@lab.example",
        ),
        (
            {"proxies": "10.0.0.0/8, *"},
            {},
            "--proxies holds '*': addresses or networks are needed, such as 127.0.0.1 or 10.0.0.0/8",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(
    arguments: dict[str, str], environment: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.read(arguments, environment)
    assert str(caught.value) == sentence


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_loopback_needs_no_token(host: str) -> None:
    Settings.read({"host": host}, {}).refuse_open_door()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gradwatch.lab", ""])
def test_other_addresses_are_refused_without_a_token(host: str) -> None:
    settings = Settings.read({"host": host}, {})
    with pytest.raises(SettingsError) as caught:
        settings.refuse_open_door()
    assert str(caught.value) == (
        f"--host {host or '0.0.0.0'} lets other machines read, change and delete every run, no token is set, and "
        "nobody has an account. Mend it: gradwatch user add NAME --role admin, or set GRADWATCH_SERVER_TOKEN (or "
        "--token), or keep --host 127.0.0.1"
    )
    settings.refuse_open_door(admin=True)
    Settings.read({"host": host, "token": "t"}, {}).refuse_open_door()


def test_an_address_for_people_is_one_that_can_be_opened() -> None:
    assert Settings(host="0.0.0.0", port=1).address == "http://127.0.0.1:1"
    assert Settings(host="::1", port=1).address == "http://[::1]:1"
