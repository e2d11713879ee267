r"""Which images an epoch sees: class by class at other rates than the data set has them (chapter 03).

Every sampler draws as many images an epoch as the data set has, so that runs with different samplers take equally many
steps. Apart from "uniform", a class is drawn first and then one of its images, both with replacement; "under" takes
equally many of each class without replacement, anew whenever the smallest class is used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lt_core.validation import check_choice, check_counts, check_number

SAMPLERS = ("uniform", "class_balanced", "sqrt", "progressive", "reverse", "under")


def class_probabilities(
    class_counts: Sequence[int] | Mapping[int, int] | Tensor,
    sampler: str = "class_balanced",
    progress: float | None = None,
) -> Tensor:
    r"""The share of each class among the draws of a sampler that draws a class first and then one of its images.

    .. math::
        \psi_k \propto n_k \;\text{(uniform)}, \quad 1 \;\text{(class\_balanced, under)},
        \quad \sqrt{n_k} \;\text{(sqrt)}, \quad 1 / n_k \;\text{(reverse)}

    ``"progressive"`` goes from uniform to class-balanced: :math:`\psi_k = (1 - u)\,\pi_k + u / C` with ``progress`` u.
    Divided by the class's own share, :math:`\psi_k / \pi_k`, it is the number of times that an image of the class is
    expected in an epoch of :math:`\sum_k n_k` draws, and the weight that has the same mean gradient.

    Args:
        class_counts: C whole numbers, at least 1 each; a mapping from the label and a pandas Series are aligned by
            their labels.
        sampler: one of `SAMPLERS`; uniform takes every image alike.
        progress: how far training is, in [0, 1]; ``"progressive"`` needs it, the others refuse it.

    Returns:
        Probabilities (C,), float64, which sum to 1.

    Raises:
        ValueError: a bad count, an unknown sampler, a progress outside [0, 1], missing or not wanted.
        TypeError: counts or progress that are not numbers.

    Source:
        Kang et al., "Decoupling Representation and Classifier for Long-Tailed Recognition", ICLR 2020, section 3;
        reverse: Zhou et al., "BBN", CVPR 2020.

    Example:
        >>> import lt_core as lt
        >>> lt.data.class_probabilities([90, 9, 1], "sqrt")
        tensor([0.7034, 0.2224, 0.0741], dtype=torch.float64)
    """
    counts = torch.tensor(check_counts(class_counts), dtype=torch.float64)
    check_choice("sampler", sampler, SAMPLERS)
    if sampler == "progressive":
        if progress is None:
            raise ValueError("progress is missing; the sampler 'progressive' needs a number in [0, 1]")
        moved = check_number("progress", progress, low=0.0, high=1.0)
        return (1 - moved) * counts / counts.sum() + moved / len(counts)
    if progress is not None:
        raise ValueError(f"progress is {progress!r}; only the sampler 'progressive' has one, not {sampler!r}")
    power = {"uniform": 1.0, "class_balanced": 0.0, "under": 0.0, "sqrt": 0.5, "reverse": -1.0}[sampler]
    shares = counts**power
    return shares / shares.sum()


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

    Raises:
        ValueError: an unknown sampler, a count below 1, or a progress outside [0, 1] where "progressive" needs one.
        TypeError: counts that are missing or no numbers, or such a progress.

    Example:
        >>> targets = torch.tensor([0] * 90 + [1] * 10)
        >>> drawn = draw("under", targets, [90, 10], 0.0, torch.Generator().manual_seed(0))
        >>> targets[drawn].bincount().tolist()
        [50, 50]
    """
    n = len(targets)
    if sampler == "uniform":
        return torch.randperm(n, generator=generator)
    counts = torch.tensor(check_counts(class_counts))
    if sampler == "under":
        return _under(targets, counts, generator)
    probabilities = class_probabilities(class_counts, sampler, progress if sampler == "progressive" else None)
    classes = torch.multinomial(probabilities, n, replacement=True, generator=generator)
    return image_of_class(classes, targets, counts, generator)


def image_of_class(classes: Tensor, targets: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """One of a class's images for each entry of ``classes``, all of the class's alike, as indices into ``targets``."""
    within = (torch.rand(classes.shape, generator=generator, dtype=torch.float64) * counts[classes]).long()
    return targets.argsort(stable=True)[(counts.cumsum(0) - counts)[classes] + within]


def _under(targets: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
    """Rounds of as many images of each class as the smallest has, each round drawn anew and shuffled, up to n images.

    The last round is cut off after its shuffle, so a class may have a few more than another.
    """
    by_class = targets.argsort(stable=True).split(counts.tolist())
    n, smallest, rounds, taken = len(targets), int(counts.min()), [], 0
    while taken < n:
        picks = [own[torch.randperm(len(own), generator=generator)[:smallest]] for own in by_class]
        drawn = torch.cat(picks)
        rounds.append(drawn[torch.randperm(len(drawn), generator=generator)])
        taken += len(drawn)
    return torch.cat(rounds)[:n]
