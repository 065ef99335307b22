"""Statements that PostgreSQL gets once for many rows do what they would do row by row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from sqlalchemy import event, insert, select
from sqlalchemy.exc import IntegrityError

from server.store import schema, statements
from server.store.engine import Database, open_database
from server.store.engine.arrays import LARGE, Arrays
from tests.postgres import Cluster
from tests.server.empty import name_with_tables

AWKWARD = ["", "NULL", "{a,b}", 'quo"ted', "back\\slash", "line\nbreak", "%s %% ü 🙂", "'; --"]


@pytest.fixture
def database(postgres_cluster: Cluster) -> Iterator[Database]:
    opened = open_database(postgres_cluster.new_database(like=name_with_tables(postgres_cluster)))
    yield opened
    opened.close()


def run(database: Database, statement: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    with database.writing.begin() as connection:
        Arrays().run(connection, statement, rows)


def rows_of(database: Database, table: Any) -> list[tuple[Any, ...]]:
    with database.reading.begin() as connection:
        return [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]


def test_texts_and_blobs_arrive_as_they_were(database: Database) -> None:
    blobs = [b"", b"\x00\xff\\", bytes(range(256)), b"\x00" * 70_000] * 2
    run(database, insert(schema.series), [{"run_id": "r", "number": at, "name": it} for at, it in enumerate(AWKWARD)])
    run(database, insert(schema.pieces), [{"run_id": "r", "number": at, "data": it} for at, it in enumerate(blobs)])
    assert [row[2] for row in rows_of(database, schema.series)] == AWKWARD
    assert [row[2] for row in rows_of(database, schema.pieces)] == blobs


@pytest.mark.parametrize("size", [LARGE, LARGE + 1])
def test_small_blobs_go_together_and_large_ones_each_by_itself(database: Database, size: int) -> None:
    heard: list[tuple[str, bool]] = []

    def hear(_c: object, _u: object, statement: str, _p: object, _x: object, many: bool) -> None:
        heard.append((statement, many))

    event.listen(database.writing, "before_cursor_execute", hear)
    blobs = [b"\x01" * size, b"\x02"]
    run(database, insert(schema.pieces), [{"run_id": "r", "number": at, "data": it} for at, it in enumerate(blobs)])
    assert [(many, "unnest" in statement) for statement, many in heard] == [(size > LARGE, size <= LARGE)]
    assert [row[2] for row in rows_of(database, schema.pieces)] == blobs


def test_a_row_that_is_there_is_overwritten_by_the_last_of_its_key(database: Database) -> None:
    def row(rank: int, highest: int) -> dict[str, Any]:
        return {"run_id": "r", "attempt": 1, "rank": rank, "contiguous": 0, "highest": highest}

    run(database, statements.PUT_STREAM, [row(0, 1), row(1, 1)])
    run(database, statements.PUT_STREAM, [row(1, 2), row(2, 5), row(1, 3)])
    assert rows_of(database, schema.streams) == [("r", 1, 0, 0, 1), ("r", 1, 1, 0, 3), ("r", 1, 2, 0, 5)]


def test_a_row_that_may_not_be_there_twice_is_refused(database: Database) -> None:
    row = {"run_id": "r", "attempt": 1, "rank": 0, "seq": 0, "crc": 1, "complete": 1, "received_ms": 1}
    with pytest.raises(IntegrityError):
        run(database, statements.INSERT_FRAME, [row, {**row, "crc": 2}])
    assert rows_of(database, schema.frames) == []


def test_an_update_finds_each_row_and_writes_none_where_nothing_is(database: Database) -> None:
    with database.writing.begin() as connection:
        connection.execute(insert(schema.projects), {"name": "p", "created_ms": 1})
        (project,) = connection.execute(select(schema.projects.c.id)).one()
        for name in ("a", "b", "c"):
            new = {"id": name, "project_id": project, "name": name, "state": "running", "diagnosis": "pending"}
            connection.execute(insert(schema.runs), {**new, "created_ms": 1, "started_ms": 1, "heard_ms": 1})
    told = [("a", 1.5, None), ("b", None, 7), ("a", math.inf, 8), ("z", 1.0, 1)]
    rows = [{"b_id": name, "last_loss": loss, "total_steps": total} for name, loss, total in told]
    run(database, statements.UPDATE_RUN, rows)
    with database.reading.begin() as connection:
        chosen = select(schema.runs.c.id, schema.runs.c.last_loss, schema.runs.c.total_steps).order_by("id")
        found = [tuple(row) for row in connection.execute(chosen)]
    assert found == [("a", math.inf, 8), ("b", None, 7), ("c", None, None)]


def test_a_key_of_several_columns_is_compared_whole(database: Database) -> None:
    with database.writing.begin() as connection:
        for number in (1, 2):
            row = {"run_id": "r", "number": number, "key": f"k{number}", "started_ms": 1, "first_step": 0}
            connection.execute(insert(schema.attempts), {**row, "state": "running"})
    where = [{"b_run": "r", "b_number": 2, "last_step": 9}, {"b_run": "other", "b_number": 1, "last_step": 4}]
    run(database, statements.UPDATE_ATTEMPT, where)
    with database.reading.begin() as connection:
        chosen = select(schema.attempts.c.number, schema.attempts.c.last_step).order_by("number")
        assert [tuple(row) for row in connection.execute(chosen)] == [(1, -1), (2, 9)]
