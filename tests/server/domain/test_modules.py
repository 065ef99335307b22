"""The module tree: what is folded, what is shown, and that nothing is left out."""

from __future__ import annotations

from server.domain.modules import opened, rows, tree

NAMES = ["embed", "blocks.0.attn", "blocks.0.mlp.fc", "blocks.1.attn", "blocks.1.mlp.fc", "blocks.0", "head"]


def shown(asked: list[str], most: int = 60) -> list[tuple[str, int, bool]]:
    root = tree(NAMES)
    return [(row.path, len(row.members), row.folded) for row in rows(root, opened(root, asked, most))]


def test_a_folded_module_is_one_row_of_all_that_is_under_it() -> None:
    assert shown(["none"]) == [("embed", 1, False), ("blocks", 5, True), ("head", 1, False)]


def test_an_unfolded_module_shows_itself_and_then_its_children() -> None:
    assert shown(["blocks", "blocks.0"]) == [
        ("embed", 1, False),
        ("blocks.0", 1, False),
        ("blocks.0.attn", 1, False),
        ("blocks.0.mlp", 1, True),
        ("blocks.1", 2, True),
        ("head", 1, False),
    ]


def test_everything_is_shown_when_it_is_asked_for_or_fits() -> None:
    everything = shown(["*"])
    assert [path for path, _, _ in everything if path in NAMES] == [
        "embed", "blocks.0", "blocks.0.attn", "blocks.0.mlp.fc", "blocks.1.attn", "blocks.1.mlp.fc", "head",
    ]  # fmt: skip
    assert shown([]) == everything
    assert all(not folded for _, _, folded in everything)


def test_by_itself_no_more_is_unfolded_than_is_comfortable() -> None:
    names = [f"blocks.{block}.{part}" for block in range(100) for part in ("a", "b")]
    root = tree(names)
    by_itself = rows(root, opened(root, []))
    assert len(by_itself) == 100
    assert {len(row.members) for row in by_itself} == {2}
    two = tree([*names, "head"])
    assert [row.path for row in rows(two, opened(two, []))] == ["blocks", "head"]


def test_odd_names_do_not_hang_the_tree() -> None:
    names = ["", ".", "a..b", "a.", "a"]
    root = tree(names)
    assert sum(len(row.members) for row in rows(root, opened(root, ["*"]))) == len(names)
