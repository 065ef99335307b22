"""Says which of our series a tag of TensorBoard is: everybody calls the loss and the rate by other names.

What is not recognised keeps its own name. Not for: reading files (events.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from server.domain.kinds import Kind, parse
from server.ingest.frames import MAX_SERIES_NAME
from server.ingest.values import clean

_TRAIN = r"(?:train(?:ing)?|batch)"
_HELD_OUT = r"(?:val|valid|validation|eval|evaluation)"
_BY = r"[ _/.-]"
_ABOUT = r"(?:charts|optim(?:izer)?|opt|schedule[rs]?|hyper_?param(?:eter)?s|params)"  # the folders of rates
_SUM = rf"(?:total{_BY}?loss|loss{_BY}total)"  # of detectors, and of whoever weighs several
_OF_BATCHES = r"val/evaluation_loss_vs_iterations"  # Keras: its epoch_loss counts epochs
# in this order: of two tags that are the same series the first one here is it (a loss of every step before its mean)
_KNOWN: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        ("loss", rf"(?:{_TRAIN}{_BY})?(?:{_TRAIN}{_BY})?loss{_BY}step"),
        ("loss", rf"(?:{_TRAIN}{_BY})?(?:{_TRAIN}{_BY})?loss(?:es)?|loss(?:es)?{_BY}{_TRAIN}"),
        ("loss", rf"epoch_loss|(?:{_TRAIN}{_BY})?loss{_BY}epoch"),
        ("loss", rf"(?:{_TRAIN}{_BY})?{_SUM}"),
        ("val/loss", _OF_BATCHES),
        ("val/loss", rf"{_HELD_OUT}{_BY}(?:{_HELD_OUT}{_BY})?loss(?:{_BY}epoch)?|loss(?:es)?{_BY}{_HELD_OUT}"),
        ("val/loss", rf"val/epoch_loss|{_HELD_OUT}{_BY}{_SUM}"),
        ("lr/0", rf"(?:(?:{_TRAIN}|{_ABOUT}){_BY})?(?:lr|learning{_BY}?rate)(?:{_BY}?(?:0|pg0|group0))?"),
        ("lr/0", r"lr-[a-z0-9]+(?:/pg1)?"),  # Lightning counts its groups from 1
        ("grad_norm", rf"(?:{_TRAIN}{_BY})?(?:total{_BY})?grad(?:ient)?s?{_BY}?norm(?:{_BY}total)?"),
        ("epoch", rf"(?:{_TRAIN}{_BY})?epoch"),
    )
)
_VALIDATION = re.compile(rf"{_HELD_OUT}{_BY}(?P<rest>.+)|(?P<front>.+){_BY}{_HELD_OUT}")
_GROUP = re.compile(r"lr-\w+/(?:pg(?P<count>[1-9]\d{0,3})|(?P<name>.+(?<!-momentum)))")  # of Lightning, counted from 1
_SPEED = re.compile(r"runtime|samples_per_second|steps_per_second|time|duration|epoch")
UNNAMED = "unnamed"
ROOM = 50  # for what tells names apart that are the same when they are cut
_OURS = frozenset(Kind) - {Kind.USER, Kind.VALIDATION}


def names_of(tags: Iterable[str]) -> Mapping[str, str]:
    """Gives each tag the name of its series; no two have the same."""
    tags = list(dict.fromkeys(tags))
    found: dict[str, str] = {}
    for name, pattern in _KNOWN:
        if name in found.values() or (pattern.pattern == _OF_BATCHES and found.get("batch_loss") != "loss"):
            continue
        fits = sorted((tag for tag in tags if tag not in found and pattern.fullmatch(tag.lower())), key=len)
        if fits:
            found[fits[0]] = name
    taken = set(found.values())
    for tag in tags:
        if tag not in found:
            name = _own(clean(tag) or UNNAMED)[: MAX_SERIES_NAME - ROOM]
            found[tag] = _free(name, taken)
            taken.add(found[tag])
    return found


def _own(tag: str) -> str:
    if group := _GROUP.fullmatch(tag):
        return f"lr/{int(group['count']) - 1 if group['count'] else group['name']}"
    match = _VALIDATION.fullmatch(tag)
    rest = (match["rest"] or match["front"]) if match else None
    if rest and not _SPEED.fullmatch(rest.lower()) and rest != "loss":
        return f"val/{rest}"
    return f"user/{tag}" if parse(tag)[0] in _OURS else tag


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "'"
    return name
