"""Run records: what a run was, where it ran and what came out, in one small JSON file.

A record is the only source of a measured number in the book. Its layout is versioned (`SCHEMA`). In memory a record's
``epochs`` is a list of rows; the file has it by column, which takes half the room. Files of schema 1, which have rows,
are read too; any other version is an error.
"""

from __future__ import annotations

import functools
import io
import json
import math
import os
import platform
import subprocess
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core import layout
from lt_core.layout import GROUPS

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

SCHEMA = 2
READABLE = (1, 2)
MAX_BYTES = 24 * 1024
KEYS = ("schema", "config", "environment", "epochs", "final", "posthoc", "adjustment")


class RecordError(RuntimeError):
    """A record that is missing, unreadable, too large or of another schema."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write ``content`` (text in UTF-8) so that ``path`` holds either the old content or all of the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from None  # the error of a write names no file
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _rounded(value: Any, digits: int = 4) -> Any:
    """Floats to four decimals (six significant digits below 0.01), NaN and infinity to null, containers likewise."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return round(value, digits) if abs(value) >= 0.01 else float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item, digits) for item in value]
    return value


def dumps(record: Mapping[str, Any]) -> str:
    """The record as JSON text: one line a key, and one line an element of a list of objects; epochs by column.

    Results are rounded; the configuration is not, so that a run can be repeated from its record.
    """
    lines = []
    for key, value in record.items():
        value = value if key == "config" else _rounded(value)
        if key == "epochs":
            value = {column: [row[column] for row in value] for column in value[0]}
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = ",\n  ".join(json.dumps(row, separators=(",", ":"), allow_nan=False) for row in value)
            lines.append(f'"{key}": [\n  {rows}]')
        else:
            lines.append(f'"{key}": {json.dumps(value, separators=(",", ":"), allow_nan=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def check_size(text: str) -> None:
    """Raise `RecordError` where the text of a record is larger than 24 KB."""
    if len(text.encode()) > MAX_BYTES:
        raise RecordError(f"the record has {len(text.encode())} bytes; at most {MAX_BYTES} are allowed")


def save(record: Mapping[str, Any], path: str | Path) -> None:
    """Write a record to ``path`` atomically.

    Raises:
        RecordError: a key is missing, or the text is larger than 24 KB. The numbers are not lost: such a record is
            written beside ``path``, under the name that the error gives.
    """
    path = Path(path)
    missing = [key for key in KEYS if key not in record]
    if missing:
        raise RecordError(f"the record lacks {', '.join(missing)}")
    text = dumps(record)
    try:
        check_size(text)
    except RecordError as error:
        beside = path.with_name(f"{path.stem}.too_large{path.suffix}")
        write_atomically(beside, text)
        raise RecordError(f"{error}; it was written to {beside}") from None
    write_atomically(path, text)


PROBABILITIES, PUSHES = "probabilities.npz", "pushes.npz"
LOG_STEP = 0.08  # nats


def save_probabilities(log_probabilities: Tensor, folder: str | Path) -> None:
    """Write log-probabilities (N, C) to ``folder/probabilities.npz`` in steps of 0.08 nats, one byte each.

    What is below -20.4 nats (1.4e-9) is written as that.
    """
    steps = (-log_probabilities.double() / LOG_STEP).round().clamp(0, 255)
    _save_arrays(Path(folder) / PROBABILITIES, steps=steps.byte().cpu().numpy())


def load_probabilities(folder: str | Path) -> Tensor:
    """Test probabilities (N, C), float64, that lie beside a record; the rows are renormalised after the rounding.

    Raises:
        RecordError: the file is missing or cannot be read.
    """
    import torch

    steps = torch.from_numpy(_load_arrays(Path(folder) / PROBABILITIES, "steps")["steps"])
    return (-LOG_STEP * steps.double()).softmax(1)


def save_pushes(first: Tensor, last: Tensor, folder: str | Path) -> None:
    """Write the pushes (C, C) of a run's first and last epoch to ``folder/pushes.npz``, in half precision."""
    _save_arrays(Path(folder) / PUSHES, first=first.half().cpu().numpy(), last=last.half().cpu().numpy())


def load_pushes(folder: str | Path) -> dict[str, Tensor]:
    """Pushes of the ``"first"`` and the ``"last"`` epoch, each (C, C) float64; see `lt_core.training.meters.PushMeter`.

    Raises:
        RecordError: the file is missing or cannot be read.
    """
    import torch

    arrays = _load_arrays(Path(folder) / PUSHES, "first", "last")
    return {name: torch.from_numpy(arrays[name]).double() for name in ("first", "last")}


def _save_arrays(path: Path, **arrays: Any) -> None:
    import numpy

    buffer = io.BytesIO()
    numpy.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())


def _load_arrays(path: Path, *names: str) -> dict[str, Any]:
    import numpy

    try:
        with numpy.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except KeyError as error:
        raise RecordError(f"{path} lacks {error}") from None
    except FileNotFoundError:
        raise RecordError(f"there is no file {path}") from None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordError(f"{path} cannot be read: {error}") from None


def load(path: str | Path) -> dict[str, Any]:
    """Read one record; ``path`` is the file or the run directory that holds it.

    Raises:
        RecordError: no such file, not JSON, another schema version, or a key that `lt_core.layout` wants is missing or
            wrong; the message has file and key.
    """
    path = Path(path)
    path = path / "record.json" if path.is_dir() else path
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        begun = path.with_name("history.csv").exists()
        raise RecordError(f"there is no record at {path}{'; the run is not finished' if begun else ''}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RecordError(f"{path} is not a readable record: {error}") from None
    if not isinstance(record, dict) or record.get("schema") not in READABLE:
        raise RecordError(f"{path} is not a run record of schema {' or '.join(map(str, READABLE))}")
    if fault := layout.fault(record):
        raise RecordError(f"{path}: {fault}")
    if isinstance(columns := record["epochs"], dict):
        record["epochs"] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return record


def find_results(start: str | Path = ".") -> Path:
    """The folder ``book/results`` of the clone that ``start`` lies in, else of the clone that this package lies in.

    Raises:
        RecordError: neither lies in a clone of the book.
    """
    here, package = Path(start).resolve(), Path(__file__).resolve().parent
    for folder in (here, *here.parents, package.parent):
        if (folder / "book" / "results").is_dir():
            return folder / "book" / "results"
    raise RecordError(
        f"there is no book/results at or above {here}; open the notebook inside a clone of the book, "
        "or install lt_core from one by pip install -e"
    )


def load_all(folder: str | Path) -> list[dict[str, Any]]:
    """Every record at or below ``folder``, ordered by path.

    Raises:
        RecordError: there is none, or one of them cannot be read.
    """
    paths = sorted(Path(folder).rglob("record.json"))
    if not paths:
        raise RecordError(f"there is no record.json at or below {folder}")
    return [load(path) for path in paths]


def collect(runs: str | Path, into: str | Path, arrays: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Copy finished runs' records to where they are kept, with the arrays of the runs that are named.

    Args:
        runs: folder with ``RECIPE/RUN/record.json``, as ``grid`` leaves it; unfinished runs have no record.
        into: gets the same layout, without checkpoints and histories.
        arrays: ``RECIPE/RUN`` of the runs whose ``probabilities.npz`` and ``pushes.npz`` are copied too.

    Returns:
        The copied files that are new or have changed, and a line for each record that was left where it is: one that
        cannot be read, that is not in a folder of its recipe, that was made from uncommitted code, whose arrays are
        missing, or that would stand beside the arrays of another record.

    Raises:
        RecordError: there is no record at all, or ``arrays`` names a run that is not finished.
    """
    source, target = Path(runs), Path(into)
    found = {str(path.parent.relative_to(source)): path for path in sorted(source.glob("*/*/record.json"))}
    if not found:
        raise RecordError(f"there is no record at {source}/RECIPE/RUN/record.json")
    for name in arrays:
        if name not in found:
            raise RecordError(f"{name} is not a finished run in {source}")
    copied, left = [], []
    for name, path in found.items():
        files = (path.name, *((PROBABILITIES, PUSHES) if name in arrays else ()))
        try:
            record = load(path)
            if (recipe := record["config"]["recipe"]) != path.parent.parent.name:
                raise RecordError(f"{path} is not in a folder of its recipe, {recipe!r}")
            check_commits(record, path)
            contents = {file: _read_bytes(path.parent / file) for file in files}
            _check_arrays(target / name, contents)
        except RecordError as error:
            left.append(str(error))
            continue
        for file, content in contents.items():
            place = target / name / file
            if not place.exists() or place.read_bytes() != content:
                write_atomically(place, content)
                copied.append(str(place))
    return copied, left


def _check_arrays(place: Path, contents: Mapping[str, bytes]) -> None:
    """Raise `RecordError` where a changed record would keep arrays that were stored beside the one before."""
    old = [file for file in (PROBABILITIES, PUSHES) if file not in contents and (place / file).exists()]
    known = place / "record.json"
    if old and (not known.exists() or known.read_bytes() != contents[known.name]):
        raise RecordError(f"{place} holds {' and '.join(old)} of another record; name the run with --arrays")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise RecordError(f"there is no file {path}") from None


def check_commits(record: Mapping[str, Any], path: Path) -> None:
    """Raise `RecordError` unless every part of the run was trained by committed code."""
    environment = record["environment"]
    for commit in environment.get("commits", [environment.get("commit")]):
        if commit is None or commit.endswith("-dirty"):
            raise RecordError(f"{path} names the commit {commit!r}; a record that is kept needs one without changes")


LABELS = {
    "ce": "cross-entropy",
    "focal": "focal",
    "cb": "class-balanced",
    "ldam": "LDAM",
    "la": "logit-adjusted",
    "balanced_softmax": "balanced softmax",
    "ala": "ALA",
    "gala": "GALA",
    "vs": "VS",
    "gcl": "GCL",
    "cosface": "CosFace",
    "arcface": "ArcFace",
    "sphereface": "SphereFace",
    "eql": "equalization",
    "lade": "LADE",
    "label_aware": "label-aware smoothing",
    "cb_focal": "class-balanced focal",
}


def label(record: Mapping[str, Any]) -> str:
    """The method's name as tables and figures print it, such as ``LDAM-DRW``."""
    from lt_core.losses import COSINE_LOSSES
    from lt_core.methods import METHODS
    from lt_core.training.recipes import RunConfig
    from lt_core.training.strategies import checked_options

    config = RunConfig.from_stored(record["config"])
    if config.method is not None:
        return METHODS[config.method].title
    name = LABELS[config.loss]
    if config.drw:
        name += "-DRW"
    if config.classifier == "cosine" and config.loss not in COSINE_LOSSES:
        name += " (cosine)"
    ways = {"sampler": (config.sampler, "uniform"), "mixing": (config.mixing, "none")}
    ways["strategy"] = (config.strategy, "plain")
    constants = checked_options(config.strategy, {})
    changed = {key: value for key, value in config.strategy_options.items() if value != constants.get(key)}
    options = {**config.loss_options, **changed}
    options |= {key: value for key, (value, usual) in ways.items() if value != usual}
    named = ", ".join(f"{key} {value}" for key, value in sorted(options.items()))
    return f"{name} ({named})" if named else name


def data_checksum(record: Mapping[str, Any]) -> str:
    """Of the images or features that a run was trained on, where they are of one's own; else ""."""
    return (record.get("data") or {}).get("checksum", "")


_ONE_ROW = ("augmentation", "schedule", "learning_rate", "weight_decay", "batch_size")


def accuracy_table(records: Sequence[Mapping[str, Any]], which: str = "last") -> pd.DataFrame:
    """Top-1 and shot-group accuracies in percent, a row a method; several seeds become mean and standard deviation.

    Args:
        records: runs that differ in method and seed only.
        which: "last" (the last epoch) or "best_on_test" (the epoch with the best test accuracy, which has seen the
            test set).

    Returns:
        A table of strings indexed by method, in the records' order. One seed: ``"38.3"``; more: ``"38.3 ± 0.4"``.

    Raises:
        ValueError: unknown ``which``, or records of different data, recipes or schedules, which no table may mix.
    """
    import pandas as pd

    from lt_core.validation import check_choice

    check_choice("which", which, ("last", "best_on_test"))
    common = {
        (
            float(r["config"]["imbalance_factor"] or 0),
            r["config"].get("strategy_options", {}).get("meta_per_class", 0),  # images held out of the training set
            str(r["config"].get("class_order")),
            r["config"].get("subset_seed", 0),
            r["config"].get("image_size") or 0,
            data_checksum(r),
            *(r["config"][k] for k in ("dataset", "recipe", "epochs", "backbone")),
        )
        for r in records
    }
    if len(common) > 1:
        raise ValueError(f"the records mix {len(common)} settings: {sorted(common)}; one table holds one setting")
    runs = [(label(r), *(r["config"].get(k) for k in ("seed", *_ONE_ROW))) for r in records]
    if len(set(runs)) < len(runs):
        raise ValueError("a run is given twice; the spread of a row is that over seeds")
    ways = {(name, *ways) for name, _, *ways in runs}
    if len(ways) > len({name for name, *_ in ways}):
        raise ValueError(f"records of one row differ in one of {', '.join(_ONE_ROW)}; they may in their seeds only")
    columns = ("top1", *GROUPS)
    rows = [{"method": label(r), **{c: r["final"][which][c] for c in columns}} for r in records]
    grouped = pd.DataFrame(rows).groupby("method", sort=False)[list(columns)]
    mean, spread, count = grouped.mean(), grouped.std(), grouped.size()
    table = mean.astype(object)
    for method in mean.index:
        for column in columns:
            value = mean.loc[method, column]
            text = "–" if pd.isna(value) else f"{value:.1f}"
            if count[method] > 1 and not pd.isna(value):
                text += f" ± {spread.loc[method, column]:.1f}"
            table.loc[method, column] = text
    return table


def machine(device_name: str) -> dict[str, str]:
    """Versions and device of the running process."""
    import numpy
    import torch
    import torchvision

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # a class of its own, which a checkpoint may not hold
        "torchvision": torchvision.__version__,
        "numpy": numpy.__version__,
        "device": device_name,
    }


def environment(machines: Sequence[Mapping[str, str]], commits: Sequence[str | None]) -> dict[str, Any]:
    """What computed: the machines and commits of the processes that a run took, each in their order.

    Where versions or devices differ the text names all of them, "…, then …". ``commit`` is the first commit;
    ``commits`` is there where they differ.
    """
    import torch

    import lt_core

    return {
        "lt_core": lt_core.__version__,
        "commit": commits[0],
        **({"commits": list(commits)} if len(commits) > 1 else {}),
        **{name: ", then ".join(dict.fromkeys(each[name] for each in machines)) for name in machines[0]},
        "threads": torch.get_num_threads(),
    }


@functools.cache
def git_commit() -> str | None:
    """The commit of the code that runs, with ``-dirty`` where `lt_core` was changed since; None outside a checkout.

    It is read once, by a training run when it begins: what a checkout holds later is not the code that runs.
    """
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=10", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "."], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{commit}-dirty" if changed else commit
