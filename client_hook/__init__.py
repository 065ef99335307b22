"""The training side of Gradwatch: `preflight` and then `watch` a model, `step` in the loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from client_hook.monitor import watch
    from client_hook.preflight import preflight
    from client_hook.preflight.lr_range import lr_range_test

__all__ = ["lr_range_test", "preflight", "watch"]

# names load when they are first used, so importing this package costs nothing and does not import torch
_HOME_OF = {
    "lr_range_test": "client_hook.preflight.lr_range",
    "preflight": "client_hook.preflight",
    "watch": "client_hook.monitor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'client_hook' has no attribute {name!r}; it has {', '.join(__all__)}")
    import importlib  # inside: loading torch waits until somebody asks for a name that needs it

    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
