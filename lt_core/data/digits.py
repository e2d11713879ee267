r"""Handwritten digits made long-tailed: real images without a download, the data of the first run.

The 1,797 digits of 8 × 8 pixels lie inside scikit-learn's package, so the first run needs no network. The same
thirteen people wrote the training and the test images: accuracies are higher than on a stranger's hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from lt_core.data.longtail import (
    DataError,
    LongTailedData,
    class_counts,
    counts_in_order,
    indices_beyond,
    longtail_indices,
)
from lt_core.validation import check_whole

TEST_PER_CLASS = 50
MAX_COUNT = 124  # what the rarest digit, 8, has beyond its test images
ENLARGED = 2  # 8 × 8 to 16 × 16: the smallest size at which ResNet-8's last stage still sees 4 × 4 positions
_TEST_SEED = 2026  # of the test images, which are the same for every subset


def digits_lt(
    imbalance_factor: float = 100, seed: int = 0, class_order: Sequence[int] | None = None, meta_per_class: int = 0
) -> LongTailedData:
    r"""Digits-LT: an exponentially long-tailed part of scikit-learn's handwritten digits, tested on 50 of each.

    The grey values 0 to 16 become 0 to 255, every pixel becomes a block of 2 × 2, and the three channels are equal:
    images of 16 × 16, which a small network learns from in seconds. Which 50 images of a class are for testing is
    fixed; ``seed`` draws the training images from the others. A larger count takes a longer prefix of the same
    shuffle, as in :func:`lt_core.data.cifar100_lt`.

    A mirrored digit is another sign, or none, so training does not mirror them: with this data set a configuration
    that names no augmentation has ``"none"``.

    Args:
        imbalance_factor: largest over smallest class count before rounding down, in [1, 124].
        seed: seed of the subset, in [0, 2**32).
        class_order: place c of the profile belongs to the digit ``class_order[c]``; None is 0, 1, …, 9.
        meta_per_class: images of each class, in [0, 123], that are held out before the subset is drawn, as in
            :func:`lt_core.data.cifar100_lt`.

    Returns:
        The data: with the default arguments 304 training and 500 test images, uint8 (N, 3, 16, 16).

    Raises:
        ValueError: an argument is out of range.
        DataError: scikit-learn is not installed.

    Source:
        Alpaydın and Kaynak, *Optical Recognition of Handwritten Digits*, UCI Machine Learning Repository, 1998: its
        test part, as :func:`sklearn.datasets.load_digits` has it.

    Example:
        >>> import lt_core as lt
        >>> data = lt.data.digits_lt()
        >>> data.class_counts
        [124, 74, 44, 26, 16, 9, 5, 3, 2, 1]
        >>> data.train_images.shape, len(data.test_targets)
        (torch.Size([304, 3, 16, 16]), 500)
    """
    meta_per_class = check_whole("meta_per_class", meta_per_class, 0, MAX_COUNT - 1)
    counts = counts_in_order(class_counts(10, MAX_COUNT - meta_per_class, imbalance_factor), class_order)
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits_lt needs scikit-learn, which is not installed; pip install scikit-learn") from None
    pool = load_digits()
    labels = pool.target.astype(np.int64)
    grey = np.rint(pool.images * (255 / 16)).astype(np.uint8)
    images = grey.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)[:, None].repeat(3, axis=1)
    test = longtail_indices(labels, [TEST_PER_CLASS] * 10, _TEST_SEED)
    rest = np.setdiff1d(np.arange(len(labels)), test)
    train = rest[longtail_indices(labels[rest], counts, seed)]
    held_out = rest[indices_beyond(labels[rest], -meta_per_class, seed)] if meta_per_class else None
    return LongTailedData(
        name="digits_lt",
        train_images=torch.from_numpy(images[train]),
        train_targets=torch.from_numpy(labels[train]),
        test_images=torch.from_numpy(images[test]),
        test_targets=torch.from_numpy(labels[test]),
        class_counts=counts,
        class_names=[str(digit) for digit in range(10)],
        meta_images=None if held_out is None else torch.from_numpy(images[held_out]),
        meta_targets=None if held_out is None else torch.from_numpy(labels[held_out]),
    )
