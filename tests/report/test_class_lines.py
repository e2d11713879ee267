"""The statistics of the crossed study against simulations whose truth is known. (Their formulas: tests/book.)"""

from __future__ import annotations

import numpy as np
import pytest

from lt_core.report import class_lines
from lt_core.report.class_lines import fit_line


def test_the_cluster_interval_covers_in_95_of_100_studies() -> None:
    generator = np.random.default_rng(0)
    counts = np.stack([np.geomspace(500, 5, 100), np.roll(np.geomspace(500, 5, 100), 50)], 1)
    covered = 0
    for _ in range(1000):
        slopes = generator.normal(6, 3, (100, 1))  # residuals of a class hang together
        fit = fit_line(slopes * np.log2(counts) + generator.normal(0, 4, counts.shape), counts)
        covered += fit.low <= 6 <= fit.high
    assert 930 <= covered <= 970


def test_run_noise_comes_off_and_residuals_would_take_too_much() -> None:
    """Two orders, effects of variance 100, slopes of their own, run noise of 24: only repeated runs know the 24."""
    generator = np.random.default_rng(1)
    counts = np.stack([np.geomspace(500, 5, 100), np.roll(np.geomspace(500, 5, 100), 50)], 1)
    mended, by_residuals = [], []
    for _ in range(300):
        effects, slopes = generator.normal(0, 10, (100, 1)), generator.normal(7, 4, (100, 1))
        x = np.log2(counts)
        a = 40 + effects + slopes * (x - x.mean(1, keepdims=True)) + generator.normal(0, 24**0.5, x.shape)
        seeds = effects[:, 0] + generator.normal(0, 24**0.5, (3, 100))
        fit = fit_line(a, counts)
        runs = class_lines.run_variance(seeds)
        mended.append(class_lines.without_run_noise(fit.effect_sd**2, runs, 2))
        residual = fit.shares["rest"] * a.var() * a.size / 99
        by_residuals.append(fit.effect_sd**2 - residual / 2)
    assert np.mean(mended) - 49 * x.mean(1).var(ddof=1) == pytest.approx(100, abs=8)
    assert np.mean(by_residuals) < np.mean(mended) - 20


def test_log_odds_find_the_slope_that_hits_were_drawn_with() -> None:
    generator = np.random.default_rng(2)
    counts = np.stack([np.geomspace(500, 5, 100), np.roll(np.geomspace(500, 5, 100), 50)], 1)
    x = np.log2(counts)
    odds = generator.normal(0, 0.6, (100, 1)) + 0.4 * (x - x.mean())
    hits = generator.binomial(100, 1 / (1 + np.exp(-odds)), (200, *x.shape)).astype(float)
    found = [fit_line(class_lines.log_odds(h, 100), counts).slope for h in hits]
    assert np.mean(found) == pytest.approx(0.4, abs=0.01)
