r"""Long-tailed class profiles, the canonical subset, and the container every data set is returned in.

Derived in chapter 1, *Long-tailed data*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from lt_core.data.errors import DataError as DataError
from lt_core.data.streaming import FileImages
from lt_core.validation import check_choice, check_counts, check_number, check_targets, check_whole

PROFILES = ("exp", "step", "balanced")


@dataclass(frozen=True, eq=False)
class LongTailedData:
    r"""A long-tailed training set with its balanced test set, in memory or, if it is large, in files.

    Args:
        name: name of the data set, as :func:`lt_core.data.load_dataset` knows it.
        train_images: uint8, shape (N, 3, H, W); CIFAR has H = W = 32. Or features, finite float32, shape (N, d). Or
            :class:`lt_core.data.streaming.FileImages`, N files.
        train_targets: int64, shape (N,), labels in [0, C). The label −100, which losses ignore, is refused.
        test_images: uint8, shape (M, 3, H, W), of the same height and width; or features, shape (M, d); or M files.
        test_targets: int64, shape (M,), labels in [0, C).
        class_counts: C positive whole numbers, kept as ints; ``class_counts[c]`` is the number of training images
            with label c.
        class_names: C names, indexed by label.
        superclasses: C names of the coarse class each class belongs to, where the data set has them.
        meta_images: as train_images, equally many of each class, held out before the subset was drawn; mostly None.
        meta_targets: their labels.

    Raises:
        TypeError: images are neither uint8 nor float32, or labels not int64 tensors.
        ValueError: shapes, labels, names and counts do not fit each other.
    """

    name: str
    train_images: Any  # Tensor | FileImages: which of them, `streams` tells
    train_targets: Tensor
    test_images: Any
    test_targets: Tensor
    class_counts: list[int]
    class_names: list[str]
    superclasses: list[str] | None = None
    meta_images: Tensor | None = None
    meta_targets: Tensor | None = None

    def __post_init__(self) -> None:
        counts = check_counts(self.class_counts)
        object.__setattr__(self, "class_counts", counts)
        num_classes = len(counts)
        for split in ("train", "test") if self.meta_images is None else ("train", "test", "meta"):
            images, targets = getattr(self, f"{split}_images"), getattr(self, f"{split}_targets")
            if not isinstance(images, (Tensor, FileImages)) or images.dtype not in (torch.uint8, torch.float32):
                kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
                raise TypeError(
                    f"{split}_images is {kind}; a uint8 tensor of shape (N, 3, H, W) is needed, or float32 features"
                )
            if images.dtype == torch.uint8 and (images.ndim != 4 or images.shape[1] != 3):
                raise ValueError(f"{split}_images has shape {tuple(images.shape)}; (N, 3, H, W) is needed")
            if images.dtype == torch.float32 and images.ndim != 2:
                shape = tuple(images.shape)
                raise TypeError(f"{split}_images is torch.float32 {shape}; images are uint8, and features (N, d)")
            check_targets(targets, len(images), num_classes, f"{split}_targets")
        if isinstance(self.test_images, FileImages) != self.streams:
            raise TypeError("train_images and test_images must both be files, or neither")
        if self.test_images.dtype != self.train_images.dtype:
            raise TypeError(f"test_images is {self.test_images.dtype}, train_images {self.train_images.dtype}")
        if self.has_features and self.test_images.shape[1] != self.train_images.shape[1]:
            columns = self.test_images.shape[1], self.train_images.shape[1]
            raise ValueError("test_images has {} columns, train_images {}".format(*columns))
        if self.test_images.shape[2:] != self.train_images.shape[2:]:
            height, width = self.train_images.shape[2:]
            raise ValueError(
                f"test_images has shape {tuple(self.test_images.shape)}; (N, 3, {height}, {width}) is needed, as in"
                " train_images"
            )
        for label in ("class_names", "superclasses"):
            names = getattr(self, label)
            if names is not None and len(names) != num_classes:
                raise ValueError(f"{label} has {len(names)} names; class_counts has {num_classes} classes")
        found = torch.bincount(self.train_targets, minlength=num_classes).tolist()
        if found != counts:
            c = next(c for c in range(num_classes) if found[c] != counts[c])
            raise ValueError(f"class_counts[{c}] is {counts[c]}; train_targets holds {found[c]} of that label")

    @property
    def num_classes(self) -> int:
        """The number of classes C."""
        return len(self.class_counts)

    @property
    def has_features(self) -> bool:
        """Whether there are features in place of images."""
        return self.train_images.dtype == torch.float32

    @property
    def streams(self) -> bool:
        """Whether the images stay in their files."""
        return isinstance(self.train_images, FileImages)

    @property
    def digest(self) -> str:
        """SHA-256 of images and labels, the first 16 digits; another one for other data.

        Of images in files, names and sizes stand for their content.
        """
        total = hashlib.sha256()
        meta = () if self.meta_images is None else (self.meta_images, self.meta_targets)
        for part in (self.train_images, self.train_targets, self.test_images, self.test_targets, *meta):
            if isinstance(part, FileImages):
                total.update("".join(part.facts()).encode())
                continue
            total.update(f"{part.dtype} {tuple(part.shape)}".encode())
            total.update(part.contiguous().numpy().tobytes())
        return total.hexdigest()[:16]


def class_counts(
    num_classes: int = 100, max_count: int = 500, imbalance_factor: float = 100, profile: str = "exp"
) -> list[int]:
    r"""Number of training images of each class, from the most frequent to the rarest.

    With :math:`n_{\max}` images in the largest class, the imbalance factor :math:`\mathrm{IF}` and
    :math:`c = 0, \dots, C - 1`, the profile ``"exp"`` is

    .. math:: n_c = \lfloor n_{\max} \, \mathrm{IF}^{-c/(C-1)} \rfloor ,

    ``"step"`` gives :math:`n_{\max}` to the first :math:`\lfloor C/2 \rfloor` classes and
    :math:`\lfloor n_{\max} / \mathrm{IF} \rfloor` to the others, and ``"balanced"`` gives :math:`n_{\max}` to
    all, whatever the imbalance factor. Because of the floor the ratio of the largest to the smallest class can
    exceed the imbalance factor: IF 200 on CIFAR-100 ends at 2 images, a ratio of 250.

    Args:
        num_classes: C, at least 2.
        max_count: :math:`n_{\max}`, at least 1.
        imbalance_factor: IF, at least 1; so large that a class would be empty is an error.
        profile: ``"exp"``, ``"step"`` or ``"balanced"``.

    Returns:
        C ints, non-increasing, the first equal to ``max_count``.

    Raises:
        ValueError: an argument is out of range, or the rarest class would have no image.
        TypeError: an argument is not a number of the right kind.

    Source:
        Cao et al., *Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss*, NeurIPS 2019,
        released code; the profile is from Cui et al., *Class-Balanced Loss Based on Effective Number of Samples*,
        CVPR 2019.

    Example:
        >>> import lt_core as lt
        >>> lt.data.class_counts(num_classes=5, max_count=100, imbalance_factor=100)
        [100, 31, 10, 3, 1]
        >>> [sum(class_counts(imbalance_factor=f)) for f in (200, 100, 50, 10)]
        [9502, 10847, 12608, 19573]
        >>> import lt_core as lt
        >>> lt.data.class_counts(4, 60, 10, profile="step")
        [60, 60, 6, 6]
    """
    num_classes = check_whole("num_classes", num_classes, 2)
    max_count = check_whole("max_count", max_count, 1)
    imbalance_factor = check_number("imbalance_factor", imbalance_factor, low=1)
    check_choice("profile", profile, PROFILES)
    if profile == "exp":
        exact = [max_count * imbalance_factor ** (-c / (num_classes - 1)) for c in range(num_classes)]
    elif profile == "step":
        half = num_classes // 2
        exact = [float(max_count)] * half + [max_count / imbalance_factor] * (num_classes - half)
    else:
        exact = [float(max_count)] * num_classes
    # A power that should be a whole number may come out one rounding below it, and int() would lose an image.
    counts = [int(n * (1 + 1e-12)) for n in exact]
    if counts[-1] < 1:
        raise ValueError(
            f"imbalance_factor is {imbalance_factor:g}; allowed is at most max_count = {max_count}, or the rarest"
            " class would have no image"
        )
    return counts


def counts_in_order(counts: Sequence[int], class_order: Sequence[int] | None) -> list[int]:
    r"""Counts by label, when place c of the profile belongs to the class ``class_order[c]``.

    Labels keep their meaning under every order; only how many images a class has changes.

    Args:
        counts: C counts by place in the profile, e.g. from :func:`class_counts`.
        class_order: a permutation of 0, …, C − 1, or None for the order of the labels.

    Returns:
        C ints by label; no longer sorted unless the order is that of the labels.

    Raises:
        ValueError: ``class_order`` is not a permutation of the labels, or a count is below 1.
        TypeError: a count or a label is not a whole number.

    Example:
        >>> import lt_core as lt
        >>> lt.data.counts_in_order([100, 10, 1], class_order=[2, 0, 1])
        [10, 1, 100]
    """
    places = check_counts(counts, "counts")
    if class_order is None:
        return places
    for label in class_order:
        check_whole("a label of class_order", label, 0, len(places) - 1)
    order = [int(label) for label in class_order]
    if sorted(order) != list(range(len(places))):
        raise ValueError(f"class_order is {_short(order)}; a permutation of 0, ..., {len(places) - 1} is needed")
    by_label = [0] * len(places)
    for count, label in zip(places, order, strict=True):
        by_label[label] = count
    return by_label


def longtail_indices(targets: ArrayLike | Tensor, counts: Sequence[int], seed: int = 0) -> NDArray[np.int64]:
    r"""Positions of the canonical long-tailed subset, index for index that of the released LDAM-DRW code.

    The images of every class are shuffled, class after class in the order of the labels, and the first
    ``counts[c]`` of class c are kept. A class is always shuffled whole, so its order depends on the seed and
    the labels alone: subsets with other counts (another imbalance factor, another class order) take longer or
    shorter prefixes of the same lists. They are therefore nested, and comparisons between them are paired.

    The generator is NumPy's legacy ``RandomState``, whose stream is frozen across versions; the global state is
    left alone.

    Args:
        targets: labels of the full training set, shape (N,), whole numbers in [0, C).
        counts: C images to keep of each label, each between 1 and the number there is.
        seed: seed of the shuffles, in [0, 2**32); 0 is the canonical one.

    Returns:
        int64 array of shape (sum of counts,): the positions kept, class by class in the order of the labels.

    Raises:
        ValueError: wrong shape, a label outside [0, C), or a class with fewer images than its count.
        TypeError: labels that are not whole numbers.

    Source:
        Cao et al., NeurIPS 2019, released code (``imbalance_cifar.py``).

    Example:
        >>> import lt_core as lt
        >>> lt.data.longtail_indices([0, 0, 0, 1, 1, 1], counts=[2, 1], seed=0)
        array([2, 1, 5])
    """
    seed = check_whole("seed", seed, 0, 2**32 - 1)
    wanted = check_counts(counts, "counts")
    labels = np.asarray(targets.detach().cpu() if isinstance(targets, Tensor) else targets)
    if labels.ndim != 1:
        raise ValueError(f"targets has shape {labels.shape}; (N,) is needed")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"targets holds {labels.dtype}; whole numbers are needed")
    if labels.size and (labels.min() < 0 or labels.max() >= len(wanted)):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise ValueError(f"targets holds the label {wrong}; labels are in [0, {len(wanted)}), one a count")
    generator = np.random.RandomState(int(seed))
    kept = []
    for label, count in enumerate(wanted):
        positions = np.where(labels == label)[0]
        if count > len(positions):
            raise ValueError(f"counts[{label}] is {count}; targets holds only {len(positions)} of that label")
        generator.shuffle(positions)
        kept.append(positions[:count])
    return np.concatenate(kept).astype(np.int64, copy=False)


def indices_beyond(targets: NDArray[np.int64], start: int, seed: int) -> NDArray[np.int64]:
    """Positions of each class's shuffle from ``start`` on, class by class; a negative one counts from its end.

    The shuffles are those of `longtail_indices`: a subset of at most ``start`` images a class has none of these.
    """
    sizes = np.bincount(targets)
    shuffled = longtail_indices(targets, sizes.tolist(), seed)
    return np.concatenate([part[start:] for part in np.split(shuffled, np.cumsum(sizes)[:-1])])


def _short(values: list) -> str:
    """A list as text, cut after eight items."""
    return str(values) if len(values) <= 8 else f"{str(values[:8])[:-1]}, ...] of length {len(values)}"
