"""The rules' pages, made from the rules; the sign-in form; the icon; and numbers as people read them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from server.rules._corpus import corpus, digest, example
from server.rules._planned import PLANNED
from server.web import formats
from server.web.contexts.proof import proof_view
from server.web.contexts.rules import rules_view
from server.web.contexts.sparkline import sparkline
from server.web.markdown import to_html
from tests.server.house import House, house
from tests.server.web.pages_kit import EVIL, look

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        yield found


def test_the_catalogue_lists_every_rule(home: House) -> None:
    registry = home.app.state.services.registry
    assert look(home, "/rules").values("data-rule") == [rule.code for rule in registry]


def test_the_catalogue_lists_what_is_planned_and_what_it_waits_for(home: House) -> None:
    page = look(home, "/rules")
    assert page.values("data-planned") == [item.code for item in PLANNED]
    assert "a project cannot choose a run as its baseline yet" in page.text
    assert all(len(item.missing) > 40 for item in PLANNED)
    assert not {item.code for item in PLANNED} & {rule.code for rule in home.app.state.services.registry}


def test_the_catalogue_shows_what_the_corpus_said(home: House) -> None:
    page = look(home, "/rules")
    assert "healthy trainings got no warning" in page.text
    assert "How often it is right" in page.text
    assert "The first set of them: 23 of 26 healthy trainings got no warning." in page.text
    assert "The third set of them: 38 of 44 healthy trainings got no warning." in page.text
    reasons = [item.reasons for item in proof_view(home.app.state.services.registry).held_out]
    assert len(reasons) == len(corpus()["held_out"])
    assert all(path in page.text for path in reasons)
    assert [path for path in reasons if not (ROOT / path).is_file()] == []
    newest_first = [page.text.index(f"The {name} set of them:") for name in ("third", "second", "first")]
    assert newest_first == sorted(newest_first)


def test_the_catalogue_tells_causes_from_symptoms_and_says_what_shows_the_others(home: House) -> None:
    counts = {"faults": 1, "hits": 0, "symptoms": 19, "unlabelled": 11, "false": 0, "healthy_remarks": 2}
    nothing = dict.fromkeys(counts, 0)
    rules = {
        "GW311": {"name": "constant-output", **counts, "steps_to_finding": None},
        "GW609": {"name": "device-assert", **nothing, "steps_to_finding": None, "beside": "Needs a GPU; `tests/x.py`"},
        "GW705": {"name": "gpu-idle", **nothing, "steps_to_finding": None},
    }
    soak = {"trainings": 10, "steps": 10_000, "silent": 9}
    told = {**corpus(), "rules": rules, "mild": 8, "mild_named": 7, "soak": soak}
    view = proof_view(home.app.state.services.registry, told)
    (row,) = view.rows
    assert (row.code, row.hits, row.symptoms, row.others, row.healthy, row.steps) == ("GW311", 0, 19, 11, 2, "")
    assert [(item.code, item.sentence) for item in view.beside] == [
        ("GW609", "Needs a GPU; `tests/x.py`"),
        ("GW705", "Nothing shows it yet"),
    ]
    assert view.lead.endswith(
        " Of 8 mistakes worth a remark alone, 7 got it. Of 10 healthy trainings of 10,000 steps 9 got no warning."
    )
    page = look(home, "/rules")
    assert {"GW311", "GW434", "GW601"} <= set(page.values("data-proof"))
    assert "GW609" in page.values("data-beside")
    assert "Nothing shows it yet" not in page.text


def test_the_catalogue_explains_every_miss_and_shows_what_was_taken_for_what(home: House) -> None:
    found = corpus()
    wrong = [*found["misses"], *found["false_alarms"]]
    assert [item["name"] for item in wrong if not item.get("why")] == [], "tests/corpus/explained.py says why"
    page = look(home, "/rules")
    assert set(page.values("data-confused")) == set(found["confusion"])
    assert all(item["why"] in page.text for item in wrong)
    view = proof_view(home.app.state.services.registry, {**found, "confusion": {"GW208": {"GW411": 3, "GW208": 1}}})
    assert [(row.code, row.answers) for row in view.confusion] == [("GW208", (("GW208", 1), ("GW411", 3)))]


def test_the_catalogue_says_which_rules_changed_since_the_corpus_was_run(home: House) -> None:
    registry = home.app.state.services.registry
    as_run = {item.code: digest(type(item.rule)) for item in registry}
    assert proof_view(registry, {**corpus(), "digests": as_run}).changed == ()
    assert proof_view(registry, {**corpus(), "digests": {**as_run, "GW601": "0" * 12}}).changed == ("GW601",)


def test_the_catalogue_shows_what_preflight_said_of_the_corpus(home: House) -> None:
    counts = {"name": "batch-leak", "passed": 60, "info": 1, "false": 0, "sick": 4, "not_evaluated": 9, "left_out": 0}
    found = {**corpus(), "preflight": {"healthy": 65, "sick": 90, "checks": {"GW103": counts}}}
    view = proof_view(home.app.state.services.registry, found)
    assert view.checked_lead.startswith("Preflight was run on 65 healthy models and 90 sick ones before training.")
    assert [(row.code, row.url, row.passed, row.remarks, row.false, row.sick) for row in view.checked] == [
        ("GW103", "/rules/GW103", 60, 1, 0, 4)
    ]
    assert look(home, "/rules").values("data-checked") == list((corpus().get("preflight") or {}).get("checks", {}))


def test_the_catalogue_is_searched_by_every_word_and_says_when_nothing_fits(home: House) -> None:
    assert look(home, "/rules?find=relu+UNITS+never+fire").values("data-rule") == ["GW308"]
    assert look(home, "/rules?find=GW202").values("data-rule") == ["GW202"]
    page = look(home, "/rules?find=relu+xylophone")
    assert page.values("data-rule") == []
    assert "No rule has all of these words in it." in page.text


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("loss is nan", {"GW601"}), ("accuracy stuck", {"GW206", "GW209"}), ("my loss does not go down", {"GW206"}),
        ("Loss doesn't decrease!", {"GW206"}), ("CUDA out of memory", {"GW704"}),
        ("validation loss goes up", {"GW801"}), ("gradients vanish", {"GW306"}), ("exploding gradients", {"GW307"}),
        ("training is very slow", {"GW701", "GW702"}),
        ("my model always predicts the same class", {"GW805"}), ("the loss jumps up and down", {"GW207"}),
        ("why is the GPU not used", {"GW705"}), ("dying relu", {"GW308"}), ("I forgot zero_grad", {"GW304"}),
        ("the weights never change", {"GW303"}), ("NaN in the inputs", {"GW605"}), ("lr too high", {"GW411"}),
    ],
)  # fmt: skip
def test_a_symptom_in_everyday_words_finds_the_rules_that_are_meant(home: House, said: str, meant: set[str]) -> None:
    shown = look(home, f"/rules?find={quote(said)}").values("data-rule")
    assert meant <= set(shown[:8]), "what fits best comes first"
    assert len(shown) <= 16, "not the whole catalogue"


def test_every_rule_is_found_by_its_own_name_and_code(home: House) -> None:
    for rule in home.app.state.services.registry:
        for said in (rule.name, rule.code.lower()):
            first = rules_view(home.app.state.services.registry, said).chapters[0]
            assert rule.code in [row.code for row in first.rows]


def test_a_search_of_which_no_rule_has_everything_shows_those_that_have_most(home: House) -> None:
    page = look(home, "/rules?find=vanishing+gradient+xylophone")
    assert "GW306" in page.values("data-rule")
    assert "No rule has all of these words in it. These have most of them." in page.text


def test_a_search_of_filler_alone_is_one_for_these_words(home: House) -> None:
    assert len(look(home, "/rules?find=the+model").values("data-rule")) > 20
    assert look(home, "/rules?find=+").values("data-rule") == look(home, "/rules").values("data-rule")


def test_each_rule_has_a_page_with_its_sections_and_thresholds(home: House) -> None:
    for rule in home.app.state.services.registry:
        page = look(home, f"/rules/{rule.code}")
        assert set(rule.sections) <= set(page.texts)
        for threshold in rule.params:
            assert threshold.name in page.texts
            assert " ".join(threshold.source.split()) in page.text
        assert rule.source in page.texts


def test_the_many_mistakes_that_one_rule_finds_are_a_list_on_its_page(home: House) -> None:
    rule = home.app.state.services.registry.get("GW202")
    assert rule is not None
    told = to_html(rule.sections["What it does"])
    assert told.count("<li>") >= 12
    assert max(map(len, re.findall(r"<p>(.*?)</p>", told, re.DOTALL))) < 200
    assert "Exact test" not in rule.sections["References"]


def test_a_rule_is_found_by_its_name_too(home: House) -> None:
    assert "dead-relu" in look(home, "/rules/dead-relu").text
    assert "No rule is called 'GW000' here" in look(home, "/rules/GW000", 404).text


def test_markdown_keeps_html_as_text() -> None:
    assert "<script" not in to_html(EVIL)
    assert "href" not in to_html("[x](javascript:alert(1))")


def test_the_sign_in_form_keeps_where_to_go_on_and_says_what_was_wrong(tmp_path: Path) -> None:
    with house(tmp_path, token="correct-horse-battery") as locked:
        locked.client.headers.pop("Authorization")
        page = look(locked, "/sign-in?next=/rules")
        assert ("input", {"type": "hidden", "name": "next", "value": "/rules"}) in page.tags
        answer = locked.client.post("/sign-in", data={"token": "wrong"}, headers={"Accept": "text/html"})
        assert answer.status_code == 401
        assert "This is not the token that the server was started with." in answer.text
        assert 'role="alert"' in answer.text


def test_the_icon_is_there_under_both_addresses(home: House) -> None:
    assert home.client.get("/favicon.ico").headers["content-type"].startswith("image/svg+xml")
    assert home.client.get("/static/favicon.svg").status_code == 200


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"), (math.nan, "NaN"), (math.inf, "∞"), (-math.inf, "−∞"), (0.0, "0"), (3.0, "3"), (-2.5, "−2.5"),
        (0.12345, "0.1235"), (1234.5678, "1,235"), (0.00012, "1.2e−4"), (1e9, "1e9"), (123456.0, "123,456"),
    ],
)  # fmt: skip
def test_numbers_are_written_with_four_digits(value: float | None, written: str) -> None:
    assert formats.number(value) == written


def test_times_are_written_in_their_two_largest_units() -> None:
    assert formats.duration(940) == "0.9 s"
    assert [formats.seconds(value) for value in (2.5, 0.0345, 2.551e-4)] == ["2.5 s", "34.5 ms", "255 µs"]
    assert formats.duration(59_000) == "59 s"
    assert formats.duration(3_599_000) == "59 min 59 s"
    assert formats.duration(7_260_000) == "2 h 01 min"
    assert formats.duration(90_000_000) == "1 d 01 h"
    assert formats.ago(30_000) == "just now"
    assert formats.ago(7_200_000) == "2 h ago"
    assert formats.utc(-5) == "1970-01-01 00:00:00 UTC"


def test_a_sparkline_breaks_where_a_value_is_missing() -> None:
    drawn = sparkline([1.0, 0.5, None, 0.0])
    assert drawn is not None
    # x = 3 + 114 · i / 3 and y = 3 + 22 · (1 − value)
    assert drawn.path == "M3.0 3.0L41.0 14.0M117.0 25.0"
    assert drawn.breaks == ("79.0",)
    assert sparkline([None, None]) is None


# rules that no training of the corpus or beside it (tests/trainings/shown.py) shows yet
WITHOUT_PICTURE = {"GW609": "needs a GPU"}


def test_every_rule_has_a_picture_of_a_sick_training_or_a_reason_why_not(home: House) -> None:
    rules = home.app.state.services.registry
    without = {item.code for item in rules if example(item.code) is None}
    assert without == WITHOUT_PICTURE.keys()
    for code in ("GW308", "GW504", "GW902"):
        page = look(home, f"/rules/{code}")
        assert "On a real training" in page.text
        assert "which is sick on purpose" in page.text
