"""The built book in Chromium: pages opened from their files, with the network off, and every complaint recorded."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from controls import FRAMES, settle
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Playwright, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
HTML = ROOT / "_build" / "html"
SCREENSHOTS = ROOT / "_build" / "screenshots"
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
ON_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
USUAL_PLACES = (
    "/usr/bin/chromium",
    "/snap/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
READER: dict[str, Any] = {"offline": True, "color_scheme": "light", "viewport": {"width": 1280, "height": 1000}}
READY_WITHIN = 20_000  # milliseconds for a page's mathematics and widgets; a busy machine needs two thousand

# A widget has rendered when html-manager has put it before its view and it has drawn something.
WIDGETS_READY = """() => {
  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  const drawn = [...document.querySelectorAll('.widget-subarea')].filter(
    (area) => area.firstElementChild?.childElementCount > 0);
  return drawn.length === views.length;
}"""
MATHS_READY = """() => !document.querySelector('script[src*="mathjax"]') || Boolean(window.MathJax?.startup?.promise)"""
# The widget alone in the article, rendered by html-manager as on loading, from its own part of the page's state.
DRAW_AGAIN = """async (kind) => {
  const stored = document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]');
  const all = JSON.parse(stored.textContent);
  const id = Object.keys(all.state).find((id) => all.state[id].state._anywidget_id?.endsWith(`.${kind}`));
  const layout = all.state[id].state.layout.replace('IPY_MODEL_', '');
  const script = (type, content) => {
    const node = Object.assign(document.createElement('script'), { type: `application/vnd.jupyter.${type}+json` });
    node.textContent = JSON.stringify(content);
    return node;
  };
  const box = document.createElement('div');
  box.append(script('widget-state', { ...all, state: { [id]: all.state[id], [layout]: all.state[layout] } }));
  box.append(script('widget-view', { model_id: id, version_major: 2, version_minor: 0 }));
  document.querySelector('article').replaceChildren(box);
  window.scrollTo(0, 0);
  const manager = await new Promise((done) => require(['@jupyter-widgets/html-manager/dist/libembed-amd'], done));
  await manager.renderWidgets(box);
}"""
FIXED = "#pst-skip-link, #pst-back-to-top, .bd-header, .bd-header-article { visibility: hidden !important; }"
NARROW = ["button-name", "link-name", "label", "nested-interactive", "scrollable-region-focusable", "aria-hidden-focus"]
AXE_RULES = {
    "all": {},
    "colour": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
    "narrow": {"runOnly": {"type": "rule", "values": NARROW}},
}
# What MathJax typesets is its own matter, and a third of a page's elements.
AXE_RUN = """async (rules) => {
  const options = { resultTypes: ['violations'], preload: false, ...rules };
  const { violations } = await axe.run({ exclude: [['mjx-container']] }, options);
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .flatMap(({ id, impact, help, nodes }) => nodes.map(({ target, failureSummary }) => [
      `${id} (${impact}): ${help}`, target.join(' '), ...failureSummary.split('\\n').slice(1)].join('\\n    ')));
}"""


def find_chromium(playwright: Playwright) -> str | None:
    """The system's Chromium or Chrome, else Playwright's own, else None."""
    found = [path for name in ON_PATH if (path := shutil.which(name))]
    found += [place for place in (*USUAL_PLACES, playwright.chromium.executable_path) if Path(place).is_file()]
    return found[0] if found else None


def pytest_configure(config: pytest.Config) -> None:
    """Stop with one line, before any test, where there is nothing to test with or nothing to test."""
    with sync_playwright() as playwright:
        chromium = find_chromium(playwright)
    if chromium is None:
        command = f"{sys.executable} -m playwright install --with-deps chromium"
        pytest.exit(f"no Chromium to test the pages in; install one: {command}", returncode=1)
    if not (HTML / "index.html").is_file():
        pytest.exit("the book is not built; run: make book", returncode=1)


@pytest.fixture(scope="session")
def html() -> Path:
    """The folder of the built book."""
    return HTML


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for all tests of a process."""
    with sync_playwright() as playwright:
        # CI runs as root and in containers with a small /dev/shm; Chromium's sandbox and its default would not start.
        chromium = playwright.chromium.launch(
            executable_path=find_chromium(playwright), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


class Recorder:
    """What went wrong in a context's pages: requests that leave the folder, console errors, exceptions."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def watch(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self.request(request.url))
        context.on("console", self.console)
        context.on("weberror", lambda error: self.problems.append(f"exception: {error.error}"))

    def request(self, url: str) -> None:
        if not url.startswith(("file:", "blob:", "data:")):
            self.problems.append(f"external request: {url}")

    def console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console error: {message.text} ({message.location.get('url', '')})")


def load(context: BrowserContext, file: Path) -> Page:
    """Open a page of the book and wait until its mathematics and its widgets are there."""
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_function(MATHS_READY, timeout=READY_WITHIN)
    page.evaluate("() => window.MathJax?.startup?.promise")
    page.wait_for_function(WIDGETS_READY, timeout=READY_WITHIN)
    return page


@pytest.fixture(scope="module")
def loaded(request: pytest.FixtureRequest, browser: Browser, html: Path) -> Iterator[tuple[Page, Recorder]]:
    """The page whose name is the parameter, opened once for all tests of a module; see `page`."""
    recorder = Recorder()
    context = browser.new_context(**READER)
    recorder.watch(context)
    yield load(context, html / f"{request.param}.html"), recorder
    context.close()


@pytest.fixture
def page(loaded: tuple[Page, Recorder]) -> Iterator[Page]:
    """That page as a reader finds it: on a wide screen, in light colours, at its top. Fails as `open_page` does."""
    shown, recorder = loaded
    shown.emulate_media(media="screen", color_scheme=READER["color_scheme"])
    shown.set_viewport_size(READER["viewport"])
    shown.evaluate("() => window.scrollTo(0, 0)")
    shown.evaluate(FRAMES)
    yield shown
    shown.evaluate(FRAMES)  # what the last thing done to the page leads to belongs to this test
    problems, recorder.problems = recorder.problems, []
    assert not problems, "\n".join(problems)


@pytest.fixture
def open_page(browser: Browser, html: Path) -> Iterator[Callable[..., Page]]:
    """``open_page("book/index")`` opens a built page, ready to be used, in light colours on a wide screen.

    The test fails at its end if a page asked for anything outside the folder, logged an error or raised one.
    """
    recorder = Recorder()
    contexts: list[BrowserContext] = []

    def open_one(name: str) -> Page:
        context = browser.new_context(**READER)
        contexts.append(context)
        recorder.watch(context)
        return load(context, html / f"{name}.html")

    open_one.recorder = recorder  # type: ignore[attr-defined]
    yield open_one
    for context in contexts:
        for page in context.pages:
            page.evaluate(FRAMES)
        context.close()
    assert not recorder.problems, "\n".join(recorder.problems)


@pytest.fixture(scope="session")
def gallery_page(browser: Browser, html: Path) -> Iterator[tuple[Page, Recorder]]:
    """The page that shows every widget, opened once for all tests of a process."""
    recorder = Recorder()
    context = browser.new_context(**READER)
    recorder.watch(context)
    yield load(context, html / "book" / "appendix" / "widgets.html"), recorder
    context.close()


@pytest.fixture
def gallery(gallery_page: tuple[Page, Recorder]) -> Iterator[Callable[..., Locator]]:
    """``gallery("LongTail")`` is that widget of the gallery page, drawn again from the state that the page stores."""
    page, recorder = gallery_page
    recorder.problems.clear()

    def widget(kind: str, reduced_motion: bool = False) -> Locator:
        page.emulate_media(reduced_motion="reduce" if reduced_motion else "no-preference")
        page.evaluate(DRAW_AGAIN, kind)
        found = page.locator(f'.lt-widget[data-kind="{kind}"][data-ready]')
        found.wait_for()
        settle(found)  # the article may have lost its scroll bar, and the widget is drawn once more
        return found

    yield widget
    page.evaluate(FRAMES)
    assert not recorder.problems, "\n".join(recorder.problems)


@pytest.fixture(scope="session")
def axe() -> Callable[..., list[str]]:
    """``axe(page)``: the serious and critical violations that axe-core finds, one readable string each.

    ``rules="colour"`` checks only what a theme changes, ``rules="narrow"`` only what a narrow screen changes: controls
    that are hidden elsewhere, and what then scrolls.
    """
    source = AXE.read_text(encoding="utf-8")

    def violations(page: Page, rules: str = "all") -> list[str]:
        page.evaluate(source)
        return page.evaluate(AXE_RUN, AXE_RULES[rules])

    return violations


@pytest.fixture(scope="session")
def screenshot() -> Callable[[Page | Locator, str], Path]:
    """``screenshot(page or locator, name)`` keeps a picture in ``_build/screenshots``; of a page, its first screen."""

    def take(target: Page | Locator, name: str) -> Path:
        path = SCREENSHOTS / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        style = None if isinstance(target, Page) else FIXED  # it would lie over a widget taller than the screen
        target.screenshot(path=path, animations="disabled", style=style)
        return path

    return take
