"""Builds the wheel's copy of client_hook without comments, needless spaces and commas, with relative imports, and,
where nobody calls `help`, without docstrings and the types inside functions and with `s` for `self`; and packs it as
tightly as deflate can (Zopfli).

A training installs the hook on every machine, so it stays small; line numbers, and with them tracebacks, stay the same.
"""

from __future__ import annotations

import ast
import io
import re
import shutil
import tempfile
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from zopfli.zlib import compress

PACKAGE = "client_hook"
GENERIC = ("Callable", "Literal", "dict", "list", "tuple")
SELF = re.compile(r"\bself\b")
IMPORT = re.compile(rf"^( *)from ({PACKAGE}[\w.]*) import ", re.MULTILINE)
NOTE = re.compile(r'\A"""[^"]*\n\nNot for:[^"]*"""')  # what a module tells developers of itself
TYPES_FROM = ("typing", "collections.abc", "types", "torch", "torch.optim", "torch.nn")
WITH_DOCSTRINGS = {f"{PACKAGE}/__init__.py", f"{PACKAGE}/monitor.py"}  # and the integrations: what users call
NOT_FOR_USERS = {
    "abandon",
    "begin",
    "ended",
    "followed",
    "leaves",
    "left_by",
    "objects_gone",
    "replaced",
    "stepped",
}  # but our other parts
FOR_INTEGRATIONS = {f"{PACKAGE}/integrations/{name}.py" for name in ("backward_loss", "keras_optimizers")}


class SlimHook(BuildHookInterface):
    """Puts slim copies into the wheel; an editable installation uses the sources as they are."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Writes the copies."""
        if version == "editable":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="gradwatch-wheel-"))
        root = Path(self.root)
        for path in sorted((root / PACKAGE).rglob("*.py")):
            name = path.relative_to(root).as_posix()
            copy = self._folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            called = name.startswith(f"{PACKAGE}/integrations/") and name not in FOR_INTEGRATIONS
            keep = name in WITH_DOCSTRINGS or called
            source = with_relative_imports(path.read_text(encoding="utf-8"), name)
            copy.write_text(slim(source, docstrings=keep), encoding="utf-8")
            build_data["force_include"][str(copy)] = name

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Deletes them, and packs them anew in the finished wheel."""
        if version != "editable":
            shutil.rmtree(self._folder, ignore_errors=True)
            pack(Path(artifact_path))


def pack(wheel: Path) -> None:
    """Writes a wheel's copy of client_hook with Zopfli, whose deflate any zip reader unpacks, and the rest as it is."""
    packed = wheel.with_suffix(".packed")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(packed, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if not entry.filename.startswith(f"{PACKAGE}/") or not data:
                new.writestr(entry, data)
                continue
            deflated = compress(data, numiterations=15)[2:-4]  # without the frame of zlib
            entry.compress_type, entry.CRC = zipfile.ZIP_DEFLATED, zlib.crc32(data)
            entry.file_size, entry.compress_size = len(data), len(deflated)
            _append(new, entry, deflated)
    packed.replace(wheel)


def _append(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, deflated: bytes) -> None:
    """Adds what is compressed already, for which zipfile has no call."""
    if archive.fp is None:
        raise ValueError("the archive is closed")
    entry.header_offset = archive.fp.tell()
    archive.fp.write(entry.FileHeader(zip64=False) + deflated)
    archive.filelist.append(entry)
    archive.NameToInfo[entry.filename] = entry
    archive.start_dir = archive.fp.tell()


def with_relative_imports(source: str, name: str) -> str:
    """Says where a module lies from where the file `name` (`client_hook/…/file.py`) lies."""
    here = name.split("/")[:-1]

    def shorter(found: re.Match[str]) -> str:
        there = found[2].split(".")
        shared = next((at for at, pair in enumerate(zip(here, there, strict=False)) if pair[0] != pair[1]), None)
        shared = min(len(here), len(there)) if shared is None else shared
        return f"{found[1]}from {'.' * (len(here) - shared + 1)}{'.'.join(there[shared:])} import "

    return IMPORT.sub(shorter, source)


def slim(source: str, *, docstrings: bool = False) -> str:
    """Empties comments, and docstrings and types of functions unless they are to stay, takes spaces away that nobody
    needs, and indents by one; every line keeps its number. Of what stays the docstrings of private names go too, and of
    those that a framework calls."""
    source = NOTE.sub(lambda found: "\n" * found[0].count("\n"), source)
    source = _without_imports_of_types(_without_types(source, public=docstrings))
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            name = getattr(node, "name", "")
            if docstrings and not name.startswith(("_", "on_")) and name not in NOT_FOR_USERS:
                continue
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and type(first.value.value) is str:
                start, end = first.lineno - 1, first.end_lineno or first.lineno
                left = lines[start][: first.col_offset] + '""' if len(node.body) == 1 else ""
                lines[start:end] = [left, *[""] * (end - start - 1)]
    text = "\n".join(lines) + "\n"
    lines = text.splitlines()
    kept: set[int] = set()  # lines that begin within a text: their spaces belong to it
    bracketed: set[int] = set()  # … and within brackets: theirs say nothing
    gaps: list[tuple[int, int, int]] = []  # beside an operator, where nobody needs them
    last, depth = None, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.COMMENT:
            lines[row - 1] = lines[row - 1][:column].rstrip()
        elif last is not None and last.end[0] == row and tokenize.OP in (last.type, token.type):
            gap = lines[row - 1][last.end[1] : column]
            if gap.isspace() and last.type != tokenize.NUMBER:
                gaps.append((row - 1, last.end[1], column))
        if token.type == tokenize.OP:
            depth += (token.string in "([{") - (token.string in ")]}")
        elif token.type == tokenize.NL and depth:
            bracketed.add(row + 1)
        kept.update(range(row + 1, token.end[0] + 1))
        last = token
    for row, begin, end in reversed(gaps):
        lines[row] = lines[row][:begin] + lines[row][end:]
    for row, line in enumerate(lines, 1):
        if row not in kept:
            lines[row - 1] = line.lstrip(" ") if row in bracketed else _narrow(line)
    text = _without_last_commas("\n".join(lines) + "\n")
    return _with_short_self(text, public=docstrings)


def _without_last_commas(text: str) -> str:
    """Takes away the comma behind the last of several things in brackets, and the bars in numbers."""
    lines = text.splitlines()
    cuts: list[tuple[int, int, int, str]] = []
    commas: list[int] = []  # of the brackets that are open
    last = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        row, column = token.start
        if token.type == tokenize.NUMBER:
            cuts.append((row - 1, column, token.end[1], token.string.replace("_", "")))
        if token.type == tokenize.NL:
            continue
        if token.type == tokenize.OP and token.string in "([{":
            commas.append(0)
        elif token.type == tokenize.OP and token.string in ")]}":
            if commas.pop() > 1 and last is not None and last.string == ",":
                cuts.append((last.start[0] - 1, last.start[1], last.end[1], ""))
        elif token.string == "," and commas:
            commas[-1] += 1
        last = token
    for at, begin, end, shorter in sorted(cuts, reverse=True):
        lines[at] = lines[at][:begin] + shorter + lines[at][end:]
    return "\n".join(lines) + "\n"


def _is_public(name: str) -> bool:
    return (name == "__init__" or name[0] != "_") and name not in NOT_FOR_USERS


def _with_short_self(text: str, *, public: bool) -> str:
    """Writes `s` for `self`, unless something else has that name; a text that has the word keeps it. With `public` what
    users call keeps it too."""
    lines = text.splitlines(keepends=True)
    called = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) and _is_public(node.name)]
    kept = {row for node in called if public for row in range(node.lineno, (node.end_lineno or 0) + 1)}
    for token in reversed(list(tokenize.generate_tokens(io.StringIO(text).readline))):
        if token.type == tokenize.NAME and token.string == "s":
            return text
        (row, begin), (last, end) = token.start, token.end
        if row in kept:
            continue
        formatted = token.type == tokenize.STRING and token.string[0] == "f"
        if row == last and (formatted or token.string == "self"):
            line = lines[row - 1]
            lines[row - 1] = line[:begin] + SELF.sub("s", line[begin:end]) + line[end:]
        elif formatted and SELF.search(token.string):
            return text
    return "".join(lines)


def _without_types(source: str, *, public: bool) -> str:
    """Takes away what says of an argument, a result, or a variable of a function or module which type it has, in one
    line; the field of a class needs one, so it gets a short one. With `public` what users call keeps the types of its
    arguments and result."""
    lines = [line.encode() for line in source.splitlines()]
    tree = ast.parse(source)
    cuts, fields = _cuts_of_variables(tree), set(_cuts_of_fields(tree))
    for node in ast.walk(tree):
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        cuts += _cuts_of_variables(node)
        if public and _is_public(node.name):
            continue
        given = node.args
        for arg in (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg):
            if arg is not None and arg.annotation is not None and arg.annotation.end_lineno == arg.lineno:
                name_ends = arg.col_offset + len(arg.arg.encode())
                cuts.append((arg.lineno - 1, name_ends, arg.annotation.end_col_offset or name_ends))
        result = node.returns
        if result is not None and result.end_lineno == result.lineno:
            arrow = lines[result.lineno - 1].rindex(b"->", 0, result.col_offset)
            cuts.append((result.lineno - 1, arrow, result.end_col_offset or arrow))
    for row, begin, end in sorted({*cuts, *fields}, reverse=True):
        lines[row] = lines[row][:begin].rstrip() + (b": int" if (row, begin, end) in fields else b"") + lines[row][end:]
    return b"\n".join(lines).decode() + "\n"


def _without_imports_of_types(source: str) -> str:
    """Takes away imports that only types needed, and what only a type checker reads."""
    lines = source.splitlines()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []
        for item in body if len(body) > 1 else ():
            if isinstance(item, ast.If) and ast.unparse(item.test) == "TYPE_CHECKING" and not item.orelse:
                _replace(lines, item, "")
        for item in node.body if isinstance(node, ast.FunctionDef) and len(node.body) > 1 else ():
            if isinstance(item, ast.AnnAssign) and item.value is None:  # of a variable that gets its value below
                _replace(lines, item, "")
    _drop_names_of_types(lines)
    left = ast.parse("\n".join(lines))
    used = {node.id for node in ast.walk(left) if isinstance(node, ast.Name)}
    kinds = [node.annotation for node in ast.walk(left) if isinstance(node, (ast.AnnAssign, ast.arg))]
    typed = any(kind is not None and ast.unparse(kind) != "int" for kind in kinds)
    typed = typed or any(getattr(node, "returns", None) for node in ast.walk(left))
    for item in left.body:
        if not isinstance(item, ast.ImportFrom):
            continue
        # nobody takes from a module what that has from another, but from those that say so
        ours = item.level > 0 and "__all__" not in used
        if not ours and item.module not in (*TYPES_FROM, "__future__"):
            continue
        if item.module == "__future__":
            kept = [alias for alias in item.names if typed or alias.name != "annotations"]
        else:
            kept = [alias for alias in item.names if (alias.asname or alias.name) in used]
        if len(kept) < len(item.names):
            names = ", ".join(ast.unparse(alias) for alias in kept)
            _replace(lines, item, f"from {'.' * item.level}{item.module or ''} import {names}" if names else "")
    return "\n".join(lines) + "\n"


def _drop_names_of_types(lines: list[str]) -> None:
    """Takes away names that a module gives to types, `Row = tuple[int, …]`, and that types alone used."""
    before: list[str] = []
    while lines != before:  # one may be made of another
        before = list(lines)
        tree = ast.parse("\n".join(lines))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for item in tree.body:
            if isinstance(item, ast.Assign) and isinstance(item.value, ast.Subscript):
                names = {ast.unparse(target) for target in item.targets}
                if ast.unparse(item.value.value) in GENERIC and not names & used:
                    _replace(lines, item, "")


def _replace(lines: list[str], node: ast.stmt, text: str) -> None:
    start, end = node.lineno - 1, node.end_lineno or node.lineno
    lines[start:end] = [text, *[""] * (end - start - 1)]


def _cuts_of_fields(tree: ast.Module) -> Iterator[tuple[int, int, int]]:
    for node in ast.walk(tree):
        for item in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(item, ast.AnnAssign) and item.target.lineno == item.annotation.end_lineno:
                yield item.target.lineno - 1, item.target.end_col_offset or 0, item.annotation.end_col_offset or 0


def _cuts_of_variables(node: ast.AST) -> list[tuple[int, int, int]]:
    return [
        (target.lineno - 1, target.end_col_offset or 0, kind.end_col_offset or 0)
        for target, kind in _typed_variables(node)
        if target.lineno == kind.end_lineno
    ]


def _typed_variables(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Gives what a function or module assigns with a type, outside the functions and classes within it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.AnnAssign) and child.value is not None:
            yield child.target, child.annotation
        if not isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _typed_variables(child)


def _narrow(line: str) -> str:
    rest = line.lstrip(" ")
    return " " * ((len(line) - len(rest)) // 4) + rest
