"""One's own images: a folder a class, below ``train`` and ``test`` (or ``val``)."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lt_core.data.decoding import ENDINGS, centre, pixels, read_image
from lt_core.data.errors import DataError
from lt_core.data.longtail import LongTailedData
from lt_core.data.streaming import FileImages
from lt_core.validation import check_whole

TRAIN, TESTS = "train", ("test", "val")
SMALLEST = 8  # pixels: ResNet-8's last stage then still sees 2 x 2 positions
SHARE = 0.25  # of the machine's memory that decoded images may take
SHOWN = 5  # files that a message about many names


@dataclass
class Listing:
    """What a folder holds: files with their labels, and what is wrong with it.

    Args:
        class_names: the names of the folders below ``train``, sorted.
        train, test: files and labels.
        faults: why it cannot be trained on, a line each.
        notes: what a user should know, a line each.
    """

    class_names: list[str] = field(default_factory=list)
    train: list[tuple[Path, int]] = field(default_factory=list)
    test: list[tuple[Path, int]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def counts(self, part: str) -> list[int]:
        """Files of each class in "train" or "test"."""
        labels = [label for _, label in getattr(self, part)]
        return np.bincount(labels, minlength=len(self.class_names)).tolist()


def scan(root: str | os.PathLike[str]) -> Listing:
    """List a data set of folders without opening an image.

    The images of a class are all files with an image's ending anywhere below ``root/train/CLASS``; links are followed.
    Names are compared in Unicode's composed form, so that "é" is one name on every system. Files and folders whose name
    begins with a dot are passed over.

    Raises:
        DataError: ``root``, ``root/train`` or both ``root/test`` and ``root/val`` are missing.
    """
    root = Path(root).expanduser()
    for place in (root, root / TRAIN):
        if not place.is_dir():
            raise DataError(f"{place} is no folder; needed are {root / TRAIN}/CLASS/… and {root / TESTS[0]}/CLASS/…")
    tests = [root / name for name in TESTS if (root / name).is_dir()]
    if not tests:
        raise DataError(f"{root} has neither a folder {TESTS[0]} nor a folder {TESTS[1]}")
    listing = Listing()
    if len(tests) > 1:
        listing.notes.append(f"{tests[0]} is tested, and {tests[1]} is not used")
    folders = _classes(root / TRAIN, listing)
    listing.class_names = sorted(folders)
    label_of = {name: label for label, name in enumerate(listing.class_names)}
    for name in listing.class_names:
        listing.train += [(file, label_of[name]) for file in _images(folders[name], listing)]
    for name, folder in sorted(_classes(tests[0], listing).items()):
        if name not in label_of:
            listing.faults.append(f"{folder}: there is no class {name!r} in {root / TRAIN}")
            continue
        listing.test += [(file, label_of[name]) for file in _images(folder, listing)]
    if len(folders) < 2:
        listing.faults.append(f"{root / TRAIN} has {len(folders)} classes; at least two are needed")
    empty = [name for name, count in zip(listing.class_names, listing.counts("train"), strict=True) if not count]
    listing.faults += [f"{folders[name]} has no image" for name in empty]
    if not listing.test:
        listing.faults.append(f"{tests[0]} has no image")
    else:
        untested = [n for n, count in zip(listing.class_names, listing.counts("test"), strict=True) if not count]
        if untested:
            more = f" and {len(untested) - 1} more" if len(untested) > 1 else ""
            listing.notes.append(f"there is no test image of {untested[0]!r}{more}")
    return listing


def _classes(folder: Path, listing: Listing) -> dict[str, Path]:
    """The folders of the classes by name; images beside them are a fault."""
    found: dict[str, Path] = {}
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            if entry.suffix.lower() in ENDINGS:
                listing.faults.append(f"{entry} lies in no class's folder")
            continue
        name = unicodedata.normalize("NFC", entry.name)
        if name in found:
            listing.faults.append(f"{entry} and {found[name]} have the same name")
            continue
        found[name] = entry
    return found


def _images(folder: Path, listing: Listing) -> Iterator[Path]:
    """The image files below a folder, sorted. A link to nowhere is a fault, one that leads upwards is not followed."""
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(place) / name
            if name.startswith(".") or path.suffix.lower() not in ENDINGS:
                continue
            if not path.exists():
                listing.faults.append(f"{path} is a link that leads nowhere")
                continue
            yield path


def folder(root: str | os.PathLike[str], image_size: int = 32, stream: bool = False) -> LongTailedData:
    """A data set of folders, decoded into memory or left in its files.

    Args:
        root: see `scan`.
        image_size: pixels of a side, at least 8; each picture is scaled to it by its shorter side, and of the longer
            side the middle is kept.
        stream: leave the images in their files; see `lt_core.data.streaming` for how they are then cropped.

    Raises:
        DataError: what `scan` finds wrong; or, unless ``stream``, an image that cannot be read (the first; `check`
            reports all), or more images than a quarter of the machine's memory holds.
        ValueError, TypeError: an image size that is no whole number of at least 8.
    """
    check_whole("image_size", image_size, low=SMALLEST)
    listing = scan(root)
    if listing.faults:
        more = f" ({len(listing.faults)} such lines: data --check has all)" if len(listing.faults) > 1 else ""
        raise DataError(listing.faults[0] + more)
    parts = {part: [file for file, _ in getattr(listing, part)] for part in ("train", "test")}
    images: dict[str, Tensor | FileImages] = {}
    if not stream:
        check_memory(len(listing.train) + len(listing.test), image_size)
    for part, files in parts.items():
        images[part] = FileImages(files, image_size) if stream else _decode(files, image_size)
    labels = {part: torch.tensor([label for _, label in getattr(listing, part)]) for part in ("train", "test")}
    return LongTailedData(
        name="folder",
        train_images=images["train"],
        train_targets=labels["train"],
        test_images=images["test"],
        test_targets=labels["test"],
        class_counts=listing.counts("train"),
        class_names=listing.class_names,
    )


def check_memory(number: int, image_size: int) -> None:
    """Raise `DataError` where so many images would take more than a quarter of the machine's memory."""
    needed = 3 * image_size**2 * number
    if needed > SHARE * memory():
        raise DataError(
            f"{number} images of {image_size} pixels take {needed / 2**30:.1f} GiB, more than a quarter of this "
            "machine's memory; choose a smaller image size, or the augmentation 'resized_crop', which reads images "
            "while it trains"
        )


def _decode(files: Sequence[Path], size: int) -> Tensor:
    """The files as uint8 (N, 3, size, size), by several threads: decoders release Python's lock."""
    images = torch.empty((len(files), 3, size, size), dtype=torch.uint8)

    def put(place: int) -> None:
        images[place] = centre(pixels(files[place]), size)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(put, range(len(files))):
            pass
    return images


def memory() -> int:
    """Bytes of the machine's memory, or more than there can be where the system does not say."""
    if not hasattr(os, "sysconf"):  # Windows
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def damaged(listing: Listing) -> list[str]:
    """A line for each image of a listing that cannot be read; opens them all."""

    def fault(file: Path) -> str:
        try:
            read_image(file)
        except DataError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor() as pool:
        lines = list(pool.map(fault, [file for file, _ in [*listing.train, *listing.test]]))
    return [line for line in lines if line]
