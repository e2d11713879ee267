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


def column_slope(p: Tensor, counts: list[int]) -> Tensor:
    """The display, in loops."""
    u, v = [math.log(n) for n in counts], [math.log(math.fsum(c) / len(c)) for c in p.T.tolist()]
    mu, mv = math.fsum(u) / len(u), math.fsum(v) / len(v)
    covariance = math.fsum((s - mu) * (t - mv) for s, t in zip(u, v, strict=True))
    return torch.tensor(covariance / math.fsum((s - mu) ** 2 for s in u), dtype=torch.float64)


@pytest.mark.display("6a80eec8")
def test_13_column(assert_equation: Check, generator: torch.Generator) -> None:
    counts = torch.tensor([500, 120, 40, 11, 5])
    logits = torch.randn(60, 5, dtype=torch.float64, generator=generator) + 0.6 * counts.log()
    p = logits.softmax(1)
    right = column_slope(p, counts.tolist())
    u, v = counts.log().double(), p.mean(0).log()
    turned = torch.cov(torch.stack([u, v]))[0, 1] / v.var()
    log_first = torch.cov(torch.stack([p.log().mean(0), u]))[0, 1] / u.var()  # mean of the logs
    wrong = [turned, log_first, torch.corrcoef(torch.stack([u, v]))[0, 1]]
    assert_equation(lt.metrics.column_mean_slope(p, counts), right, wrong=wrong)
    by_hand = torch.tensor([[4, 2, 1]], dtype=torch.float64) / 7
    assert_equation(column_slope(by_hand, [16, 4, 1]), 0.5)


def gaussians(generator: torch.Generator, distance: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images (2000, 3) of four classes in turn, labels, centres and priors."""
    prior = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
    centres = distance * torch.randn(4, 3, dtype=torch.float64, generator=generator)
    labels = torch.arange(2000) % 4
    return centres[labels] + torch.randn(2000, 3, dtype=torch.float64, generator=generator), labels, centres, prior


@pytest.mark.display("317a6a32")
def test_13_bayes(assert_equation: Check, generator: torch.Generator) -> None:
    x, _, centres, prior = gaussians(generator, 1.0)
    density = (-(x[:, None] - centres).square().sum(2) / 2).exp() / (2 * math.pi) ** 1.5
    right = prior * density / (prior * density).sum(1, keepdim=True)
    # The page's way: logits without what all classes have in common, and the log prior.
    logits = x @ centres.T - centres.square().sum(1) / 2 + prior.log()
    unweighted = density / density.sum(1, keepdim=True)
    wrong = [unweighted, prior * density / density.sum(1, keepdim=True), unweighted * prior]
    assert_equation(logits.softmax(1), right, wrong=wrong)
    # What the theorem says of them: the prior where the features say nothing, level columns where classes are apart.
    nothing = (prior * torch.ones(2000, 4)) / prior.sum()
    assert_equation(column_slope(nothing, [60, 25, 10, 5]), 1.0)
    x, labels, centres, prior = gaussians(generator, 60.0)
    apart = (x @ centres.T - centres.square().sum(1) / 2 + prior.log()).softmax(1)
    assert torch.equal(apart.argmax(1), labels)
    assert abs(float(column_slope(apart, [60, 25, 10, 5]))) < 1e-6


@pytest.mark.display("5ca1e7ef")
def test_13_adjusted(assert_equation: Check, generator: torch.Generator) -> None:
    counts, tau = torch.tensor([300, 90, 10]), 1.3
    z = 3 * torch.randn(400, 3, dtype=torch.float64, generator=generator)
    shares = [n / 400 for n in counts.tolist()]

    def answers(sign: float, strength: float) -> Tensor:
        rows = [[v - sign * strength * math.log(s) for v, s in zip(row, shares, strict=True)] for row in z.tolist()]
        return torch.tensor([row.index(max(row)) for row in rows], dtype=torch.float64)

    right = answers(1, tau)
    found = lt.posthoc.adjust_logits(z, counts, tau=tau).argmax(1)
    # Wrong: the prior added, another strength, none.
    assert_equation(found.double(), right, wrong=[answers(-1, tau), answers(1, tau**2), answers(0, 1)])


@pytest.mark.display("94f4ac0d")
def test_13_rebalanced(assert_equation: Check, generator: torch.Generator) -> None:
    z = torch.randn(400, 4, dtype=torch.float64, generator=generator) + torch.tensor([2.0, 1.0, 0.0, -1.0])
    p, tau = z.softmax(1), 0.8
    sums = [math.fsum(column) for column in p.T.tolist()]

    def answers(power: float) -> Tensor:
        rows = [[v / total**power for v, total in zip(row, sums, strict=True)] for row in p.tolist()]
        return torch.tensor([row.index(max(row)) for row in rows], dtype=torch.float64)

    by_rows = (p / p.sum(1, keepdim=True) ** tau).argmax(1).double()  # the sum over classes in place of images
    wrong = [answers(-tau), answers(2 * tau), answers(0), by_rows]
    assert_equation(lt.posthoc.rebalance_predictions(p, tau=tau).argmax(1).double(), answers(tau), wrong=wrong)
    assert_equation(lt.posthoc.rebalance_logits(z, tau=tau).argmax(1).double(), answers(tau))


@pytest.mark.display("98067123")
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
