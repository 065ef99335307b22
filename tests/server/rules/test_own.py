"""Rules of one's own: a file in a folder is a rule; one that cannot be loaded is told and nothing else suffers."""

from __future__ import annotations

from pathlib import Path

from server.rules.registry import load_rules

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
