"""Turns templates into answers: one strict Jinja environment, filled with a context that has all texts ready.

Not for: computing. A template that needs something gets it as a field of its context.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from server import paths
from server.accounts.powers import Power
from server.domain.accounts import Sight
from server.web.caller import PROJECT, caller_of


@dataclass(frozen=True)
class Site:
    """What every page knows: which entry of the navigation it belongs to, who looks at it, and what is offered."""

    section: str
    signed_in: bool
    person: str  # "" where nobody has signed in by name
    may_change: bool  # in this page's project, or in some where it has none
    changeable: Sight  # the projects whose runs this person may change
    may_manage: bool


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Makes the environment; everything is escaped and an unknown name is an error."""
    made = Environment(
        loader=FileSystemLoader(paths.TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["code_spans"] = code_spans
    return made


def code_spans(sentence: str) -> Markup:
    """Escapes a sentence and sets what stands between backticks as code."""
    parts = sentence.split("`")
    if len(parts) % 2 == 0:  # one has no partner
        return escape(sentence)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else escape(part) for index, part in enumerate(parts)
    )


def render(request: Request, template: str, view: Any, *, section: str = "", status: int = 200) -> HTMLResponse:
    """Answers with a page or a fragment; the template sees `view` and `site`."""
    caller, project = caller_of(request), request.scope.get(PROJECT)
    site = Site(
        section,
        caller.signed_in,
        caller.person.name if caller.person else "",
        caller.may(Power.CHANGE) if project is None else caller.may_in(project, Power.CHANGE),
        caller.sight(Power.CHANGE),
        caller.may(Power.MANAGE),
    )
    body = environment().get_template(template).render(view=view, site=site)
    # A page is always asked for again: what a browser keeps would be older than what the stream says.
    return HTMLResponse(body, status, headers={"Cache-Control": "no-store"})
