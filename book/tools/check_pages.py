"""Fail unless every page of `_toc.yml` was built as HTML, and `index.html` with it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]


def pages(node: Any) -> Iterator[str]:
    """Every file named in the table of contents, in order."""
    if isinstance(node, dict):
        yield from (node[key] for key in ("root", "file") if key in node)
        for value in node.values():
            yield from pages(value)
    elif isinstance(node, list):
        for item in node:
            yield from pages(item)


def toc_pages() -> list[str]:
    return list(pages(yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))))


def main() -> None:
    html = ROOT / "_build" / "html"
    expected = [html / "index.html", *(html / f"{page}.html" for page in toc_pages())]
    missing = [str(path.relative_to(ROOT)) for path in expected if not path.is_file()]
    if missing:
        sys.exit(f"the build left out {len(missing)} pages: {', '.join(missing)}")
    print(f"{len(expected)} pages built")


if __name__ == "__main__":
    main()
