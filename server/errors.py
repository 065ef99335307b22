"""The errors that the rooms of the server raise for one another; each message is a sentence that a user may read.

Not for: HTTP statuses (server.web chooses them) or programming mistakes (those stay ordinary exceptions).

    GradwatchError
    ├── StoreError        the database cannot be opened, read or written
    │   ├── StorageFull   … because there is no space left
    │   └── InUse         … because another process has it
    ├── UnknownRun        no run (or no such attempt of it) is known
    ├── FrameConflict     another frame has this identity already
    ├── InvalidFrame      what came is not a frame, or a field of it is not valid
    │   └── TooLarge      … because it is beyond a limit
    ├── WrongAccount      a person, password, role or token is not what it should be
    ├── TooSlow           the rest of a request does not come
    └── Busy              more waits than can be worked off; try again later
"""

from __future__ import annotations


class SettingsError(ValueError):
    """Says which setting is wrong, what it holds and what would be right."""


class GradwatchError(Exception):
    """Says in one sentence what went wrong, with which value, and what would be right."""


class StoreError(GradwatchError):
    """The database cannot be opened, read or written."""


class StorageFull(StoreError):
    """The disk of the database is full."""


class InUse(StoreError):
    """Another process uses the database, and only one may."""


class UnknownRun(GradwatchError):
    """No run of this id, or no such attempt of it, is known."""


class FrameConflict(GradwatchError):
    """Another frame was accepted under the same run, attempt, rank and seq."""


class InvalidFrame(GradwatchError):
    """A request is not what it should be; `field` names the part that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class TooLarge(InvalidFrame):
    """A request is larger than what is accepted."""


class WrongAccount(GradwatchError):
    """A name, password, role or token is not one that can be taken, or nobody is called so."""


class TooSlow(GradwatchError):
    """A request began, and then nothing more of it came."""


class Busy(GradwatchError):
    """More work waits than the server takes on; the sender should come back after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
