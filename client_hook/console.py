"""Passes a command's output on to ours, byte for byte, and remembers the last lines of it.

Where our stream is a terminal, the command gets one too, so that colours and progress bars stay. Not for: starting the
command (client_hook.child).
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections import deque
from importlib.util import find_spec

from client_hook.records import clean_text

LAST_LINES = 200
LINE_CHARACTERS = 500
PATIENCE_S = 1.0  # for what a grandchild that outlives the command still holds open
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|\][^\x07]*\x07|[@-_])|[\x00-\x08\x0b-\x1f\x7f]")
HAS_TERMINALS = find_spec("pty") is not None and find_spec("termios") is not None


class Console:
    """Stands between a command and our stdout and stderr."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=LAST_LINES)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._given: list[int] = []

    def stream(self, ours: int) -> int:
        """Gives a file descriptor for the command, whose bytes go to ours."""
        reading, given = _pair(ours)
        self._given.append(given)
        thread = threading.Thread(target=self._pass_on, args=(reading, ours), name="gradwatch-console", daemon=True)
        self._threads.append(thread)
        return given

    def start(self) -> None:
        """Begins to listen, when the command has its ends: ours of those are closed."""
        for given in self._given:
            os.close(given)
        self._given = []
        for thread in self._threads:
            thread.start()

    def finish(self) -> list[str]:
        """Waits for the last bytes; gives the last lines."""
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(PATIENCE_S)
        with self._lock:
            return list(self._lines)

    def _pass_on(self, reading: int, ours: int) -> None:
        rest = b""
        try:
            while piece := _read(reading):
                view = memoryview(piece)
                while view:
                    view = view[os.write(ours, view) :]
                rest = self._keep(rest + piece)
        except OSError:
            pass  # nobody reads ours any more: closing the other end tells the command, as it would without us
        finally:
            self._keep(rest + b"\n" if rest else b"")
            os.close(reading)

    def _keep(self, raw: bytes) -> bytes:
        *lines, rest = raw.split(b"\n")
        with self._lock:
            for line in lines:
                # of a progress bar that writes over itself, what stood there last
                self._lines.append(_plain(line.rstrip(b"\r").rpartition(b"\r")[2]))
        return rest[-65_536:]


def _plain(line: bytes) -> str:
    return clean_text(_ESCAPES.sub("", line.decode("utf-8", "replace")), LINE_CHARACTERS)


def _pair(ours: int) -> tuple[int, int]:
    """Makes the two ends: of a terminal as wide as ours, or of a pipe."""
    if not HAS_TERMINALS or not os.isatty(ours):
        return os.pipe()
    import termios  # inside: not every system has them

    reading, given = os.openpty()
    try:
        termios.tcsetwinsize(given, termios.tcgetwinsize(ours))
        attributes = termios.tcgetattr(given)
        attributes[1] &= ~termios.OPOST  # our own terminal adds the carriage returns
        termios.tcsetattr(given, termios.TCSANOW, attributes)
    except (OSError, termios.error):
        pass  # a terminal of the usual size
    return reading, given


def _read(reading: int) -> bytes:
    try:
        return os.read(reading, 65_536)
    except OSError:
        return b""  # a terminal says so that its other end is closed


def our_streams() -> tuple[int, int] | None:
    """Gives the descriptors of our stdout and stderr; None where they are closed or are no files."""
    try:
        sys.stdout.flush()
        return sys.stdout.fileno(), sys.stderr.fileno()
    except (OSError, ValueError, AttributeError):
        return None
