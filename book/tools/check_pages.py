"""Fail unless every page of `_toc.yml` was built as HTML, and `index.html` with it, and no page or widget is too heavy.

A page is its HTML and the pictures it shows. What all pages share in `_static` is not counted.
"""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGE_LIMIT = 1_500_000  # bytes
SOURCE_LIMIT = 60_000  # bytes of JavaScript in one widget
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"  # of a notebook, in its metadata
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"  # of an output that shows a widget
IMAGE = re.compile(r'<img\b[^>]*?\bsrc="([^"]+)"')


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
    return list(_files((ROOT / "_toc.yml").read_text(encoding="utf-8")))


@cache
def _files(contents: str) -> tuple[str, ...]:
    return tuple(pages(yaml.safe_load(contents)))


def page_faults(path: Path) -> list[str]:
    """Pictures of a built page that the book lacks; where it has all, the size of the page with them, if too large."""
    text = path.read_text(encoding="utf-8")
    names = {unquote(source) for source in IMAGE.findall(text) if not source.startswith("data:")}
    pictures = {name: (path.parent / name).resolve() for name in sorted(names) if "_static/" not in name}
    faults = [f"shows {name}, which is not in the book" for name, file in pictures.items() if not file.is_file()]
    if not faults:
        size = path.stat().st_size + sum(file.stat().st_size for file in set(pictures.values()))
        faults += [f"has {size:,} bytes with its pictures; at most {PAGE_LIMIT:,}"] if size > PAGE_LIMIT else []
    return [f"{path.relative_to(ROOT)} {fault}" for fault in faults]


def widget_models(notebook: Path) -> dict[str, Any]:
    """The widget models that a notebook stores, by their ids; none where it shows no widget."""
    metadata = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]
    return metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})


def widget_faults(notebook: Path) -> list[str]:
    """Widgets of ours whose source is too long, and kinds that come twice: each one stores its whole source."""
    states = [model["state"] for model in widget_models(notebook).values() if "_esm" in model["state"]]
    faults = [
        f"{state['_anywidget_id']} has {size:,} bytes of source; at most {SOURCE_LIMIT:,}"
        for state in states
        if (size := len(state["_esm"].encode())) > SOURCE_LIMIT
    ]
    kinds = Counter(state["_anywidget_id"] for state in states)
    faults += [f"{kind} is shown {count} times; at most once" for kind, count in kinds.items() if count > 1]
    return [f"{notebook.relative_to(ROOT)}: {fault}" for fault in faults]


def main() -> None:
    html = ROOT / "_build" / "html"
    names = toc_pages()
    expected = [html / "index.html", *(html / f"{name}.html" for name in names)]
    missing = [str(path.relative_to(ROOT)) for path in expected if not path.is_file()]
    if missing:
        sys.exit(f"the build left out {len(missing)} pages: {', '.join(missing)}")
    notebooks = [path for name in names if (path := ROOT / f"{name}.ipynb").is_file()]
    faults = [fault for page in expected for fault in page_faults(page)]
    faults += [fault for notebook in notebooks for fault in widget_faults(notebook)]
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(expected)} pages built")


if __name__ == "__main__":
    main()
