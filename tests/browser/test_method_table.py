"""`MethodTable` on the page: its rows are those that Python gives, in the order that the head's buttons ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from controls import choose, click, says, settle
from playwright.sync_api import Locator

import lt_core as lt

STUDY = lt.records.find_results(Path(lt.__file__).parent) / "study"
PHONE = {"width": 390, "height": 844}


def expected(**settings: object) -> list[str]:
    widget = lt.widgets.MethodTable(lt.report.systems.load_systems("short", STUDY).rows())
    for name, value in settings.items():
        setattr(widget, name, value)
    return widget.shown


def shown(widget: Locator) -> list[str]:
    settle(widget)
    return widget.locator("tbody th").all_inner_texts()


def column(widget: Locator, title: str) -> list[str]:
    place = [text.rstrip(" ↓↑") for text in widget.locator("thead th").all_inner_texts()].index(title)
    return widget.locator("tbody tr").evaluate_all(f"rows => rows.map((row) => row.cells[{place}].textContent)")


def sorts(widget: Locator) -> dict[str, str]:
    """What the head says to a screen reader."""
    heads = widget.locator("thead th[aria-sort]").evaluate_all("heads => heads.map((h) => [h.textContent, h.ariaSort])")
    return {text.rstrip(" ↓↑"): way for text, way in heads}


def search(widget: Locator, text: str) -> None:
    widget.get_by_label("Search the rows", exact=True).fill(text)
    settle(widget)


def test_at_first_the_rows_are_unranked_and_hold_the_records(gallery) -> None:
    widget = gallery("MethodTable")
    assert shown(widget) == expected()
    assert sorts(widget) == {}
    assert says(widget) == f"{len(expected())} of {len(expected())} systems, in the order of the map."
    rows = lt.report.systems.load_systems("short", STUDY).rows()
    assert column(widget, "top-1 (%)") == [f"{row['top1']:.1f}" for row in rows]
    wanted = ["–" if row["difference"] is None else f"{row['difference']:+.1f}".replace("-", "−") for row in rows]
    assert column(widget, "minus control") == wanted


@pytest.mark.parametrize(("title", "name"), [("top-1 (%)", "top1"), ("few", "few"), ("minus control", "difference")])
def test_a_press_sorts_by_a_number_and_another_one_turns_it_round(title: str, name: str, gallery) -> None:
    widget = gallery("MethodTable")
    click(widget, title)
    assert sorts(widget) == {title: "descending"}
    assert shown(widget) == expected(sort_by=name)
    assert f"sorted by {title}, falling" in says(widget)
    widget.get_by_role("button", name=title).press("Space")
    assert shown(widget) == expected(sort_by=name, descending=False)
    assert sorts(widget) == {title: "ascending"}
    click(widget, "Map order")
    assert shown(widget) == expected()
    assert sorts(widget) == {}


def test_words_rise_at_first(gallery) -> None:
    widget = gallery("MethodTable")
    click(widget, "method")
    assert sorts(widget) == {"method": "ascending"}
    assert shown(widget) == expected(sort_by="method", descending=False)


def test_one_seed_has_no_rank(gallery) -> None:
    widget = gallery("MethodTable")
    assert "no rank" not in says(widget)
    click(widget, "top-1 (%)")
    single = sum(row["seeds"] == 1 for row in lt.report.systems.load_systems("short", STUDY).rows())
    assert single
    assert f"{single} of them ha" in says(widget)
    assert "no rank" in says(widget)


def test_filters_and_search_work_together_and_are_counted(gallery) -> None:
    widget = gallery("MethodTable")
    choose(widget, "Changes", "loss")
    assert shown(widget) == expected(changes="loss")
    search(widget, "drw")
    assert shown(widget) == expected(changes="loss", search="drw")
    assert says(widget).startswith(f"{len(expected(changes='loss', search='drw'))} of {len(expected())} systems")
    choose(widget, "Fidelity", "adapted")
    assert shown(widget) == expected(changes="loss", search="drw", fidelity="adapted") == []
    assert says(widget).startswith("0 of")


def test_the_result_is_a_live_region_and_the_table_scrolls_by_keyboard(gallery) -> None:
    widget = gallery("MethodTable")
    assert widget.locator(".lt-status").get_attribute("aria-live") == "polite"
    region = widget.get_by_role("region")
    assert region.get_attribute("tabindex") == "0"
    region.focus()
    region.press("ArrowRight")
    widget.page.wait_for_function("node => node.scrollLeft > 0", arg=region.element_handle())


def test_on_a_phone_the_methods_stay_while_the_table_scrolls(gallery, screenshot) -> None:
    widget = gallery("MethodTable")
    widget.page.set_viewport_size(PHONE)
    try:
        settle(widget)
        region = widget.get_by_role("region")
        region.evaluate("node => { node.scrollLeft = 400; }")
        settle(widget)
        name, box = widget.locator("tbody th").first.bounding_box(), region.bounding_box()
        assert abs(name["x"] - box["x"]) < 3
        assert widget.page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        screenshot(widget, "MethodTable-phone")
    finally:
        widget.page.set_viewport_size({"width": 1280, "height": 1000})
