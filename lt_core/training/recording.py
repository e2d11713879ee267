"""From a trainer to the run's record."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import torch

from lt_core import records
from lt_core.data import LongTailedData
from lt_core.training import distributed
from lt_core.training.evaluation import posthoc_results, posthoc_sweep, summarise, target_quantiles
from lt_core.training.meters import FactorMeter, LossMeter, PushMeter

if TYPE_CHECKING:
    from lt_core.training.engine import Trainer

MANY_CLASSES = 400  # with more, a record has no values by class, and the pushes between classes are not measured
COLUMNS = ("epoch", "lr", "train_loss", "test_loss", "train_top1", "top1", *records.GROUPS)


def record_of(run: Trainer) -> dict[str, Any]:
    """The record of a finished run."""
    logits, targets, counts = run.test_logits(), run.data.test_targets, run.data.class_counts
    history, last_row = run.history, run.history[-1]
    kept = [history[number - 1] for number in recorded_epochs(run.epochs, run.best["epoch"])]
    record: dict[str, Any] = {
        "schema": records.SCHEMA,
        "config": run.config.to_dict(),
        "environment": {
            **records.environment(run.machines, run.commits),
            "precision": run.precision,
            "compiled": run.compiled,
            "processes": distributed.world(),
            "test_every": run.test_every,
            "seconds": run.seconds["whole"],
            "cpu_seconds": run.seconds["cpu"] * distributed.world(),
            "images_per_second": sum(row["images"] for row in history) / run.seconds["train"],
            "augmentation_share": run.seconds["augment"] / (run.seconds["augment"] + run.seconds["train"]),
        },
        "final": {
            "last": {"epoch": run.epochs, **summarise(logits.softmax(1), targets, counts)},
            "best_on_test": dict(run.best),
        },
        "posthoc": posthoc_results(logits, targets, counts)
        | {"rebalance_best_on_test": run.best_rebalanced, "sweep": posthoc_sweep(logits, targets, counts)},
        "target_probability": target_quantiles(logits.softmax(1), targets, counts),
        "epochs": [{key: row[key] for key in COLUMNS} for row in kept],
        "adjustment": [{"epoch": row["epoch"], **row["adjustment"]} for row in kept if "adjustment" in row],
    }
    if run.data_facts is not None:
        record["data"] = run.data_facts
    if run.base is not None:
        record["base"] = run.base
    if facts := run.strategy.facts():
        record["strategy"] = facts
    if len(counts) > MANY_CLASSES:
        for summary in (*record["final"].values(), record["posthoc"]["adjust"], record["posthoc"]["rebalance"]):
            summary["per_class"] = None
        return record
    if "per_class" in last_row:
        record["adjustment_per_class"] = last_row["per_class"]
    if "row_ratio" in last_row:
        measured = [row for row in kept if "row_ratio" in row]
        record["row_ratio"] = [{"epoch": row["epoch"], "groups": row["row_ratio"]} for row in measured]
        record["row_ratio_per_class"] = [round(ratio, 3) for ratio in last_row["row_ratio_per_class"]]
        record["flow"] = {"first": history[0]["flow"], "last": last_row["flow"]}
    return record


def recorded_epochs(epochs: int, best: int) -> list[int]:
    """1-based epochs that a record keeps: all where there are at most 60, else every 10th, the best and the last."""
    if epochs <= 60:
        return list(range(1, epochs + 1))
    return sorted({*range(10, epochs + 1, 10), best, epochs})


def check_record_size(trainer: Trainer) -> None:
    """Raise `RecordError`, before the first epoch, where this run's record would be too large to be kept.

    The record is filled in with random numbers, as if one image a class were tested and every epoch were the same one.
    """
    num_classes = trainer.data.num_classes
    if num_classes > MANY_CLASSES:
        return  # it has no values by class, and the rest does not grow with the classes
    outputs = torch.rand(num_classes, num_classes, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(num_classes)
    here = outputs.to(trainer.device), targets.to(trainer.device)
    meter, pushes = LossMeter(trainer.device), PushMeter(num_classes, trainer.device)
    meter.update(outputs.mean().to(trainer.device), *here, 1.0)
    pushes.update(*here)
    factors, observed = None, trainer.strategy.observed
    if observed and hasattr(trainer.loss, "factors"):
        factors = FactorMeter(num_classes, trainer.device)
        factors.update(trainer.loss.factors(*here), here[1])
    row = {"lr": 1 / 7, "test_loss": 10 / 7, "images": len(trainer.images)} | trainer.describe(
        meter, factors, pushes if observed else None
    )
    summary = summarise(outputs.softmax(1), targets, trainer.data.class_counts)
    row |= {column: summary[column] for column in ("top1", *records.GROUPS)}
    middle = row if trainer.config.loss == "ce" else {k: v for k, v in row.items() if k != "row_ratio"}

    filled = copy.copy(trainer)
    filled.data = cast(LongTailedData, SimpleNamespace(test_targets=targets, class_counts=trainer.data.class_counts))
    ends, numbers = (1, trainer.epochs), range(1, trainer.epochs + 1)
    filled.history = [{**(row if number in ends else middle), "epoch": number} for number in numbers]
    filled.seconds = dict.fromkeys(trainer.seconds, 1000 / 7)
    filled.best, filled.best_rebalanced, filled.logits = {"epoch": 1, **summary}, {"epoch": 1, **summary}, outputs
    records.check_size(records.dumps(record_of(filled)))


def write_per_class(path: Path, run: Trainer) -> None:
    """Every class's name, training images and test accuracy (percent) after the last epoch, as a table."""
    import pandas as pd

    data = run.data
    summary = summarise(run.test_logits().softmax(1), data.test_targets, data.class_counts)
    columns = {"label": data.class_names, "train_images": data.class_counts, "accuracy": summary["per_class"]}
    records.write_atomically(path, pd.DataFrame(columns).to_csv(index=False))


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Every epoch so far, as a table."""
    import pandas as pd

    records.write_atomically(path, pd.DataFrame(history)[[*COLUMNS, "images"]].to_csv(index=False))
