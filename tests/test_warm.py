"""The processes that tests start warm are as good as those that start cold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests import warm

CODE = """
import atexit, os, sys, threading
atexit.register(print, "at exit")
threading.Thread(target=lambda: (threading.main_thread().join(), print("from a thread"))).start()
print(__name__, sys.argv, os.environ["MARK"], "client_hook" in sys.modules, "torch" in sys.modules)
print(sys.stdin.read() == "", file=sys.stderr)
"""
ENDINGS = {"": 0, "sys.exit(7)": 7, "raise ValueError('so')": 1, "os._exit(4)": 4, "os.kill(os.getpid(), 9)": -9}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_warm_process_ends_as_a_cold_one_does(ending: str) -> None:
    command = [sys.executable, "-c", "import torch\n" + CODE + f"sys.stdout.flush()\n{ending}", "a", "b"]
    options = {"env": {**os.environ, "MARK": "mine"}, "text": True}
    hot = warm.run(command, timeout=60, **options)
    cold = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False, **options)
    assert (hot.returncode, sorted(hot.stdout.splitlines())) == (cold.returncode, sorted(cold.stdout.splitlines()))
    assert hot.returncode == ENDINGS[ending]
    assert hot.stderr.splitlines()[:1] == cold.stderr.splitlines()[:1] == ["True"]
    assert ("ValueError: so" in hot.stderr) == ("ValueError" in ending)


def test_it_is_waited_for_and_takes_signals() -> None:
    command = [sys.executable, "-c", "import threading\nprint('on', flush=True)\n" + warm.WAIT]
    with warm.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "on\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in process.communicate(timeout=60)[1]
    assert process.returncode == -signal.SIGINT
    assert process.poll() == -signal.SIGINT


def test_modules_and_scripts_run_too(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("WORD = 'beside'")
    (tmp_path / "script.py").write_text("import helper, sys\nprint(__name__, helper.WORD, sys.argv[1:], __file__)")
    done = warm.run([sys.executable, str(tmp_path / "script.py"), "x"], text=True)
    assert done.stdout == f"__main__ beside ['x'] {tmp_path / 'script.py'}\n", done.stderr
    done = warm.run([sys.executable, "-m", "helper"], cwd=tmp_path, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_warm_server_is_as_good_as_a_cold_one(tmp_path: Path) -> None:
    told = []
    for kind in (warm.ServerPopen, subprocess.Popen):
        home = str(tmp_path / kind.__name__)
        command = [sys.executable, "-m", "client_hook.cli", "serve", "--port", "0", "--home", home]
        with kind(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=warm.ROOT) as process:
            words, _, url = process.stdout.readline().strip().rpartition(" ")
            with urllib.request.urlopen(f"{url}/api/v1/rules", timeout=20) as answer:
                rules = json.load(answer)
            process.send_signal(signal.SIGTERM)
            rest, complaints = process.communicate(timeout=60)
        told.append((words, rules, rest, complaints.replace(home, ""), process.returncode))
    assert told[0] == told[1]
    assert (told[0][0], told[0][-1]) == ("Gradwatch listening on", 0)
