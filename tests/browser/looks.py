"""The themes and widths that pages are looked at in: each once in CI, all six with GRADWATCH_COUNTS=full."""

from __future__ import annotations

from itertools import product

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as Late

from tests.counts import FULL

ALL = list(product(("light", "dark"), (360, 640, 1440)))
LOOKS = ALL if FULL else [("light", 360), ("dark", 1440)]
ON_THE_WAY = {} if FULL else {1440: (640,)}  # widths that a page which is loaded already is brought to
FITS = "width => document.documentElement.scrollWidth <= width"


def assert_it_fits(page: Page, width: int, where: str) -> None:
    """Asserts that nothing is wider than the window."""
    height = page.viewport_size["height"] if page.viewport_size else 900
    assert page.evaluate(FITS, width), (where, width)
    for other in ON_THE_WAY.get(width, ()):
        page.set_viewport_size({"width": other, "height": height})
        try:
            page.wait_for_function(FITS, arg=other, timeout=10_000)  # charts are drawn anew
        except Late:
            raise AssertionError((where, other)) from None
    page.set_viewport_size({"width": width, "height": height})
