"""Dockerfile and docker-compose.yml: read as text, and their commands started as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.postgres import Cluster
from tests.serving import LISTENING, ROOT

COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
SERVER, DATABASE = COMPOSE["services"]["server"], COMPOSE["services"]["database"]


def instruction(name: str) -> str:
    """Gives the last instruction of a name, its continued lines joined."""
    found = re.findall(rf"^{name} (.*)$", DOCKERFILE.replace("\\\n", " "), re.MULTILINE)
    return str(found[-1])


def test_x17_no_secret_has_a_default_and_none_is_in_a_layer() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name, marks in (("GRADWATCH_SERVER_TOKEN", ":-"), ("POSTGRES_PASSWORD", ":?set ")):
        uses = re.findall(rf"\$\{{{name}([^}}]*)\}}", text)
        assert uses
        assert all(use == marks if marks == ":-" else use.startswith(marks) for use in uses), "the server may have none"
    assert not re.search(r"(TOKEN|PASSWORD)\s*=", DOCKERFILE)


def test_x17_the_server_has_no_root_no_writable_root_file_system_and_no_capability() -> None:
    assert instruction("USER") == SERVER["user"] == "10001"
    assert SERVER["read_only"] is True
    assert SERVER["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in SERVER["security_opt"]
    assert SERVER["volumes"] == ["home:/data"]
    assert "GRADWATCH_HOME=/data" in DOCKERFILE


def test_x17_both_have_health_checks_and_the_server_waits_for_the_database() -> None:
    assert SERVER["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert DATABASE["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    check = str(SERVER["healthcheck"]["test"][1:]).replace("'", '"')
    assert instruction("HEALTHCHECK").endswith(f"CMD {check}")
    assert set(COMPOSE["volumes"]) == {"home", "database"}


def test_the_image_holds_what_the_wheel_needs() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    needed = {
        ".ci",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "client_hook",
        "server",
        "templates",
        "static",
        "examples",
    }
    assert needed <= copied


@pytest.mark.parametrize("source", ["dockerfile", "compose"])
def test_the_commands_start_a_server_on_postgresql_that_is_healthy(
    tmp_path: Path, postgres_cluster: Cluster, source: str
) -> None:
    command: list[str] = SERVER["command"] if source == "compose" else yaml.safe_load(instruction("CMD"))
    check: list[str] = SERVER["healthcheck"]["test"][1:]
    assert (command[0], check[0]) == ("gradwatch", "python")
    url = postgres_cluster.new_database()
    assert SERVER["environment"]["GRADWATCH_DATABASE"].partition("://")[0] == url.partition("://")[0]
    port = command.index("--port") + 1
    start = [sys.executable, "-m", "client_hook.cli", *command[1:port], "0", *command[port + 1 :]]
    environment = {**os.environ, "GRADWATCH_DATABASE": url, "GRADWATCH_HOME": str(tmp_path), "GRADWATCH_KEEP_DAYS": ""}
    refused = subprocess.run(start, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 2
    assert "no token is set" in refused.stderr
    token = {"GRADWATCH_SERVER_TOKEN": "a-token-of-the-test-0123456789"}
    with subprocess.Popen(
        start, env=environment | token, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        assert server.stdout is not None
        line = server.stdout.readline().strip()
        asked = {**environment, "GRADWATCH_PORT": line.rpartition(":")[2]}
        try:
            assert line.startswith(LISTENING), line
            healthy = subprocess.run([sys.executable, *check[1:]], env=asked, cwd=ROOT, timeout=30, check=False)
            assert healthy.returncode == 0
        finally:
            server.terminate()
        assert server.wait(timeout=30) == 0
    gone = subprocess.run(
        [sys.executable, *check[1:]], env=asked, cwd=ROOT, capture_output=True, text=True, timeout=30, check=False
    )
    assert gone.returncode == 1
    assert gone.stderr.startswith("No answer from 127.0.0.1:")
