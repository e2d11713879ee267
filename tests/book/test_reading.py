"""A chapter is what a reader can take in one sitting, and its page says how long that is."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import reading
from pages import ROOT, chapters, pages, prose, words_only


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_a_chapter_keeps_the_limits_and_prints_its_minutes(path: Path) -> None:
    assert not reading.faults(path), "; ".join(reading.faults(path))


@pytest.mark.parametrize("path", [p for p in pages() if p.suffix == ".ipynb"], ids=lambda p: p.stem)
def test_code_fits_the_page_and_assertions_are_hidden(path: Path) -> None:
    found = list(reading.code_faults(path))
    assert not found, "\n".join(found)


@pytest.mark.parametrize("path", [*pages(), ROOT / "README.md"], ids=lambda p: p.stem)
def test_no_page_gives_a_gpu_a_time_that_no_record_has(path: Path) -> None:
    assert not reading.gpu_times(prose(path), reading.recorded_gpus())


def test_the_check_of_gpu_times_knows_a_time_from_a_choice() -> None:
    assert reading.gpu_times("On an A100 it takes 40 seconds.")
    assert reading.gpu_times("A run is half an hour; on a T4 GPU\nabout ten minutes.")
    assert not reading.gpu_times("Choose a GPU for the cells that train; the rest takes a minute on a CPU.")
    assert not reading.gpu_times("It was not yet run on a GPU. On a CPU it takes 10 minutes.")
    assert not reading.gpu_times("A run took five minutes on an H100.", {"H100"})
    assert reading.gpu_times("A run took five minutes on an A100, or on any GPU.", {"H100"})
    assert reading.recorded_gpus() == {"H100"}


TEXT = """\
## A title of five words

Some [linked words](../a/page.ipynb) and $x + y$, by {cite}`someone2020`.

$$ a = b $$ (00-sum)

```{prf:theorem} Its title
:label: thm-00-sum

One line.
```

```python
never_counted = 1
```
"""


def test_words_are_those_that_are_read() -> None:
    kept = words_only(TEXT)
    for gone in ("page.ipynb", "someone2020", "a = b", "thm-00-sum", "never_counted", "prf:theorem"):
        assert gone not in kept
    assert reading.count_words(TEXT) == 5 + 6 + 2 + 2  # a formula in a line is one word


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """A chapter of 600 words, 24 visible lines of code, a display, a figure, a table, a widget and a printed line."""
    picture = new_output("display_data", data={"image/svg+xml": "<svg/>", "text/plain": "figure"})
    table = new_output("execute_result", data={"text/html": "<table></table>", "text/plain": "1"}, execution_count=1)
    printed = new_output("stream", text="one line\n\n")
    widget = new_output("display_data", data={reading.WIDGET_VIEW: {}, "text/plain": "Widget()"})
    caption = {"mystnb": {"figure": {"caption": "A caption of five words."}}}
    cells = [
        new_markdown_cell("*Time*: 20 minutes, exercises not counted.\n\n" + "word " * 594),
        new_markdown_cell("$$ a = b $$ (00-sum)"),
        new_code_cell("a = 1\n\n" * 24, outputs=[printed, picture], metadata=caption),
        new_code_cell("b = 1\n" * 90, outputs=[table], metadata={"tags": ["hide-input"]}),
        new_code_cell("", outputs=[widget]),
        new_code_cell("c", outputs=[picture, table], metadata={"tags": ["remove-cell"]}),
        new_markdown_cell("## Exercises\n\n" + "word " * 900),
        new_code_cell("d = 1\n" * 90, outputs=[picture]),
    ]
    path = tmp_path / "00_test.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return path


def test_what_is_hidden_or_behind_the_exercises_takes_no_time(chapter: Path) -> None:
    read = reading.reading(chapter)
    assert read == reading.Reading(
        words=600, code=24, displays=1, figures=1, tables=1, captions=5, printed=1, widgets=1
    )
    assert read.minutes == 20  # 6.05 + 2.5 + 3 * 2 + 4 = 18.55
    assert not reading.faults(chapter)


def test_a_wrong_time_and_a_long_chapter_are_named(chapter: Path) -> None:
    text = chapter.read_text().replace("20 minutes", "15 minutes").replace("word " * 594, "word " * 2600)
    chapter.write_text(text)
    wrong = "prints 15 minutes, exercises not counted; it takes 40"
    assert reading.faults(chapter) == ["2,606 words; at most 2,500", wrong]


def test_a_time_that_does_not_say_what_it_leaves_out_is_no_time(chapter: Path) -> None:
    chapter.write_text(chapter.read_text().replace(", exercises not counted", " to read"))
    (fault,) = reading.faults(chapter)
    assert fault == "prints no minutes, exercises not counted; it takes 20"
    reading.write_minutes(chapter)
    assert reading.printed_minutes(chapter) == 20
    assert not reading.faults(chapter)


@pytest.mark.parametrize(
    ("counts", "shortest", "longest"),
    [  # what the pages had when a student read them by the clock
        (reading.Reading(2500, 189, 15, 4, 3, captions=137, printed=20, widgets=1), 95, 105),  # chapter 07
        (reading.Reading(2356, 46, 6, 5, 5, captions=213, printed=8, widgets=2), 65, 75),  # chapter 13
    ],
)
def test_the_rule_fits_the_readings_that_were_timed(counts: reading.Reading, shortest: int, longest: int) -> None:
    assert shortest <= counts.minutes <= longest


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = f()\nassert x > 1", True),
        ("assert x > 1\nprint('all claims hold')", True),
        ("assert x > 1\nprint(x)", False),
        ("def f():\n    return 1\nassert f() == 1", False),
        ("x = 1", False),
    ],
)
def test_cells_that_only_assert_are_known(source: str, expected: bool) -> None:
    assert reading.only_asserts(new_code_cell(source)) is expected
