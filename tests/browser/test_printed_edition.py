"""What stops `make pdf`: the layout checks of book/tools/pdf.js, on small documents as wide as the paper."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

from pdf import PAPER, TOOLS

GOOD = (
    "<p>text</p><pre>code</pre><table><tr><td>1</td></tr></table>"
    '<span class="math"><mjx-container>x</mjx-container></span>'
    '<div class="lt-widget"><svg width="9" height="9"><path /></svg></div>'
)
BAD = {
    "wider than the paper": "<table style='width: 700px'><tr><td>x</td></tr></table>",
    "cut": "<pre style='width: 100px; overflow: auto'>a-long-word-that-is-wider-than-its-box</pre>",
    "taller than the paper": "<figure><div style='height: 1100px'></div></figure>",
    "a picture that is not there": "<img alt='x' src='none.png'>",
    "a formula that MathJax does not know": "<mjx-merror>x</mjx-merror>",
    "raw LaTeX": "<span class='math'>\\(x\\)</span>",
    "an empty widget": "<div class='lt-widget'><svg></svg></div>",
    "a dark ground": "<p style='background: color-mix(in srgb, #123 90%, white)'>x</p>",
}


@pytest.mark.parametrize("fault", [None, *BAD])
def test_what_is_wrong_on_paper_is_named(browser: Browser, fault: str | None) -> None:
    page = browser.new_page(viewport=PAPER)  # type: ignore[arg-type]
    body = GOOD + (BAD[fault] if fault else "")
    page.set_content(f'<body style="margin: 0"><article id="here">{body}</article></body>')
    page.evaluate((TOOLS / "pdf.js").read_text(encoding="utf-8"))
    found = page.evaluate("() => window.edition.faults()")
    page.close()
    assert [one.split(": ")[:2] for one in found] == ([["here", fault]] if fault else [])
