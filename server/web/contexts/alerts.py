"""The page of alerts: the channels, the form for one, and what became of the newest deliveries.

Addresses stand here without what only their receivers may know. Not for: changing channels (alerts_pages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from server.alerts import words
from server.alerts.channels import LABELS, WITH_SECRET, listed, masked
from server.domain.alerts import Channel, ChannelKind, Delivery, DeliveryState
from server.domain.findings import Severity
from server.web import formats
from server.web.contexts.look import Choice
from server.web.contexts.settings import Moment

ADDRESS = "/settings/alerts"
SEVERITIES = {
    Severity.ERROR: "errors",
    Severity.WARNING: "warnings and errors",
    Severity.INFO: "remarks, warnings and errors",
}
WAITS = "not told yet"
GONE = "a channel that is gone"


@dataclass(frozen=True)
class ChannelRow:
    """One channel."""

    id: int
    name: str
    kind: str
    address: str
    wants: str
    active: bool
    edit_url: str


@dataclass(frozen=True)
class ChannelForm:
    """The form for a new channel (`id` 0), or for one that is changed."""

    id: int
    open: bool
    title: str
    action: str
    name: str
    kinds: tuple[Choice, ...]
    address: str
    address_hint: str
    has_secret: bool
    severities: tuple[Choice, ...]
    projects: str
    tags: str
    ends: bool


@dataclass(frozen=True)
class DeliveryRow:
    """One delivery: what was told, on which channel, and what became of it."""

    at: Moment
    channel: str
    what: str
    run_url: str
    state: str
    look: str  # of the state: error, waiting or none
    reason: str
    next: Moment | None


@dataclass(frozen=True)
class AlertsView:
    """The page. `problem` says what was wrong with the last change; `tested` what became of a test, `worked` whether
    it was sent."""

    channels: tuple[ChannelRow, ...]
    form: ChannelForm
    deliveries: tuple[DeliveryRow, ...]
    problem: str
    tested: str
    worked: bool
    mail_note: str
    link_note: str
    secret_kinds: str


def alerts_view(
    channels: Sequence[Channel],
    deliveries: Sequence[Delivery],
    *,
    mail: bool,
    address: str,
    edited: Channel | None = None,
    draft: Mapping[str, str] | None = None,
    problem: str = "",
    test: Delivery | None = None,
) -> AlertsView:
    """Makes the page; `address` is the one that alerts lead to."""
    names = {channel.id: channel.name for channel in channels}
    return AlertsView(
        channels=tuple(_row(channel) for channel in channels),
        form=_form(edited, draft or {}, empty=not channels),
        deliveries=tuple(_delivery(item, names) for item in deliveries),
        problem=problem,
        tested=_tested(test, names) if test else "",
        worked=test is not None and test.state is DeliveryState.SENT,
        mail_note="" if mail else "E-mail needs GRADWATCH_SMTP_URL and GRADWATCH_MAIL_FROM when the server starts.",
        link_note=address,
        secret_kinds=" and ".join(LABELS[kind] for kind in ChannelKind if kind in WITH_SECRET),
    )


def _row(channel: Channel) -> ChannelRow:
    parts = [SEVERITIES[channel.severity], "runs that break or fall silent"]
    if channel.ends:
        parts.append("runs that end")
    parts.append(f"projects: {listed(channel.projects)}" if channel.projects else "all projects")
    if channel.tags:
        parts.append(f"tags: {listed(channel.tags)}")
    return ChannelRow(
        id=channel.id,
        name=channel.name,
        kind=LABELS[channel.kind],
        address=masked(channel),
        wants=" · ".join(parts),
        active=channel.active,
        edit_url=f"{ADDRESS}?edit={channel.id}#channel",
    )


def _form(edited: Channel | None, draft: Mapping[str, str], *, empty: bool) -> ChannelForm:
    kind = draft.get("kind", edited.kind.value if edited else ChannelKind.WEBHOOK.value)
    severity = draft.get("severity", edited.severity.value if edited else Severity.ERROR.value)
    known = edited is not None and edited.kind is ChannelKind.MAIL
    address = draft.get("address", edited.address if edited is not None and known else "")
    return ChannelForm(
        id=edited.id if edited else 0,
        open=bool(edited or draft or empty),
        title=f"Change {edited.name}" if edited else "Add a channel",
        action=f"{ADDRESS}/{edited.id}" if edited else ADDRESS,
        name=draft.get("name", edited.name if edited else ""),
        kinds=tuple(Choice(item.value, label, item.value == kind) for item, label in LABELS.items()),
        address=address if kind == ChannelKind.MAIL.value else "",  # any other holds a secret
        address_hint=f"as it is: {masked(edited)}" if edited else "https://…",
        has_secret=bool(edited and edited.secret),
        severities=tuple(Choice(item.value, label, item.value == severity) for item, label in SEVERITIES.items()),
        projects=draft.get("projects", listed(edited.projects) if edited else ""),
        tags=draft.get("tags", listed(edited.tags) if edited else ""),
        ends=bool(draft.get("ends")) if draft else bool(edited and edited.ends),
    )


def _delivery(item: Delivery, names: Mapping[int, str]) -> DeliveryRow:
    waits = item.state is DeliveryState.WAITING
    tries = f"{item.state.value}, after {formats.plural(item.tries, 'try', 'tries')}" if item.tries > 1 else ""
    return DeliveryRow(
        at=_moment(item.sent_ms or item.created_ms),
        channel=names.get(item.channel, GONE),
        what=words.headline(item.news) if item.news else f"{words.in_short(item.event)}, {WAITS}",
        run_url=f"/runs/{quote(item.run_id, safe='')}" if item.run_id else "",
        state=tries or item.state.value,
        look={DeliveryState.SENT: "none", DeliveryState.GIVEN_UP: "error"}.get(item.state, "waiting"),
        reason=item.reason,
        next=_moment(item.due_ms) if waits and item.tries else None,
    )


def _tested(test: Delivery, names: Mapping[int, str]) -> str:
    name = names.get(test.channel, GONE)
    if test.state is DeliveryState.SENT:
        return f"The test was sent to {name}: look there."
    if test.state is DeliveryState.GIVEN_UP:
        return f"The test of {name} was not sent: {test.reason}."
    if test.reason:
        return f"The test of {name} was not sent yet: {test.reason}. It is tried again."
    return f"The test of {name} is on its way; reload this page to see what became of it."


def _moment(milliseconds: int) -> Moment:
    return Moment(formats.utc(milliseconds), formats.iso(milliseconds))
