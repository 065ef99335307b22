"""Starts Python processes that train or serve, without the seconds that importing torch or the server takes.

`Popen` and `run` are those of `subprocess` for commands that begin with `sys.executable`. The processes are forked from
one that has imported torch, or the server (tests.nursery); they are processes of their own in all that follows: kills,
signals, exit codes and the end of the interpreter. Not for: the start of a process, or what it imports.
"""

from __future__ import annotations

import array
import atexit
import json
import os
import select
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# for a process that waits for a signal, in many short waits: one just before a long wait would be seen after it only,
# because Python handles signals between its own steps
WAIT = "import threading\nwhile True: threading.Event().wait(0.05)"


TRAINING = ("torch", "torch._dynamo")  # the first optimizer imports the second: half of what the start takes
SERVING = (
    *("server.cli", "server.app", "uvicorn.loops.auto", "uvicorn.lifespan.on"),
    *("uvicorn.protocols.http.auto", "uvicorn.protocols.websockets.auto"),
    *(f"server.rules.{path.stem}" for path in sorted((ROOT / "server" / "rules").glob("[a-z]*.py"))),
)


class _Nursery:
    """One for each process that runs tests and each choice of modules; it ends with the process."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self.link, theirs = socket.socketpair()
        command = [sys.executable, "-m", "tests.nursery", str(theirs.fileno()), *modules]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRADWATCH_")}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
        )
        theirs.close()
        atexit.register(self.end)

    def fork(self, args: list[str], env: dict[str, str], cwd: str, descriptors: list[int]) -> int:
        """Asks for a process and gives its number."""
        body = json.dumps({"args": args, "env": env, "cwd": cwd}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self.link.sendmsg([len(body).to_bytes(8, "little")], rights)
        self.link.sendall(body)
        answer = self.link.recv(8, socket.MSG_WAITALL)
        assert len(answer) == 8, "the nursery ended"
        return int.from_bytes(answer, "little")

    def end(self) -> None:
        """Lets it go."""
        self.link.close()
        self._process.wait(20)


_nurseries: dict[tuple[str, ...], _Nursery] = {}


class Popen(subprocess.Popen[Any]):
    """A `subprocess.Popen` whose process is forked from one that has imported torch."""

    _modules = TRAINING
    _status = -1

    def _execute_child(  # type: ignore[override]
        self, args: list[str], executable: None, preexec_fn: None, close_fds: bool, pass_fds: Any, cwd: Any, env: Any,
        startupinfo: Any, creationflags: int, shell: bool, p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int,
        errread: int, errwrite: int, *_: Any,
    ) -> None:  # fmt: skip
        assert args[0] == sys.executable and preexec_fn is None and not shell  # noqa: PT018
        if self._modules not in _nurseries:
            _nurseries[self._modules] = _Nursery(self._modules)
        environment = dict(os.environ if env is None else env)
        with Path(os.devnull).open("rb") as nothing:
            self._status, theirs = os.pipe()
            given = [p2cread if p2cread != -1 else nothing.fileno(), c2pwrite if c2pwrite != -1 else 1,
                     errwrite if errwrite != -1 else 2, theirs]  # fmt: skip
            nursery = _nurseries[self._modules]
            self.pid = nursery.fork([str(item) for item in args[1:]], environment, str(cwd or Path.cwd()), given)
            self._child_created = True
            os.close(theirs)
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if wait_flags & os.WNOHANG and not select.select([self._status], [], [], 0)[0]:
            return 0, 0
        said = os.read(self._status, 8)
        os.close(self._status)
        return self.pid, int.from_bytes(said, "little") if said else 9  # it went with the nursery

    def _internal_poll(self, *_: Any, **__: Any) -> int | None:
        if self.returncode is None and self._status != -1 and self._waitpid_lock.acquire(False):
            try:
                if self.returncode is None:
                    pid, status = self._try_wait(os.WNOHANG)
                    if pid == self.pid:
                        self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()
        return self.returncode


class ServerPopen(Popen):
    """The same for a server: forked from a process that has imported what one imports before it listens."""

    _modules = SERVING


def run(
    args: list[str], *, check: bool = False, timeout: float | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Runs a command to its end and gives what it printed, as `subprocess.run(…, capture_output=True)` does."""
    with Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options) as process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(process.args, process.returncode, out, errors)
    if check:
        done.check_returncode()
    return done
