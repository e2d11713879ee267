"""Versions, records' digest, redirects, links and what `make release` refuses."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "tools"))
sys.path.insert(0, str(Path(__file__).parents[2] / "book" / "ext"))

import links
import package_check
import plain_sphinx
import release
import sphinx_conf
import version
from examples_check import faults as example_faults
from imprint import FORM, form
from redirects import faults, moved, page

ROOT = Path(__file__).parents[2]
TEXTS = {
    "pyproject.toml": '[project]\nversion = "0.2.0"\n',
    "lt_core/__init__.py": '__version__ = "0.2.0"\n',
    "CITATION.cff": "cff-version: 1.2.0\nversion: 0.2.0\n",
    "book/appendix/cite.md": "  version = {0.2.0, 2026-11-26},\n",
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [0.2.0] - 2026-12-01\n\n## [0.1.0] - 2026-11-26\n",
    "book/results/a.json": "{}",
    "book/results/deep/b.json": "[]",
}


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small repository that may be released as 0.2.0."""
    for name, text in TEXTS.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "All")
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def commit(root: Path, name: str, text: str) -> None:
    (root / name).write_text(text, encoding="utf-8")
    git(root, "commit", "-q", "-a", "-m", "Change")


def test_every_place_says_the_same_version() -> None:
    assert set(version.versions().values()) == {version.version()}
    assert release.NUMBER.fullmatch(version.version())


def test_the_changelog_has_the_form_and_the_date_of_the_citation() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"(?m)^## (.*)$", text)
    assert heads[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", head) for head in heads[1:])
    kinds = set(re.findall(r"(?m)^### (.*)$", text))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert f"## [{cited['version']}] - {cited['date-released']}" in text


def test_a_clean_new_version_is_not_refused(project: Path) -> None:
    assert release.refusals(project, "0.2.0") == []


@pytest.mark.parametrize("name", ["0.2", "v0.2.0", "", "0.2.0rc1"])
def test_a_version_is_three_numbers(project: Path, name: str) -> None:
    assert "VERSION is three numbers" in release.refusals(project, name)[0]


@pytest.mark.parametrize("name", list(version.PLACES))
def test_one_place_with_another_version_is_refused(project: Path, name: str) -> None:
    commit(project, name, TEXTS[name].replace("0.2.0", "0.3.0"))
    assert release.refusals(project, "0.2.0") == [f"{name} says 0.3.0, not 0.2.0"]


def test_a_changelog_without_the_version_is_refused(project: Path) -> None:
    commit(project, "CHANGELOG.md", "# Changelog\n\n## [Unreleased]\n")
    assert release.refusals(project, "0.2.0") == ["CHANGELOG.md says no version, not 0.2.0"]


@pytest.mark.parametrize("name", ["book/results/a.json", "unknown.txt"])
def test_a_changed_or_unknown_file_is_refused(project: Path, name: str) -> None:
    (project / name).write_text("x", encoding="utf-8")
    assert "uncommitted or unknown files" in release.refusals(project, "0.2.0")[0]


def test_a_tag_that_exists_and_a_version_that_is_not_newer_are_refused(project: Path) -> None:
    git(project, "tag", "v0.2.0")
    assert release.refusals(project, "0.2.0") == ["the tag v0.2.0 exists"]
    git(project, "tag", "-d", "v0.2.0")
    git(project, "tag", "v0.10.0")
    assert release.refusals(project, "0.2.0") == ["0.2.0 is not newer than v0.10.0"]


def test_a_release_holds_all_files_and_their_sums(tmp_path: Path) -> None:
    for name in ("package/dist/a.whl", "package/dist/a.tar.gz", "pdf/book.pdf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name, encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"offline/\*\.zip was not made"):
        release.collect(tmp_path, tmp_path / "release-1")
    (tmp_path / "offline").mkdir()
    (tmp_path / "offline" / "book.zip").write_text("z", encoding="utf-8")
    release.collect(tmp_path, tmp_path / "release-1")
    ended = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "release-1", check=False)
    assert ended.returncode == 0
    assert len(list((tmp_path / "release-1").iterdir())) == 5


def test_the_digest_is_what_a_shell_computes_and_notices_bytes_and_names(project: Path) -> None:
    before = version.records_digest(project)
    shell = "find book/results -type f ! -name '.*' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    assert subprocess.check_output(shell, shell=True, cwd=project, text=True)[:8] == before
    assert shell in (ROOT / "book" / "appendix" / "reproducibility.md").read_text(encoding="utf-8")
    (project / "book/results/.hidden").write_text("x", encoding="utf-8")
    assert version.records_digest(project) == before
    (project / "book/results/a.json").rename(project / "book/results/c.json")
    renamed = version.records_digest(project)
    (project / "book/results/c.json").write_text("{ }", encoding="utf-8")
    assert len({before, renamed, version.records_digest(project)}) == 3


def test_no_name_of_a_record_breaks_the_shell_command() -> None:
    names = [path.relative_to(ROOT).as_posix() for path in (ROOT / version.RESULTS).rglob("*")]
    assert all(re.fullmatch(r"[\w./-]+", name) for name in names)


def test_the_link_fills_in_fields_that_the_form_has() -> None:
    link = form("https://github.com/ann/tail", "07 · GALA (book/x)", "Version 0.1.0 · records ab", "0123456789abcdef")
    asked = parse_qs(urlsplit(link).query)
    template = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / FORM).read_text(encoding="utf-8"))
    ids = {field["id"] for field in template["body"]}
    assert link.startswith("https://github.com/ann/tail/issues/new?")
    assert asked.pop("template") == [FORM]
    assert asked == {"page": ["07 · GALA (book/x)"], "version": ["Version 0.1.0 · records ab · commit 0123456789"]}
    assert asked.keys() <= ids


@pytest.mark.parametrize("address", ["", "https://example.org/a/b"])
def test_there_is_no_link_without_a_repository_on_github(address: str) -> None:
    assert form(address, "p", "v", "c") == ""


def test_the_books_redirects_lead_to_pages() -> None:
    assert faults(moved(ROOT / "book" / "redirects.yaml"), set(plain_sphinx.toc_pages())) == []


def test_a_redirect_leads_from_the_old_folder_to_the_new_one() -> None:
    html = page("book/old/a", "book/new/b#one", "B & more")
    assert 'content="0; url=../new/b.html#one"' in html
    assert '<a href="../new/b.html#one">B &amp; more</a>' in html


def test_a_redirect_from_a_page_or_to_nowhere_is_refused() -> None:
    found = faults({"a": "b", "old": "gone#x", "older": "b#x"}, {"a", "b"})
    assert found == ["a is a page of the book; it cannot lead elsewhere", "old leads to gone#x, which is no page"]


def test_a_build_writes_redirects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import redirects
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    (tmp_path / "index.rst").write_text("Home\n====\n", encoding="utf-8")
    (tmp_path / "map.yaml").write_text("old/place: index\n", encoding="utf-8")
    monkeypatch.setattr(redirects, "MAP", tmp_path / "map.yaml")
    out = tmp_path / "out"
    with patch_docutils(), docutils_namespace():
        app = Sphinx(tmp_path, None, out, out / "trees", "html", {"extensions": ["redirects"]}, status=None)
        app.build()
    assert 'url=../index.html"' in (out / "old" / "place.html").read_text(encoding="utf-8")
    assert links.inside(out) == []


def test_links_inside_need_their_page_and_anchor(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<a href="b.html#two">x</a> <a href="#top" id="top">y</a>', encoding="utf-8")
    (tmp_path / "b.html").write_text('<h2 id="one">One</h2><a href="c.html">z</a>', encoding="utf-8")
    assert links.inside(tmp_path) == [
        "a.html links to b.html#two, which is not there",
        "b.html links to c.html, which is not there",
    ]
    (tmp_path / "b.html").write_text('<a id="two" href="https://x.org/a?b=1&amp;c=2#d">z</a>', encoding="utf-8")
    assert links.inside(tmp_path) == []
    assert links.outside(tmp_path) == {"https://x.org/a?b=1&c=2": "b.html"}


@pytest.mark.parametrize(("code", "kind"), [(404, "gone"), (410, "gone"), (403, "unsure"), (429, "unsure")])
def test_an_address_is_gone_only_when_its_host_says_so(code: int, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise links.urllib.error.HTTPError("https://x.org", code, "said", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(links.urllib.request, "urlopen", refuse)
    assert links.verdict("https://x.org") == (kind, f"{code} said")


def test_plain_sphinx_gets_every_setting(tmp_path: Path) -> None:
    found: dict[str, object] = {}
    exec(sphinx_conf.conf(sphinx_conf.config(), "/elsewhere/"), found)
    ours = sphinx_conf.config()["sphinx"]["config"]
    left = {key for key, value in ours.items() if key not in sphinx_conf.PATHS and found[key] != value}
    assert left == {"extensions"}
    assert set(ours["extensions"]) - set(found["extensions"]) == sphinx_conf.JUPYTER_BOOK  # type: ignore[call-overload]
    assert found["html_static_path"] == ["/elsewhere/book/_static", "/elsewhere/_build/static"]
    assert found["nb_execution_mode"] == "off"


@pytest.mark.parametrize("key", [{"latex": {}}, {"html": {"favicon": "f", "extra_footer": "x"}}])
def test_a_setting_that_plain_sphinx_would_lose_is_an_error(key: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"does not know"):
        sphinx_conf.settings(sphinx_conf.config() | key)


PAGE = '<article class="bd-article"><h1 id="t">T</h1><p>One two.</p><span class="eqno">({})</span>{}</article>'


def test_the_comparison_sees_what_is_lost() -> None:
    whole = PAGE.format("6.1", "<table></table>")
    assert plain_sphinx.differences(whole, whole) == []
    assert plain_sphinx.differences(whole, PAGE.format("6.1", "")) == ["0 tables in place of 1"]
    assert "equations: ['6 2'] in place of ['6 1']" in plain_sphinx.differences(whole, whole.replace("6.1", "6.2"))
    assert plain_sphinx.differences(whole, whole.replace("two", "")) == ["words lost: two"]
    assert plain_sphinx.differences(whole, whole.replace('id="t"', "")) == ["no anchor t"]


def test_a_page_that_was_not_built_is_a_difference(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(PAGE.format(1, ""), encoding="utf-8")
    assert plain_sphinx.compare(tmp_path, tmp_path / "none", ["a"]) == ["a: not built"]


def test_a_wheel_is_judged_by_what_it_says(tmp_path: Path) -> None:
    good = {"file": str(tmp_path / "lt_core"), "version": version.version(), "scripts": {"A": 9000}}
    assert package_check.trial_faults(good, tmp_path) == []
    bad = {"file": "/elsewhere/lt_core", "version": "9", "scripts": {"A": 0}}
    assert len(package_check.trial_faults(bad, tmp_path)) == 3


def test_a_file_that_the_wheel_lacks_is_named(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.whl", "w") as made:
        made.writestr("lt_core/__init__.py", "")
    wanted = {"lt_core/__init__.py", "lt_core/widgets/js/ui.js"}
    assert package_check.missing(tmp_path / "x.whl", wanted) == ["x.whl lacks 1 files: lt_core/widgets/js/ui.js"]
    assert "lt_core/widgets/js/losses.js" in package_check.sources()


def test_an_example_ends_with_accuracies() -> None:
    assert example_faults("e", "noise\n{'all': 0.8, 'few': 0.79}\n") == []
    assert "rare classes have 0.70" in example_faults("e", "{'few': 0.7}")[0]
    assert "did not end with accuracies" in example_faults("e", "done")[0]


@pytest.mark.parametrize("name", ["lightning_loop.py", "hugging_face_trainer.py"])
def test_an_example_is_a_short_program(name: str) -> None:
    lines = (ROOT / "examples" / name).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60


def test_the_weekly_workflow_runs_every_part_of_the_release_check() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    parts = re.search(r"(?m)^release-check: (.*)$", makefile)[1].split()  # type: ignore[index]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "release-check.yml").read_text(encoding="utf-8"))
    assert sorted(workflow["jobs"]["part"]["strategy"]["matrix"]["target"]) == sorted(parts)


@pytest.mark.parametrize(
    ("report", "shown"),
    [
        ("https://github.com/a/b/issues/new?x=1&y=2", 'x=1&amp;y=2">Report an error on this page</a>'),
        ("", 'href="errata.html">How to report an error</a>'),
    ],
)
def test_the_foot_of_a_page_has_one_link(report: str, shown: str) -> None:
    from jinja2 import Template

    template = Template((ROOT / "book" / "_templates" / "imprint.html").read_text(encoding="utf-8"))
    html = template.render(edition="Version 0.1.0 · records ab", report_error=report, errata="errata.html")
    assert "Version 0.1.0 · records ab" in html
    assert shown in html
    assert html.count("<a ") == 1
