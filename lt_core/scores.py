"""Anyone's test scores, from a CSV file: labels and a score for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.files import explain
from lt_core.validation import check_choice, short

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("probabilities", "log-probabilities", "logits")
LABEL, COUNT = "label", "count"
CLOSE = 0.01  # how far the sum of a row of probabilities may be from 1
FLOOR = 1e-12  # in place of a probability of zero, whose logarithm is not finite
FIRST = 2  # line of the first row: the columns' names are in line 1


class ScoresError(RuntimeError):
    """A file of scores or counts that is missing, unreadable or wrong; the message names the file, and the line."""


@dataclass(frozen=True)
class Scores:
    """What a model said of a test set.

    Args:
        log_probabilities: (N, C) float64; each row's probabilities sum to 1.
        labels: (N,) int64, in [0, C).
        class_names: C names.
        notes: what was done to the numbers on reading, in sentences.
    """

    log_probabilities: Tensor
    labels: Tensor
    class_names: list[str]
    notes: tuple[str, ...] = ()


def read_scores(path: str | Path, kind: str | None = None) -> Scores:
    """Read a CSV file with a column ``label`` and one column for each class.

    A label is the name of a class's column, or, where the names are no labels, its place among them, from 0.

    Args:
        path: the file.
        kind: one of `KINDS`; None tells it from the values: probabilities are at least 0 and sum to 1 in each row,
            within 1 %; log-probabilities are at most 0 and their exponentials sum to 1, within 1 %; all else is logits.

    Raises:
        ScoresError: a file that cannot be read; no column ``label``; fewer than two classes; two columns of one name;
            no row; a cell that is no finite number (log-probabilities may be -inf); a label that is no class;
            values that are not of the kind that was given, or that look like percentages.
        ValueError: an unknown kind.
    """
    if kind is not None:
        check_choice("kind", kind, KINDS)
    table = _read(path)
    if LABEL not in table.columns:
        raise ScoresError(f"{path} has no column {LABEL!r}; its columns are {short(list(table.columns))}")
    names = [str(name) for name in table.columns if name != LABEL]
    if len(names) < 2:
        raise ScoresError(f"{path} has scores of {len(names)} classes; at least two are needed")
    values = _numbers(path, table[names])
    labels, how = _labels(path, table[LABEL], names)
    told = kind is None
    kind = kind or _kind(path, values)
    log_probabilities, zeros = _log_probabilities(path, values, kind)
    notes = [f"The scores were read as {kind}{', told by their signs and sums' if told else ''}.", how]
    if zeros:
        notes.append(f"{zeros} probabilities of zero were taken as {FLOOR:g}.")
    return Scores(torch.from_numpy(log_probabilities), labels, names, tuple(note for note in notes if note))


def read_counts(path: str | Path, class_names: Sequence[str]) -> list[int]:
    """Read a CSV file with the columns ``label`` and ``count``: the training images of every class.

    Args:
        path: the file.
        class_names: the C names of the scores; labels are told by them as in `read_scores`.

    Returns:
        C counts, in the order of the names.

    Raises:
        ScoresError: a file that cannot be read, a missing column, a class that is missing, unknown or named twice, a
            count that is no whole number of at least 1.
    """
    table = _read(path)
    for name in (LABEL, COUNT):
        if name not in table.columns:
            raise ScoresError(f"{path} has no column {name!r}; its columns are {short(list(table.columns))}")
    labels, _ = _labels(path, table[LABEL], list(class_names))
    counts: dict[int, int] = {}
    for line, (label, count) in enumerate(
        zip(labels.tolist(), _numbers(path, table[[COUNT]])[:, 0], strict=True), FIRST
    ):
        if label in counts:
            raise ScoresError(f"{path}, line {line}: class {class_names[label]!r} is named twice")
        if count < 1 or count != int(count):
            raise ScoresError(f"{path}, line {line}: the count is {count:g}; a whole number of at least 1 is needed")
        counts[label] = int(count)
    if missing := [name for label, name in enumerate(class_names) if label not in counts]:
        raise ScoresError(f"{path} has no count of {len(missing)} classes, such as {missing[0]!r}")
    return [counts[label] for label in range(len(class_names))]


def _read(path: str | Path) -> pd.DataFrame:
    """The file as text cells, with its own column names."""
    import pandas as pd

    try:
        rows = pd.read_csv(path, dtype=str, keep_default_na=False, header=None, skip_blank_lines=True)
    except OSError as error:
        raise ScoresError(f"{path}: {explain(error)}") from None
    except (ValueError, UnicodeError) as error:  # pandas's own errors are ValueErrors
        raise ScoresError(f"{path} is no CSV file: {str(error).strip().splitlines()[-1]}") from None
    names = [str(name).strip() for name in rows.iloc[0]]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ScoresError(f"{path} has two columns {twice[0]!r}")
    table = rows.iloc[1:].reset_index(drop=True)
    table.columns = pd.Index(names)
    if table.empty:
        raise ScoresError(f"{path} has no row below the columns' names")
    return table


def _numbers(path: str | Path, table: pd.DataFrame) -> NDArray[np.float64]:
    """The cells as numbers (N, columns); the error names the line and the column of the first that is none."""
    import pandas as pd

    values = np.column_stack([pd.to_numeric(table[name], errors="coerce") for name in table]).astype(np.float64)
    wrong = np.argwhere(np.isnan(values) | (values == np.inf))
    if len(wrong):
        row, column = (int(place) for place in wrong[0])
        cell = table.iat[row, column]
        raise ScoresError(f"{path}, line {row + FIRST}, column {table.columns[column]!r}: {cell!r} is no finite number")
    return values


def _labels(path: str | Path, column: Any, names: list[str]) -> tuple[Tensor, str]:
    """Labels as places among the names, and a note where they were given so."""
    cells = [str(cell).strip() for cell in column]
    place = {name: label for label, name in enumerate(names)}
    if cells[0] in place or not cells[0].isdecimal():
        note = ""
    else:
        place = {str(label): label for label in range(len(names))}
        note = "Labels are the places of the columns, from 0."
    for line, cell in enumerate(cells, FIRST):
        if cell not in place:
            allowed = "a column's name" if not note else f"a place in [0, {len(names)})"
            raise ScoresError(f"{path}, line {line}: label {cell!r} is not {allowed}")
    return torch.tensor([place[cell] for cell in cells]), note


def _kind(path: str | Path, values: NDArray[np.float64]) -> str:
    if (values >= 0).all():
        sums = values.sum(1)
        if (abs(sums - 1) <= CLOSE).all():
            return "probabilities"
        if (abs(sums - 100) <= 100 * CLOSE).all():
            raise ScoresError(f"{path}: the rows sum to 100; divide percentages by 100, or name --kind")
    if (values <= 0).all() and (abs(np.exp(values).sum(1) - 1) <= CLOSE).all():
        return "log-probabilities"
    return "logits"


def _log_probabilities(path: str | Path, values: NDArray[np.float64], kind: str) -> tuple[NDArray[np.float64], int]:
    """Normalised log-probabilities, and how many probabilities of zero there were."""
    from scipy.special import log_softmax

    if kind == "logits":
        _refuse(path, values == -np.inf, "-inf is no logit")
        return log_softmax(values, axis=1), 0
    with np.errstate(over="ignore"):
        shares = values if kind == "probabilities" else np.exp(values)
    _refuse(path, shares < 0, "a probability is below 0")
    if kind == "log-probabilities":
        _refuse(path, values > 0, "a log-probability is above 0")
    off = abs(shares.sum(1) - 1) > CLOSE
    if off.any():
        row = int(off.argmax())
        raise ScoresError(f"{path}, line {row + FIRST}: the probabilities sum to {shares[row].sum():.4g}, and not to 1")
    floored = np.maximum(shares, FLOOR)
    return np.log(floored / floored.sum(1, keepdims=True)), int((shares < FLOOR).sum())


def _refuse(path: str | Path, wrong: NDArray[np.bool_], words: str) -> None:
    if wrong.any():
        raise ScoresError(f"{path}, line {int(wrong.any(1).argmax()) + FIRST}: {words}")
