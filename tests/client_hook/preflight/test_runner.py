"""The runner and its report: the time budget, what was left out and why, the progress bar, the table."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from typing import Any

import pytest

import client_hook
from client_hook import preflight
from client_hook.preflight.checks import ORDER, Budget, chosen, found, not_evaluated, passed
from client_hook.preflight.restore import kept, prepare
from client_hook.preflight.results import CheckResult, LeftOut, Report, curve, limit, table
from client_hook.preflight.runner import run_checks
from tests.client_hook.preflight.kit import HEALTHY, healthy_report, seeded


class Asks:
    """A check that does what a test says."""

    name, passes = "asks", 1

    def __init__(self, code: str, does: Any, passes: int = 1) -> None:
        self.code, self._does, self.passes = code, does, passes

    def run(self, subject: Any, budget: Any) -> CheckResult:
        return self._does(self, subject, budget)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_check_that_cannot_end_in_time_is_left_out_and_says_what_it_needs() -> None:
    case = seeded(HEALTHY["mlp"])
    quick = Asks("GW198", lambda check, subject, budget: passed(check, "quick"))
    slow = Asks("GW199", lambda check, subject, budget: passed(check, "slow"), passes=10_000_000)
    report = run_checks(case.subject(), [slow, quick], 5.0)
    assert [item.code for item in report.results] == ["GW198"]
    (left,) = report.left_out
    assert left.code == "GW199"
    assert left.reason.startswith("it needs about ")
    assert "(10000000 passes of " in left.reason
    assert "5 of 5 s were left; preflight(…, seconds=" in left.reason


def test_nothing_begins_when_the_time_is_over() -> None:
    case = seeded(HEALTHY["mlp"])
    waits = Asks("GW198", lambda check, subject, budget: _wait_for(lambda: budget.over) or passed(check, "done"))
    late = Asks("GW199", lambda check, subject, budget: passed(check, "late"))
    report = run_checks(case.subject(), [waits, late], 0.5)
    assert [item.code for item in report.left_out] == ["GW199"]
    assert report.left_out[0].reason == "0 of 0.5 s were left; preflight(…, seconds=1)"


def test_a_long_check_leaves_half_of_the_time_to_the_others() -> None:
    case, given = seeded(HEALTHY["mlp"]), {}

    def note(check: Any, _subject: Any, budget: Any) -> CheckResult:
        given[check.code] = budget.seconds
        return passed(check, "noted")

    todo = [Asks("GW197", note, passes=100), Asks("GW198", note), Asks("GW199", note, passes=100)]
    run_checks(case.subject(), todo, 1_000.0)
    assert given["GW197"] <= 500 < 900 < given["GW198"]
    assert given["GW199"] > 900, "the last one may take all"


def test_a_check_of_a_few_samples_is_not_measured_by_the_whole_batch() -> None:
    case = seeded(HEALTHY["mlp"])
    sizes: list[int] = []
    case.model.register_forward_pre_hook(lambda _module, inputs: sizes.append(len(inputs[0])))
    small: Any = Asks("GW197", lambda check, subject, budget: passed(check, "small"))
    small.few = True
    subject = case.subject()
    run_checks(subject, [small], 60.0)
    assert sizes[-1] == 8 < subject.batch_size


def _wait_for(condition: Any) -> None:
    while not condition():
        pass


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("GW101", "its time ended at a loss of"),
        ("GW102", "its time ended after 1 of 400 steps"),
        ("GW434", "its time ended after 0 of 50 forwards"),
        ("GW105", "in float64 on the CPU it needs"),
    ],
)
def test_a_long_check_ends_with_its_time_and_says_how_far_it_came(code: str, said: str) -> None:
    subject = seeded(HEALTHY["cnn"]).subject()
    (check,) = chosen([code])
    with kept(subject):
        prepare(subject)
        result = check.run(subject, Budget(0.0))
    assert result.verdict == "not_evaluated"
    assert result.reason.startswith(said)


def test_a_check_that_fails_harms_no_other() -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("no such\nluck")

    report = run_checks(
        seeded(HEALTHY["mlp"]).subject(),
        [Asks("GW198", fail), Asks("GW199", lambda check, subject, budget: passed(check, "fine"))],
        60.0,
    )
    assert report["GW198"].reason == "it failed on this model (RuntimeError: no such)"
    assert report["GW199"].verdict == "passed"


def test_the_bar_is_drawn_on_a_terminal_alone_and_taken_away() -> None:
    def half(check: Any, subject: Any, budget: Any) -> CheckResult:
        budget.at(0.5)
        return passed(check, "fine")

    case, screen, pipe = seeded(HEALTHY["mlp"]), Terminal(), io.StringIO()
    run_checks(case.subject(), [Asks("GW198", half), Asks("GW199", half)], 60.0, stream=screen)
    run_checks(case.subject(), [Asks("GW198", half)], 60.0, stream=pipe)
    drawn = [line.rstrip() for line in screen.getvalue().split("\r") if line.strip()]
    assert drawn[0] == "Gradwatch preflight [........................] 0/2 asks"
    assert "Gradwatch preflight [######..................] 0/2 asks" in drawn
    assert "Gradwatch preflight [##################......] 1/2 asks" in drawn
    assert screen.getvalue().endswith(" " * len(drawn[-1]) + "\r")
    assert pipe.getvalue() == ""


def test_checks_are_chosen_by_code_beginning_or_name() -> None:
    assert [check.code for check in chosen(["GW101", "batch-leak"])] == ["GW103", "GW101"]
    assert {check.code for check in chosen("gw2")} == {"GW201", "GW202", "GW204", "GW210", "GW212"}
    assert len(chosen()) == len(ORDER) == len({check.code for check in chosen()})


def test_every_check_names_its_rule_and_its_thresholds_have_sources() -> None:
    from server.rules.registry import load_rules

    names = {item.code: item.name for item in load_rules()}
    assert [(check.code, check.name) for check in chosen() if names.get(check.code) != check.name] == []
    for name in HEALTHY:
        for result in healthy_report(name).results:
            for item in result.thresholds:
                assert set(item) == {"name", "value", "unit", "source"}
                assert all(str(item[key]) for key in item)
            for line in result.curves.values():
                assert len(line["x"]) == len(line["y"])
            json.dumps(result.__dict__ | {"curves": result.curves})


REPORT = Report(
    [
        CheckResult("GW103", "batch-leak", "passed", "replacing a sample changes nothing", seconds=0.01),
        CheckResult("GW462", "dropout-rate", "found", "the p = 0.6 of `drop` is high", "info", "Use less."),
        CheckResult(
            "GW301", "param-no-grad", "found", "2 of 6 parameters do not reach the loss: `a.weight`, `a.bias`", "error",
            "Look for detach().", layers=["a"], seconds=1.26,
        ),
        CheckResult("GW104", "future-leak", "not_evaluated", reason="not a sequence model"),
    ],
    [LeftOut("GW101", "overfit-tiny-batch", "it needs about 80 s (300 passes of 0.27 s), 12 of 60 s were left")],
    48.04,
)  # fmt: skip


def test_the_table_reads_from_the_worst_to_what_is_unknown() -> None:
    assert table(REPORT, 100) == (
        "Gradwatch preflight: 1 error, 1 info, 1 passed, 1 could not be judged, 1 left out (48.0 s)\n"
        "  error    GW301 param-no-grad: 2 of 6 parameters do not reach the loss: `a.weight`, `a.bias`\n"
        "                 (1.3\u00a0s)\n"
        "                 in a\n"
        "                 → Look for detach().\n"
        "  info     GW462 dropout-rate: the p = 0.6 of `drop` is high\n"
        "                 → Use less.\n"
        "  ok       GW103 batch-leak: replacing a sample changes nothing\n"
        "  unknown  GW104 future-leak: not a sequence model\n"
        "  left out GW101 overfit-tiny-batch: it needs about 80 s (300 passes of 0.27 s), 12 of 60 s were\n"
        "                 left"
    )
    assert max(map(len, table(REPORT, 10).splitlines()[1:])) <= 60
    assert str(Report()) == "Gradwatch preflight: 0 passed (0.0 s)"


def test_a_report_is_asked_by_code_and_level() -> None:
    assert REPORT.worst == "error"
    assert Report().worst is None
    assert [item.code for item in REPORT.found] == ["GW301", "GW462"]
    assert REPORT["future-leak"].code == REPORT["GW104"].code
    with pytest.raises(KeyError, match="GW999: this preflight ran GW103, GW462"):
        REPORT["GW999"]
    assert [REPORT.reaches(level) for level in ("info", "warning", "error")] == [True, True, True]
    only_info = Report([found(Asks("GW1", None), "info", "a", "b"), not_evaluated(Asks("GW2", None), "c")])
    assert [only_info.reaches(level) for level in ("info", "warning", "error")] == [True, False, False]
    assert json.loads(json.dumps(REPORT.as_dict()))["worst"] == "error"
    assert limit("a", 1.0, "s", "ours") == {"name": "a", "value": 1.0, "unit": "s", "source": "ours"}
    assert curve([1], [2], "x", "y", marks=[{"x": 1, "label": "here"}])["marks"] == [{"x": 1, "label": "here"}]


def test_it_prints_its_table_once_and_keeps_quiet_where_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case = seeded(HEALTHY["mlp"])
    monkeypatch.setenv("GRADWATCH_QUIET", "0")
    report = preflight(case.model, case.loss_fn, case.batch, checks=["GW301"], send=False)
    assert capsys.readouterr().err == f"{report}\n"
    monkeypatch.setenv("GRADWATCH_QUIET", "1")
    preflight(case.model, case.loss_fn, case.batch, checks=["GW301"], send=False)
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("GRADWATCH_DISABLED", "1")
    off = preflight(case.model, case.loss_fn, case.batch, checks=["GW301"])
    assert [(item.code, item.reason) for item in off.left_out] == [("GW301", "GRADWATCH_DISABLED is set")]


def test_importing_the_hook_does_not_import_preflight_and_the_name_is_callable() -> None:
    program = (
        "import sys; from client_hook import watch; assert not [m for m in sys.modules if 'preflight.' in m]; "
        "import client_hook.preflight.results; from client_hook import preflight; print(callable(preflight)); "
        "import client_hook; print(client_hook.preflight is preflight)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
    assert "preflight" in dir(client_hook)
