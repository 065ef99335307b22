"""Each kind of channel: its form, its markup in which foreign text is only text, its signature."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from typing import Any

import pytest

from server.alerts import ntfy, webhook, words
from server.alerts.senders import POSTS
from server.domain.alerts import ChannelKind
from server.domain.findings import Severity
from tests.security.payloads import PAYLOADS
from tests.server.alerts.kit import BASE, NOW_S, due

LINK = f"{BASE}/runs/run-1#finding-4"


def sent(kind: str, **more: Any) -> Any:
    """Gives the JSON that a channel of this kind posts."""
    return json.loads(POSTS[ChannelKind(kind)](due(kind, **more), BASE, NOW_S).body)


def texts(value: Any) -> list[str]:
    """Gives every string in a JSON value."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in texts(item)]


@pytest.mark.parametrize("kind", list(POSTS))
def test_each_kind_says_run_project_finding_message_advice_steps_and_link(kind: ChannelKind) -> None:
    said = "\n".join(texts(sent(kind.value))).replace("\\", "")
    for part in ("night", "vision", "GW308", "dead-relu", "94 % of units output 0", "Lower the learning rate.", LINK):
        assert part in said, part
    assert "1,000 to 2,000" in said or kind is ChannelKind.WEBHOOK


def test_a_webhook_is_json_with_a_signature_that_its_receiver_can_check() -> None:
    post = webhook.post_for(due(secret="s3cret"), BASE, NOW_S)
    told = json.loads(post.body)
    assert told["event"] == "finding"
    assert told["id"] == "0123abcd"
    assert told["title"] == "Error in night: dead-relu (GW308)"
    assert told["run"] == {"id": "run-1", "name": "night", "project": "vision", "step": 120, "url": LINK}
    assert told["finding"]["symptoms"] == 3
    stamp = post.headers["X-Gradwatch-Timestamp"]
    assert stamp == str(int(NOW_S))
    right = hmac.new(b"s3cret", f"{stamp}.".encode() + post.body, hashlib.sha256).hexdigest()
    assert post.headers["X-Gradwatch-Signature"] == f"sha256={right}"
    assert "X-Gradwatch-Signature" not in webhook.post_for(due(), BASE, NOW_S).headers


def test_slack_gets_plain_text_and_one_link() -> None:
    told = sent("slack")
    assert told["text"] == "Error in night: dead-relu (GW308)"
    assert [block["type"] for block in told["blocks"]] == ["header", *["section"] * 5]
    kinds = [block["text"]["type"] for block in told["blocks"]]
    assert kinds == [*["plain_text"] * 5, "mrkdwn"]
    assert told["blocks"][-1]["text"]["text"] == f"<{LINK}|Open in Gradwatch>"


def test_slack_reads_no_mention_or_link_in_foreign_text() -> None:
    evil = "<!channel> <@U123> <https://evil.example|click> &lt; *b*"
    told = sent("slack", run=evil, message=evil, project=evil, name=evil, advice=evil)
    for text in texts(told)[:-1]:
        assert "<" not in text.replace(f"<{LINK}|Open in Gradwatch>", "")
    assert told["blocks"][1]["text"]["text"] == (
        "&lt;!channel&gt; &lt;@U123&gt; &lt;https://evil.example|click&gt; &amp;lt; *b*"
    )


def test_slack_keeps_its_limits_and_cuts_no_entity_in_two() -> None:
    told = sent("slack", run="&" * 300, message="<" * 9_000)
    assert all(len(block["text"]["text"]) <= 3_000 for block in told["blocks"])
    header = told["blocks"][0]["text"]["text"]
    assert len(header) <= 150
    assert header.endswith("&amp;…")


def test_discord_mentions_nobody_and_reads_no_markup() -> None:
    evil = "@everyone <@1> **b** [x](https://evil.example) `c` # h > q ~~s~~ __u__ ||p|| \\"
    told = sent("discord", run=evil, message=evil)
    assert told["allowed_mentions"] == {"parse": []}
    assert told["embeds"][0]["url"] == LINK
    said = told["embeds"][0]["description"]
    assert "\\@everyone \\<\\@1\\> \\*\\*b\\*\\* \\[x\\]\\(https\\://evil\\.example\\) \\`c\\` \\# h" in said
    assert all(len(field["value"]) <= 1_024 for field in told["embeds"][0]["fields"])


def test_discord_keeps_its_limits() -> None:
    told = sent(
        "discord", run="*" * 9_000, message="*" * 9_000, advice="*" * 9_000, project="_" * 9_000, name="~" * 900
    )
    (embed,) = told["embeds"]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4_096
    whole = len(embed["title"]) + len(embed["description"])
    assert whole + sum(len(field["name"]) + len(field["value"]) for field in embed["fields"]) <= 6_000


def test_teams_gets_a_message_with_one_card_of_text_runs() -> None:
    told = sent("teams", message="**b** [x](https://evil.example) <at>everyone</at>")
    assert told["type"] == "message"
    (attached,) = told["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attached["content"]
    assert (card["type"], card["version"]) == ("AdaptiveCard", "1.4")
    assert {block["type"] for block in card["body"]} == {"RichTextBlock"}, "a text block would read Markdown"
    assert card["body"][1]["inlines"][0]["text"] == "**b** [x](https://evil.example) <at>everyone</at>"
    assert card["actions"] == [{"type": "Action.OpenUrl", "title": "Open in Gradwatch", "url": LINK}]
    assert "msteams" not in card, "nobody is mentioned"


def test_ntfy_gets_json_above_its_topic_with_the_token_in_a_header() -> None:
    post = ntfy.post_for(due("ntfy", "https://push.example/base/night-runs", secret="tk_1"), BASE, NOW_S)
    assert post.address == "https://push.example/base/"
    assert post.headers["Authorization"] == "Bearer tk_1"
    told = json.loads(post.body)
    assert (told["topic"], told["priority"], told["click"]) == ("night-runs", 4, LINK)
    assert "markdown" not in told
    assert (
        len(json.loads(ntfy.post_for(due("ntfy", message="é" * 9_000), BASE, NOW_S).body)["message"].encode()) <= 4_096
    )


def test_any_payload_is_text_in_every_kind() -> None:
    for payload in PAYLOADS:
        foreign = dict.fromkeys(("run", "project", "message", "advice", "name", "code"), payload)
        assert all("<" not in text for text in texts(sent("slack", **foreign))[:-4] if LINK not in text), payload
        for text in texts(sent("discord", **foreign)["embeds"][0]["description"]):
            assert not re.search(r"(?<!\\)[<>\[\]`*_@]", text.replace("\\\\", "")), payload
        for kind in POSTS:
            assert all(
                text == "".join(char for char in text if char >= " " or char == "\n")
                for text in texts(sent(kind.value, **foreign))
                if kind is not ChannelKind.WEBHOOK
            ), payload


def test_the_link_is_the_servers_own_address_and_nothing_of_a_run_changes_it() -> None:
    news = due(run_id="a/../../b?c#d").news
    assert words.link(news, BASE) == f"{BASE}/runs/a%2F..%2F..%2Fb%3Fc%23d#finding-4"


@pytest.mark.parametrize(
    ("event", "headline"),
    [
        ("failed", "night failed"),
        ("crashed", "night crashed"),
        ("silent", "night has gone silent"),
        ("stuck", "night stands still"),
        ("finished", "night finished"),
        ("stopped", "night was stopped"),
    ],
)
def test_states_are_told_with_the_diagnosis(event: str, headline: str) -> None:
    news = due(event=event, message="2 problems: dead-relu", advice="", symptoms=0, number=0).news
    assert words.headline(news) == headline
    said = words.whole(news, BASE)
    assert "2 problems: dead-relu" in said
    assert "Last step: 120" in said
    assert said.endswith(f"{BASE}/runs/run-1")


def test_words_are_one_line_and_hide_nothing() -> None:
    assert words.plain("a\r\nB: c\x00\u202ed\u2066 \ud800e") == "a B: c d e"
    assert words.plain("x" * 2_000).endswith("…")
    assert len(words.plain("x" * 2_000)) == words.LONGEST_TEXT


def test_a_test_says_that_it_is_one() -> None:
    news = due(
        event="test", run="", run_id="", project="", severity=Severity.INFO, message="", advice="", number=0
    ).news
    assert words.headline(news) == "Gradwatch: a test"
    assert words.facts(news) == []
    for kind in POSTS:
        assert sent(kind.value, event="test", run="", run_id="", project="", message="", advice="", number=0)
