"""Images in files against the usual loader, and a classifier on features against scikit-learn's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_core.data import LongTailedData
from lt_core.data.augment import Normalize
from lt_core.data.longtail import class_counts
from lt_core.data.streaming import FileImages, in_batches, workers
from lt_core.models.backbones import IMAGENET


@dataclass(frozen=True)
class LargeSizes:
    """How much work: photographs of ``sides`` pixels, ``pixels`` of a side after cropping; features (N, d)."""

    photographs: int = 256
    sides: tuple[int, int] = (500, 375)  # ImageNet's average, about
    pixels: int = 224
    batch_size: int = 32
    largest: int = 500  # training features of the largest of 100 classes; the smallest has a hundredth
    dimension: int = 128


def write_photographs(folder: Path, sizes: LargeSizes) -> list[Path]:
    """JPEGs that are neither flat nor noise: coarse random colours, scaled up, with a little noise."""
    import numpy as np
    from PIL import Image

    random, files = np.random.default_rng(0), []
    width, height = sizes.sides
    for i in range(sizes.photographs):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.int16)
        noisy = (smooth + random.integers(-12, 13, smooth.shape)).clip(0, 255).astype(np.uint8)
        files.append(folder / f"class{i % 4}" / f"{i}.jpg")
        files[-1].parent.mkdir(exist_ok=True)
        Image.fromarray(noisy).save(files[-1], quality=90)
    return files


class UsualLoader:
    """torchvision's `ImageFolder` and PyTorch's `DataLoader`, as in most training scripts."""

    def __init__(self, folder: Path, sizes: LargeSizes, device: torch.device, number: int) -> None:
        from torch.utils.data import DataLoader
        from torchvision import transforms
        from torchvision.datasets import ImageFolder

        steps = [
            transforms.RandomResizedCrop(sizes.pixels),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET),
        ]
        images: Any = ImageFolder(str(folder), transforms.Compose(steps))
        self.device = device
        self.loader: Any = DataLoader(
            images, sizes.batch_size, shuffle=True, num_workers=number, pin_memory=device.type == "cuda"
        )

    def epoch(self) -> None:
        for images, _ in self.loader:
            images.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)


def ours(images: FileImages, normalize: Normalize, sizes: LargeSizes, device: torch.device) -> None:
    """One epoch of our reader, normalised on the device."""
    generator = torch.Generator().manual_seed(0)
    order = images.epoch(torch.randperm(len(images), generator=generator), "resized_crop", generator)
    parts = [slice(first, first + sizes.batch_size) for first in range(0, len(images), sizes.batch_size)]
    for batch in in_batches(order, parts, device):
        normalize(batch)


def reading_arms(folder: Path, device: torch.device, sizes: LargeSizes) -> dict[str, Any]:
    """An epoch each of the usual loader and of ours, with as many workers."""
    files, number = write_photographs(folder, sizes), workers()
    images, normalize = FileImages(files, sizes.pixels), Normalize(*IMAGENET).to(device)
    usual = UsualLoader(folder, sizes, device, number)
    named = {0: "this process", 1: "1 worker"}.get(number, f"{number} workers")
    return {
        f"ImageFolder and DataLoader, {named}": usual.epoch,
        f"images in files, {named}": lambda: ours(images, normalize, sizes, device),
    }


def random_features(sizes: LargeSizes, noise: float = 1.0) -> LongTailedData:
    """Long-tailed normal clouds around random centres, and ten of each class to test."""
    generator = torch.Generator().manual_seed(0)
    counts = class_counts(100, sizes.largest, min(100, sizes.largest))
    centres = torch.randn(100, sizes.dimension, generator=generator) / sizes.dimension**0.25

    def cloud(labels: Tensor) -> Tensor:
        return centres[labels] + noise * torch.randn(len(labels), sizes.dimension, generator=generator)

    train = torch.arange(100).repeat_interleave(torch.tensor(counts))
    test = torch.arange(100).repeat_interleave(10)
    return LongTailedData("features", cloud(train), train, cloud(test), test, counts, [str(c) for c in range(100)])


def features_rows(device: torch.device, sizes: LargeSizes) -> Iterator[dict[str, Any]]:
    """Seconds and test accuracy of scikit-learn's logistic regression and of our recipe for features, once each.

    scikit-learn minimises until it has converged or after 200 iterations, in float64; the recipe makes 30 epochs.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from lt_core.training.engine import Trainer
    from lt_core.training.recipes import RunConfig

    data = random_features(sizes)
    start = time.perf_counter()
    theirs = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
    theirs.fit(data.train_images.double().numpy(), data.train_targets.numpy())
    first = time.perf_counter() - start
    right = 100 * theirs.score(data.test_images.double().numpy(), data.test_targets.numpy())
    yield {"what": "LogisticRegression", "seconds": first, "speed-up": 1.0, "top-1, %": right}
    for loss in ("ce", "balanced_softmax"):
        start = time.perf_counter()
        trainer = Trainer(RunConfig(dataset="features", loss=loss), data, device)
        while trainer.epoch < trainer.epochs:
            trainer.history.append(trainer.train_epoch())
        took = time.perf_counter() - start
        hits = (trainer.test_logits().argmax(1) == data.test_targets).double().mean().item()
        yield {"what": f"recipe features, {loss}", "seconds": took, "speed-up": first / took, "top-1, %": 100 * hits}


def in_a_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the photographs, gone afterwards."""
    return tempfile.TemporaryDirectory(prefix="lt_core_bench_")
