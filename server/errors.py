"""The errors that the rooms of the server raise for one another; each message is a sentence that a user may read.

Not for: HTTP statuses (server.web chooses them) or programming mistakes (those stay ordinary exceptions).

    GradwatchError
    ├── StoreError        the database cannot be opened, read or written
    │   ├── StorageFull   … because there is no space left
    │   └── InUse         … because another process has it
    ├── UnknownRun        no run (or no such attempt of it) is known, or it may not be seen
    ├── ForeignProject    a run comes for a project that its sender may not send to
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
    """No run of this id, or no such attempt of it, is known; nor is one that may not be seen, in the same words."""


class ForeignProject(GradwatchError):
    """A run comes for a project that its sender may not send to."""

    def __init__(self, project: str) -> None:
        super().__init__(f"Runs of the project {project[:100]!r} may not be sent")
        self.project = project


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


def no_run(run_id: str) -> str:
    """Says that a run is not known: everywhere in the same words, which are those of one that may not be seen too."""
    return f"No run has the id {run_id[:100]!r} here"
