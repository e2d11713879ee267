"""Long-tailed data: class profiles, the canonical CIFAR subsets, and two small sets without download."""

from __future__ import annotations

import os
from collections.abc import Sequence

from lt_core.data import augment as augment
from lt_core.data.cifar import check_files, cifar10_lt, cifar100_lt, cifar100_lt_tuning, data_root
from lt_core.data.digits import digits_lt
from lt_core.data.features import features
from lt_core.data.filelist import FILE_LISTS, file_list
from lt_core.data.folder import folder
from lt_core.data.longtail import DataError, LongTailedData, class_counts, counts_in_order, longtail_indices
from lt_core.data.names import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from lt_core.data.sampling import SAMPLERS, class_probabilities
from lt_core.data.sources import SOURCES
from lt_core.data.synthetic import synthetic
from lt_core.validation import check_choice

DATASETS = (
    "cifar100_lt", "cifar10_lt", "cifar100_lt_tuning", "digits_lt", "synthetic", "folder", "features", *FILE_LISTS
)  # fmt: skip
EMBEDDED = ("digits_lt", "synthetic")  # without files of their own
OWN = ("folder", "features")  # the user's
AS_THEY_ARE = (*OWN, *FILE_LISTS)  # no subset is drawn from them
HOLDS_OUT = ("cifar100_lt", "cifar10_lt", "digits_lt")  # images beside the subset, where asked to
SIZED = {"folder": 32, **dict.fromkeys(FILE_LISTS, 224)}  # scaled, and the usual pixels of a side

__all__ = [
    "AS_THEY_ARE",
    "CIFAR100_CLASSES",
    "CIFAR100_SUPERCLASSES",
    "DATASETS",
    "EMBEDDED",
    "FILE_LISTS",
    "HOLDS_OUT",
    "OWN",
    "SAMPLERS",
    "SIZED",
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
    "features",
    "file_list",
    "folder",
    "load_dataset",
    "longtail_indices",
    "synthetic",
]


def load_dataset(
    name: str,
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float | None = None,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
    source: str = "toronto",
    image_size: int | None = None,
    stream: bool = False,
    meta_per_class: int = 0,
) -> LongTailedData:
    """A long-tailed data set by its name.

    Args:
        name: one of `DATASETS`.
        root: the data root, or None for ``LT_DATA_ROOT``; ``"digits_lt"`` and ``"synthetic"`` need none. For
            ``"folder"`` it is the folder with ``train`` and ``test``, for ``"features"`` the ``.npz`` file, for the
            sets of file lists the folder with the lists and the images.
        imbalance_factor: at least 1; None is 100. The sets of `AS_THEY_ARE` take none, nor a seed or a class order.
        seed: seed of the subset, in [0, 2**32).
        class_order: a permutation of the labels, or None; place c of the profile belongs to the class
            ``class_order[c]``.
        download: fetch missing or altered files.
        source: where ``download`` fetches them: ``"toronto"``, the official host, or ``"huggingface"`` (CIFAR-100
            only); ``"digits_lt"`` and ``"synthetic"`` have nothing to fetch.
        image_size: pixels of a side, for the sets of `SIZED` alone, which has what None is.
        stream: leave the images of ``"folder"`` in their files, as those of the sets of file lists always are.
        meta_per_class: images of each class that are held out before the subset is drawn, and come as ``meta_images``;
            of the sets of `HOLDS_OUT` alone.

    Returns:
        The data.

    Raises:
        ValueError: an unknown name or an argument out of range.
        DataError: files are missing, altered or damaged, or cannot be fetched.

    Example:
        >>> import lt_core as lt
        >>> lt.data.load_dataset("synthetic", imbalance_factor=50).class_counts
        [150, 105, 73, 51, 36, 25, 17, 12, 8, 6, 4, 3]
    """
    check_choice("dataset", name, DATASETS)
    check_choice("source", source, SOURCES)
    if image_size is not None and name not in SIZED:
        raise ValueError(f"image_size is {image_size!r}; only the images of {', '.join(SIZED)} are scaled")
    if meta_per_class != 0 and name not in HOLDS_OUT:
        raise ValueError(f"meta_per_class is {meta_per_class!r}; only {', '.join(HOLDS_OUT)} can hold images out")
    if name in AS_THEY_ARE:
        _check_as_it_is(name, imbalance_factor, seed, class_order, download)
        place, size = data_root(root), SIZED.get(name) if image_size is None else image_size
        if name == "features":
            return features(place)
        return folder(place, size or 0, stream) if name == "folder" else file_list(name, place, size or 0)
    imbalance_factor = 100 if imbalance_factor is None else imbalance_factor
    if name == "synthetic":
        return synthetic(imbalance_factor=imbalance_factor, seed=seed, class_order=class_order)
    if name == "digits_lt":
        return digits_lt(imbalance_factor, seed, class_order, meta_per_class)
    if name == "cifar100_lt_tuning":
        return cifar100_lt_tuning(root, imbalance_factor, seed, class_order, download, source)
    loader = cifar100_lt if name == "cifar100_lt" else cifar10_lt
    return loader(root, imbalance_factor, seed, class_order, download, source, meta_per_class)


def _check_as_it_is(
    name: str, imbalance_factor: float | None, seed: int, class_order: Sequence[int] | None, download: bool
) -> None:
    """Raise where something is asked for that only subsets and known data sets have."""
    for key, value, usual in (
        ("imbalance_factor", imbalance_factor, None),
        ("seed", seed, 0),
        ("class_order", class_order, None),
        ("download", download, False),
    ):
        if value != usual:
            raise ValueError(f"{key} is {value!r}, but {name!r} is used as it is; leave it out")
