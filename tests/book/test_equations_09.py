"""The displayed equations of chapter 09, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

Check = Callable[..., None]
CLASSES = 5


def member(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Scores, slopes and adjusting terms of a made-up member, and a soft target; (C,) each."""
    z, terms = 2 * torch.randn(2, CLASSES, generator=generator, dtype=torch.float64)
    slopes, target = 0.4 + torch.rand(2, CLASSES, generator=generator, dtype=torch.float64)
    return z, slopes, terms, target / target.sum()


def adjusted_loss(z: Tensor, slopes: Tensor, terms: Tensor, target: Tensor) -> Tensor:
    """The cross-entropy of the adjusted scores, by PyTorch."""
    return F.cross_entropy((slopes * z - terms)[None], target[None])


def outer(value: Tensor) -> Tensor:
    """Something done to the one number last; its derivative is below."""
    return (1 - torch.exp(-value)) ** 2 * value + 0.3 * value**2


def outer_slope(value: float) -> float:
    p = math.exp(-value)
    return 2 * (1 - p) * p * value + (1 - p) ** 2 + 0.6 * value


def gradient_of(z: Tensor, slopes: Tensor, terms: Tensor, target: Tensor) -> Tensor:
    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(outer(adjusted_loss(leaf, slopes, terms, target)), leaf)
    return gradient


@pytest.mark.display("1e24c8a8")
def test_09_form(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, target = member(generator)
    adjusted = [a * x - t for a, x, t in zip(slopes.tolist(), z.tolist(), terms.tolist(), strict=True)]
    total = sum(math.exp(value) for value in adjusted)
    p = [math.exp(value) / total for value in adjusted]
    assert_equation(torch.softmax(slopes * z - terms, 0), p, wrong=[[math.exp(-v) / total for v in adjusted]])
    right = -sum(share * math.log(value) for share, value in zip(target.tolist(), p, strict=True))
    first = -target[0].item() * math.log(p[0])
    assert_equation(adjusted_loss(z, slopes, terms, target), right, wrong=[first, right + math.log(p[0])])


@pytest.mark.display("c852cd8b")
def test_09_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, target = member(generator)
    p = torch.softmax(slopes * z - terms, 0)
    factor = outer_slope(adjusted_loss(z, slopes, terms, target).item())
    left = gradient_of(z, slopes, terms, target)
    wrong = [factor * slopes * (p + target), factor * (p - target), slopes * (p - target)]
    assert_equation(left, factor * slopes * (p - target), wrong=wrong)
    value = adjusted_loss(z, slopes, terms, target).requires_grad_()
    assert_equation(torch.autograd.grad(outer(value), value)[0], factor, wrong=[1 / factor])
    assert (left / slopes).sum().abs() < 1e-12


@pytest.mark.display("56b527e2")
def test_09_focal(assert_equation: Check, generator: torch.Generator) -> None:
    z = 2 * torch.randn(CLASSES, generator=generator, dtype=torch.float64)
    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(lt.losses.focal_loss(leaf[None], torch.tensor([2]), 2.0), leaf)
    p = torch.softmax(z, 0)
    own = p[2].item()
    factor = (1 - own) ** 2 - 2 * own * (1 - own) * math.log(own)
    wrong = [(1 - own) ** 2 + 2 * own * (1 - own) * math.log(own), (1 - own) ** 2, (1 - own) - 2 * own * math.log(own)]
    assert_equation(gradient[0] / p[0], factor, wrong=wrong)


def pushes(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, int]:
    """Scores, slopes and terms of a member with a one-hot target, and the label."""
    z, slopes, terms, _ = member(generator)
    return z, slopes, terms, 3


def hot(y: int) -> Tensor:
    return F.one_hot(torch.tensor(y), CLASSES).double()


@pytest.mark.display("e8dd50bc")
def test_09_slope(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, y = pushes(generator)

    def ratio(shift: float) -> Tensor:
        moved = z.clone()
        moved[1] += shift
        g = gradient_of(moved, slopes, terms, hot(y))
        return torch.log(g[1] / g[2])

    rate = (ratio(1e-4) - ratio(-1e-4)) / 2e-4
    assert_equation(rate, slopes[1], wrong=[slopes[2], slopes[1] - slopes[2], 1.0])


@pytest.mark.display("d14c16d6")
def test_09_offset(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, y = pushes(generator)
    g, j, k = gradient_of(z, slopes, terms, hot(y)), 0, 4
    parts = [torch.log(g[j] / slopes[j]), torch.log(g[k] / slopes[k]), slopes[j] * z[j], slopes[k] * z[k]]
    right = parts[0] - parts[1] - parts[2] + parts[3]
    wrong = [right - 2 * s * part for s, part in zip((1, -1, -1, 1), parts, strict=True)]
    assert_equation(terms[k] - terms[j], right, wrong=wrong)


@pytest.mark.display("925dcfc6")
def test_09_own(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, y = pushes(generator)
    g = gradient_of(z, slopes, terms, hot(y))
    rest = sum(g[j] / slopes[j] for j in range(CLASSES) if j != y)
    assert_equation(slopes[y], -g[y] / rest, wrong=[-rest / g[y], -g[y] / (rest + g[y] / slopes[y] + 1)])


@pytest.mark.display("7bb7484d")
def test_09_factor(assert_equation: Check, generator: torch.Generator) -> None:
    z, slopes, terms, y = pushes(generator)
    for shift in (0.0, -30.0):
        moved = z.clone()
        moved[y] += shift
        g = gradient_of(moved, slopes, terms, hot(y))
        p = torch.softmax(slopes * moved - terms, 0)[y]
        factor = outer_slope(adjusted_loss(moved, slopes, terms, hot(y)).item())
        total = sum(g[j] / slopes[j] for j in range(CLASSES) if j != y)
        wrong = [factor * (1 + p), factor * p] if shift == 0 else [factor * p]
        assert_equation(total, factor * (1 - p), wrong=wrong)
    # A factor of the class alone is what is left at a hopeless score.
    counts = [50, 20, 10, 5, 2]
    weights = lt.losses.class_balanced_weights(counts, 0.9, torch.float64)
    leaf = torch.tensor([1.0, 0.5, 2.0, -500.0, 0.0], dtype=torch.float64, requires_grad=True)
    loss = lt.losses.CrossEntropyLoss(weights, "sum")
    (g,) = torch.autograd.grad(loss(leaf[None], torch.tensor([y])), leaf)
    assert_equation(g[[0, 1, 2, 4]].sum(), weights[y], wrong=[1.0])


@pytest.mark.display("36b2ae00")
def test_09_tie(assert_equation: Check, generator: torch.Generator) -> None:
    """The odds at which descent on the expected loss of a made-up pair ends in a tie."""
    terms = torch.randn(2, generator=generator, dtype=torch.float64)

    def expected(z: Tensor, second: float) -> Tensor:
        scores = (z - terms)[None]
        return (1 - second) * F.cross_entropy(scores, torch.tensor([0])) + second * F.cross_entropy(
            scores, torch.tensor([1])
        )

    low, high = 0.0, 1.0
    for _ in range(60):  # bisect on the posterior: where the optimum's scores are equal
        middle = (low + high) / 2
        optimum = math.log(middle / (1 - middle)) + (terms[1] - terms[0]).item()  # z_2 - z_1 of the optimum
        low, high = (middle, high) if optimum < 0 else (low, middle)
    z = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.grad(expected(z, middle), z)[0].abs().max() < 1e-9
    first, second = (
        torch.autograd.grad(F.cross_entropy((z - terms)[None], torch.tensor([k])), z)[0][0] for k in (0, 1)
    )
    assert_equation(middle / (1 - middle), -first / second, wrong=[-second / first, first / second])


@pytest.mark.display("ed677297")
def test_09_twice(assert_equation: Check, generator: torch.Generator) -> None:
    """The optimum of balanced softmax for one posterior, by Newton's method, and post-hoc adjustment on top."""
    posterior = torch.rand(CLASSES, generator=generator, dtype=torch.float64)
    posterior = posterior / posterior.sum()
    counts = [100, 40, 20, 5, 1]
    prior = torch.tensor(counts, dtype=torch.float64) / sum(counts)
    z, eye = torch.zeros(CLASSES, dtype=torch.float64), torch.eye(CLASSES, dtype=torch.float64)
    for _ in range(200):
        p = torch.softmax(z + prior.log(), 0)
        curvature = torch.diag(p) - p[:, None] * p + 1e-9 * eye
        z = z - 0.5 * torch.linalg.solve(curvature, p - posterior)
    left = lt.posthoc.adjust_logits(z[None], counts)[0]

    def centred(values: Tensor) -> Tensor:
        return values - values.mean()

    wrong = [centred(torch.log(posterior / prior**power)) for power in (0, 1, 3)]
    both = centred(posterior.log() - prior.log() - prior.log())
    assert_equation(centred(left), both, wrong=wrong, tolerance=1e-6)
    assert_equation(both, centred(torch.log(posterior / prior**2)), wrong=wrong)
