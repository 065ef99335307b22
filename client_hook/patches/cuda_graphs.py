"""Wraps the capture and the replay of CUDA graphs: while one is captured, nobody of ours may be heard.

What is launched during a capture becomes a part of the graph and runs with every replay, and a question to the device
breaks the capture. Not for: compiled functions, which torch asks about elsewhere (`torch.compiler`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from client_hook.patches.attributes import Replacement, replace

if TYPE_CHECKING:
    from client_hook.patches.hub import Ears

Wrapper = Callable[..., Any]


class Capture:
    """Holds the graph that is captured now, in any thread; None nearly always.

    While callables are made graphed it is never None: torch warms them up first, with samples that are no batch.
    """

    graph: Any = None
    between: Any = None  # what `graph` is when none is captured


capture = Capture()


def install(ears: Ears, hush: Callable[[bool], None]) -> list[Replacement]:
    """Wraps them; `hush(True)` is called when a capture begins, `hush(False)` when it ends."""
    kind: Any = torch.cuda.CUDAGraph
    installed = replace(kind, "capture_begin", lambda original: _begin(ears, hush, original))
    installed += replace(kind, "capture_end", lambda original: _end(hush, original))
    installed += replace(kind, "replay", lambda original: _replay(ears, original))
    for owner in (torch.cuda.graphs, torch.cuda):
        installed += replace(owner, "make_graphed_callables", lambda original: _make_graphed(ears, hush, original))
    return installed


def _begin(ears: Ears, hush: Callable[[bool], None], original: Wrapper) -> Wrapper:
    def capture_begin(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listen in ears.graph_capture:
            listen()
        result = original(self, *args, **kwargs)
        capture.graph = self
        hush(True)
        return result

    return capture_begin


def _end(hush: Callable[[bool], None], original: Wrapper) -> Wrapper:
    def capture_end(self: Any, *args: Any, **kwargs: Any) -> Any:
        capture.graph = capture.between
        hush(capture.graph is not None)
        return original(self, *args, **kwargs)

    return capture_end


def _replay(ears: Ears, original: Wrapper) -> Wrapper:
    def replay(self: Any, *args: Any, **kwargs: Any) -> Any:
        for listen in ears.before_replay:
            listen(self)
        result = original(self, *args, **kwargs)
        for listen in ears.graph_replay:
            listen(self)
        return result

    return replay


def _make_graphed(ears: Ears, hush: Callable[[bool], None], original: Wrapper) -> Wrapper:
    """Takes our hooks off the modules meanwhile, because torch refuses modules that have any, and hears nothing."""

    def make_graphed_callables(callables: Any, *args: Any, **kwargs: Any) -> Any:
        for listen in ears.graph_capture:
            listen()
        modules = [item for item in _listed(callables) if isinstance(item, nn.Module)]
        taken = [(module, take_hooks(module)) for module in modules]
        capture.graph = capture.between = make_graphed_callables
        hush(True)
        try:
            return original(callables, *args, **kwargs)
        finally:
            capture.graph = capture.between = None
            hush(False)
            for module, hooks in taken if ears.graph_capture else ():  # nobody listens: the monitor ended meanwhile
                module._forward_hooks.update(hooks)

    return make_graphed_callables


def _listed(callables: Any) -> list[Any]:
    return list(callables) if isinstance(callables, (list, tuple)) else [callables]


def take_hooks(module: nn.Module) -> dict[int, Any]:
    """Takes the forward hooks of this package off one module, or what a copy of it has in their place."""
    package = __name__.partition(".")[0]
    ours = {
        key: hook
        for key, hook in module._forward_hooks.items()
        if type(hook).__module__.startswith(package) or isinstance(getattr(hook, "__self__", None), nullcontext)
    }
    for key in ours:
        del module._forward_hooks[key]
    return ours
