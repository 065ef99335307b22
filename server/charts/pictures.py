"""Paints small pictures of values as PNG: a row of maps, each with its own border, in one image.

Values below and above 0 are blue and red around white, others go from dark to light (the colours of the heatmap); what
is not finite is a red that neither has. Not for: lines over steps.
"""

from __future__ import annotations

import base64
import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
import plotly.colors
from numpy.typing import NDArray

from server.domain.inspection import BAD, Pictures

Pixels = NDArray[np.uint8]
GAP = 1
ACROSS = 12  # pictures in a row
WRONG = (255, 0, 90)
LEVELS = 255


def strip(pictures: Pictures, *, grey: bool = False, across: int = ACROSS) -> str:
    """Lays the pictures of a set side by side, as the address of an image."""
    return _address(_sheet(_painted(pictures, grey=grey), across))


def single(pictures: Pictures, index: int, *, grey: bool = False) -> str:
    """Paints one picture of a set, as the address of an image."""
    return _address(_opaque(_painted(pictures, grey=grey)[index]))


def legend(*, signed: bool) -> str:
    """Paints the colours from the lowest to the highest value."""
    return _address(_opaque(_palette(signed)[np.newaxis, :LEVELS]))


def size(pictures: Pictures, across: int = ACROSS) -> tuple[int, int]:
    """Gives width and height of a strip in pixels."""
    count, _, rows, columns = pictures.codes.shape
    wide = min(count, across)
    high = -(-count // across)
    return wide * (columns + GAP) - GAP, high * (rows + GAP) - GAP


def _painted(pictures: Pictures, *, grey: bool) -> Pixels:
    """Gives (count, rows, columns, 3) colours."""
    codes = pictures.codes
    if codes.shape[1] == 3:
        colours = np.moveaxis(codes, 1, -1).copy()
        colours[(codes == BAD).any(1)] = WRONG
        return colours
    palette = _grey() if grey else _palette(pictures.signed)
    painted: Pixels = palette[codes[:, 0]]
    return painted


def _sheet(painted: Pixels, across: int) -> Pixels:
    count, rows, columns, _ = painted.shape
    wide, high = min(count, across), -(-count // across)
    sheet = np.zeros((high * (rows + GAP) - GAP, wide * (columns + GAP) - GAP, 4), np.uint8)  # gaps are transparent
    for index, picture in enumerate(painted):
        top, left = index // across * (rows + GAP), index % across * (columns + GAP)
        sheet[top : top + rows, left : left + columns] = _opaque(picture)
    return sheet


def _opaque(picture: Pixels) -> Pixels:
    return np.concatenate([picture, np.full((*picture.shape[:2], 1), 255, np.uint8)], axis=2)


@lru_cache
def _palette(signed: bool) -> Pixels:
    """Gives the colour of each code."""
    scale: Any = plotly.colors.diverging.RdBu_r if signed else plotly.colors.sequential.Viridis
    marks = np.array([_rgb(colour) for colour in scale], float)
    at = np.linspace(0, len(marks) - 1, LEVELS)
    mixed = np.stack([np.interp(at, np.arange(len(marks)), marks[:, plane]) for plane in range(3)], axis=1)
    return np.vstack([mixed.round().astype(np.uint8), np.array([WRONG], np.uint8)])


@lru_cache
def _grey() -> Pixels:
    ramp = np.linspace(0, 255, LEVELS).round().astype(np.uint8)
    return np.vstack([np.stack([ramp] * 3, axis=1), np.array([WRONG], np.uint8)])


def _rgb(colour: str) -> tuple[int, ...]:
    if colour.startswith("#"):
        return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return tuple(int(float(part)) for part in colour[4:-1].split(","))


def _address(pixels: Pixels) -> str:
    """Writes RGBA pixels as PNG (W3C, "Portable Network Graphics", chunks IHDR, IDAT and IEND)."""
    height, width, _ = pixels.shape
    rows = np.zeros((height, 1 + 4 * width), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    made = b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(name, data)
        for name, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 6)), (b"IEND", b""))
    )
    return "data:image/png;base64," + base64.b64encode(made).decode()


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
