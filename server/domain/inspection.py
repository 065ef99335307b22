"""What `monitor.inspect` saw of a model with one batch, read from the event that its training sent.

The event comes from outside and may hold anything, so every reader here accepts anything: what is no picture is None.
Not for: colours (charts.pictures) or words (web.contexts.inspection).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.domain.outside import mapping, number

EVENT = "inspection"
BAD = 255  # the code of a value that is not finite
MOST = 400  # layers, features, sentences: a page stays readable
MOST_SIDE = 512
LONGEST = 500


@dataclass(frozen=True)
class Pictures:
    """Holds `count` pictures of codes, shaped (count, planes, rows, columns): 0 stands for `low`, 254 for `high`."""

    codes: NDArray[np.uint8]
    low: float
    high: float
    signed: bool


@dataclass(frozen=True)
class Given:
    """An input of the model."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    low: float
    high: float
    mean: float
    nonfinite: int


@dataclass(frozen=True)
class LayerSeen:
    """What a layer made of the batch; `calls` is 0, and the rest empty, where it was never called."""

    name: str
    type: str
    calls: int
    shape: tuple[int, ...]
    mean: float
    std: float
    absmax: float
    zeros: float
    nonfinite: int
    units: int
    dead: int
    constant: int
    maps: Pictures | None
    channels: tuple[int, ...]
    of_batch: bool


@dataclass(frozen=True)
class Filters:
    """The weights of the first layer as pictures."""

    layer: str
    shape: tuple[int, ...]
    channels: tuple[int, ...]
    pictures: Pictures


@dataclass(frozen=True)
class Saliency:
    """On which inputs the answer hangs: pictures with maps, shares of columns, or sizes along words."""

    of: str
    unused: tuple[str, ...]
    pictures: Pictures | None
    map: Pictures | None
    answers: tuple[int, ...]
    shares: tuple[float, ...]
    tokens: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Inspection:
    """One call of `monitor.inspect`."""

    model: str
    samples: int
    seconds: float
    inputs: tuple[Given, ...]
    output: Given
    layers: tuple[LayerSeen, ...]
    bad_layer: str  # the first whose output is not finite; "" if none is
    bad_values: int  # of it
    bad_layers: int
    filters: Filters | None
    saliency: Saliency | None
    left_out: tuple[str, ...]


def read(value: Any) -> Inspection:
    """Reads an event's value."""
    about = mapping(value)
    first, values, amount = [*_list(about.get("bad_layers")), "", 0, 0][:3]
    return Inspection(
        model=_text(about.get("model")),
        samples=_whole(about.get("samples")),
        seconds=number(about.get("seconds")),
        inputs=tuple(map(_given, _mappings(about.get("inputs")))),
        output=_given(mapping(about.get("output"))),
        layers=tuple(map(_layer, _mappings(about.get("layers")))),
        bad_layer=_text(first),
        bad_values=_whole(values),
        bad_layers=_whole(amount),
        filters=_filters(mapping(about.get("filters"))),
        saliency=_saliency(mapping(about.get("saliency"))),
        left_out=tuple(_text(item) for item in _list(about.get("left_out"))),
    )


def pictures(value: Any) -> Pictures | None:
    """Reads packed pictures; None where the sizes and the bytes do not belong together."""
    about = mapping(value)
    count, planes, rows, columns = (_whole(about.get(name)) for name in ("count", "planes", "height", "width"))
    if not (0 < rows <= MOST_SIDE and 0 < columns <= MOST_SIDE and 0 < count <= MOST and planes in (1, 3)):
        return None
    try:
        raw = base64.b64decode(_text(about.get("values"), None), validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != count * planes * rows * columns:
        return None
    codes = np.frombuffer(raw, np.uint8).reshape(count, planes, rows, columns)
    return Pictures(codes, number(about.get("low")), number(about.get("high")), about.get("signed") is True)


def _given(item: Mapping[str, Any]) -> Given:
    return Given(
        name=_text(item.get("name")),
        shape=_wholes(item.get("shape")),
        dtype=_text(item.get("dtype")),
        low=number(item.get("min")),
        high=number(item.get("max")),
        mean=number(item.get("mean")),
        nonfinite=_whole(item.get("nonfinite")),
    )


def _layer(item: Mapping[str, Any]) -> LayerSeen:
    return LayerSeen(
        name=_text(item.get("name")),
        type=_text(item.get("type")),
        calls=_whole(item.get("calls")),
        shape=_wholes(item.get("shape")),
        mean=number(item.get("mean")),
        std=number(item.get("std")),
        absmax=number(item.get("absmax")),
        zeros=number(item.get("zeros")),
        nonfinite=_whole(item.get("nonfinite")),
        units=_whole(item.get("units")),
        dead=_whole(item.get("dead")),
        constant=_whole(item.get("constant")),
        maps=pictures(item.get("maps")),
        channels=_wholes(item.get("channels")),
        of_batch=item.get("of") == "batch",
    )


def _filters(item: Mapping[str, Any]) -> Filters | None:
    shown = pictures(item.get("picture"))
    if shown is None:
        return None
    return Filters(_text(item.get("layer")), _wholes(item.get("shape")), _wholes(item.get("channels")), shown)


def _saliency(item: Mapping[str, Any]) -> Saliency | None:
    if not item:
        return None
    return Saliency(
        of=_text(item.get("of")),
        unused=tuple(_text(name) for name in _list(item.get("unused"))),
        pictures=pictures(item.get("pictures")),
        map=pictures(item.get("map")),
        answers=_wholes(item.get("answers")),
        shares=tuple(number(share) for share in _list(item.get("shares"))),
        tokens=tuple(_wholes(row) for row in _list(item.get("ids"))),
    )


def _list(value: Any) -> list[Any]:
    return value[:MOST] if isinstance(value, list) else []


def _mappings(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in _list(value) if isinstance(item, Mapping)]


def _text(value: Any, longest: int | None = LONGEST) -> str:
    return value[:longest] if isinstance(value, str) else ""


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _wholes(value: Any) -> tuple[int, ...]:
    return tuple(_whole(item) for item in _list(value))
