"""Writes numbers, counts and times as a person reads them. Pure; every page gets its texts from here.

Not for: dates in the reader's time zone. The server says UTC and the browser says local time (static/js/times.js).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

NOTHING = "–"
MINUTE_S, HOUR_S, DAY_S = 60, 3_600, 86_400
LONGEST_TEXT = 500


def number(value: float | None, digits: int = 4) -> str:
    """Writes a number with so many significant digits; says NaN and ∞ as they are."""
    if value is None:
        return NOTHING
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    if value == int(value) and abs(value) < 10**6:
        return count(int(value))
    if not 1e-3 <= abs(value) < 10**6:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        short = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
        return f"{short}e{int(exponent)}".replace("-", "−")
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{decimals}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text).replace("-", "−")


def seconds(value: float) -> str:
    """Writes a time in the unit that suits it: 255 µs, 34.5 ms, 1.2 s."""
    size, unit = next(((size, unit) for size, unit in ((1, "s"), (1e3, "ms")) if abs(value) * size >= 1), (1e6, "µs"))
    return f"{number(value * size, 3)} {unit}"


def count(value: int | None) -> str:
    """Writes a whole number with its thousands set apart."""
    return NOTHING if value is None else f"{value:,}".replace("-", "−")


def percent(share: float | None) -> str:
    """Writes a share as percent with two significant digits."""
    return NOTHING if share is None or not math.isfinite(share) else f"{number(100 * share, 2)} %"


def duration(milliseconds: int | None) -> str:
    """Writes a stretch of time in its two largest units."""
    if milliseconds is None or milliseconds < 0:
        return NOTHING
    seconds = milliseconds // 1_000
    if 100 <= milliseconds < 1_000:
        return f"{milliseconds // 100 / 10} s"
    if seconds < MINUTE_S:
        return f"{seconds} s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S} min {seconds % MINUTE_S:02} s"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S} h {seconds % HOUR_S // MINUTE_S:02} min"
    return f"{seconds // DAY_S} d {seconds % DAY_S // HOUR_S:02} h"


def ago(milliseconds: int) -> str:
    """Says how long ago something was, coarsely enough not to flicker."""
    seconds = max(0, milliseconds // 1_000)
    if seconds < MINUTE_S:
        return "just now"
    for size, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def iso(milliseconds: int) -> str:
    """Writes a moment for machines."""
    return _moment(milliseconds).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(milliseconds: int) -> str:
    """Writes a moment for people whose browser runs no scripts."""
    return _moment(milliseconds).strftime("%Y-%m-%d %H:%M:%S UTC")


def plural(amount: int, one: str, many: str = "") -> str:
    """Counts things: 1 run, 2 runs."""
    return f"{count(amount)} {one if amount == 1 else many or one + 's'}"


def text(value: Any) -> str:
    """Writes any JSON value on one line, shortened where it is very long."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value, 6)
    if isinstance(value, list | tuple):
        written = ", ".join(text(one) for one in value[:50])
        return shortened(f"[{written}]" if written else "[]")
    if isinstance(value, dict):
        return shortened(", ".join(f"{key}: {text(one)}" for key, one in list(value.items())[:50]))
    return shortened(str(value))


def cell(value: float | str | None) -> str:
    """Writes a value of a table's column."""
    return shortened(value, 60) if isinstance(value, str) else number(value)


def shortened(written: str, longest: int = LONGEST_TEXT) -> str:
    """Cuts a text that is too long for a page."""
    return written if len(written) <= longest else written[: longest - 1] + "…"


def _moment(milliseconds: int) -> datetime:
    # A broken clock of a training must not break a page: years outside 1970 to 9999 are cut.
    return datetime.fromtimestamp(min(max(milliseconds, 0), 253_402_300_799_000) / 1_000, UTC)
