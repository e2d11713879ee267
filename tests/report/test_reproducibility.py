"""The page that lists every record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import lt_core as lt
from lt_core.report.reproducibility import BEGIN, END, PAGE, tables

BOOK = Path(__file__).parents[2] / "book"


def test_the_page_lists_the_records_that_there_are() -> None:
    """`collect` writes it; after a record was changed by hand, lt.report.write_reproducibility("book/results") does."""
    text = (BOOK / PAGE).read_text(encoding="utf-8")
    assert text.split(BEGIN)[1].split(END)[0].strip() == tables(BOOK / "results"), "the records changed"


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of two records, one of them resumed with another commit and without CPU seconds."""
    results = tmp_path / "book" / "results"
    for name in ("ce-if100-s0", "ce-if100-s1"):
        shutil.copytree(BOOK / "results" / "study" / "short" / name, results / "study" / "short" / name)
    path = results / "study" / "short" / "ce-if100-s1" / "record.json"
    record = json.loads(path.read_text())
    record["environment"] |= {"commits": ["aaa", "bbb"], "cpu_seconds": 660.0}
    path.write_text(json.dumps(record))
    page = tmp_path / "book" / PAGE
    page.parent.mkdir()
    page.write_text(f"# Before\n\n{BEGIN}\nold\n{END}\n\nafter\n")
    return tmp_path / "book"


def test_the_tables_are_written_between_the_marks(book: Path) -> None:
    assert lt.report.write_reproducibility(book / "results" / "study") == book / PAGE
    text = (book / PAGE).read_text()
    assert text.startswith(f"# Before\n\n{BEGIN}\n\n2 records.")
    assert text.endswith(f"{END}\n\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| `ce-if100-s")]
    assert [line.split("|")[-3:-1] for line in rows] == [[" 1 ", " – "], [" 2 ", " 11 "]]
    assert "### `study/short`\n\nData cifar100_lt; imbalance factor 100; network resnet8; epochs 40." in text
    assert "2. commit `aaa`, `bbb`; Python " in text
    before = text
    lt.report.write_reproducibility(book / "results")
    assert (book / PAGE).read_text() == before


def test_elsewhere_there_is_no_page_and_a_page_without_marks_is_an_error(book: Path, tmp_path: Path) -> None:
    assert lt.report.write_reproducibility(tmp_path) is None
    (book / PAGE).write_text("no marks")
    with pytest.raises(ValueError, match="lacks the line"):
        lt.report.write_reproducibility(book / "results" / "study")


def test_a_configuration_that_is_not_ours_is_named_with_its_file(book: Path) -> None:
    path = book / "results" / "study" / "short" / "ce-if100-s1" / "record.json"
    record = json.loads(path.read_text())
    record["config"]["sampling"] = "balanced"
    path.write_text(json.dumps(record))
    before = (book / PAGE).read_text()
    with pytest.raises(lt.records.RecordError, match="config: configuration key is 'sampling'; allowed are") as caught:
        lt.report.write_reproducibility(book / "results")
    assert str(caught.value).startswith(str(path))
    assert (book / PAGE).read_text() == before
