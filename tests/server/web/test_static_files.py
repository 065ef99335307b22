"""Scripts and sheets: how long they are kept, and how they travel."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from server import paths
from server.web.static_files import zstd
from tests.server.house import House, house

PLOTLY = next(path.name for path in (paths.STATIC / "vendor").iterdir() if path.name.startswith("plotly"))
URL = f"/static/vendor/{PLOTLY}"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip", "gzip"),
        ("zstd;q=0, gzip;q=0.5", "gzip"),
        ("identity", None),
        ("", None),
    ],
)
def test_a_vendored_file_travels_as_the_browser_likes_it_best(home: House, accepted: str, coding: str | None) -> None:
    with home.client.stream("GET", URL, headers={"Accept-Encoding": accepted}) as answer:
        sent = b"".join(answer.iter_raw())
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Content-Type"].startswith("text/javascript")
    whole = {"zstd": zstd.decompress, "gzip": gzip.decompress, None: bytes}[coding](sent)
    assert whole == (paths.STATIC / "vendor" / PLOTLY).read_bytes()
    if coding:
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert int(answer.headers["Content-Length"]) == len(sent) < 510_000


def test_a_file_of_our_own_is_asked_for_again_by_its_etag(home: House) -> None:
    first = home.client.get("/static/js/main.js")
    assert first.headers["Cache-Control"] == "no-cache"
    again = home.client.get("/static/js/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_vendored_file_can_be_asked_again_and_one_that_is_not_there_is_not_found(home: House) -> None:
    etag = home.client.get(URL).headers["ETag"]
    assert home.client.get(URL, headers={"If-None-Match": etag}).status_code == 304
    assert home.client.head(URL).status_code == 200
    assert home.client.get("/static/vendor/nothing.js").status_code == 404
