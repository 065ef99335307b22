"""A workflow of Microsoft Teams ("When a Teams webhook request is received"): a message with one adaptive card.

Foreign text stands in text runs, which know no markup; a mention would need an entity, and the card has none.
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/add-incoming-webhook
"""

from __future__ import annotations

import json
from typing import Any

from server.alerts import words
from server.alerts.http import Post
from server.domain.alerts import Due
from server.domain.findings import Severity

CARD = "application/vnd.microsoft.card.adaptive"
SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
VERSION = "1.4"
COLOURS = {Severity.ERROR: "Attention", Severity.WARNING: "Warning", Severity.INFO: "Default"}


def post_for(due: Due, base: str, _now_s: float) -> Post:
    """Makes the post."""
    news = due.news
    body = [_text(words.headline(news), weight="Bolder", size="Medium", color=COLOURS[news.severity])]
    body += [_text(part) for part in words.story(news)]
    body += [_text(f"{name}: {value}", isSubtle=True) for name, value in words.facts(news)]
    card: dict[str, Any] = {"$schema": SCHEMA, "type": "AdaptiveCard", "version": VERSION, "body": body}
    address = words.link(news, base)
    if address:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open in Gradwatch", "url": address}]
    told = {"type": "message", "attachments": [{"contentType": CARD, "contentUrl": None, "content": card}]}
    return Post(due.channel.address, json.dumps(told).encode(), {"Content-Type": "application/json"})


def _text(text: str, **look: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **look}]}
