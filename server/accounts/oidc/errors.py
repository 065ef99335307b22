"""Why nobody was signed in, in a sentence that may be shown: no secret and no foreign text is in it."""

from __future__ import annotations

from server.errors import GradwatchError


class NotAdmitted(GradwatchError):
    """The provider's answer signs nobody in, or somebody who may not come in."""


class NotBegun(NotAdmitted):
    """The answer belongs to no sign-in of this browser; any page can send a browser here, so it says nothing of it."""


class ProviderAway(GradwatchError):
    """The provider cannot be reached, or does not answer as a provider does; it may work later."""
