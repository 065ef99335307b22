"""The floors: what importing one room may load, beyond what import-linter reads from the source."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["server.app", "client_hook.wire", "client_hook", "client_hook.cli"])
def test_it_does_not_load_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_hook_loads_nothing_but_the_standard_library_and_torch() -> None:
    code = (
        "import sys, torch; before = set(sys.modules); from client_hook import watch\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(*sorted(new - set(sys.stdlib_module_names) - {'client_hook', 'torch'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
