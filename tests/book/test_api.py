"""The reference: current, complete, and every name with a test."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import api
from check_pages import toc_pages
from pages import displays

import lt_core


@pytest.mark.parametrize("path", api.pages(), ids=lambda path: path.stem)
def test_a_page_is_what_the_package_gives(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == api.pages()[path], "run python book/tools/api.py"


def test_every_public_module_has_a_page_that_the_contents_list() -> None:
    assert set(api.MODULES) == set(lt_core._SUBMODULES)
    assert [f"book/api/{name}" for name in api.MODULES] == [p for p in toc_pages() if p.startswith("book/api/")][1:]
    assert {path.stem for path in api.PLACE.glob("*.md")} == {api.INDEX, *api.MODULES}


@pytest.mark.parametrize("name", api.MODULES)
def test_every_public_name_is_described_and_on_its_page(name: str) -> None:
    """A name in ``__all__`` has a directive, or stands among the values; and it has a docstring of its own."""
    module = importlib.import_module(f"lt_core.{name}")
    page = api.pages()[api.PLACE / f"{name}.md"]
    members = api.public(module)
    for member, value in members.items():
        assert f":: lt_core.{name}.{member}\n" in page, member
        assert value.__doc__, member
    others = {n for n in getattr(module, "__all__", ()) if n not in members}
    modules = {n for n in others if inspect.ismodule(getattr(module, n))}
    assert others - modules == set(api.constants(module))


def test_what_is_derived_is_there() -> None:
    """A label of `DERIVED` is a display of a chapter, and its names are public."""
    shown = {label for path in api.chapters() for label, _ in displays(api.prose(path))}
    assert set(api.DERIVED) <= shown
    names = " ".join(api.DERIVED.values()).split()
    assert len(names) == len(set(names))
    for module, name in (text.split(".") for text in names):
        assert name in api.public(importlib.import_module(f"lt_core.{module}")), name


def test_chapters_and_tests_are_found() -> None:
    from lt_core.data import check_files
    from lt_core.losses import ALALoss, centroid_loss, lade_loss

    assert api.chapter("losses", "ALALoss", ALALoss) == "Derived in chapter {doc}`06 </book/part2_adjusting/06_ala>`"
    assert api.chapter("losses", "centroid_loss", centroid_loss) == ""
    assert api.chapter("data", "check_files", check_files) == ""
    assert api.chapter("losses", "LADELoss", lt_core.losses.LADELoss).startswith("Mentioned in chapters {doc}`08 ")
    assert api.chapter("losses", "lade_loss", lade_loss) == ""
    assert api.tested("losses", "ALALoss", ALALoss) == "tests/losses/test_ala_loss.py"


def test_a_bare_word_is_no_use(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import lt_core as lt\nfrom lt_core.report import study\nlt.losses.ALALoss(n)\nstudy.Run\nsave = show(1)\n"
    found = api.uses(ast.parse(code))
    whole = {"lt_core.losses.ALALoss": 1, "lt_core.report.study.Run": 1}
    assert found == {**whole, "lt_core": 1, "lt_core.losses": 1, "lt_core.report.study": 1}
    monkeypatch.setattr(api, "tests", lambda: {"tests/test_other.py": found})
    assert api.tested("losses", "ALALoss", lt_core.losses.ALALoss) == "tests/test_other.py"
    assert api.tested("losses", "ala_loss", lt_core.losses.ala_loss) == ""


def test_a_colon_in_a_propertys_first_line_is_an_error() -> None:
    class Split:
        @property
        def both(self) -> int:
            """Two: one and one."""
            return 2

    with pytest.raises(ValueError, match=r"Split\.both: a colon"):
        list(api._documented(Split))
