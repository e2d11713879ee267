"""The book's own Sphinx extensions, on a book of five small pages."""

from __future__ import annotations

import json
import re
import sys
from html import unescape
from pathlib import Path

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace, patch_docutils

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import quiz
from chapter_numbers import chapter
from plain_text import readable

ROOT = Path(__file__).parents[2]

EXTENSIONS = ["myst_parser", "sphinxcontrib.bibtex", "sphinx_proof", "sphinx_exercise"]
OWN = ["chapter_numbers", "author_year", "section_search", "page_parts", "glued_maths", "quiz"]
CHAPTER = """# Margins

```{figure} dot.png
:name: fig-margin
A margin.
```

$$ a = b $$ (margin-one)

$$ c = d $$ (margin-two)

By {eq}`margin-two`, {numref}`fig-margin`, {prf:ref}`thm-margin` and {ref}`ex-margin` all is well,
as {cite}`two2020` say.

```{prf:theorem} A bound
:label: thm-margin
With $\\lambda_1$ it holds.
```

## Exercises

````{exercise} Derive
:label: ex-margin
Show it.

```{admonition} A hint
Add them.
```
````

```{solution} ex-margin
It shows.
```
"""
LATER = """# Later

$$ e = f $$ (later)

```{exercise} Code
:label: ex-later
Do it, with {eq}`margin-one` and {eq}`later`.
```

```{toctree}
deep
```

## Check yourself

```{quiz} sample
```
"""
SAMPLE = """
- question: Which sign has $x$, by {eq}`later`?
  options:
    - {right: "*Plus*, $+x$.", why: "By {eq}`later`."}
    - {wrong: Minus., why: The sign is turned round.}
- {question: "How much?", value: -0.5, tolerance: 0.1, expression: "0", why: Half.,
   mistakes: [{value: 2, expression: "0", why: Upside down.}]}
"""
PLAIN = """# Plain page

The first sentence of this page says what it is about, and a search engine shows it. The second one is so long that it
does not fit into a description any more, which therefore ends before it.

$$ g = h $$ (plain)

It holds for both ($x$, $y$) and **not** $z$ alone: $w$. So $u$-shaped is $v$
in 95 % of `95 %`.

```{bibliography}
```
"""
REFERENCES = """@article{two2020, author={Man{\\'e}, Ann and Dollár, Bo}, title={T}, journal={J}, year={2020},
  doi={10.1/x}}
@misc{three2021, author={One, A and Two, B and Three, C}, title={Longer}, year={2021}}
"""
FILES = {
    "index.md": "# Book\n\n```{toctree}\n06_margins\n11_later\nplain\n```\n",
    "06_margins.md": CHAPTER,
    "11_later.md": LATER,
    "deep.md": "# Deep\n\nBelow another page.\n",
    "plain.md": PLAIN,
    "references.bib": REFERENCES,
    "sample.yaml": SAMPLE,
}
DOT = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
                    "0000000b4944415478da6364f80f00010501012718e3660000000049454e44ae426082")  # fmt: skip


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of the built pages, and what the build warned of."""
    source = tmp_path_factory.mktemp("book")
    for name, text in FILES.items():
        (source / name).write_text(text, encoding="utf-8")
    (source / "dot.png").write_bytes(DOT)
    settings = {
        "extensions": EXTENSIONS + OWN,
        "myst_enable_extensions": ["dollarmath"],
        "numfig": True,
        "numfig_format": {"figure": "Figure %s"},
        "bibtex_bibfiles": ["references.bib"],
        "bibtex_reference_style": "author_year",
        "bibtex_default_style": "author_year_labels",
        "html_baseurl": "https://example.org/book/",
        "exclude_patterns": ["out"],
    }
    warnings = (source / "warnings.txt").open("w+", encoding="utf-8")
    out = source / "out"
    with patch_docutils(), docutils_namespace(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(quiz, "FOLDER", source)
        app = Sphinx(source, None, out, out / "trees", "html", settings, status=None, warning=warnings, freshenv=True)
        app.build()
    warnings.seek(0)
    return out, warnings.read()


def text(book: tuple[Path, str], page: str) -> str:
    """A page's article without its tags."""
    html = (book[0] / f"{page}.html").read_text(encoding="utf-8").split('<div class="body"')[1]
    return " ".join(unescape(re.sub(r"<[^>]+>", "", html)).split())


@pytest.mark.parametrize(
    ("page", "number"),
    [("book/part2_adjusting/06_ala", 6), ("12_b", 12), ("book/index", None), ("part1_tail/how_to", None), ("06", None)],
)
def test_the_chapter_is_the_number_in_the_file_name(page: str, number: int | None) -> None:
    assert chapter(page) == number


def test_numbers_and_references_carry_the_chapter(book: tuple[Path, str]) -> None:
    first, later, plain = (text(book, page) for page in ("06_margins", "11_later", "plain"))
    for shown in ("Figure 6.1 A margin.", "(6.1)", "(6.2)", "Theorem 6.1 (A bound)", "Exercise 6.1 (Derive)"):
        assert shown in first
    assert "By (6.2), Figure 6.1, Theorem 6.1 and Exercise 6.1 all is well" in first
    assert "(11.1)" in later
    assert "Exercise 11.1 (Code)" in later
    assert "with (6.1) and (11.1)" in later
    assert "(1)" in plain
    assert "(2)" not in plain


def test_text_and_bibliography_agree(book: tuple[Path, str]) -> None:
    assert "as [Mané and Dollár, 2020] say" in text(book, "06_margins")
    assert "[ Mané and Dollár, 2020 ]" in text(book, "plain").replace("[", "[ ").replace("]", " ]").replace("  ", " ")
    assert 'href="https://doi.org/10.1/x"' in (book[0] / "plain.html").read_text(encoding="utf-8")


def test_an_entry_without_a_link_and_a_label_used_twice_are_warned_of() -> None:
    from author_year import AuthorYearLabels
    from pybtex.database import parse_string

    twice = REFERENCES + "@misc{again, author={One, A and Others, B and More, C}, title={Again}, year={2021}, url={u}}"
    entries = parse_string(twice, "bibtex").entries
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("author_year.logger.warning", lambda message, *parts: said.append(message % parts))
        labels = list(AuthorYearLabels().format_labels(entries.values()))
    assert labels == ["Mané and Dollár, 2020", "One et al., 2021", "One et al., 2021"]
    assert len(said) == 2
    assert "One et al., 2021" in said[0]
    assert "three2021" in said[1]


def test_a_solution_is_titled_without_a_link(book: tuple[Path, str]) -> None:
    html = (book[0] / "06_margins.html").read_text(encoding="utf-8")
    [title] = re.findall(r'<p class="admonition-title">(Solution.*?)</p>', html)
    assert title == "Solution to Exercise 6.1 (Derive)"


def test_search_knows_every_section_by_its_anchor_and_no_tex(book: tuple[Path, str]) -> None:
    script = (book[0] / "sections.js").read_text(encoding="utf-8")
    pages = dict(json.loads(script.removeprefix("const SECTIONS = ").removesuffix(";\n")))
    assert list(pages) == ["index.html", "06_margins.html", "11_later.html", "deep.html", "plain.html"]
    assert [(anchor, title) for anchor, title, *_ in pages["06_margins.html"]] == [
        ("margins", "Margins"),
        ("exercises", "Exercises"),
    ]
    assert "With λ1 it holds." in pages["06_margins.html"][0][2]
    assert "Show it. A hint Add them." in pages["06_margins.html"][1][2]
    assert "\\" not in script


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (r"\hat{\lambda}_{1} \le \varepsilon^2 \to \Theta", "λ1 ≤ ε2 → Θ"),
        (r"b + \tau\log\pi_j - \exp z_{\max}", "b + τ log πj - exp zmax"),
        (r"2/2.9 = 69\,\%", "2/2.9 = 69 %"),
        (r"5{,}000~\cdot\tfrac12 = \frac{n_k}{N}", "5,000 ·1/2 = nk/N"),
    ],
)
def test_readable_tex(tex: str, shown: str) -> None:
    assert readable(tex) == shown


def test_description_and_preview(book: tuple[Path, str]) -> None:
    html = (book[0] / "plain.html").read_text(encoding="utf-8")
    sentence = "The first sentence of this page says what it is about, and a search engine shows it."
    assert f'<meta name="description" content="{sentence}" />' in html
    assert '<meta property="og:title" content="Plain page" />' in html
    assert '<meta property="og:image" content="https://example.org/book/_static/preview.png" />' in html
    assert (book[0] / "_static" / "preview.png").read_bytes().startswith(b"\x89PNG")


def test_formulas_ask_for_javascript(book: tuple[Path, str]) -> None:
    html = (book[0] / "plain.html").read_text(encoding="utf-8")
    assert html.count("<noscript>") == 1
    assert "Formulas need JavaScript" in html


def test_a_formula_stays_beside_its_punctuation(book: tuple[Path, str]) -> None:
    html = (book[0] / "plain.html").read_text(encoding="utf-8")
    html = re.sub(r'<span class="math[^>]*>(.*?)</span>', r"\1", html)
    assert re.findall(r'<span class="glued">(.*?)</span>', html) == [r"(\(x\),", r"\(y\))", r"\(w\).", r"\(u\)-"]
    whole = r"both (\(x\), \(y\)) and not \(z\) alone: \(w\). So \(u\)-shaped is \(v\)"
    assert whole in text(book, "plain")
    assert "in 95\N{NO-BREAK SPACE}% of <code" in html
    assert ">95 %<" in re.sub(r"</?span[^>]*>", "", html)


def test_a_quiz_has_real_inputs_and_its_answers_without_a_script(book: tuple[Path, str]) -> None:
    html = (book[0] / "11_later.html").read_text(encoding="utf-8")
    body = html.split('<div class="quiz">')[1].split("</section>")[0]
    assert body.count("<fieldset") == body.count("<legend>") == body.count("<details>") == 2
    for ident in re.findall(r'<input[^>]* id="([^"]*)"', body):
        assert body.count(f'for="{ident}"') == 1
    assert re.findall(r'<input type="(\w+)"', body) == ["radio", "radio", "text"]
    assert re.findall(r'data-right="(\w+)"', body) == ["yes", "no", "yes", "no"]
    assert re.findall(r'data-value="([^"]+)"', body) == ["-0.5", "2"]
    assert "a: right. By (11.1). b: not right." in text(book, "11_later")
    assert "−0.5: right. Half. 2: not right. Upside down." in text(book, "11_later")
    assert "<noscript>" in body


def test_only_a_page_with_a_quiz_has_its_module_and_search_has_no_answers(book: tuple[Path, str]) -> None:
    pages = {page.stem: page.read_text(encoding="utf-8") for page in book[0].glob("*.html")}
    assert [name for name, html in pages.items() if '<script type="module">' in html] == ["11_later"]
    assert "Upside down" not in (book[0] / "sections.js").read_text(encoding="utf-8")


def test_the_small_book_has_no_warning(book: tuple[Path, str]) -> None:
    assert not book[1]


def test_every_entry_of_the_book_has_a_link_and_its_own_label() -> None:
    from author_year import LINKS, label
    from pybtex.database import parse_file

    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    labels = [label(entry) for entry in entries.values()]
    assert len(set(labels)) == len(labels)
    assert [key for key, entry in entries.items() if not any(name in entry.fields for name in LINKS)] == []


def test_methods_name_first_author_and_year_of_the_bibliography() -> None:
    from pybtex.database import parse_file

    from lt_core.methods import METHODS, PAPERS

    entries = parse_file(str(ROOT / "book" / "references.bib")).entries
    for key, citation in PAPERS.items():
        names = entries[key].persons["author"][0].last_names
        assert citation == f"{' '.join(names)} {entries[key].fields['year']}"
    assert {row.paper for row in METHODS.values()} == set(PAPERS)


def test_the_version_to_cite_is_the_version_of_the_package() -> None:
    import yaml

    import lt_core as lt

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == lt.__version__
    page = (ROOT / "book" / "appendix" / "cite.md").read_text(encoding="utf-8")
    assert f"version = {{{citation['version']}, {citation['date-released']}}}" in page


def test_first_visible_mentions_of_public_names_are_links() -> None:
    import mentions

    def code(module: str, name: str) -> str:
        dot = '<span class="o">.</span>'
        return dot.join(f'<span class="n">{part}</span>' for part in ("lt", module, name))

    literal = '<code class="docutils literal notranslate"><span class="pre">lt.losses.ALALoss</span></code>'
    known = {"lt_core.losses.ALALoss": "../api/losses.html#a"}
    ala, other = code("losses", "ALALoss"), code("losses", "Unknown")
    folded = f"<details class='hide'>{ala}</details>"
    already = f'<a href="x">{literal}</a>'
    body = mentions.linked(f"{folded}{already}<p>{ala} {ala} {other} {literal}</p>{literal}", known)
    start = '<a class="api-mention" href="../api/losses.html#a">'
    assert body == f"{folded}{already}<p>{start}{ala}</a> {ala} {other} {start}{literal}</a></p>{literal}"
    assert body.count(start) == 2
    assert mentions.linked(ala, {}) == ala
