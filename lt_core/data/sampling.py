r"""How often a sampler draws each class (chapter 03)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from lt_core.validation import check_choice, check_counts, check_number

SAMPLERS = ("uniform", "class_balanced", "sqrt", "progressive", "reverse")


def class_probabilities(
    class_counts: Sequence[int] | Mapping[int, int] | Tensor,
    sampler: str = "class_balanced",
    progress: float | None = None,
) -> Tensor:
    r"""The share of each class among the draws of a sampler that draws a class first and then one of its images.

    .. math::
        \psi_k \propto n_k \;\text{(uniform)}, \quad 1 \;\text{(class\_balanced)}, \quad \sqrt{n_k} \;\text{(sqrt)},
        \quad 1 / n_k \;\text{(reverse)}

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
        >>> class_probabilities([90, 9, 1], "sqrt")
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
    power = {"uniform": 1.0, "class_balanced": 0.0, "sqrt": 0.5, "reverse": -1.0}[sampler]
    shares = counts**power
    return shares / shares.sum()
