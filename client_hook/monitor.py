"""The public face of the hook: `watch` a model, then `monitor.step(loss)` in the loop.

Not for: driving the measurements (client_hook.recorder) or reading what `watch` was called with (client_hook.setup).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from sys import exc_info
from time import monotonic, perf_counter
from types import TracebackType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from client_hook import preflighted, ranks, shutdown, verdict
from client_hook.guard import Guard, guarded, quietly, run_thread, say, shielded
from client_hook.identity import Identity
from client_hook.ledger import Ledger
from client_hook.living import living
from client_hook.patches.cuda_graphs import take_hooks
from client_hook.settings import Settings
from client_hook.setup import Parts, Request, prepare
from client_hook.userlog import UserLog

_How = tuple[str, dict[str, Any] | None]  # a run ends: state and details

_WAIT_S = 10.0
_UNTOLD = str(b"finished", "ascii")  # by identity another than the word that somebody writes
_ENDINGS = ("finished", "failed", "stopped", "crashed")
_GONE = (
    "The watched model was gone before the first step, so nothing is recorded: "
    "give watch() the model that trains, and keep it."
)
_ENDED = "The watched model is gone, and the run ended with it: watch() the one in its place."


class Monitor:
    """Records one training; made by `watch`. No call raises into the loop, waits for the network or changes it."""

    def __init__(self, request: Request) -> None:
        self.guard = Guard(strict=request.settings.strict, quiet=request.settings.quiet)
        self._settings = request.settings
        self._identity = request.identity
        self._on_finding: Any = request.on_finding
        self._own_transport = request.transport is None
        self._parts: Parts | None = None
        self._log: UserLog | None = None
        self._result = self._talked = False
        self._left: tuple[int | None, _How] = (None, ("", None))  # the step at which the process was about to end, how
        self._gone = False  # what it watched was collected, and nobody called `step` since
        self._late_notes: list[str] = []  # for the ledger, of what came after the end
        self._last_overhead = 0.0
        self._last_ledger: dict[str, Any] = Ledger().as_dict()
        self._last_findings: list[dict[str, Any]] = []
        self._last_words: threading.Thread | None = None  # delivers, where nobody waited for it
        self._lock = threading.RLock()
        self._place = threading.local()
        self._note_where()

    def _note_where(self) -> None:
        """Keeps which thread trains, and while which exception is handled, as numbers that keep nothing alive."""
        self._thread, self._handled = threading.get_ident(), _handled()
        self._place.trained = True

    @property
    def is_here(self) -> bool:
        """Says whether this thread trains; the number alone may be that of one that has ended."""
        return self._thread == threading.get_ident() and hasattr(self._place, "trained")

    @guarded(None)
    def begin(self, request: Request) -> None:
        """Installs everything."""
        parts = prepare(request, self.guard)
        if self._on_finding is not None and not callable(self._on_finding):
            wrong, self._on_finding = type(self._on_finding).__name__, None
            self.guard.absorb(TypeError(f"on_finding: got {wrong}, expected a function"), "watch(on_finding)")
        context = parts.context
        living.add(self, [*context.models.values(), *context.listed], list(context.optimizers.values()))
        shutdown.register(self, self._end)
        parts.outbox.start()
        shutdown.unregister(parts.outbox)  # it ends with this monitor, which closes the open step first
        self._parts = parts
        self._log = UserLog(context, self.guard)
        if self._on_finding is None:
            parts.recorder.shorten = self._shorten
        attached, strict = False, self.guard.strict
        try:
            parts.recorder.attach()
            attached = True
        finally:
            if not attached:  # leave nothing behind
                self.guard.strict = False
                self.replaced()
                self.guard.strict = strict

    def __reduce__(self) -> tuple[Callable[..., Monitor], tuple[Any, ...]]:
        """Lets a trainer that holds a monitor be copied, saved or sent to a worker: the copy belongs to the same run,
        and does nothing."""
        return _silent, (replace(self._settings, token=None), self._identity)

    # -- in the loop -------------------------------------------------------------------------------------------------

    @guarded(None)
    def step(self, loss: Any = None, **components: Any) -> None:
        """Records the loss of this iteration; the last line of the loop body."""
        parts = self._parts
        if parts is None:
            if self._gone:
                self._tell_gone()
            return
        began = perf_counter()
        self._note_where()
        if parts.recorder.step(loss, components, began) and self._on_finding is not None:
            for finding in parts.outbox.fresh_findings():
                self._tell(finding)

    @guarded(None)
    def validation(self, loss: Any = None, *, step: int | None = None, **metrics: Any) -> None:
        """Records the loss, and other metrics, of a validation pass."""
        if self._log is not None:
            self._log.validation(loss, metrics, step)

    @guarded(None)
    def log(self, named: Any = (), /, *, step: int | None = None, **scalars: Any) -> None:
        """Records numbers under names of your own, in a dict too; `epoch=` also tells the epoch."""
        if not isinstance(named, (Mapping, tuple)):
            raise TypeError(f"got {type(named).__name__}, expected name=value, or a dict")
        if self._log is not None:
            self._log.scalars(dict(named, **scalars), step)

    @guarded(None)
    def note(self, text: str, *, step: int | None = None) -> None:
        """Keeps a remark beside the charts."""
        if self._log is not None:
            self._log.event("note", {"text": text}, step)

    @guarded(None)
    def event(self, kind: str, *, step: int | None = None, **facts: Any) -> None:
        """Keeps what happened, with its facts."""
        if self._log is not None:
            self._log.event(kind, facts, step)

    @guarded(None)
    def inspect(self, batch: Any, *, step: int | None = None, model: str | None = None) -> None:
        """Shows what a copy of the model makes of a batch (inputs, (inputs, targets) or a dict) in evaluation mode:
        filters, feature maps, saliency. `model` is the name of one of several."""
        if self._log is not None and not self._identity.rank:
            from client_hook.inspecting import inspection

            self._log.event("inspection", inspection(self._log.context, batch, model), step)

    # -- what is known -----------------------------------------------------------------------------------------------

    def findings(self) -> list[dict[str, Any]]:
        """Returns the findings that came with the server's last acknowledgement."""
        return self._parts.outbox.findings() if self._parts is not None else list(self._last_findings)

    @property
    def should_stop(self) -> bool:
        """Says whether an open finding is an error; nothing stops by itself."""
        return any(item.get("severity") == "error" and item.get("state") == "open" for item in self.findings())

    @property
    def stepped(self) -> bool:
        """Says whether an optimizer stepped, or a scaler left its step out, since the last call of `step`."""
        return self._parts is not None and self._parts.recorder.counter.stepped

    @property
    def ended(self) -> bool:
        """Says whether nothing is recorded."""
        return self._parts is None

    @property
    def run_id(self) -> str:
        """Returns the run's id, known from the start."""
        return self._identity.run_id

    @property
    def url(self) -> str:
        """Returns the address of the run's page."""
        return self._settings.run_url(self._identity.run_id)

    @property
    def ledger(self) -> dict[str, Any]:
        """Returns what became of the values: produced, delivered, spooled, dropped and why."""
        if self._parts is None:
            notes = self._last_ledger["notes"] or self.guard.notes  # of the guard: it never began
            return {**self._last_ledger, "notes": [*notes, *self._late_notes]}
        ledger = self._parts.outbox.ledger
        return {**ledger, "notes": [*ledger["notes"], *self._parts.context.notes]}

    @property
    def overhead(self) -> float:
        """Returns the share of the training time that the hook takes."""
        return self._parts.recorder.governor.share if self._parts is not None else self._last_overhead

    # -- the end -----------------------------------------------------------------------------------------------------

    def finish(self, status: str = _UNTOLD, timeout: float = _WAIT_S) -> bool:
        """Closes the open step and sends what is left; True when the server has all of it.

        `status` is finished, failed, stopped or crashed; any other counts as finished, and the ledger says so (strict
        raises ValueError). Without one it is finished, or what an exception says that came after the last step and
        flies or is handled. `timeout` is in seconds; what is no number counts as 10.
        """
        if not isinstance(timeout, (int, float)) or timeout != timeout:
            timeout = _WAIT_S
        if status is _UNTOLD:
            return self._leave(self._raised(), timeout)
        if not isinstance(status, str) or status not in _ENDINGS:
            got = str(quietly(repr, status))[:50]
            self.guard.absorb(ValueError(f"status: got {got}, expected finished, failed, stopped or crashed"), "finish")
            status = "finished"
        return self._end(status, timeout)

    def _raised(self) -> BaseException | None:
        """Gives the exception that flies or is handled here, if it came after the last step and is no usual end."""
        error = exc_info()[1]
        goes_on = _handled() == self._handled or isinstance(error, (StopIteration, StopAsyncIteration))
        return None if goes_on else error

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error, shutdown.DEADLINE_S)

    def _leave(self, error: BaseException | None, timeout: float) -> bool:
        if error is None or isinstance(error, GeneratorExit):
            return self._end("finished", timeout)
        state, extra = how = shutdown.describe(error)
        self.leaves(shutdown.frames_of(error), how)
        return self._end(state, timeout, extra)

    def left_by(self, error: BaseException | None) -> None:
        """Ends, and delivers in the background: an exception, if there is one, left the training."""
        if error is not None:
            self.leaves(shutdown.frames_of(error), shutdown.describe(error))
        self.replaced()

    def followed(self) -> None:
        """Hears that another monitor watches the same from here on."""
        self.left_by(self._raised())

    @guarded(False)
    def _end(self, state: str, timeout: float, extra: dict[str, Any] | None = None) -> bool:
        with self._lock:
            state, extra = self._ending((state, extra))
            parts = self._stop(state)
            if parts is not None:
                self._deliver(parts, timeout, state, extra)
            elif (words := self._last_words) is not None:
                words.join(max(timeout, 0.0))
                if words.is_alive() and self._talks:
                    self._talked = True
                    verdict.tell([], self.url, delivered=self._result)
            return self._result

    @guarded(None)
    def leaves(self, frames: list[Any], how: _How) -> None:
        """Hears that an exception, or a call of `sys.exit`, leaves the code in these frames."""
        if (parts := self._parts) is not None:
            self._left = parts.context.step, how
            parts.recorder.left(frames)

    def _ending(self, how: _How) -> _How:
        """Gives what was about to end the process, unless a step came since, for a run that ends by itself."""
        at, left = self._left
        return left if how[0] == "finished" and self._parts is not None and self._parts.context.step == at else how

    def _stop(self, state: str = "finished") -> Parts | None:
        """Leaves the training: no hook stays, and later calls do nothing."""
        parts, self._parts, self._log = self._parts, None, None
        if parts is None:
            return None
        parts.context.ending = state
        shielded(parts.recorder.finish, self.guard)()
        shielded(parts.recorder.detach, self.guard)()
        living.remove(self)
        shutdown.register(parts.outbox, parts.outbox.finish)
        shutdown.unregister(self)
        for sentence in parts.context.notes:
            parts.outbox.note(sentence)
        self._last_overhead = parts.recorder.governor.share
        self._last_findings, self._last_ledger = parts.outbox.findings(), parts.outbox.ledger
        return parts

    @property
    def _talks(self) -> bool:
        return not (self._settings.quiet or self._identity.rank or self._talked)

    def _deliver(self, parts: Parts, timeout: float, state: str, extra: dict[str, Any] | None) -> None:
        deadline = monotonic() + timeout
        self._result = parts.outbox.finish(state, timeout, extra)
        self._last_ledger = parts.outbox.ledger
        self._last_findings = parts.outbox.findings()
        final = None
        if self._talks and self._result and self._own_transport:
            left = min(deadline - monotonic(), verdict.WAIT_S)
            final = verdict.wait_for(self._settings, self.run_id, left)
        if final is not None:
            self._last_findings = final
        if self._talks:
            verdict.tell(
                self._last_findings,
                self.url,
                delivered=self._result,
                kept=bool(self._last_ledger.get("spooled")),
                final=final is not None,
                stepped=parts.context.step >= (parts.context.options.first_step or 0),
                exception=str((extra or {}).get("exception", "")),
            )

    @guarded(None)
    def replaced(self) -> None:
        """Stops now, and delivers in a thread of its own, because nobody asked to wait for it."""
        with self._lock:
            how = self._ending(shutdown.outcome())
            parts = self._stop(how[0])
        if parts is not None:
            self._last_words = run_thread("gradwatch-last-words", self.guard, lambda: self._speak(parts, _WAIT_S, *how))
            shutdown.register(self, self._end)  # a process that ends now waits for them
            self._last_words.start()

    def _speak(self, *what: Any) -> None:
        self._deliver(*what)
        shutdown.unregister(self)

    @guarded(None)
    def objects_gone(self) -> None:
        """Ends the run with what it watched; says so where that was gone before the first step."""
        if (parts := self._parts) is not None and not parts.recorder.counter.calls:
            parts.context.note(_GONE)
            if not self._settings.quiet:
                say(f"Gradwatch: {_GONE}")
        self._gone = parts is not None
        self.replaced()

    def _tell_gone(self) -> None:
        """Says, once, that a loop goes on with something else than what was watched."""
        self._gone = False
        self._late_notes.append(_ENDED)
        if not self._settings.quiet:
            say(f"Gradwatch: {_ENDED}")

    @guarded(None)
    def abandon(self) -> None:
        """Does nothing more, in a forked child, and listens to nothing there; no signal is told."""
        parts, self._parts, self._log = self._parts, None, None
        self._shorten(None)
        if parts is not None:
            parts.outbox.abandon()
            parts.context.patches.forget()
            parts.recorder.signals.clear()
            parts.recorder.detach()
            for model in parts.context.models.values():
                for module in model.modules():
                    take_hooks(module)

    def _shorten(self, step: Callable[..., None] | None) -> None:
        """Lets `step` stand in front of the method of that name; None takes it away."""
        self.__dict__.pop("step", None)
        if step is not None:
            self.__dict__["step"] = step

    @guarded(None)
    def _tell(self, finding: dict[str, Any]) -> None:
        if self._on_finding is not None:
            self._on_finding(finding)


def _handled() -> tuple[int, ...]:
    """Tells apart what is handled: by where it was raised too, because a later one may lie where an older one lay."""
    _, error, trace = exc_info()
    return (id(error), id(trace), trace.tb_lasti) if trace else (id(error),)


def _silent(settings: Settings, identity: Identity) -> Monitor:
    return Monitor(Request(None, None, settings, identity))


def watch(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Optimizer | Sequence[Optimizer] | Mapping[str, Optimizer],
    *,
    project: str | None = None,
    name: str | None = None,
    config: Any = None,
    tags: Sequence[str] = (),
    scheduler: Any = None,
    scaler: Any = None,
    loss_fn: Any = None,  # noqa: ARG001 - not needed: its call is heard
    total_steps: int | None = None,
    url: str | None = None,
    token: str | None = None,
    budget: float = 0.01,
    moving_target: bool | None = None,
    finetune: bool | None = None,
    run_id: str | None = None,
    on_finding: Callable[[dict[str, Any]], Any] | None = None,
    allow_requests: bool = True,
    strict: bool | None = None,
) -> Monitor:
    """Watches a training from the next step on; everything left out is inferred or read from the environment."""
    settings = Settings.read(url=url, token=token, project=project, strict=strict)
    before = preflighted.begun(model, settings.url) if not run_id else None
    joins = before.run_id if before else None
    identity = Identity.make(run_id, joins=joins, rank=ranks.number(), agree=ranks.agreed)
    joined = before if before and before.run_id == identity.run_id else None
    if joined and project is None:
        settings = replace(settings, project=joined.project)
    request = Request(
        model,
        optimizer,
        settings,
        identity,
        name=name,
        config=config,
        tags=tags,
        on_finding=on_finding,
        allow_requests=allow_requests,
        resumes=run_id is not None or bool(os.environ.get("GRADWATCH_RUN_ID")) or bool(joined and joined.named),
        options={
            "scheduler": scheduler,
            "scaler": scaler,
            "total_steps": total_steps,
            "budget": budget,
            "moving_target": moving_target,
            "finetune": finetune,
        },
    )
    monitor = Monitor(request)
    if not settings.disabled:
        monitor.begin(request)
    return monitor
