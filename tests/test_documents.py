"""What the documents name is there: files in backticks, and every setting that the environment can make."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "client_hook/README.md", "server/README.md")
INTERNAL = {"GRADWATCH_JOB"}  # `gradwatch run` tells it to its child


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_files_that_it_names_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|md|js|css|html|yaml|json))`", text)
    places = (ROOT, (ROOT / document).parent)
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def test_every_setting_of_the_environment_is_in_the_readme() -> None:
    code = [path.read_text() for package in ("client_hook", "server") for path in (ROOT / package).rglob("*.py")]
    read = {name for text in code for name in re.findall(r'"(GRADWATCH_[A-Z_]+)"', text)}
    told = set(re.findall(r"GRADWATCH_[A-Z_]+", (ROOT / "README.md").read_text()))
    assert read - told - INTERNAL == set()
