"""Images that stay in their files: read by worker processes while the network trains.

What an image becomes depends on the seed, the epoch and its place in the epoch alone, not on the number of workers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lt_core.data.decoding import BORDER, centre, pixels
from lt_core.data.errors import DataError
from lt_core.validation import check_choice

# Of files alone: a window of 8 to 100 % of the picture, its sides between 3 : 4 and 4 : 3, scaled to the wanted size.
RESIZED_CROPS = ("resized_crop", "resized_crop_jitter")
JITTER = 0.4  # of brightness, contrast and saturation; of the hue none
AHEAD = 4  # batches that each worker prepares


def cores() -> int:
    """The CPU cores that this process may use."""
    known = hasattr(os, "sched_getaffinity")  # not on macOS and Windows
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def workers() -> int:
    """Processes that read images: ``LT_WORKERS``, or one for each processor that this process may use, 16 at most.

    Raises:
        DataError: ``LT_WORKERS`` is no whole number of at least 0. With 0 this process reads.
    """
    named = os.environ.get("LT_WORKERS", "")
    if not named:
        return min(16, cores())
    if not named.isascii() or not named.isdigit():
        raise DataError(f"LT_WORKERS is {named!r}; a whole number of at least 0 is needed")
    return int(named)


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files in place of a tensor (N, 3, size, size) of uint8.

    Args:
        files: N files.
        size: pixels of a side, after cropping.
    """

    files: Sequence[Path]
    size: int

    dtype = torch.uint8
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.files), 3, self.size, self.size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Tensor:
        """One image as it is tested: the shorter side at 256 / 224 of `size`, of that the middle."""
        return centre(pixels(self.files[place]), self.size, round(BORDER * self.size))

    def to(self, device: torch.device) -> FileImages:
        """The files themselves, which lie on no device: a batch goes to its device once it is read."""
        return self

    def split(self, batch_size: int) -> Iterator[Tensor]:
        """All images in batches, as they are tested."""
        places = range(len(self))
        batches = [places[first : first + batch_size] for first in range(0, len(places), batch_size)]
        return _read(_Tested(self), batches)

    def epoch(self, index: Tensor, kind: str, generator: torch.Generator) -> EpochImages:
        """The images of an epoch: those of ``index`` (n,), in that order, each with draws of its own.

        Args:
            index: places in `files`.
            kind: one of `RESIZED_CROPS`.
            generator: a CPU generator.
        """
        check_choice("augmentation", kind, RESIZED_CROPS)
        seeds = torch.randint(2**62, (len(index),), generator=generator)
        return EpochImages([self.files[i] for i in index.tolist()], self.size, kind, seeds.tolist())

    def facts(self) -> Iterator[str]:
        """A line for each file that tells its state without reading it: folder, name and number of bytes."""
        return (f"{file.parent.name}/{file.name} {file.stat().st_size} {self.size}\n" for file in self.files)


class EpochImages(Dataset[Any]):
    """An epoch's images, read when `in_batches` asks for them.

    Args:
        files: in the order of the epoch.
        size: pixels of a side.
        kind: one of `RESIZED_CROPS`.
        seeds: of each place's draws.
    """

    def __init__(self, files: Sequence[Path], size: int, kind: str, seeds: Sequence[int]) -> None:
        from torchvision.transforms import v2

        self.files, self.seeds = files, seeds
        steps: list[Any] = [v2.RandomResizedCrop(size, antialias=True), v2.RandomHorizontalFlip()]
        if kind == "resized_crop_jitter":
            steps.append(v2.ColorJitter(JITTER, JITTER, JITTER))
        self.transform = v2.Compose(steps)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, place: int) -> Tensor | DataError:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seeds[place])  # `torch.manual_seed` queues a call for CUDA, too
            return _caught(lambda: self.transform(pixels(self.files[place])))


class _Tested(Dataset[Any]):
    """Images as they are tested."""

    def __init__(self, images: FileImages) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: int) -> Tensor | DataError:
        return _caught(lambda: self.images[place])


def _caught(read: Any) -> Tensor | DataError:
    """What ``read`` gives, or its error: one that is raised in a worker would arrive with that worker's traceback."""
    try:
        image: Tensor = read()
    except DataError as error:
        return error
    return image


def _collate(images: list[Tensor | DataError]) -> Tensor | DataError:
    errors = [image for image in images if isinstance(image, DataError)]
    return errors[0] if errors else torch.stack([image for image in images if isinstance(image, Tensor)])


def _read(images: Dataset[Any], batches: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """The batches, read ahead by the workers; there are no more of them than batches."""
    number = min(workers(), len(batches))
    loader: Iterable[Any] = DataLoader(
        images,
        batch_sampler=[list(batch) for batch in batches],
        num_workers=number,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=AHEAD if number else None,
        generator=torch.Generator(),  # else it would draw from the process's
    )
    for batch in loader:
        if isinstance(batch, DataError):
            raise batch
        yield batch


def in_batches(images: Tensor | EpochImages, parts: Sequence[slice], device: torch.device) -> Iterator[Tensor]:
    """The parts of an epoch's images one after the other, on the device; images in files are read ahead."""
    if isinstance(images, Tensor):
        return (images[part] for part in parts)
    places = range(len(images))
    return (batch.to(device, non_blocking=True) for batch in _read(images, [places[part] for part in parts]))
