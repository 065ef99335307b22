"""The evidence window: all that a rule may look at when it judges a run at one step.

Everything in it is of one attempt, ends at `step`, and depends on nothing but what the training sent: so live
diagnosis, replay and `gradwatch check` hand a rule the same window and get the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from server.domain.kinds import Kind
from server.domain.series import EMPTY, Series

Made = TypeVar("Made")


@dataclass(frozen=True)
class Gates:
    """Reasons to look away (see the fields). A gate that is on makes the rules that name it "not evaluated".

    A gap in the clock is none: an evaluation, a checkpoint or a laptop that sleeps stops the steps for many times their
    length, and the same weights go on afterwards. A training that goes on from a checkpoint is another attempt.
    """

    warm_up: bool = False  # the first samples, or the learning rate still rises
    lr_changed: bool = False  # the learning rate jumped by 1.5× or restarted within the baseline window
    resumed: bool = False  # the attempt continues another: no test across the join
    moving_target: bool = False  # the loss is not expected to fall: GAN, RL, self-play
    finetune: bool = False  # weights are pretrained
    late: bool = False  # the learning rate is below 1 % of its maximum


@dataclass(frozen=True)
class Window:
    """Holds the evidence of one attempt up to one step.

    `samples` counts the closed steps that sent a loss so far; `planned` is the planned number of steps, if known;
    `final` says that nothing more comes (the run ended, see `state`); `firing` says that this rule has an open finding.
    `edition` is the same for two windows of an attempt that have the same facts, gates and series, however much those
    have grown; None where nobody can say.
    """

    step: int
    samples: int
    gates: Gates = field(default_factory=Gates)
    planned: int | None = None
    final: bool = False
    firing: bool = False
    state: str = ""  # how the run stands where it has ended: finished, stopped, failed, crashed, silent
    open_codes: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)
    lookup: Callable[[str], Series] = lambda _name: EMPTY
    names: Callable[[Kind], Mapping[str, str]] = lambda _kind: {}
    all_of: Callable[[Kind], dict[str, Series]] | None = None  # what `by_layer` gives, where somebody knows it at once
    kept: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)  # as `memo`, for an edition
    memo: dict[Hashable, Any] = field(default_factory=dict, compare=False, repr=False)  # many rules ask alike
    edition: Hashable = field(default=None, compare=False)

    def series(self, name: str) -> Series:
        """Gives a series by its name; an empty one if the run has none of that name yet."""
        return self.lookup(name)

    def by_layer(self, kind: Kind) -> dict[str, Series]:
        """Gives the non-empty series of a kind by layer, parameter, group or metric, oldest first; to read only."""
        known: dict[str, Series] | None = self.memo.get(kind)
        if known is None:
            known = self.memo[kind] = self._by_layer(kind) if self.all_of is None else self.all_of(kind)
        return known

    def _by_layer(self, kind: Kind) -> dict[str, Series]:
        found = {subject: self.lookup(name) for subject, name in self.names(kind).items()}
        return {subject: series for subject, series in found.items() if series}

    def shared(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Gives what was made for this window by another rule, or makes it."""
        if key not in self.memo:
            self.memo[key] = make()
        made: Made = self.memo[key]
        return made

    def lasting(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Gives what follows from the facts and from which series have begun: made once for all windows of an
        edition."""
        if key not in self.kept:
            self.kept[key] = make()
        made: Made = self.kept[key]
        return made

    def fact(self, name: str) -> Mapping[str, Any]:
        """Gives a fact that is an object; an empty one while it is not known."""
        value = self.facts.get(name)
        return value if isinstance(value, Mapping) else {}

    @cached_property
    def loss(self) -> Series:
        """The training loss."""
        return self.lookup(Kind.LOSS.value)
