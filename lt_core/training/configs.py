"""Configurations in files: one run's, and a grid of runs."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from lt_core import records
from lt_core.files import explain
from lt_core.losses import build_loss
from lt_core.training.recipes import RunConfig

# Keys, and options of losses, whose value is itself a list: a grid varies them by a list of lists.
LISTS = ("class_order", "weight")
MOST_CONTRASTS = 8  # of a grid file and recipe: each more of them widens the intervals of all


class _Loader(yaml.SafeLoader):
    """YAML with the words and numbers of YAML 1.2's core schema, and an error for a key that appears twice.

    YAML 1.1, which PyYAML has, reads 1e-3 as a word, 010 as eight, 1:30 as ninety and "no" as false.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_whole(self, node: Any) -> int:
        text = self.construct_scalar(node)
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?\d+|0o[0-7]+|0x[\da-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z", re.ASCII), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_whole)


def _parse(text: str) -> Any:
    """What a YAML text holds; a ValueError "line N: what is wrong" where it is none."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = "" if mark is None else f"line {mark.line + 1}: "
        raise ValueError(f"{where}not YAML: {problem or str(error).splitlines()[0]}") from None
    except RecursionError:
        raise ValueError("not YAML: nested too deeply") from None


def parse_value(text: str) -> Any:
    """A value as it may stand after ``key:`` in a file of ours; `read_yaml` gives the same.

    Numbers are those of YAML 1.2: ``3``, ``010`` (ten), ``0x10``, ``0.5``, ``1e-3``, ``.inf``. ``true``, ``false`` and
    ``null`` (or nothing) are what they say, ``[1, 2]`` is a list, and ``"3"`` in quotes a word. All else is a word:
    ``yes``, ``off``, ``1_000`` and ``1:30`` too.

    Raises:
        ValueError: what no key of a file can have, such as ``[1,``.

    Example:
        >>> parse_value("1e-3"), parse_value("[1, 2]"), parse_value("log2")
        (0.001, [1, 2], 'log2')
    """
    try:
        content = _parse(f"value: {text}")
    except ValueError as error:
        raise ValueError(f"{reprlib.repr(text)} cannot be read: {str(error).removeprefix('line 1: ')}") from None
    if list(content) != ["value"]:
        raise ValueError(f"{reprlib.repr(text)} holds several keys; one value is needed")
    return content["value"]


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. Its values are those of `parse_value`; a key that appears twice is an error.

    Raises:
        ValueError: the file cannot be read, or is not such a file; the message has the line.
    """
    try:
        content = _parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {explain(error)}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds {type(content).__name__}; a mapping (key: value) is needed")
    return content


def load_config(path: str | Path) -> RunConfig:
    """One configuration: a YAML file of `RunConfig`'s keys, or the configuration of a ``record.json``.

    Raises:
        ValueError: an unreadable file, an unknown key or a value that is not allowed; the message has the file.
        lt_core.records.RecordError: a record that cannot be read.
    """
    content = read_yaml(path)
    try:
        if "schema" in content:
            return RunConfig.from_stored(records.load(path)["config"])
        return RunConfig.from_dict(content)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def load_grid(path: str | Path) -> list[RunConfig]:
    """The runs of a grid file, in its order.

    ``runs`` is a list of mappings of `RunConfig`'s keys, each on top of the optional ``defaults``. A list stands for
    one run for each of its values, and several lists for all their combinations. A list under an option of the loss
    does the same. What is itself a list (`LISTS`: a class order, the class weights of a loss) is one value, and a list
    of lists varies it. The optional ``contrasts`` are for the report; see `load_contrasts`.

    Args:
        path: the YAML file.

    Returns:
        The configurations.

    Raises:
        ValueError: an unreadable file, an unknown key, a value that is not allowed, or two runs with the same
            directory. The message has the file and the number of the entry in ``runs``.
    """
    content = read_yaml(path)
    configs = _runs(path, content)
    _contrasts(path, content, configs)
    return configs


def load_contrasts(path: str | Path, recipe: str) -> list[tuple[str, str]]:
    """The questions that a grid file asks of its runs, written down before they are trained: first minus second.

    ``contrasts`` is a list of ``{method: NAME, minus: NAME}``, the names as tables print them, and ``recipe: NAME``
    where the file's runs have several. Both methods are among the file's runs of that recipe.

    Args:
        path: the YAML file.
        recipe: whose contrasts are wanted.

    Returns:
        Pairs of methods; none where the file asks nothing of the recipe.

    Raises:
        ValueError: as `load_grid`, and for an entry of another form, an unknown method, a method against itself, a
            pair twice (also turned round) or more than `MOST_CONTRASTS` of a recipe.
    """
    content = read_yaml(path)
    return _contrasts(path, content, _runs(path, content)).get(recipe, [])


def _contrasts(
    path: str | Path, content: Mapping[str, Any], configs: list[RunConfig]
) -> dict[str, list[tuple[str, str]]]:
    """The contrasts of a grid file by recipe."""
    entries = content.get("contrasts") or []
    if not isinstance(entries, list):
        raise ValueError(f"{path}: contrasts is {entries!r}; a list of mappings is needed")
    names: dict[str, set[str]] = {}
    for config in configs:
        names.setdefault(str(config.recipe), set()).add(records.label({"config": config.to_dict()}))
    found: dict[str, list[tuple[str, str]]] = {}
    for number, entry in enumerate(entries, 1):
        where = f"{path}: contrast {number}"
        if not isinstance(entry, dict) or not {"method", "minus"} <= set(entry) <= {"method", "minus", "recipe"}:
            raise ValueError(f"{where} is {entry!r}; 'method', 'minus' and perhaps 'recipe' are needed")
        recipe = entry.get("recipe") or (next(iter(names)) if len(names) == 1 else None)
        if recipe not in names:
            raise ValueError(f"{where}: recipe is {recipe!r}; the runs have {', '.join(names)}")
        method, minus = entry["method"], entry["minus"]
        for name in (method, minus):
            if name not in names[recipe]:
                raise ValueError(f"{where} names {name!r}; the runs of {recipe} are {', '.join(sorted(names[recipe]))}")
        pairs = found.setdefault(recipe, [])
        if method == minus or (method, minus) in pairs or (minus, method) in pairs:
            raise ValueError(f"{where} sets {method!r} against {'itself' if method == minus else f'{minus!r} again'}")
        pairs.append((method, minus))
        if len(pairs) > MOST_CONTRASTS:
            raise ValueError(f"{where} is one more than the {MOST_CONTRASTS} that a recipe may have")
    return found


def _runs(path: str | Path, content: Mapping[str, Any]) -> list[RunConfig]:
    """The runs of a grid file; see `load_grid`."""
    for key in content:
        if key not in ("defaults", "runs", "contrasts"):
            raise ValueError(f"{path}: the key is {key!r}; allowed are 'defaults', 'runs' and 'contrasts'")
    defaults, entries = content.get("defaults") or {}, content.get("runs")
    if not isinstance(defaults, dict):
        raise ValueError(f"{path}: defaults is {defaults!r}; a mapping is needed")
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{path}: runs is {entries!r}; a list of at least one mapping is needed")
    configs: list[RunConfig] = []
    taken: dict[str, int] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise ValueError(f"{path}: run {number} is {entry!r}; a mapping is needed")
        try:
            found = [RunConfig.from_dict(values) for values in expand({**defaults, **entry})]
            for config in found:
                check_options(config)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: run {number}: {error}") from None
        for config in found:
            if (place := run_directory(config)) in taken:
                raise ValueError(f"{path}: run {number} is also run {taken[place]}: both are {place}")
            taken[place] = number
        configs += found
    return configs


def run_directory(config: RunConfig) -> str:
    """Where in a grid's folder a run lies: ``recipe/run_name``."""
    return f"{config.recipe}/{config.run_name}"


def expand(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations of the lists in a mapping, the last key varying fastest.

    Example:
        >>> expand({"loss": "ce", "seed": [0, 1]})
        [{'loss': 'ce', 'seed': 0}, {'loss': 'ce', 'seed': 1}]
    """
    choices: list[list[Any]] = []
    for key, value in values.items():
        several = isinstance(value, list)
        if several and key in LISTS:
            several = not value or any(item is None or isinstance(item, list) for item in value)
        options = value if several else [value]
        if not options:
            raise ValueError(f"{key} is an empty list; at least one value is needed")
        if key == "loss_options":
            options = [one for item in options for one in (expand(item) if isinstance(item, dict) else [item])]
        choices.append(options)
    return [dict(zip(values, combination, strict=True)) for combination in product(*choices)]


def check_options(config: RunConfig) -> None:
    """Raise what the loss has against its options. How many class weights are needed, only the data say."""
    weight = config.loss_options.get("weight")
    if weight is not None and not isinstance(weight, list):
        raise TypeError(f"weight is {weight!r}; a list of numbers is needed, one for each class")
    build_loss(config.loss, range(3 if weight is None else max(2, len(weight)), 0, -1), **config.loss_options)
