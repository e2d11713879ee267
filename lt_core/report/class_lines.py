"""The statistics of the crossed study (chapter 12): lines in the log count, one slope and an effect for each class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """Accuracy of class k in order o = ``mean`` + ``effects[k]`` + ``slope`` (log2 n - its mean) + a residual.

    ``low`` and ``high`` are the slope's 95 % interval, clustered by class. ``shares`` holds the parts of the variance
    over all classes and orders: count, class, both (their covariance, twice) and rest; they sum to 1. ``effect_sd`` is
    the standard deviation of the class effects.
    """

    mean: float
    slope: float
    low: float
    high: float
    effects: Array
    effect_sd: float
    shares: dict[str, float]


def fit_line(accuracy: Array, counts: Array) -> Fit:
    """Fit a line in log2 n with one slope and an effect for each class, by least squares.

    Args:
        accuracy, counts: (C, O) with C >= 2 and O >= 2, counts of at least 1 that differ within some class.

    Raises:
        ValueError: shapes that do not fit, or no class whose counts differ.
    """
    if accuracy.shape != counts.shape or accuracy.ndim != 2 or min(accuracy.shape) < 2:
        raise ValueError(f"accuracy {accuracy.shape} and counts {counts.shape}: two equal shapes (C, O) are needed")
    x = np.log2(counts)
    within = x - x.mean(1, keepdims=True)
    power = float((within**2).sum())
    if power == 0:
        raise ValueError("counts are equal in every order; a slope needs classes at several frequencies")
    slope = float((within * accuracy).sum() / power)
    effects = accuracy.mean(1) - accuracy.mean() - slope * (x.mean(1) - x.mean())
    residual = accuracy - accuracy.mean() - effects[:, None] - slope * (x - x.mean())
    # Residuals of one class hang together (its own slope differs), so the class is the unit of the interval.
    half = half_width((within * residual).sum(1), power)
    total = float(accuracy.var())
    spread = effects[:, None] + 0 * x
    parts = {
        "count": slope**2 * float(x.var()),
        "class": float(effects.var()),
        "both": 2 * slope * float((spread * (x - x.mean())).mean()),
        "rest": float((residual**2).mean()),
    }
    return Fit(
        mean=float(accuracy.mean()),
        slope=slope,
        low=slope - half,
        high=slope + half,
        effects=effects,
        effect_sd=float(effects.std(ddof=1)),
        shares={name: part / total if total else 0.0 for name, part in parts.items()},
    )


def half_width(scores: Array, power: float) -> float:
    """Half a 95 % interval, clustered: ``scores`` hold each class's sum of (regressor x residual), ``power`` is the
    regressor's sum of squares. For a mean the regressor is 1, and the power the number of cells."""
    from scipy import stats

    classes = len(scores)
    error = (classes / (classes - 1) * float((scores**2).sum())) ** 0.5 / power
    return float(stats.t.ppf(0.975, classes - 1)) * error


def single_order_slope(accuracy: Array, counts: Array) -> float:
    """Slope of accuracy (C,) on log2 n over the classes of one order, which mixes quantity with difficulty."""
    return float(np.polyfit(np.log2(counts), accuracy, 1)[0])


def run_variance(accuracies: Array) -> float:
    """Variance of a class's accuracy from run to run, less what all classes of a run share; ``accuracies`` (S, C).

    At least two runs of two classes. Class effects sum to zero, so a run's common shift is no noise in them.

    Example:
        >>> run_variance(np.array([[10.0, 50.0], [12.0, 50.0]]))
        1.0
    """
    rest = accuracies - accuracies.mean(0) - accuracies.mean(1, keepdims=True) + accuracies.mean()
    seeds, classes = accuracies.shape
    return float((rest**2).sum() / ((seeds - 1) * (classes - 1)))


def without_run_noise(variance: float, noise: float, orders: int) -> float:
    """Variance of class effects less what runs add to it: an effect is a mean over ``orders`` runs; at least 0."""
    return max(variance - noise / orders, 0.0)


def ceiling(variances: tuple[float, float], noises: tuple[float, float], orders: int) -> float:
    """The correlation that two sets of class effects would show if they agreed but for independent run noise.

    Example:
        >>> ceiling((100.0, 100.0), (40.0, 40.0), orders=2)
        0.8
    """
    kept = [without_run_noise(v, noise, orders) / v for v, noise in zip(variances, noises, strict=True)]
    return float((kept[0] * kept[1]) ** 0.5)


def log_odds(hits: Array, images: int) -> Array:
    """Log odds of a hit, half a hit added to hits and misses, so that 0 and all of the images stay finite.

    Example:
        >>> log_odds(np.array([0.0, 50.0, 100.0]), images=100).round(2).tolist()
        [-5.3, 0.0, 5.3]
    """
    odds: Array = np.log((hits + 0.5) / (images - hits + 0.5))
    return odds


def partial_correlation(a: Array, b: Array, given: Array) -> float:
    """Correlation of what a straight line in ``given`` leaves of ``a`` and of ``b``."""
    ab, ag, bg = (float(np.corrcoef(u, v)[0, 1]) for u, v in ((a, b), (a, given), (b, given)))
    return (ab - ag * bg) / ((1 - ag**2) * (1 - bg**2)) ** 0.5


def off_the_curve(accuracy: Array, counts: Array) -> Array:
    """What a cubic in log2 n leaves of one order's accuracies (C,): how much better a class is than its count."""
    x = np.log2(counts)
    left: Array = accuracy - np.polyval(np.polyfit(x, accuracy, 3), x)
    return left
