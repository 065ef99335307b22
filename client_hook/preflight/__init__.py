"""Checks a model before its training: `preflight(model, loss_fn, batch, optimizer, train_loader)`.

Everything is put back afterwards, bit for bit. Not for: what happens while it trains (`watch`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from client_hook import preflighted
from client_hook.guard import say
from client_hook.living import living
from client_hook.preflight.checks import chosen
from client_hook.preflight.errors import PreflightError
from client_hook.preflight.results import CheckResult, LeftOut, Report
from client_hook.preflight.runner import run_checks
from client_hook.preflight.sending import Sending, records_of
from client_hook.preflight.subject import Subject
from client_hook.settings import Settings

__all__ = ["CheckResult", "LeftOut", "PreflightError", "Report", "preflight"]


def preflight(
    model: Any,
    loss_fn: Any,
    batch: Any = None,
    optimizer: Any = None,
    train_loader: Any = None,
    *,
    checks: Iterable[str] | None = None,
    seconds: float = 60.0,
    forward: Callable[[Any, Any], Any] | None = None,
    causal: bool | None = None,
    url: str | None = None,
    token: str | None = None,
    project: str | None = None,
    name: str | None = None,
    config: Any = None,
    run_id: str | None = None,
    send: bool = True,
    show: bool = True,
    transport: Any = None,
) -> Report:
    """Checks a model, its loss, its data and its optimizer; prints the table on stderr and returns it.

    `batch` is one batch as the loop uses it: (inputs…, targets), or a dict. `loss_fn(output, targets)`; None where the
    model returns its loss. `forward(model, batch)` replaces the call of the model. `checks` names some by code or name.
    `causal=True` says that outputs may depend on earlier positions alone; `config={"finetune": True}` that the weights
    are trained. Raises PreflightError over an argument.
    """
    settings = Settings.read(url=url, token=token, project=project)
    if settings.disabled:
        return Report([], [LeftOut(item.code, item.name, "GRADWATCH_DISABLED is set") for item in chosen(checks)])
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool) or not seconds > 0:
        raise PreflightError(f"seconds: got {seconds!r}, expected a number above 0")
    todo = chosen(checks)
    declared = config.get("finetune") if isinstance(config, dict) else getattr(config, "finetune", None)
    subject = Subject(
        model, loss_fn, batch, optimizer, train_loader, forward=forward, causal=causal,
        finetune=declared if isinstance(declared, bool) else None,
    )  # fmt: skip
    if living.sharing([item for item in (model, subject.model, optimizer) if item is not None]):
        raise PreflightError("model: a monitor watches it; call preflight before watch, or monitor.finish() first")
    first = os.environ.get("RANK", "0") == "0"  # the processes of one job all say the same
    sending, about = None, {}
    if send and first:
        before = preflighted.begun(model, settings.url)
        failed = before is not None and not before.records  # mended, it goes on in the same run
        sending = Sending(settings, run_id, name, config, transport, before.run_id if before and failed else None)
        about = {"run_id": sending.run_id, "url": settings.url, "project": settings.project, "named": bool(run_id)}
    try:
        report = run_checks(subject, todo, float(seconds), tell=sending.tell if sending else lambda _: None)
    except BaseException as error:
        if sending is not None:
            sending.fail(error)
            preflighted.keep(model, (), **about)
        raise
    if sending is not None:
        report.run_id, report.url = sending.run_id, sending.url
        report.delivered = sending.finish(report)
    if first:
        preflighted.keep(model, records_of(report), **about, delivered=report.delivered)
    if show and first and not settings.quiet:
        say(str(report))
    return report


class _Callable(ModuleType):
    """Lets `from client_hook import preflight` be called, although the name is that of this package."""

    __call__ = staticmethod(preflight)


sys.modules[__name__].__class__ = _Callable
