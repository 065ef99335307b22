"""The server's settings: one field each, with its help, read from an argument, else the environment, else its default.

Not for: reading them at import. `Settings.read` is called once, by the command line.
"""

from __future__ import annotations

import argparse
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from server import paths, provider_settings
from server.domain.providers import Provider
from server.errors import SettingsError as SettingsError

DEFAULT_PORT = 8777
WILDCARDS = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - named here in order to be recognised
SHORT_TOKEN_CHARACTERS = 16
SECRETS = frozenset({"GRADWATCH_SERVER_TOKEN", "GRADWATCH_SMTP_URL"})
OWN_RULES = "rules"  # folder in the home with rules that a team wrote itself


MAIL_ADDRESS = r"[A-Za-z0-9.!#$&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*"


def _setting(default: Any, environment: str, help_text: str, metavar: str = "") -> Any:
    metadata = {"environment": environment, "help": help_text, "metavar": metavar}
    return field(default=default, metadata=metadata, repr=environment not in SECRETS)


@dataclass(frozen=True)
class Settings:
    """Holds what `gradwatch serve` was told. `port` is 0 until a free one is bound; `database` is a URL."""

    host: str = _setting("127.0.0.1", "GRADWATCH_HOST", "address to listen on (default 127.0.0.1)")
    port: int = _setting(
        DEFAULT_PORT, "GRADWATCH_PORT", f"port to listen on, 0 = a free one (default {DEFAULT_PORT})", "PORT"
    )
    home: Path = _setting(None, "GRADWATCH_HOME", "folder of the database and the spool (default ~/.gradwatch)", "DIR")
    database: str = _setting(
        "", "GRADWATCH_DATABASE", "database, such as sqlite:////data/runs.db (default gradwatch.db in the home)", "URL"
    )
    token: str | None = _setting(
        None,
        "GRADWATCH_SERVER_TOKEN",
        "a token with which everything may be done; other users of the machine can read it in the process list, "
        "GRADWATCH_SERVER_TOKEN they cannot",
        "T",
    )
    keep_days: float | None = _setting(
        None,
        "GRADWATCH_KEEP_DAYS",
        "delete runs that nothing was heard of for so many days, unless archived or tagged `keep` (default: never)",
        "DAYS",
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "GRADWATCH_ALLOWED_HOSTS",
        "further host names under which browsers reach the server, comma between",
        "NAMES",
    )
    proxies: tuple[str, ...] = _setting(
        (),
        "GRADWATCH_PROXIES",
        "addresses or networks of reverse proxies whose X-Forwarded-For and -Proto are believed, comma between",
        "ADDRESSES",
    )

    public_url: str | None = _setting(
        None,
        "GRADWATCH_PUBLIC_URL",
        "address of the server in alerts, and where a provider sends people back to, such as "
        "https://gradwatch.lab.example",
        "URL",
    )
    alert_hosts: tuple[str, ...] = _setting(
        (),
        "GRADWATCH_ALERT_HOSTS",
        "hosts in private networks that alerts may be sent to, each with :port where that is not 80 or 443, comma "
        "between",
        "NAMES",
    )
    smtp_url: str | None = _setting(
        None,
        "GRADWATCH_SMTP_URL",
        "server for alerts by e-mail, such as smtps://user:password@host:465 or smtp://host:587 (STARTTLS); other "
        "users of the machine can read it in the process list, GRADWATCH_SMTP_URL they cannot",
        "URL",
    )
    mail_from: str | None = _setting(
        None, "GRADWATCH_MAIL_FROM", "sender of alerts by e-mail, such as gradwatch@lab.example", "ADDRESS"
    )
    passwords: bool = _setting(
        True,
        "GRADWATCH_PASSWORDS",
        "whether people may sign in with a password: yes or no, where they have a provider (default yes)",
        "YES|NO",
    )
    provider: Provider | None = None

    @classmethod
    def read(cls, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
        """Reads every setting; raises SettingsError with a sentence for the first that is wrong."""
        raw = {name: _raw(name, variable, arguments, environment) for name, variable, *_ in _options()}
        provider = provider_settings.read({item.name: raw[item.name] for item in provider_settings.OPTIONS})
        home = Path(raw["home"][0]).expanduser().absolute() if raw["home"][0] else paths.home({})
        return cls(
            host=_host(*raw["host"]),
            port=_port(*raw["port"]),
            home=home,
            database=_database(*raw["database"], home),
            token=_token(*raw["token"]),
            keep_days=_days(*raw["keep_days"]),
            allowed_hosts=_names(*raw["allowed_hosts"]),
            proxies=_networks(*raw["proxies"]),
            public_url=_public_url(*raw["public_url"]),
            alert_hosts=_hosts(*raw["alert_hosts"]),
            smtp_url=_smtp_url(*raw["smtp_url"]),
            mail_from=_mail_from(*raw["mail_from"]),
            passwords=_passwords(*raw["passwords"], provider),
            provider=_reachable(provider, *raw["public_url"], _host(*raw["host"])),
        )

    @property
    def address(self) -> str:
        """The address to print and to link to: never taken from a request."""
        host = "127.0.0.1" if self.host in WILDCARDS else self.host
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def public_address(self) -> str:
        """The address by which people come, as far as the settings know it."""
        return self.public_url or self.address

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def refuse_open_door(self, *, admin: bool = False) -> None:
        """Raises SettingsError when others could reach the server, and no token and no `admin` keeps them out."""
        if self.loopback or self.token is not None or admin or self.provider is not None:
            return
        raise SettingsError(
            f"--host {self.host} lets other machines read, change and delete every run, no token is set, and "
            "nobody has an account. Mend it: gradwatch user add NAME --role admin, or set GRADWATCH_SERVER_TOKEN (or "
            "--token), or keep --host 127.0.0.1"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds one option for each setting, with the help that stands beside it."""
    for name, variable, text, metavar in _options():
        if metavar is not None:
            option = "--" + name.replace("_", "-")
            parser.add_argument(option, metavar=metavar or name.upper(), help=f"{text} [{variable}]")


def _options() -> Iterator[tuple[str, str, str, str | None]]:
    """Gives name, variable, help and metavar of every setting; one without a metavar is no option."""
    for item in fields(Settings):
        if item.metadata:
            yield item.name, item.metadata["environment"], item.metadata["help"], item.metadata["metavar"]
    for more in provider_settings.OPTIONS:
        yield more.name, more.environment, more.help, None if more.hidden else more.metavar


def _raw(
    name: str, variable: str, arguments: Mapping[str, Any], environment: Mapping[str, str]
) -> tuple[str | None, str]:
    """Gives the text of a setting and where it was found, as the person who typed it would say."""
    value = arguments.get(name)
    if value is not None:
        return str(value), "--" + name.replace("_", "-")
    return environment.get(variable) or None, variable


def _host(text: str | None, source: str) -> str:
    if text is None:
        return "127.0.0.1"
    host = text.strip().removeprefix("[").removesuffix("]")
    if "/" in host or (":" in host and not _is_address(host)):
        raise SettingsError(f"{source} is {text!r}: an address or a host name is needed, such as 127.0.0.1")
    return host or "0.0.0.0"  # noqa: S104 - an empty host means every address; refused later without a token


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _port(text: str | None, source: str) -> int:
    if text is None:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise SettingsError(f"{source} is {text!r}: a number from 0 to 65535 is needed (0 = a free port)")
    return int(text)


def _database(text: str | None, source: str, home: Path) -> str:
    if text is None:
        return f"sqlite:///{home / 'gradwatch.db'}"
    if "://" not in text:
        raise SettingsError(f"{source} is {text!r}: a URL is needed, such as sqlite:///{Path(text).absolute()}")
    return text


def _token(text: str | None, source: str) -> str | None:
    if text is None:
        return None
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise SettingsError(f"{source} is empty or holds spaces or characters outside ASCII: a header cannot carry it")
    return text


def _days(text: str | None, source: str) -> float | None:
    if text is None:
        return None
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not (math.isfinite(days) and days > 0):
        raise SettingsError(f"{source} is {text!r}: a positive number of days is needed, such as 90")
    return days


def _names(text: str | None, source: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())
    for name in names:
        if "/" in name or "*" in name:
            raise SettingsError(f"{source} holds {name!r}: plain host names are needed, such as gradwatch.lab.example")
    return names


def _hosts(text: str | None, source: str) -> tuple[str, ...]:
    names = tuple(name.strip().lower() for name in (text or "").split(",") if name.strip())
    for name in names:
        if not re.fullmatch(r"[a-z0-9._-]+(:[0-9]{1,5})?|\[?[0-9a-f:.]+\]?(:[0-9]{1,5})?", name):
            raise SettingsError(
                f"{source} holds {name!r}: hosts are needed, such as hooks.lab.example or 10.0.0.5:8080"
            )
    return names


def _public_url(text: str | None, source: str) -> str | None:
    if text is None:
        return None
    address = text.strip().rstrip("/")
    if not re.fullmatch(r"https?://[A-Za-z0-9.:\[\]_-]+", address):
        raise SettingsError(
            f"{source} is {text!r}: an address without a path is needed, such as https://gradwatch.lab.example"
        )
    return address


def _passwords(text: str | None, source: str, provider: Provider | None) -> bool:
    if text is not None and text.strip().lower() not in ("yes", "no"):
        raise SettingsError(f"{source} is {text!r}: yes or no is needed")
    allowed = text is None or text.strip().lower() == "yes"
    if not allowed and provider is None:
        raise SettingsError(
            f"{source} is {text!r}, and nobody could sign in another way: set GRADWATCH_OIDC_ISSUER too"
        )
    return allowed


def _reachable(provider: Provider | None, public_url: str | None, source: str, host: str) -> Provider | None:
    """Gives the provider; raises SettingsError where it could not send people back."""
    if provider is not None and public_url is None and not provider_settings.is_here(host):
        raise SettingsError(
            f"{source} is missing: {provider.host} sends people back to the address that it holds, such as "
            "https://gradwatch.lab.example"
        )
    return provider


def _smtp_url(text: str | None, source: str) -> str | None:
    if text is None:
        return None
    try:
        parts = urlsplit(text.strip())
        right = parts.scheme in ("smtp", "smtps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right or parts.path not in ("", "/") or parts.query or parts.fragment:
        # what was given is not repeated: a password may be in it
        raise SettingsError(
            f"{source} cannot be read: smtps://user:password@host:465 or smtp://host:587 is right, "
            "with %40 for an @ in the user or the password"
        )
    return text.strip()


def _mail_from(text: str | None, source: str) -> str | None:
    if text is not None and not re.fullmatch(MAIL_ADDRESS, text.strip()):
        raise SettingsError(f"{source} is {text!r}: one address is needed, such as gradwatch@lab.example")
    return None if text is None else text.strip()


def _networks(text: str | None, source: str) -> tuple[str, ...]:
    networks = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise SettingsError(
                f"{source} holds {network!r}: addresses or networks are needed, such as 127.0.0.1 or 10.0.0.0/8"
            ) from None
    return networks
