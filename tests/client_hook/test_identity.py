"""Ids of runs and attempts, and where they come from."""

from __future__ import annotations

import uuid

import pytest

from client_hook.identity import Identity, derived, uuid7

TORCHRUN = {"RANK": "2", "WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "none", "GROUP_WORLD_SIZE": "1"}


def test_ids_are_uuids_of_version_7_that_sort_by_time() -> None:
    made = [uuid7() for _ in range(1_000)]
    assert made == sorted(made)
    assert len(set(made)) == 1_000
    assert {uuid.UUID(one).version for one in made} == {7}


def test_a_run_without_names_gets_new_ones() -> None:
    first, second = Identity.make(environ={}, ordinal=0), Identity.make(environ={}, ordinal=0)
    assert first.run_id != second.run_id
    assert first.rank == 0


def test_the_environment_names_the_first_monitor_and_the_others_derive_theirs() -> None:
    named = {"GRADWATCH_RUN_ID": str(uuid.UUID(int=7)), "GRADWATCH_ATTEMPT": str(uuid.UUID(int=8))}
    first, second = Identity.make(environ=named, ordinal=0), Identity.make(environ=named, ordinal=1)
    assert (first.run_id, first.attempt) == (str(uuid.UUID(int=7)), str(uuid.UUID(int=8)))
    assert second.run_id not in named.values()
    assert second == Identity.make(environ=named, ordinal=1), "the same on every rank"


def test_the_ranks_of_one_launch_share_run_and_attempt() -> None:
    ranks = [Identity.make(environ={**TORCHRUN, "RANK": str(rank)}, ordinal=0) for rank in range(4)]
    assert len({one.run_id for one in ranks}) == len({one.attempt for one in ranks}) == 1
    assert [one.rank for one in ranks] == [0, 1, 2, 3]


def test_a_restart_of_the_launcher_is_another_attempt() -> None:
    first = Identity.make(environ={**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "0"}, ordinal=0)
    again = Identity.make(environ={**TORCHRUN, "TORCHELASTIC_RESTART_COUNT": "1"}, ordinal=0)
    assert first.attempt != again.attempt


@pytest.mark.parametrize("name", ["baseline-3", "run_7", "A" * 100])
def test_a_name_that_can_be_an_id_is_kept(name: str) -> None:
    assert Identity.make(name, environ={}, ordinal=0).run_id == name
    assert Identity.make(environ={"GRADWATCH_RUN_ID": name}, ordinal=0).run_id == name


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden", "x" * 101, "a b", "ä"])
def test_a_name_that_cannot_be_one_becomes_a_uuid(name: str) -> None:
    assert Identity.make(name, environ={}, ordinal=0).run_id == derived("named", name)


def test_a_name_instead_of_an_id_is_always_the_same_run() -> None:
    one, other = (Identity.make("my experiment", environ={}, ordinal=0) for _ in range(2))
    assert one.run_id == other.run_id == derived("named", "my experiment")
    assert one.attempt != other.attempt
