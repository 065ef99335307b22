"""Turns Markdown into HTML: our own docstrings, and what people write. Raw HTML in either stays text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

import nh3
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

_PARSER = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
# A line end is one on the page too. Pictures would be asked for at other places, so they stay text.
_OF_PEOPLE = MarkdownIt("commonmark", {"html": False, "breaks": True})
_OF_PEOPLE.enable(["table", "strikethrough"]).disable("image")
_ELSEWHERE = MarkdownIt("commonmark", {"html": True})  # as most pages read it that are not ours
_NOT_OURS = frozenset({"html_block", "html_inline", "image"})
_BELOW = {f"h{level}": f"h{min(level + 2, 6)}" for level in range(1, 7)}  # under the headings of the page
TAGS = {
    "a", "blockquote", "br", "code", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s", "strong",
    "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


@lru_cache(maxsize=2_048)
def to_html(source: str) -> Markup:
    """Renders a section; links other than http and relative ones are left as text by the parser."""
    # The parser escapes everything that is not its own markup, which is what makes this Markup.
    return Markup(_PARSER.render(source))  # noqa: S704


@lru_cache(maxsize=2_048)
def inline(source: str) -> Markup:
    """Renders one line, such as a summary with `code` in it."""
    return Markup(_PARSER.renderInline(source))  # noqa: S704


@lru_cache(maxsize=128)
def of_people(source: str) -> Markup:
    """Renders what somebody wrote; only the tags of Markdown and links of the web and of mail come out of it."""
    tokens = [_lowered(token) for token in _OF_PEOPLE.parse(source)]
    rendered = _OF_PEOPLE.renderer.render(tokens, _OF_PEOPLE.options, {})
    attributes = {"a": {"href", "title"}, "ol": {"start"}}
    schemes = {"http", "https", "mailto"}
    cleaned = nh3.clean(rendered, tags=TAGS, attributes=attributes, url_schemes=schemes, attribute_filter=_kept)
    # nh3 has let nothing through but these tags, which is what makes this Markup.
    return Markup(cleaned)  # noqa: S704


def quoted(source: str) -> list[str]:
    """Quotes what somebody wrote, to be read elsewhere; as plain text where it holds HTML or pictures, which would not
    stay text there.
    """
    lines = source.split("\n")
    quote = [f"> {line}".rstrip() for line in lines]
    if _NOT_OURS.isdisjoint(_kinds(_ELSEWHERE.parse("\n".join(quote)))):
        return quote
    fence = "`" * (1 + max([2, *map(len, re.findall("`+", source))]))
    return [f"> {line}".rstrip() for line in (fence, *lines, fence)]


def _kinds(tokens: Iterable[Token]) -> Iterator[str]:
    for token in tokens:
        yield token.type
        yield from _kinds(token.children or ())


def _kept(tag: str, name: str, value: str) -> str | None:  # noqa: ARG001 - what nh3 asks with
    """Leaves out links to another place without a scheme: in a report on a disk they would ask for files there."""
    return None if name == "href" and value.replace("\\", "/").startswith("//") else value


def _lowered(token: Token) -> Token:
    return token.copy(tag=_BELOW[token.tag]) if token.type in ("heading_open", "heading_close") else token
