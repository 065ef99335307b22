"""S8: a database of every schema that landed, made by the code of its time, comes to the newest with all its data."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, Table, create_engine, insert, select

from server.store import Store, migrations, schema
from tests.postgres import Cluster
from tests.server.reliability.schemas import FRAMES, GOLDEN, NAMES, RUNS, STEPS, value
from tests.server.store.kit import to_revision

SCRIPTS = ScriptDirectory.from_config(migrations._config())
SCHEMAS = sorted(script.revision for script in SCRIPTS.walk_revisions())
MakeOld = Callable[[str], str]
Rows = dict[str, Counter[tuple[tuple[str, Any], ...]]]


def test_s08_there_is_a_copy_of_every_schema() -> None:
    kept = sorted(path.name.removesuffix(".db.gz") for path in GOLDEN.glob("*.db.gz"))
    assert kept == SCHEMAS, "run: python -m tests.server.reliability.schemas, with the code that goes with the schema"


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> MakeOld:
    """Gives a function that makes a database of an old schema and names its URL."""

    def make(revision: str) -> str:
        path = tmp_path / f"{revision}.db"
        path.write_bytes(gzip.decompress((GOLDEN / f"{revision}.db.gz").read_bytes()))
        if request.param == "sqlite":
            return f"sqlite:///{path}"
        url: str = request.getfixturevalue("postgres_cluster").new_database()
        to_revision(url, revision)
        _copy(f"sqlite:///{path}", url)
        return url

    return make


@pytest.mark.parametrize("revision", SCHEMAS)
def test_s08_the_data_are_the_same_afterwards(revision: str, old: MakeOld) -> None:
    url = old(revision)
    before = _rows(url)
    assert {"runs", "frames", "findings", "checks", "facts", "events"} <= {
        name for name, rows in before.items() if rows
    }
    store = Store.open(url)
    try:
        assert store.schema == SCHEMAS[-1]
        after = _rows(url)
        for table, rows in before.items():
            if table != "alembic_version":
                kept = {name for row in rows for name, _ in row}
                found = Counter(
                    {tuple(pair for pair in row if pair[0] in kept): count for row, count in after[table].items()}
                )
                assert found == rows, table
        check(store)
        store.sealer.run_once(everything=True)
        check(store)
    finally:
        store.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == [], "the migrations make what the schema says"
    engine.dispose()


def check(store: Store) -> None:
    """Fails unless the store gives every value that was sent, in the runs as they were."""
    for run_id, state in RUNS.items():
        run = store.runs.get(run_id)
        assert run is not None
        assert (run.state.value, run.project, run.tags) == (state, "golden", ("é", "b"))
        for attempt in (1, 2):
            for rank in (0, 1):
                for column, data in enumerate(store.series.read(run_id, NAMES, attempt=attempt, rank=rank)):
                    assert data.steps.tolist() == list(range(FRAMES * STEPS))
                    right = [value(attempt, rank, step, column) for step in range(FRAMES * STEPS)]
                    assert np.array_equal(data.values, right, equal_nan=True)
                assert len(store.frames.since(run_id, attempt, rank, -1)) == FRAMES
        (finding,) = store.findings.list(run_id)
        assert (finding.code, finding.message) == ("GW201", "NaN")


def test_s08_of_servers_that_start_at_once_one_migrates(postgres_cluster: Cluster) -> None:
    url = postgres_cluster.new_database()  # SQLite's file lets only one in: tests/server/store/test_safety.py
    to_revision(url, SCHEMAS[0])
    code = (
        "import sys; from alembic import command; from server.store import Store, migrations; real = command.upgrade\n"
        "migrations.command.upgrade = lambda *given: (print('migrates', flush=True), real(*given))\n"
        "Store.open(sys.argv[1]).close()"
    )
    starting = [subprocess.Popen([sys.executable, "-c", code, url], stdout=subprocess.PIPE) for _ in range(3)]
    said = [process.communicate(timeout=100)[0] for process in starting]
    assert [process.returncode for process in starting] == [0, 0, 0]
    assert sorted(said) == [b"", b"", b"migrates\n"]


def test_s08_there_is_no_way_back() -> None:
    for script in SCRIPTS.walk_revisions():
        assert not hasattr(script.module, "downgrade"), "a newer database is refused, never taken apart"


def _reflected(engine: Engine) -> dict[str, Table]:
    metadata = MetaData()
    metadata.reflect(engine)
    return dict(metadata.tables)


def _copy(source: str, target: str) -> None:
    """Copies the rows of all tables between two databases of one schema."""
    one, other = create_engine(source), create_engine(target)
    theirs = _reflected(one)
    with one.connect() as reading, other.begin() as writing:
        for name, table in _reflected(other).items():
            rows = [dict(row._mapping) for row in reading.execute(select(theirs[name]))]
            if rows and name != "alembic_version":
                writing.execute(insert(table), rows)
    one.dispose()
    other.dispose()


def _rows(url: str) -> Rows:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            name: Counter(tuple(sorted(row._mapping.items())) for row in connection.execute(select(table)))
            for name, table in _reflected(engine).items()
        }
    engine.dispose()
    return found
