"""Watches one gradient of an optimizer to learn whether it was cleared, without reading a value that is not on the
host.

Autograd's version counter and the address tell whether anybody wrote to it; only a gradient that was written to is
looked at.
"""

from __future__ import annotations

import weakref

from torch import Tensor
from torch.optim import Optimizer


class GradientProbe:
    """Follows the gradient of one parameter: chosen at a step, looked at before each backward."""

    def __init__(self) -> None:
        self._parameter: weakref.ref[Tensor] | None = None
        self._mark: tuple[int, int] | None = None
        self._version = 0
        self._gradient: weakref.ref[Tensor] | None = None  # as the last step found it
        self.cleared = True  # a backward since the last step found it empty
        self.arrived = False  # a backward since the last step left something in it

    @property
    def lost(self) -> bool:
        """Says whether there is no parameter to look at."""
        return self._parameter is None or self._parameter() is None

    def choose(self, optimizer: Optimizer) -> None:
        """Takes a parameter that has a gradient, the smallest of the first few: it may have to be read."""
        found: Tensor | None = None
        looked = 0
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and not parameter.grad.is_sparse:
                    if found is None or parameter.numel() < found.numel():
                        found = parameter
                    looked += 1
                    if looked == 8:
                        break
        if found is not None:
            self._parameter = weakref.ref(found)

    def stepped(self, optimizer: Optimizer) -> None:
        """Begins a new turn after the optimizer's step."""
        parameter = self._parameter() if self._parameter is not None else None
        if parameter is None or parameter.grad is None:
            self.choose(optimizer)
            parameter = self._parameter() if self._parameter is not None else None
        self.cleared = self.arrived = False
        self._mark = _mark(parameter)
        self._version = parameter._version if parameter is not None else 0
        gradient = parameter.grad if parameter is not None else None
        self._gradient = weakref.ref(gradient) if gradient is not None else None

    def forget(self) -> None:
        """Knows nothing of the gradient any more, after steps that were not heard."""
        self._mark = None
        self.cleared = self.arrived = False

    def touched(self) -> bool:
        """Says whether somebody wrote to the gradient since the last mark, or it was replaced."""
        parameter = self._parameter() if self._parameter is not None else None
        if parameter is None:
            return False
        mark = _mark(parameter)
        before = self._gradient() if self._gradient is not None else None
        # another one may lie at the address of one that is gone
        return mark is not None and (mark != self._mark or before is not parameter.grad)

    def empty(self) -> bool:
        """Says whether a gradient that a backward left is gone."""
        parameter = self._parameter() if self._parameter is not None else None
        return self.arrived and parameter is not None and parameter.grad is None

    def replaced(self) -> bool:
        """Says whether the gradient that the last backward left gave way to another tensor: somebody collected the
        gradients of several backwards and put together his own (PCGrad, gradients of single examples)."""
        now = self.mark()
        return now is not None and self._mark is not None and now[0] != self._mark[0]

    def mark(self) -> tuple[int, int] | None:
        """Names the present content of the gradient; None where there is none."""
        return _mark(self._parameter() if self._parameter is not None else None)

    def look(self) -> bool:
        """Says, before a backward, whether the gradient is empty now; remembers it until the next step."""
        parameter = self._parameter() if self._parameter is not None else None
        if parameter is None:
            return False
        gradient = parameter.grad
        if gradient is None:
            empty = True
            self._mark = None  # the next one may lie at the same address
        elif _mark(parameter) == self._mark:
            empty = False
        else:
            # on a device this would wait for it: whoever writes to a gradient between a step and a backward clears it
            empty = not gradient.is_cpu or not bool(gradient.detach().any())
        if empty:
            self.cleared = True
        return empty

    def arrive(self) -> bool:
        """Takes note, after a backward, of what is there; True when the backward changed it."""
        parameter = self._parameter() if self._parameter is not None else None
        mark = _mark(parameter)
        changed = mark is not None and mark != self._mark
        self._mark = mark
        self.arrived = self.arrived or changed
        return changed

    def unmoved(self) -> bool:
        """Says whether the parameter itself is as the last step left it (SAM moves it between its two backwards)."""
        parameter = self._parameter() if self._parameter is not None else None
        return parameter is not None and parameter._version == self._version


def _mark(parameter: Tensor | None) -> tuple[int, int] | None:
    """Names the present content of a gradient: its address and how often it was written to."""
    if parameter is None or parameter.grad is None:
        return None
    gradient = parameter.grad
    return (gradient.data_ptr(), gradient._version)
