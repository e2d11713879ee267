"""A widget's joined source is a module that a browser accepts, and its files' private names stay apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

import lt_core as lt
from lt_core.widgets import base

KINDS = [name for name in lt.widgets.__all__ if name[0].isupper()]
DEFAULT = """async (text) => {
  const module = await import(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
  const { render, ...values } = module.default;
  return [Object.keys(module), typeof render, values];
}"""


@pytest.fixture(scope="module")
def blank(browser: Browser) -> Iterator[Page]:
    page = browser.new_page()
    yield page
    page.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_source_is_a_module_that_renders(blank: Page, kind: str) -> None:
    assert blank.evaluate(DEFAULT, str(getattr(lt.widgets, kind)._esm)) == [["default"], "function", {}]


def test_files_share_what_they_export_and_nothing_else(blank: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "one.js": "const secret = 1;\nexport const first = () => secret;\n",
        "two.js": """import { first } from "./one.js";
const secret = 20;
export function both() { return first() + secret; }
""",
        "own.js": 'import { both } from "./two.js";\nconst secret = 300;\nexport default { sum: both() + secret };\n',
    }
    monkeypatch.setattr(base, "read", texts.__getitem__)
    assert blank.evaluate(DEFAULT, base.module(*texts)) == [["default"], "undefined", {"sum": 321}]
