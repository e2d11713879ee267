"""What the widgets share: one ES module joined from the files of ``js/``, checked traits, a stable ``repr``."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from lt_core.validation import check_choice, check_number, check_whole

SHARED = ("losses.js", "ui.js")
LOSSES = ("ce", "focal", "cb", "ldam", "la", "balanced_softmax", "ala", "gala")  # what losses.js has
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:function|const|class) (\w+))", re.MULTILINE)


def read(name: str) -> str:
    """The text of a file in ``js/``."""
    return (files("lt_core.widgets") / "js" / name).read_text(encoding="utf-8")


def module(*names: str) -> str:
    """One ES module from several files: a notebook stores it as text, and a module made from text cannot import.

    Each file but the last becomes a function that returns its exports, so that their private names stay apart; an
    import becomes a destructuring of that.
    """
    *libraries, main = [_IMPORT.sub(r"const \1 = \2;", read(name)) for name in names]
    parts = [_library(name.removesuffix(".js"), text) for name, text in zip(names, libraries, strict=False)]
    return "\n".join([*parts, main])


def source(*names: str) -> str:
    """The ``_esm`` of the widget whose own files are ``js/names``; the last one renders it."""
    return module(*SHARED, *names)


def style() -> str:
    """The ``_css`` of every widget."""
    return read("style.css")


def _library(name: str, text: str) -> str:
    exports = ", ".join(_EXPORT.findall(text))
    return f"const {name} = (() => {{\n{_EXPORT.sub('', text)}\nreturn {{ {exports} }};\n}})();"


if TYPE_CHECKING:
    Trait = traitlets.TraitType[Any, Any]
else:  # traitlets 5.7, as on Colab, takes no parameters when it runs
    Trait = traitlets.TraitType


class Checked(Trait):
    """A trait that the page shares; its values are what one of the package's own checks makes of them."""

    def __init__(self, default: Any, check: Callable[[str, Any], object]) -> None:
        super().__init__(default_value=default)
        self.check = check
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> Any:
        return self.check(self.name or "value", value)


def number(default: float, low: float, high: float = math.inf, open_low: bool = False) -> Checked:
    """A number trait in [low, high], or above ``low`` with ``open_low``."""
    return Checked(default, lambda name, value: check_number(name, value, low=low, high=high, open_low=open_low))


def whole(default: int, low: int, high: int | None = None) -> Checked:
    """A whole-number trait in [low, high]."""
    return Checked(default, lambda name, value: check_whole(name, value, low=low, high=high))


def choice(default: object, allowed: Sequence[object]) -> Checked:
    """A trait that is one of ``allowed``."""
    return Checked(default, lambda name, value: check_choice(name, value, allowed))


class Explorer(anywidget.AnyWidget):
    """Base of the widgets. ``settings`` names the traits that the reader can change, for ``repr``."""

    settings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        chosen = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)
        return f"{type(self).__name__}({chosen})"
