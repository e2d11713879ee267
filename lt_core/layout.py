"""What a run record must hold, key by key; whoever reads records may rely on it.

The layout is a table: a mapping for an object with at least these keys (those that end in "?" may be missing), a list
for a list of such elements, and a `Value` for what stands at the end. `fault` compares a record with it and names the
first key that is wrong. What a run may lack (the adjustment of a loss that has none, say) is in no table, apart from
`STUDY`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

GROUPS = ("many", "medium", "few")


@dataclass(frozen=True)
class Value:
    """What a value must be, in words and as a test."""

    words: str
    fits: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_row(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_share, value))


def _is_column(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_number, value))


TEXT = Value("a text", lambda value: isinstance(value, str))
TEXT_OR_NULL = Value("a text or null", lambda value: value is None or isinstance(value, str))
COMMITS = Value(
    "a list of texts and nulls",
    lambda value: isinstance(value, list) and len(value) > 0 and all(map(TEXT_OR_NULL.fits, value)),
)
NUMBER = Value("a finite number", _is_number)
NUMBER_OR_NULL = Value("a finite number or null", _is_share)  # null: an empty group, or what a collapsed network gives
NUMBERS = Value("a list of numbers", _is_column)
NUMBERS_OR_NULL = Value("a list of numbers or null", lambda value: value is None or _is_column(value))
ROW = Value("a list of numbers and nulls", _is_row)

ACCURACIES: dict[str, Any] = {"top1": NUMBER, **dict.fromkeys(GROUPS, NUMBER_OR_NULL)}
ROW_OR_NULL = Value("a list of numbers and nulls, or null", lambda value: value is None or _is_row(value))
# null: of more classes than a record has room for; the run's folder has per_class.csv.
SUMMARY = ACCURACIES | {"balanced_error": NUMBER_OR_NULL, "ece": NUMBER_OR_NULL, "per_class": ROW_OR_NULL}
EPOCH: dict[str, Any] = {"epoch": NUMBER, "lr": NUMBER, "train_top1": NUMBER, "train_loss": NUMBER}
EPOCH |= dict.fromkeys(("test_loss", *ACCURACIES), NUMBER_OR_NULL)  # null: not tested after this epoch
COLUMNS = {key: NUMBERS if value is NUMBER else ROW for key, value in EPOCH.items()}

# Every record.
RECORD: dict[str, Any] = {
    "config": {
        **dict.fromkeys(("dataset", "loss", "recipe", "backbone"), TEXT),
        "imbalance_factor": NUMBER_OR_NULL,  # null: data of one's own
        **dict.fromkeys(("epochs", "seed"), NUMBER),
    },
    "environment": {
        "commit": TEXT_OR_NULL,
        "commits?": COMMITS,
        **dict.fromkeys(("python", "torch", "torchvision", "numpy", "device", "precision"), TEXT),
        **dict.fromkeys(("threads", "seconds", "cpu_seconds?"), NUMBER),
    },
    "final": {"last": {"epoch": NUMBER, **SUMMARY}, "best_on_test": {"epoch": NUMBER, **SUMMARY}},
    "posthoc": {"adjust": SUMMARY, "rebalance": SUMMARY},
    "epochs": COLUMNS,
    "adjustment": [{"epoch": NUMBER}],
}
# And every record of a study: those of the first chapters are older than these keys.
_TEST = {"column_slope": NUMBER_OR_NULL, "per_class": NUMBERS}
STUDY: dict[str, Any] = {
    "final": {"last": _TEST, "best_on_test": _TEST},
    "posthoc": {
        "adjust": _TEST,
        "rebalance": _TEST,
        "rebalance_best_on_test": {"epoch": NUMBER, **ACCURACIES},
        "sweep": {"tau": NUMBERS, "adjust": NUMBERS, "rebalance": NUMBERS},
    },
    "target_probability": dict.fromkeys(GROUPS, NUMBERS_OR_NULL),
}
STUDY_OF_LOSS: dict[str, dict[str, Any]] = {
    "ala": {"adjustment": [{"DF": ROW, "QF": ROW, "A": ROW}], "adjustment_per_class": {"DF": NUMBERS}},
    "gala": {"adjustment": [{"log_theta": ROW}], "adjustment_per_class": {"log_theta": NUMBERS}},
}


def fault(record: Any) -> str:
    """The first key of a record that is missing or wrong, such as "final.last.top1 is missing"; "" for a whole one.

    Example:
        >>> fault({"config": {"dataset": 3}})
        'config.dataset is 3; a text is needed'
    """
    by_row = isinstance(record, dict) and isinstance(record.get("epochs"), list)  # as records had it at first
    found = _fault(record, RECORD | {"epochs": [EPOCH]} if by_row else RECORD, "")
    if found or by_row:
        return found
    lengths = {key: len(record["epochs"][key]) for key in COLUMNS}
    uneven = [key for key in COLUMNS if lengths[key] != lengths["epoch"]]
    return f"epochs.{uneven[0]} has another length than epochs.epoch" if uneven else ""


def study_fault(record: Mapping[str, Any]) -> str:
    """The same by what the tables and figures of a study need beyond it."""
    return _fault(record, STUDY | STUDY_OF_LOSS.get(record["config"]["loss"], {}), "")


def _fault(value: Any, wanted: Any, name: str) -> str:
    if isinstance(wanted, Value):
        return "" if wanted.fits(value) else f"{name} is {reprlib.repr(value)}; {wanted.words} is needed"
    kind, word = (dict, "an object") if isinstance(wanted, dict) else (list, "a list")
    if not isinstance(value, kind):
        return f"{name or 'the record'} is {reprlib.repr(value)}; {word} is needed"
    if isinstance(wanted, list):
        parts = ((item, wanted[0], f"{name}[{place}]") for place, item in enumerate(value))
        return next(filter(None, (_fault(*part) for part in parts)), "")
    for entry, inner in wanted.items():
        key = entry.removesuffix("?")
        place = f"{name}.{key}" if name else key
        if key not in value:
            if key == entry:
                return f"{place} is missing"
        elif found := _fault(value[key], inner, place):
            return found
    return ""
