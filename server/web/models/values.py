"""Reads the values of JSON answers: floats are null where they are not finite."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from server.ingest.values import clean


def finite(value: Any) -> Any:
    """Gives null for a float that JSON cannot carry."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def plain(value: Any) -> Any:
    """Gives a JSON value with null for every float in it that is not finite."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return finite(value)


def one_line(value: Any) -> Any:
    """Gives a text without control characters and outer spaces, as hooks' texts are stored."""
    return clean(value) if isinstance(value, str) else value


OneLine = Annotated[str, BeforeValidator(one_line)]
Number = Annotated[float | None, BeforeValidator(finite)]
Plain = Annotated[Any, BeforeValidator(plain)]
RunStateName = Literal["running", "finished", "stopped", "failed", "crashed", "silent"]
DiagnosisName = Literal["pending", "live", "final"]
SeverityName = Literal["info", "warning", "error"]
OutcomeName = Literal["passed", "found", "not-evaluated"]
