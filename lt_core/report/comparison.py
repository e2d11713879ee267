"""One finished run beside others, without a study around them: what ``train --compare`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_core import records
from lt_core.training.recipes import RunConfig

# The data; accuracies on others do not compare.
SAME = ("dataset", "imbalance_factor", "subset_seed", "class_order", "meta_per_class")
COLUMNS = ("top1", *records.GROUPS)


def check_comparable(config: RunConfig, others: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise unless the other runs had the same training and test images as ``config``.

    Args:
        config: the run that is compared.
        others: records of finished runs, by what messages call them.

    Raises:
        ValueError: another data set, imbalance factor, subset seed, class order or number of images held out; the
            message names run and key.
    """
    here = _flat(config.to_dict())
    for place, record in others.items():
        for key in SAME:
            if (there := _flat(record["config"]).get(key)) != here.get(key):
                values = "" if key == "class_order" else f" ({there!r} there, {here.get(key)!r} here)"
                raise ValueError(f"{place} cannot be compared: it has another {key}{values}")


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with the options of its strategy beside its other keys."""
    return {**config.get("strategy_options", {}), **config}


def comparison(
    record: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, Mapping[str, Any]], dict[str, dict[str, float | None]], list[str]]:
    """What a run adds to others on the same data, after the last epoch of each.

    Args:
        record: the run.
        others: records of finished runs, by the name of their directory.

    Returns:
        The other runs' results and ``record``'s minus theirs, each a row of top1, many, medium and few by its name
        (None for an empty group); and a note for each run that differs in more than the loss and its options.

    Raises:
        ValueError: a run on other data.

    Example:
        >>> make = lambda loss, few: {"config": RunConfig(loss=loss).to_dict(), "final": {"last": {
        ...     "epoch": 40, "top1": 80.0, "many": 100.0, "medium": None, "few": few}}}
        >>> rows, differences, notes = comparison(make("la", 75.5), {"runs/ce": make("ce", 55.0)})
        >>> list(rows), notes
        (['cross-entropy (runs/ce)'], [])
        >>> differences["points more than runs/ce"]
        {'top1': 0.0, 'many': 0.0, 'medium': None, 'few': 20.5}
    """
    config = RunConfig.from_stored(record["config"])
    check_comparable(config, others)
    rows, differences, notes = {}, {}, []
    own = record["final"]["last"]
    for place, other in others.items():
        if records.data_checksum(other) != records.data_checksum(record):
            raise ValueError(f"{place} cannot be compared: its data are others, by their checksum")
        last = other["final"]["last"]
        rows[f"{records.label(other)} ({place})"] = last
        differences[f"points more than {place}"] = {
            c: None if own[c] is None or last[c] is None else own[c] - last[c] for c in COLUMNS
        }
        there = {**other["config"], "loss": config.loss, "loss_options": dict(config.loss_options)}
        if difference := config.difference(there):
            notes.append(f"{place} differs in more than the loss: {difference}")
    return rows, differences, notes
