"""The report of `evaluate --html` as a reader uses it: sorting, searching, any screen, and nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from playwright.sync_api import Browser, Page

from lt_core.report.own_page import Source, write_page

NAMES = ["bear", "ant", "class 10", "class 9", "zebra"]
COUNTS = [500, 120, 60, 10, 5]


@pytest.fixture(scope="module")
def report(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(5).repeat_interleave(torch.tensor([12, 11, 10, 9, 8]))
    z = torch.randn(len(labels), 5, generator=generator, dtype=torch.float64)
    z[torch.arange(len(labels)), labels] += 1
    images = torch.randint(0, 256, (len(labels), 3, 40, 20), generator=generator, dtype=torch.uint8)
    file = tmp_path_factory.mktemp("own") / "report.html"
    write_page(file, z.log_softmax(1), labels, NAMES, COUNTS, Source("A run", images=images))
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems: list[str] = []
    page.on("request", lambda r: None if r.url.startswith(("file:", "data:")) else problems.append(r.url))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not problems, problems


def shown(page: Page) -> list[str]:
    return page.locator("#by-class tbody tr:not([hidden]) th").all_inner_texts()


def sort(page: Page, head: str) -> str | None:
    """Press a head by the keyboard; returns what it announces."""
    button = page.locator("#by-class thead").get_by_role("button", name=head, exact=True)
    button.focus()
    button.press("Enter")
    return button.locator("xpath=..").get_attribute("aria-sort")


def test_classes_are_sorted_by_the_heads(report: Page) -> None:
    assert shown(report) == NAMES
    assert sort(report, "test images") == "descending"
    assert shown(report) == NAMES
    assert sort(report, "test images") == "ascending"
    assert shown(report) == NAMES[::-1]
    assert sort(report, "class") == "ascending"
    assert shown(report) == ["ant", "bear", "class 9", "class 10", "zebra"]
    assert report.locator("#by-class [aria-sort]").count() == 1


def test_classes_are_found_by_name(report: Page) -> None:
    box = report.get_by_label("Find classes")
    box.fill("Class ")
    assert sorted(shown(report)) == ["class 10", "class 9"]
    assert report.get_by_role("status").inner_text() == "2 of 5 classes"
    box.fill("")
    assert len(shown(report)) == 5
    assert report.get_by_role("status").inner_text() == ""


@pytest.mark.parametrize("width", [390, 1280])
def test_only_tables_scroll_sideways(report: Page, width: int) -> None:
    report.set_viewport_size({"width": width, "height": 900})
    assert report.evaluate("document.documentElement.scrollWidth") <= width
    assert report.locator(".pair img").first.evaluate("image => image.naturalWidth") > 0


def test_the_page_has_no_serious_fault(report: Page, axe: Callable[..., list[str]]) -> None:
    assert axe(report) == []
