"""Serves our own files with an ETag to ask again by; vendored ones, named by their versions, stay for ever.

A vendored file is compressed once and well: it is nearly all of a first load, and took a fifth of a second each time.
"""

from __future__ import annotations

import gzip
import re
import sys
from functools import lru_cache
from pathlib import Path

import anyio.to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

YEAR_S = 365 * 24 * 3600
VENDORED = "vendor"
ZSTD_LEVEL = 9  # a tenth smaller than gzip's best, in a quarter of a second
FILES_KEPT = 16
_REFUSED = re.compile(r";\s*q=0(\.0*)?\s*$")


class Static(StaticFiles):
    """The folder of scripts, sheets and pictures."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Finds the file and says how long a browser may keep it."""
        response = await super().get_response(path, scope)
        if Path(path).parts[:1] != (VENDORED,):
            response.headers["Cache-Control"] = "no-cache"
            return response
        response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        coding = _coding(Headers(scope=scope).get("Accept-Encoding", ""))
        found, stat = self.lookup_path(path)
        if response.status_code != 200 or stat is None or coding is None or scope["method"] != "GET":
            return response
        packed = await anyio.to_thread.run_sync(_packed, found, stat.st_mtime_ns, coding)
        kept = {name: response.headers[name] for name in ("Cache-Control", "ETag", "Last-Modified", "Content-Type")}
        return Response(packed, headers={**kept, "Content-Encoding": coding, "Vary": "Accept-Encoding"})


def _coding(accepted: str) -> str | None:
    names = {one.partition(";")[0].strip().lower() for one in accepted.split(",") if not _REFUSED.search(one)}
    return next((coding for coding in ("zstd", "gzip") if coding in names), None)


@lru_cache(maxsize=FILES_KEPT)
def _packed(path: str, _changed_ns: int, coding: str) -> bytes:
    content = Path(path).read_bytes()
    packed: bytes = zstd.compress(content, level=ZSTD_LEVEL) if coding == "zstd" else gzip.compress(content, mtime=0)
    return packed
