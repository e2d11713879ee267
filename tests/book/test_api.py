"""The reference: current, complete, and every name with a test."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import api
from check_pages import toc_pages

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


def test_chapters_and_tests_are_found() -> None:
    from lt_core.losses import ALALoss, gala_loss

    assert api.chapter(ALALoss) == "{doc}`06 </book/part2_adjusting/06_ala>`"
    assert api.chapter(gala_loss) == "{doc}`07 </book/part2_adjusting/07_gala>`"
    assert api.tested("ALALoss", ALALoss) == "tests/losses/test_ala_loss.py"
    assert api.chapter(Path) == ""


def test_a_name_without_any_test_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from lt_core.losses import ALALoss

    monkeypatch.setattr(api, "tests", lambda: {"tests/test_other.py": Counter(["nothing"])})
    with pytest.raises(ValueError, match="no test uses ALALoss"):
        api.tested("ALALoss", ALALoss)
