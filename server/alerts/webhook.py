"""A web server of one's own: JSON, signed where the channel has a secret.

The signature is `sha256=` and the hexadecimal HMAC-SHA256 of the timestamp, a dot and the body, with the secret as key.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from server.alerts import words
from server.alerts.http import Post
from server.domain.alerts import Due


def post_for(due: Due, base: str, now_s: float) -> Post:
    """Makes the post."""
    news = due.news
    run = {
        "id": news.run_id,
        "name": news.run,
        "project": news.project,
        "step": news.step,
        "url": words.link(news, base),
    }
    finding = {
        "number": news.number,
        "code": news.code,
        "name": news.name,
        "message": news.message,
        "advice": news.advice,
        "first_step": news.first_step,
        "last_step": news.last_step,
        "symptoms": news.symptoms,
    }
    told = {
        "id": due.mark,
        "event": news.event,
        "severity": news.severity.value,
        "title": words.headline(news),
        "text": "\n\n".join(words.story(news)),
        "time_ms": news.at_ms,
        "run": run if news.run_id else None,
        "finding": finding if news.event == "finding" else None,
    }
    body = json.dumps(told, ensure_ascii=True).encode()
    headers = {"Content-Type": "application/json", "X-Gradwatch-Timestamp": str(int(now_s))}
    if due.channel.secret:
        headers["X-Gradwatch-Signature"] = signature(due.channel.secret, headers["X-Gradwatch-Timestamp"], body)
    return Post(due.channel.address, body, headers)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Signs a body as its receiver does to compare."""
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
