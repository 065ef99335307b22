"""The server's commands, found through entry points: serve, demo, check, rules, and what an administrator needs.

Standard library alone until a command runs, so that a missing package is named with the line that installs it.
"""

from __future__ import annotations

import argparse
import math
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from server import administration, alerting, checking
from server.config import DEFAULT_PORT, Settings, SettingsError, add_arguments

DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"

PIP_LINE = 'pip install "gradwatch[server]"'
OF_OIDC = frozenset({"httpx2", "joserfc"})
OURS = frozenset({"server", "client_hook"})
WRONG = 2
INTERRUPTED = 130
BEHIND = 15  # of 19: the most polite is not chosen, a busy server would never let it end
_WHICH = "id of a run, its beginning, or a name (then its newest run)"


def serve(argv: list[str]) -> int:
    """Runs the server until SIGTERM or Ctrl-C; prints one line on stdout when it answers requests."""
    parser = argparse.ArgumentParser(prog="gradwatch serve", description=serve.__doc__)
    add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="list what --keep-days would delete now, and end")
    arguments = parser.parse_args(argv)
    try:
        # Imported here: these need the packages of the extra `server`.
        from server import app, errors, operations

        try:
            settings = Settings.read(vars(arguments), os.environ)
            if not arguments.dry_run:
                return app.run(settings)
            if settings.keep_days is None:
                return _complain("--dry-run lists what --keep-days would delete; name the days, such as --keep-days 90")
            sys.stdout.write(operations.would_retire(settings.database, settings.keep_days) + "\n")
            return 0
        except (SettingsError, app.Cannot, errors.GradwatchError) as error:
            return _complain(error)
    except ModuleNotFoundError as missing:
        return _name_missing(missing)
    except KeyboardInterrupt:
        return INTERRUPTED


def demo(argv: list[str]) -> int:
    """Starts a server and two trainings, one healthy and one sick."""
    from server import demo as show  # here: the other commands need neither
    from server import paths

    return show.run(argv, paths.EXAMPLES / "digits.py")


def check(argv: list[str]) -> int:
    """Waits for the diagnosis of a run and prints its findings; exits 1 if one reaches the level, 2 on errors."""
    parser = argparse.ArgumentParser(prog="gradwatch check", description=check.__doc__)
    parser.add_argument(
        "run", metavar="RUN", help="id of the run, its beginning, its address, or a name (then its newest run)"
    )
    parser.add_argument(
        "--fail-on", choices=checking.LEVELS, default="warning", help="level to fail at (default warning)"
    )
    parser.add_argument("--json", action="store_true", help="the run and its findings as JSON")
    parser.add_argument("--timeout", type=_seconds, default=120, metavar="S", help="seconds to wait (default 120)")
    parser.add_argument("--url", help=f"address of the server [GRADWATCH_URL] (default {DEFAULT_URL})")
    parser.add_argument("--token", help="token of the server [GRADWATCH_TOKEN]")
    parser.add_argument("--home", metavar="DIR", help="ask no server, open the database in this folder")
    options = parser.parse_args(argv)
    try:
        report = _report(options)
    except (checking.CheckError, SettingsError) as error:
        return _complain(error)
    except ModuleNotFoundError as missing:
        return _name_missing(missing)
    except KeyboardInterrupt:
        return INTERRUPTED
    sys.stdout.write(report.as_json() if options.json else report.as_text())
    return 1 if report.reaches(options.fail_on) else 0


def alert(argv: list[str]) -> int:
    """Lists, adds, tests or removes the channels by which a running server tells people of runs that go wrong."""
    parser = argparse.ArgumentParser(prog="gradwatch alert", description=alert.__doc__)
    parser.add_argument("--url", help=f"address of the server [GRADWATCH_URL] (default {DEFAULT_URL})")
    parser.add_argument("--token", help="token of the server [GRADWATCH_TOKEN]")
    wishes = parser.add_subparsers(dest="wish", required=True, metavar="add|list|test|remove")
    wishes.add_parser("list", help="lists the channels")
    adding = wishes.add_parser("add", help="adds a channel")
    adding.add_argument("kind", choices=("webhook", "slack", "discord", "teams", "ntfy", "mail"))
    adding.add_argument("address", metavar="ADDRESS", help="its address; - reads it from standard input")
    adding.add_argument("--name", default="", help="what you call it")
    adding.add_argument("--secret-file", metavar="FILE", help="holds the key of the signature, or ntfy's token")
    adding.add_argument("--severity", choices=checking.LEVELS, default="error", help="the least (default error)")
    adding.add_argument("--project", action="append", default=[], metavar="NAME", help="of this project alone; again")
    adding.add_argument("--tag", action="append", default=[], metavar="TAG", help="of runs with this tag alone; again")
    adding.add_argument("--ends", action="store_true", help="tell when a run ends well, too")
    for name in ("test", "remove"):
        wishes.add_parser(name, help=f"{name}s a channel").add_argument("number", type=int, metavar="NUMBER")
    options = parser.parse_args(argv)
    token = options.token or os.environ.get("GRADWATCH_TOKEN") or os.environ.get("GRADWATCH_SERVER_TOKEN")
    server = checking.Server(options.url or os.environ.get("GRADWATCH_URL") or DEFAULT_URL, token)
    try:
        sys.stdout.write(_alert(server, options))
    except (checking.CheckError, OSError) as error:
        return _complain(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _alert(server: checking.Server, options: argparse.Namespace) -> str:
    if options.wish == "list":
        return alerting.list_channels(server)
    if options.wish in ("test", "remove"):
        act = alerting.test if options.wish == "test" else alerting.remove
        return act(server, options.number)
    address = sys.stdin.readline().strip() if options.address == "-" else options.address
    secret = Path(options.secret_file).expanduser().read_text("utf-8").strip() if options.secret_file else ""
    named = {"kind": options.kind, "address": address, "name": options.name, "secret": secret}
    filters = {"projects": options.project, "tags": options.tag, "ends": options.ends}
    return alerting.add(server, {**named, "severity": options.severity, **filters})


def migrate(argv: list[str]) -> int:
    """Brings the database to the newest schema; `serve` does so by itself."""
    return _operate(argv, migrate, lambda operations, url, _: operations.migrate(url))


def backup(argv: list[str]) -> int:
    """Copies the database to a file while the server runs."""
    return _operate(
        argv, backup, lambda operations, url, path: operations.back_up(url, path), "FILE", "the new file", behind=True
    )


def restore(argv: list[str]) -> int:
    """Puts a backup in the place of the database; no server may use it meanwhile."""
    return _operate(argv, restore, lambda operations, url, path: operations.restore(path, url), "FILE", "the backup")


def user(argv: list[str]) -> int:
    """Adds, lists, changes and removes the people of a server."""
    return administration.user(argv, _with_settings)


def token(argv: list[str]) -> int:
    """Makes, lists and revokes the tokens of a server."""
    return administration.token(argv, _with_settings)


def export(argv: list[str]) -> int:
    """Writes runs with all that belongs to them to a file, while the server runs; `import` reads it."""
    return _move(argv, "export", export, "the new file", "runs of this project alone")


def import_(argv: list[str]) -> int:
    """Takes runs from a file that `export` or `backup` wrote, from the database of another server, or from a folder of
    TensorBoard's event files."""
    return _move(
        argv, "import", import_, "the file or the folder", "where they come to (default: a project of the same name)"
    )


def _move(argv: list[str], name: str, command: Callable[..., int], file: str, project: str) -> int:
    parser = argparse.ArgumentParser(prog=f"gradwatch {name}", description=command.__doc__)
    parser.add_argument("file", metavar="FILE", help=file)
    parser.add_argument("runs", metavar="RUN", nargs="*", help=f"{_WHICH}; all, if none is named")
    parser.add_argument("--project", metavar="NAME", help=project)

    def run(options: argparse.Namespace, url: str) -> str:
        # Imported here: it needs the packages of the extra `server`.
        from server import moving

        act = moving.export_runs if name == "export" else moving.import_runs
        return act(_path(options), url, options.runs, options.project)

    return _on_database(parser, argv, run)


def worker(argv: list[str]) -> int:
    """Diagnoses the runs of a PostgreSQL database beside its servers, until SIGTERM or Ctrl-C."""

    def run(_: argparse.Namespace, settings: Settings) -> str:
        # Imported here: it needs the packages of the extra `server`.
        from server import working

        working.run(settings)
        return ""

    return _with_settings(argparse.ArgumentParser(prog="gradwatch worker", description=worker.__doc__), argv, run)


def _path(options: argparse.Namespace) -> Path:
    return Path(options.file).expanduser()


def _operate(
    argv: list[str],
    command: Callable[..., int],
    act: Callable[[Any, str, Path], str],
    file: str = "",
    words: str = "",
    *,
    behind: bool = False,
) -> int:
    """Runs a command of `operations` on the database that the settings name, `behind` the server where both want the
    processor.
    """
    parser = argparse.ArgumentParser(prog=f"gradwatch {command.__name__}", description=command.__doc__)
    if file:
        parser.add_argument("file", metavar=file, help=words)

    def run(options: argparse.Namespace, url: str) -> str:
        # Imported here: it needs the packages of the extra `server`.
        from server import operations

        return act(operations, url, _path(options) if file else Path())

    def run_behind(options: argparse.Namespace, url: str) -> str:
        with ThreadPoolExecutor(1, initializer=_stand_behind) as thread:
            return thread.submit(run, options, url).result()

    return _on_database(parser, argv, run_behind if behind else run)


def _stand_behind() -> None:
    """Lets others have the processor first: on Linux this thread and what it starts, elsewhere the process, or none."""
    with suppress(AttributeError, OSError):
        os.setpriority(os.PRIO_PROCESS, 0, BEHIND)


def _on_database(
    parser: argparse.ArgumentParser, argv: list[str], act: Callable[[argparse.Namespace, str], str]
) -> int:
    """Runs a command on the database that the settings name, and prints its sentence."""
    return _with_settings(parser, argv, lambda options, settings: act(options, settings.database) + "\n")


@contextmanager
def _swept() -> Iterator[None]:
    """Lets SIGTERM end a command as Ctrl-C does, so that it leaves no half-made file behind."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _with_settings(
    parser: argparse.ArgumentParser, argv: list[str], act: Callable[[argparse.Namespace, Settings], str]
) -> int:
    parser.add_argument("--home", metavar="DIR", help="folder of the database [GRADWATCH_HOME]")
    parser.add_argument("--database", metavar="URL", help="database [GRADWATCH_DATABASE]")
    options = parser.parse_args(argv)
    try:
        # Imported here: it needs the packages of the extra `server`.
        from server import errors

        settings = Settings.read({"home": options.home, "database": options.database}, os.environ)
        try:
            with _swept():
                said = act(options, settings)
        except errors.GradwatchError as error:
            return _complain(error)
    except SettingsError as error:
        return _complain(error)
    except ModuleNotFoundError as missing:
        return _name_missing(missing)
    except KeyboardInterrupt:
        return INTERRUPTED
    sys.stdout.write(said)
    return 0


def rules(argv: list[str]) -> int:
    """Lists the rules of the catalogue, or explains one."""
    parser = argparse.ArgumentParser(prog="gradwatch rules", description=rules.__doc__)
    parser.add_argument("rule", metavar="RULE", nargs="?", help="explain this one: its code or name, such as GW308")
    parser.add_argument("--json", action="store_true", help="the whole catalogue as JSON")
    options = parser.parse_args(argv)
    try:
        # Imported here: these need packages of the extra `server`.
        from server.rules.registry import load_rules
        from server.web.models.rules import LeftOut, RuleItem, RulePage
    except ModuleNotFoundError as missing:
        return _name_missing(missing)
    registry = load_rules()
    if options.json:
        left_out = [LeftOut(source=item.source, reason=item.sentence) for item in registry.problems]
        page = RulePage(items=[RuleItem.of(rule) for rule in registry], next=None, left_out=left_out)
        sys.stdout.write(page.model_dump_json(indent=2) + "\n")
        return 0
    if options.rule:
        one = registry.get(options.rule) or registry.get(options.rule.upper())
        if one is None:
            return _complain(f"No rule is called {options.rule!r}; `gradwatch rules` lists them")
        told = "".join(f"\n{title}\n{text}\n" for title, text in one.sections.items())
        sys.stdout.write(f"{one.code} {one.name}, up to {one.severity.value}: {one.summary}\n{told}")
        return 0
    width = max((len(rule.name) for rule in registry), default=0)
    for rule in registry:
        sys.stdout.write(f"{rule.code}  {rule.severity.value:<8} {rule.name:<{width}}  {rule.summary}\n")
    return 0


def _report(options: argparse.Namespace) -> checking.Report:
    """Asks the server that was named, else the usual one, else the database at home."""
    token = options.token or os.environ.get("GRADWATCH_TOKEN") or os.environ.get("GRADWATCH_SERVER_TOKEN")
    if options.home is None:
        url = options.url or os.environ.get("GRADWATCH_URL") or DEFAULT_URL
        try:
            return checking.check(checking.Server(url, token), options.run, options.timeout)
        except checking.Unreachable as silence:
            if options.url:
                raise
            sys.stderr.write(f"gradwatch: {silence}; the database is opened instead\n")
    # Imported here: these need the packages of the extra `server`.
    from server import app, errors

    settings = Settings.read(
        {"home": options.home, "port": 0, "host": "127.0.0.1", "token": secrets.token_urlsafe()}, os.environ
    )
    file = settings.database.removeprefix("sqlite:///")
    if file != settings.database and not Path(file).exists():
        raise checking.CheckError(f"There is no database {file}; --home DIR is the folder that `serve` was given")
    place = f"The database in {settings.home}"
    try:
        with app.served(settings) as address:
            return checking.check(checking.Server(address, settings.token, place), options.run, options.timeout)
    except (app.Cannot, errors.GradwatchError) as error:
        raise checking.CheckError(str(error)) from error


def _seconds(text: str) -> float:
    seconds = float(text)
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"a number of seconds is needed, such as 120, not {text!r}")
    return seconds


def _name_missing(missing: ModuleNotFoundError) -> int:
    name = (missing.name or "").partition(".")[0]
    if name in OURS:
        raise missing
    if name in OF_OIDC:
        line = 'pip install "gradwatch[oidc]"'
        return _complain(
            f"Signing in with OpenID Connect (GRADWATCH_OIDC_ISSUER) needs the package {name!r}. Mend it: {line}"
        )
    return _complain(f"The server needs the package {name!r}. Mend it: {PIP_LINE}")


def _complain(what: object) -> int:
    sys.stderr.write(f"gradwatch: {what}\n")
    return WRONG
