"""Rules of one's own: a file in a folder is a rule; one that cannot be loaded is told and nothing else suffers."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.rules.registry import load_rules
from server.rules.room import STAYS

RULE = '''
"""OWN001: a rule of this team."""
from dataclasses import dataclass

from server.domain.findings import Severity, Verdict
from server.rules.base import Rule, threshold


class LossAboveFive(Rule):
    """The run has a loss above 5

    ## What it does
    Compares the newest loss with 5.

    ## Why it matters
    Ours never is.

    ## What you see in the chart
    A line above 5.

    ## What to try
    - Lower it.

    ## Example
    ```python
    loss = 6
    ```

    ## References
    - Our wiki.
    """

    code = "{code}"
    name = "{name}"
    severity = Severity.WARNING
    since = "1"
    every = 1

    @dataclass(frozen=True)
    class Params:
        """The limit."""

        limit: float = threshold(5.0, unit="loss", low=0.0, high=100.0, source="ours")

    def check(self, window, params):
{body}
'''
SAYS = """        if window.loss and window.loss.last > params.limit:
            words = f"{window.loss.last:g} is above {params.limit:g}"
            yield Verdict(Severity.WARNING, window.step, words, "Lower it.", at_once=True)
"""


def write(folder: Path, name: str, body: str = SAYS, code: str = "OWN001") -> None:
    """Writes a rule file."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name.replace('-', '_')}.py").write_text(RULE.format(code=code, name=name, body=body))


def test_a_file_in_the_folder_is_a_rule(tmp_path: Path) -> None:
    write(tmp_path / "rules", "loss-above-five")
    registry = load_rules(tmp_path / "rules")
    info = registry.get("OWN001")
    assert info is not None
    assert info.guest
    assert info.summary == "The run has a loss above 5"
    assert info.source.startswith(str(tmp_path))
    assert registry.problems == ()


def test_what_is_wrong_with_a_file_is_told_and_the_rest_is_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    write(folder, "loss-above-five")
    write(folder, "taken", code="GW205")
    (folder / "broken.py").write_text("import nothing_of_this_name")
    (folder / "typo.py").write_text("def check(:")
    (folder / "empty.py").write_text("")
    registry = load_rules(folder)
    assert registry.get("OWN001") is not None
    said = {Path(item.source).name: item.sentence for item in registry.problems}
    assert said["broken.py"] == "it cannot be loaded (ModuleNotFoundError: No module named 'nothing_of_this_name')"
    assert said["typo.py"].startswith("it cannot be loaded (SyntaxError: ")
    assert said["empty.py"].endswith("a rule file holds exactly one Rule class, this one holds 0")
    assert "it must be 2 to 6 capitals, not GW, and three digits" in said["taken.py"]


def test_no_folder_is_no_problem(tmp_path: Path) -> None:
    assert load_rules(tmp_path / "nowhere").problems == ()


def test_a_file_that_hangs_or_ends_the_program_while_it_is_loaded_is_told_and_the_rest_is_loaded(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "rules"
    write(folder, "loss-above-five")
    (folder / "endless.py").write_text("while True:\n    pass\n")
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    (folder / "interrupts.py").write_text("raise KeyboardInterrupt\n")
    (folder / "waits.py").write_text("import threading\nthreading.Event().wait()\n")
    registry = load_rules(folder, limit_s=0.3)
    assert registry.get("OWN001") is not None
    assert {Path(item.source).name: item.sentence for item in registry.problems} == {
        "endless.py": "it cannot be loaded (it did not end within 0.3 s)",
        "leaves.py": "it cannot be loaded (SystemExit: 3)",
        "interrupts.py": "it cannot be loaded (KeyboardInterrupt)",
        "waits.py": f"it cannot be loaded (it did not end within 0.3 s; {STAYS})",
    }


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("every = 0", "`every` is 0; it must be a whole number from 1 on"),
        ("persistence = (3,)", "`persistence` is (3,); it must be two whole numbers, n of the last m, from 1 on"),
        ("persistence = (3, 2)", "`persistence` is (3, 2); it must be two whole numbers, n of the last m, from 1 on"),
        ('needs = ("loss",)', "`needs` is ('loss',); it must be a tuple of Kind"),
        ('severity = "warning"', "`severity` is 'warning'; it must be a Severity"),
        ("stage = 10", "`stage` is 10; it must be a Stage"),
    ],
)
def test_a_rule_with_which_the_diagnosis_cannot_work_is_left_out(tmp_path: Path, line: str, sentence: str) -> None:
    write(tmp_path, "odd")
    file = tmp_path / "odd.py"
    file.write_text(file.read_text().replace("    every = 1\n", f"    every = 1\n    {line}\n"))
    registry = load_rules(tmp_path)
    assert registry.get("OWN001") is None
    (problem,) = registry.problems
    assert problem.sentence.endswith(sentence)


def test_a_rule_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "odd")
    file = tmp_path / "odd.py"
    text = file.read_text().replace(
        "    def check(", "    def __init__(self):\n        raise OSError('no')\n\n    def check("
    )
    file.write_text(text)
    (problem,) = load_rules(tmp_path).problems
    assert problem.sentence == "it cannot be loaded (OSError: no)"
