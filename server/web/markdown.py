"""Turns the Markdown of a rule's docstring into HTML. Raw HTML in it stays text."""

from __future__ import annotations

from functools import lru_cache

from markdown_it import MarkdownIt
from markupsafe import Markup

_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")


@lru_cache(maxsize=2_048)
def to_html(source: str) -> Markup:
    """Renders a section; links other than http and relative ones are left as text by the parser."""
    # The parser escapes everything that is not its own markup, which is what makes this Markup.
    return Markup(_PARSER.render(source))  # noqa: S704


@lru_cache(maxsize=2_048)
def inline(source: str) -> Markup:
    """Renders one line, such as a summary with `code` in it."""
    return Markup(_PARSER.renderInline(source))  # noqa: S704
