"""The JSON routes of alerts: the channels, and a test of one.

Not for: the page (alerts_pages), which changes channels and shows what was told.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path

from server.alerts.channels import WrongChannel, listed
from server.domain.alerts import Channel
from server.web.alerts_pages import MOST_NUMBER, added, removed, tested
from server.web.caller import Asking
from server.web.models.alerts import ChannelItem, ChannelList, NewChannel, TestItem
from server.web.problems import Problem
from server.web.services import Parts, Services

MAX_BODY_BYTES = 64 * 1024

_SENTENCES: dict[int | str, dict[str, object]] = {
    404: {"model": Problem, "description": "not known"},
    422: {"model": Problem, "description": "a parameter or field is wrong"},
}

router = APIRouter(prefix="/api/v1/alerts", tags=["alerts"], responses=_SENTENCES, max_body_size=MAX_BODY_BYTES)
ChannelId = Annotated[int, Path(ge=1, lt=MOST_NUMBER, description="the number of a channel")]


@router.get("/channels")
def list_channels(parts: Parts) -> ChannelList:
    """Lists the channels that people are told by."""
    return ChannelList(items=[ChannelItem.of(item) for item in parts.store.channels.list()])


@router.post("/channels", status_code=201)
def add_channel(wanted: NewChannel, parts: Parts, caller: Asking) -> ChannelItem:
    """Adds a channel."""
    form = {name: getattr(wanted, name) for name in ("kind", "address", "name", "secret", "severity")}
    form |= {name: listed(tuple(getattr(wanted, name))) for name in ("projects", "tags")}
    try:
        number = added(parts, {**form, "ends": "1" if wanted.ends else ""}, caller)
    except WrongChannel as error:
        raise HTTPException(422, str(error)) from None
    return ChannelItem.of(_existing(parts, number))


@router.delete("/channels/{channel_id}", status_code=204)
def remove_channel(channel_id: ChannelId, parts: Parts, caller: Asking) -> None:
    """Removes a channel, with what was told on it."""
    removed(parts, _existing(parts, channel_id), caller)


@router.post("/channels/{channel_id}/test")
def test_channel(channel_id: ChannelId, parts: Parts) -> TestItem:
    """Sends a test, and says what became of it within some seconds."""
    return TestItem.of(parts.store.alerts.get(tested(parts, _existing(parts, channel_id))))


def _existing(parts: Services, channel_id: int) -> Channel:
    found = parts.store.channels.get(channel_id)
    if found is None:
        raise HTTPException(404, f"No channel has the number {channel_id}")
    return found
