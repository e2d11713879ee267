"""Print the built book as one PDF: `make pdf`, which writes `_build/pdf/NAME-VERSION.pdf`.

`edition.py` makes one document of the pages in `_build/html`, with every widget as its page first draws it; Chromium
typesets and prints it, twice: page numbers are known when it has been printed once. It stops, naming each place, where
something is wider than the paper or cut, stands on a dark ground or is not typeset, where a link leads nowhere, a sheet
is blank, a page of `_toc.yml` is not in the outline, or the file has more than 25 MB.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from html import escape
from pathlib import Path
from typing import Any

import pikepdf
import yaml
from address import ROOT, commit, repository, site
from check_pages import pages
from edition import Edition, title_of

HTML = ROOT / "_build" / "html"
OUT = ROOT / "_build" / "pdf"
TOOLS = ROOT / "book" / "tools"
WIDGETS = ROOT / "lt_core" / "widgets" / "js"
CSS = [*(WIDGETS / name for name in ("style.css", "frames.css", "method_table.css")), TOOLS / "pdf.css"]
LIMIT = 25_000_000  # bytes
LEFT_OUT = {"book/appendix/figures"}  # it shows all figures once more, for those who want their files
PAPER = {"width": 673, "height": 987}  # pixels of A4 between the margins of pdf.css
SHOWN = re.compile(rb"(?<=[\s>\])])(?:Tj|TJ|Do|f)\s")  # a PDF's commands for text, pictures and areas
FURNITURE = 3  # of them on a blank sheet: the title above, the number below
PATIENCE = 180_000  # milliseconds for what takes ten seconds on an idle machine
ON_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MATHJAX = """{"options": {"processHtmlClass": "math", "enableMenu": false, "enableAssistiveMml": false}}"""
# html-manager has put every widget before its view, and it has drawn something.
DRAWN = """() => {
  const views = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]');
  const areas = [...document.querySelectorAll('.widget-subarea')].filter(
    (area) => area.querySelector('.lt-widget[data-ready] :is(svg, table), .lt-frames figure img'));
  return areas.length === views.length;
}"""


def settings(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def version() -> str:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def file_name(title: str) -> str:
    """Of an edition, without its ending: the book's title and version."""
    return f"{re.sub('[^a-z0-9]+', '-', title.lower()).strip('-')}-{version()}"


def committed() -> str:
    """Which commit this is and when it was made; says so where files have changed since."""
    shown = subprocess.run(
        ["git", "-C", str(ROOT), "log", "-1", "--format=%h of %cd", "--date=format:%-d %B %Y"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    changed = subprocess.run(["git", "-C", str(ROOT), "diff", "--quiet", "HEAD"], check=False).returncode
    return f"commit {shown}{', with later changes' if changed else ''}" if commit() else "of no commit"


def places(names: list[str], titles: dict[str, str]) -> dict[str, str]:
    """How a reader finds a page online: its address, or its title where the book has no address."""
    base = site(repository())
    if not base:
        return {name: f"in the online edition, on the page “{escape(titles[name])}”" for name in names}
    links = {name: escape(f"{base}/{name}.html") for name in names}
    return {name: f'at <a href="{link}">{link}</a>' for name, link in links.items()}


def front(folded: int) -> str:
    """The title page, and on it what this edition has and has not."""
    config = settings("_config.yml")
    base = site(repository())
    online = f'at <a href="{base}/">{base}</a>' if base else "in the built book, which opens from a folder"
    left_out = (
        f"This is a print of the whole book. Its widgets answer on the pages, {online}; here each is a picture of its "
        f"first state. Solutions and the answers of the quizzes stand at the end. {folded} cells of code that pages "
        "fold away, most of which draw figures, are left out, and so are the assignments’ notebooks and the page that "
        "lists all figures."
    )
    return (
        f'<section class="title"><h1>{escape(config["title"])}</h1><p>{escape(config["author"])}</p>'
        f"<p>Version {version()}, {committed()}</p>"
        f'<div class="edition"><p>{left_out}</p><p>Copyright {escape(config["copyright"])}.</p></div></section>'
    )


def head(built: str, title: str) -> str:
    """The style sheets of a built page, those of the widgets and of this edition, and MathJax."""
    links = re.findall(r"<link\b[^>]*\bstylesheet\b[^>]*>", built)
    sheets = "\n".join(re.sub(r'href="(?:\.\./)*(_static/[^"?]*)[^"]*"', r'href="../html/\1"', link) for link in links)
    own = "\n".join(path.read_text(encoding="utf-8") for path in CSS)
    script = '<script defer src="../html/_static/vendor/mathjax/tex-mml-chtml.js"></script>'
    meta = f'<meta charset="utf-8"><title>{escape(title)}</title>'
    return f"{meta}\n{sheets}\n<style>{own}</style>\n<script>window.MathJax = {MATHJAX}</script>\n{script}"


def drawn(context: Any, names: list[str]) -> dict[str, list[str]]:
    """The widgets of every page as HTML, drawn on the width of the paper."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for name in names:
        file = HTML / f"{name}.html"
        if "vnd.jupyter.widget-view" not in file.read_text(encoding="utf-8"):
            continue
        page = context.new_page()
        page.emulate_media(media="print", color_scheme="light")
        page.goto(file.as_uri())
        page.wait_for_function(DRAWN, timeout=PATIENCE)
        page.wait_for_timeout(500)  # a widget is drawn once more where the width changed
        page.evaluate((TOOLS / "pdf.js").read_text(encoding="utf-8"))
        found[name] = page.evaluate("() => window.edition.drawn()")
        page.close()
    return found


def compose(names: list[str], widgets: dict[str, list[str]]) -> tuple[Edition, str]:
    """The document, and the edition that knows what is wrong with it."""
    built = {name: (HTML / f"{name}.html").read_text(encoding="utf-8") for name in names}
    found = {name: re.search(r"<title>(.*?)(?: &#8212;.*)?</title>", text, re.DOTALL) for name, text in built.items()}
    edition = Edition(names, places(names, {name: one[1] if one else name for name, one in found.items()}))
    for name in names:
        edition.add(name, built[name], widgets[name])
    title = settings("_config.yml")["title"]
    return edition, edition.html(settings("_toc.yml"), head(built[names[0]], title), front(edition.folded))


def printed(page: Any, path: Path) -> list[str]:
    """Print until the page numbers in the text are those of the sheets; what is wrong with the layout."""
    page.evaluate("() => window.edition.ready()")
    faults = page.evaluate("() => window.edition.faults()")
    before: dict[str, int] = {}
    for _ in range(4):
        page.pdf(path=path, tagged=True, outline=True, prefer_css_page_size=True, print_background=True)
        now = page_numbers(path)
        if now == before:
            return faults
        page.evaluate("pages => window.edition.number(pages)", now)
        before = now
    return [*faults, "the page numbers do not settle"]


def page_numbers(path: Path) -> dict[str, int]:
    """The sheet on which every place stands to which a link leads."""
    with pikepdf.open(path) as file:
        sheets = {sheet.objgen: place for place, sheet in enumerate(file.pages, 1)}
        return {name.removeprefix("/"): sheets[place[0].objgen] for name, place in file.Root.Dests.items()}


def compact(path: Path) -> None:
    """Pack the objects that Chromium writes one by one: what a screen reader follows is as large as all the rest."""
    with pikepdf.open(path, allow_overwriting_input=True) as file:
        file.save(path, object_stream_mode=pikepdf.ObjectStreamMode.generate)


def outline_titles(entries: list[Any]) -> list[str]:
    """Every title of an outline, however deep."""
    return [title for entry in entries for title in (str(entry.title), *outline_titles(entry.children))]


def pdf_faults(path: Path, titles: list[str]) -> list[str]:
    """What is wrong with the file: its size, its outline, blank sheets, links that lead nowhere."""
    size = path.stat().st_size
    faults = [f"{path.name} has {size:,} bytes; at most {LIMIT:,}"] if size > LIMIT else []
    with pikepdf.open(path) as file:
        with file.open_outline() as outline:
            known = {plain(title) for title in outline_titles(outline.root)}
        faults += [f"the outline lacks {title}" for title in titles if plain(title) not in known]
        names = set(file.Root.get("/Dests", {}).keys())
        for number, sheet in enumerate(file.pages, 1):
            if drawings(sheet) <= FURNITURE:
                faults.append(f"sheet {number} is blank")
            for link in sheet.get("/Annots", []):
                place = link.get("/Dest")
                if isinstance(place, pikepdf.Name) and place not in names:
                    faults.append(f"sheet {number} links to {place}, which is nowhere")
    return faults


def drawings(sheet: Any) -> int:
    """How many pieces of text and pictures a sheet has."""
    if "/Contents" not in sheet:
        return 0
    sheet.contents_coalesce()
    return len(SHOWN.findall(sheet.Contents.read_bytes()))


def plain(text: str) -> str:
    """A title without blanks, which a PDF sets as it likes."""
    return re.sub(r"\s+", "", text)


def find_chromium(playwright: Any) -> str | None:
    found = [path for name in ON_PATH if (path := shutil.which(name))]
    own = playwright.chromium.executable_path
    return found[0] if found else own if Path(own).is_file() else None


def main() -> None:
    from playwright.sync_api import sync_playwright

    names = [name for name in pages(settings("_toc.yml")) if name not in LEFT_OUT]
    if missing := [name for name in names if not (HTML / f"{name}.html").is_file()]:
        sys.exit(f"the book is not built, run make book; missing: {', '.join(missing)}")
    OUT.mkdir(parents=True, exist_ok=True)
    path = OUT / f"{file_name(settings('_config.yml')['title'])}.pdf"
    source = OUT / "book.html"
    with sync_playwright() as playwright:
        chromium = find_chromium(playwright)
        if chromium is None:
            sys.exit(
                f"no Chromium to print with; install one: {sys.executable} -m playwright install --with-deps chromium"
            )
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-dev-shm-usage"])
        context = browser.new_context(offline=True, color_scheme="light", viewport=PAPER)
        context.set_default_timeout(PATIENCE)
        edition, text = compose(names, drawn(context, names))
        source.write_text(text, encoding="utf-8")
        page = context.new_page()
        page.emulate_media(media="print", color_scheme="light")
        page.goto(source.as_uri())
        page.evaluate((TOOLS / "pdf.js").read_text(encoding="utf-8"))
        faults = edition.faults + printed(page, path)
        browser.close()
    compact(path)
    faults += pdf_faults(path, [title_of(article) for _, article in edition.chapters])
    if faults:
        sys.exit("\n".join(faults))
    print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
