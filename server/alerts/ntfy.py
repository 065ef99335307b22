"""A topic of ntfy: its JSON form, which goes to the address above the topic. The secret is an access token.

https://docs.ntfy.sh/publish/#publish-as-json
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from server.alerts import words
from server.alerts.http import Post
from server.domain.alerts import Due
from server.domain.findings import Severity

PRIORITIES = {Severity.ERROR: 4, Severity.WARNING: 3, Severity.INFO: 2}
LONGEST_BYTES = 3_500  # ntfy makes a file of more than 4,096


def post_for(due: Due, base: str, _now_s: float) -> Post:
    """Makes the post."""
    news = due.news
    parts = urlsplit(due.channel.address)
    above, _, topic = parts.path.rstrip("/").rpartition("/")
    told: dict[str, Any] = {
        "topic": topic,
        "title": words.headline(news),
        "message": _shortened(words.whole(news, "" if news.event == "test" else base)),
        "priority": PRIORITIES[news.severity],
    }
    address = words.link(news, base)
    if address:
        told["click"] = address
    headers = {"Content-Type": "application/json"}
    if due.channel.secret:
        headers["Authorization"] = f"Bearer {due.channel.secret}"
    target = urlunsplit((parts.scheme, parts.netloc, f"{above}/", "", ""))
    return Post(target, json.dumps(told).encode(), headers)


def _shortened(text: str) -> str:
    return text.encode()[:LONGEST_BYTES].decode("utf-8", "ignore")
