"""Describes where and how the training runs: the facts `environment` and `config`.

What needs another program or many files (git, packages) is read in a thread of its own, never in the loop.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from client_hook.capture import secrets
from client_hook.capture.base import Context, Signal
from client_hook.guard import quietly, run_thread
from client_hook.process import host_name

GIT_TIMEOUT_S = 3.0
PATIENCE_AT_FINISH_S = 0.5


class EnvironmentSignal(Signal):
    """Sends what is known at once, and again with git and the packages."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def attach(self) -> None:
        """Sends the first part and starts the thread for the second."""
        outbox = self.context.outbox
        if self.context.options.config:
            outbox.record("fact", "config", -1, self.context.options.config)
        known = read(self._device())
        outbox.record("fact", "environment", -1, {**known, "git": None, "packages": None})
        self._thread = run_thread("gradwatch-environment", self.context.guard, lambda: self._read_the_rest(known))
        self._thread.start()

    def _read_the_rest(self, known: dict[str, Any]) -> None:
        packages = _packages()
        git = (
            None
            if self._stop.is_set()
            else read_git(str(Path(sys.argv[0]).absolute().parent) if _is_script() else known["cwd"])
        )
        if not self._stop.is_set():
            self.context.outbox.record("fact", "environment", -1, {**known, "git": git, "packages": packages})

    def on_finish(self) -> None:
        """Waits a moment for the second part of a very short run."""
        if self._thread is not None:
            self._thread.join(PATIENCE_AT_FINISH_S)

    def detach(self) -> None:
        """Lets the thread end."""
        self._stop.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(PATIENCE_AT_FINISH_S)
        self._thread = None

    def _device(self) -> str:
        for _, parameter in self.context.parameters():
            return str(parameter.device)
        return "cpu"


def read(device: str) -> dict[str, Any]:
    """Reads what the process knows about itself."""
    return {
        "command": " ".join(secrets.mask_command(sys.argv)),
        "cwd": quietly(os.getcwd),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "seeds": _seeds(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "device": device,
        "devices": quietly(_devices, default=[]),
        "host": host_name(),
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "pid": os.getpid(),
        "threads": torch.get_num_threads(),
        "precision": {
            "matmul": torch.get_float32_matmul_precision(),
            "tf32": quietly(lambda: bool(torch.backends.cuda.matmul.allow_tf32)),
            "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        },
    }


def _seeds() -> dict[str, Any]:
    """Reads the seeds that can be read: Python's generator keeps none, numpy's its own until it is first used."""
    numpy_random = getattr(sys.modules.get("numpy"), "random", None)
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    return {
        "torch": torch.initial_seed(),
        "numpy": quietly(lambda: _numpy_seed(numpy_random)) if numpy_random is not None else None,
        "cuda": quietly(torch.cuda.initial_seed) if cuda else None,
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    }


def _numpy_seed(numpy_random: Any) -> int | None:
    first = int(numpy_random.get_state()[1][0])
    return first if first != 2**31 else None  # the mark of a generator that was seeded by the system


def _devices() -> list[str]:
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _packages() -> dict[str, str]:
    found = (quietly(_name_and_version, item) for item in metadata.distributions())
    return dict(pair for pair in found if pair)


def _name_and_version(item: metadata.Distribution) -> tuple[str, str]:
    # by hand: `item.metadata` parses the whole file each time, which for all packages holds up the loop by 0.2 s
    head = (item.read_text("METADATA") or item.read_text("PKG-INFO") or "").partition("\n\n")[0]
    fields = dict(line.split(": ", 1) for line in head.split("\n") if line.startswith(("Name: ", "Version: ")))
    return fields["Name"], fields["Version"]


def _is_script() -> bool:
    return bool(sys.argv and sys.argv[0] and Path(sys.argv[0]).is_file())


def read_git(folder: str) -> dict[str, Any] | None:
    """Reads commit, branch and whether there are changes; None outside a repository or where git is missing or slow."""
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    branch = _git(folder, "rev-parse", "--abbrev-ref", "HEAD")
    return {"commit": commit, "branch": branch, "dirty": bool(status) if status is not None else None}


def _git(folder: str, *arguments: str) -> str | None:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments],
            capture_output=True, text=True, timeout=GIT_TIMEOUT_S, env=environment, stdin=subprocess.DEVNULL,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
