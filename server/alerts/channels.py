"""Checks a channel that somebody wishes for, with a sentence for what is wrong, and masks what only its receiver knows.

Not for: keeping channels (server.store.channels) or looking hosts up, which happens whenever something is sent.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar
from urllib.parse import urlsplit

from server.alerts.errors import Refused
from server.alerts.guard import Guard
from server.config import MAIL_ADDRESS, Settings
from server.domain.alerts import Channel, ChannelKind, Draft
from server.domain.findings import Severity
from server.errors import GradwatchError

MOST_CHANNELS = 50
MOST_RECEIVERS = 10
MOST_NAMES = 50
LONGEST_NAME = 100
LONGEST_SECRET = 200

LABELS: Mapping[ChannelKind, str] = {
    ChannelKind.WEBHOOK: "Webhook (JSON)",
    ChannelKind.SLACK: "Slack",
    ChannelKind.DISCORD: "Discord",
    ChannelKind.TEAMS: "Microsoft Teams",
    ChannelKind.NTFY: "ntfy",
    ChannelKind.MAIL: "E-mail",
}
WITH_SECRET = frozenset({ChannelKind.WEBHOOK, ChannelKind.NTFY})


Choice = TypeVar("Choice", bound=StrEnum)


class WrongChannel(GradwatchError):
    """A channel cannot be as it was wished; the sentence says what would be right."""


def checked(form: Mapping[str, str], settings: Settings, before: Channel | None = None) -> Draft:
    """Makes a channel of what was written. An empty address leaves that of `before`, and its secret with it."""
    kind = _one_of(ChannelKind, form.get("kind", ""), "Kind")
    name = form.get("name", "") or LABELS[kind]
    if len(name) > LONGEST_NAME:
        raise WrongChannel(f"Name: got {len(name)} characters, at most {LONGEST_NAME} fit")
    address, secret = form.get("address", ""), form.get("secret", "")
    if before is not None and not address:
        if kind is not before.kind:
            raise WrongChannel(f"Address: a channel of the kind {LABELS[kind]} needs another one; write it again")
        address = before.address
        secret = secret or ("" if form.get("forget") else before.secret)
    address = _mail(address, settings) if kind is ChannelKind.MAIL else _web(address, kind, settings)
    return Draft(
        name=name,
        kind=kind,
        address=address,
        secret=_secret(secret, kind),
        severity=_one_of(Severity, form.get("severity", Severity.ERROR.value), "Least severity"),
        projects=_names(form.get("projects", ""), "Projects"),
        tags=_names(form.get("tags", ""), "Tags"),
        ends=bool(form.get("ends")),
    )


def masked(channel: Draft) -> str:
    """Gives an address without what only its receiver may know: all that follows the host."""
    if channel.kind is ChannelKind.MAIL:
        return channel.address
    parts = urlsplit(channel.address)
    return f"{parts.scheme}://{parts.netloc}/…"


def listed(names: tuple[str, ...]) -> str:
    """Writes names as `checked` reads them: a comma between, quotes around one that has a comma in it."""
    return ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}"' if set(name) & set(',"') else name for name in names)


def _one_of(choices: type[Choice], text: str, what: str) -> Choice:
    try:
        return choices(text)
    except ValueError:
        right = ", ".join(item.value for item in choices)
        raise WrongChannel(f"{what}: got {text[:50]!r}, expected one of {right}") from None


def _web(address: str, kind: ChannelKind, settings: Settings) -> str:
    try:
        target = Guard(settings.alert_hosts).read(address)
    except Refused as error:
        raise WrongChannel(str(error)) from None
    if kind is ChannelKind.NTFY and not re.fullmatch(r"(/[^/?]+)*/[-_A-Za-z0-9]{1,64}/?", target.path):
        raise WrongChannel("Address: ntfy needs one that ends in its topic, such as https://ntfy.sh/my-secret-topic")
    return address


def _mail(address: str, settings: Settings) -> str:
    if not settings.smtp_url or not settings.mail_from:
        raise WrongChannel(
            "No mail server is set here; start the server with GRADWATCH_SMTP_URL and GRADWATCH_MAIL_FROM"
        )
    receivers = [part.strip() for part in address.split(",") if part.strip()]
    if not 0 < len(receivers) <= MOST_RECEIVERS:
        raise WrongChannel(f"Address: got {len(receivers)} e-mail addresses, 1 to {MOST_RECEIVERS} are right")
    for one in receivers:
        if not re.fullmatch(MAIL_ADDRESS, one):
            raise WrongChannel(f"Address: {one[:100]!r} is no e-mail address, such as ada@lab.example")
    return ", ".join(receivers)


def _secret(secret: str, kind: ChannelKind) -> str:
    if secret and kind not in WITH_SECRET:
        raise WrongChannel(f"Secret: {LABELS[kind]} has none; leave it empty")
    if len(secret) > LONGEST_SECRET or not re.fullmatch(r"[!-~]*", secret):
        raise WrongChannel(f"Secret: at most {LONGEST_SECRET} characters of ASCII without spaces are right")
    return secret


def _names(text: str, what: str) -> tuple[str, ...]:
    try:
        (row,) = csv.reader([text], skipinitialspace=True, strict=True) if text else [[]]
    except (csv.Error, ValueError):
        raise WrongChannel(f'{what}: write names with a comma between; "a, b" is one name with a comma in it') from None
    names = tuple(dict.fromkeys(name.strip() for name in row if name.strip()))
    if len(names) > MOST_NAMES or any(len(name) > 2 * LONGEST_NAME for name in names):
        raise WrongChannel(f"{what}: at most {MOST_NAMES} names of {2 * LONGEST_NAME} characters fit")
    return names
