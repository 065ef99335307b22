"""The server's commands as a user types them: what they print, where, and the exit codes."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from server import checking, cli
from server.config import Settings
from server.domain.findings import Finding, Severity
from server.domain.runs import DiagnosisState, NewRun
from server.domain.told import as_told
from server.store import Store
from server.web.models.findings import FindingItem
from tests import warm
from tests.server.house import ATTEMPT, RUN
from tests.server.web.test_api import some_finding
from tests.serving import wait_until

ROOT = Path(__file__).resolve().parents[2]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "client_hook.cli", *arguments]


def run_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen(
        command("serve", "--port", "0", "--home", str(tmp_path)),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    line = process.stdout.readline()
    yield process, line.removeprefix("Gradwatch listening on ").strip()
    process.kill()
    process.communicate()


def test_serve_prints_one_line_when_it_answers_and_ends_on_sigterm(
    served: tuple[subprocess.Popen[str], str],
) -> None:
    process, address = served
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address + "/api/v1/health", timeout=10) as answer:
        assert json.load(answer) == {"status": "ok"}
    process.send_signal(signal.SIGTERM)
    rest, errors = process.communicate(timeout=30)
    assert (process.returncode, rest) == (0, "")
    assert "gradwatch.db" in errors
    assert "Traceback" not in errors


def test_what_is_left_when_a_server_has_ended_is_not_looked_through_again(tmp_path: Path) -> None:
    code = (
        "import atexit, gc, sys\nfrom client_hook import cli\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 20 * len(gc.get_objects())))\n"
        "sys.exit(cli.main(sys.argv[1:]))"
    )
    asked = [sys.executable, "-c", code, "serve", "--port", "0", "--home", str(tmp_path)]
    with warm.ServerPopen(asked, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("Gradwatch listening on ")
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[0] == "True\n"
    assert process.returncode == 0


def test_serve_refuses_an_address_that_others_reach_without_a_token(tmp_path: Path) -> None:
    done = run_command("serve", "--host", "0.0.0.0", "--port", "0", "--home", str(tmp_path))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "gradwatch: --host 0.0.0.0 lets other machines read, change and delete every run, no token is set, and nobody "
        "has an account. Mend it: gradwatch user add NAME --role admin, or set GRADWATCH_SERVER_TOKEN (or --token), or "
        "keep --host 127.0.0.1\n"
    )


def test_serve_names_a_port_that_is_taken_and_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run_command("serve", "--port", str(port), "--home", str(tmp_path))
    assert done.returncode == 2
    assert f"Port {port} on 127.0.0.1 is taken" in done.stderr
    assert f"gradwatch serve --port {port + 1}" in done.stderr


def test_serve_complains_of_a_setting_in_a_sentence(tmp_path: Path) -> None:
    done = run_command("serve", "--port", "http", "--home", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == "gradwatch: --port is 'http': a number from 0 to 65535 is needed (0 = a free port)\n"


@pytest.fixture
def ended_run(tmp_path: Path) -> Path:
    """A home whose database holds a run with a final diagnosis and one warning."""
    settings = Settings(home=tmp_path, database=f"sqlite:///{tmp_path / 'gradwatch.db'}")
    store = Store.open(settings.database)
    store.runs.open(NewRun(RUN, ATTEMPT, name="sick", started_ms=1_790_000_000_000), 1_790_000_000_000)
    store.findings.save(
        RUN, findings=[some_finding()], checks=[], diagnosed_step=5, diagnosis=DiagnosisState.FINAL,
        seen_version=store.runs.frame_version(RUN), verdict="One error is open.",
    )  # fmt: skip
    store.close()
    return tmp_path


def test_check_fails_at_the_level_and_above(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.check([RUN, "--home", str(ended_run)]) == 1
    said = capsys.readouterr().out
    assert "GW205 non-finite-loss, since step 2" in said
    assert "→ Lower the learning rate." in said
    assert "1 open: 1 error." in said


def test_check_names_the_cause_of_a_finding_and_counts_as_the_page_does() -> None:
    symptom = replace(some_finding(), cause=2)
    cause = replace(some_finding(), number=2, code="GW507", name="resume-discontinuity", severity=Severity.WARNING)
    over = replace(some_finding(), number=3, code="GW209", state="resolved", resolved_step=4)
    run = {"name": "sick", "id": RUN, "state": "failed", "last_step": 5, "diagnosis": "final"}

    def said(*findings: Finding) -> str:
        items = [FindingItem.of(item).model_dump() for item in as_told(findings)]
        return checking.Report(run, items).as_text()

    text = said(cause, symptom, over)
    assert "error   GW205 non-finite-loss, since step 2, because of GW507 resume-discontinuity\n" in text
    assert "error   GW507 resume-discontinuity, since step 2\n" in text
    assert text.endswith("2 open: 1 error, 1 symptom; 1 resolved.\n")
    text = said(replace(cause, muted=True), symptom, over)
    assert "because of" not in text
    assert text.endswith("1 open: 1 error; 1 muted; 1 resolved.\n")
    assert said(replace(symptom, muted=True)).endswith("No other open finding; 1 muted.\n")


def test_check_gives_json(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.check([RUN, "--home", str(ended_run), "--json", "--fail-on", "error"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["run"]["id"] == RUN
    assert [finding["code"] for finding in said["findings"]] == ["GW205"]


def test_check_of_an_unknown_run_says_so(ended_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.check(["nobody", "--home", str(ended_run)]) == 2
    said = capsys.readouterr().err
    assert (
        said
        == f"gradwatch: The database in {ended_run} answers: No run has the id 'nobody' here, and none is called so\n"
    )


@pytest.mark.parametrize("wanted", ["sick", RUN[:-4], f"http://127.0.0.1:8777/runs/{RUN}/layers?layer=fc"])
def test_check_takes_a_name_the_beginning_of_an_id_and_an_address(
    ended_run: Path, wanted: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.check([wanted, "--home", str(ended_run)]) == 1
    assert f"sick ({RUN})" in capsys.readouterr().out


def test_check_takes_the_newest_run_of_a_name_and_no_beginning_of_two_ids() -> None:
    runs = [{"id": "ab2", "name": "cnn"}, {"id": "ab1", "name": "cnn"}, {"id": "ab0", "name": "cnn 2"}]

    class Known(checking.Server):
        def get(self, path: str, **query: str | int) -> checking.Json:
            if path == "/runs":
                return {"items": runs, "next": None}
            known = next((run for run in runs if path == f"/runs/{run['id']}"), None)
            if known is None:
                raise checking.NotThere("No run has the id")
            return known

    assert checking.find(Known("http://x"), "cnn")["id"] == "ab2"
    with pytest.raises(checking.CheckError, match="The ids of 3 runs begin with 'ab': ab2, ab1, ab0"):
        checking.find(Known("http://x"), "ab")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "http://[::1"], "The address 'http://[::1' is not right"),
        (["--url", "http://127.0.0.1:port"], "The address 'http://127.0.0.1:port' is not right"),
        (["--url", "http://127.0.0.1:1", "--token", "€"], "The token holds characters that no header can carry"),
        (["--timeout", "nan"], "a number of seconds is needed, such as 120, not 'nan'"),
    ],
)
def test_check_says_which_argument_is_wrong(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = cli.check([RUN, *arguments])
    except SystemExit as wrong:
        code = wrong.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_check_makes_no_database_where_none_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.check([RUN, "--home", str(tmp_path / "typo")]) == 2
    assert "There is no database" in capsys.readouterr().err
    assert not (tmp_path / "typo").exists()


def test_rules_explains_one_rule(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("gw308", "dead-relu"):
        assert cli.rules([name]) == 0
        said = capsys.readouterr().out
        assert said.startswith("GW308 dead-relu, up to error: The run has ReLU layers most of whose units never fire\n")
        assert "\nWhat to try\n- Units that died later" in said
    assert cli.rules(["nothing"]) == 2
    assert "No rule is called 'nothing'" in capsys.readouterr().err


def test_the_demo_explains_itself_in_a_users_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.demo(["--help"])
    said = capsys.readouterr().out
    assert "a server, a healthy training of handwritten digits" in said
    assert "Not for" not in said


def test_the_demo_takes_its_server_and_its_trainings_along_when_it_is_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("w") as told:
        demo = subprocess.Popen(
            command("demo", "--port", "0", "--home", str(tmp_path)), cwd=ROOT, stdout=told, stderr=told
        )
    try:
        address = wait_until(lambda: re.search(r"Open  http://127.0.0.1:(\d+)", log.read_text()), "the address")
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(timeout=60) == 0
        with socket.socket() as caller:
            assert caller.connect_ex(("127.0.0.1", int(address[1]))) != 0, "the server still listens"
    finally:
        demo.kill()


def test_rules_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.rules([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("GW202  ") for line in lines)
    assert cli.rules(["--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == len(lines)
