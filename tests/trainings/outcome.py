"""What the server says of a run in the end."""

from __future__ import annotations

from typing import Any

from tests.serving import Server, wait_until


def findings(server: Server, run_id: str) -> list[dict[str, Any]]:
    """Gives all findings once the diagnosis is final."""
    wait_until(lambda: server.get(f"runs/{run_id}")["diagnosis"] == "final", "the final diagnosis")
    found: list[dict[str, Any]] = server.get(f"runs/{run_id}/findings")["items"]
    return found
