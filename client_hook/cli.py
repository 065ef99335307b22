"""The command line: `gradwatch`, or `python -m client_hook.cli`.

What the training side needs (sync, status, run) works on an installation without the server's packages; the other
commands load through the entry-point group `gradwatch.commands`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from keyword import iskeyword

Command = Callable[[list[str]], int]

GROUP = "gradwatch.commands"
SERVER_LINE = 'pip install "gradwatch[server]"'
WRONG_USAGE = 2
PIPE_CLOSED = 141  # as a process that SIGPIPE ended

# command: (where it lives, what it does); the server's live in `server.cli`, which this side never imports by itself
_HERE = {
    "sync": ("client_hook.sync", "deliver what trainings could not send"),
    "status": ("client_hook.sync", "show what waits for delivery, and whether the server answers"),
    "preflight": (
        "client_hook.preflight.command",
        "check a model before its training: gradwatch preflight train:check",
    ),
    "run": ("client_hook.child", "run a command as one attempt of a run: gradwatch run -- python train.py"),
}
_SERVER = {
    "serve": "start the server",
    "demo": "start a server, a healthy training and a sick twin",
    "check": "print the findings of a run; exit 1 at or above a level",
    "alert": "say who is told when a run goes wrong",
    "rules": "list what the diagnosis knows",
    "user": "add, list, change and remove the people of a server",
    "token": "make, list and revoke tokens for trainings and scripts",
    "migrate": "bring the database to the newest schema",
    "backup": "copy the database to a file while the server runs",
    "restore": "put a backup in the place of the database",
    "export": "write runs to a file while the server runs",
    "import": "take runs from such a file, from the database of another server, or from TensorBoard's logs",
    "worker": "diagnose beside the servers of a PostgreSQL database",
}


def main(argv: list[str] | None = None) -> int:
    """Runs one command and gives its exit code; 2 means that the command line was wrong."""
    arguments = sys.argv[1:] if argv is None else argv
    name = arguments[0] if arguments else "--help"
    if name in ("--help", "-h", "help"):
        sys.stdout.write(usage())
        return 0 if arguments else WRONG_USAGE
    if name == "--version":
        sys.stdout.write(f"gradwatch {own_version()}\n")
        return 0
    if name in _HERE:
        command: Command = getattr(import_module(_HERE[name][0]), name)
    else:
        found = server_command(name)
        if isinstance(found, str):
            sys.stderr.write(f"gradwatch: {found}\n")
            return WRONG_USAGE
        command = found
    try:
        return command(arguments[1:])
    except BrokenPipeError:
        # the reader of a pipe (head, less) went away; the rest has nowhere to go, nor has what is flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED


def server_command(name: str) -> Command | str:
    """Finds a command of the server, or gives the sentence that says what is missing."""
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None and name in _SERVER:
        # a checkout that is run in place has the code, but no entry points
        point = EntryPoint(name, f"server.cli:{name}{'_' * iskeyword(name)}", GROUP)
    if point is None:
        known = ", ".join([*_SERVER, *_HERE])
        return f"there is no command {name!r}; the commands are {known}. See: gradwatch --help"
    try:
        command: Command = point.load()
    except ModuleNotFoundError as missing:
        return f"{name} needs the package {missing.name!r}, which is not installed. Mend it:  {SERVER_LINE}"
    return command


def own_version() -> str:
    """Gives the installed version."""
    try:
        return version("gradwatch")
    except PackageNotFoundError:
        return "(a checkout that is not installed)"


def usage() -> str:
    """Makes the text of `gradwatch --help`."""
    words = {**_SERVER, **{name: what for name, (_, what) in _HERE.items()}}
    lines = "".join(f"  {name:<9} {what}\n" for name, what in words.items())
    return (
        "usage: gradwatch COMMAND [options]\n\n"
        "A doctor for PyTorch training runs.\n\n"
        f"{lines}\n"
        "gradwatch COMMAND --help explains one command; gradwatch --version prints the version.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
