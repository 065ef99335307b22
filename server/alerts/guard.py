"""Lets the server call public web servers alone, so that no channel reaches into the network that the server stands in.

An address is looked up once; what is called is what was checked (`http.py`). Hosts that `GRADWATCH_ALERT_HOSTS` names
are let through wherever they are. Not for: the mail server, which the administrator sets.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from server.alerts.errors import NotSent, Refused

PORTS = {"http": 80, "https": 443}
LONGEST_ADDRESS = 2_000
LONGEST_HOST = 253

Resolve = Callable[..., Sequence[tuple[Any, ...]]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_NUMBER = re.compile(r"0[xX][0-9A-Fa-f]*|[0-9]+")
_PRIVATE = "The host {} leads into a private network; where that is meant so, name it in GRADWATCH_ALERT_HOSTS"
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa")
# what Python's is_global lets through, and carries or is something inner all the same
_INNER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # what a machine of Azure asks about itself
        "192.0.0.0/24",  # protocols, and what a machine of Oracle asks about itself
        "192.88.99.0/24",  # 6to4 relays
        "::/3",  # v4-mapped and -compatible, NAT64 (64:ff9b::/96, 64:ff9b:1::/48), discard
        "2001::/23",  # Teredo and other protocols
        "2002::/16",  # 6to4: carries an IPv4 address
        "3fff::/20",  # documentation
        "4000::/2",  # not given out
        "8000::/1",  # not given out; unique local, link-local, site-local, multicast
    )
)


@dataclass(frozen=True)
class Target:
    """An address that may be called: where to connect, and what to ask for there."""

    secure: bool
    host: str
    port: int
    path: str = field(repr=False)  # may hold a secret
    places: tuple[str, ...] = ()  # numeric addresses, checked

    @property
    def host_header(self) -> str:
        """The host as HTTP writes it."""
        usual = self.port == PORTS["https" if self.secure else "http"]
        return _with_port(self.host, self.port).removesuffix(f":{self.port}" if usual else "")


class Guard:
    """Checks addresses; `hosts` are names, numbers, or either with `:port`, that may be called wherever they are."""

    def __init__(self, hosts: Iterable[str] = (), resolve: Resolve = socket.getaddrinfo) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._resolve = resolve

    def read(self, address: str) -> Target:
        """Reads an address without looking it up; raises Refused with a sentence."""
        if not address or len(address) > LONGEST_ADDRESS:
            raise Refused(f"The address has {len(address)} characters; 1 to {LONGEST_ADDRESS} are right")
        if not re.fullmatch(r"[!-~]+", address) or "\\" in address:
            raise Refused("The address holds spaces, backslashes or characters outside ASCII; write them as %20")
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            raise Refused("The address cannot be read; https://host/path is right") from None
        scheme = parts.scheme
        if scheme not in PORTS:
            raise Refused("The address begins with neither https:// nor http://")
        if "@" in parts.netloc or "%" in parts.netloc:
            raise Refused("The address holds a user name, a password or a % before its path; leave them out")
        if parts.fragment or "#" in address:
            raise Refused("The address holds a #; leave out what follows it")
        chosen = PORTS[scheme] if port is None else port
        _check_host(host, bracketed="[" in parts.netloc)
        if _is_number(host) and not is_public(host) and not self._names(host, chosen):
            raise Refused(_PRIVATE.format(host))
        if _is_local(host) and not self._names(host, chosen):
            raise Refused(
                f"The host {host} is a name of this network; where that is meant so, name it in GRADWATCH_ALERT_HOSTS"
            )
        if chosen not in PORTS.values() and _with_port(host, chosen) not in self._hosts:
            raise Refused(
                f"Port {chosen} is not called; 80 and 443 are, and what GRADWATCH_ALERT_HOSTS names: "
                f"{_with_port(host, chosen)}"
            )
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return Target(scheme == "https", host, chosen, path)

    def check(self, address: str) -> Target:
        """Reads an address, looks its host up, once, and gives where to connect; raises Refused, or NotSent where the
        host is not known now.
        """
        target = self.read(address)
        try:
            found = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise NotSent(f"The host {target.host} is not known") from None
        places = tuple(dict.fromkeys(str(place[4][0]) for place in found))
        if not places:
            raise NotSent(f"The host {target.host} has no address")
        if not self._names(target.host, target.port) and not all(is_public(place) for place in places):
            raise Refused(_PRIVATE.format(target.host))
        return Target(target.secure, target.host, target.port, target.path, places)

    def _names(self, host: str, port: int) -> bool:
        """Whether the setting names this host, or this host with this port."""
        return host in self._hosts or _with_port(host, port) in self._hosts


def is_public(place: str) -> bool:
    """Whether a numeric address belongs to the public internet, and carries no other one."""
    try:
        address: Address = ipaddress.ip_address(place)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return False
    inner = any(address in network for network in _INNER if network.version == address.version)
    return address.is_global and not inner and not address.is_multicast and not address.is_reserved


def _check_host(host: str, *, bracketed: bool) -> None:
    """Raises Refused for what is no name, and for numbers that are read otherwise by some."""
    if bracketed:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused("What stands in brackets is no IPv6 address") from None
        return
    if len(host) > LONGEST_HOST or not _HOST.fullmatch(host):
        raise Refused("The address has no host that can be looked up; https://host/path is right")
    if _is_number(host):
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise Refused("The host ends in a number, and is no IPv4 address of four plain numbers") from None


def _is_number(host: str) -> bool:
    return ":" in host or bool(_NUMBER.fullmatch(host.rpartition(".")[2]))


def _is_local(host: str) -> bool:
    if _is_number(host):
        return False
    return "." not in host or any(host == local or host.endswith(f".{local}") for local in _LOCAL_NAMES)


def _with_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
