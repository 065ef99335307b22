"""What every rule owes: a file of its own, sections, sources, cases, and no look at anything but its window."""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from server.charts.evidence import THE_LIMIT
from server.domain.findings import Verdict
from server.rules.registry import SECTIONS, load_rules
from tests.server.rules.test_cases import read_cases

REGISTRY = load_rules()
EACH = pytest.mark.parametrize("item", [pytest.param(item, id=item.name) for item in REGISTRY])
FIRST_RULES = {
    "GW201", "GW202", "GW205", "GW206", "GW208", "GW211", "GW301", "GW302", "GW303", "GW304", "GW305", "GW306", "GW307",
    "GW308", "GW411", "GW412", "GW601", "GW602", "GW603",
}  # fmt: skip


def test_the_first_rules_are_all_there() -> None:
    assert {item.code for item in REGISTRY} >= FIRST_RULES


def test_codes_and_names_are_unique() -> None:
    assert len({item.code for item in REGISTRY}) == len({item.name for item in REGISTRY}) == len(list(REGISTRY))


@EACH
def test_the_file_is_named_like_the_rule(item) -> None:
    assert Path(inspect.getfile(type(item.rule))).stem == item.name.replace("-", "_")


@EACH
def test_the_docstring_has_every_section_in_order(item) -> None:
    text = inspect.getdoc(type(item.rule)) or ""
    places = [text.find(f"## {section}") for section in SECTIONS]
    assert min(places) > 0
    assert places == sorted(places)
    assert "```python" in text


@EACH
def test_every_threshold_has_a_unit_a_source_and_a_range(item) -> None:
    for param in item.params:
        assert param.unit
        assert param.source
        assert param.low <= param.default <= param.high


@EACH
def test_it_has_a_sick_a_healthy_and_an_unknown_case_that_say_why(item) -> None:
    cases = read_cases(item.name)
    assert sum(case.fires for case in cases) >= 2
    assert sum(case.expect == "quiet" for case in cases) >= 2
    assert any(isinstance(case.expect, dict) and "not_evaluated" in case.expect for case in cases)
    assert all(len(case.why) > 10 for case in cases)


@EACH
def test_it_has_a_case_with_values_that_are_not_finite(item) -> None:
    cases = read_cases(item.name)
    assert any(_is_bad(case.numbers) or _is_bad(case.facts) for case in cases), "add a case with nan or inf"


def _is_bad(value) -> bool:
    if isinstance(value, Mapping):
        return any(_is_bad(part) for part in value.values())
    if isinstance(value, (list, tuple)):
        return any(_is_bad(part) for part in value)
    return isinstance(value, float) and not math.isfinite(value)


@EACH
def test_it_imports_nothing_that_reads_or_remembers(item) -> None:
    tree = ast.parse(Path(inspect.getfile(type(item.rule))).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    allowed = (
        "__future__",
        "collections",
        "dataclasses",
        "itertools",
        "math",
        "typing",
        "numpy",
        "server.domain",
        "server.rules",
    )
    assert [module for module in modules if not module.startswith(allowed)] == []


@EACH
def test_the_levels_of_its_picture_are_values_of_what_the_picture_shows(item) -> None:
    wanted = set(item.rule.levels) - {THE_LIMIT}
    shown, limits = set(), 0
    for case in read_cases(item.name):
        if not case.fires:
            continue
        with np.errstate(all="ignore"):
            found = list(item.rule.check(case.window(item.rule), item.rule.Params()))
        evidence = [answer.evidence for answer in found if isinstance(answer, Verdict)]
        shown |= {name for one in evidence for name in one.numbers}
        limits += sum(one.limit is not None for one in evidence)
        drawn = [one for one in evidence if one.series and item.rule.levels]
        assert all(set(one.numbers) & wanted or one.limit is not None for one in drawn), case.name
    assert wanted <= shown
    assert limits or THE_LIMIT not in item.rule.levels
