"""Lets a reader of a live stream go without a traceback in the log.

FastAPI's sender of events meets a closed stream (`anyio.BrokenResourceError`) where the browser left between two of
its steps. Not for: any other error, or any other response; those still reach the log.
"""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Hangups:
    """Ends a stream of events quietly whose reader has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        events = False

        async def tell(message: Message) -> None:
            nonlocal events
            if message["type"] == "http.response.start":
                kinds = [value for name, value in message["headers"] if name.lower() == b"content-type"]
                events = any(kind.startswith(b"text/event-stream") for kind in kinds)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except* anyio.BrokenResourceError:
            if not events:
                raise
