"""A reader that leaves a live stream leaves no traceback; every other error does."""

from __future__ import annotations

import asyncio

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from server.web.hangups import Hangups


def answer(content_type: bytes, error: Exception) -> None:
    """Plays a response of this kind that fails in the middle."""

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        async with anyio.create_task_group():
            raise error

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(_message: Message) -> None:
        return None

    asyncio.run(Hangups(app)({"type": "http"}, receive, send))


def test_a_stream_whose_reader_left_ends_quietly() -> None:
    answer(b"text/event-stream; charset=utf-8", anyio.BrokenResourceError())


@pytest.mark.parametrize(
    ("content_type", "error"),
    [(b"application/json", anyio.BrokenResourceError()), (b"text/event-stream", ValueError("a mistake of ours"))],
)
def test_anything_else_still_reaches_the_log(content_type: bytes, error: Exception) -> None:
    with pytest.raises(ExceptionGroup) as raised:
        answer(content_type, error)
    assert raised.group_contains(type(error))
