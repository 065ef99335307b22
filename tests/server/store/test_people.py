"""People of a provider in the store: one each, whatever comes at once, on either database."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from server.domain.accounts import Arrival, Role
from server.errors import WrongAccount
from server.store import Store

ISSUER = "https://login.lab.example"
ADA = Arrival(ISSUER, "1001", "ada@lab.example", Role.VIEWER)


def test_who_arrives_again_is_the_same_person_under_the_first_name(store: Store) -> None:
    first = store.people.arrive(ADA, who="the test")
    again = store.people.arrive(Arrival(ISSUER, "1001", "lovelace@lab.example", Role.ADMIN), who="the test")
    assert (again.id, again.name, again.role) == (first.id, "ada@lab.example", Role.VIEWER)
    assert (again.issuer, again.subject) == (ISSUER, "1001")
    other = store.people.arrive(Arrival("https://other.example", "1001", "ada", Role.VIEWER), who="the test")
    assert other.id != first.id


def test_a_settled_role_is_given_at_once_and_ends_the_sessions(store: Store) -> None:
    ada = store.people.arrive(ADA, who="the test")
    assert store.sign_ins.open("hash", 10**9, 10**9, ada)
    settled = Arrival(ISSUER, "1001", ADA.name, Role.EDITOR, settled=True)
    assert store.people.arrive(settled, who="the test").role is Role.EDITOR
    assert store.sign_ins.find("hash", 10**9, 10**9) is None
    assert store.sign_ins.open("hash", 10**9, 10**9, ada)
    store.people.arrive(settled, who="the test")
    assert store.sign_ins.find("hash", 10**9, 10**9) is not None, "nothing was changed"


@pytest.mark.parametrize("subject", ["1001", "1002"])
def test_two_servers_that_somebody_comes_to_at_once_make_one_person(store: Store, url: str, subject: str) -> None:
    """Or, where two have the same name, sign one of them in."""
    shared = url.startswith("postgresql")
    stores = [store, Store.open(url)] if shared else [store, store]
    for number in range(10):
        ready = threading.Barrier(2)
        arrivals = [Arrival(ISSUER, f"{number}/{one}", f"ada{number}", Role.VIEWER) for one in ("1001", subject)]

        def come(index: int, ready: threading.Barrier = ready, arrivals: list[Arrival] = arrivals) -> int:
            ready.wait(10)
            try:
                return stores[index].people.arrive(arrivals[index], who="the test").id
            except WrongAccount:
                return 0

        with ThreadPoolExecutor(2) as pool:
            ids = list(pool.map(come, (0, 1)))
        assert len({one for one in ids if one}) == 1
        assert (0 in ids) == (subject != "1001")
    assert len(store.people.list()) == 10
    if shared:
        stores[1].close()


def test_who_arrives_without_a_role_sees_no_project_and_keeps_those_that_an_admin_gives(store: Store) -> None:
    nobody = Arrival(ISSUER, "1001", ADA.name, None, settled=True)
    assert store.people.arrive(nobody, who="the test").projects == {}
    store.people.set_project(ADA.name, "vision", Role.EDITOR, who="the test")
    in_a_group = Arrival(ISSUER, "1001", ADA.name, Role.ADMIN, settled=True)
    for arrival in (nobody, in_a_group):
        person = store.people.arrive(arrival, who="the test")
        assert (person.role, person.projects) == (Role.EDITOR, {"vision": Role.EDITOR}), "groups widen no limit"
    store.people.set_role(ADA.name, Role.VIEWER, who="the test")
    assert store.people.arrive(in_a_group, who="the test").role is Role.ADMIN
    person = store.people.arrive(nobody, who="the test")
    assert (person.role, person.projects) == (Role.VIEWER, {}), "without a group nothing is left"
