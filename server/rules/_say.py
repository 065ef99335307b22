"""Writes verdicts that rest on facts: seen once, true at once, with the numbers that prove them.

Not for: verdicts that need persistence; those say `at_once=False`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from server.domain.findings import Evidence, Severity, Verdict


def say(
    severity: Severity,
    message: str,
    advice: str,
    *,
    step: int = 0,
    layers: Iterable[str] = (),
    numbers: Mapping[str, float] | None = None,
    strings: Mapping[str, str] | None = None,
    series: Iterable[str] = (),
    limit: float | None = None,
    at_once: bool = True,
    stage: int | None = None,
    exact: bool | None = None,
    aside: bool | None = None,
    explains: Iterable[str] = (),
) -> Verdict:
    """Makes a verdict; layers are listed once each, in order. `stage`, `exact` and `aside` where they are not the
    rule's."""
    return Verdict(
        severity=severity,
        first_step=step,
        message=message,
        advice=advice,
        layers=tuple(dict.fromkeys(name for name in layers if name)),
        evidence=Evidence(numbers or {}, strings or {}, tuple(series), limit),
        at_once=at_once,
        stage=stage,
        exact=exact,
        aside=aside,
        explains=frozenset(explains),
    )


def percent(share: float) -> str:
    """Writes a share with as many digits as it needs."""
    return f"{share:.0%}" if share >= 0.1 or share == 0 else f"{share:.1%}" if share >= 0.001 else f"{100 * share:.1g}%"


def in_python(name: str) -> str:
    """Writes a layer's or parameter's name as the expression that reaches it: `model.blocks[3].head` for
    blocks.3.head, `model` for none."""
    return "model" + "".join(_reach(step) for step in name.split(".") if step)


def _reach(step: str) -> str:
    if step.isdecimal():
        return f"[{step}]"
    return f".{step}" if step.isidentifier() else f'["{step}"]'


PENALTIES = ("kl", "kld", "reg", "penalty", "l1", "l2", "decay", "sparsity", "regular")


def is_penalty(name: str) -> bool:
    """Says whether a part of the loss is a penalty, by its name."""
    return any(word in name.lower() for word in PENALTIES)
