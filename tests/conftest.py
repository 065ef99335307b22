"""What every test gets: a home folder of its own, loud errors of the hook, no tests that need what is not there: a GPU,
or control groups that may be made."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from itertools import count

import pytest

from tests import postgres
from tests.memory_groups import may_limit_memory
from tests.serving import Server

# small networks are fastest on one core, and the workers of the suite share a few; read when torch is imported
os.environ.setdefault("OMP_NUM_THREADS", "1")


def _has_cuda() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # only when asked: most workers never need it

    return torch.cuda.is_available()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects the CUDA tests on a machine without a GPU, and those of real kills for want of memory where no limit
    can be set; the summary says how many."""
    for marker, possible in (("cuda", _has_cuda), ("oom", may_limit_memory)):
        needing = [item for item in items if item.get_closest_marker(marker)]
        if needing and not possible():
            config.hook.pytest_deselected(items=needing)
            items[:] = [item for item in items if item not in needing]


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """Gives a PostgreSQL cluster that this worker's tests share; each makes databases of its own in it."""
    with postgres.cluster() as running:
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server process for the trainings of this worker, where a test needs none of its own."""
    started = Server(tmp_path_factory.mktemp("server"))
    yield started
    assert started.stop() == 0


_homes = count()


@pytest.fixture(scope="session", autouse=True)
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives what is made for several tests a home folder too: never that of who runs the suite."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("GRADWATCH_HOME", str(tmp_path_factory.getbasetemp() / "homes" / "shared"))
        patched.setenv("GRADWATCH_QUIET", "1")
        yield


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Gives the test its own GRADWATCH_HOME and makes the hook raise its own errors; nothing else is inherited."""
    for name in ("URL", "TOKEN", "PROJECT", "RUN_ID", "ATTEMPT", "DISABLED", "SERVER_TOKEN"):
        monkeypatch.delenv(f"GRADWATCH_{name}", raising=False)
    # only named here: a folder for each of some thousand tests would take longer than most of them
    home = tmp_path_factory.getbasetemp() / "homes" / str(next(_homes))
    monkeypatch.setenv("GRADWATCH_HOME", str(home))
    monkeypatch.setenv("GRADWATCH_STRICT", "1")
    monkeypatch.setenv("GRADWATCH_QUIET", "1")
    monkeypatch.setenv("GRADWATCH_SYSTEM", "0")  # what a slow machine adds to the counts of a test is not its subject
