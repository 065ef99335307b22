"""An integration stays one short file, and costs nothing until somebody imports it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.serving import ROOT

FILES = sorted((ROOT / "client_hook" / "integrations").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_it_is_shorter_than_80_lines(path) -> None:
    assert len(path.read_text().splitlines()) < 80


def test_the_hook_imports_none_of_the_frameworks() -> None:
    code = (
        "import sys, client_hook; client_hook.watch\n"
        "found = {'transformers', 'accelerate', 'keras', 'ignite', 'pytorch_lightning', 'psutil'} & set(sys.modules)\n"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
