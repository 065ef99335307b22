"""A webhook of Discord: one embed; nobody is mentioned, and foreign text is none of its markup.

https://docs.discord.com/developers/resources/webhook#execute-webhook
"""

from __future__ import annotations

import json
import re
from typing import Any

from server.alerts import words
from server.alerts.http import Post
from server.domain.alerts import Due
from server.domain.findings import Severity

LONGEST_TITLE = 256
LONGEST_DESCRIPTION = 4_000
LONGEST_FIELD = 1_000
COLOURS = {Severity.ERROR: 0xC62828, Severity.WARNING: 0xB26A00, Severity.INFO: 0x2F6FB0}

_MARKUP = re.compile(r"([\\*_~`|>#\[\]()<@:+.-])")


def post_for(due: Due, base: str, _now_s: float) -> Post:
    """Makes the post."""
    news = due.news
    embed: dict[str, Any] = {
        "title": escaped(words.headline(news), LONGEST_TITLE),
        "description": "\n\n".join(escaped(part, LONGEST_DESCRIPTION // 4) for part in words.story(news)),
        "color": COLOURS[news.severity],
        "fields": [
            {"name": name, "value": escaped(value, LONGEST_FIELD), "inline": True} for name, value in words.facts(news)
        ],
    }
    address = words.link(news, base)
    if address:
        embed["url"] = address
    told = {"embeds": [embed], "allowed_mentions": {"parse": []}}
    return Post(due.channel.address, json.dumps(told).encode(), {"Content-Type": "application/json"})


def escaped(text: str, longest: int) -> str:
    """Puts a backslash before what Discord reads as markup, and keeps the result within a limit."""
    written = _MARKUP.sub(r"\\\1", text)
    while len(written) > longest:
        text = text[:-2].rstrip() + "…"
        written = _MARKUP.sub(r"\\\1", text)
    return written
