"""The words of a piece of news, as plain text: what every kind of channel says in its own form.

Not for: escaping, which each kind of channel does for its own markup.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from server.domain.alerts import TURNS, News, Turn
from server.domain.runs import RunState

LONGEST_NAME = 100
LONGEST_TEXT = 900
LONGEST_HEADLINE = 200

_HAPPENED = {
    "failed": "failed",
    "crashed": "crashed",
    "silent": "has gone silent",
    "stuck": "stands still",
    "finished": "finished",
    "stopped": "was stopped",
}
# control characters, lone surrogates, and what turns the direction of writing around
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")


def plain(text: str, longest: int = LONGEST_TEXT) -> str:
    """Gives a text in one line, without characters that are not seen, and not too long."""
    line = " ".join(_UNSEEN.sub(" ", text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def headline(news: News) -> str:
    """Says in one line what happened."""
    run = plain(news.run, LONGEST_NAME)
    if news.event == "test":
        return "Gradwatch: a test"
    if news.event == "finding":
        return f"{news.severity.value.capitalize()} in {run}: {plain(news.name, LONGEST_NAME)} ({plain(news.code, 20)})"
    return f"{run} {_HAPPENED[news.event]}"


def in_short(event: str) -> str:
    """Says what happened where no more is known than that."""
    return f"A run {_HAPPENED[event]}" if event in _HAPPENED else "A finding"


def story(news: News) -> list[str]:
    """Gives the paragraphs below the headline."""
    if news.event == "test":
        return ["This channel works: what goes wrong with a run will be told here."]
    told = [plain(news.message)]
    if news.event != "finding" and TURNS[RunState(news.event)] is not Turn.QUIET and news.message:
        told = [f"The diagnosis: {told[0]}"]
    if news.advice:
        told.append(f"What to try first: {plain(news.advice)}")
    if news.symptoms:
        told.append(f"{news.symptoms} more finding{'' if news.symptoms == 1 else 's'} followed from it.")
    return [paragraph for paragraph in told if paragraph]


def facts(news: News) -> list[tuple[str, str]]:
    """Gives what else is known: project, run and steps."""
    if news.event == "test":
        return []
    found = [("Project", plain(news.project, LONGEST_NAME)), ("Run", plain(news.run, LONGEST_NAME))]
    if news.event == "finding" and news.first_step >= 0:
        since = f"{news.first_step:,}"
        found.append(("Steps", since if news.last_step <= news.first_step else f"{since} to {news.last_step:,}"))
    elif news.step >= 0:
        found.append(("Last step", f"{news.step:,}"))
    return found


def link(news: News, base: str) -> str:
    """Gives the address of the run's page; `base` is the server's own address."""
    if not news.run_id:
        return f"{base}/settings/alerts" if base else ""
    return f"{base}/runs/{quote(news.run_id, safe='')}" + (f"#finding-{news.number}" if news.number else "")


def whole(news: News, base: str) -> str:
    """Gives everything but the headline as plain text."""
    lines = [f"{name}: {value}" for name, value in facts(news)]
    parts = [*story(news), "\n".join(lines), link(news, base)]
    return "\n\n".join(part for part in parts if part)
