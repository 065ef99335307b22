"""Frames that never come, because a server refused one or was restored from a backup: the live diagnosis goes on behind
them, and what comes late after all is judged as if it had come in time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from server.domain.findings import Finding
from tests.server.house import RUN, House, house

FRAMES, STEPS = 30, 10
REFUSED = 5


def send(home: House, seqs: Iterable[int]) -> None:
    """Sends frames of a healthy loss whose last one is no number, each looked at when it came."""
    for seq in seqs:
        losses = [2.0 - 0.01 * (STEPS * seq + index) / STEPS for index in range(STEPS)]
        if seq == FRAMES - 1:
            losses[-1] = math.nan
        assert home.send(seq, {"loss": losses}, first_step=STEPS * seq).status_code == 200
        home.diagnose()


def found(home: House) -> list[Finding]:
    return [finding for finding in home.store.findings.list(RUN) if finding.state == "open"]


def test_a_frame_that_was_refused_does_not_hold_the_live_diagnosis_up(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.open_run()
        send(home, (seq for seq in range(FRAMES) if seq != REFUSED))
        run = home.store.runs.get(RUN)
        assert run is not None
        assert run.state == "running"
        assert [finding.code for finding in found(home)] == ["GW601"]
        assert run.diagnosed_step == run.last_step == FRAMES * STEPS - 1


def test_a_frame_that_is_only_late_is_waited_for(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.open_run()
        send(home, [*range(REFUSED), *range(REFUSED + 1, REFUSED + 10)])
        assert home.store.runs.get(RUN).diagnosed_step == REFUSED * STEPS - 1  # type: ignore[union-attr]
        send(home, [REFUSED])
        assert home.store.runs.get(RUN).diagnosed_step == (REFUSED + 10) * STEPS - 1  # type: ignore[union-attr]


def test_a_training_whose_first_frames_a_restore_took_is_diagnosed(tmp_path: Path) -> None:
    with house(tmp_path) as home:
        home.open_run()
        send(home, range(10, FRAMES))
        assert [finding.code for finding in found(home)] == ["GW601"]


def test_a_frame_that_comes_after_all_is_judged_as_if_it_had_come_in_time(tmp_path: Path) -> None:
    with house(tmp_path / "late") as late, house(tmp_path / "right") as right:
        for home in (late, right):
            home.open_run()
        send(late, [*(seq for seq in range(FRAMES) if seq != REFUSED), REFUSED])
        send(right, range(FRAMES))
        assert [(item.code, item.first_step) for item in found(late)] == [
            (item.code, item.first_step) for item in found(right)
        ]
        assert late.store.runs.get(RUN).diagnosed_step == FRAMES * STEPS - 1  # type: ignore[union-attr]
