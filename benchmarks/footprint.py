"""Measures what the hook adds before the first step: import time beyond torch, and its share of the wheel.

python -m benchmarks.footprint [--quick]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

IMPORT = """
import time, torch, torch.nn, torch.optim, torch.utils.data
begin = time.perf_counter()
from client_hook import watch
print(1000 * (time.perf_counter() - begin))
"""
ROOT = Path(__file__).resolve().parents[1]
COMMANDS = ("child", "cli", "console", "decoding", "sync")  # no training loads these


def main() -> None:
    """Prints one JSON object a line."""
    rounds = 3 if "--quick" in sys.argv else 9
    with tempfile.TemporaryDirectory() as folder:
        times = [float(_python("-c", IMPORT, bytecode=folder)) for _ in range(rounds + 1)]
        _print("import beyond torch", statistics.median(times[1:]), "ms", 30.0)
        _python("-m", "hatchling", "build", "-t", "wheel", "-d", folder)
        wheel = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        sizes = {entry.filename: entry.compress_size / 1000 for entry in wheel.infolist()}
    hook = sum(size for name, size in sizes.items() if name.startswith("client_hook/"))
    beside = sum(size for name, size in sizes.items() if name.startswith("client_hook/preflight/"))
    inspecting = sum(size for name, size in sizes.items() if name.startswith("client_hook/inspecting/"))
    commands = sum(sizes[f"client_hook/{name}.py"] for name in COMMANDS)
    integrations = [size for name, size in sizes.items() if name.startswith("client_hook/integrations/")]
    others = sum(integrations) - max(integrations)  # no training loads two of them
    loaded = hook - beside - inspecting - commands - others
    _print("client_hook in the wheel, what a training with an integration loads", loaded, "kB", 150.0)
    _print("the other integrations beside it", others, "kB", None)
    _print("preflight beside it", beside, "kB", 75.0)
    _print("monitor.inspect beside it", inspecting, "kB", 10.0)
    _print("the command line beside it", commands, "kB", 10.0)


def _python(*arguments: str, bytecode: str | None = None) -> str:
    """Runs Python; `bytecode` keeps compiled modules in a folder, as an installation has them."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    if bytecode is not None:
        environment["PYTHONPYCACHEPREFIX"] = bytecode
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _print(metric: str, value: float, unit: str, target: float | None) -> None:
    row = {"benchmark": "footprint", "case": "hook", "metric": metric, "value": round(value, 2), "unit": unit}
    print(json.dumps({**row, "target": target, "meets": None if target is None else value <= target}))


if __name__ == "__main__":
    main()
