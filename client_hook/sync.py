"""The commands `gradwatch sync` and `gradwatch status`: deliver, or list, what trainings left in the spool.

Not for: delivering while a training runs (client_hook.outbox, which also looks after older spools).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from client_hook.backlog import LeftSpool, spool_files
from client_hook.courier import Courier
from client_hook.recordfile import SpoolBusy
from client_hook.settings import Settings
from client_hook.spool import Spool, SpoolDamaged
from client_hook.transport import HttpTransport

ALL_DELIVERED, SOMETHING_LEFT, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
TRIES = 3


def sync(argv: list[str]) -> int:
    """Delivers every spool of the home that no training uses; exits 1 while something is left."""
    options = _parse("sync", "Delivers what trainings could not send.", argv)
    settings = _settings(options)
    if settings is None:
        return WRONG_USAGE
    paths = spool_files(settings)
    if not paths:
        _print(f"Nothing waits in {settings.spool_dir}.")
        return ALL_DELIVERED
    left = 0
    unreachable: dict[str, str] = {}  # a server that did not answer once is not asked again for the next spool
    try:
        for path in paths:
            left += not _deliver(path, settings, options.url or os.environ.get("GRADWATCH_URL"), unreachable)
    except KeyboardInterrupt:
        return INTERRUPTED
    return SOMETHING_LEFT if left else ALL_DELIVERED


def status(argv: list[str]) -> int:
    """Lists the spools of the home and tells whether the server answers; exits 1 while something waits."""
    options = _parse("status", "Shows what waits for delivery, and whether the server answers.", argv)
    settings = _settings(options)
    if settings is None:
        return WRONG_USAGE
    transport = HttpTransport(settings.url, settings.token)
    answer = transport.get("/api/v1/health")
    said = "answers" if answer.status == 200 else f"does not answer: {answer.detail}"
    if answer.status == 200 and transport.get("/api/v1/runs?limit=1").status == 401:
        wrong = "does not know the token" if settings.token else "asks for a token"
        said = f"answers, but {wrong}: set GRADWATCH_TOKEN"
    transport.close()
    _print(f"server  {settings.url}  {said}")
    _print(f"spool   {settings.spool_dir}")
    paths = spool_files(settings)
    for path in paths:
        _print(f"  {_one_line(path)}")
    if not paths:
        _print("  empty: everything is delivered")
    return SOMETHING_LEFT if paths else ALL_DELIVERED


def _parse(command: str, description: str, argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"gradwatch {command}", description=description)
    parser.add_argument("--url", help="server [GRADWATCH_URL] (default: the one that each training was given)")
    parser.add_argument("--token", help="its token [GRADWATCH_TOKEN]")
    parser.add_argument("--home", metavar="DIR", help="folder of the spool [GRADWATCH_HOME] (default ~/.gradwatch)")
    return parser.parse_args(argv)


def _settings(options: argparse.Namespace) -> Settings | None:
    settings = Settings.read(url=options.url, token=options.token, home=options.home)
    for note in settings.notes:
        sys.stderr.write(f"gradwatch: {note}\n")
    return None if settings.notes else settings


def _deliver(path: Path, settings: Settings, url: str | None, unreachable: dict[str, str]) -> bool:
    """Delivers one spool and says how it went; tells whether nothing of it is left."""
    try:
        spool = Spool.open(path)
    except SpoolBusy:
        _print(f"{path.parent.name}: a training that still runs delivers it")
        return True
    except (SpoolDamaged, OSError) as problem:
        _print(f"{path}: cannot be read ({problem})")
        return False
    target = settings.url if url else str(spool.opening.get("url") or settings.url)
    run_id = spool.opening["id"]
    try:
        if target in unreachable:
            _print(f"{run_id}: waits ({target}: {unreachable[target]})")
            return False
        courier = _bring(LeftSpool(spool), target, settings.token)
        if courier.problem:
            if not courier.turned_away:
                unreachable[target] = courier.problem
            _print(
                f"{run_id}: {_frames(courier.delivered_frames)} delivered, the rest waits ({target}: {courier.problem})"
            )
            return False
        refused = f", {_frames(courier.refused)} refused (kept in {spool.refused_path})" if courier.refused else ""
        kept = f", {_frames(courier.kept)} kept: the server holds others of the same identity" if courier.kept else ""
        _print(f"{run_id}: {_frames(courier.delivered_frames)} delivered{refused}{kept}  {target}/runs/{run_id}")
        return not courier.kept
    except OSError as problem:
        _print(f"{path}: cannot be read or written ({problem})")
        return False
    finally:
        spool.close()


def _bring(left: LeftSpool, url: str, token: str | None) -> Courier:
    transport = HttpTransport(url, token)
    courier = Courier(left, transport, left.opening, say=lambda line: sys.stderr.write(f"gradwatch: {line}\n"))
    try:
        while left.peek() is not None and courier.failures < TRIES and not courier.turned_away:
            courier.work()
            if courier.failures < TRIES:
                time.sleep(min(courier.wait_s(), 5.0))
    finally:
        transport.close()
    return courier


def _one_line(path: Path) -> str:
    try:
        spool = Spool.open(path)
    except SpoolBusy:
        return f"{path.parent.name}  in use by a training that runs ({path.stat().st_size:,} bytes)"
    except (SpoolDamaged, OSError) as problem:
        return f"{path}  cannot be read ({problem})"
    try:
        opening, waiting = spool.opening, spool.waiting_bytes
        named = opening.get("name") or opening.get("project") or ""
        return f"{opening['id']}  {named}  {waiting:,} bytes wait for {opening.get('url', 'a server')}"
    finally:
        spool.close()


def _frames(count: int) -> str:
    return f"{count} frame{'' if count == 1 else 's'}"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
