"""The few statistics of the study: mean and spread over seeds, and paired differences with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


def mean_sd(values: Sequence[float | None], digits: int = 1) -> str:
    """``"38.3 ± 0.4"`` over several runs (sample standard deviation), ``"38.3"`` for one, ``"–"`` where None occurs.

    Example:
        >>> mean_sd([38.0, 39.0]), mean_sd([38.25]), mean_sd([None])
        ('38.5 ± 0.7', '38.2', '–')
    """
    if not values or any(value is None for value in values):
        return "–"
    numbers = np.array(values, dtype=float)
    if len(numbers) == 1:
        return f"{numbers[0]:.{digits}f}"
    return f"{numbers.mean():.{digits}f} ± {numbers.std(ddof=1):.{digits}f}"


@dataclass(frozen=True)
class Difference:
    """Mean of paired differences, with its 95 % interval where there are at least two pairs."""

    mean: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low is not None and self.high is not None and not self.low <= 0 <= self.high

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:+.1f} (one pair)"
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def paired_difference(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """The difference ours - theirs over the seeds that both have, by Student's t on the pairs.

    Args:
        ours, theirs: a value for each seed.

    Raises:
        ValueError: they share no seed.

    Example:
        >>> print(paired_difference({0: 2.0, 1: 4.0, 2: 3.0}, {0: 1.0, 1: 2.0, 2: 2.5}))
        +1.2 [-0.7, +3.1]
    """
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise ValueError(f"the seeds {sorted(ours)} and {sorted(theirs)} share none; a pair is needed")
    differences = np.array([ours[seed] - theirs[seed] for seed in shared])
    mean = float(differences.mean())
    if len(shared) < 2:
        return Difference(mean, None, None, 1)
    from scipy import stats

    half = float(stats.t.ppf(0.975, len(shared) - 1) * differences.std(ddof=1) / len(shared) ** 0.5)
    return Difference(mean, mean - half, mean + half, len(shared))
