"""Configurations in files: one run's, and a grid of runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import Any

from lt_core import records
from lt_core.losses import build_loss
from lt_core.training.recipes import RunConfig


def read_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping. ``1e-3`` is a number, and a key that appears twice is an error.

    Raises:
        ValueError: the file cannot be read, or is not such a file; the message has the line.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """YAML 1.1 as PyYAML has it, apart from the two points above."""

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            seen: set[str] = set()
            for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} twice", key.start_mark)
                seen.add(key.value)
            return super().construct_mapping(node, deep)

    number = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
    Loader.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not a text file in UTF-8") from None
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
        where = "" if mark is None else f", line {mark.line + 1}"
        raise ValueError(f"{path}{where}: not YAML: {problem or str(error).splitlines()[0]}") from None
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
    values = records.load(path)["config"] if "schema" in content else content
    try:
        return RunConfig.from_dict(values)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def load_grid(path: str | Path) -> list[RunConfig]:
    """The runs of a grid file, in its order.

    ``runs`` is a list of mappings of `RunConfig`'s keys, each on top of the optional ``defaults``. A list stands for
    one run for each of its values, and several lists for all their combinations; a class order, itself a list, is
    varied by a list of lists. A list under an option of the loss does the same.

    Args:
        path: the YAML file.

    Returns:
        The configurations.

    Raises:
        ValueError: an unreadable file, an unknown key, a value that is not allowed, or two runs with the same
            directory. The message has the file and the number of the entry in ``runs``.
    """
    content = read_yaml(path)
    for key in content:
        if key not in ("defaults", "runs"):
            raise ValueError(f"{path}: the key is {key!r}; allowed are 'defaults' and 'runs'")
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
        if several and key == "class_order":
            several = not value or any(item is None or isinstance(item, list) for item in value)
        options = value if several else [value]
        if not options:
            raise ValueError(f"{key} is an empty list; at least one value is needed")
        if key == "loss_options":
            options = [one for item in options for one in (expand(item) if isinstance(item, dict) else [item])]
        choices.append(options)
    return [dict(zip(values, combination, strict=True)) for combination in product(*choices)]


def check_options(config: RunConfig) -> None:
    """Raise what the loss has against its options, apart from its class weights, whose number the data decides."""
    build_loss(config.loss, (3, 2, 1), **{k: v for k, v in config.loss_options.items() if k != "weight"})
