"""Reads what a hook says when it opens a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.domain.runs import NewRun
from server.ingest.values import ID, ID_WORDS, MAX_DEPTH, MAX_STEP, MAX_TIME_MS, clean, sound, too_deep, wrong

MAX_TAGS = 100

_IDENTITY = {"type": "string", "pattern": f"^{ID.pattern}$"}
_TEXT = {"type": ["string", "null"], "description": "longer ones are cut"}
_STEP = {"type": ["integer", "null"], "minimum": 0, "exclusiveMaximum": MAX_STEP}
SCHEMA: dict[str, Any] = {
    "title": "Opening",
    "type": "object",
    "required": ["id", "attempt"],
    "properties": {
        "id": _IDENTITY,
        "attempt": _IDENTITY,
        "rank": _STEP,
        "project": _TEXT,
        "name": _TEXT,
        "tags": {"type": ["array", "null"], "maxItems": MAX_TAGS, "items": {"type": "string"}},
        "config": {"type": ["object", "null"], "description": f"nested at most {MAX_DEPTH} deep"},
        "started_ms": {**_STEP, "exclusiveMaximum": MAX_TIME_MS},
        "first_step": _STEP,
        "hook_version": _TEXT,
        "host": _TEXT,
        "preflight": {"type": ["boolean", "null"]},
    },
}


def read_opening(payload: Mapping[str, Any]) -> NewRun:
    """Reads what a hook says when it opens a run; raises InvalidFrame naming the field that is wrong."""
    config = {} if (given := payload.get("config")) is None else given
    if not isinstance(config, Mapping) or too_deep(config):
        raise wrong("config", config, f"an object, nested at most {MAX_DEPTH} deep")
    tags = [] if (given := payload.get("tags")) is None else given
    if not isinstance(tags, list) or len(tags) > MAX_TAGS or not all(isinstance(tag, str) for tag in tags):
        raise wrong("tags", tags, f"a list of at most {MAX_TAGS} texts")
    return NewRun(
        id=_identity(payload, "id"),
        attempt=_identity(payload, "attempt"),
        rank=_whole(payload, "rank", 0),
        project=_text(payload, "project", 200) or "default",
        name=_text(payload, "name", 200) or None,
        tags=tuple(dict.fromkeys(short for tag in tags if (short := clean(tag)[:100]))),
        config=sound(dict(config)),
        started_ms=_whole(payload, "started_ms", 0, MAX_TIME_MS),
        first_step=_whole(payload, "first_step", 0),
        hook_version=_text(payload, "hook_version", 100),
        host=_text(payload, "host", 300),
        preflight=_flag(payload, "preflight"),
    )


def _identity(payload: Mapping[str, Any], key: str) -> str:
    value = payload.get(key)
    if not isinstance(value, str) or not ID.fullmatch(value):
        raise wrong(key, value, ID_WORDS)
    return value


def _whole(payload: Mapping[str, Any], key: str, default: int, limit: int = MAX_STEP) -> int:
    value = payload.get(key)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < limit:
        raise wrong(key, value, f"an integer from 0, below {limit}")
    return value


def _flag(payload: Mapping[str, Any], key: str) -> bool:
    value = payload.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong(key, value, "true or false")
    return bool(value)


def _text(payload: Mapping[str, Any], key: str, limit: int) -> str:
    value = payload.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise wrong(key, value, f"a text of at most {limit} characters")
    return clean(value)[:limit]
