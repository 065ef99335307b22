"""An incoming webhook of Slack: blocks of plain text. Foreign text is none of its markup and mentions nobody.

https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and …/formatting-message-text
"""

from __future__ import annotations

import json
from typing import Any

from server.alerts import words
from server.alerts.http import Post
from server.domain.alerts import Due

LONGEST_HEADER = 150
LONGEST_SECTION = 3_000


def post_for(due: Due, base: str, _now_s: float) -> Post:
    """Makes the post."""
    news = due.news
    title = words.headline(news)
    rows = [f"{name}: {value}" for name, value in words.facts(news)]
    address = words.link(news, base)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": _text(title, LONGEST_HEADER)},
        *({"type": "section", "text": _text(part, LONGEST_SECTION)} for part in words.story(news)),
    ]
    if rows:
        blocks.append({"type": "section", "text": _text("\n".join(rows), LONGEST_SECTION)})
    if address:
        linked = {"type": "mrkdwn", "text": f"<{escaped(address)}|Open in Gradwatch>", "verbatim": True}
        blocks.append({"type": "section", "text": linked})
    told = {
        "text": escaped(title),
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": blocks,
    }
    return Post(due.channel.address, json.dumps(told).encode(), {"Content-Type": "application/json"})


def escaped(text: str) -> str:
    """Turns the three characters that Slack reads into entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text(text: str, longest: int) -> dict[str, Any]:
    written = escaped(text)
    while len(written) > longest:  # an entity is never cut in two
        text = text[:-2].rstrip() + "…"
        written = escaped(text)
    return {"type": "plain_text", "text": written, "emoji": False}
