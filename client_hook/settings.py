"""Reads the hook's settings: an argument where given, else the `GRADWATCH_*` environment, else the default.

Not for: anything that a server reads (server.config).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

DEFAULT_URL = "http://127.0.0.1:8777"
DEFAULT_MEMORY_BYTES = 64 * 1024 * 1024
DEFAULT_SPOOL_BYTES = 2 * 1024 * 1024 * 1024
_TRUE = {"1", "true", "yes", "on"}


@dataclass(eq=False, repr=False)
class Settings:
    """Holds where the data goes and how the hook behaves; `notes` says what was wrong with a value that was given."""

    url: str = DEFAULT_URL
    token: str | None = None
    project: str = "default"
    home: Path = Path("~/.gradwatch")
    quiet: bool = False
    strict: bool = False
    disabled: bool = False
    system: bool = True
    memory_bytes: int = DEFAULT_MEMORY_BYTES
    spool_bytes: int = DEFAULT_SPOOL_BYTES
    notes: tuple[str, ...] = ()

    @classmethod
    def read(
        cls,
        *,
        url: object = None,
        token: object = None,
        project: object = None,
        home: str | os.PathLike[str] | None = None,
        quiet: bool | None = None,
        strict: bool | None = None,
        disabled: bool | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Settings:
        """Reads the settings as they are now; never raises over a value, but notes what it replaced."""
        env = os.environ if environ is None else environ
        notes: list[str] = []
        return cls(
            url=_url(str(url or env.get("GRADWATCH_URL") or ""), notes),
            token=_token(token or env.get("GRADWATCH_TOKEN"), notes),
            project=str(project or env.get("GRADWATCH_PROJECT") or "default"),
            home=_home(home or env.get("GRADWATCH_HOME"), notes),
            quiet=_flag(quiet, env, "GRADWATCH_QUIET"),
            strict=_flag(strict, env, "GRADWATCH_STRICT"),
            disabled=_flag(disabled, env, "GRADWATCH_DISABLED"),
            system=env.get("GRADWATCH_SYSTEM", "1").strip().lower() in _TRUE,
            notes=tuple(notes),
        )

    def run_url(self, run_id: str) -> str:
        """Makes the address of a run's page, which is known before the server ever answered."""
        return f"{self.url}/runs/{quote(run_id, safe='')}"

    @property
    def spool_dir(self) -> Path:
        """Names the folder that holds what is not delivered yet."""
        return self.home / "spool"


def _flag(given: bool | None, env: Mapping[str, str], name: str) -> bool:
    return bool(given) if given is not None else env.get(name, "").strip().lower() in _TRUE


def _url(given: str, notes: list[str]) -> str:
    url = given.strip() or DEFAULT_URL
    if "://" not in url:
        url = f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        usable = usable and " " not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        notes.append(f"url: got {given!r:.200}, expected something like {DEFAULT_URL}; nothing can be sent there")
    elif parts.username is not None:
        # a password in an address ends up in logs and process lists
        notes.append("url: the user name and password in it are not used; pass a token instead")
        url = url.replace(parts.netloc, parts.netloc.rpartition("@")[2], 1)
    return url.rstrip("/")


def _token(given: object, notes: list[str]) -> str | None:
    token = given.strip() if isinstance(given, str) else "\n" if given else ""
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        notes.append("token: it holds characters that a token cannot have (only visible ASCII); it is not used")
        return None
    return token or None


def _home(given: str | os.PathLike[str] | None, notes: list[str]) -> Path:
    try:
        return Path(given or "~/.gradwatch").expanduser().absolute()
    except (RuntimeError, OSError, ValueError):
        substitute = Path(tempfile.gettempdir()) / f"gradwatch-{os.getuid() if hasattr(os, 'getuid') else 'home'}"
        notes.append(f"home: no home folder is known; {substitute} is used. Set GRADWATCH_HOME to choose another")
        return substitute
