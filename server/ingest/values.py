"""Cleans what stands in frames and openings, and words what is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from client_hook import wire
from server.errors import InvalidFrame

MAX_DEPTH = 32
MAX_STEP = 2**53
MAX_TIME_MS = 253_402_300_800_000  # the year 10000
ID_WORDS = "1 to 100 letters, digits, dots, dashes or underscores, a letter or digit first"

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def too_deep(value: Any, depth: int = 0) -> bool:
    """Says whether a JSON value is nested more than MAX_DEPTH deep."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return depth > MAX_DEPTH or any(too_deep(item, depth + 1) for item in inner)


def letters(value: Any) -> int:
    """Counts the characters of all texts in a JSON value: it is at least as long."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        return sum(len(key) + letters(item) for key, item in value.items())
    return sum(map(letters, value)) if isinstance(value, list) else 0


def sound(value: Any) -> Any:
    """Copies a JSON value so that every database and browser can hold it: no lone surrogates, no giant numbers."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {sound(key): sound(item) for key, item in value.items()}
    if isinstance(value, list):
        return [sound(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return str(value)
    return wire.json_safe(value)


def clean(text: str) -> str:
    """Gives a text without control characters and outer spaces."""
    return CONTROL.sub(" ", text).strip()


def lines(text: str) -> str:
    """Gives a text of lines without other control characters, and without spaces and empty lines at its end."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(" " if CONTROL.match(one) and one not in "\n\t" else one for one in text).rstrip()


def wrong(key: str, value: Any, right: str) -> InvalidFrame:
    """Makes the error that names the field, its value and what would be right."""
    return InvalidFrame(key, f"{key}: got {value!r:.80}, expected {right}")
