"""X8: no spelling of an inner address is called: it is refused, and no socket is opened."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from server.alerts.errors import NotSent, Refused
from server.alerts.guard import Guard, is_public
from server.alerts.http import Post, Poster
from tests.server.alerts.kit import Untouched, now_s

PUBLIC = "93.184.216.34"
NAMES = {
    "public.example": [PUBLIC],
    "six.example": ["2606:2800:220:1:248:1893:25c8:1946"],
    "both.example": [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946"],
    "loop.example": ["127.0.0.1"],
    "localtest.me": ["127.0.0.1"],
    "127.0.0.1.nip.io": ["127.0.0.1"],
    "ten.example": ["10.0.0.5"],
    "x.ten.example": ["10.0.0.5"],
    "one-of-two.example": [PUBLIC, "10.0.0.5"],
    "meta.example": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"],
    "cgnat.example": ["100.64.0.1"],
    "nat64.example": ["64:ff9b::7f00:1"],
    "mapped.example": ["::ffff:127.0.0.1"],
    "v6loop.example": ["::1"],
    "ula.example": ["fd00::1"],
    "zero.example": ["0.0.0.0"],
}


def resolve(host: str, port: int, **_: Any) -> list[Any]:
    """Looks up as a C library does: names that are listed, and numbers in every form that it reads."""
    try:
        packed = socket.inet_aton(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (socket.inet_ntoa(packed), port))]
    except OSError:
        pass
    try:
        socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))]
    except OSError:
        pass
    if host.rstrip(".") in ("localhost", "localhost.localdomain", "ip6-localhost", "printer", "printer.local"):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]
    if host not in NAMES:
        raise socket.gaierror(-2, "Name or service not known")
    return [(0, socket.SOCK_STREAM, 6, "", (place, port)) for place in NAMES[host]]


SPELLINGS = [
    # plain
    "http://127.0.0.1/",
    "http://127.0.0.2/",
    "http://127.255.255.255/",
    "http://0.0.0.0/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://172.31.255.255/",
    "http://192.168.1.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://168.63.129.16/",
    "http://100.64.0.1/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://192.0.2.1/",
    "http://198.18.0.1/",
    "http://198.51.100.1/",
    "http://203.0.113.1/",
    "http://192.88.99.1/",
    "http://224.0.0.1/",
    "http://240.0.0.1/",
    "http://255.255.255.255/",
    # decimal, octal, hexadecimal, short, too large
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0x7f.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0/",
    "http://127.0.0.01/",
    "http://127.000.000.001/",
    "http://4294967295/",
    "http://425.510.425.510/",
    "http://2852039166/",
    "http://127.0.0.1./",
    "http://2130706433./",
    # IPv6
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[64:ff9b:1::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fe80::1%eth0]/",
    "http://[fec0::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[3fff::1]/",
    "http://[4000::1]/",
    "http://[v1.abc]/",
    # names
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://localhost.localdomain/",
    "http://ip6-localhost/",
    "http://printer/",
    "http://printer.local/",
    "http://loop.example/",
    "http://localtest.me/",
    "http://127.0.0.1.nip.io/",
    "http://ten.example/",
    "http://one-of-two.example/",
    "http://meta.example/",
    "http://metadata.google.internal/",
    "http://cgnat.example/",
    "http://nat64.example/",
    "http://mapped.example/",
    "http://v6loop.example/",
    "http://ula.example/",
    "http://zero.example/",
    # who is asked, and how
    "http://public.example@127.0.0.1/",
    "http://user:password@public.example/",
    "http://127.0.0.1#@public.example/",
    "http://public.example#@127.0.0.1/",
    "http://127.0.0.1\\@public.example/",
    "http://public.example\\.loop.example/",
    "http:\\\\127.0.0.1/",
    "http:127.0.0.1/",
    "http:///127.0.0.1/",
    "//127.0.0.1/",
    "http://public.example%2f@127.0.0.1/",
    "http://%31%32%37.0.0.1/",
    "http://127。0。0。1/",
    "http://127．0．0．1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://loc\u00adalhost/",
    "http://ｌｏｃａｌｈｏｓｔ/",
    "http://public.example /",
    " http://public.example/",
    "http://public.example/\r\nX-Injected: 1",
    "http://public.example\t/",
    "http://public.example\x00.loop.example/",
    "http://public..example/",
    "http://-public.example/",
    "http://public.example-/",
    # what else is called, and where
    "ftp://public.example/",
    "file:///etc/passwd",
    "gopher://public.example/",
    "javascript:alert(1)",
    "unix:///run/docker.sock",
    "http://public.example:22/",
    "http://public.example:8080/",
    "https://public.example:6379/",
    "http://public.example:0/",
    "http://public.example:65536/",
    "http://public.example:8o/",
    "http://127.0.0.1:80:80/",
    "",
    "http://",
    "https://public.example/" + "x" * 2_000,
]


def test_there_are_enough_of_them() -> None:
    assert len({*SPELLINGS}) == len(SPELLINGS) >= 60


@pytest.mark.parametrize("address", SPELLINGS)
def test_x8_an_inner_address_is_refused_and_no_socket_is_opened(address: str) -> None:
    network = Untouched()
    poster = Poster(Guard(resolve=resolve), now_s, connect=network)
    with pytest.raises(Refused) as caught:
        poster.post(Post(address, b"{}", {}))
    assert network.opened == []
    assert str(caught.value)


@pytest.mark.parametrize(
    ("address", "places"),
    [
        ("https://public.example/a/b?c=d&e=%20", (PUBLIC,)),
        ("http://public.example", (PUBLIC,)),
        ("HTTPS://Public.Example:443/", (PUBLIC,)),
        ("http://public.example:443/", (PUBLIC,)),
        (f"https://{PUBLIC}/", (PUBLIC,)),
        ("https://[2606:2800:220:1:248:1893:25c8:1946]/", ("2606:2800:220:1:248:1893:25c8:1946",)),
        ("https://both.example/", (PUBLIC, "2606:2800:220:1:248:1893:25c8:1946")),
    ],
)
def test_a_public_address_is_let_through_with_where_to_connect(address: str, places: tuple[str, ...]) -> None:
    assert Guard(resolve=resolve).check(address).places == places


def test_a_host_is_looked_up_once_and_what_was_checked_is_what_is_called() -> None:
    asked: list[str] = []
    opened: list[Any] = []

    def rebinding(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        return [(0, 0, 0, "", (PUBLIC if len(asked) == 1 else "127.0.0.1", port))]

    def connect(place: Any, timeout: float) -> Any:
        opened.append(place)
        raise ConnectionRefusedError

    with pytest.raises(NotSent, match=r"public\.example did not answer"):
        Poster(Guard(resolve=rebinding), now_s, connect).post(Post("https://public.example/", b"{}", {}))
    assert (asked, opened) == (["public.example"], [(PUBLIC, 443)])


def test_a_name_that_nobody_knows_may_be_known_later() -> None:
    with pytest.raises(NotSent, match=r"The host nobody\.example is not known") as caught:
        Guard(resolve=resolve).check("https://nobody.example/")
    assert not isinstance(caught.value, Refused)


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        (["ten.example"], "https://ten.example/"),
        (["ten.example"], "http://ten.example:443/"),
        (["ten.example:8080"], "http://ten.example:8080/"),
        (["127.0.0.1:9000"], "http://127.0.0.1:9000/"),
        (["printer"], "http://printer/"),
        (["localhost:81"], "http://localhost:81/"),
        (["[::1]:8080"], "http://[::1]:8080/"),
        (["::1"], "http://[::1]/"),
        (["Ten.Example"], "https://TEN.example/"),
    ],
)
def test_a_host_that_the_administrator_names_is_called_wherever_it_is(hosts: list[str], address: str) -> None:
    assert Guard(hosts, resolve).check(address).places


@pytest.mark.parametrize(
    ("hosts", "address"),
    [
        (["ten.example"], "http://ten.example:8080/"),
        (["ten.example:8080"], "http://ten.example/"),
        (["ten.example"], "https://x.ten.example/"),
        (["10.0.0.5"], "https://ten.example/"),
        (["127.0.0.1"], "http://2130706433/"),
        (["localhost"], "http://localhost:22/"),
        (["public.example:8080"], "http://ten.example:8080/"),
    ],
)
def test_what_it_names_opens_nothing_else(hosts: list[str], address: str) -> None:
    with pytest.raises(Refused):
        Guard(hosts, resolve).check(address)


def test_public_addresses_are_told_from_others_without_a_network() -> None:
    assert all(is_public(place) for place in (PUBLIC, "1.1.1.1", "2606:4700::1111", "2a00:1450::1"))
    assert not any(is_public(place) for place in ("fe80::1%3", "nonsense", "", "127.0.0.1", "2001:db8::"))


def test_the_setting_is_named_where_it_would_help() -> None:
    with pytest.raises(Refused, match=r"leads into a private network; .*GRADWATCH_ALERT_HOSTS"):
        Guard(resolve=resolve).check("https://ten.example/")
    with pytest.raises(Refused, match=r"Port 8080 is not called; .*GRADWATCH_ALERT_HOSTS names: public\.example:8080"):
        Guard(resolve=resolve).check("https://public.example:8080/")
