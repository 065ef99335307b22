"""The command `gradwatch run -- CMD`: runs a training as one attempt of a run and stays to tell how it ended.

A process that is killed cannot say so itself; this one sees the signal or exit code and the last lines of the console,
and reports them. Not for: capturing anything of the training (client_hook.monitor does that inside it).
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from client_hook.backlog import LeftSpool, spool_files
from client_hook.console import Console, our_streams
from client_hook.courier import Courier
from client_hook.guard import quietly
from client_hook.identity import Identity
from client_hook.recordfile import SpoolBusy
from client_hook.settings import Settings
from client_hook.spool import Spool, SpoolDamaged
from client_hook.transport import HttpTransport

WRONG_USAGE, NOT_FOUND, NOT_RUNNABLE = 2, 127, 126
CLOCK_STEP_S = 60.0
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
    began_s, kills = time.time(), oom_kills()
    console = Console()
    streams = our_streams()
    out, err = (None, None) if streams is None else (console.stream(streams[0]), console.stream(streams[1]))
    try:
        child = subprocess.Popen(command, env=environment, stdout=out, stderr=err)
    except FileNotFoundError:
        sys.stderr.write(f"gradwatch: there is no command {command[0]!r}\n")
        return NOT_FOUND
    except OSError as problem:
        sys.stderr.write(f"gradwatch: {command[0]!r} cannot be run ({problem.strerror})\n")
        return NOT_RUNNABLE
    console.start()
    with _forwarding(child):
        code = child.wait()
    how: dict[str, Any] = {"exit_code": code} if code >= 0 else {"signal": _signal_name(-code)}
    if (more := oom_kills() - kills) > 0:
        how["oom_kills"] = more
    settings = Settings.read(environ=environment)
    report(settings, environment["GRADWATCH_RUN_ID"], code, how, console.finish(), since_s=began_s)
    return code


def _environment(settings: Settings, identity: Identity) -> dict[str, str]:
    environment = {
        "PYTHONUNBUFFERED": "1",  # or the last lines die in the command's memory with it
        **os.environ,
        "GRADWATCH_RUN_ID": identity.run_id,
        "GRADWATCH_ATTEMPT": identity.attempt,
        "GRADWATCH_URL": settings.url,
        "GRADWATCH_PROJECT": settings.project,
        "GRADWATCH_JOB": identity.run_id,
    }
    if settings.token is not None:
        environment["GRADWATCH_TOKEN"] = settings.token
    return environment


def report(
    settings: Settings, job: str, code: int, how: dict[str, Any], console: list[str], *, since_s: float = 0.0
) -> None:
    """Ends what the command left open, each run of it, and tells the last lines of the console where it failed."""
    for path in spool_files(settings):
        try:
            if path.stat().st_mtime < since_s - CLOCK_STEP_S:
                continue
            spool = Spool.open(path)
        except (OSError, SpoolBusy, SpoolDamaged):
            continue
        try:
            if spool.opening.get("job") == job:
                left = LeftSpool(spool, value=how, state="crashed" if code else "finished")
                if code and spool.opening["rank"] == 0:
                    left.add("console", {**how, "lines": console})
                _bring(left, settings)
        except OSError as problem:
            sys.stderr.write(f"gradwatch: {path} cannot be read ({problem}); deliver it later with: gradwatch sync\n")
        finally:
            spool.close()


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


def oom_kills(mounted: Path = Path("/sys/fs/cgroup"), of: Path = Path("/proc/self/cgroup")) -> int:
    """Reads how often the kernel killed a process of this control group for want of memory; 0 where nobody counts.

    `of` names the group; in a container its name may be the host's, and the group itself stands at the top.
    """
    for line in quietly(of.read_text, default="").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if number == "0" and not controllers:
            top, file = mounted, "memory.events"
        elif "memory" in controllers.split(","):
            top, file = mounted / "memory", "memory.oom_control"
        else:
            continue
        for group in (top / name.strip("/"), top):
            for words in quietly((group / file).read_text, default="").splitlines():
                key, _, count = words.partition(" ")
                if key == "oom_kill" and count.strip().isdecimal():
                    return int(count)
    return 0


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
