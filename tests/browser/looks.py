"""The themes and widths that pages are looked at in: each once in CI, all six with GRADWATCH_COUNTS=full."""

from __future__ import annotations

from itertools import product

from tests.counts import FULL

ALL = list(product(("light", "dark"), (360, 640, 1440)))
LOOKS = ALL if FULL else [("light", 360), ("dark", 640), ("dark", 1440)]
BARRIERS = ALL if FULL else [("light", 360), ("dark", 1440)]  # those of them in which axe looks for barriers
