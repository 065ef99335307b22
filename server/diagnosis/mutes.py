"""Refuses mutes that could never silence anything, and says what would be right.

Not for: keeping or applying them (server.store.wishes).
"""

from __future__ import annotations

from dataclasses import dataclass

from server.domain.wishes import EVERY_CODE
from server.errors import GradwatchError
from server.rules.registry import Registry
from server.store import Store

MOST_NAMED = 10  # projects in a sentence
LONGEST_SHOWN = 100


class WrongMute(GradwatchError):
    """Says which part of a mute is not right, and what would be."""


@dataclass(frozen=True)
class Silence:
    """What somebody wants to be silent: a rule's findings (`*`: all) in a run, or in a project where `run` is ""."""

    project: str
    run: str
    code: str
    layers: str
    reason: str


def checked_mute(store: Store, registry: Registry, wanted: Silence) -> Silence:
    """Gives the mute with the rule's code for its name and without spaces around words; raises WrongMute for one that
    fits no rule, no project or no run of it, and for one without a reason.
    """
    code, run, reason = _code(registry, wanted.code.strip()), wanted.run.strip(), wanted.reason.strip()
    known = store.runs.projects()
    if wanted.project not in known:
        named = ", ".join(known[:MOST_NAMED]) + (", …" if len(known) > MOST_NAMED else "")
        raise WrongMute(f"No project is called {_shown(wanted.project)}; those with runs are: {named or 'none yet'}")
    if run:
        _check_run(store, wanted.project, run)
    if not reason:
        raise WrongMute(
            f"Say why this is to be silent: the reason is {wanted.reason[:LONGEST_SHOWN]!r}, and the next person who "
            "wonders will read it"
        )
    return Silence(wanted.project, run, code, wanted.layers.strip(), reason)


def _code(registry: Registry, text: str) -> str:
    if text == EVERY_CODE:
        return text
    rule = registry.get(text) or registry.get(text.upper()) or registry.get(text.lower())
    if rule is None:
        raise WrongMute(f"No rule is called {_shown(text)}; GET /api/v1/rules lists them, and * means every rule")
    return rule.code


def _check_run(store: Store, project: str, run_id: str) -> None:
    run = store.runs.get(run_id)
    if run is None:
        raise WrongMute(f"No run has the id {_shown(run_id)}; leave it empty for the whole project")
    if run.project != project:
        raise WrongMute(f"The run {_shown(run_id)} is of the project {_shown(run.project)}, not of {_shown(project)}")
    if run.deleted_ms is not None:
        raise WrongMute(f"The run {_shown(run_id)} was deleted; bring it back first from the table of runs")


def _shown(text: str) -> str:
    return repr(text[:LONGEST_SHOWN])
