"""Runs the demo: a server, a healthy training of handwritten digits and a sick twin beside it.

Not for: the trainings themselves (examples/digits.py); the server never imports torch.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

from server import demo_token

LISTENING = "Gradwatch listening on "
NEEDED = {"torch": "torch", "sklearn": "scikit-learn"}
PAUSE_S = 0.02
SIGN_IN = "People sign in at this server; the trainings have a token of their own."


def run(argv: list[str], example: Path) -> int:
    """Starts server and trainings, prints the address, and serves until Ctrl-C; gives the exit code."""
    options = _parse(argv)
    missing = [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        _say(f'The demo trains real models and needs {" and ".join(missing)}. Mend it:  pip install "gradwatch[demo]"')
        return 2
    program = [sys.executable, "-m", "client_hook.cli", "serve", "--port", str(options.port)]
    if options.home:
        program += ["--home", options.home]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # else what was started goes on without it
    with demo_token.taken(options.home, os.environ) as token:
        return _show(program, example, options, token)


def _show(program: list[str], example: Path, options: argparse.Namespace, token: str | None) -> int:
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    trainings: list[subprocess.Popen[bytes]] = []
    try:
        address = _address(server)
        if address is None:
            return server.wait()
        trainings = [_train(example, address, options, extra, token) for extra in ([], ["--sick"])]
        locked = f"{SIGN_IN}\n\n" if token else ""
        _say(
            f"Two trainings of handwritten digits have started, one healthy, one with two mistakes in it.\n\n"
            f"    Open  {address}\n\n{locked}Ctrl-C ends the demo; what it recorded stays."
        )
        codes = [training.wait() for training in trainings]
        if any(codes):
            _say(f"A training ended with exit code {max(codes)}: its messages are above.")
            return 1
        _say(f"Both trainings have ended. The pages stay open at {address}")
        return 0 if options.exit else server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        for training in trainings:
            _end(training)
        _end(server)
        server.wait(timeout=15)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gradwatch demo", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=8777, help="port of the server, 0 = a free one (default 8777)")
    parser.add_argument("--home", help="folder of the database and the spool (default GRADWATCH_HOME or ~/.gradwatch)")
    parser.add_argument("--epochs", type=int, default=40, help="epochs of each training (default 40)")
    parser.add_argument("--exit", action="store_true", help="end when both trainings have ended")
    return parser.parse_args(argv)


def _address(server: subprocess.Popen[str]) -> str | None:
    assert server.stdout is not None  # noqa: S101 - Popen was asked for a pipe
    line = server.stdout.readline().strip()
    return line.removeprefix(LISTENING) if line.startswith(LISTENING) else None


def _train(
    example: Path, address: str, options: argparse.Namespace, extra: list[str], token: str | None
) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "GRADWATCH_URL": address}
    if token:
        environment["GRADWATCH_TOKEN"] = token
    if options.home:
        environment["GRADWATCH_HOME"] = options.home
    root = str(Path(__file__).resolve().parents[1])
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    program = [sys.executable, str(example), "--epochs", str(options.epochs), "--pause", str(PAUSE_S), *extra]
    return subprocess.Popen(program, env=environment)


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
