"""`gradwatch run -- CMD`: the command ends as it would by itself, and its last words are on the run page."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from client_hook import child
from client_hook.console import Console
from tests.serving import ROOT, Server, wait_until

TRAINING = """
import os, signal, sys, threading, torch
from client_hook import watch
def train(name):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = watch(model, optimizer, name=name)
    for step in range(30):
        optimizer.zero_grad(); loss = model(torch.randn(4, 2)).square().mean(); loss.backward(); optimizer.step()
        monitor.step(loss)
    return monitor, model, optimizer
def written(monitor):
    while monitor.ledger["queued"]:  # what a kill may cost is the last half second, and that is not what is tested here
        threading.Event().wait(0.01)
kept = train("first")
written(kept[0])
print("to stdout")
print("\\x1b[31mto stderr\\x1b[0m", file=sys.stderr)
sys.stdout.write("10%\\r20%\\r100%\\n")
"""


def run(server: Server, home: Path, ending: str, *, before: Sequence[str] = ()) -> subprocess.CompletedProcess[bytes]:
    home.mkdir(exist_ok=True)
    script = home / "train.py"
    script.write_text(TRAINING + ending)
    ours = [sys.executable, "-m", "client_hook.cli", "run", "--project", home.name]
    command = [*before, *ours, "--", sys.executable, str(script)]
    environment = {
        **os.environ, "GRADWATCH_HOME": str(home / "hook"), "GRADWATCH_URL": server.url, "PYTHONPATH": str(ROOT),
        "GRADWATCH_STRICT": "0",
    }  # fmt: skip
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=100, check=False)


def runs(server: Server, project: str, state: str, count: int = 1) -> list[dict[str, Any]]:
    def ended() -> list[dict[str, Any]]:
        found = server.get(f"runs?project={project}")["items"]
        return found if [item["state"] for item in found] == [state] * count else []

    found = wait_until(ended, f"{count} run in state {state}")
    return [server.get(f"runs/{item['id']}") for item in found]


LAST = ["to stdout", "to stderr", "100%"]


def test_a_kill_is_survived_and_told(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path / "kill", "os.kill(os.getpid(), signal.SIGKILL)")
    assert done.returncode == 128 + signal.SIGKILL
    assert b"to stdout\n10%\r20%\r100%\n" in done.stdout, "passed on byte for byte"
    assert b"\x1b[31mto stderr\x1b[0m\n" in done.stderr
    (found,) = runs(server, "kill", "crashed")
    assert found["last_step"] == 29
    assert found["facts"]["ending"] == {"state": "crashed", "signal": "SIGKILL"}
    assert found["facts"]["console"]["signal"] == "SIGKILL"
    assert sorted(line for line in found["facts"]["console"]["lines"] if line in LAST) == sorted(LAST)
    assert not list((tmp_path / "kill" / "hook").rglob("*.spool")), "nothing is left to deliver"


def test_an_exception_comes_with_the_console(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path / "error", "raise ValueError('the data ran out')")
    assert done.returncode == 1
    (found,) = runs(server, "error", "failed")
    wait_until(lambda: "console" in server.get(f"runs/{found['id']}")["facts"], "the console")
    facts = server.get(f"runs/{found['id']}")["facts"]
    assert facts["ending"]["exception"] == "ValueError: the data ran out"
    assert facts["console"]["exit_code"] == 1
    assert "ValueError: the data ran out" in facts["console"]["lines"]
    assert not list((tmp_path / "error" / "hook").rglob("*.spool"))


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (3, "crashed")])
def test_an_exit_without_a_word_is_ended_by_its_code(server: Server, tmp_path: Path, code: int, state: str) -> None:
    done = run(server, tmp_path / f"exit{code}", f"os._exit({code})")
    assert done.returncode == code
    (found,) = runs(server, f"exit{code}", state)
    assert found["last_step"] == 29
    assert ("console" in found["facts"]) == bool(code)


def test_every_monitor_of_a_killed_process_is_ended(server: Server, tmp_path: Path) -> None:
    run(server, tmp_path / "several", "more = train('second')\nwritten(more[0])\nos.kill(os.getpid(), signal.SIGKILL)")
    found = runs(server, "several", "crashed", count=2)
    assert {item["name"] for item in found} == {"first", "second"}
    assert len({item["id"] for item in found}) == 2


def test_a_command_that_goes_well_leaves_nothing(server: Server, tmp_path: Path) -> None:
    done = run(server, tmp_path / "well", "")
    assert done.returncode == 0
    (found,) = runs(server, "well", "finished")
    assert "console" not in found["facts"]
    assert "ending" not in found["facts"]
    assert not list((tmp_path / "well" / "hook").rglob("*.spool"))


def test_in_a_terminal_the_command_has_one_too(tmp_path: Path) -> None:
    reading, ours = pty.openpty()
    code = "import sys; print(sys.stdout.isatty(), sys.stderr.isatty())"
    command = [sys.executable, "-m", "client_hook.cli", "run", "--", sys.executable, "-c", code]
    environment = {**os.environ, "GRADWATCH_HOME": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=ours, stderr=ours) as process:
        os.close(ours)
        seen = b""
        while b"\n" not in seen:
            seen += os.read(reading, 1000)
        assert process.wait(60) == 0
    os.close(reading)
    assert seen.strip() == b"True True"


def test_only_the_last_lines_are_kept_and_long_ones_are_cut() -> None:
    console = Console()
    with Path(os.devnull).open("wb") as nowhere:
        given = os.dup(console.stream(nowhere.fileno()))
        console.start()
        os.write(given, b"".join(b"line %d\n" % number for number in range(300)) + b"x" * 2000 + b"\n\xff\x00end")
        os.close(given)
        lines = console.finish()
    assert len(lines) == 200
    assert lines[0] == "line 102"
    assert (len(lines[-2]), lines[-2][-1]) == (500, "…")
    assert lines[-1] == "\ufffdend"


V2 = "low 0\nhigh 0\nmax 3\noom 3\noom_kill 2\noom_group_kill 0\n"
V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n"
GROUPS = {
    "version 2, in a container": ("0::/\n", {"memory.events": V2}, 2),
    "version 2, a service": ("0::/user.slice/job.scope\n", {"user.slice/job.scope/memory.events": V2}, 2),
    "version 1": ("5:cpu:/a\n4:memory:/job\n0::/\n", {"memory/job/memory.oom_control": V1}, 5),
    "version 1, in a container": ("4:cpu,memory:/docker/0a1b\n", {"memory/memory.oom_control": V1}, 5),
    "nonsense": ("0::/\nx\n", {"memory.events": "oom_kill\noom_kill x\n\xff"}, 0),
    "no group": ("", {"memory.events": V2}, 0),
    "no file": ("0::/gone\n4:memory:/gone\n", {}, 0),
}


@pytest.mark.parametrize(("groups", "files", "kills"), GROUPS.values(), ids=GROUPS)
def test_kills_for_want_of_memory_are_read_from_the_control_group(
    tmp_path: Path, groups: str, files: dict[str, str], kills: int
) -> None:
    (tmp_path / "cgroup").write_text(groups)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    assert child.oom_kills(tmp_path / "fs", tmp_path / "cgroup") == kills
    assert child.oom_kills(tmp_path / "fs", tmp_path / "none") == 0


def test_a_kill_that_the_control_group_counts_is_told_as_one_for_want_of_memory(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands for the kernel's own kill: to it the process is one that SIGKILL ended, and the group's count went up.

    A real one needs a control group of the test's own (test_memory_kill.py), which not every machine lets it make.
    """
    counts = [3, 4]
    monkeypatch.setattr(child, "oom_kills", lambda: counts.pop(0))
    monkeypatch.setenv("GRADWATCH_URL", server.url)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = tmp_path / "train.py"
    script.write_text(TRAINING + "os.kill(os.getpid(), signal.SIGKILL)")
    assert child.run(["--project", "oom", "--", sys.executable, str(script)]) == 128 + signal.SIGKILL
    (found,) = runs(server, "oom", "crashed")
    assert found["facts"]["ending"] == {"state": "crashed", "signal": "SIGKILL", "oom_kills": 1}
    assert found["facts"]["console"]["oom_kills"] == 1


EATS = """
import resource
def limit():
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 48_000_000, resource.RLIM_INFINITY))
held = []
limit()
while True:
    held.append({what})
"""


@pytest.mark.parametrize(
    ("what", "words"),
    [("bytearray(1_000_000)", "MemoryError"), ("torch.ones(250_000)", "can't allocate memory")],
    ids=["python", "torch"],
)
def test_a_process_that_gets_no_more_memory_still_says_so(
    server: Server, tmp_path: Path, what: str, words: str
) -> None:
    """Stands for a limit that refuses (`ulimit -v`, a batch system's) instead of killing: what was taken stays taken,
    so the hook says its last words without a megabyte to spare."""
    name = words.split()[-1]
    done = run(server, tmp_path / name, EATS.replace("{what}", what))
    assert done.returncode == 1, done.stderr
    (found,) = runs(server, name, "failed")
    assert found["last_step"] == 29
    assert words in found["facts"]["ending"]["exception"]
