"""ImageNet-LT, Places-LT and iNaturalist 2018, from the lists of files that define them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lt_core.data.errors import DataError
from lt_core.data.folder import Listing
from lt_core.data.longtail import LongTailedData
from lt_core.data.streaming import FileImages
from lt_core.files import explain
from lt_core.validation import check_choice


@dataclass(frozen=True)
class FileList:
    """What is published of a data set.

    Args:
        train, test: names of the lists; a line is a file's path below the root, a space and its label.
        images: number of training images.
        classes: C, their number.
        largest, smallest: training images of the largest and the smallest class.
        tested: test images of each class.
        pictures: what has to lie below the root.
    """

    train: str
    test: str
    images: int
    classes: int
    largest: int
    smallest: int
    tested: int
    pictures: str


# Counts of ImageNet-LT and Places-LT: Liu et al., CVPR 2019; all as in the lists released with Decoupling (Kang et al.,
# ICLR 2020). The ALA paper's "Dataset" has the same, rounded.
FILE_LISTS = {
    "imagenet_lt": FileList(
        "ImageNet_LT_train.txt", "ImageNet_LT_test.txt", 115_846, 1000, 1280, 5, 50, "ImageNet-2012 (train/, val/)"
    ),
    "places_lt": FileList(
        "Places_LT_train.txt", "Places_LT_test.txt", 62_500, 365, 4980, 5, 100, "Places-365 (train/, val/)"
    ),
    "inaturalist2018": FileList(
        "iNaturalist18_train.txt", "iNaturalist18_val.txt", 437_513, 8142, 1000, 2, 3,
        "iNaturalist 2018 (train_val2018/)",
    ),
}  # fmt: skip


def file_list(name: str, root: str | os.PathLike[str], image_size: int = 224) -> LongTailedData:
    """A data set of published file lists, its images left in their files.

    Args:
        name: "imagenet_lt", "places_lt" or "inaturalist2018".
        root: the folder with the two lists of `FILE_LISTS`, and the images where the lists have them.
        image_size: pixels of a side.

    Raises:
        DataError: a list is missing, cannot be read, or has not the published number of images, classes, or images in
            the largest and smallest class; an image is missing (the first of each class is looked for; `scan_lists`
            looks for all).
    """
    known, root = FILE_LISTS[check_choice("name", name, tuple(FILE_LISTS))], Path(root).expanduser()
    parts = {part: read_list(root / listed, root, known) for part, listed in lists(known)}
    if wrong := unpublished(name, known, parts):
        raise DataError(wrong[0])
    for files, labels in parts.values():
        for place in np.unique(labels, return_index=True)[1]:
            if not files[place].is_file():
                raise DataError(f"{files[place]} is missing; needed below {root} are {known.pictures}")
    (train, train_labels), (test, test_labels) = parts["train"], parts["test"]
    return LongTailedData(
        name=name,
        train_images=FileImages(train, image_size),
        train_targets=torch.from_numpy(train_labels),
        test_images=FileImages(test, image_size),
        test_targets=torch.from_numpy(test_labels),
        class_counts=np.bincount(train_labels).tolist(),
        class_names=class_names(known, train, train_labels),
    )


def scan_lists(name: str, root: str | os.PathLike[str]) -> Listing:
    """What the lists hold, with every file that is missing and every count that is not the published one as a fault.

    Raises:
        DataError: a list that is missing or cannot be read.
    """
    known, root = FILE_LISTS[check_choice("name", name, tuple(FILE_LISTS))], Path(root).expanduser()
    parts = {part: read_list(root / listed, root, known) for part, listed in lists(known)}
    listing = Listing(class_names=class_names(known, *parts["train"]))
    for part, (files, labels) in parts.items():
        there = [file.is_file() for file in files]
        listing.faults += [f"{file} is missing" for file, found in zip(files, there, strict=True) if not found]
        pairs = zip(files, labels.tolist(), there, strict=True)
        getattr(listing, part).extend((file, label) for file, label, found in pairs if found)
    listing.faults += unpublished(name, known, parts)
    return listing


def class_names(known: FileList, files: Sequence[Path], labels: np.ndarray) -> list[str]:
    """The name of the folder in which a class's images lie."""
    names = [""] * known.classes
    for file, label in zip(files, labels.tolist(), strict=True):
        names[label] = file.parent.name
    return names


def lists(known: FileList) -> tuple[tuple[str, str], tuple[str, str]]:
    """The two parts and the names of their lists."""
    return ("train", known.train), ("test", known.test)


def read_list(path: Path, root: Path, known: FileList) -> tuple[list[Path], np.ndarray]:
    """Files and labels, int64, of a list.

    Raises:
        DataError: the list is missing or cannot be read, or a line is not a path and a label in [0, C).
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the list released with the data set, or with Decoupling's code") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {explain(error) if isinstance(error, OSError) else 'is no text'}") from None
    files, labels = [], []
    for number, line in enumerate(lines, 1):
        name, _, label = line.strip().rpartition(" ")
        if not name or not (label.isascii() and label.isdigit()) or int(label) >= known.classes:
            raise DataError(f"{path}, line {number}: {line[:80]!r} is no path and label below {known.classes}")
        files.append(root / name)
        labels.append(int(label))
    return files, np.array(labels, dtype=np.int64)


def unpublished(name: str, known: FileList, parts: dict[str, tuple[list[Path], np.ndarray]]) -> list[str]:
    """A line for each count of the lists that is not the published one."""
    counts = {part: np.bincount(labels, minlength=known.classes) for part, (_, labels) in parts.items()}
    train, test = counts["train"], counts["test"]
    return [
        f"the lists of {name} have {found} {what}; published are {published}"
        for what, found, published in (
            ("training images", int(train.sum()), known.images),
            ("images in the largest class", int(train.max()), known.largest),
            ("images in the smallest class", int(train.min()), known.smallest),
            ("test images in the largest class", int(test.max()), known.tested),
            ("test images in the smallest class", int(test.min()), known.tested),
        )
        if found != published
    ]
