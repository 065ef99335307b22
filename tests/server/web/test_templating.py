"""Code in sentences: backticks become code, and everything is escaped first."""

from __future__ import annotations

import pytest

from server.web.templating import code_spans


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("call `zero_grad()` once", "call <code>zero_grad()</code> once"),
        ("`<b>` & `a`", "<code>&lt;b&gt;</code> &amp; <code>a</code>"),
        ("one ` alone <i>", "one ` alone &lt;i&gt;"),
        ("", ""),
    ],
)
def test_a_sentence_is_set(sentence: str, shown: str) -> None:
    assert str(code_spans(sentence)) == shown
