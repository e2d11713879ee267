"""Keep a formula in a line beside the punctuation that touches it: browsers break a line between the two.

MathJax makes of every formula a box of its own, and beside a box a line may end. So a comma could begin a line, and an
opening bracket end one. The blank between a number and its % is one at which no line ends.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

BEFORE = re.compile(r"[(\[“‘\"']+$")
AFTER = re.compile(r"^[^\w\s]+")
PERCENT = re.compile(r"(?<=\d)[ \n](?=%)")


class GluedMaths(SphinxPostTransform):
    """Puts a formula and what touches it into an element that does not wrap."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for math in list(self.document.findall(nodes.math)):
            parent, place = math.parent, math.parent.index(math)
            around = [parent[i] if 0 <= i < len(parent) else None for i in (place - 1, place + 1)]
            before, after = (
                pattern.search(str(text)) if isinstance(text, nodes.Text) else None
                for pattern, text in zip((BEFORE, AFTER), around, strict=True)
            )
            if not before and not after:
                continue
            glued = nodes.inline(classes=["glued"])
            glued += [nodes.Text(before[0])] if before else []
            if after:
                parent[place + 1] = nodes.Text(str(around[1])[after.end() :])
            if before:
                parent[place - 1] = nodes.Text(str(around[0])[: before.start()])
            parent[place] = glued
            glued += [math, *([nodes.Text(after[0])] if after else [])]
        for text in list(self.document.findall(nodes.Text)):
            if PERCENT.search(text) and not isinstance(text.parent, (nodes.literal, nodes.literal_block, nodes.raw)):
                text.parent.replace(text, nodes.Text(PERCENT.sub("\N{NO-BREAK SPACE}", text)))


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(GluedMaths)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
