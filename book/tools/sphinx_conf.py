"""The settings of plain Sphinx from `_config.yml`, for the day on which Jupyter Book 1 builds the book no longer.

    python book/tools/sphinx_conf.py            (prints a conf.py for the repository's root)

It needs PyYAML only. Jupyter Book makes its own settings of the same file; those that the book relies on are repeated
here. A key that this program does not know is an error, so that no setting is lost in silence.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from pprint import pformat
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
JUPYTER_BOOK = {"jupyter_book", "sphinx_comments"}  # extensions that only it needs
# What Jupyter Book sets where `_config.yml` says nothing.
ALWAYS = {
    "html_theme": "sphinx_book_theme",
    "html_sourcelink_suffix": "",
    "numfig": True,
    "pygments_style": "sphinx",
    "external_toc_path": "_toc.yml",
    "myst_url_schemes": ["mailto", "http", "https"],
}
EXCLUDED = ["_build", "Thumbs.db", ".DS_Store", "**.ipynb_checkpoints"]
BUTTONS = ("use_edit_page_button", "use_repository_button", "use_issues_button")
PATHS = ("html_static_path", "templates_path", "bibtex_bibfiles")  # lists; Sphinx finds them from conf.py


def theme(section: dict[str, Any], keys: dict[str, str]) -> dict[str, Any]:
    return {"html_theme_options": {keys[key]: value for key, value in section.items()}}


def sphinx(section: dict[str, Any]) -> dict[str, Any]:
    config = dict(section["config"])
    config["extensions"] = [name for name in config["extensions"] if name not in JUPYTER_BOOK]
    return config | {"local_extensions": sorted(set(section["local_extensions"].values()))}


def html(section: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in section.items() if key != "favicon"}
    return {"html_favicon": section["favicon"]} | theme(rest, {key: key for key in BUTTONS})


# What becomes of each key of `_config.yml`.
KEYS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "title": lambda value: {"html_title": value, "project": value},
    "author": lambda value: {"author": value},
    "copyright": lambda value: {"copyright": value},
    "logo": lambda value: {"html_logo": value},
    "only_build_toc_files": lambda value: {"external_toc_exclude_missing": value},
    "exclude_patterns": lambda value: {"exclude_patterns": [*EXCLUDED, *value]},
    "execute": lambda value: {"nb_execution_mode": value["execute_notebooks"]},
    "repository": lambda value: theme(value, {"url": "repository_url", "branch": "repository_branch"}),
    "bibtex_bibfiles": lambda value: {"bibtex_bibfiles": value},
    "parse": dict,
    "html": html,
    "sphinx": sphinx,
}


def settings(config: dict[str, Any]) -> dict[str, Any]:
    """Sphinx's settings, with paths from the repository's root; ValueError for a key without a place here."""
    found = dict(ALWAYS)
    options = {"search_bar_text": "Search this book...", "home_page_in_toc": True}
    for key, value in config.items():
        if key not in KEYS:
            raise ValueError(f"_config.yml has {key!r}, which {Path(__file__).name} does not know")
        try:
            made = KEYS[key](value)
        except KeyError as error:
            raise ValueError(f"_config.yml has {key}: {error}, which {Path(__file__).name} does not know") from error
        options |= made.pop("html_theme_options", {})
        found |= made
    return found | {"html_theme_options": options}


def conf(config: dict[str, Any], root: str = "") -> str:
    """The text of a conf.py; ``root`` goes before paths where the file does not lie in the repository's root."""
    found = settings(config)
    for key in PATHS:
        found[key] = [root + path for path in found[key]]
    found["html_favicon"] = root + found["html_favicon"]
    folders = [root + folder for folder in found.pop("local_extensions")]
    lines = ["from os.path import abspath", "from sys import path", "", f"path += map(abspath, {folders!r})"]
    lines += [f"{key} = {pformat(value, width=100)}" for key, value in sorted(found.items())]
    return "\n".join(lines) + "\n"


def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def main() -> None:
    sys.stdout.write(conf(config()))


if __name__ == "__main__":
    main()
