r"""Twelve shapes and textures drawn by arithmetic: a long-tailed data set with no download.

The set is made to show that rarity and difficulty are two things: the two most frequent classes, *square* and
*diamond*, are confused until a network has trained for a while (one is the other turned by 45 degrees, and both are
tilted at random by up to nearly half of that), while some rare ones can be told at a glance. Used from chapter 1 on.

Pixels are computed from uniform draws with sums, products, quotients and square roots only. Those are rounded
the same way on every processor, which sines and powers are not, so the images are identical everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lt_core.data.longtail import LongTailedData, class_counts, counts_in_order, longtail_indices
from lt_core.validation import check_whole

SHAPES = (
    "square",
    "diamond",
    "vertical stripes",
    "disc",
    "cross",
    "triangle",
    "diagonal stripes",
    "ring",
    "dots",
    "horizontal stripes",
    "gradient",
    "checker",
)
SIZE = 32
_POOL_SEED = 2026  # of the pool that stands for a set of official files
_INKS = np.array(
    [
        (0, 114, 178),
        (213, 94, 0),
        (0, 158, 115),
        (204, 121, 167),
        (230, 159, 0),
        (86, 180, 233),
        (148, 80, 190),
    ],
    dtype=np.float64,
)
_PAPERS = np.array([(250, 246, 236), (232, 238, 244), (28, 32, 48), (52, 44, 44)], dtype=np.float64)

Array = NDArray[Any]


def synthetic(
    num_classes: int = 12,
    max_count: int = 150,
    imbalance_factor: float = 50,
    test_per_class: int = 20,
    seed: int = 0,
    class_order: Sequence[int] | None = None,
) -> LongTailedData:
    r"""A long-tailed set of small pictures of shapes and textures, made in a fraction of a second.

    Position, size, tilt, colours, contrast, background and noise vary from picture to picture and say nothing
    about the class. As with CIFAR there is one fixed pool (``max_count`` training pictures of each class
    and the test pictures), and ``seed`` only draws the long-tailed subset of it.

    Args:
        num_classes: C in [2, 12]: the first C of the shapes.
        max_count: pictures in the largest class, at least 1.
        imbalance_factor: largest over smallest class count before rounding down, in [1, ``max_count``].
        test_per_class: test pictures of each class, at least 1.
        seed: seed of the subset, in [0, 2**32).
        class_order: place c of the exponential profile belongs to the class ``class_order[c]``; None is the
            order of the labels.

    Returns:
        The data. With the default arguments 490 training and 240 test pictures.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import lt_core as lt
        >>> data = lt.data.synthetic()
        >>> data.train_images.shape, data.class_counts
        (torch.Size([490, 3, 32, 32]), [150, 105, 73, 51, 36, 25, 17, 12, 8, 6, 4, 3])
        >>> data.class_names[0], data.class_names[-1]
        ('square', 'checker')
    """
    num_classes = check_whole("num_classes", num_classes, 2, len(SHAPES))
    test_per_class = check_whole("test_per_class", test_per_class, 1)
    max_count = check_whole("max_count", max_count, 1)
    counts = counts_in_order(class_counts(num_classes, max_count, imbalance_factor), class_order)
    labels = np.repeat(np.arange(num_classes), max_count)
    kept = longtail_indices(labels, counts, seed)
    pool = np.concatenate([_draw(label, max_count, split=0) for label in range(num_classes)])
    test = np.concatenate([_draw(label, test_per_class, split=1) for label in range(num_classes)])
    return LongTailedData(
        name="synthetic",
        train_images=torch.from_numpy(pool[kept]),
        train_targets=torch.from_numpy(labels[kept].astype(np.int64)),
        test_images=torch.from_numpy(test),
        test_targets=torch.arange(num_classes).repeat_interleave(test_per_class),
        class_counts=counts,
        class_names=list(SHAPES[:num_classes]),
    )


def _draw(label: int, count: int, split: int) -> NDArray[np.uint8]:
    """``count`` pictures of one class, shape (count, 3, 32, 32)."""
    rng = np.random.Generator(np.random.PCG64([_POOL_SEED, split, label]))

    def uniform(low: float, high: float) -> Array:
        return low + (high - low) * rng.random((count, 1, 1))

    ink = _INKS[(rng.random(count) * len(_INKS)).astype(np.int64)] + 40 * (rng.random((count, 3)) - 0.5)
    paper = _PAPERS[(rng.random(count) * len(_PAPERS)).astype(np.int64)] + 20 * (rng.random((count, 3)) - 0.5)
    contrast, shade_x, shade_y = uniform(0.45, 1.0), uniform(-22, 22), uniform(-22, 22)
    grid = (np.arange(SIZE) + 0.5) / (SIZE / 2) - 1
    x, y = grid[None, None, :], grid[None, :, None]
    mask = contrast * _mask(SHAPES[label], x, y, uniform)
    picture = paper[:, :, None, None] + mask[:, None] * (ink - paper)[:, :, None, None]
    picture += (shade_x * x + shade_y * y)[:, None]
    noise = rng.random((count, 3, SIZE, SIZE)) + rng.random((count, 3, SIZE, SIZE)) - 1
    picture += uniform(10, 40)[:, None] * noise
    return np.floor(picture.clip(0, 255) + 0.5).clip(0, 255).astype(np.uint8)


def _mask(shape: str, x: Array, y: Array, uniform: Callable[[float, float], Array]) -> Array:
    """How much of each pixel is ink, in [0, 1]: shape (count, 32, 32)."""
    # (1 - t²)/(1 + t²) and 2t/(1 + t²) are the cosine and sine of an angle, without either; |t| = 0.14 is 16°.
    # Squares and diamonds turn by up to 22°: at 22.5° they would be the same picture.
    widest = {"gradient": 1.0, "square": 0.19, "diamond": 0.19}.get(shape, 0.14)
    t = uniform(-widest, widest)
    cos, sin = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    x, y = x - uniform(-0.22, 0.22), y - uniform(-0.22, 0.22)
    x, y = cos * x + sin * y, cos * y - sin * x
    r, period = uniform(0.45, 0.72), uniform(0.38, 0.6)
    shift_x, shift_y = uniform(0, 1), uniform(0, 1)

    if shape == "square":
        return _inside(np.maximum(abs(x), abs(y)) - 0.7 * r)
    if shape == "diamond":
        return _inside((abs(x) + abs(y)) * 0.5**0.5 - 0.7 * r)
    if shape == "disc":
        return _inside(np.sqrt(x * x + y * y) - r)
    if shape == "ring":
        return _inside(abs(np.sqrt(x * x + y * y) - 0.8 * r) - 0.24 * r)
    if shape == "triangle":
        return _inside(np.maximum(0.866 * abs(x) - 0.5 * y, y) - 0.55 * r)
    if shape == "cross":
        return _inside(np.maximum(np.minimum(abs(x), abs(y)) - 0.28 * r, np.maximum(abs(x), abs(y)) - r))
    if shape == "gradient":
        return (0.5 + 0.5 * np.where(shift_x < 0.5, x, -x)).clip(0, 1)
    if shape == "dots":
        u, v = _saw(x / period + shift_x), _saw(y / period + shift_y)
        return _inside(period * (np.sqrt(u * u + v * v) - 0.3))
    if shape == "vertical stripes":
        return _stripes(x, period, shift_x)
    if shape == "horizontal stripes":
        return _stripes(y, period, shift_y)
    if shape == "diagonal stripes":
        return _stripes((x + y) * 0.5**0.5, period, shift_x)
    columns, rows = _stripes(x, 1.4 * period, shift_x), _stripes(y, 1.4 * period, shift_y)
    return columns + rows - 2 * columns * rows  # checker: ink where exactly one of the two has ink


def _inside(distance: Array) -> Array:
    """Ink where the signed distance to the outline is negative, with an edge one pixel wide."""
    return (0.5 - distance * (SIZE / 2)).clip(0, 1)


def _saw(value: Array) -> Array:
    """Distance to the nearest whole number, with its sign: in [-1/2, 1/2]."""
    return value - np.floor(value + 0.5)


def _stripes(across: Array, period: Array, shift: Array) -> Array:
    return _inside(period * (abs(_saw(across / period + shift)) - 0.25))
