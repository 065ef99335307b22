"""Forks Python processes that have imported slow modules already, for tests.warm: `python -m tests.nursery FD MODULE…`.

A child runs what it was asked for as `python -c`, `-m` or a script would, and then falls off the end of this file: it
ends as any interpreter does, with its exit hooks and its threads. Not for: processes whose start is the subject.
"""

from __future__ import annotations

import array
import builtins
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
from pathlib import Path
from typing import Any

Request = dict[str, Any]


def serve(link: socket.socket) -> tuple[Request, list[int]] | None:
    """Forks a child for each request, and tells how each ended; gives a child its request, and None at the end."""
    gc.freeze()  # children neither look through the modules' objects nor copy them
    ready = selectors.DefaultSelector()
    ready.register(link, selectors.EVENT_READ)
    while True:
        for key, _ in ready.select():
            if key.fileobj is link:
                received = receive(link)
                if received is None:
                    return None
                request, descriptors = received
                pid = os.fork()
                if pid == 0:
                    link.close()
                    ready.close()
                    return request, descriptors
                status = descriptors.pop()
                for descriptor in descriptors:
                    os.close(descriptor)
                link.sendall(pid.to_bytes(8, "little"))
                ready.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
            else:
                pid, status = key.data
                ready.unregister(key.fileobj)
                os.close(key.fd)
                tell(status, os.waitpid(pid, 0)[1])


def receive(link: socket.socket) -> tuple[Request, list[int]] | None:
    """Takes one request: its length, then JSON; stdin, stdout, stderr and the pipe for the status come with it."""
    head, ancillary, _, _ = link.recvmsg(8, socket.CMSG_SPACE(4 * array.array("i").itemsize))
    if not head:
        return None
    descriptors = array.array("i")
    for _, _, data in ancillary:
        descriptors.frombytes(data)
    length, body = int.from_bytes(head, "little"), b""
    while len(body) < length:
        body += link.recv(length - len(body))
    return json.loads(body), list(descriptors)


def tell(status: int, how: int) -> None:
    """Tells how a child ended; the one who asked may be gone."""
    try:
        os.write(status, how.to_bytes(8, "little"))
    except BrokenPipeError:
        return
    finally:
        os.close(status)


def become(request: Request, descriptors: list[int]) -> list[str]:
    """Makes the child what a new process would be; gives its arguments."""
    for target, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, target)
    for descriptor in descriptors:
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[1:1] = [item for item in os.environ.get("PYTHONPATH", "").split(os.pathsep) if item]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(os.getpid())  # as a new process, it has a random state of its own
    arguments: list[str] = request["args"]
    return arguments


def run(chosen: str, rest: list[str]) -> None:
    """Runs what `python chosen rest…` would."""
    sys.argv = [chosen, *rest[1:]] if chosen in ("-c", "-m") else [chosen, *rest]
    if chosen == "-c":
        sys.path[0] = ""
        code, space = compile(rest[0], "<string>", "exec"), globals()
        fresh = {"__name__": "__main__", "__builtins__": builtins, "__doc__": None, "__spec__": None}
        space.clear()  # `__main__` is the program's own
        space.update(fresh)
        exec(code, space)
    elif chosen == "-m":
        sys.path[0] = str(Path.cwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.path[0] = str(Path(chosen).resolve().parent)
        runpy.run_path(chosen, run_name="__main__")


for module in sys.argv[2:]:
    importlib.import_module(module)
taken = serve(socket.socket(fileno=int(sys.argv[1])))
if taken is not None:
    arguments = become(*taken)
    run(arguments[0], arguments[1:])
