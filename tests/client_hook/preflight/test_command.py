"""`gradwatch preflight MODULE:FUNCTION`: what it accepts, what it says, and its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from client_hook import cli
from tests.serving import ROOT

PARTS = """
import torch
from collections import namedtuple
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(32, 6)
y = (x[:, 0] > 0).long()

def model(sick=False):
    layers = [nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 2)]
    return nn.Sequential(*layers, nn.Softmax(1)) if sick else nn.Sequential(*layers)

def as_dict(): return {"model": model(), "loss_fn": F.cross_entropy, "batch": (x, y)}
def as_tuple(): return model(), F.cross_entropy, (x, y)
class Parts: pass
def as_object():
    parts = Parts(); parts.model, parts.loss_fn, parts.batch = model(), F.cross_entropy, (x, y); return parts
def as_named_tuple(): return namedtuple("T", "model loss_fn batch")(*as_tuple())
def sick(): return {"model": model(True), "loss_fn": F.cross_entropy, "batch": (x, y)}
def remark():
    wide = model(); nn.init.normal_(wide[0].weight, std=1.5); return wide, F.cross_entropy, (x, y)
def with_text(size): return model(), F.cross_entropy, (x[:int(size)], y[:int(size)])
def nothing(): return None
def short(): return model(), F.cross_entropy
def strange(): return {"model": model(), "loss": 1, "batch": (x, y)}
def no_model(): return {"loss_fn": F.cross_entropy, "batch": (x, y)}
def no_batch(): return {"model": model(), "loss_fn": F.cross_entropy}
def breaks(): raise ValueError("no data here")
def wrong_shape(): return model(), F.cross_entropy, (x[:, :5], y)
number = 3
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a training script in it, which is the working directory."""
    (tmp_path / "parts_of_a_training.py").write_text(PARTS)
    (tmp_path / "broken_module.py").write_text("import no_such_package_at_all\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = cli.main(["preflight", *arguments, "--offline"])
    said = capsys.readouterr()
    return code, said.out, said.err


FEW = ("--checks", "GW202,GW301")


@pytest.mark.parametrize("function", ["as_dict", "as_tuple", "as_object", "as_named_tuple"])
def test_every_form_of_the_arguments_works(here: Path, capsys: pytest.CaptureFixture[str], function: str) -> None:
    code, out, err = run(capsys, f"parts_of_a_training:{function}", *FEW)
    assert (code, err) == (0, "")
    assert out.startswith("Gradwatch preflight: 2 passed")


def test_a_file_and_texts_for_the_function_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, f"{here}/parts_of_a_training.py:with_text", "9", "--checks", "GW202")
    assert code == 0
    assert "against targets [9]" in " ".join(out.split())  # where a line breaks depends on the time it took


def test_the_exit_code_follows_fail_on(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "parts_of_a_training:sick", *FEW)[0] == 1
    assert run(capsys, "parts_of_a_training:as_tuple", *FEW, "--fail-on", "warning")[0] == 0
    remark = ("parts_of_a_training:remark", "--checks", "GW471")
    code, out, _ = run(capsys, *remark)
    assert code == 0
    assert "1 info" in out
    assert run(capsys, *remark, "--fail-on", "info")[0] == 1


WRONG = {
    "parts_of_a_training": "'parts_of_a_training' is not MODULE:FUNCTION; write for example train:check, with",
    "no_such_module:check": "there is no module 'no_such_module' here (",
    "missing/train.py:check": "there is no file missing/train.py",
    "broken_module:check": "broken_module cannot be imported (ModuleNotFoundError",
    "parts_of_a_training:chek": "parts_of_a_training has no 'chek'; its functions are: model, as_dict, as_tuple",
    "parts_of_a_training:number": "parts_of_a_training:number: int cannot be called",
    "parts_of_a_training:with_text": "it cannot be called with 0 arguments (missing a required argument: 'size')",
    "parts_of_a_training:nothing": "parts_of_a_training:nothing returned NoneType; it must return a dict, ",
    "parts_of_a_training:short": "parts_of_a_training:short returned a tuple of 2; it takes 3 to 5: ",
    "parts_of_a_training:strange": "parts_of_a_training:strange returned 'loss', which preflight",
    "parts_of_a_training:no_model": "returned no model; it must return at least model, loss_fn and batch",
    "parts_of_a_training:no_batch": "returned no batch; return batch=… or train_loader=…",
    "parts_of_a_training:breaks": "parts_of_a_training:breaks raised ValueError: no data here",
    "parts_of_a_training:wrong_shape": "batch: the model or the loss failed on it (RuntimeError: mat1 and mat2",
}


@pytest.mark.parametrize("target", WRONG)
def test_what_is_wrong_with_the_target_is_said(here: Path, capsys: pytest.CaptureFixture[str], target: str) -> None:
    code, out, err = run(capsys, target)
    assert (code, out) == (2, "")
    assert WRONG[target] in err.replace("\n", " ")
    assert "gradwatch preflight: " in err


def test_a_missing_target_alone_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["preflight"])
    assert capsys.readouterr().err.endswith("the following arguments are required: MODULE:FUNCTION\n")


def test_an_unknown_check_is_refused_with_those_that_exist(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "parts_of_a_training:as_dict", "--checks", "GW777")
    assert code == 2
    assert err.startswith("gradwatch preflight: checks: there is no 'GW777'; there are GW601 (nonfinite-loss)")


def test_it_runs_as_a_program_and_waits_for_delivery_in_the_spool(here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "GRADWATCH_HOME": str(here / "home"), "OMP_NUM_THREADS": "1",
                   "GRADWATCH_URL": "http://127.0.0.1:9"}  # fmt: skip
    program = [sys.executable, "-m", "client_hook.cli", "preflight", "parts_of_a_training:sick", "--checks", "GW202"]
    done = subprocess.run(program, cwd=here, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    said = " ".join(done.stdout.split())  # where a line breaks depends on the time it took
    assert "GW202 loss-task-mismatch: cross_entropy got probabilities instead of logits" in said
    (spool,) = (here / "home" / "spool").rglob("*.spool")
    assert spool.stat().st_size > 500
