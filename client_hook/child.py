"""The command `gradwatch run -- CMD`: runs a training as one attempt of a run and stays to tell how it ended.

A process that is killed cannot say so itself; this one sees the exit code and reports the crash. Not for: capturing
anything of the training (client_hook.monitor does that inside it).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from client_hook.backlog import LeftSpool, open_left, spool_files
from client_hook.courier import Courier
from client_hook.identity import Identity
from client_hook.settings import Settings
from client_hook.transport import HttpTransport

WRONG_USAGE, NOT_FOUND, NOT_RUNNABLE = 2, 127, 126
FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


def run(argv: list[str]) -> int:
    """Runs a command with the ids of one run in its environment; gives the command's own exit code."""
    parser = argparse.ArgumentParser(
        prog="gradwatch run", description=run.__doc__, usage="gradwatch run [options] -- CMD ..."
    )
    parser.add_argument("--run-id", help="continue this run as a new attempt [GRADWATCH_RUN_ID]")
    parser.add_argument("--project", help="project of the run [GRADWATCH_PROJECT]")
    parser.add_argument("--url", help="server [GRADWATCH_URL]")
    parser.add_argument("--token", help="its token [GRADWATCH_TOKEN]")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="CMD", help="what to run")
    options = parser.parse_args(argv)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        sys.stderr.write("gradwatch: run needs a command, such as: gradwatch run -- python train.py\n")
        return WRONG_USAGE
    settings = Settings.read(url=options.url, token=options.token, project=options.project)
    identity = Identity.make(options.run_id, environ={**os.environ, "GRADWATCH_ATTEMPT": ""}, ordinal=0)
    code = _run(command, _environment(settings, identity))
    return 128 - code if code < 0 else code  # as a shell reports a process that a signal ended


def _run(command: list[str], environment: dict[str, str]) -> int:
    try:
        child = subprocess.Popen(command, env=environment)
    except FileNotFoundError:
        sys.stderr.write(f"gradwatch: there is no command {command[0]!r}\n")
        return NOT_FOUND
    except OSError as problem:
        sys.stderr.write(f"gradwatch: {command[0]!r} cannot be run ({problem.strerror})\n")
        return NOT_RUNNABLE
    with _forwarding(child):
        code = child.wait()
    report(Settings.read(environ=environment), environment["GRADWATCH_RUN_ID"], code)
    return code


def _environment(settings: Settings, identity: Identity) -> dict[str, str]:
    environment = {
        **os.environ,
        "GRADWATCH_RUN_ID": identity.run_id,
        "GRADWATCH_ATTEMPT": identity.attempt,
        "GRADWATCH_URL": settings.url,
        "GRADWATCH_PROJECT": settings.project,
    }
    if settings.token is not None:
        environment["GRADWATCH_TOKEN"] = settings.token
    return environment


def report(settings: Settings, run_id: str, code: int) -> None:
    """Ends what the command left open: a run without a last word crashed, and this is the code it ended with."""
    how: dict[str, object] = {"exit_code": code}
    if code < 0:
        how = {"signal": _signal_name(-code)}
    for path in spool_files(settings):
        if path.parent.name != run_id:
            continue
        left = open_left(path, value=how)
        if left is None:
            continue
        try:
            _bring(left, settings)
        except OSError as problem:
            sys.stderr.write(f"gradwatch: {path} cannot be read ({problem}); deliver it later with: gradwatch sync\n")
        finally:
            left.spool.close()


def _bring(left: LeftSpool, settings: Settings) -> None:
    transport = HttpTransport(settings.url, settings.token)
    courier = Courier(left, transport, left.opening)
    try:
        while left.peek() is not None and not courier.failures:
            courier.work()
    finally:
        transport.close()
    if courier.failures:
        sys.stderr.write(f"gradwatch: {settings.url}: {courier.problem}; deliver the rest with: gradwatch sync\n")


@contextmanager
def _forwarding(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Hands the signals that reach us to the command, so that it can end as it would without us."""

    def forward(number: int, _frame: FrameType | None) -> None:
        # the terminal sends Ctrl-C to both of us; a second one would look like impatience
        if child.poll() is None and not (number == signal.SIGINT and sys.stdin is not None and sys.stdin.isatty()):
            child.send_signal(number)

    numbers = [getattr(signal, name) for name in FORWARDED if hasattr(signal, name)]
    previous = {number: signal.signal(number, forward) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)
