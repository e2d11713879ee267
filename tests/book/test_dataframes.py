"""The tables of pandas in the built page: their header, and which columns hold words."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
from bs4 import BeautifulSoup

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import dataframes


def shown(table: pd.DataFrame) -> tuple[list[list[str]], list[list[str]]]:
    """The header's texts, and for each row of the body the texts of its cells, those of words in angle brackets."""
    soup = BeautifulSoup(dataframes.readable(table.to_html(notebook=True)), "html.parser")
    head = [[cell.text for cell in row.find_all("th")] for row in soup.thead.find_all("tr")]
    marks = [[(c.text, c.get("class")) for c in row.find_all(["th", "td"])] for row in soup.tbody.find_all("tr")]
    return head, [[f"<{text}>" if words == ["words"] else text for text, words in row] for row in marks]


def test_the_name_of_the_index_needs_no_row() -> None:
    table = pd.DataFrame({"top-1": [28.5, 33.9]}, index=pd.Index(["ALA", "GALA"], name="method"))
    assert shown(table) == ([["method", "top-1"]], [["<ALA>", "28.5"], ["<GALA>", "33.9"]])


def test_two_levels_of_rows_and_of_columns_keep_their_names() -> None:
    rows = pd.MultiIndex.from_tuples([(100, "a"), (100, "b")], names=["IF", "method"])
    table = pd.DataFrame([[1, 2], [3, 4]], index=rows, columns=pd.MultiIndex.from_product([["last"], ["all", "few"]]))
    assert shown(table)[0] == [["", "", "last"], ["IF", "method", "all", "few"]]


def test_a_name_of_the_columns_keeps_its_row() -> None:
    table = pd.DataFrame({"a": [1]}, index=pd.Index([5], name="step")).rename_axis(columns="run")
    assert shown(table)[0] == [["run", "a"], ["step", ""]]


def test_columns_of_words_are_marked() -> None:
    table = pd.DataFrame({"ci": ["+2.3 [-1.0, +3.1]", "28.5 ± 0.4"], "is": ["clear", "–"], "x": [1e-6, float("nan")]})
    head, body = shown(table)
    assert head == [["", "ci", "is", "x"]]
    assert body == [["0", "+2.3 [-1.0, +3.1]", "<clear>", "0.000001"], ["1", "28.5 ± 0.4", "<–>", "NaN"]]


def test_nothing_of_pandas_style_is_left() -> None:
    html = dataframes.readable(pd.DataFrame({"a": [1]}).to_html(notebook=True))
    assert "<style" not in html
    assert "border=" not in html
    assert "text-align" not in html
