"""X2: every operation of the API, asked by schemathesis in all its phases, answers as its own description says.

It asks a server that is full of runs, with a token; 200 examples an operation with `GRADWATCH_COUNTS=full`.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from server import web
from server.web.auth import Door
from tests.browser import stage
from tests.counts import count, patience
from tests.serving import ROOT, Server

TOKEN = "k" * 32
EXAMPLES = count(5, 200)
FORM: dict[str, Any] = {
    "type": "object",
    "required": ["project", "code", "rule", "reason"],
    "properties": {
        name: {"type": "string"}
        for name in (
            "project",
            "rule",
            "do",
            "who",
            "reason",
            "code",
            "layers",
            "run",
            "days",
            "runs",
            "threshold.dead",
        )
    },
}
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with the runs of the stage, which asks for a token from now on."""
    home = tmp_path_factory.mktemp("openapi")
    filling = Server(home)
    stage.fill(filling)
    filling.stop()
    started = Server(home, "--token", TOKEN)
    yield started
    started.stop()


def asked(folder: Path, *arguments: str) -> None:
    """Runs schemathesis with a token; fails with what it found."""
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    command += ["--config-file", str(CONFIG), "run", *arguments, "--header", f"Authorization: Bearer {TOKEN}"]
    command += ["--seed", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.security.schema_hooks"}
    told = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-6_000:] + told.stderr[-2_000:]


@pytest.mark.timeout(patience(240))
def test_x2_the_api_keeps_to_its_own_description(full: Server, tmp_path: Path) -> None:
    asked(tmp_path, f"{full.url}/api/v1/openapi.json", "--max-examples", str(EXAMPLES))


@pytest.mark.timeout(patience(240))
def test_x2_no_address_of_a_page_makes_the_server_fail(
    full: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pages have no description of their own; their parameters have."""
    app = FastAPI()
    for module in pkgutil.iter_modules(web.__path__):
        if not module.name.endswith("pages"):
            continue
        pages = importlib.import_module(f"server.web.{module.name}")
        router = pages.router if hasattr(pages, "router") else pages.router_for(Door(TOKEN, 8777))
        monkeypatch.setattr(router, "include_in_schema", True)
        for route in router.routes:
            monkeypatch.setattr(route, "include_in_schema", not route.path.startswith("/api/"))
        app.include_router(router)
    described = app.openapi()
    assert len(described["paths"]) >= 30
    for operation in (place["post"] for place in described["paths"].values() if "post" in place):
        operation["requestBody"] = {"content": {"application/x-www-form-urlencoded": {"schema": FORM}}}
    (tmp_path / "pages.json").write_text(json.dumps(described))
    checks = (
        "--checks",
        "not_a_server_error,the_door_is_open",
        "--header",
        "Accept: text/html",
        "--max-redirects",
        "0",
    )
    count_of = ("--max-examples", str(count(3, 200)), "--phases", "coverage,fuzzing")
    asked(tmp_path, "pages.json", "--url", full.url, *checks, *count_of)
