"""Listens to the calls of a training loop into torch, by wrapping a few of torch's functions while a monitor lives.

Not for: what the calls mean (client_hook.capture).
"""

from client_hook.patches.cuda_graphs import capture
from client_hook.patches.hub import Patches, patches

__all__ = ["Patches", "capture", "patches"]
