"""The commands `gradwatch user` and `gradwatch token`: people and tokens by hand, where no page can be reached yet.

A password is asked without echo, or read from standard input; a token is printed once. Not for: what is checked
(server.accounts).
"""

from __future__ import annotations

import argparse
import getpass
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.config import Settings
from server.domain.accounts import BY_COMMAND, Role, Scope, role_text
from server.errors import InUse, StoreError, WrongAccount

if TYPE_CHECKING:
    from server.store import Store

WRONG = 2

Run = Callable[[argparse.ArgumentParser, list[str], Callable[[argparse.Namespace, Settings], str]], int]


@dataclass(frozen=True)
class _Action:
    """One thing that a command does: what it says of itself, its arguments, and how it is done."""

    what: str
    arguments: Sequence[str]
    act: Callable[[Store, argparse.Namespace], str]


def user(argv: list[str], run: Run) -> int:
    """Runs `gradwatch user ACTION …`; `run` reads the settings and answers errors, as for every other command."""
    return _command("user", "The people of a server: who may sign in, and as what.", _USER, argv, run)


def token(argv: list[str], run: Run) -> int:
    """Runs `gradwatch token ACTION …`."""
    return _command("token", "The tokens of a server: what trainings and scripts send.", _TOKEN, argv, run)


def _command(name: str, words: str, actions: dict[str, _Action], argv: list[str], run: Run) -> int:
    asked = argv[0] if argv else "--help"
    if asked in ("--help", "-h"):
        lines = "".join(f"  {action:<9} {actions[action].what}\n" for action in actions)
        sys.stdout.write(f"usage: gradwatch {name} ACTION …\n\n{words}\n\n{lines}\n")
        sys.stdout.write(f"gradwatch {name} ACTION --help explains one of them.\n")
        return 0 if argv else WRONG
    action = actions.get(asked)
    if action is None:
        sys.stderr.write(f"gradwatch: {name} {asked}: there is no such action; there is {', '.join(actions)}\n")
        return WRONG
    parser = argparse.ArgumentParser(prog=f"gradwatch {name} {asked}", description=f"{action.what.capitalize()}.")
    for argument in action.arguments:
        _ARGUMENTS[argument](parser)

    def act(options: argparse.Namespace, settings: Settings) -> str:
        with _opened(settings.database) as store:
            return action.act(store, options)

    return run(parser, argv[1:], act)


@contextmanager
def _opened(url: str) -> Iterator[Store]:
    # Imported here: it needs the packages of the extra `server`.
    from server.store import Store

    try:
        store = Store.open(url)
    except InUse as error:
        raise StoreError(f"{error} Or do this on its pages Settings, People and Tokens.") from None
    try:
        yield store
    finally:
        store.close()


# -- people ------------------------------------------------------------------------------------------------------------


def _add_user(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts, checked_name

    first = not store.people.any()
    name = checked_name(options.name)
    projects = dict.fromkeys(options.project, options.role) or None
    Accounts(store).add_person(name, options.role, _password(name), projects, who=BY_COMMAND)
    said = f"{name} can sign in now, as {_rights(store, name)}.\n"
    if first:
        said += (
            "From now on everybody signs in, on this machine too, and a training needs a token:\n"
            "  gradwatch token add trainings --scope ingest\n"
        )
    return said


def _list_users(store: Store, _: argparse.Namespace) -> str:
    people = [
        (
            one.name,
            role_text(one.role, one.projects),
            one.issuer or "a password",
            _day(one.created_ms),
            _day(one.signed_in_ms, "never"),
        )
        for one in store.people.list()
    ]
    return (
        _table([("NAME", "ROLE", "SIGNS IN WITH", "SINCE", "LAST SIGN-IN"), *people])
        if people
        else "Nobody has an account; gradwatch user add NAME --role admin\n"
    )


def _set_role(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts

    role = options.new_role
    if role == NONE and not options.project:
        raise WrongAccount("The role none takes a project away; name it with --project.")
    if not options.project:
        Accounts(store).set_role(options.name, role, who=BY_COMMAND)
    for project in options.project:
        Accounts(store).set_project(options.name, project, None if role == NONE else role, who=BY_COMMAND)
    return f"{options.name} is {_rights(store, options.name)} now, and signs in again.\n"


def _set_password(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts

    found = next((one for one in store.people.list() if one.name == options.name.strip().lower()), None)
    if found is None:
        raise WrongAccount(f"Nobody is called {options.name!a}; gradwatch user list says who there is.")
    if found.issuer:
        raise WrongAccount(f"{found.name!r} signs in at {found.issuer} and has no password here.")
    Accounts(store).set_password(options.name, _password(options.name), who=BY_COMMAND)
    return f"{options.name} has another password now, and signs in again.\n"


def _remove_user(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts

    left = Accounts(store).remove_person(options.name, who=BY_COMMAND)
    said = f"{options.name} is removed and signed out.\n"
    if left:
        names = ", ".join(repr(one.name) for one in left)
        said += f"Tokens that {options.name} made go on: {names}; gradwatch token revoke NAME ends one.\n"
    if not store.people.any():
        said += (
            "Nobody has an account now: a server on 127.0.0.1 without a token is open to everybody on this machine.\n"
        )
    return said


# -- tokens ------------------------------------------------------------------------------------------------------------


def _add_token(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts

    made = Accounts(store).add_token(options.name, options.scope, options.days, options.project or None, who=BY_COMMAND)
    sys.stderr.write(
        "gradwatch: this is the only time that the token is shown; a training takes it as GRADWATCH_TOKEN\n"
    )
    return made + "\n"


def _list_tokens(store: Store, _: argparse.Namespace) -> str:
    now = store.now_ms()
    rows = [("NAME", "SCOPE", "PROJECTS", "STATE", "MADE BY", "SINCE", "UNTIL", "LAST USED")]
    for one in store.tokens.list():
        until, used = _day(one.expires_ms, "no end"), _day(one.used_ms, "never")
        projects = "all" if one.projects is None else ", ".join(map(repr, sorted(one.projects)))
        rows.append((one.name, one.scope, projects, one.state(now), one.made_by, _day(one.created_ms), until, used))
    return _table(rows) if len(rows) > 1 else "There is no token; gradwatch token add NAME --scope ingest\n"


def _revoke_token(store: Store, options: argparse.Namespace) -> str:
    from server.accounts.book import Accounts

    Accounts(store).revoke_token(options.name, who=BY_COMMAND)
    return f"The token {options.name!r} opens nothing any more.\n"


# -- words -------------------------------------------------------------------------------------------------------------


def _password(name: str) -> str:
    """Asks twice without echo, or reads the first line of standard input."""
    try:
        if not sys.stdin.isatty():
            return sys.stdin.readline().rstrip("\r\n")
        password = getpass.getpass(f"Password of {name}: ")
        again = getpass.getpass("The same again: ")
    except (EOFError, UnicodeDecodeError):
        raise WrongAccount("No password came that can be read; nothing was changed.") from None
    if again != password:
        raise WrongAccount("The two passwords differ; nothing was changed.")
    return password


def _rights(store: Store, name: str) -> str:
    found = store.people.find(name.strip().lower())
    return role_text(found[0].role, found[0].projects) if found else ""


def _day(at_ms: int | None, otherwise: str = "") -> str:
    return otherwise if at_ms is None else datetime.fromtimestamp(at_ms / 1_000, UTC).strftime("%Y-%m-%d %H:%M")


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines) + "\n"


NONE = "none"
_ROLES, _SCOPES = [role.value for role in Role], [scope.value for scope in Scope]
_PROJECT = "of this project alone, whether or not it has a run yet; may be repeated"
_ARGUMENTS: dict[str, Callable[[argparse.ArgumentParser], object]] = {
    "name": lambda parser: parser.add_argument("name", metavar="NAME"),
    "--role": lambda parser: parser.add_argument(
        "--role", choices=_ROLES, default=Role.VIEWER.value, help="what this person may do (default viewer)"
    ),
    "role": lambda parser: parser.add_argument("new_role", metavar="ROLE", choices=[*_ROLES, NONE]),
    "--project": lambda parser: parser.add_argument(
        "--project", action="append", default=[], metavar="NAME", help=_PROJECT
    ),
    "--scope": lambda parser: parser.add_argument(
        "--scope",
        choices=_SCOPES,
        default=Scope.INGEST.value,
        help="what it opens (default ingest: sending runs)",
    ),
    "--days": lambda parser: parser.add_argument("--days", type=float, help="days until it expires (default: never)"),
}
_USER = {
    "add": _Action(
        "let somebody sign in; the password is asked for, or read from standard input",
        ("name", "--role", "--project"),
        _add_user,
    ),
    "list": _Action("list everybody", (), _list_users),
    "role": _Action(
        "give somebody another role: viewer, editor or admin; or, with --project, viewer, editor or none there",
        ("name", "role", "--project"),
        _set_role,
    ),
    "password": _Action("give somebody another password", ("name",), _set_password),
    "remove": _Action("remove somebody", ("name",), _remove_user),
}
_TOKEN = {
    "add": _Action("make a token and print it, once", ("name", "--scope", "--days", "--project"), _add_token),
    "list": _Action("list the tokens, without what they are", (), _list_tokens),
    "revoke": _Action("end a token at once", ("name",), _revoke_token),
}
