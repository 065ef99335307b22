"""Brings what others logged for TensorBoard: its event files become runs, which are diagnosed as any other.

Only as far as curves go: what the hook alone sees (activations, gradients, the order of calls) is not in such files.
"""

from server.tensorboard.taking import has_events, take

__all__ = ["has_events", "take"]
