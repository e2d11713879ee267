"""Long-tailed data: class profiles, the canonical CIFAR subsets, and two small sets without download."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lt_core.data import augment as augment
from lt_core.data.cifar import check_files, cifar10_lt, cifar100_lt, cifar100_lt_tuning, data_root
from lt_core.data.digits import digits_lt
from lt_core.data.longtail import DataError, LongTailedData, class_counts, counts_in_order, longtail_indices
from lt_core.data.names import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from lt_core.data.sampling import SAMPLERS, class_probabilities
from lt_core.data.sources import SOURCES
from lt_core.data.synthetic import synthetic
from lt_core.validation import check_choice

DATASETS = ("cifar100_lt", "cifar10_lt", "cifar100_lt_tuning", "digits_lt", "synthetic")
EMBEDDED = ("digits_lt", "synthetic")  # without files of their own

__all__ = [
    "CIFAR100_CLASSES",
    "CIFAR100_SUPERCLASSES",
    "DATASETS",
    "EMBEDDED",
    "SAMPLERS",
    "SOURCES",
    "DataError",
    "LongTailedData",
    "augment",
    "check_files",
    "cifar10_lt",
    "cifar100_lt",
    "cifar100_lt_tuning",
    "class_counts",
    "class_probabilities",
    "counts_in_order",
    "data_root",
    "digits_lt",
    "load_dataset",
    "longtail_indices",
    "synthetic",
]


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
    source: str = "toronto",
) -> LongTailedData:
    """A long-tailed data set by its name.

    Args:
        name: one of `DATASETS`.
        root: the data root, or None for ``LT_DATA_ROOT``; ``"digits_lt"`` and ``"synthetic"`` need none.
        imbalance_factor: at least 1.
        seed: seed of the subset, in [0, 2**32).
        class_order: a permutation of the labels, or None; place c of the profile belongs to the class
            ``class_order[c]``.
        download: fetch missing or altered files.
        source: where ``download`` fetches them: ``"toronto"``, the official host, or ``"huggingface"`` (CIFAR-100
            only); ``"digits_lt"`` and ``"synthetic"`` have nothing to fetch.

    Returns:
        The data.

    Raises:
        ValueError: an unknown name or an argument out of range.
        DataError: files are missing, altered or cannot be fetched.

    Example:
        >>> load_dataset("synthetic", imbalance_factor=50).class_counts
        [150, 105, 73, 51, 36, 25, 17, 12, 8, 6, 4, 3]
    """
    check_choice("dataset", name, DATASETS)
    check_choice("source", source, SOURCES)
    if name == "synthetic":
        return synthetic(imbalance_factor=imbalance_factor, seed=seed, class_order=class_order)
    if name == "digits_lt":
        return digits_lt(imbalance_factor, seed, class_order)
    loaders = {"cifar100_lt": cifar100_lt, "cifar10_lt": cifar10_lt, "cifar100_lt_tuning": cifar100_lt_tuning}
    return loaders[name](root, imbalance_factor, seed, class_order, download, source)
