"""One source of words and symbols: the glossary, the notation page, and what the pages do with both."""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import symbols
import terms
from pages import chapters, displays, pages, prose

ENTRIES = [entry for entries in terms.terms().values() for entry in entries]
KEYS = set(re.findall(r"@\w+\{([^,\s]+),", terms.BIBLIOGRAPHY.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("path", "text"), [(terms.GLOSSARY, terms.glossary()), (terms.NOTATION, terms.notation_page())]
)
def test_the_page_is_what_its_source_gives(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "run python book/tools/terms.py"


def test_every_entry_is_complete_and_has_a_name_of_its_own() -> None:
    assert len(set(terms.anchors())) == len(ENTRIES)
    for entry in ENTRIES:
        assert entry.keys() <= {"name", "title", "anchor", "line", "cite", "chapters"}, entry["name"]
        assert entry["line"].endswith("."), entry["name"]
        assert entry.get("cite") is None or set(entry["cite"].split(",")) <= KEYS, f"{entry['name']}: no such source"


def test_a_chapter_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"names chapter 77, which _toc\.yml does not have"):
        terms.paragraph({"name": "X", "line": "Y.", "chapters": ["01", "77"]})


@pytest.mark.parametrize("path", pages(), ids=lambda p: p.stem)
def test_glossary_links_lead_to_an_entry_and_come_once(path: Path) -> None:
    found = terms.link_faults(prose(path), terms.anchors())
    assert not found, "\n".join(found)


def test_faulty_glossary_links_are_named() -> None:
    text = "[a](#glossary-ala) [b](#glossary-drw) [b](#glossary-drw) [c](#glossary-no) [d](glossary-ala)"
    assert terms.link_faults(text, ["glossary-ala", "glossary-drw"]) == [
        "#glossary-drw is linked 2 times; once a page",
        "#glossary-no is not in the glossary",
        "(glossary-ala) is no link: write (#glossary-ala)",
    ]


@pytest.mark.parametrize("path", chapters(), ids=lambda p: p.stem)
def test_every_symbol_of_a_display_is_on_the_notation_page(path: Path) -> None:
    found = symbols.unknown(path, symbols.notation())
    assert not found, "\n".join(found)


def test_a_symbol_has_one_entry() -> None:
    names = Counter(map(symbols.name_of, symbols.notation()))
    assert not [name for name, count in names.items() if count > 1]
    for entry in symbols.notation():
        assert entry.keys() <= {"symbol", "meaning", "range", "where", "only"}, entry["symbol"]


@pytest.mark.parametrize(
    ("latex", "names"),
    [
        (r"\tilde p_{ij} = \frac{e^{\tilde z_j}}{2}", [r"\tilde{p}", "i", "j", r"\tilde{z}", "j"]),
        (r"N^{\text{test}}_k - N", ["N^test", "k", "N"]),
        (r"n_{\min} + n_{\max} n_{k}^{1/4}", [r"n_\min", r"n_\max", "n", "k"]),
        (r"\lambda_{\text{wd}} \lambda_1^2 g^+ - g^-_j", [r"\lambda_wd", r"\lambda_1", "g^+", "g^-", "j"]),
        (r"\operatorname{Var}(\bar x) \, dx", [r"\operatorname{Var}", r"\bar{x}", "x"]),
        (r"s_v + \pi_1 + t_{S-1}", ["s_v", "v", r"\pi_1", "t_S-1", "S"]),
        (r"\cos\theta_j \ne \theta_k", [r"\cos\theta", "j", r"\theta", "k"]),
        (r"\text{for every class } k", ["k"]),
        (r"\mathbb E[\mathrm{IF}]", [r"\mathbb{E}", r"\mathrm{IF}"]),
        (r"\begin{aligned} a &= b \end{aligned}", ["a", "b"]),
    ],
)
def test_symbols_are_read_with_what_belongs_to_their_names(latex: str, names: list[str]) -> None:
    assert [symbol.names()[0] for symbol in symbols.symbols(latex)] == names


ALPHABET = [
    {"symbol": "x_i", "meaning": "an image"},
    {"symbol": "i", "meaning": "its number"},
    {"symbol": r"\lambda_1", "meaning": "a strength", "only": ["07"]},
]


@pytest.mark.parametrize(
    ("chapter", "display", "missing"),
    [
        ("07", r"x_i = \lambda_1", []),
        ("06", r"x_i = \lambda_1", [r"\lambda_1"]),  # another chapter's own symbol
        ("07", r"x_j = \lambda_2", ["j", r"\lambda_2"]),
        ("07", r"\hat x_i", [r"\hat{x}"]),
        ("07", r"x_{\min}", [r"x_\min"]),
        ("07", r"x^{\text{test}}", ["x^test"]),
        ("07", r"x_v", ["x_v", "v"]),  # a letter that counts nothing makes another symbol
        ("07", r"x_1 + x_{i-1}", []),
        ("07", r"x^2 + X", ["X"]),
    ],
)
def test_a_symbol_that_the_table_lacks_is_named(tmp_path: Path, chapter: str, display: str, missing: list[str]) -> None:
    page = tmp_path / f"{chapter}_page.md"
    page.write_text(f"$$ {display} $$ ({chapter}-label)")
    assert symbols.unknown(page, ALPHABET) == [f"{chapter}-label: {name} is not in notation.yaml" for name in missing]


def test_no_display_is_read_as_having_no_symbol() -> None:
    for path in chapters():
        for label, latex in displays(prose(path)):
            assert list(symbols.symbols(latex)), label
