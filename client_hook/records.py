"""Turns whatever a user hands over into JSON that any reader accepts: bounded in depth, items, text and bytes.

Not for: the meaning of a record, which WIRE.md and server.ingest know.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

from client_hook import wire
from client_hook.guard import quietly

MAX_RECORD_BYTES = 256 * 1024
# facts that the hook makes itself grow with the model: 5,000 layers need more than a user's record may have
MAX_OWN_FACT_BYTES = 2 * 1024 * 1024
USER_FACTS = frozenset({"config", "tags"})
MAX_DEPTH = 16
MAX_REPR_CHARACTERS = 500
MAX_NAME_CHARACTERS = 500
_SHORT_TEXT = 200
_SHORT_LIST = 100
_CHANGED = "<changed while it was read>"


def sanitise(kind: str, name: str, step: int, time_ms: int, value: Any) -> dict[str, Any]:
    """Makes the record of WIRE.md from anything; never raises."""
    own = kind == "fact" and name not in USER_FACTS
    limit = MAX_OWN_FACT_BYTES if own else MAX_RECORD_BYTES
    safe = plain(value)
    size = _size(safe)
    if size > limit:
        safe = _shortened(safe)
        if _size(safe) > limit:
            safe = {"truncated": f"{size} bytes, at most {limit} are kept"}
    return {
        "kind": clean_text(kind, 100) or "event",
        "name": clean_text(name, MAX_NAME_CHARACTERS) or "unnamed",
        "step": step if type(step) is int and -(2**53) < step < 2**53 else -1,
        "time_ms": time_ms,
        "value": safe,
    }


def plain(value: Any) -> Any:
    """Copies a value as JSON: other types become their repr, non-finite numbers a text, cycles a mark."""
    for _ in range(3):
        copied = quietly(_copy, value, 0, set(), default=_CHANGED)  # another thread may be changing it
        if copied is not _CHANGED:
            return wire.json_safe(copied)
    return _CHANGED


def clean_text(text: Any, limit: int | None = None) -> str:
    """Makes text that UTF-8 and every database can hold: no lone surrogates, no NUL, at most `limit` characters."""
    if type(text) is not str:
        text = quietly(str, text, default="unprintable")
    if limit is not None and len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and "\0" not in text:
        return str(text)
    return str(text).encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", "\ufffd")


def _copy(value: Any, depth: int, above: set[int]) -> Any:
    if value is None or isinstance(value, bool):
        return None if value is None else bool(value)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, int):
        whole = int(value)
        return whole if -(2**63) <= whole < 2**63 else f"an integer of {whole.bit_length()} bits"
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"<{len(value)} bytes: {bytes(value[:32]).hex()}>"
    if isinstance(value, (Mapping, Set, list, tuple)):
        if id(value) in above:
            return "<cycle>"
        if depth >= MAX_DEPTH:
            return f"<nested more than {MAX_DEPTH} deep>"
        above.add(id(value))
        try:
            return _copy_container(value, depth + 1, above)
        finally:
            above.discard(id(value))
    number = _as_number(value)
    if number is not None:
        return number
    return clean_text(quietly(repr, value, default=f"<{type(value).__name__}>"), MAX_REPR_CHARACTERS)


def _copy_container(value: Any, depth: int, above: set[int]) -> Any:
    if isinstance(value, Mapping):
        return {clean_text(key, MAX_NAME_CHARACTERS): _copy(item, depth, above) for key, item in value.items()}
    items: Iterable[Any] = sorted(value, key=repr) if isinstance(value, Set) else value
    return [_copy(item, depth, above) for item in items]


def _as_number(value: Any) -> float | int | None:
    """Reads numpy scalars and tensors of one element; anything else is not a number."""
    shape = quietly(getattr, value, "shape")
    if not callable(quietly(getattr, value, "item")) or shape is None or quietly(len, shape, default=1) != 0:
        return None
    number = quietly(value.item)
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        return None
    return number if isinstance(number, float) or -(2**63) <= number < 2**63 else None


def _size(safe: Any) -> int:
    return len(json.dumps(safe, separators=(",", ":"), allow_nan=False))


def _shortened(safe: Any) -> Any:
    """Cuts long texts and lists, and keeps the shape, so that a 10 MB config still shows its small values."""
    if isinstance(safe, str):
        return safe if len(safe) <= _SHORT_TEXT else f"{safe[:_SHORT_TEXT]}… ({len(safe)} characters)"
    if isinstance(safe, dict):
        return {key: _shortened(item) for key, item in _first(safe.items(), 10 * _SHORT_LIST)}
    if isinstance(safe, list):
        kept = [_shortened(item) for item in safe[:_SHORT_LIST]]
        return kept if len(safe) <= _SHORT_LIST else [*kept, f"… ({len(safe)} items)"]
    return safe


def _first(items: Iterable[Any], count: int) -> Sequence[Any]:
    return [item for _, item in zip(range(count), items, strict=False)]
