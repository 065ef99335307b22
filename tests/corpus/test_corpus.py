"""A fast slice of the corpus, the arithmetic of its score, and what a corpus owes: sources, twins, every exact rule."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from client_hook.preflight.checks import chosen
from server.rules._corpus import corpus
from server.rules.registry import Registry, load_rules
from tests.corpus import long_runs
from tests.corpus.apart import apart
from tests.corpus.beside import BESIDE
from tests.corpus.diagnosis import diagnose
from tests.corpus.faults import FAULTS
from tests.corpus.healthy import HEALTHY, LONG
from tests.corpus.judge import Judged, Said, judge
from tests.corpus.pace import paced
from tests.corpus.preflight import fly
from tests.corpus.recorded import RECORDED
from tests.corpus.runner import names
from tests.corpus.score import score
from tests.corpus.sets import SETS
from tests.corpus.twins import twin
from tests.corpus.whole import whole

FAST_HEALTHY = {  # and which steps are measured: silence must not depend on it
    "mlp-one-hundred-steps": "dense", "wine": "dense", "table-adam": "sparse", "lora": "sparse",
    "digits-cnn-batch-norm": "usual", "mlp-accumulation": "usual", "reader": "usual", "mlp-few-examples": "usual",
    "digits-dropout-function": "sparse", "digits-mixture-of-experts": "usual",
}  # fmt: skip
FAST_FAULTS = (
    "table-not-scaled", "missing-values", "sigmoid-before-cross-entropy", "shapes-broadcast", "layers-in-a-list",
    "no-activation", "zero-grad-per-micro-batch", "never-back-to-train", "all-weights-equal", "rate-kills-relus",
    "scheduler-per-batch", "decay-hundred-times", "dropout-before-norm", "validation-not-scaled", "sorted-by-class",
    "dropout-function-without-mode", "no-momentum-in-a-valley", "forgets-the-beginning", "router-favours-one-expert",
    "no-sampler-for-two-processes", "machine-taken-away", "resumed-without-its-scheduler",  # processes, attempts
    "pixels-summed-beside-a-name",  # worth a remark
)  # fmt: skip


@pytest.fixture(scope="module")
def rules() -> Registry:
    return load_rules()


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "pace"), FAST_HEALTHY.items())
def test_a_healthy_training_raises_nothing(name: str, pace: str, rules: Registry) -> None:
    with paced(pace):
        recording = HEALTHY[name].run()
    found = judge(name, diagnose(recording, rules), 0, (), (), "")
    assert [f"{said.code}: {said.message}" for said in found.said] == []


@pytest.mark.parametrize("name", FAST_FAULTS)
@pytest.mark.filterwarnings("ignore")
def test_a_fault_is_named_and_nothing_else_is(name: str, rules: Registry) -> None:
    fault = FAULTS[name]
    found = judge(name, diagnose(fault.setup.run(), rules), 0, fault.root, fault.symptoms, fault.source)
    assert found.hit is not None, found.said
    assert {picture["training"] for picture in found.pictures.values()} == {name}, "a rule's page names its training"
    assert [f"{said.code}: {said.message}" for said in found.alarms] == []


@pytest.mark.parametrize("name", ["wine", "digits-cnn-batch-norm", "lstm", "lora", "vae", "diffusion"])
def test_preflight_says_nothing_of_a_healthy_model(name: str) -> None:
    flown = fly(name, HEALTHY[name])
    assert (flown.said, flown.refused) == ({}, ""), str(flown.report)
    assert [item.reason for item in flown.report.results if "failed on this model" in item.reason] == []


@pytest.mark.parametrize(
    "name", ["table-not-scaled", "softmax-before-cross-entropy", "layers-in-a-list", "all-weights-equal"]
)
@pytest.mark.filterwarnings("ignore")
def test_preflight_names_a_fault_before_the_training(name: str) -> None:
    fault = FAULTS[name]
    codes = [check.code for check in chosen() if check.code not in ("GW101", "GW102", "GW106", "GW108")]
    flown = fly(name, fault.setup, fault.root, *codes)
    assert set(flown.said) & set(fault.root), str(flown.report)


def test_the_corpus_is_large_enough() -> None:
    assert len(HEALTHY) >= 40
    assert len(FAULTS) >= 60
    assert len(LONG) == 10
    assert all(setup.steps >= 10_000 for setup in LONG.values())


@pytest.mark.parametrize("aside", SETS.values(), ids=SETS)
def test_what_is_held_out_is_large_enough_and_names_known_rules(aside: ModuleType, rules: Registry) -> None:
    assert len(aside.HEALTHY) >= 25
    assert len(aside.FAULTS) >= 25
    assert aside.HEALTHY.keys() | aside.FAULTS.keys() >= aside.ADOPTED
    assert all(fault.source for fault in aside.FAULTS.values())
    assert {item.code for item in rules}.issuperset(code for fault in aside.FAULTS.values() for code in fault.root)


def test_no_two_trainings_share_a_name() -> None:
    asides = [name for aside in SETS.values() for name in (*aside.HEALTHY, *aside.FAULTS)]
    names = [*HEALTHY, *RECORDED, *FAULTS, *asides]
    assert len(names) == len(set(names))


def test_the_repaired_twins_of_nearly_all_faults_are_run_beside_them() -> None:
    known = HEALTHY | RECORDED
    run = set(names("corpus", ""))
    found = [twin(fault.setup, known) is not None for fault in FAULTS.values()]
    for key, aside in SETS.items():
        for name in aside.ADOPTED & aside.FAULTS.keys():
            repaired = twin(aside.FAULTS[name].setup, aside.HEALTHY)
            found.append((f"held-out-{key}", repaired) in run)
    assert sum(found) >= 0.9 * len(found)


def test_a_twin_is_the_script_without_the_mistake() -> None:
    usual = HEALTHY["mlp-sgd"]
    sick = replace(usual, do_step=False)
    assert twin(sick, {"other": HEALTHY["lstm"], "one": replace(usual, seed=1), "itself": usual}) == "itself"
    assert twin(sick, {"other": HEALTHY["lstm"]}) is None
    assert twin(whole(long_runs.stream, decays=False), {"sums": whole(long_runs.grokking)}) is None
    assert twin(whole(long_runs.stream, decays=False), {"it": whole(long_runs.stream), "mlp": usual}) == "it"


def test_every_fault_names_its_source_and_known_rules(rules: Registry) -> None:
    known = {item.code for item in rules}
    for name, fault in FAULTS.items():
        assert fault.source, name
        assert known.issuperset(fault.root), name
        assert known.issuperset(fault.symptoms), name


@pytest.mark.parametrize(
    ("twin", "code"),
    [("mlp-committed-with-its-config", "GW501"), ("pictures-and-names", "GW210"), ("mlp-chain", "GW312")],
)
def test_a_remark_vanishes_on_the_repaired_twin(twin: str, code: str, rules: Registry) -> None:
    found = judge(twin, diagnose((HEALTHY | RECORDED)[twin].run(), rules), 0, (), (), "")
    assert not found.said
    assert code not in {item.code for item in found.remarks}


def test_a_process_that_fails_fails_the_training() -> None:
    with pytest.raises(RuntimeError, match=r"(?s)ended with 1: .*has no attribute 'nothing'"):
        apart("tests.corpus.hours:nothing")


def test_every_rule_is_shown_by_a_training_or_says_what_shows_it(rules: Registry) -> None:
    counted = corpus()["rules"]
    shown = {code for code, item in counted.items() if item["hits"] or item["symptoms"]}
    assert shown | BESIDE.keys() >= {item.code for item in rules}
    for code, sentence in BESIDE.items():
        tests = [Path(path) for path in re.findall(r"`(tests/[\w/-]+\.(?:py|yaml))`", sentence)]
        assert tests, f"{code} names no test"
        assert all((Path(__file__).parents[2] / path).exists() for path in tests), code


WAITS = {  # exact rules that need more than twenty steps, and why
    "GW110": "labels of the validation are counted over evaluations: 200 of them, or 60 answers, make it sure",
    "GW301": "a part that is not called may take its turn later: dead-or-unused-module says so within ten steps",
    "GW413": "a schedule has to run before it can be seen to be wrong",
}
SOON = 20  # steps


FIRST_TIER = [f"GW{number}" for number in (
    101, 103, 104, 106, 107, 201, 202, 204, 205, 206, 208, 210, 211, 301, 302, 303, 304, 305, 306, 307,
    308, 311, 312, 403, 411, 412, 413, 421, 422, 431, 432, 434, 435, 451, 453, 461, 462, 501, 502, 503,
    504, 505, 601, 602, 603, 604, 605, 611, 701, 704, 706, 801, 903, 904, 955,
)]  # fmt: skip
BY_PREFLIGHT_ALONE = {"GW101", "GW106"}


def test_every_rule_of_the_first_tier_was_right_at_least_once_and_never_wrong(rules: Registry) -> None:
    told = corpus()["rules"]
    assert set(FIRST_TIER) <= {item.code for item in rules}
    assert {check.code for check in chosen()} & BESIDE.keys() >= BY_PREFLIGHT_ALONE
    assert {code for code in FIRST_TIER if not told[code]["hits"]} == BY_PREFLIGHT_ALONE
    assert [code for code in FIRST_TIER if told[code]["false"]] == []


def test_exact_rules_speak_within_twenty_steps_of_where_the_fault_can_be_seen(rules: Registry) -> None:
    """At the median of the corpus; a rule that needs more is named with the reason."""
    counted = corpus()["rules"]
    taken = {item.code: counted[item.code]["steps_to_finding"] for item in rules if item.rule.exact}
    slow = {code for code, steps in taken.items() if steps is not None and steps > SOON}
    assert slow == set(WAITS)


@pytest.mark.parametrize(
    ("name", "code"),
    [("stored-statistics-stand-still", "GW431"), ("validation-in-train-mode", "GW432"),
     ("never-back-to-train", "GW432"), ("validation-not-scaled", "GW113"), ("validation-of-other-classes", "GW110")],
)  # fmt: skip
def test_what_can_be_seen_at_once_is_said_at_once(name: str, code: str, rules: Registry) -> None:
    fault = FAULTS[name]
    recording = fault.setup.run()
    found = judge(name, diagnose(recording, rules), 0, fault.root, (), "", begins=fault.begins)
    assert found.top == code
    assert found.said[0].step - found.begins <= SOON


def test_the_score_counts_from_where_a_fault_begins() -> None:
    total = score([of(("GW432",), Said("GW432", "error", 610, "words"), begins=600)])
    assert total.detection["GW432"] == [10]


def said(code: str, severity: str = "warning") -> Said:
    return Said(code, severity, 7, "words")


def of(root: tuple[str, ...], *found: Said, **more: Any) -> Judged:
    return Judged("a", root, more.pop("symptoms", ()), found, **more)


def test_the_score_counts_what_a_person_is_told() -> None:
    total = score(
        [
            of(()),
            of((), said("GW205")),
            of(("GW301",), said("GW301"), said("GW206")),
            of(("GW301", "GW302"), said("GW302")),
            of(("GW411",)),
        ]
    )
    assert (total.healthy, total.silent, total.faults, total.named) == (2, 1, 3, 2)
    assert (total.right, total.wrong) == (2, 2)
    assert total.precision == 0.5
    assert total.recall == pytest.approx(2 / 3)
    assert total.rules["GW206"]["false"] == 1
    assert total.confusion["GW411"] == {"silent": 1}
    assert [item.root for item in total.misses] == [("GW411",)]


def test_the_score_counts_symptoms_by_their_labels() -> None:
    below = (said("GW206"), said("GW308"), said("GW209", "info"), said("GW602"))
    total = score([of(("GW411", "GW602"), said("GW411"), symptoms=("GW206",), below=below)])
    assert {code: dict(counts) for code, counts in total.rules.items() if counts.total()} == {
        "GW411": {"faults": 1, "hits": 1},
        "GW206": {"symptoms": 1},
        "GW602": {"symptoms": 1},  # it would have been right as the cause too
        "GW308": {"unlabelled": 1},
    }


def test_a_mistake_worth_a_remark_is_named_by_a_remark_and_counted_apart() -> None:
    remark = said("GW501", "info")
    total = score([
        of(("GW501",), remarks=(remark,), mild=True),
        of(("GW502",), said("GW411"), mild=True),
        of(("GW301",), remarks=(said("GW301", "info"),)),
        of((), remarks=(remark,)),
    ])  # fmt: skip
    assert (total.mild, total.mild_named, total.faults, total.named, total.right, total.wrong) == (2, 1, 1, 0, 0, 1)
    assert (total.silent, total.rules["GW501"]["healthy_remarks"], total.rules["GW501"]["hits"]) == (1, 1, 1)
    assert [item.root for item in total.misses] == [("GW502",), ("GW301",)]
