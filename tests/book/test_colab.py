"""The edition of the notebooks that Colab opens: plain Markdown, and a set-up cell that fetches little."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))

import address
import colab
import plain
import quiz
import release_check
from pages import NO_OUTPUT, ROOT, tags
from plain import Plain, RawMyST, blocks

GITHUB = "https://github.com/Ann/tail"
SITE = "https://ann.github.io/tail"
PAGES = colab.notebook_pages()
CHAPTER = ROOT / "book" / "part1_long_tail" / "02_gradients.ipynb"
NUMBERS = {"thm": "Theorem 2.1", "eq-a": "(2.1)", "ex": "Exercise 2.1", "fig": "Figure 2.1"}


@pytest.fixture
def numbered(monkeypatch: pytest.MonkeyPatch) -> Plain:
    """A writer for a page of chapter 2 with one of each kind."""
    monkeypatch.setattr(plain, "numbers", lambda: NUMBERS)
    return Plain(CHAPTER, SITE)


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("```{prf:theorem} A $k$\n:label: thm\n\nIt {eq}`eq-a`.\n```", "**Theorem 2.1** (A $k$). It (2.1)."),
        ("```{prf:proof}\nSo.\n```", "*Proof.* So. ∎"),
        (
            "````{exercise} Code\n:label: ex\nDo.\n\n```py\n:a\n```\n````",
            "### Exercise 2.1 (Code)\n\nDo.\n\n```py\n:a\n```",
        ),
        ("$$ a = b $$ (eq-a)", "$$ a = b \\tag{2.1} $$"),
        ("$$ a = b $$", "$$ a = b $$"),
        (":::{admonition} Beware\n:class: note\nOf it.\n:::", "**Beware**\n\nOf it."),
        ("```{tip}\nTry.\n```", "**Tip.** Try."),
        ("By {numref}`fig`, {prf:ref}`thm` and {ref}`ex`.", "By Figure 2.1, Theorem 2.1 and Exercise 2.1."),
        ("`{eq}` and ``{ref}`x` `` stay", "`{eq}` and ``{ref}`x` `` stay"),
        ("```python\n{eq}`no`\n```", "```python\n{eq}`no`\n```"),
        ("[ALA](#glossary-ala)", f"[ALA]({SITE}/book/appendix/glossary.html#glossary-ala)"),
        ("[it](01_data.ipynb), [x](y.html)", f"[it]({SITE}/book/part1_long_tail/01_data.html), [x](y.html)"),
        ("{doc}`10 <../part3_experiments/10_recipe>`", f"[10]({SITE}/book/part3_experiments/10_recipe.html)"),
        ("{cite}`cao2019ldam`", "[[Cao et al., 2019](https://arxiv.org/abs/1906.07413)]"),
        ("{cite:t}`cao2019ldam`", "Cao et al. [[2019](https://arxiv.org/abs/1906.07413)]"),
    ],
)
def test_what_each_part_becomes(numbered: Plain, source: str, shown: str) -> None:
    assert numbered.text(source) == shown


def test_without_an_address_a_link_is_its_words(numbered: Plain) -> None:
    there = Plain(CHAPTER)
    assert there.text("[ALA](#glossary-ala) and {doc}`01_data`") == "ALA and 01 · Long-tailed data"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("```{tableofcontents}\n```", "no plain form of the directive tableofcontents"),
        ("{term}`x`", "no plain form of the role term"),
        ("{eq}`nowhere`", "nothing has the label nowhere"),
        ("[x](#nowhere)", "a link to #nowhere"),
        ("```{tip}\nnever closed", "not closed"),
        ("{doc}`none`", "none, which is no page"),
    ],
)
def test_what_has_no_plain_form_is_an_error(numbered: Plain, source: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        numbered.text(source)


def test_a_solution_folds_in_a_cell_of_its_own(numbered: Plain) -> None:
    cells = numbered.cells("Before.\n\n```{solution} ex\n:class: dropdown\n\nIt is {eq}`eq-a`.\n```\n\nAfter.")
    folded = "<details>\n<summary><b>Solution to Exercise 2.1</b></summary>\n\nIt is (2.1).\n\n</details>"
    assert cells == ["Before.", folded, "After."]


@pytest.mark.parametrize("left", ["{eq}`a`", "```{note}\n```", ":::{tip}\n:::", "(here)=", "$$ a $$ (02-a)"])
def test_what_is_left_raw_is_seen(left: str) -> None:
    assert colab.raw(new_notebook(cells=[new_markdown_cell(f"Text.\n\n{left}\n")]))
    assert not colab.raw(new_notebook(cells=[new_markdown_cell(f"````md\n{left}\n````\n$f(x)$ is $$ a $$ (b c)")]))


@pytest.fixture(scope="module", params=PAGES, ids=lambda p: p.stem)
def pair(request: pytest.FixtureRequest) -> tuple[nbformat.NotebookNode, nbformat.NotebookNode]:
    """A page, and its edition with an address."""
    page = nbformat.read(request.param, as_version=4)
    return page, colab.edition(request.param, GITHUB, "c0ffee")


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_an_edition_has_nothing_raw_and_all_of_the_page(
    pair: tuple[nbformat.NotebookNode, nbformat.NotebookNode],
) -> None:
    page, made = pair
    nbformat.validate(made)
    assert colab.raw(made) == []
    assert made.cells[0].source.startswith("# ")
    sources = [cell.source for cell in code(made)[1:]]
    assert [source.endswith(cell.source) for source, cell in zip(sources, code(page), strict=True)].count(False) == 0
    kept = [[] if tags(cell) & NO_OUTPUT else cell.outputs for cell in code(page)]
    assert [cell.outputs for cell in code(made)[1:]] == kept
    assert made.metadata.get("widgets") == page.metadata.get("widgets")
    text, shown = ("\n".join(c.source for c in book.cells if c.cell_type == "markdown") for book in pair)
    for before, after in (("{solution}", "<summary><b>Solution"), ("{exercise}", "### Exercise"), ("{prf:proof}", "∎")):
        assert text.count(before) == shown.count(after), before
    captions = [cell for cell in code(page) if cell.metadata.get("mystnb", {}).get("figure")]
    assert len(captions) == sum(cell.source.startswith("**Figure ") for cell in made.cells)
    assert shown.count("<summary>All answers") == sum(
        len(quiz.read(quiz.FOLDER / f"{name}.yaml")) for name in re.findall(r"^```\{quiz\} (\S+)$", text, re.MULTILINE)
    )
    folded = [cell for cell in made.cells if "<summary><b>Solution" in cell.source]
    assert all(cell.source.count("<details>") == 1 and cell.source.startswith("<details>") for cell in folded)


def test_the_set_up_cell_is_the_first_and_the_same_in_all(
    pair: tuple[nbformat.NotebookNode, nbformat.NotebookNode],
) -> None:
    page, made = pair
    first = code(made)[0]
    assert first.source == colab.setup_cell(GITHUB, "c0ffee").source
    assert 'REPOSITORY = "https://github.com/Ann/tail"' in first.source
    assert 'COMMIT = "c0ffee"' in first.source
    assert not any("google.colab" in cell.source for cell in page.cells), "the set-up cell is the edition's alone"


def set_up(repository: str, revision: str = "") -> str:
    """The set-up cell, without what makes it a form."""
    return colab.setup_cell(repository, revision).source


def test_set_up_does_nothing_where_the_package_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", pytest.fail)
    before = list(sys.path)
    exec(set_up(GITHUB), {})
    assert sys.path == before


def test_set_up_says_where_the_package_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=rf"Clone {GITHUB}, .*pip install -e"):
        exec(set_up(GITHUB), {})
    with pytest.raises(ModuleNotFoundError, match="does not know its address"):
        exec(set_up(""), {})


def git(folder: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def on_colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As on Colab, in an empty home."""
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def test_an_unstamped_set_up_stops_on_colab(on_colab: Path) -> None:
    with pytest.raises(RuntimeError, match="does not know its address"):
        exec(set_up(""), {})
    assert not list(on_colab.iterdir())


@pytest.mark.skipif(not address.commit(), reason="not in a clone: nothing to fetch from")
def test_set_up_fetches_code_and_records_once_and_little(
    on_colab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote.git"
    git(tmp_path, "clone", "-q", "--bare", ROOT.as_uri(), str(remote))
    for name in ("allowFilter", "allowAnySHA1InWant"):
        git(remote, "config", f"uploadpack.{name}", "true")
    commands: list[list[str]] = []
    really = subprocess.run

    def run(command: list[str], **options: object) -> object:
        commands.append(list(command))
        return really(["true"] if "pip" in command else command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    source = set_up(remote.as_uri(), address.commit())
    half = on_colab / f"lt_core-{address.commit()[:12]}"
    half.mkdir()
    (half / "left").touch()  # by an attempt that was interrupted
    exec(source, {})
    assert {path.name for path in half.iterdir()} == {
        *(".git", "lt_core", "book", "pyproject.toml", "README.md", "LICENSE", "ready")
    }
    assert {path.name for path in (half / "book").iterdir()} == {"results", "experiments"}
    [pip] = [command for command in commands if "pip" in command]
    assert "torchmetrics>=1.4" in pip
    assert (tmp_path / "lt_core.pth").read_text() == f"{half}\n"
    size = sum(path.stat().st_size for path in (half / ".git" / "objects").rglob("*") if path.is_file())
    assert size < 6_900_000, f"{size:,} bytes; with the packages that pip fetches (1.1 MB) they must stay under 8 MB"
    commands.clear()
    exec(source, {})  # after a restart
    assert not commands
    assert sys.path[0] == str(half)


@pytest.mark.parametrize(
    ("place", "pages", "link"),
    [
        (GITHUB, SITE, "https://colab.research.google.com/github/Ann/tail/blob/colab/a.ipynb"),
        ("https://github.com/Ann/ann.github.io", "https://ann.github.io", None),
        ("file:///tmp/x.git", "", ""),
        ("", "", ""),
    ],
)
def test_addresses_follow_from_the_repositorys(place: str, pages: str, link: str | None) -> None:
    assert address.site(place) == pages
    assert link is None or address.colab_link(place, "a.ipynb") == link


def test_the_address_stands_in_one_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LT_REPOSITORY", f"{GITHUB}.git")
    assert address.repository() == GITHUB
    monkeypatch.delenv("LT_REPOSITORY")
    owner = address.repository().rpartition("/")[0] or "https://github.com/long-tail-book"
    files = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True).stdout.split(
        "\0"
    )
    found = {name for name in files if (ROOT / name).is_file() and owner in (ROOT / name).read_text(errors="ignore")}
    assert found <= {"_config.yml", "tests/book/test_colab.py"}


def test_assignments_have_the_same_set_up_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, made = set_up("", "0ld"), tmp_path / "assignments" / "hw1" / "colab" / "hw1.ipynb"
    colab.write(new_notebook(cells=[new_code_cell(old, metadata={"tags": ["otter_ignore"]}), new_code_cell("x")]), made)
    monkeypatch.setattr(colab, "ASSIGNMENTS", tmp_path / "assignments")
    monkeypatch.setenv("LT_REPOSITORY", GITHUB)
    [written] = colab.write_all([], tmp_path / "out")
    cells = nbformat.read(written, as_version=4).cells
    assert [cell.source for cell in cells] == [set_up(GITHUB, address.commit()), "x"]
    assert cells[0].metadata.tags == ["otter_ignore"]  # a grader passes over it
    colab.write(new_notebook(cells=[new_code_cell("!pip install")]), made)
    with pytest.raises(ValueError, match="run make assignments"):
        colab.write_all([], tmp_path / "out")


def test_directives_and_the_text_between_them() -> None:
    found = list(blocks("a\n```{note} T\n:class: x\n\nb\n```\n```py\nc\n```"))
    assert found[0] == "a"
    assert (found[1].name, found[1].title, found[1].options, found[1].body) == ("note", "T", {"class": "x"}, "b")
    assert found[2] == "```py\nc\n```"
    with pytest.raises(RawMyST, match="not closed"):
        list(blocks("```{note}\nb"))


@pytest.mark.parametrize("name", ["publish", "test"])  # that of the release check has a job a target
def test_a_workflow_runs_what_the_makefile_has(name: str) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))
    [job] = workflow["jobs"].values()
    called = [step["run"].split()[1] for step in job["steps"] if step.get("run", "").startswith("make ")]
    assert called == [name]
    assert f"\n{name}: " in (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["", "long-tail", "https://github.com/ann/tail", "ann/tail/x", "ann/ tail", "-/."])
def test_a_name_that_is_none_is_not_published(name: str) -> None:
    assert "make publish REPO=ann/long-tail" in address.publication_fault(name)


def test_only_a_commit_is_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "ROOT", tmp_path)
    assert "from a clone" in address.publication_fault("ann/tail")
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["-c", "user.name=x", "-c", "user.email=x@y", "commit", "-qm", "x"]):
        git(tmp_path, *command)
    assert address.publication_fault("ann/tail") == ""
    (tmp_path / "a").write_text("2")
    assert "uncommitted" in address.publication_fault("ann/tail")


def test_packages_that_the_set_up_changed_are_named() -> None:
    before = {"torch": "2.11.0", "pandas": "2.2.3", "numpy": "2.1.3"}
    after = {"torch": "2.11.0", "pandas": "3.1.1", "torchmetrics": "1.9.0"}
    assert release_check.changed(before, after) == ["pandas 2.2.3 -> 3.1.1", "numpy 2.1.3 -> gone"]
    assert release_check.changed(before, {**before, "torchmetrics": "1.9.0"}) == []


def test_a_notebook_that_stops_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_PATH", "")
    release_check.kernel(Path(sys.executable), tmp_path)
    looks = new_code_cell("import sys\nassert 'google.colab' in sys.modules\n1 / 0")
    assert release_check.execute(new_notebook(cells=[looks]), tmp_path).startswith("ZeroDivisionError: division")
    home = new_code_cell("from pathlib import Path\nassert Path.home() == Path.cwd()")
    assert release_check.execute(new_notebook(cells=[home]), tmp_path) == ""
