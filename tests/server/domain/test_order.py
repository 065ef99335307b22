"""Names as a reader counts them, and layers as the model calls them."""

from __future__ import annotations

from server.domain.order import natural, of_model


def test_numbers_in_names_are_compared_as_numbers() -> None:
    assert sorted(["b10", "b2", "b2.a", "a", "10", "b"], key=natural) == ["10", "a", "b", "b2", "b2.a", "b10"]


def test_the_model_s_order_goes_first_and_what_it_does_not_know_last() -> None:
    subjects = ["x.10", "x.9", "head.weight", "stem"]
    assert [subjects[place] for place in of_model(subjects, ["stem", "head"])] == ["stem", "head.weight", "x.9", "x.10"]
