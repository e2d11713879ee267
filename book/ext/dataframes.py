"""The tables that pandas makes, as a reader wants them: a header row less, words to the left, none of pandas' style.

The name of the index, for which pandas adds a header row of empty cells, goes into the corner. Columns of words are
marked for `book/_static/tables.css`; numbers stand to the right.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bs4 import BeautifulSoup, Tag
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform

NUMBERS = re.compile(r"(?:[\d\s.,:/*%()\[\]<>≤≥=±×†+−–-]|e[+-]?\d+|nan|NaN|None|—)*")


def readable(html: str) -> str:
    """The HTML of an output with its tables mended."""
    soup = BeautifulSoup(html, "html.parser")
    for table in soup.find_all("table", class_="dataframe"):
        for style in table.parent.find_all("style"):
            style.decompose()
        del table["border"]
        if table.thead and table.tbody and table.tbody.tr:
            for row in table.find_all("tr"):
                del row["style"]  # "text-align: right"
            name_the_corner(table)
            mark_words(table)
    return str(soup)


def name_the_corner(table: Tag) -> None:
    """Names of the index levels, alone in the last header row, move into the empty cells above them."""
    rows = table.thead.find_all("tr")
    levels = len(table.tbody.tr.find_all("th"))
    names = rows[-1].find_all("th")
    if len(rows) < 2 or any(cell.text for cell in names[levels:]):
        return
    corner = rows[-2].find_all("th")[:levels]
    if any(cell.text for cell in corner):  # the columns have a name too
        return
    for cell, name in zip(corner, names, strict=False):
        cell.string = name.text
    rows[-1].decompose()


def mark_words(table: Tag) -> None:
    """The class ``words`` for the cells of a column that holds more than numbers, and for the header above them."""
    header = table.thead.find_all("tr")[-1].find_all("th")
    levels = len(table.tbody.tr.find_all("th"))
    rows = [row.find_all("td") for row in table.tbody.find_all("tr")]
    for place, column in enumerate(zip(*rows, strict=True), levels):
        mark(column, header[place : place + 1])
    mark(table.tbody.find_all("th"), header[:levels])


def mark(column: Iterable[Tag], header: Iterable[Tag]) -> None:
    if all(NUMBERS.fullmatch(cell.text) for cell in column):
        return
    for cell in (*column, *header):
        cell["class"] = "words"


class ReadableTables(SphinxPostTransform):
    default_priority = 5
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for output in list(self.document.findall(nodes.raw)):
            if output.get("format") == "html" and 'class="dataframe"' in output.astext():
                new = output.copy()
                new += nodes.Text(readable(output.astext()))
                output.replace_self(new)


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_post_transform(ReadableTables)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
