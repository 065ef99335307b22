"""Finds the rules that somebody means who describes a symptom in everyday words: filler is dropped, endings do not
matter, and what people say of a curve stands for what the rules call it. Not for: showing them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

MOST = 2 / 3  # of what was asked for: where nothing fits all of it, so much will do
SHORTEST = 4  # letters that are left of a word whose ending was cut
_FILLER = """
    a about after again all always am an and any are as at be because been but by can could do does doing for from
    get gets getting got had has have having help how i if in into is issue it its just keep keeps kind like many
    me model much my net network not of on one or our out please problem run runs so some something such than that
    the their them then there these they this to too train training very was we weird were what when where which
    while why will with would wrong you your
    """
FILLER = frozenset(_FILLER.split())
_STUCK = (
    "not moved", "stopped falling", "plateau", "stands still", "stand still", "flat", "never change", "not change",
)  # fmt: skip

# what people say, and the words of the rules for it
SAYINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"not (go|going|goes|come|coming) down|(not|hardly|barely) (fall|drop|decreas|reduc|improv)\w*", _STUCK),
    (r"(not|hardly|barely) (converg|learn|mov|chang)\w*|no progress|stays? (the same|constant)", _STUCK),
    (r"stuck|stagnat\w*|flat\w*|plateau\w*|stand\w* still", _STUCK),
    (r"(jumps? |go(es)? )?up and down|noisy|oscillat\w*|bounc\w*|swing\w*", ("oscillat", "swing", "zigzag")),
    (r"(go|goes|going|went|shoots?|climbs?) up|increas\w*|rises?|rising|gets? worse", ("rise", "rising", "climb")),
    (r"nans?|infs?|infinit\w*|not (a number|finite)|nonfinite", ("nan", "infinit", "not finite")),
    (r"vanish\w*|disappear\w*", ("vanish",)),
    (r"explod\w*|explosion|blow\w* up|blew up|blown up", ("explo", "jump")),
    (r"diverg\w*", ("diverg", "rises for good")),
    (r"jumps?|spik\w*", ("jump", "spike", "needle")),
    (r"(cuda |gpu )?out of memory|oom|memory leaks?|leaks? memory", ("memory",)),
    (r"slow\w*|takes? (too |so )?(long|forever|ages)", ("slow", "longer", "waits", "stall")),
    (r"crash\w*|killed|dies|hang\w*|freez\w*", ("silent", "crash", "killed", "ended by")),
    (r"not used|unused|idle", ("idle", "does little", "never called", "no optimizer", "unused")),
    (r"dying|dead", ("dead", "never fire")),
    (r"forgot\w*|missing|left out", ("missing", "forgot", "nothing clears", "left out")),
    (r"twice|doubled?|two times", ("twice", "two ", "before")),
    (r"(same|identical) (outputs?|predictions?|answers?|class)", ("same answer", "never predict")),
    (r"lower|below|smaller|less than", ("below", "lower")),
    (r"vals?|test|valid|eval|evaluation|validation", ("validation",)),
    (r"lr|learning rates?|step size", ("learning rate", "learning-rate")),
    (r"overfit\w*|memori[sz]\w*", ("overfit", "learns its training set")),
    (r"gpu|cuda|device", ("gpu", "device", "cuda")),
    (r"acc|accuracy", ("accuracy", "loss")),
)
_SAYINGS = tuple((re.compile(rf"(?<![\w'-])(?:{said})(?![\w-])"), meant) for said, meant in SAYINGS)
_NOT = re.compile(
    r"\b(?:do|does|did|is|are|was|wo|will|ca|can|has|have)(?: not|n['’]?t)\b|\bnever(?= (?:go|learn|fall))"
)
_ENDINGS = re.compile(r"(ies|ing|ed|es|s|e|ly)$")


@lru_cache(maxsize=256)
def wanted(find: str) -> tuple[tuple[str, ...], ...]:
    """Reads what is asked for: for each thing, the words of which any will do."""
    text = _NOT.sub("not", " ".join(find.lower().split()))
    groups: list[tuple[str, ...]] = []
    for said, meant in _SAYINGS:
        text, count = said.subn(" ", text)
        if count:
            groups.append(meant)
    for word in re.findall(r"[^\s,;:!?\"“”()]+", text):
        plain = word.strip(".'’")
        if plain and plain not in FILLER:
            groups.append((_stem(plain.replace("_", "-")), _stem(plain)))
    return tuple(dict.fromkeys(groups)) or tuple((word,) for word in find.lower().split())


def fits(text: str, groups: Sequence[Sequence[str]]) -> int:
    """Counts the things asked for that a text speaks of."""
    return sum(any(word in text for word in group) for group in groups)


def _stem(word: str) -> str:
    cut = _ENDINGS.sub("", word) if word.isalpha() else word
    return cut if len(cut) >= SHORTEST else word
