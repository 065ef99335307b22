"""Finds the sender of a channel's kind: a table with one entry for each."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping

from server.alerts import discord, mail, ntfy, slack, teams, webhook
from server.alerts.guard import Guard
from server.alerts.http import Post, Poster
from server.config import Settings
from server.domain.alerts import ChannelKind, Due

POSTS: Mapping[ChannelKind, Callable[[Due, str, float], Post]] = {
    ChannelKind.WEBHOOK: webhook.post_for,
    ChannelKind.SLACK: slack.post_for,
    ChannelKind.DISCORD: discord.post_for,
    ChannelKind.TEAMS: teams.post_for,
    ChannelKind.NTFY: ntfy.post_for,
}


class Senders:
    """Sends one piece of news; `now_s` gives the time in seconds since 1970."""

    def __init__(
        self,
        settings: Settings,
        now_s: Callable[[], float],
        poster: Poster | None = None,
        context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        self._base = settings.public_url or settings.address
        self._mail = mail.MailServer(settings.smtp_url or "", settings.mail_from or "")
        self._now_s = now_s
        self._context = context
        self._poster = poster or Poster(Guard(settings.alert_hosts), now_s, context=context)

    def send(self, due: Due) -> None:
        """Sends it; raises Refused or NotSent with a sentence."""
        now_s = self._now_s()
        if due.channel.kind is ChannelKind.MAIL:
            mail.send(due, self._mail, self._base, now_s, self._context)
            return
        post = POSTS[due.channel.kind](due, self._base, now_s)
        headers = {**post.headers, "Idempotency-Key": due.mark}
        self._poster.post(Post(post.address, post.body, headers))
