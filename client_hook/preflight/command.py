"""The command `gradwatch preflight MODULE:FUNCTION`: calls the function and checks what it returns.

Not for: the checks (runner), or the other commands (client_hook.cli).
"""

from __future__ import annotations

import argparse
import inspect
import os
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

from client_hook.guard import attempted
from client_hook.preflight import PreflightError
from client_hook.preflight import preflight as check
from client_hook.preflight.results import LEVELS, Report

PASSED, FOUND, WRONG_USAGE = 0, 1, 2
POSITIONS = ("model", "loss_fn", "batch", "optimizer", "train_loader")
NAMES = (*POSITIONS, "forward", "causal", "config", "name")
EXAMPLE = (
    "def check():\n    return dict(model=Net(), loss_fn=F.cross_entropy, batch=next(iter(loader)), train_loader=loader)"
)


class UsageError(ValueError):
    """Says what is wrong with the command line, or with the function that it names."""


def preflight(argv: list[str]) -> int:
    """Runs preflight on what MODULE:FUNCTION returns; 1 where something at or above `--fail-on` was found, 2 where it
    could not run."""
    options = _parse(argv)
    try:
        arguments = _arguments(options.target, options.target_arguments)
        report = _run(arguments, options)
    except (UsageError, PreflightError) as error:
        sys.stderr.write(f"gradwatch preflight: {error}\n")
        return WRONG_USAGE
    sys.stdout.write(f"{report}\n")
    if report.delivered:
        sys.stdout.write(f"\n{report.url}\n")
    return FOUND if report.reaches(options.fail_on) else PASSED


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="gradwatch preflight",
        description="Checks a model before its training. The function returns the arguments of preflight: a dict, a "
        "tuple (model, loss_fn, batch, optimizer, train_loader), or an object with these attributes.",
    )
    parser.add_argument("target", metavar="MODULE:FUNCTION", help="train:check, path/to/train.py:check")
    parser.add_argument(
        "target_arguments", nargs="*", default=[], metavar="ARGUMENT", help="texts that the function is called with"
    )
    parser.add_argument("--fail-on", choices=LEVELS, default="error", help="exit 1 at or above this (default: error)")
    parser.add_argument("--seconds", type=float, default=60.0, help="time for all checks (default: 60)")
    parser.add_argument("--checks", metavar="LIST", help="only these, by code or name: GW101,GW2,batch-leak")
    parser.add_argument("--url", help="server [GRADWATCH_URL]")
    parser.add_argument("--token", help="its token [GRADWATCH_TOKEN]")
    parser.add_argument("--project", help="project of the run [GRADWATCH_PROJECT]")
    parser.add_argument("--run", metavar="ID", help="add the results to this run")
    parser.add_argument("--offline", action="store_true", help="send nothing, only print")
    return parser.parse_args(argv)


def _run(arguments: dict[str, Any], options: argparse.Namespace) -> Report:
    checks = [name.strip() for name in options.checks.split(",") if name.strip()] if options.checks else None
    model, loss_fn = arguments.pop("model"), arguments.pop("loss_fn", None)
    return check(
        model,
        loss_fn,
        **arguments,
        checks=checks,
        seconds=options.seconds,
        url=options.url,
        token=options.token,
        project=options.project,
        run_id=options.run,
        send=not options.offline,
        show=False,
    )


def _arguments(target: str, texts: list[str]) -> dict[str, Any]:
    module_name, colon, function_name = target.rpartition(":")
    if not colon or not module_name or not function_name:
        raise UsageError(f"{target!r} is not MODULE:FUNCTION; write for example train:check, with\n{EXAMPLE}")
    module = _module(module_name)
    function = getattr(module, function_name, None)
    if function is None:
        own = [
            name
            for name, item in vars(module).items()
            if inspect.isfunction(item) and item.__module__ == module.__name__ and not name.startswith("_")
        ]
        raise UsageError(f"{module_name} has no {function_name!r}; its functions are: {', '.join(own) or 'none'}")
    if not callable(function):
        raise UsageError(
            f"{target}: {type(function).__name__} cannot be called; name a function that returns the arguments"
        )
    _, error = attempted(inspect.signature(function).bind, *texts)
    if isinstance(error, TypeError):
        raise UsageError(f"{target}: it cannot be called with {len(texts)} arguments ({error})")
    returned, error = attempted(function, *texts)
    if error is not None:
        traceback.print_exception(error, file=sys.stderr)
        raise UsageError(f"{target} raised {type(error).__name__}: {error}")
    return _named(target, returned)


def _module(name: str) -> ModuleType:
    here = os.fspath(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    path = Path(name)
    if path.suffix == ".py" or os.sep in name:
        if not path.is_file():
            raise UsageError(f"there is no file {name}")
        sys.path.insert(0, os.fspath(path.resolve().parent))
        spec = util.spec_from_file_location(path.stem, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"{name} is no Python file")
        module = util.module_from_spec(spec)
        sys.modules[path.stem] = module  # pickled data sets and workers look it up
        _, error = attempted(spec.loader.exec_module, module)
    else:
        module, error = attempted(import_module, name)
    if isinstance(error, ModuleNotFoundError) and error.name in (name, name.partition(".")[0]):
        raise UsageError(f"there is no module {name!r} here ({here}) or among the installed ones")
    if error is not None:
        traceback.print_exception(error, file=sys.stderr)
        raise UsageError(f"{name} cannot be imported ({type(error).__name__}: {error})")
    return module


def _named(target: str, returned: Any) -> dict[str, Any]:
    """Reads what the function returned: a dict, a tuple by position, or an object with the attributes."""
    if isinstance(returned, Mapping):
        found = {str(key): item for key, item in returned.items()}
    elif isinstance(returned, tuple) and not hasattr(returned, "_fields"):
        if not 3 <= len(returned) <= len(POSITIONS):
            raise UsageError(f"{target} returned a tuple of {len(returned)}; it takes 3 to 5: ({', '.join(POSITIONS)})")
        found = dict(zip(POSITIONS, returned, strict=False))
    elif returned is not None and hasattr(returned, "model"):
        found = {name: getattr(returned, name) for name in NAMES if getattr(returned, name, None) is not None}
    else:
        raise UsageError(
            f"{target} returned {type(returned).__name__}; it must return a dict, a tuple or an object with: "
            f"{', '.join(NAMES)}. For example\n{EXAMPLE}"
        )
    unknown = sorted(set(found) - set(NAMES))
    if unknown:
        raise UsageError(
            f"{target} returned {unknown[0]!r}, which preflight does not know; it takes {', '.join(NAMES)}"
        )
    if found.get("model") is None:
        raise UsageError(f"{target} returned no model; it must return at least model, loss_fn and batch")
    if found.get("batch") is None and found.get("train_loader") is None:
        raise UsageError(f"{target} returned no batch; return batch=… or train_loader=…")
    return found
