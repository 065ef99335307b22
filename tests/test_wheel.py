"""The wheel: what a user gets from pip must hold the pages, and stay small on the training side."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_HOOK_BYTES = 150_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    program = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(program, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_it_carries_pages_charts_and_examples(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    wanted = [f"server/_assets/{folder}/{path.relative_to(ROOT / folder).as_posix()}"
              for folder in ("templates", "static", "examples")
              for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]  # fmt: skip
    assert [name for name in wanted if name not in names] == []
    assert any(name.startswith("server/store/migrations/versions/") for name in names)


def test_the_hook_stays_under_150_kB(wheel: zipfile.ZipFile) -> None:
    packed = sum(entry.compress_size for entry in wheel.infolist() if entry.filename.startswith("client_hook/"))
    assert 0 < packed < MAX_HOOK_BYTES


def test_the_hook_requires_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
