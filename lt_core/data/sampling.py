"""Which images an epoch sees: class by class at other rates than the data set has them.

Every sampler draws as many images an epoch as the data set has, so that runs with different samplers take equally many
steps. Apart from "uniform", a class is drawn first and then one of its images, both with replacement; "under" takes
equally many of each class without replacement, anew whenever the smallest class is used up.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.validation import check_choice, check_counts, check_number

SAMPLERS = ("uniform", "class_balanced", "sqrt", "progressive", "reverse", "under")


def class_probabilities(sampler: str, class_counts: Sequence[int], progress: float = 0.0) -> NDArray[np.float64]:
    r"""Probability of each class at one draw.

    .. math::
        \text{uniform: } \pi_k, \quad \text{class\_balanced, under: } \tfrac1C, \quad
        \text{sqrt: } \propto \sqrt{n_k}, \quad \text{reverse: } \propto 1 / n_k, \quad
        \text{progressive: } (1 - u)\, \pi_k + u\, \tfrac1C

    Args:
        sampler: one of `SAMPLERS`.
        class_counts: C whole numbers, at least 1 each.
        progress: share u of the epochs that is over, in [0, 1]; only "progressive" reads it.

    Returns:
        (C,) float64, summing to 1.

    Raises:
        ValueError: an unknown sampler, a bad count, or ``progress`` outside [0, 1].

    Source:
        Kang et al., ICLR 2020, section 4.1 (class-balanced, square-root, progressively balanced); Zhou et al., BBN,
        CVPR 2020, section 4.2 (reversed).

    Example:
        >>> class_probabilities("sqrt", [16, 4, 4]).tolist()
        [0.5, 0.25, 0.25]
    """
    check_choice("sampler", sampler, SAMPLERS)
    counts = np.asarray(check_counts(class_counts), dtype=np.float64)
    share = check_number("progress", progress, low=0.0, high=1.0)
    natural, balanced = counts / counts.sum(), np.full(len(counts), 1 / len(counts))
    if sampler == "uniform":
        return natural
    if sampler == "progressive":
        return (1 - share) * natural + share * balanced
    if sampler in ("sqrt", "reverse"):
        rates = np.sqrt(counts) if sampler == "sqrt" else 1 / counts
        return rates / rates.sum()
    return balanced


def draw(
    sampler: str, targets: Tensor, class_counts: Sequence[int], progress: float, generator: torch.Generator
) -> Tensor:
    """The images of an epoch, as indices into the data set.

    Args:
        sampler: one of `SAMPLERS`.
        targets: (N,) int64, the labels of the training images, on the CPU.
        class_counts: C counts; those of ``targets``.
        progress: share of the epochs that is over, in [0, 1].
        generator: a CPU generator.

    Returns:
        (N,) int64; a permutation where ``sampler`` is "uniform".

    Example:
        >>> targets = torch.tensor([0] * 90 + [1] * 10)
        >>> drawn = draw("under", targets, [90, 10], 0.0, torch.Generator().manual_seed(0))
        >>> targets[drawn].bincount().tolist()
        [50, 50]
    """
    n = len(targets)
    if sampler == "uniform":
        return torch.randperm(n, generator=generator)
    by_class = targets.argsort(stable=True)
    counts = torch.tensor(check_counts(class_counts))
    starts = counts.cumsum(0) - counts
    if sampler == "under":
        check_choice("sampler", sampler, SAMPLERS)
        return _under(by_class, counts, starts, n, generator)
    probabilities = torch.from_numpy(class_probabilities(sampler, class_counts, progress))
    classes = torch.multinomial(probabilities, n, replacement=True, generator=generator)
    within = (torch.rand(n, generator=generator, dtype=torch.float64) * counts[classes]).long()
    return by_class[starts[classes] + within]


def _under(by_class: Tensor, counts: Tensor, starts: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Rounds of as many images of each class as the smallest has, each round drawn anew and shuffled, up to n images.

    The last round is cut off after its shuffle, so a class may have a few more than another.
    """
    smallest, rounds, taken = int(counts.min()), [], 0
    while taken < n:
        picks = [
            by_class[start + torch.randperm(count, generator=generator)[:smallest]]
            for start, count in zip(starts.tolist(), counts.tolist(), strict=True)
        ]
        drawn = torch.cat(picks)
        rounds.append(drawn[torch.randperm(len(drawn), generator=generator)])
        taken += len(drawn)
    return torch.cat(rounds)[:n]
