"""What went wrong, for a person: a short title, the sentence, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

DELETED = "was deleted; it can be brought back from the table of runs"
_TITLES = {404: "Not here", 429: "Too often", 503: "Busy", 507: "Full"}
_HELP = {
    404: "It may have been deleted, or the address has a typing error in it.",
    422: "Something in the address is not as it should be.",
    500: "What was acknowledged before is safe. The server's standard error says more.",
    503: "Trainings are not affected: they keep what they could not send and deliver it later.",
    507: "Trainings are not affected: they keep what they could not send and deliver it later.",
}


@dataclass(frozen=True)
class ErrorView:
    """One error."""

    status: int
    title: str
    message: str
    help: str
    link: str = "/"
    link_text: str = "All runs"


def error_view(status: int, message: str) -> ErrorView:
    """Makes the context of an error page; that of a deleted run leads to where it can be brought back."""
    if message.endswith(DELETED):
        return ErrorView(status, "Deleted", message, "", "/?shelf=deleted", "Deleted runs")
    return ErrorView(status, _TITLES.get(status) or HTTPStatus(status).phrase, message, _HELP.get(status, ""))
