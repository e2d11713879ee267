r"""CIFAR-10-LT and CIFAR-100-LT, the files verified by their MD5 and CIFAR-100's pixels by their SHA-256.

Derived in chapter 1, *Long-tailed data*.
"""

from __future__ import annotations

import os
import pickle
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lt_core.data import sources
from lt_core.data.longtail import (
    DataError,
    LongTailedData,
    class_counts,
    counts_in_order,
    indices_beyond,
    longtail_indices,
)
from lt_core.data.names import CIFAR100_CLASSES, CIFAR100_SUPERCLASSES
from lt_core.validation import check_choice, check_whole

ROOT_VARIABLE = "LT_DATA_ROOT"
CIFAR_NAMES = ("cifar100_lt", "cifar10_lt")
TUNING = "cifar100_lt_tuning"
TUNING_COUNT = 450  # images of the tuning set's largest class; what is beyond them in each class is scored
Part = tuple[np.ndarray, np.ndarray]  # pixels uint8 (N, 32, 32, 3), labels int64 (N,)


def cifar100_lt(
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
    source: str = "toronto",
    meta_per_class: int = 0,
) -> LongTailedData:
    r"""CIFAR100-LT: an exponentially long-tailed part of CIFAR-100's training set, and its whole test set.

    Labels always keep their meaning. Under a ``class_order``, place c of the profile (c = 0 has 500 images)
    belongs to the class ``class_order[c]``, so ``class_counts[label]`` is no longer sorted, and results of
    different orders compare class by class. Each class's images are shuffled in the same way under every order
    and every imbalance factor: a larger count only takes a longer prefix of the same list.

    Args:
        root: folder that holds (or will hold) ``cifar-100-python``, or else ``cifar-100-huggingface``; None takes
            the environment variable ``LT_DATA_ROOT``.
        imbalance_factor: largest over smallest class count before rounding down, in [1, 500]; 1 keeps all.
        seed: seed of the subset, in [0, 2**32); 0 is the canonical subset.
        class_order: a permutation of 0, …, 99; None is the canonical order.
        download: fetch the data into ``root`` if files are missing or altered.
        source: where ``download`` fetches it, and nowhere else: ``"toronto"``, the official archive (169 MB), or
            ``"huggingface"``, the same images as Parquet files (142 MB; needs pyarrow). The tensors are identical.
        meta_per_class: images of each class, in [0, 499], that are held out before the subset is drawn, as the
            released code of Meta-Weight-Net does: the last of each shuffle. They become ``meta_images``, and the
            profile begins at 500 less this number.

    Returns:
        The data, images in the order of the released code, with the 20 superclasses.

    Raises:
        ValueError: an argument is out of range.
        DataError: no root is given, or files are missing, altered or cannot be fetched.

    Source:
        Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009; subset: Cao et al.,
        NeurIPS 2019, released code.
    """
    return _load("cifar100_lt", root, imbalance_factor, seed, class_order, download, source, meta_per_class)


def cifar100_lt_tuning(
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
    source: str = "toronto",
) -> LongTailedData:
    r"""For choosing options without the test set: CIFAR100-LT with at most 450 images a class, scored on 50 others.

    Both parts come from CIFAR-100's training set. Each class is shuffled as in :func:`cifar100_lt`. The training part
    takes the first ``class_counts(100, 450, imbalance_factor)`` images, and what is called the test part here takes
    positions 450 to 499 of every class: 5,000 images, balanced, none of them trained on, and the same under every
    class order and imbalance factor. The official test set is never touched.

    This is *oracle validation*: the scored images come from outside the long-tailed subset, and nobody who has only
    that subset could set aside as many of a rare class. Freeze what is chosen, then train on :func:`cifar100_lt`.

    Args:
        root: as in :func:`cifar100_lt`.
        imbalance_factor: in [1, 450].
        seed: seed of the shuffles, in [0, 2**32).
        class_order: a permutation of 0, …, 99, or None.
        download: fetch the data into ``root`` if files are missing or altered.
        source: ``"toronto"`` or ``"huggingface"``.

    Returns:
        The data; ``test_images`` and ``test_targets`` hold the scored images, class by class.

    Raises:
        ValueError: an argument is out of range.
        DataError: no root is given, or files are missing, altered or cannot be fetched.
    """
    return _load(TUNING, root, imbalance_factor, seed, class_order, download, source)


def cifar10_lt(
    root: str | os.PathLike[str] | None = None,
    imbalance_factor: float = 100,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
    download: bool = False,
    source: str = "toronto",
    meta_per_class: int = 0,
) -> LongTailedData:
    r"""CIFAR10-LT: as :func:`cifar100_lt`, with 10 classes, 5,000 images in the largest and no superclasses.

    Args:
        root: folder that holds (or will hold) ``cifar-10-batches-py``; None takes ``LT_DATA_ROOT``.
        imbalance_factor: in [1, 5000].
        seed: seed of the subset, in [0, 2**32).
        class_order: a permutation of 0, …, 9, or None.
        download: fetch the official archive (170 MB) into ``root`` if files are missing or altered.
        source: ``"toronto"`` only.
        meta_per_class: as in :func:`cifar100_lt`, in [0, 4999].

    Returns:
        The data.

    Raises:
        ValueError: an argument is out of range.
        DataError: no root is given, or files are missing, altered or cannot be fetched.
    """
    return _load("cifar10_lt", root, imbalance_factor, seed, class_order, download, source, meta_per_class)


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of the data: ``root``, else the environment variable ``LT_DATA_ROOT``, else a DataError."""
    chosen = root if root is not None else os.environ.get(ROOT_VARIABLE, "")
    if not isinstance(chosen, (str, os.PathLike)):
        raise TypeError(f"root is {chosen!r} of type {type(chosen).__name__}; the path of a folder is needed")
    if not chosen:
        raise DataError(
            "no data root is given; pass root= (--data-root on the command line) or set the environment"
            f" variable {ROOT_VARIABLE}"
        )
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise DataError(f"the data root {chosen} cannot be used ({error}); write the folder without ~") from error


def check_files(root: str | os.PathLike[str] | None = None, dataset: str = "cifar100_lt") -> list[Path]:
    """Compare the files of a data set with their checksums: MD5 of the official ones, SHA-256 of Hugging Face's arrays.

    Args:
        root: the data root, or None for ``LT_DATA_ROOT``.
        dataset: ``"cifar100_lt"`` or ``"cifar10_lt"``.

    Returns:
        The files, all present and unaltered.

    Raises:
        ValueError: ``dataset`` is unknown.
        DataError: the first file that is missing, unreadable or altered, with both sums.
    """
    official = _torchvision(dataset)
    folder = data_root(root)
    fix = f"download=True ({_command(dataset, folder)}) fetches the official files"
    _check_level(dataset, folder)
    if _is_imported(dataset, folder):
        return [folder / sources.HUGGINGFACE_FOLDER / f"{split}.npz" for split in sources.read_huggingface(folder)]
    if not _kind(folder):
        raise DataError(
            f"the data root {folder} does not exist; {fix}, or name the folder that holds {official.base_folder}"
        )
    if not _kind(folder / official.base_folder):
        below = [path for base in _base_folders(dataset) for path in sorted(folder.glob(f"*/{base}"))]
        if below:
            raise DataError(
                f"there is no {below[0].name} in the data root {folder}, but in {below[0].parent}; give that one"
            )
        if _kind(archive := folder / official.filename):
            raise DataError(
                f"the archive {archive} is not unpacked; download=True ({_command(dataset, folder)}) does that, and"
                " fetches it again only if it is altered"
            )
    paths = []
    for name, md5 in _official_files(official):
        path = folder / official.base_folder / name
        if _kind(path) != "file":
            raise DataError(f"the file {path} is missing; {fix}")
        try:
            found_md5 = sources.md5_of(path)
        except OSError as error:
            raise DataError(f"the file {path} cannot be read ({error}); check its permissions") from error
        if found_md5 != md5:
            raise DataError(
                f"the file {path} ({path.stat().st_size} bytes) is truncated or altered: its MD5 is {found_md5},"
                f" the official one {md5}; {fix}"
            )
        paths.append(path)
    return paths


def _check_level(name: str, folder: Path) -> None:
    """Raise for a root that is a file, or the folder of the files itself and not the one that holds it."""
    official = _torchvision(name)
    if _kind(folder) == "file":
        place = folder.resolve().parent
        if folder.name == official.filename:
            text = f"the archive; give its folder {place}, where download=True ({_command(name, place)}) unpacks it"
        elif place.name in _base_folders(name):
            text = f"one of the data's files; give the folder above theirs, {place.parent}"
        else:
            text = f"a file; name the folder that holds {official.base_folder}"
        raise DataError(f"the data root {folder} is {text}")
    layouts = ([file for file, _ in _official_files(official)], [f"{split}.npz" for split in sources.CHECKSUMS])
    for base, files in zip(_base_folders(name), layouts, strict=False):  # CIFAR-10 has the first one only
        inside = [file for file in files if _kind(folder / file) == "file"]
        if inside and folder.resolve().name == base:
            above = folder.resolve().parent
            raise DataError(f"the data root {folder} is the folder of the files; give the one above it, {above}")
        if inside == files:
            raise DataError(
                f"the data root {folder} holds the files of {base} themselves; rename it to {base} and give the folder"
                " above it"
            )


def _kind(path: Path) -> str:
    """``"file"``, ``"folder"``, or ``""`` where there is nothing; a DataError where that cannot be found out."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except PermissionError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the permissions of {path.parent}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); name another data root") from error
    return "folder" if stat.S_ISDIR(mode) else "file"


def _base_folders(name: str) -> list[str]:
    """The folders that a data root may hold the data in, the official one first."""
    official = str(_torchvision(name).base_folder)
    return [official, sources.HUGGINGFACE_FOLDER] if name == "cifar100_lt" else [official]


def _official_files(official: Any) -> list[tuple[str, str]]:
    """Name and MD5 of every official file."""
    meta = (official.meta["filename"], official.meta["md5"])
    return [*((name, md5) for name, md5 in (*official.train_list, *official.test_list)), meta]


def _command(name: str, folder: Path) -> str:
    """The command that fetches the data: not every command has ``--download``, this one has."""
    dataset = "" if name == "cifar100_lt" else f" --dataset {name}"
    return f"{sources.COMMAND} --root {shlex.quote(str(folder))}{dataset}"


def _load(
    name: str,
    root: str | os.PathLike[str] | None,
    imbalance_factor: float,
    seed: int,
    class_order: Sequence[int] | None,
    download: bool,
    source: str,
    meta_per_class: int = 0,
) -> LongTailedData:
    check_choice("source", source, sources.SOURCES)
    if source == "huggingface" and name == "cifar10_lt":
        raise ValueError(f"source is {source!r}; allowed for {name} is 'toronto' only")
    num_classes = 10 if name == "cifar10_lt" else 100
    largest = TUNING_COUNT if name == TUNING else 50_000 // num_classes
    meta_per_class = check_whole("meta_per_class", meta_per_class, 0, largest - 1)
    profile = class_counts(num_classes, largest - meta_per_class, imbalance_factor)
    counts = counts_in_order(profile, class_order)
    folder = data_root(root)
    files = "cifar100_lt" if name == TUNING else name
    if download:
        _fetch(files, folder, source)
    train, test, class_names, superclasses = (_open_imported if _is_imported(files, folder) else _open)(files, folder)
    indices = longtail_indices(train[1], counts, seed)
    if name == TUNING:
        scored = indices_beyond(train[1], TUNING_COUNT, seed)
        test = train[0][scored], train[1][scored]
    held_out = indices_beyond(train[1], -meta_per_class, seed) if meta_per_class else None
    return LongTailedData(
        name=name,
        train_images=_channels_first(train[0][indices]),
        train_targets=torch.from_numpy(train[1][indices]),
        test_images=_channels_first(test[0]),
        test_targets=torch.from_numpy(test[1]),
        class_counts=counts,
        class_names=class_names,
        superclasses=superclasses,
        meta_images=None if held_out is None else _channels_first(train[0][held_out]),
        meta_targets=None if held_out is None else torch.from_numpy(train[1][held_out]),
    )


def _open(name: str, folder: Path) -> tuple[Part, Part, list[str], list[str] | None]:
    """Both parts, class names and superclasses from the official files, or a DataError that says what to do."""
    official = _torchvision(name)
    try:
        train, test = official(folder, train=True), official(folder, train=False)
    except (RuntimeError, OSError) as error:
        check_files(folder, name)  # torchvision says only that something is wrong; this names the file
        raise DataError(f"torchvision cannot read {folder / official.base_folder}: {error}") from error
    superclasses = None
    if name == "cifar100_lt":
        sources.check_arrays("train", {"images": train.data}, folder / official.base_folder)
        sources.check_arrays("test", {"images": test.data}, folder / official.base_folder)
        superclasses = _superclasses(folder / official.base_folder)
    parts = [(part.data, np.asarray(part.targets, dtype=np.int64)) for part in (train, test)]
    return parts[0], parts[1], list(train.classes), superclasses


def _open_imported(name: str, folder: Path) -> tuple[Part, Part, list[str], list[str] | None]:
    """The same from the copy that came from Hugging Face."""
    arrays = sources.read_huggingface(folder)
    train, test = arrays["train"], arrays["test"]
    coarse = dict(zip(test["fine"].tolist(), test["coarse"].tolist(), strict=True))
    superclasses = [CIFAR100_SUPERCLASSES[coarse[fine]] for fine in sorted(coarse)]
    return (train["images"], train["fine"]), (test["images"], test["fine"]), list(CIFAR100_CLASSES), superclasses


def _is_imported(name: str, folder: Path) -> bool:
    """Whether the data is Hugging Face's copy. The official folder comes first, so a broken one is an error."""
    official = folder / _torchvision(name).base_folder
    if name != "cifar100_lt" or _kind(official):
        return False
    return _kind(folder / sources.HUGGINGFACE_FOLDER) == "folder"


def _fetch(name: str, folder: Path, source: str) -> None:
    """Fetch the data from ``source`` unless every file is there and unaltered."""
    _check_level(name, folder)  # or 169 MB go one level below the files that are there
    try:
        # torchvision's own download=True would fetch nothing when only the file of class names is broken.
        check_files(folder, name)
        return
    except DataError:
        pass
    official = _torchvision(name)
    base = folder / official.base_folder
    if source == "toronto":
        faster = f", or pass source='huggingface' ({sources.COMMAND} --source huggingface)"
        other = faster if name == "cifar100_lt" else ""
        sources.fetch_archive(official.url, official.tgz_md5, folder, official.filename, official.base_folder, other)
    elif base.exists():
        raise DataError(
            f"the folder {base} holds broken official files, which come before a copy from Hugging Face;"
            f" delete that folder, or repair it with source='toronto' ({sources.COMMAND} --source toronto)"
        )
    else:
        sources.fetch_huggingface(folder)


def _torchvision(name: str) -> Any:
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
