"""The settings of sign-in with OpenID Connect: options, variables, and the sentence for each that is wrong.

Not for: the other settings (config), and talking to the provider (server.accounts.oidc).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from server.domain.accounts import Role
from server.domain.providers import EVERYBODY, Provider
from server.errors import SettingsError

Raw = tuple[str | None, str]  # the text of a setting, and where it was found
Value = TypeVar("Value")
LONGEST_SECRET = 4_096


@dataclass(frozen=True)
class Option:
    """A setting that has no field of its own; one that is `hidden` has no option, which others could read."""

    name: str
    environment: str
    help: str
    metavar: str = ""
    hidden: bool = False


OPTIONS = (
    Option(
        "oidc_issuer",
        "GRADWATCH_OIDC_ISSUER",
        "OpenID Connect provider at which people sign in, such as https://login.lab.example/realms/lab",
        "URL",
    ),
    Option("oidc_client_id", "GRADWATCH_OIDC_CLIENT_ID", "what the provider calls this server", "ID"),
    Option("oidc_client_secret", "GRADWATCH_OIDC_CLIENT_SECRET", "its secret", hidden=True),
    Option(
        "oidc_client_secret_file",
        "GRADWATCH_OIDC_CLIENT_SECRET_FILE",
        "file with the secret that the provider gave (or the secret itself in GRADWATCH_OIDC_CLIENT_SECRET)",
        "FILE",
    ),
    Option(
        "oidc_domains",
        "GRADWATCH_OIDC_DOMAINS",
        "domains of verified e-mail addresses that may sign in, comma between; * lets in everybody of the provider",
        "NAMES",
    ),
    Option("oidc_groups", "GRADWATCH_OIDC_GROUPS", "groups, one of which is needed to sign in, comma between", "NAMES"),
    Option(
        "oidc_role",
        "GRADWATCH_OIDC_ROLE",
        "role of who signs in for the first time, or none: sees no project yet (default viewer)",
        "ROLE",
    ),
    Option(
        "oidc_roles",
        "GRADWATCH_OIDC_ROLES",
        "roles by group, such as ml-leads=admin,ml=editor; the provider then decides at each sign-in",
        "PAIRS",
    ),
    Option("oidc_name_claim", "GRADWATCH_OIDC_NAME_CLAIM", "claim with a person's name (default email)", "CLAIM"),
    Option("oidc_groups_claim", "GRADWATCH_OIDC_GROUPS_CLAIM", "claim with the groups (default groups)", "CLAIM"),
    Option(
        "oidc_scopes",
        "GRADWATCH_OIDC_SCOPES",
        "scopes that are asked for, space between (default openid email profile)",
        "NAMES",
    ),
)


def read(raw: Mapping[str, Raw]) -> Provider | None:
    """Reads the provider; None where no issuer is named. Raises SettingsError."""
    issuer, client = raw["oidc_issuer"], raw["oidc_client_id"]
    if issuer[0] is None:
        lost = next((source for text, source in raw.values() if text is not None), None)
        if lost is not None:
            raise SettingsError(f"{lost} is set without an issuer. Mend it: set GRADWATCH_OIDC_ISSUER (--oidc-issuer)")
        return None
    if client[0] is None:
        raise SettingsError("GRADWATCH_OIDC_CLIENT_ID (--oidc-client-id) is missing: what the provider calls us")
    provider = Provider(
        issuer=_issuer(issuer[0], issuer[1]),
        client_id=_plain(client[0], client[1]),
        secret=_secret(raw["oidc_client_secret"], raw["oidc_client_secret_file"]),
        name_claim=_or(raw["oidc_name_claim"], _plain, Provider.name_claim),
        groups_claim=_or(raw["oidc_groups_claim"], _plain, Provider.groups_claim),
        scopes=_or(raw["oidc_scopes"], _scopes, Provider.scopes),
        domains=_or(raw["oidc_domains"], _domains, ()),
        groups=_or(raw["oidc_groups"], _names, ()),
        role=_or(raw["oidc_role"], _first_role, Provider.role),
        roles=_or(raw["oidc_roles"], _roles, ()),
    )
    if not provider.domains and not provider.groups:
        raise SettingsError(
            f"Nobody of {provider.host} may sign in yet. Mend it: set GRADWATCH_OIDC_DOMAINS to the domains of their "
            "e-mail addresses (* lets in everybody of the provider), or GRADWATCH_OIDC_GROUPS"
        )
    return provider


def _or(raw: Raw, reading: Callable[[str, str], Value], default: Value) -> Value:
    return default if raw[0] is None else reading(raw[0], raw[1])


def _issuer(text: str, source: str) -> str:
    address = text.strip()
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    if not re.fullmatch(r"https?://[!-~]+", address) or not host or "@" in address or re.search(r"[?#\\]", address):
        raise SettingsError(f"{source} is {text!r}: an address is needed, such as https://login.lab.example/realms/lab")
    if parts.scheme == "http" and not is_here(host):
        raise SettingsError(f"{source} is {text!r}: https is needed; http is taken on this machine alone")
    return address


def is_here(host: str) -> bool:
    """Whether a host name means this machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _plain(text: str, source: str) -> str:
    plain = text.strip()
    if not re.fullmatch(r"[!-~]{1,256}", plain):
        raise SettingsError(f"{source} is {text[:80]!r}: 1 to 256 characters without spaces are needed")
    return plain


def _secret(given: Raw, file: Raw) -> str:
    """Gives the secret; nothing of it is in a sentence."""
    text, source = given
    if file[0] is not None:
        if text is not None:
            raise SettingsError(f"{source} and {file[1]} are both set: one of them is enough")
        source = f"{file[1]}: {file[0]}"
        try:
            text = Path(file[0]).expanduser().read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise SettingsError(f"{source} cannot be read: {reason}") from None
    if text is None:
        return ""
    if not text or len(text) > LONGEST_SECRET or not text.isprintable():
        raise SettingsError(f"{source} holds no secret: one line is needed, as the provider gave it")
    return text


def _names(text: str, source: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise SettingsError(f"{source} is {text[:80]!r}: names with commas between are needed")
    return names


def _domains(text: str, source: str) -> tuple[str, ...]:
    names = tuple(name.lower().removeprefix("@") for name in _names(text, source))
    for name in names:
        if name != EVERYBODY and not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)+", name):
            raise SettingsError(f"{source} holds {name[:80]!r}: domains are needed, such as lab.example, or *")
    return names


def _role(text: str, source: str) -> Role:
    if text.strip() not in list(Role):
        raise SettingsError(f"{source} is {text[:80]!r}: {', '.join(Role)} are the roles")
    return Role(text.strip())


def _first_role(text: str, source: str) -> Role | None:
    if text.strip() == "none":
        return None
    try:
        return _role(text, source)
    except SettingsError as error:
        raise SettingsError(f"{error}, and none") from None


def _roles(text: str, source: str) -> tuple[tuple[str, Role], ...]:
    pairs = []
    for pair in _names(text, source):
        group, equals, role = pair.rpartition("=")
        if not equals or not group.strip():
            raise SettingsError(f"{source} holds {pair[:80]!r}: pairs are needed, such as ml-leads=admin")
        pairs.append((group.strip(), _role(role, source)))
    return tuple(pairs)


def _scopes(text: str, source: str) -> tuple[str, ...]:
    scopes = tuple(text.split())
    if "openid" not in scopes or not all(re.fullmatch(r"[!#-\[\]-~]+", scope) for scope in scopes):
        raise SettingsError(f"{source} is {text[:80]!r}: names with spaces between are needed, openid among them")
    return scopes
