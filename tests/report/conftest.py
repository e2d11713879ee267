"""Made-up records with known properties, laid out as a study."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lt_core import records
from lt_core.data import class_counts, counts_in_order
from lt_core.report import Study
from lt_core.training import RunConfig
from lt_core.training.evaluation import SWEEP

MakeStudy = Callable[..., Study]
Array = NDArray[np.float64]
# The crossed study: class effects, and the methods in this order.
EFFECTS = np.random.default_rng(0).permutation(np.linspace(-12, 12, 100))
METHODS: list[dict[str, Any]] = [
    {"loss": "ce", "classifier": "cosine"},
    {"loss": "balanced_softmax"},
    {"loss": "ala"},
]


def make_record(accuracy: Any = None, seed: int = 0, **config: Any) -> dict[str, Any]:
    """A whole record of CIFAR100-LT, ``accuracy`` (100,) in percent by label; random with the seed where None."""
    settings = RunConfig.from_dict({"dataset": "cifar100_lt", "recipe": "short", "seed": seed, **config})
    counts = np.array(counts_in_order(class_counts(100, 500, settings.imbalance_factor), settings.class_order))
    if accuracy is None:
        noise = np.random.default_rng(seed).normal(0, 5, 100)
        accuracy = np.clip(12 * np.log(counts) + noise, 0, 100)
    per_class = np.round(np.asarray(accuracy, dtype=float), 1)

    def summary(shift: float) -> dict[str, Any]:
        values = np.clip(per_class + shift, 0, 100)
        groups = {"many": counts > 100, "medium": (counts >= 20) & (counts <= 100), "few": counts < 20}
        means = {name: float(values[mask].mean()) if mask.any() else None for name, mask in groups.items()}
        return {
            "top1": float(values.mean()),
            **means,
            "balanced_error": 100 - float(values.mean()),
            "ece": 20.0 + shift,
            "column_slope": 0.5,
            "per_class": values.tolist(),
        }

    epochs = int(settings.epochs or 0)
    rows = []
    for e in range(1, epochs + 1):
        row = {"epoch": e, "lr": 0.1, "train_loss": 4 / e, "test_loss": 4 / e + 1, "train_top1": 60.0 * e / epochs}
        accuracies = summary(-5.0 * (epochs - e) / epochs)
        rows.append(row | {key: accuracies[key] for key in ("top1", "many", "medium", "few")})
    quantiles = np.linspace(0, 0.9, 21).round(3).tolist()
    record: dict[str, Any] = {
        "schema": records.SCHEMA,
        "config": settings.to_dict(),
        "environment": {
            **dict.fromkeys(("python", "torch", "torchvision", "numpy"), "1.0"),
            **{"commit": "0123456789", "device": "CPU", "precision": "float32", "threads": 1, "seconds": 60.0},
        },
        "final": {"last": {"epoch": epochs, **summary(0)}, "best_on_test": {"epoch": epochs - 1, **summary(0.5)}},
        "posthoc": {
            "adjust": {"tau": 1.0, **summary(2.0)},
            "rebalance": {"tau": 1.0, **summary(1.0)},
            "rebalance_best_on_test": {"epoch": epochs, "top1": 1.0, "many": 1.0, "medium": 1.0, "few": None},
            "sweep": {"tau": list(SWEEP), "adjust": [30.0] * len(SWEEP), "rebalance": [29.0] * len(SWEEP)},
        },
        "target_probability": {group: quantiles for group in records.GROUPS},
        "epochs": rows,
        "adjustment": [],
        "row_ratio": [{"epoch": e, "groups": [1.0, 0.9, 0.5]} for e in (1, epochs)],
        "row_ratio_per_class": [1.0] * 100,
        "flow": {"first": [[1.0] * 3] * 3, "last": [[1.0] * 3] * 3},
    }
    if settings.loss == "ala":
        factors = {"DF": [0.3, 0.4, 0.5], "QF": [0.2, 0.4, 1.0], "A": [0.06, 0.16, 0.5]}
        record["adjustment"] = [{"epoch": e, **factors} for e in range(1, epochs + 1)]
        record["adjustment_per_class"] = {"DF": [0.4] * 100, "A": [0.2] * 100}
    if settings.loss == "gala":
        record["adjustment"] = [{"epoch": e, "log_theta": [3.0, 2.0, 1.0]} for e in range(1, epochs + 1)]
        record["adjustment_per_class"] = {"log_theta": np.log(counts).tolist()}
    return record


@pytest.fixture
def make_study(tmp_path: Path) -> MakeStudy:
    """``make_study([record, ...], arrays=True)``: the records as a study in a temporary folder."""

    def build(made: list[dict[str, Any]], arrays: bool = False) -> Study:
        recipe = made[0]["config"]["recipe"]
        for record in made:
            folder = tmp_path / recipe / RunConfig.from_dict(record["config"]).run_name
            records.save(record, folder / "record.json")
            if arrays:
                generator = torch.Generator().manual_seed(0)
                logits = 2 * torch.randn(10_000, 100, generator=generator)
                logits[torch.arange(10_000), torch.arange(10_000) // 100] += 4
                records.save_probabilities(logits.log_softmax(1), folder)
                pushes = torch.rand(100, 100, generator=generator)
                pushes -= torch.diag(pushes.sum(1))
                records.save_pushes(pushes, pushes, folder)
        return Study(tmp_path / recipe)

    return build


def six_methods(seeds: tuple[int, ...] = (0, 1, 2), **config: Any) -> list[dict[str, Any]]:
    """The six methods of the main table, several seeds each."""
    methods: list[dict[str, Any]] = [
        {"loss": "ce"},
        {"loss": "ce", "classifier": "cosine"},
        {"loss": "balanced_softmax"},
        {"loss": "ldam", "drw": True},
        {"loss": "ala"},
        {"loss": "gala"},
    ]
    return [make_record(seed=seed, **{**method, **config}) for seed in seeds for method in methods]


def turned(shift: int) -> tuple[int, ...] | None:
    return tuple((c + shift) % 100 for c in range(100)) if shift else None


def counts_of(shift: int) -> Array:
    return np.array(counts_in_order(class_counts(100, 500, 100), turned(shift)), dtype=float)


def crossed_records(
    shifts: tuple[int, ...], slopes: tuple[float, ...] = (7.0, 4.0, 7.0), noise: float = 0.0
) -> list[dict[str, Any]]:
    """Accuracy 45 + effect + slope (log2 n - 6), plus noise; the same effects under every method."""
    generator = np.random.default_rng(1)
    made = []
    for method, slope in zip(METHODS, slopes, strict=True):
        for shift in shifts:
            accuracy = 45 + EFFECTS + slope * (np.log2(counts_of(shift)) - 6) + generator.normal(0, noise, 100)
            made.append(make_record(accuracy, class_order=turned(shift), **method))
    return made


@pytest.fixture(autouse=True)
def _close_figures() -> Any:
    yield
    plt.close("all")
