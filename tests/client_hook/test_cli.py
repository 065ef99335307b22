"""`gradwatch sync`, `status`, `run` and what the command line says where something is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client_hook import cli, wire
from client_hook.spool import Parcel, Spool
from tests import warm
from tests.serving import ROOT, Server


def gradwatch(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "client_hook.cli", *arguments],
        cwd=ROOT, env={**os.environ, "GRADWATCH_HOME": str(home), **environment}, capture_output=True, text=True,
        timeout=100, check=False,
    )  # fmt: skip


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for command in ("serve", "demo", "sync", "status", "preflight", "run", "check", "rules", "user", "token"):
        assert f"  {command} " in said


def test_a_reader_that_goes_away_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m client_hook.cli rules | true; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", cwd=ROOT, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_an_unknown_command_is_named_with_those_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sevre"]) == 2
    assert capsys.readouterr().err == (
        "gradwatch: there is no command 'sevre'; the commands are serve, demo, check, alert, rules, user, token, "
        "migrate, backup, restore, export, import, worker, sync, status, preflight, run. See: gradwatch --help\n"
    )


def test_a_missing_package_is_named_with_the_line_that_installs_it() -> None:
    code = (
        "import sys; sys.modules['server'] = None\n"
        "from client_hook.cli import main; sys.exit(main(['serve']))"
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("gradwatch: serve needs the package 'server")
    assert done.stderr.endswith('which is not installed. Mend it:  pip install "gradwatch[server]"\n')


def test_nothing_to_sync_is_said_calmly(tmp_path: Path) -> None:
    done = gradwatch("sync", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"Nothing waits in {tmp_path / 'spool'}.\n")


def test_sync_names_the_server_that_is_away_and_keeps_everything(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "spool", {"id": "run-1", "attempt": "a", "rank": 0, "url": "http://127.0.0.1:9"})
    spool.append(Parcel(b"frame", 0, 1), complete=0)
    spool.close()
    done = gradwatch("sync", home=tmp_path)
    assert done.returncode == 1
    assert "run-1: 0 frames delivered, the rest waits (http://127.0.0.1:9: ConnectionRefusedError" in done.stdout
    listed = gradwatch("status", home=tmp_path)
    assert listed.returncode == 1
    assert "does not answer" in listed.stdout
    assert "bytes wait for http://127.0.0.1:9" in listed.stdout


def test_status_and_check_tell_a_missing_token_from_a_wrong_one(tmp_path: Path) -> None:
    locked = Server(tmp_path / "server", "--token", "correct-horse-battery")
    try:

        def said(command: str, *more: str, **environment: str) -> str:
            done = gradwatch(command, *more, "--url", locked.url, home=tmp_path, **environment)
            return done.stdout + done.stderr

        assert "answers, but asks for a token: set GRADWATCH_TOKEN" in said("status")
        assert "answers, but does not know the token" in said("status", "--token", "wrong")
        assert f"{locked.url}  answers\n" in said("status", "--token", "correct-horse-battery")
        assert "asks for a token. Mend it" in said("check", "x")
        assert "does not know the token. Mend it" in said("check", "x", "--token", "wrong")
    finally:
        locked.stop()


def test_sync_delivers_to_the_server_that_is_named_now(server: Server, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAINING + "print(monitor.run_id)\n")
    away = {"GRADWATCH_URL": "http://127.0.0.1:9", "GRADWATCH_HOME": str(tmp_path / "hook"), "PYTHONPATH": str(ROOT)}
    trained = warm.run([sys.executable, str(script)], env={**os.environ, **away}, text=True, check=True)
    run_id = trained.stdout.strip()
    shutil.copytree(tmp_path / "hook", tmp_path / "copy")
    done = gradwatch("sync", "--url", server.url, home=tmp_path / "hook")
    assert (done.returncode, done.stdout.rstrip().endswith(f"{server.url}/runs/{run_id}")) == (0, True), done.stdout
    assert server.get(f"runs/{run_id}")["last_step"] == 29
    done = gradwatch("sync", home=tmp_path / "copy", GRADWATCH_URL=server.url)
    assert (done.returncode, done.stdout.rstrip().endswith(f"{server.url}/runs/{run_id}")) == (0, True), done.stdout


def test_a_run_that_the_server_refuses_does_not_keep_the_others_waiting(server: Server, tmp_path: Path) -> None:
    for age, run_id in enumerate(("no id!", "taken")):
        spool = Spool.create(tmp_path / "spool", {"id": run_id, "attempt": "a", "rank": 0, "url": server.url})
        spool.append(Parcel(wire.encode(wire.Frame(run_id, "a", 0, 0, 1, -1)), 0, 1), complete=0)
        spool.close()
        os.utime(spool.path, (age, age))
    done = gradwatch("sync", home=tmp_path)
    assert done.returncode == 1
    assert f"taken: 1 frame delivered  {server.url}/runs/taken" in done.stdout, done.stdout
    assert "no id!: 0 frames delivered, the rest waits" in done.stdout


def test_a_bad_address_is_refused_with_a_sentence(tmp_path: Path) -> None:
    done = gradwatch("sync", "--url", "http://:99999", home=tmp_path)
    assert done.returncode == 2
    assert "url: got 'http://:99999', expected something like http://127.0.0.1:8777" in done.stderr


TRAINING = """
import os, signal, torch
from client_hook import watch
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
monitor = watch(model, optimizer, name="of run")
for step in range(30):
    optimizer.zero_grad(); loss = model(torch.randn(4, 2)).square().mean(); loss.backward(); optimizer.step()
    monitor.step(loss)
"""


@pytest.mark.parametrize(
    ("code", "ending"), [(0, "pass"), (3, "raise SystemExit(3)"), (128 + signal.SIGKILL, "os.kill(os.getpid(), 9)")]
)
def test_run_passes_the_exit_code_on(tmp_path: Path, code: int, ending: str) -> None:
    """What a training that ends so looks like on the server: test_child."""
    done = gradwatch("run", "--", sys.executable, "-c", f"import os; {ending}", home=tmp_path)
    assert done.returncode == code, done.stderr


def test_run_without_a_command_and_with_one_that_is_not_there(tmp_path: Path) -> None:
    done = gradwatch("run", "--", home=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        "gradwatch: run needs a command, such as: gradwatch run -- python train.py\n",
    )
    missing = gradwatch("run", "--", "no-such-program", home=tmp_path)
    assert (missing.returncode, missing.stderr) == (127, "gradwatch: there is no command 'no-such-program'\n")
