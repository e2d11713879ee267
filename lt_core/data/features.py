"""Features in place of images: what some network gave, in one file, for a classifier to be trained on."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lt_core.data.longtail import DataError, LongTailedData
from lt_core.files import explain

KEYS = ("train_features", "train_labels", "test_features", "test_labels")
NAMES = "class_names"


def features(path: str | os.PathLike[str]) -> LongTailedData:
    """Read an ``.npz`` file of features.

    Args:
        path: holds ``train_features`` (N, d) and ``test_features`` (M, d), floating point; ``train_labels`` (N,) and
            ``test_labels`` (M,), whole numbers in [0, C); and, if there are names, ``class_names`` (C,). C is their
            number, else one more than the largest training label.

    Returns:
        The data, with the features, float32, where other data sets have images.

    Raises:
        DataError: a file that is missing or no ``.npz``, a key that is missing, a wrong shape or type, a feature that
            is not finite, a label outside [0, C), a class without training features.

    Example:
        >>> import numpy as np, tempfile
        >>> x, y = np.zeros((3, 4), np.float32), np.array([0, 0, 1])
        >>> with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        ...     np.savez(file, train_features=x, train_labels=y, test_features=x[:2], test_labels=y[1:])
        ...     _ = file.flush()
        ...     features(file.name).class_counts
        [2, 1]
    """
    path = Path(path)
    arrays = _read(path)
    if missing := [key for key in KEYS if key not in arrays]:
        raise DataError(f"{path} lacks {', '.join(missing)}; it has {', '.join(sorted(arrays)) or 'nothing'}")
    parts = {}
    for part in ("train", "test"):
        parts[part] = _features(path, f"{part}_features", arrays), _labels(path, f"{part}_labels", arrays)
        x, y = parts[part]
        if len(x) != len(y):
            raise DataError(f"{path} has {len(x)} {part}_features and {len(y)} {part}_labels")
    (train, train_labels), (test, test_labels) = parts["train"], parts["test"]
    if train.shape[1] != test.shape[1]:
        raise DataError(f"{path}: train_features has {train.shape[1]} columns, test_features {test.shape[1]}")
    names = [_text(name) for name in arrays[NAMES].tolist()] if NAMES in arrays else None
    C = int(train_labels.max()) + 1 if names is None else len(names)
    for key, labels in (("train_labels", train_labels), ("test_labels", test_labels)):
        if (wrong := labels[(labels < 0) | (labels >= C)]).size:
            raise DataError(f"{path}: {key} has the label {wrong[0]}; labels are in [0, {C})")
    counts = np.bincount(train_labels, minlength=C)
    if C < 2 or (counts == 0).any():
        empty = "there is one class only" if C < 2 else f"class {int(counts.argmin())} has no training features"
        raise DataError(f"{path}: {empty}")
    return LongTailedData(
        name="features",
        train_images=torch.from_numpy(train),
        train_targets=torch.from_numpy(train_labels),
        test_images=torch.from_numpy(test),
        test_targets=torch.from_numpy(test_labels),
        class_counts=counts.tolist(),
        class_names=names or [str(c) for c in range(C)],
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        if not zipfile.is_zipfile(path) and path.stat():  # of a file that is missing, the second says why
            raise DataError(f"{path} is no .npz file, or a damaged one")
        with np.load(path, allow_pickle=False) as file:
            return {key: file[key] for key in file.files}
    except OSError as error:
        raise DataError(f"{path}: {explain(error)}") from None
    except (ValueError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        told = "holds Python objects, which may be code" if "pickle" in str(error) else "is damaged"
        raise DataError(f"{path} {told}") from None


def _text(name: object) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _features(path: Path, key: str, arrays: dict[str, Any]) -> Any:
    values = arrays[key]
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating) or 0 in values.shape:
        raise DataError(f"{path}: {key} is {values.dtype} {values.shape}; floating point (N, d) is needed")
    values = np.ascontiguousarray(values, dtype=np.float32)
    finite = np.isfinite(values).all(1)
    if not finite.all():
        raise DataError(f"{path}: {key}, row {int(finite.argmin())}, is not finite")
    return values


def _labels(path: Path, key: str, arrays: dict[str, Any]) -> Any:
    values = arrays[key]
    if values.ndim != 1 or not np.issubdtype(values.dtype, np.integer):
        raise DataError(f"{path}: {key} is {values.dtype} {values.shape}; whole numbers (N,) are needed")
    return values.astype(np.int64)
