"""What a page's scripts import is named in its head, so that the browser asks for all of it at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import look

STATIC = Path(__file__).resolve().parents[3] / "static"
IMPORTED = re.compile(r'^import .*? from "(?P<path>[^"]+)";$', re.MULTILINE)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as found:
        found.open_run()
        found.send(0, {"loss": [1.0, 0.5]})
        yield found


@pytest.mark.parametrize("path", ["/", f"/runs/{RUN}", f"/runs/{RUN}/layers", "/rules"])
def test_a_page_names_every_module_that_it_will_import(path: str, home: House) -> None:
    page = look(home, path)
    sources = [str(given["src"]) for tag, given in page.tags if tag == "script" and given.get("type") == "module"]
    named = {str(given["href"]) for tag, given in page.tags if tag == "link" and given.get("rel") == "modulepreload"}
    assert named == set(imports(sources))


def imports(sources: list[str]) -> Iterator[str]:
    """Follows the imports of modules, one level after the other."""
    waiting, met = list(sources), set(sources)
    while waiting:
        module = STATIC / waiting.pop().removeprefix("/static/")
        for path in IMPORTED.findall(module.read_text()):
            address = "/static/" + (module.parent / path).resolve().relative_to(STATIC).as_posix()
            if address not in met:
                met.add(address)
                waiting.append(address)
                yield address
