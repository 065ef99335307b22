"""The page of alerts: who is told when a run goes wrong, and the forms that add, change, test and remove a channel.

Plain forms, so that the page works without scripts. Not for: sending (server.alerts).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.responses import RedirectResponse, Response

from server.accounts.powers import Caller
from server.alerts.channels import MOST_CHANNELS, WrongChannel, checked, masked
from server.domain.accounts import Deed
from server.domain.alerts import Channel, Delivery, DeliveryState, Draft
from server.web.caller import Asking, who_is
from server.web.contexts.alerts import ADDRESS, alerts_view
from server.web.services import Parts, Services
from server.web.settings_pages import MAX_FORM_BYTES, Form
from server.web.templating import render

SHOWN = 50  # deliveries
TEST_WAIT_S = 4.0  # most tests are over by then, and the page says at once how they went
TEST_LOOK_S = 0.1
MOST_NUMBER = 2**31

router = APIRouter(include_in_schema=False)
ChannelId = Annotated[int, Path(ge=1, lt=MOST_NUMBER)]
Number = Annotated[int, Query(ge=0, lt=MOST_NUMBER)]


@router.get(ADDRESS)
def alerts_page(request: Request, parts: Parts, edit: Number = 0, test: Number = 0) -> Response:
    """Shows the channels, the form for one of them, and the newest deliveries."""
    return _page(request, parts, parts.store.channels.get(edit), test=parts.store.alerts.get(test))


@router.post(ADDRESS, max_body_size=MAX_FORM_BYTES)
def add_channel(request: Request, parts: Parts, form: Form, caller: Asking) -> Response:
    """Adds a channel."""
    try:
        added(parts, form, caller)
    except WrongChannel as error:
        return _page(request, parts, None, draft=form, problem=str(error), status=422)
    return RedirectResponse(ADDRESS, 303)


@router.post(ADDRESS + "/{channel_id}", max_body_size=MAX_FORM_BYTES)
def change_channel(request: Request, parts: Parts, channel_id: ChannelId, form: Form, caller: Asking) -> Response:
    """Changes a channel, switches it on or off, tests or removes it, as the button says that was pressed."""
    channel = parts.store.channels.get(channel_id)
    if channel is None:
        raise HTTPException(404, f"No channel has the number {channel_id} any more")
    match form.get("do", ""):
        case "test":
            return RedirectResponse(f"{ADDRESS}?test={tested(parts, channel)}", 303)
        case "on" | "off" as wish:
            parts.store.channels.switch(channel_id, active=wish == "on")
            noted(parts, caller, f"switched an alert channel {wish}", channel)
        case "remove":
            removed(parts, channel, caller)
        case _:
            try:
                wanted = checked(form, parts.settings, channel)
            except WrongChannel as error:
                return _page(request, parts, channel, draft=form, problem=str(error), status=422)
            parts.store.channels.change(channel_id, wanted)
            noted(parts, caller, "changed an alert channel", wanted)
    return RedirectResponse(ADDRESS, 303)


def added(parts: Services, form: Mapping[str, str], caller: Caller) -> int:
    """Adds a channel and gives its number; raises WrongChannel."""
    if len(parts.store.channels.list()) >= MOST_CHANNELS:
        raise WrongChannel(f"There are {MOST_CHANNELS} channels, and no more fit; remove one first")
    wanted = checked(form, parts.settings)
    number = parts.store.channels.add(wanted)
    noted(parts, caller, "added an alert channel", wanted)
    return number


def removed(parts: Services, channel: Channel, caller: Caller) -> None:
    """Removes a channel, with what was told on it."""
    parts.store.channels.remove(channel.id)
    noted(parts, caller, "removed an alert channel", channel)


def noted(parts: Services, caller: Caller, action: str, channel: Draft) -> None:
    """Writes into the audit log what was done to a channel, without what only its receiver may know."""
    deed = Deed(parts.clock(), who_is(caller), action, f"{channel.name}, {channel.kind.value}, {masked(channel)}")
    parts.store.audit.note(deed)


def tested(parts: Services, channel: Channel) -> int:
    """Puts a test in line, waits a moment for what becomes of it, and gives its number."""
    number = parts.store.alerts.test(channel.id) or 0
    until = time.monotonic() + TEST_WAIT_S
    while time.monotonic() < until and _is_open(parts.store.alerts.get(number)):
        time.sleep(TEST_LOOK_S)
    return number


def _is_open(test: Delivery | None) -> bool:
    return test is not None and test.state is DeliveryState.WAITING and not test.reason


def _page(
    request: Request,
    parts: Services,
    edited: Channel | None,
    *,
    draft: Mapping[str, str] | None = None,
    problem: str = "",
    test: Delivery | None = None,
    status: int = 200,
) -> Response:
    settings = parts.settings
    view = alerts_view(
        parts.store.channels.list(),
        parts.store.alerts.latest(SHOWN),
        mail=bool(settings.smtp_url and settings.mail_from),
        address=settings.public_url or settings.address,
        edited=edited,
        draft=draft,
        problem=problem,
        test=test,
    )
    return render(request, "pages/alerts.html", view, section="settings", status=status)
