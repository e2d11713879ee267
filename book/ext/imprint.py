"""The foot of every page: the book's version, a digest of its records, and where to report an error on this page.

Where the address of the repository is known, a click opens the form for errors with page and version filled in; where
it is not, the page on errata says how to report. Version and digest are those of `book/tools/version.py`.
"""

from __future__ import annotations

import re
import sys
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from address import GITHUB, commit, repository
from version import edition

FORM = "error.yml"  # in .github/ISSUE_TEMPLATE; `page` and `version` are ids of its fields
ERRATA = "book/appendix/errata"


def form(address: str, page: str, edition: str, revision: str) -> str:
    """The form for errors with its first fields filled in; "" for a repository that is not on GitHub."""
    if not GITHUB.fullmatch(address):
        return ""
    version = f"{edition} · commit {revision[:10]}" if revision else edition
    return f"{address}/issues/new?{urlencode({'template': FORM, 'page': page, 'version': version})}"


def place(app: Sphinx, config: Config) -> None:
    """Below author and licence, in the theme's foot of the article."""
    config.html_theme_options["footer_content_items"] = ["author.html", "copyright.html", "imprint.html"]


def compute(app: Sphinx) -> None:
    """Once a build: the address, the commit and the digest are the same for all pages."""
    app.imprint = (repository(), edition(), commit())  # type: ignore[attr-defined]


def imprint(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """What `book/_templates/imprint.html` shows."""
    address, text, revision = app.imprint  # type: ignore[attr-defined]
    title = unescape(re.sub(r"<[^>]*>", "", context.get("title", "")))
    context["edition"] = text
    context["report_error"] = form(address, f"{title} ({pagename})" if title else pagename, text, revision)
    context["errata"] = context["pathto"](ERRATA) if ERRATA in app.env.all_docs else ""


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("config-inited", place)
    app.connect("builder-inited", compute)
    app.connect("html-page-context", imprint)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
