"""The page of alerts: channels are made, changed, tested and removed by plain forms; their secrets are not shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from server.alerts import Dispatcher, Senders
from server.domain.alerts import Channel, ChannelKind, DeliveryState
from server.domain.findings import Severity
from tests.server.alerts.kit import receiver
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, diagnose, finding, look

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
GOOD = {"kind": "slack", "name": "the lab", "address": "https://hooks.example/services/T0K3N", "severity": "warning"}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def post(home: House, path: str = "", **fields: str) -> Any:
    return home.client.post(
        f"/settings/alerts{path}", content=urlencode(fields), headers={**FORM, "Accept": "text/html"}
    )


def channels(home: House) -> list[Channel]:
    return home.store.channels.list()


def set_up(home: House, **more: Any) -> None:
    """Starts over with other settings, as an administrator would."""
    services = home.app.state.services
    home.app.state.services = replace(services, settings=replace(services.settings, **more))


def test_the_page_is_reached_from_the_settings(home: House) -> None:
    assert "/settings/alerts" in look(home, "/settings").values("href")
    page = look(home, "/settings/alerts")
    assert "Nobody is told of anything yet." in page.text
    assert ("details", "") in [(tag, attributes.get("open") or "") for tag, attributes in page.tags]


def test_a_channel_is_added_and_shown_without_its_secret(home: House) -> None:
    answer = post(home, **GOOD, projects='vision, "a, b"', tags="night", ends="1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/settings/alerts")
    (made,) = channels(home)
    assert (made.kind, made.name, made.severity, made.ends) == (ChannelKind.SLACK, "the lab", Severity.WARNING, True)
    assert (made.projects, made.tags) == (("vision", "a, b"), ("night",))
    page = home.client.get("/settings/alerts").text
    assert "Slack · https://hooks.example/…" in page
    assert "warnings and errors · runs that break or fall silent · runs that end" in page
    assert "projects: vision, &#34;a, b&#34; · tags: night" in page
    for path in ("/settings/alerts", "/settings/alerts?edit=1"):
        assert "T0K3N" not in home.client.get(path).text


def test_what_is_left_empty_stays_and_a_secret_never_goes_to_another_address(home: House) -> None:
    webhook = {"kind": "webhook", "name": "n", "address": "https://hooks.example/T0K3N", "secret": "s3cret"}
    post(home, **webhook)
    page = home.client.get("/settings/alerts?edit=1").text
    assert "s3cret" not in page
    assert "there is one" in page
    assert "as it is: https://hooks.example/…" in page
    post(home, "/1", do="save", kind="webhook", name="new", address="", secret="")
    (kept,) = channels(home)
    assert (kept.name, kept.address, kept.secret) == ("new", "https://hooks.example/T0K3N", "s3cret")
    post(home, "/1", do="save", kind="webhook", name="new", address="https://elsewhere.example/", secret="")
    assert channels(home)[0].secret == "", "who may change the address may not learn the secret"
    post(home, "/1", do="save", kind="webhook", address="", secret="other")
    assert channels(home)[0].secret == "other"
    post(home, "/1", do="save", kind="webhook", address="", secret="", forget="1")
    assert channels(home)[0].secret == ""


def test_a_channel_is_switched_off_and_on_and_removed(home: House) -> None:
    post(home, **GOOD)
    post(home, "/1", do="off")
    assert not channels(home)[0].active
    assert "Switch on: the lab" in home.client.get("/settings/alerts").text
    post(home, "/1", do="on")
    assert channels(home)[0].active
    post(home, "/1", do="remove")
    assert channels(home) == []
    assert post(home, "/1", do="remove").status_code == 404


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"address": "ftp://x.example/"}, "The address begins with neither https:// nor http://"),
        ({"address": ""}, "The address has 0 characters"),
        ({"address": "http://localhost/x"}, "The host localhost is a name of this network"),
        ({"address": "http://10.0.0.1/x"}, "The host 10.0.0.1 leads into a private network"),
        ({"address": "https://x.example:8080/"}, "Port 8080 is not called"),
        ({"kind": "pigeon"}, "Kind: got &#39;pigeon&#39;, expected one of webhook, slack"),
        ({"severity": "awful"}, "Least severity: got &#39;awful&#39;, expected one of info, warning, error"),
        ({"name": "x" * 101}, "Name: got 101 characters, at most 100 fit"),
        ({"secret": "x"}, "Secret: Slack has none; leave it empty"),
        ({"kind": "webhook", "secret": "with space"}, "Secret: at most 200 characters of ASCII"),
        ({"kind": "ntfy", "address": "https://ntfy.example/"}, "Address: ntfy needs one that ends in its topic"),
        ({"kind": "ntfy", "address": "https://ntfy.example/a?b"}, "Address: ntfy needs one that ends in its topic"),
        ({"projects": 'a, "b'}, "Projects: write names with a comma between"),
        ({"tags": ",".join(str(number) for number in range(51))}, "Tags: at most 50 names"),
        ({"kind": "mail", "address": "ada@lab.example"}, "No mail server is set here"),
    ],
)
def test_a_wrong_channel_is_told_and_what_was_written_stays(home: House, fields: dict[str, str], sentence: str) -> None:
    answer = post(home, **{**GOOD, "projects": "vision", **fields})
    assert answer.status_code == 422
    assert sentence in answer.text
    assert "T0K3N" not in answer.text
    if "projects" not in fields:
        assert 'name="projects" value="vision"' in answer.text
    assert channels(home) == []


def test_mail_needs_a_server_and_addresses(home: House) -> None:
    set_up(home, smtp_url="smtps://u:p4ss@mail.example", mail_from="g@lab.example")
    for wrong in ("ada", "ada@lab.example\nBcc: x@y", "a@b.example," * 11, "", "ada@lab.example, <x>"):
        assert post(home, kind="mail", address=wrong).status_code == 422
    assert post(home, kind="mail", address=" ada@lab.example , bob@lab.example").status_code == 303
    assert channels(home)[0].address == "ada@lab.example, bob@lab.example"
    page = home.client.get("/settings/alerts?edit=1").text
    assert 'value="ada@lab.example, bob@lab.example"' in page
    assert "p4ss" not in page


def test_a_kind_of_another_form_needs_its_own_address(home: House) -> None:
    post(home, **GOOD)
    answer = post(home, "/1", do="save", kind="discord", address="")
    assert answer.status_code == 422
    assert "a channel of the kind Discord needs another one" in answer.text
    assert channels(home)[0].kind is ChannelKind.SLACK


def test_there_is_an_end_to_the_channels(home: House) -> None:
    for number in range(50):
        assert post(home, **{**GOOD, "name": str(number)}).status_code == 303
    assert "no more fit" in post(home, **GOOD).text


def test_a_test_says_at_once_how_it_went(home: House) -> None:
    with receiver() as got:
        set_up(home, alert_hosts=(got.host,))
        settings = home.app.state.services.settings
        post(home, kind="webhook", name="ours", address=f"{got.url}/T0K3N")
        dispatcher = Dispatcher(home.store, Senders(settings, lambda: 0.0), interval_s=0.01)
        dispatcher.start()
        answer = post(home, "/1", do="test")
        assert answer.headers["location"] == "/settings/alerts?test=1"
        page = look(home, answer.headers["location"]).text
        assert "The test was sent to ours: look there." in page
        got.answers = [(404, {})]
        page = look(home, post(home, "/1", do="test").headers["location"]).text
        assert "The test of ours was not sent: 127.0.0.1 answered 404." in page
        got.answers = [(503, {})]
        page = look(home, post(home, "/1", do="test").headers["location"]).text
        assert "The test of ours was not sent yet: 127.0.0.1 answered 503. It is tried again." in page
        dispatcher.stop()
    assert len(got.heard) == 3
    assert [row.state for row in home.store.alerts.latest(9)] == [
        DeliveryState.WAITING, DeliveryState.GIVEN_UP, DeliveryState.SENT,
    ]  # fmt: skip


def test_what_was_told_leads_to_its_run_and_says_why_not(home: House) -> None:
    home.open_run(name="night")
    post(home, kind="webhook", name="ours", address="https://hooks.example/T0K3N")
    home.send(0, {"loss": [1.0]}, records=[{"kind": "status", "name": "failed", "step": 0, "time_ms": 1, "value": {}}])
    (waiting,) = home.store.alerts.latest(9)
    page = look(home, "/settings/alerts")
    assert "A run failed, not told yet" in page.text
    assert f"/runs/{RUN}" in page.values("href")
    assert waiting.event == "failed"


def test_the_audit_log_tells_what_was_done_to_a_channel_but_not_its_secret(home: House) -> None:
    post(home, **GOOD)
    for wish in ("save", "off", "on", "remove"):
        post(home, "/1", **{**GOOD, "do": wish, "address": ""})
    told = home.store.audit.newest(10)
    assert [deed.action for deed in reversed(told)] == [
        "added an alert channel",
        "changed an alert channel",
        "switched an alert channel off",
        "switched an alert channel on",
        "removed an alert channel",
    ]
    assert {(deed.who, deed.about) for deed in told} == {
        ("somebody on this machine", "the lab, slack, https://hooks.example/…")
    }


def test_names_of_others_are_text(home: House) -> None:
    post(home, **{**GOOD, "name": EVIL[:90], "projects": EVIL, "tags": EVIL})
    assert "<script>alert" not in home.client.get("/settings/alerts?edit=1").text
    home.open_run(name=EVIL)
    diagnose(home, finding(name=EVIL))
    assert "<script>alert" not in home.client.get("/settings/alerts").text


def test_a_page_of_another_site_can_change_nothing(home: House) -> None:
    answer = home.client.post(
        "/settings/alerts", content=urlencode(GOOD), headers={**FORM, "Origin": "https://elsewhere.example"}
    )
    assert answer.status_code == 403
    assert channels(home) == []


def test_numbers_that_no_channel_has_are_answered_with_a_sentence(home: House) -> None:
    assert home.client.get("/settings/alerts?edit=99&test=99").status_code == 200
    for wrong in ("0", "-1", "x", str(2**31)):
        assert post(home, f"/{wrong}", do="off").status_code in (404, 422)
    assert home.client.get("/settings/alerts?edit=99999999999999").status_code == 422
