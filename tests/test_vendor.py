"""The files of others are those that were published, and every one of them is named with its licence."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

VENDOR = Path(__file__).resolve().parents[1] / "static" / "vendor"


def test_every_file_is_the_published_one() -> None:
    listed = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["files"]
    for item in listed:
        assert hashlib.sha256((VENDOR / item["file"]).read_bytes()).hexdigest() == item["sha256"], item["file"]
        assert item["licence"]
    assert {path.name for path in VENDOR.iterdir()} == {item["file"] for item in listed} | {"VENDOR.toml"}
