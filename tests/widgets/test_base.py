"""What all widgets share: the joined module, the checked traits, the repr, and that nothing loads early."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.resources import files

import pytest

import lt_core as lt
from lt_core.widgets import base

KINDS = [name for name in lt.widgets.__all__ if name[0].isupper()]
LARGEST = 60_000  # bytes of JavaScript, which every notebook with the widget stores
SCRIPTS = sorted(path.name for path in (files("lt_core.widgets") / "js").iterdir() if path.name.endswith(".js"))
IMPORT = re.compile(r'^import \{([^}]*)\} from "\./(\w+\.js)";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?:function|const|class) (\w+)", re.MULTILINE)


def names(listed: str) -> list[str]:
    return [name.strip() for name in listed.split(",") if name.strip()]


def source(kind: str) -> str:
    return str(getattr(lt.widgets, kind)._esm)


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_import_is_exported_by_its_file_and_used(script: str) -> None:
    text = base.read(script)
    imports = IMPORT.findall(text)
    assert len(imports) == len(re.findall(r"\bimport\b.* from ", text)), "an import of another form is not joined"
    for listed, file in imports:
        assert file in SCRIPTS
        exported = EXPORT.findall(base.read(file))
        for name in names(listed):
            assert name in exported, f"{script} imports {name} from {file}, which exports {', '.join(exported)}"
            assert re.search(rf"\b{name}\b", IMPORT.sub("", text)), f"{script} imports {name} and does not use it"


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_exports_names_or_a_widget(script: str) -> None:
    """`module` understands no other export, and would leave one inside a function, where it is an error."""
    text = base.read(script)
    exports = re.findall(r"^\s*export\b", text, re.MULTILINE)
    defaults = text.count("\nexport default { render };\n")
    assert len(exports) == (1 if defaults else len(EXPORT.findall(text)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_joined_module_is_whole_and_small(kind: str) -> None:
    text = source(kind)
    assert len(text.encode()) <= LARGEST
    assert not re.search(r"^import\b", text, re.MULTILINE), "a module made from text cannot import"
    assert re.findall(r"^export\b.*", text, re.MULTILINE) == ["export default { render };"]
    libraries = re.findall(r"^const (\w+) = \(\(\) => \{$", text, re.MULTILINE)
    assert libraries[:2] == ["losses", "ui"]
    for listed, library in re.findall(r"^const \{([^}]*)\} = (\w+);$", text, re.MULTILINE):
        assert library in libraries
        assert set(names(listed)) <= set(EXPORT.findall(base.read(f"{library}.js")))
    assert text.index(f"const {libraries[-1]} = ") < text.index("export default"), "used before it is made"


@pytest.mark.parametrize("kind", KINDS)
def test_a_widget_names_its_kind_for_the_page(kind: str) -> None:
    own = source(kind).split("\n})();\n")[-1]
    assert re.findall(r'\bkind: "(\w+)"', own) == [kind]


@pytest.mark.parametrize("kind", KINDS)
def test_settings_are_traits_that_the_page_shares(kind: str) -> None:
    widget = getattr(lt.widgets, kind)
    shared = widget.class_traits(sync=True)
    assert widget.settings
    assert set(widget.settings) <= set(shared)


def test_joining_makes_imports_of_what_a_file_exports(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = {
        "first.js": "const secret = 1;\nexport const one = secret;\nexport function two() {}\nexport class Three {}\n",
        "main.js": 'import {\n  one,\n  two,\n} from "./first.js";\nconst secret = 5;\nexport default { one };\n',
    }
    monkeypatch.setattr(base, "read", texts.__getitem__)
    assert base.module("first.js", "main.js") == (
        "const first = (() => {\nconst secret = 1;\nconst one = secret;\nfunction two() {}\nclass Three {}\n\n"
        "return { one, two, Three };\n})();\n"
        "const {\n  one,\n  two,\n} = first;\nconst secret = 5;\nexport default { one };\n"
    )


class Toy(base.Explorer):
    """A widget of one trait of each sort."""

    _esm = "export default { render() {} };"
    settings = ("share", "place", "form")

    share = base.number(0.5, low=0.0, high=1.0, open_low=True)
    place = base.whole(2, low=0, high=9)
    form = base.choice("line", ("line", None))


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("share", 0.0, ValueError, r"share is 0.0; allowed is a finite number in \(0, 1\]"),
        ("share", 1.5, ValueError, "share is 1.5"),
        ("share", float("nan"), ValueError, "share is nan"),
        ("share", "half", TypeError, "share is 'half' of type str; a number is needed"),
        ("place", 10, ValueError, r"place is 10; allowed is a whole number in \[0, 9\]"),
        ("place", 2.5, TypeError, "place is 2.5 of type float"),
        ("form", "dots", ValueError, "form is 'dots'; allowed are 'line', None"),
    ],
)
def test_a_wrong_value_is_refused_at_first_and_later(
    name: str, value: object, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Toy(**{name: value})
    toy = Toy()
    before = getattr(toy, name)
    with pytest.raises(error, match=message):
        setattr(toy, name, value)
    assert getattr(toy, name) == before


def test_traits_reach_the_page_and_can_be_watched() -> None:
    toy, seen = Toy(), []
    toy.observe(lambda change: seen.append(change["new"]), names="place")
    toy.place = 7
    assert seen == [7]
    assert {"share", "place", "form"} <= set(toy.get_state())
    assert toy.get_state()["place"] == 7


def test_repr_tells_the_settings_and_nothing_that_changes() -> None:
    """nbval compares it: no model id, no address."""
    assert repr(Toy(form=None)) == repr(Toy(form=None)) == "Toy(share=0.5, place=2, form=None)"
    assert Toy()._repr_mimebundle_()[0]["text/plain"] == "Toy(share=0.5, place=2, form='line')"


def test_importing_the_package_loads_no_widget_library() -> None:
    code = "import sys, lt_core; print(sorted({'anywidget', 'ipywidgets', 'matplotlib', 'PIL'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
