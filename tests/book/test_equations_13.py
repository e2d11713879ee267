"""The displayed equations of chapter 13, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import lt_core as lt
from lt_core.report import analysis

Check = Callable[..., None]


@pytest.mark.display("c3bd6144")
def test_13_ece(assert_equation: Check, generator: torch.Generator) -> None:
    p = (3 * torch.randn(300, 6, dtype=torch.float64, generator=generator)).softmax(1)
    # Right in about six of ten cases whatever the confidence: too modest in the low bins, too sure in the high ones.
    drawn = torch.randint(6, (300,), generator=generator)
    labels = torch.where(torch.rand(300, generator=generator) < 0.52, p.argmax(1), drawn)

    def error(count: int, sign: float = -1.0) -> float:
        bins: dict[int, list[tuple[float, float]]] = {}
        for row, y in zip(p.tolist(), labels.tolist(), strict=True):
            confidence = max(row)
            bins.setdefault(min(int(confidence * count), count - 1), []).append(
                (float(row.index(confidence) == y), confidence)
            )
        total = 0.0
        for members in bins.values():
            hits = math.fsum(hit for hit, _ in members) / len(members)
            mean = math.fsum(confidence for _, confidence in members) / len(members)
            total += len(members) / 300 * abs(hits + sign * mean)
        return total

    wrong = [error(15, sign=1.0), error(10), error(14), error(16)]  # the number of bins matters, and it is fifteen
    assert_equation(lt.metrics.expected_calibration_error(p, labels), error(15), wrong=wrong, tolerance=1e-6)


@pytest.mark.display("177a8725")
def test_13_shared(assert_equation: Check, generator: torch.Generator) -> None:
    labels = torch.randint(5, (300,), generator=generator)
    ours, theirs = (torch.randint(5, (300,), generator=generator) for _ in range(2))
    ours[:150] = (labels[:150] + 1) % 5
    theirs[:120] = (labels[:120] + 1) % 5

    def errors(answers: Tensor, ordered: bool = False) -> dict[tuple[int, int], float]:
        found: dict[tuple[int, int], float] = {}
        for y, answer in zip(labels.tolist(), answers.tolist(), strict=True):
            if y != answer:
                pair = (y, answer) if ordered else (min(y, answer), max(y, answer))
                found[pair] = found.get(pair, 0) + 1
        return {pair: count / sum(found.values()) for pair, count in found.items()}

    def overlap(pick: Callable[..., float], ordered: bool = False) -> float:
        e, f = errors(ours, ordered), errors(theirs, ordered)
        return math.fsum(pick(e.get(pair, 0.0), f.get(pair, 0.0)) for pair in e.keys() | f.keys())

    wrong = [overlap(max), overlap(min, ordered=True), overlap(lambda a, b: a * b)]
    assert_equation(analysis.shared_pairs(ours, theirs, labels), overlap(min), wrong=wrong)
    by_hand = [min(a / 4, b / 4) for a, b in zip((2, 1, 1), (1, 1, 2), strict=True)]
    assert sum(by_hand) == 0.75
