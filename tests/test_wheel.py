"""The wheel: what a user gets from pip must hold the pages, and stay small on the training side."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAX_HOOK_BYTES = 150_000
MAX_COMMANDS_BYTES = 10_000
COMMANDS = ("child", "cli", "console", "decoding", "sync")  # what the server or `gradwatch …` alone needs
INTEGRATIONS = [  # each with what it needs
    {"__init__", "accelerate"}, {"__init__", "ignite"}, {"__init__", "keras", "keras_optimizers"},
    {"__init__", "lightning", "backward_loss"}, {"__init__", "transformers", "backward_loss"},
]  # fmt: skip
MAX_INTEGRATION_BYTES = 2_000
MAX_PREFLIGHT_BYTES = 75_000
MAX_INSPECTING_BYTES = 10_000


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    program = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(program, cwd=ROOT, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_it_carries_pages_charts_and_examples(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    wanted = [f"server/_assets/{folder}/{path.relative_to(ROOT / folder).as_posix()}"
              for folder in ("templates", "static", "examples")
              for path in (ROOT / folder).rglob("*.*") if "__pycache__" not in path.parts]  # fmt: skip
    assert [name for name in wanted if name not in names] == []
    assert any(name.startswith("server/store/migrations/versions/") for name in names)


def test_h11_what_a_training_loads_stays_under_150_kB_and_what_lies_beside_it_is_small_too(
    wheel: zipfile.ZipFile,
) -> None:
    sizes = {entry.filename: entry.compress_size for entry in wheel.infolist()}
    hook = {name: size for name, size in sizes.items() if name.startswith("client_hook/")}
    preflight = sum(size for name, size in hook.items() if name.startswith("client_hook/preflight/"))
    inspecting = sum(size for name, size in hook.items() if name.startswith("client_hook/inspecting/"))
    commands = sum(hook[f"client_hook/{name}.py"] for name in COMMANDS)
    integrations = {name.split("/")[-1][:-3]: size for name, size in hook.items() if "/integrations/" in name}
    heaviest = max(sum(integrations[name] for name in needed) for needed in INTEGRATIONS)
    assert set(integrations) == set().union(*INTEGRATIONS)
    aside = preflight + inspecting + commands + sum(integrations.values())
    assert 0 < sum(hook.values()) - aside < MAX_HOOK_BYTES
    assert 0 < heaviest < MAX_INTEGRATION_BYTES  # on top, where one is imported
    assert 0 < preflight < MAX_PREFLIGHT_BYTES
    assert 0 < inspecting < MAX_INSPECTING_BYTES
    assert 0 < commands < MAX_COMMANDS_BYTES


def test_a_training_loads_no_command(tmp_path: Path) -> None:
    code = (
        "import sys, torch\n"
        "from client_hook import watch\n"
        "model = torch.nn.Linear(2, 1)\n"
        "monitor = watch(model, torch.optim.SGD(model.parameters(), 0.1))\n"
        "monitor.finish(timeout=0.1)\n"
        "print(*sys.modules)\n"
    )
    environment = {**os.environ, "GRADWATCH_HOME": str(tmp_path), "GRADWATCH_URL": "http://127.0.0.1:9"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "client_hook.monitor" in loaded, done.stderr
    assert not loaded & {f"client_hook.{name}" for name in (*COMMANDS, "preflight", "inspecting")}


def test_the_hook_in_it_is_the_same_code_line_by_line(wheel: zipfile.ZipFile) -> None:
    sources = {path.relative_to(ROOT).as_posix(): path for path in (ROOT / "client_hook").rglob("*.py")}
    packed = {name for name in wheel.namelist() if name.startswith("client_hook/")}
    assert packed == set(sources), "and no notes for developers"
    for name, path in sources.items():
        ours, theirs = path.read_text(encoding="utf-8"), wheel.read(name).decode("utf-8")
        assert ast.dump(_bare(ours, name)) == ast.dump(_bare(theirs, name)), name
        assert [node.lineno for node in ast.walk(_bare(ours, name)) if hasattr(node, "lineno")] == [
            node.lineno for node in ast.walk(_bare(theirs, name)) if hasattr(node, "lineno")
        ], name


class _Untyped(ast.NodeTransformer):
    """Makes plain assignments of those with a type; the fields of classes keep one, whatever it is."""

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        for index, item in enumerate(node.body):
            if isinstance(item, ast.AnnAssign):
                item.annotation = ast.copy_location(ast.Constant(0), item.annotation)
            else:
                node.body[index] = self.visit(item)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node)


def _is_for_types(item: ast.stmt) -> bool:
    if isinstance(item, ast.ImportFrom):  # that every name is known all the same, another test says
        others = ("__future__", "typing", "collections.abc", "types", "torch", "torch.optim", "torch.nn")
        return item.module in others or str(item.module).startswith("client_hook.")
    if isinstance(item, ast.Assign) and isinstance(item.value, ast.Subscript):  # the name of a type
        return ast.unparse(item.value.value) in ("Callable", "Literal", "dict", "list", "tuple")
    return isinstance(item, ast.If) and isinstance(item.test, ast.Name) and item.test.id == "TYPE_CHECKING"


def _bare(source: str, name: str) -> ast.Module:
    """Parses a file and takes its docstrings, the types in functions and the imports for them out; a docstring alone
    stays, without its words, `s` is another word for `self`, and imports say the whole way."""
    tree = _Untyped().visit(ast.parse(source))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            folders = name.split("/")[: -node.level]
            node.module, node.level = ".".join([*folders, *([node.module] if node.module else [])]), 0
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef)):
            node.body[:] = [item for item in node.body if not _is_for_types(item)]
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            node.annotation = None
            node.arg = "self" if node.arg == "s" else node.arg
        if isinstance(node, ast.Name):
            node.id = "self" if node.id == "s" else node.id
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                first.value.value = ""
                del node.body[: len(node.body) > 1]
    return tree


def test_the_hook_trains_from_the_wheel_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path, [name for name in wheel.namelist() if name.startswith("client_hook/")])
    code = (
        "import client_hook, torch; from client_hook import watch\n"
        f"assert client_hook.__file__.startswith({str(tmp_path)!r}), client_hook.__file__\n"
        "model = torch.nn.Linear(2, 1); optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        "monitor = watch(model, optimizer, url='http://127.0.0.1:9', strict=True)\n"
        "for _ in range(3):\n"
        "    loss = model(torch.ones(1, 2)).sum(); loss.backward(); optimizer.step(); monitor.step(loss)\n"
        "monitor.finish(timeout=0.1); assert monitor.ledger['produced'] > 20 and watch.__doc__\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "GRADWATCH_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


NAMES = """
import builtins, dis, importlib, pathlib, sys, types
def codes(code):
    yield code
    for item in code.co_consts:
        if isinstance(item, types.CodeType):
            yield from codes(item)
for path in sorted(pathlib.Path(sys.argv[1], "client_hook").rglob("*.py")):
    name = ".".join(path.relative_to(sys.argv[1]).with_suffix("").parts).removesuffix(".__init__")
    if ".integrations." in name:
        continue
    known = vars(importlib.import_module(name))
    for code in codes(compile(path.read_text(), str(path), "exec")):
        for step in dis.get_instructions(code):
            if step.opname == "LOAD_GLOBAL" and step.argval not in known and not hasattr(builtins, step.argval):
                print(name, code.co_name, step.argval)
"""


def test_every_name_in_it_is_defined(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path, [name for name in wheel.namelist() if name.startswith("client_hook/")])
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", NAMES, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_h11_the_hook_requires_nothing() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["dependencies"] == []
