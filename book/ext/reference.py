"""What the reference of the package needs beside autodoc and napoleon."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx


def keep_sentences(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Napoleon takes what stands before a colon in a property's description for its type: write a dash instead."""
    if what in ("property", "attribute"):
        lines[:] = [re.sub(r"(?<!:):(?= )", " –", line) for line in lines]


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", keep_sentences, priority=100)  # before napoleon's
    return {"parallel_read_safe": True, "parallel_write_safe": True}
