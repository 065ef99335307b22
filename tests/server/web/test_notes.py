"""What people write about a run: over HTTP, on its pages, in its report, in the search, in a copy of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from server.store.notes import MOST_VERSIONS
from server.web.markdown import TAGS, of_people, quoted
from server.web.models.notes import LONGEST
from tests.server.house import RUN, House, house
from tests.server.web.pages_kit import EVIL, PAGE, Reader, look

NOTES = f"/api/v1/runs/{RUN}/notes"
FORM = f"/runs/{RUN}/notes"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path) as built:
        built.open_run()
        yield built


def test_a_version_follows_the_other_and_each_is_kept(home: House) -> None:
    assert home.client.get(NOTES).json() == {"version": 0, "text": "", "who": "", "written_ms": 0, "earlier": []}
    for version, text in enumerate(("# Idea\r\na smaller rate  \n", "it worked"), start=1):
        answer = home.client.put(NOTES, json={"text": text, "after": version - 1})
        assert answer.status_code == 200, answer.text
        assert answer.json()["version"] == version
    told = home.client.get(NOTES).json()
    assert told["text"] == "it worked"
    assert [(item["version"], item["text"]) for item in told["earlier"]] == [(1, "# Idea\na smaller rate")]


def test_of_two_who_write_at_once_the_second_is_told_and_nothing_is_lost(home: House) -> None:
    home.client.put(NOTES, json={"text": "mine"})
    answer = home.client.put(NOTES, json={"text": "theirs", "after": 0})
    assert answer.status_code == 409
    assert "after: got 0, but the notes were changed at " in answer.json()["detail"]
    assert answer.json()["detail"].endswith("and are at version 1; put both together and send them after that one")
    page = home.client.post(FORM, data={"text": "theirs, typed for an hour", "after": "0"}, headers=PAGE)
    assert page.status_code == 409
    assert "theirs, typed for an hour</textarea>" in page.text
    assert "Somebody changed the notes while you wrote." in page.text
    assert "<p>mine</p>" in page.text
    assert 'name="after" value="1"' in page.text, "so that the next try is after what was seen"
    assert home.client.put(NOTES, json={"text": "mine", "after": 0}).status_code == 200, "it is what is there already"
    assert home.client.get(NOTES).json()["version"] == 1


def test_what_is_too_long_or_no_version_is_said_and_still_in_the_form(home: House) -> None:
    assert home.client.put(NOTES, json={"text": "x" * (LONGEST + 1)}).status_code == 422
    page = home.client.post(FORM, data={"text": "é" * (LONGEST + 1), "after": "0"}, headers=PAGE)
    assert page.status_code == 422
    assert "The notes have 20,001 characters; 20,000 are room for. Nothing is saved yet." in page.text
    assert "é" * (LONGEST + 1) in page.text
    page = home.client.post(FORM, data={"text": "words", "after": "²"}, headers=PAGE)
    assert page.status_code == 422
    assert "words</textarea>" in page.text
    assert home.client.get(NOTES).json()["version"] == 0


def test_the_page_of_the_run_its_report_and_its_summary_show_them(home: House) -> None:
    assert look(home, f"/runs/{RUN}").text.count("Notes") == 1, "the link to them"
    saved = home.client.post(FORM, data={"text": "# Idea\n**half** the rate\nagain", "after": "0"}, headers=PAGE)
    assert (saved.status_code, saved.headers["location"]) == (303, f"/runs/{RUN}#notes")
    shown = "<h3>Idea</h3>\n<p><strong>half</strong> the rate<br>\nagain</p>"
    for path in (f"/runs/{RUN}", f"/runs/{RUN}/fragments/notes", f"/runs/{RUN}/report"):
        assert shown in home.client.get(path, headers=PAGE).text, path
    assert "### Notes\n\n> # Idea\n> **half** the rate\n> again\n" in home.client.get(f"/runs/{RUN}/summary.md").text
    emptied = home.client.post(FORM, data={"text": " ", "after": "1"}, headers=PAGE)
    assert emptied.headers["location"] == f"/runs/{RUN}"
    assert "Idea" in look(home, FORM).text, "the version before is still there"
    assert "Idea" not in look(home, f"/runs/{RUN}").text


def test_the_search_finds_a_run_by_what_is_written_about_it_now(home: House) -> None:
    def found(words: str) -> int:
        return len(home.client.get("/api/v1/runs", params={"search": words}).json()["items"])

    home.client.put(NOTES, json={"text": "the tokenizer was wrong"})
    assert (found("TOKENIZER"), found("token%wrong")) == (1, 0)
    home.client.put(NOTES, json={"text": "it was right after all"})
    assert (found("tokenizer"), found("right after")) == (0, 1)


def test_the_newest_versions_are_kept(home: House) -> None:
    for number in range(MOST_VERSIONS + 3):
        home.client.put(NOTES, json={"text": f"number {number}"})
    told = home.client.get(NOTES).json()
    assert told["version"] == MOST_VERSIONS + 3
    assert [item["version"] for item in told["earlier"]] == list(range(MOST_VERSIONS + 2, 3, -1))


def test_a_run_that_is_not_there_has_none(home: House) -> None:
    assert home.client.get("/api/v1/runs/nobody/notes").status_code == 404
    assert home.client.put("/api/v1/runs/nobody/notes", json={"text": "x"}).status_code == 404
    home.client.put(NOTES, json={"text": "x"})
    home.client.delete(f"/api/v1/runs/{RUN}")
    assert home.client.put(NOTES, json={"text": "y"}).status_code == 404
    assert home.store.notes.write(RUN, "y", who="", now_ms=1) is None


@pytest.mark.parametrize(
    ("text", "html"),
    [
        (EVIL, None),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("[x](data:text/html;base64,PHM+)", "<p>[x](data:text/html;base64,PHM+)</p>"),
        ("![a](https://evil.example/p.png)", None),
        ("[a](https://x.example)", '<p><a href="https://x.example" rel="noopener noreferrer">a</a></p>'),
        ("[a](//evil.example/x)", '<p><a rel="noopener noreferrer">a</a></p>'),
        ("[a](/\\evil.example/x)", None),
        ("[a](/runs/other)", '<p><a href="/runs/other" rel="noopener noreferrer">a</a></p>'),
        ("[a](vbscript:x)", "<p>[a](vbscript:x)</p>"),
        ("<https://x.example/?a=1&b=2>", None),
        ("# One\n\n###### Six", "<h3>One</h3>\n<h6>Six</h6>"),
        ("| a | b |\n|--|--|\n| 1 | 2 |", None),
        ("3. three", '<ol start="3">\n<li>three</li>\n</ol>'),
        ('[a](https://x.example "t\\" onclick=\\"x")', None),
        ("a" * 3 + "[" * 5_000, None),
        (">" * 3_000 + "deep", None),
    ],
)
def test_only_the_tags_of_markdown_come_out_of_what_people_write(text: str, html: str | None) -> None:
    shown = str(of_people(text))
    if html is not None:
        assert shown.strip() == html
    allowed = {"a": {"href", "title", "rel"}, "ol": {"start"}}
    for tag, attributes in Reader(shown).tags:
        assert tag in TAGS
        assert set(attributes) <= allowed.get(tag, set()), attributes


@pytest.mark.parametrize(
    "text",
    [
        "a\n</blockquote>\n\n# Findings",
        "a `<b>` and <b>",
        "\t<details>",
        "![a](https://lab.example/seen)",
        "<!-- ```\n````` x",
        "\\\\<b>",
    ],
)
def test_html_and_pictures_stay_text_in_a_summary_that_is_pasted_elsewhere(text: str) -> None:
    html = MarkdownIt("commonmark", {"html": True}).render("\n".join(quoted(text)))
    assert html.startswith("<blockquote>\n<pre><code")
    assert html.count("<pre>") == 1
    assert html.endswith("</code></pre>\n</blockquote>\n")


@pytest.mark.parametrize(
    "text", ["a `Dict<int>` of <https://lab.example>", "```\n<b>\n```", "1 < 2\n\n    <b>", "\\<b>", "[a](b)"]
)
def test_what_is_no_html_is_quoted_as_it_was_written(text: str) -> None:
    assert quoted(text) == [f"> {line}".rstrip() for line in text.split("\n")]
