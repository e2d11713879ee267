"""Pages at the addresses that renamed pages had before: `book/redirects.yaml` says where each leads.

They need no server and no script.
"""

from __future__ import annotations

import os
from html import escape
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

MAP = Path(__file__).resolve().parents[1] / "redirects.yaml"
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>This page has moved</title>
<meta name="robots" content="noindex">
<link rel="canonical" href="{target}">
<meta http-equiv="refresh" content="0; url={target}">
</head>
<body><p>This page has moved to <a href="{target}">{title}</a>.</p></body>
</html>
"""


def moved(path: Path) -> dict[str, str]:
    """Old page to new page, both as in the table of contents; a new one can have a section, `page#anchor`."""
    found = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return {str(old): str(new) for old, new in (found or {}).items()}


def faults(redirects: dict[str, str], pages: set[str]) -> list[str]:
    """What is wrong with a map: the old address is a page still, or the new one is none."""
    found = [f"{old} is a page of the book; it cannot lead elsewhere" for old in redirects if old in pages]
    lost = [(old, new) for old, new in redirects.items() if new.partition("#")[0] not in pages]
    return found + [f"{old} leads to {new}, which is no page" for old, new in lost]


def page(old: str, new: str, title: str) -> str:
    """The page at the old address, with a link relative to it."""
    docname, mark, anchor = new.partition("#")
    target = os.path.relpath(f"{docname}.html", PurePosixPath(old).parent) + mark + anchor
    return PAGE.format(target=escape(target), title=escape(title))


def check(app: Sphinx) -> None:
    app.redirects = moved(MAP)  # type: ignore[attr-defined]


def write(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    redirects = app.redirects  # type: ignore[attr-defined]
    if found := faults(redirects, set(app.env.all_docs)):
        raise ExtensionError("book/redirects.yaml: " + "; ".join(found))
    for old, new in redirects.items():
        target = Path(app.outdir) / f"{old}.html"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page(old, new, app.env.titles[new.partition("#")[0]].astext()), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", check)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
