"""Tells people by the channels that they chose: one file a kind of channel, a guard for addresses, a thread that sends.

Not for: deciding what is told (server.store.telling) or showing channels (server.web.alerts_pages).
"""

from __future__ import annotations

from server.alerts.dispatcher import Dispatcher
from server.alerts.senders import Senders

__all__ = ["Dispatcher", "Senders"]
