r"""CIFAR-10-LT and CIFAR-100-LT from the official files, verified by their MD5.

Derived in chapter 1, *Long-tailed data*.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import pickle
import urllib.error
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lt_core.data.longtail import DataError, LongTailedData, class_counts, counts_in_order, longtail_indices
from lt_core.validation import check_choice

ROOT_VARIABLE = "LT_DATA_ROOT"
CIFAR_NAMES = ("cifar100_lt", "cifar10_lt")


def cifar100_lt(
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
) -> LongTailedData:
    r"""CIFAR100-LT: an exponentially long-tailed part of CIFAR-100's training set, and its whole test set.

    Labels always keep their meaning. Under a ``class_order``, place c of the profile (c = 0 has 500 images)
    belongs to the class ``class_order[c]``, so ``class_counts[label]`` is no longer sorted, and results of
    different orders compare class by class. Each class's images are shuffled in the same way under every order
    and every imbalance factor: a larger count only takes a longer prefix of the same list.

    Args:
        root: folder that holds (or will hold) ``cifar-100-python``; None takes the environment variable
            ``LT_DATA_ROOT``.
        imbalance_factor: largest over smallest class count before rounding down, in [1, 500]; 1 keeps all.
        seed: seed of the subset, in [0, 2**32); 0 is the canonical subset.
        class_order: a permutation of 0, …, 99; None is the canonical order.
        download: fetch the official archive (169 MB) into ``root`` if files are missing or altered.

    Returns:
        The data, images in the order of the released code, with the 20 superclasses.

    Raises:
        ValueError: an argument is out of range.
        DataError: no root is given, or files are missing, altered or cannot be fetched.

    Source:
        Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009; subset: Cao et al.,
        NeurIPS 2019, released code.
    """
    return _load("cifar100_lt", root, imbalance_factor, seed, class_order, download)


def cifar10_lt(
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
) -> LongTailedData:
    r"""CIFAR10-LT: as :func:`cifar100_lt`, with 10 classes, 5,000 images in the largest and no superclasses.

    Args:
        root: folder that holds (or will hold) ``cifar-10-batches-py``; None takes ``LT_DATA_ROOT``.
        imbalance_factor: in [1, 5000].
        seed: seed of the subset, in [0, 2**32).
        class_order: a permutation of 0, …, 9, or None.
        download: fetch the official archive (170 MB) into ``root`` if files are missing or altered.

    Returns:
        The data.

    Raises:
        ValueError: an argument is out of range.
        DataError: no root is given, or files are missing, altered or cannot be fetched.
    """
    return _load("cifar10_lt", root, imbalance_factor, seed, class_order, download)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the data: ``root``, else the environment variable ``LT_DATA_ROOT``, else a DataError."""
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE)
    if not chosen:
        raise DataError(
            "no data root is given; pass root= (--data-root on the command line) or set the environment"
            f" variable {ROOT_VARIABLE}"
        )
    return Path(chosen).expanduser()


def check_files(root: str | os.PathLike[str] | None = None, dataset: str = "cifar100_lt") -> list[Path]:
    """Compare the official files of a data set with their MD5.

    Args:
        root: the data root, or None for ``LT_DATA_ROOT``.
        dataset: ``"cifar100_lt"`` or ``"cifar10_lt"``.

    Returns:
        The files, all present and unaltered.

    Raises:
        ValueError: ``dataset`` is unknown.
        DataError: the first file that is missing, unreadable or altered, with both sums.
    """
    source = _source(dataset)
    folder = data_root(root)
    fix = "download=True (--download on the command line) fetches the official files"
    if not folder.exists():
        raise DataError(f"the data root {folder} does not exist; {fix}, or name the folder of {source.base_folder}")
    if not folder.is_dir():
        raise DataError(f"the data root {folder} is a file; name the folder of {source.base_folder}")
    expected = [*source.train_list, *source.test_list, [source.meta["filename"], source.meta["md5"]]]
    paths = []
    for name, md5 in expected:
        path = folder / source.base_folder / name
        if not path.is_file():
            raise DataError(f"the file {path} is missing; {fix}")
        try:
            found = _md5(path)
        except OSError as error:
            raise DataError(f"the file {path} cannot be read ({error}); check its permissions") from error
        if found != md5:
            raise DataError(
                f"the file {path} ({path.stat().st_size} bytes) is truncated or altered: its MD5 is {found},"
                f" the official one {md5}; {fix}"
            )
        paths.append(path)
    return paths


def _load(
    name: str,
    root: str | os.PathLike[str] | None,
    imbalance_factor: float,
    seed: int,
    class_order: Sequence[int] | None,
    download: bool,
) -> LongTailedData:
    num_classes = 100 if name == "cifar100_lt" else 10
    profile = class_counts(num_classes, 50_000 // num_classes, imbalance_factor)
    counts = counts_in_order(profile, class_order)
    folder = data_root(root)
    train, test = _open(name, folder, download)
    indices = longtail_indices(train.targets, counts, seed)
    return LongTailedData(
        name=name,
        train_images=_channels_first(train.data[indices]),
        train_targets=torch.from_numpy(np.asarray(train.targets, dtype=np.int64)[indices]),
        test_images=_channels_first(test.data),
        test_targets=torch.tensor(test.targets, dtype=torch.int64),
        class_counts=counts,
        class_names=list(train.classes),
        superclasses=_superclasses(folder / train.base_folder) if name == "cifar100_lt" else None,
    )


def _open(name: str, folder: Path, download: bool) -> tuple[Any, Any]:
    """torchvision's train and test set, or a DataError that says what to do."""
    source = _source(name)
    if download:
        _fetch(name, folder)
    try:
        return source(folder, train=True), source(folder, train=False)
    except (RuntimeError, OSError) as error:
        check_files(folder, name)  # torchvision says only that something is wrong; this names the file
        raise DataError(f"torchvision cannot read {folder / source.base_folder}: {error}") from error


def _fetch(name: str, folder: Path) -> None:
    """Download and unpack the official archive unless every file is there and unaltered."""
    from torchvision.datasets.utils import download_and_extract_archive

    source = _source(name)
    try:
        # torchvision's own download=True would fetch nothing when only the file of class names is broken.
        check_files(folder, name)
        return
    except DataError:
        pass
    try:
        download_and_extract_archive(source.url, folder, filename=source.filename, md5=source.tgz_md5)
    except RuntimeError as error:
        raise DataError(
            f"the archive downloaded to {folder / source.filename} is incomplete or altered ({error});"
            " delete it and try again"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise DataError(_explain(error, folder, source)) from error


def _explain(error: Exception, folder: Path, source: Any) -> str:
    """One sentence for what the operating system or the network refused."""
    code = getattr(error, "errno", None)
    if isinstance(error, (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError)):
        return (
            f"{source.url} cannot be downloaded ({error}); check the network connection,"
            f" or copy {source.base_folder} into {folder} from a machine that has it"
        )
    if code in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk of {folder} is full; the archive of {source.base_folder} and its files need 360 MB"
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the data root {folder} cannot be written or read ({error}); choose a folder that you own"
    return f"the data root {folder} cannot be used ({error}); choose another folder"


def _source(name: str) -> Any:
    """torchvision's class for a data set."""
    check_choice("dataset", name, CIFAR_NAMES)
    from torchvision import datasets

    return datasets.CIFAR100 if name == "cifar100_lt" else datasets.CIFAR10


def _superclasses(folder: Path) -> list[str]:
    """Name of the coarse class of every fine class; torchvision drops them. Call after the MD5 check."""
    with open(folder / "test", "rb") as file:
        test = pickle.load(file, encoding="latin1")
    with open(folder / "meta", "rb") as file:
        names = pickle.load(file, encoding="latin1")["coarse_label_names"]
    coarse = dict(zip(test["fine_labels"], test["coarse_labels"], strict=True))
    return [names[coarse[fine]] for fine in sorted(coarse)]


def _channels_first(images: np.ndarray) -> torch.Tensor:
    """(N, 32, 32, 3) pixels as a contiguous (N, 3, 32, 32) tensor."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
