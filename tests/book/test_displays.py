"""A display that changes fails until its test was read again: the digests, the command, and the proof by mutation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import displays
import mutate_displays

PRINTED = {
    label: (path, latex) for path in displays.pages() for label, latex in displays.displays(displays.prose(path))
}
BLANKS = [" ", "\n", "  \t", r"\,", r"\;", r"\:", r"\!", "\\ ", r"\quad ", r"\qquad "]


@pytest.mark.parametrize("path", displays.pages(), ids=lambda p: p.stem)
def test_every_altered_display_fails_the_check(path: Path) -> None:
    text, tests = displays.prose(path), displays.equation_tests()
    labels = [label for label, _ in displays.displays(text)]
    count, passed = mutate_displays.survivors(text, tests)
    assert not passed, "\n".join(passed)
    assert count >= 10 * len(labels)


@pytest.mark.parametrize("label", PRINTED)
def test_one_altered_display_on_its_page_is_named_with_the_command(label: str) -> None:
    path, latex = PRINTED[label]
    mutant = mutate_displays.mutants(latex)[0][1]
    text = displays.prose(path).replace(f"$${latex}$$", f"$${mutant}$$", 1)
    (fault,) = displays.faults(path.name, text, displays.equation_tests())
    assert fault.startswith(f"{path.name}: display {label} has the digest {displays.digest(mutant)}, ")
    assert fault.endswith(f"python book/tools/displays.py --read {label}")


ALTERED = {
    "sign": (r"a - b", r"a + b"),
    "relation": (r"a \le b", r"a \ge b"),
    "script": (r"x^2", r"x_2"),
    "function": (r"\log p", r"\exp  p"),
    "letter": (r"\theta_k", r"\phi _k"),
    "latin letter": (r"M_{kj}", r"M_{lj}"),
    "number": (r"n^{1/4}", r"n^{1/5}"),
    "fraction": (r"s\frac{n_j}N", r"s\frac{N}{n_j}"),
    "exponent or index": (r"M_{kj}", r"M_{jk}"),
    "term": (r"= \sum_k (a - b) - \frac{c}{d + 1} + 2", r"= \sum_k (a - b)  + 2"),
    "symbol": (r"\lVert \hat x \rVert", r"\lVert   x \rVert"),
}


def test_every_operator_has_an_example() -> None:
    assert ALTERED.keys() == mutate_displays.OPERATORS.keys()


@pytest.mark.parametrize("name", ALTERED)
def test_an_operator_makes_the_mutant_it_is_named_after(name: str) -> None:
    latex, mutant = ALTERED[name]
    made = ["".join(text.split()) for text in mutate_displays.OPERATORS[name](latex)]
    assert "".join(mutant.split()) in made
    assert "".join(latex.split()) not in made


@pytest.mark.parametrize("command", [r"\frac", r"\tfrac", r"\dfrac"])
def test_every_kind_of_fraction_is_turned_over(command: str) -> None:
    assert list(mutate_displays.fractions(rf"{command}{{a}}{{b}}")) == [rf"{command}{{b}}{{a}}"]


def test_a_check_that_overlooks_something_leaves_survivors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(displays, "digest", lambda latex: "".join(c for c in latex if c not in "+- "))
    test = displays.Test(Path(), None, "", "a=b1")  # type: ignore[arg-type]
    count, passed = mutate_displays.survivors("$$a = b + 1$$ (00-sum)", {"00-sum": test})
    assert passed == ["00-sum: sign: a = b -  1", "00-sum: symbol: a = b   1"]
    assert count == 11


@given(st.data())
def test_blanks_and_spacing_commands_keep_the_digest(data: st.DataObject) -> None:
    _, latex = PRINTED[data.draw(st.sampled_from(sorted(PRINTED)))]
    tokens = displays.TOKEN.findall(latex)
    spaced, last = [], ""
    for token in tokens:
        blank = data.draw(st.sampled_from(["", "", "", *BLANKS]))
        # Not where it could be an argument: an exponent, or what a command takes.
        spaced += [token] if last[:1] in ("^", "_", "\\") and blank.startswith("\\") else [blank, token]
        last = token if not token.isspace() else last
    assert displays.digest("".join(spaced)) == displays.digest(latex)


@given(st.data())
def test_any_change_alters_the_digest_however_it_is_spaced(data: st.DataObject) -> None:
    _, latex = PRINTED[data.draw(st.sampled_from(sorted(PRINTED)))]
    name, mutant = data.draw(st.sampled_from(mutate_displays.mutants(latex)))
    assert displays.digest(mutant) != displays.digest(latex), name
    tokens = displays.TOKEN.findall(mutant)
    assert displays.digest(" ".join(tokens)) != displays.digest(latex), name


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\alpha x", "\\alpha\n  x"),
        (r"a\,b", "ab"),
        (r"n\quad\mu", r"n\mu"),
        (r"x ^ {2}", r"x^{2}"),
        (r"a~b\ c", r"abc"),
        (r"\text{for  all}", "\\text{for\nall}"),
    ],
)
def test_these_are_one_text(one: str, other: str) -> None:
    assert displays.digest(one) == displays.digest(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\alpha x", r"\alphax"),
        (r"x^\,2", r"x^2"),
        (r"x_\quad 2", r"x_2"),
        (r"\sqrt\,2", r"\sqrt 2"),
        (r"\text{now here}", r"\text{nowhere}"),
        (r"a \\ b", r"a \ b"),
        ("a % c\n + b", "a % c + b"),
        (r"{a b}^2", r"a b^2"),
        (r"\tfrac12", r"\frac12"),
        (r"x_i^2", r"x_2^i"),
        (r"1[j = k]", r"[j = k]"),
    ],
)
def test_these_are_two_texts(one: str, other: str) -> None:
    assert displays.digest(one) != displays.digest(other)


PAGE = "Some text.\n\n$$ a = b + c $$ (00-sum)\n\nand\n\n$$\nd = e\n$$ (00-same)\n"
TESTS = '''"""Tests."""

import pytest


def helper():
    return 7


@pytest.mark.display("00000000")
def test_00_sum():
    helper()


@pytest.mark.parametrize("x", [1])
def test_00_same(x):
    assert x


def test_00_gone():
    pass
'''


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A book of one page with two displays; the first one's test carries a wrong digest, the second one's none."""
    page, tests = tmp_path / "page.md", tmp_path / "test_equations_00.py"
    page.write_text(PAGE)
    tests.write_text(TESTS)
    monkeypatch.setattr(displays, "ROOT", tmp_path)
    monkeypatch.setattr(displays, "pages", lambda: [page])
    monkeypatch.setattr(displays.equation_tests, "__defaults__", (tmp_path,))
    return tests


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["displays.py", *arguments])
    displays.main()


def test_reading_a_display_shows_both_texts_and_writes_its_digest_only(
    book: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"(?s)00-sum .*carries 00000000.*\n.*00-same .*carries none"):
        run(monkeypatch)
    digest = displays.digest("a=b+c")
    run(monkeypatch, "--read", "00-sum")
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("a = b + c", "def test_00_sum", "def helper"))
    assert "d = e" not in printed
    assert book.read_text() == TESTS.replace("00000000", digest)
    with pytest.raises(SystemExit) as left:
        run(monkeypatch)
    assert str(left.value).count("digest") == 1
    run(monkeypatch, "--read", "00-same", "00-sum")
    mark = f'@pytest.mark.display("{displays.digest("d=e")}")\n@pytest.mark.parametrize("x", [1])\n'
    assert book.read_text() == TESTS.replace("00000000", digest).replace('@pytest.mark.parametrize("x", [1])\n', mark)
    run(monkeypatch)


@pytest.mark.parametrize(("label", "message"), [("00-gone", "no page displays 00-gone"), ("00", "no page displays 00")])
def test_a_label_that_no_page_displays_is_refused(
    book: Path, monkeypatch: pytest.MonkeyPatch, label: str, message: str
) -> None:
    with pytest.raises(SystemExit, match=f"^{message}$"):
        run(monkeypatch, "--read", "00-sum", label)
    assert book.read_text() == TESTS


def test_a_display_without_a_test_is_refused(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write_text(TESTS.replace("test_00_same", "test_00_other"))
    with pytest.raises(SystemExit, match=r"^no test evaluates 00-same$"):
        run(monkeypatch, "--read", "00-same")


def test_a_second_test_of_a_display_is_refused(book: Path) -> None:
    (book.parent / "test_equations_01.py").write_text(TESTS)
    with pytest.raises(ValueError, match=r"^test_equations_00\.py and test_equations_01\.py both have test_00_sum"):
        displays.equation_tests()


def test_labels_have_to_be_named(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, "--read")
    assert book.read_text() == TESTS


def test_a_test_file_that_cannot_carry_a_digest_is_named(book: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book.write_text(TESTS.replace("import pytest\n", "import math\n"))
    with pytest.raises(SystemExit, match=r"^test_equations_00\.py does not import pytest"):
        run(monkeypatch, "--read", "00-sum")
