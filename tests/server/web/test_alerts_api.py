"""The API of alerts, and the command `gradwatch alert` that uses it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server import cli
from tests.server.alerts.kit import Receiver, receiver
from tests.server.house import House, house
from tests.serving import Server

CHANNELS = "/api/v1/alerts/channels"
WANTED = {"kind": "webhook", "address": "https://hooks.example/T0K3N", "secret": "s3cret"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.mark.parametrize("more", [{"secret": "s3cret" * 40}, {"secret": {"x": "s3cret"}}, {"address": "s3cret" * 400}])
def test_what_is_wrong_with_a_secret_is_said_without_it(home: House, more: dict[str, Any]) -> None:
    answer = home.client.post("/api/v1/alerts/channels", json={**WANTED, **more})
    assert (answer.status_code, "s3cret" in answer.text) == (422, False)
    assert answer.json()["detail"].startswith(f"field {next(iter(more))}: ")


def test_a_channel_is_added_listed_and_removed_and_its_secrets_stay_here(home: House) -> None:
    answer = home.client.post(CHANNELS, json={**WANTED, "projects": ['a, "b"', "c"], "tags": [" t "], "ends": True})
    assert answer.status_code == 201
    item = answer.json()
    assert item["address"] == "https://hooks.example/…"
    assert (item["has_secret"], item["projects"], item["tags"], item["ends"]) == (True, ['a, "b"', "c"], ["t"], True)
    assert (item["severity"], item["name"], item["active"]) == ("error", "Webhook (JSON)", True)
    listed = home.client.get(CHANNELS)
    assert listed.json() == {"items": [item]}
    for said in (answer.text, listed.text):
        assert "T0K3N" not in said
        assert "s3cret" not in said
    assert home.client.delete(f"{CHANNELS}/1").status_code == 204
    assert home.client.delete(f"{CHANNELS}/1").status_code == 404
    assert home.client.get(CHANNELS).json() == {"items": []}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"address": "http://127.0.0.1/"}, "The host 127.0.0.1 leads into a private network"),
        ({"kind": "pigeon"}, "kind"),
        ({"kind": "slack"}, "Secret: Slack has none"),
        ({"unknown": 1}, "unknown"),
        ({"projects": ["x"] * 51}, "projects"),
    ],
)
def test_a_wrong_channel_is_refused_with_a_sentence(home: House, fields: dict[str, Any], sentence: str) -> None:
    answer = home.client.post(CHANNELS, json={**WANTED, **fields})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "T0K3N" not in answer.text
    assert "s3cret" not in answer.text
    assert home.store.channels.list() == []


def test_numbers_that_no_channel_has_are_not_known(home: House) -> None:
    for path in ("7", "7/test"):
        method = "POST" if "test" in path else "DELETE"
        assert home.client.request(method, f"{CHANNELS}/{path}").status_code == 404
    assert home.client.delete(f"{CHANNELS}/{2**40}").status_code == 422


@pytest.fixture
def got() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def test_the_command_adds_lists_tests_and_removes(
    tmp_path: Path, got: Receiver, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path, "--alert-hosts", got.host, "--token", "a-token-of-the-tests")
    monkeypatch.setenv("GRADWATCH_TOKEN", "a-token-of-the-tests")
    (tmp_path / "key").write_text("s3cret\n")

    def alert(*arguments: str) -> int:
        return cli.alert(["--url", server.url, *arguments])

    try:
        assert alert("list") == 0
        assert "Nobody is told of anything" in capsys.readouterr().out
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{got.url}/T0K3N\n"))
        more = (
            "--name",
            "ours",
            "--secret-file",
            str(tmp_path / "key"),
            "--project",
            "a, b",
            "--project",
            "c",
            "--ends",
        )
        assert alert("add", "webhook", "-", *more) == 0
        host = f"http://{got.host}/…"
        assert capsys.readouterr().out == f"Channel 1 tells {host}. Try it: gradwatch alert test 1\n"
        assert alert("list") == 0
        assert capsys.readouterr().out == f"   1  webhook  on   error    ours  {host}  projects: a, b, c  ends too\n"
        assert alert("test", "1") == 0
        assert capsys.readouterr().out == "The test was sent by channel 1: look there\n"
        assert "X-Gradwatch-Signature" in got.heard[0].headers
        got.answers = [(410, {})]
        assert alert("test", "1") == 2
        assert "The test was not sent: 127.0.0.1 answered 410" in capsys.readouterr().err
        assert alert("add", "slack", "ftp://x") == 2
        assert "answers: The address begins with neither https:// nor http://" in capsys.readouterr().err
        assert alert("remove", "1") == 0
        assert alert("remove", "1") == 2
        assert "No channel has the number 1" in capsys.readouterr().err
    finally:
        server.stop()
