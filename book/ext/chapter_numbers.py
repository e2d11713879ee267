"""Number what a chapter holds by the chapter: the file `06_ala` has Figure 6.1, (6.1), Theorem 6.1 and Exercise 6.1.

Sphinx numbers such things through the whole book, so that every number changes when a chapter comes before it. The
chapter's number stands in the file's name. What stands on a page without one is counted through all such pages: 1, 2, …
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

CHAPTER = re.compile(r"(?:.*/)?0*(\d+)_[^/]*")


def chapter(docname: str) -> int | None:
    """The number in the file's name, or None."""
    found = CHAPTER.fullmatch(docname)
    return int(found[1]) if found else None


def renumber(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Count anew, by chapter, what Sphinx counted through; each kind of a page has its names in their order there."""
    outside: dict[str, int] = defaultdict(int)
    for docname, kinds in env.toc_fignumbers.items():
        number = chapter(docname)
        for kind, numbers in kinds.items():
            for place, name in enumerate(numbers, 1):
                outside[kind] += number is None
                numbers[name] = (outside[kind],) if number is None else (number, place)
    return []


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("env-get-updated", renumber, priority=600)  # after Sphinx, which counts at 500
    return {"parallel_read_safe": True, "parallel_write_safe": True}
