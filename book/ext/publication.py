"""What depends on where the book is published: the Colab badge, the theme's buttons, addresses in the text, and the
notebooks that the download button gives, which are those that Colab opens.

The address is that of `book/tools/address.py`. Where it is not set, a page says so and has no button that would lead
nowhere.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

from address import PLACEHOLDER, colab_link, commit, repository, site

UNSET = "Open in Colab: not from this copy, which does not know the address of the book's repository."


def stamp(app: Sphinx, config: Config) -> None:
    """The settings that follow from the address."""
    address = config.repository_address = repository()
    config.html_baseurl = f"{site(address)}/" if site(address) else ""
    shown = bool(address)
    config.html_theme_options.update(
        repository_url=address, use_repository_button=shown, use_issues_button=shown, use_source_button=False
    )


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """The address where a page's text has the placeholder."""
    if app.config.repository_address:
        source[0] = source[0].replace(PLACEHOLDER, app.config.repository_address)


def is_notebook(app: Sphinx, docname: str) -> bool:
    return docname in app.env.all_docs and str(app.env.doc2path(docname)).endswith(".ipynb")


def badge(address: str, docname: str) -> str:
    link = colab_link(address, f"{docname}.ipynb")
    return f'<p class="launch"><a href="{link}">Open in Colab</a></p>' if link else f'<p class="launch">{UNSET}</p>'


def launch(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """The badge below the title."""
    if doctree is not None and is_notebook(app, pagename):
        mark = badge(app.config.repository_address, pagename)
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{mark}", 1)


def offer_editions(app: Sphinx, error: Exception | None) -> None:
    """Put the edition for Colab where the download button finds a page's source."""
    if error is not None or app.builder.format != "html" or not app.config.html_copy_source:
        return
    from colab import edition, write

    for docname in app.env.all_docs:
        if is_notebook(app, docname):
            path = Path(os.fspath(app.env.doc2path(docname)))
            made = edition(path, app.config.repository_address, commit())
            write(made, Path(app.outdir) / "_sources" / f"{docname}.ipynb")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_config_value("repository_address", "", "env")  # another address: every page is read again
    app.connect("config-inited", stamp)
    app.connect("source-read", fill_in, priority=100)
    app.connect("html-page-context", launch)
    app.connect("build-finished", offer_editions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
