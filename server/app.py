"""Joins the parts of the server and runs it. Every wire between two rooms is drawn here and nowhere else."""

from __future__ import annotations

import errno
import gc
import logging
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI, Security
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware

from server import paths
from server.accounts.book import Accounts
from server.alerts import Dispatcher, Senders
from server.config import OWN_RULES, SHORT_TOKEN_CHARACTERS, Settings
from server.diagnosis import Diagnosis, DiagnosisWorker
from server.diagnosis.listening import Listening
from server.diagnosis.replays import Replays
from server.diagnosis.rooms import rooms_for
from server.diagnosis.urgency import most_urgent_first, verdict_of
from server.garbage import Garbage
from server.ingest import Ingest
from server.live import Live
from server.rules.registry import Registry, load_rules
from server.store import Store
from server.store.housekeeping import Housekeeper
from server.web import (
    accounts_api,
    accounts_pages,
    alerts_api,
    alerts_pages,
    api,
    auth,
    charts_api,
    compare_api,
    compare_pages,
    doctor_api,
    flight_pages,
    ingest_api,
    inspect_pages,
    layers_pages,
    live_api,
    notes_api,
    notes_pages,
    oidc,
    pages,
    preflight_pages,
    problems,
    replays_api,
    replays_pages,
    report_pages,
    runs_pages,
    schedule_pages,
    series_api,
    settings_pages,
    sweep_pages,
    table_api,
)
from server.web.gate import Gate
from server.web.hangups import Hangups
from server.web.security import AddressCheck, HostCheck, OriginCheck, SecurityHeaders, refuse_lost_way_back
from server.web.services import Services
from server.web.static_files import Static

if TYPE_CHECKING:
    from server.accounts.oidc.client import OpenId

GZIP_FROM_BYTES = 1_024
GZIP_LEVEL = 5
GRACE_S = 6
START_S = 60
SWITCH_S = 0.001  # how long one thread may keep the others from running, where the usual 5 ms would add up

log = logging.getLogger(__name__)


def now_ms() -> int:
    """Gives the time, UTC, in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def create_app(
    settings: Settings,
    store: Store,
    live: Live,
    *,
    registry: Registry | None = None,
    diagnose: bool = True,
    tell: bool = True,
    clock: Callable[[], int] = now_ms,
    listening: Listening | None = None,
) -> FastAPI:
    """Joins everything that answers requests; `diagnose` starts the workers with it: diagnosis and housekeeping,
    and, unless not to `tell`, what sends alerts.
    """
    registry = registry if registry is not None else load_rules(settings.home / OWN_RULES)
    for problem in registry.problems:
        log.warning("The rule %s is left out: %s", problem.source, problem.sentence)
    order = partial(most_urgent_first, registry=registry)
    store.findings.speech.speaker = partial(verdict_of, registry=registry)
    rooms = rooms_for(registry)
    replays = Replays(store, registry, rooms, clock)
    ingest, accounts = Ingest(store, live, clock, order), Accounts(store)
    services = Services(settings, store, live, ingest, registry, clock, rooms, replays, accounts)
    door = auth.Door(
        settings.token,
        settings.port,
        kept=store.sign_ins,
        accounts=accounts,
        loopback=settings.loopback,
        provider=settings.provider.host if settings.provider else "",
        passwords=settings.passwords,
    )
    flow = _flow(settings)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        diagnosis = Diagnosis(store, live, registry, clock, rooms=rooms)
        worker = DiagnosisWorker(diagnosis, listening=listening) if diagnose else None
        housekeeper = Housekeeper(store.sealer, store.runs, clock, settings.keep_days) if diagnose else None
        dispatcher = Dispatcher(store, Senders(settings, lambda: clock() / 1_000)) if diagnose and tell else None
        if worker and housekeeper:
            worker.start()
            housekeeper.start()
        if dispatcher:
            dispatcher.start()
        yield
        live.close()
        replays.close()
        if flow:
            flow.close()
        if dispatcher:
            dispatcher.stop()
        if worker and housekeeper:
            worker.stop()
            housekeeper.stop()

    app = FastAPI(
        title="Gradwatch",
        version="1",
        summary="Training runs, their series and their diagnoses.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=problems.EVERYWHERE,
        dependencies=[Security(auth.BEARER)],
        lifespan=lifespan,
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(HostCheck, settings=settings),
            Middleware(AddressCheck),
            Middleware(OriginCheck),
            Middleware(Gate, door=door, error_page=pages.error_page),
            Middleware(ingest_api.Express, ingest=ingest),
            Middleware(Hangups),
            Middleware(problems.BodyLimits, error_page=pages.error_page),
            Middleware(GZipMiddleware, minimum_size=GZIP_FROM_BYTES, compresslevel=GZIP_LEVEL),
        ],
    )
    app.state.services = services
    for room in (
        api,
        series_api,
        ingest_api,
        live_api,
        charts_api,
        compare_api,
        table_api,
        doctor_api,
        replays_api,
        alerts_api,
        accounts_api,
        notes_api,
        replays_pages,
        notes_pages,
        runs_pages,
        compare_pages,
        sweep_pages,
        schedule_pages,
        report_pages,
        layers_pages,
        flight_pages,
        settings_pages,
        alerts_pages,
        preflight_pages,
        inspect_pages,
        pages,
    ):
        app.include_router(room.router)
    app.include_router(auth.router_for(door, pages.sign_in_page))
    app.include_router(accounts_pages.router_for(door))
    app.include_router(oidc.router_for(door, accounts, pages.sign_in_page, flow))
    app.mount("/static", Static(directory=paths.STATIC), name="static")
    problems.install(app, pages.error_page)
    return app


def _flow(settings: Settings) -> OpenId | None:
    if settings.provider is None:
        return None
    # Imported here: it needs the packages of the extra `oidc`.
    from server.accounts.oidc.client import OpenId

    return OpenId(settings.provider, settings.public_address)


class Cannot(Exception):
    """Says why the server cannot start, and the line that mends it."""


class Server(uvicorn.Server):
    """Says when it answers, ends the live streams before it waits for connections, and returns after a signal."""

    def __init__(self, config: uvicorn.Config, live: Live, when_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._live = live
        self._when_ready = when_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, then says so."""
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._when_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops; the live streams never end by themselves, so they are ended first."""
        self._live.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handles SIGTERM and SIGINT without raising them again, so that the store is closed afterwards."""
        with super().capture_signals():
            try:
                yield
            finally:
                self._captured_signals.clear()


def run(settings: Settings) -> int:
    """Serves until SIGTERM or SIGINT and gives the exit code; raises Cannot when it cannot start."""
    # the writer gives the interpreter away at each row: it must not wait long for the diagnosis to give it back
    sys.setswitchinterval(SWITCH_S)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    with _opened(settings) as (listener, bound, store):
        bound.refuse_open_door(admin=store.people.any_admin())
        refuse_lost_way_back(bound)
        _say(f"Database {store.describe()}")
        if store.notice():
            _say(store.notice())
        if bound.token and not bound.loopback and len(bound.token) < SHORT_TOKEN_CHARACTERS:
            _say(
                f"The token is short and others can reach {bound.address}: "
                f"{SHORT_TOKEN_CHARACTERS} random characters are safer"
            )
        server = _server(bound, store, lambda: print(f"Gradwatch listening on {bound.address}", flush=True))  # noqa: T201
        with Garbage(lambda: store.frames.taken + store.runs.opened) as garbage:
            garbage.start()
            server.run([listener])
    gc.freeze()  # what is left goes with the process; the interpreter would look through it all, more than once
    return 0


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Serves from a thread of this process and gives the address, for commands that find no server running."""
    with _opened(settings) as (listener, bound, store):
        ready = threading.Event()
        # no hook knows this address: whoever has said nothing until now is silent
        server = _server(bound, store, ready.set, Listening(enough_s=0), tell=False)
        thread = threading.Thread(target=server.run, args=([listener],), name="gradwatch-server", daemon=True)
        thread.start()
        try:
            if not ready.wait(START_S):
                raise Cannot(f"The server did not start within {START_S} s")
            yield bound.address
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[socket.socket, Settings, Store]]:
    """Takes the port, then the database; gives both back in the end."""
    listener = _bind(settings)
    try:
        _make_home(settings)
        store = Store.open(settings.database)
        try:
            yield listener, replace(settings, port=listener.getsockname()[1]), store
        finally:
            store.close()
    finally:
        listener.close()


def _server(
    settings: Settings,
    store: Store,
    when_ready: Callable[[], None],
    listening: Listening | None = None,
    *,
    tell: bool = True,
) -> Server:
    live = Live(store.notify)
    store.listen(live.hear, live.renew)
    config = uvicorn.Config(
        create_app(settings, store, live, clock=store.now_ms, listening=listening, tell=tell),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=list(settings.proxies),
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config, live, when_ready)


def _bind(settings: Settings) -> socket.socket:
    """Takes the port before anything is opened; connections are accepted only once the server answers."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except socket.gaierror as error:
        raise Cannot(f"--host {settings.host}: no such address on this machine ({error.strerror})") from error
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(place)
    except OSError as error:
        listener.close()
        raise Cannot(_why_not_bound(settings, error)) from error
    return listener


def _why_not_bound(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {settings.port} on {settings.host} is taken, perhaps by a Gradwatch that runs already. "
            f"Mend it: gradwatch serve --port {settings.port + 1 if settings.port < 65_535 else 0}, "
            "or --port 0 for a free one"
        )
    if error.errno == errno.EACCES:
        return f"Port {settings.port} needs more rights than this user has. Mend it: gradwatch serve --port 8777"
    return f"--host {settings.host} --port {settings.port}: cannot listen there ({error.strerror})"


def _make_home(settings: Settings) -> None:
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Cannot(f"--home {settings.home}: the folder cannot be made ({error.strerror})") from error


def _say(fact: str) -> None:
    sys.stderr.write(fact + "\n")
    sys.stderr.flush()
