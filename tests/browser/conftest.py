"""A real server process, real trainings and a real Chromium for the browser tests."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests import need_chromium

ROOT = Path(__file__).resolve().parents[2]
LISTENING = "Gradwatch listening on "
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Server:
    """One `gradwatch serve` process on a free port."""

    def __init__(self, home: Path, *extra: str) -> None:
        self.home = home
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", str(home), *extra],
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line.startswith(LISTENING):
            self.log.seek(0)
            raise AssertionError(f"the server said {line!r} and on stderr: {self.log.read()}")
        self.url = line.removeprefix(LISTENING)

    def stop(self) -> int:
        """Ends the server as a user would."""
        self.process.terminate()
        code = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()
        return code

    def train(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts one of the examples against this server."""
        environment = {
            **os.environ,
            "GRADWATCH_URL": self.url,
            "PYTHONPATH": str(ROOT),
            "GRADWATCH_HOME": str(self.home / "hook"),
        }
        return subprocess.Popen([sys.executable, str(ROOT / "examples" / script), *arguments], env=environment)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server with an empty database."""
    started = Server(tmp_path / "home")
    yield started
    started.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    path = need_chromium.find()
    assert path is not None, need_chromium.MEND
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails the test when the browser reports an error, a CSP violation or a request to another origin."""
    opened = browser.new_page()
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda request: complaints.append(request.url) if _foreign(request.url) else None)
    yield opened
    opened.close()
    assert complaints == []


def _foreign(url: str) -> bool:
    return not url.startswith(("http://127.0.0.1:", "data:", "blob:", "about:"))


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Polls a condition until it holds; fails with its last value after `seconds`."""

    def poll(condition: Callable[[], object], seconds: float = 60.0) -> None:
        deadline = time.monotonic() + seconds
        last = condition()
        while not last:
            assert time.monotonic() < deadline, f"still {last!r} after {seconds} s"
            time.sleep(0.1)
            last = condition()

    return poll
