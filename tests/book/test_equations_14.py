"""The displayed equations of chapter 14, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt

Check = Callable[..., None]


@pytest.mark.display("5c3ab75d")
def test_14_seen(assert_equation: Check) -> None:
    """Against all sequences of five draws from three classes of 2, 2 and 1 images, one by one."""
    counts, draws = [2, 2, 1], 5
    psi = lt.data.class_probabilities(counts, "sqrt").tolist()
    images = [(k, i) for k, count in enumerate(counts) for i in range(count)]
    chance = {image: psi[image[0]] / counts[image[0]] for image in images}
    left = math.fsum(
        math.prod(chance[image] for image in sequence) * len(set(sequence))
        for sequence in product(images, repeat=draws)
    )

    def right(
        sign: float = -1.0, power: int = draws, of: Callable[[int], float] = lambda k: psi[k] / counts[k]
    ) -> float:
        return math.fsum(n * (1 + sign * (1 - of(k)) ** power) for k, n in enumerate(counts))

    wrong = [
        right(sign=1.0),
        right(power=draws - 1),
        right(of=lambda k: psi[k]),
        right(of=lambda k: -psi[k] / counts[k]),
    ]
    assert sum(counts) == draws
    assert_equation(left, right(), wrong=wrong)


@pytest.mark.display("913ecf93")
def test_14_lws(assert_equation: Check, generator: torch.Generator) -> None:
    w, h = (torch.randn(*shape, dtype=torch.float64, generator=generator) for shape in ((5, 3), (3,)))
    for tau in (0.5, 1.0):
        length = (w**2).sum(1).sqrt()
        left = length**-tau * (w @ h)
        right = lt.posthoc.tau_normalize(w, tau) @ h
        wrong = [lt.posthoc.tau_normalize(w, 2 * tau) @ h, length**tau * (w @ h)]
        assert_equation(left, right, wrong=wrong)


@pytest.mark.display("b09c385b")
def test_14_experts(assert_equation: Check, generator: torch.Generator) -> None:
    z = 2 * torch.randn(3, 7, dtype=torch.float64, generator=generator)  # experts, classes

    def probabilities(logits: list[float]) -> list[float]:
        total = math.fsum(math.exp(v) for v in logits)
        return [math.exp(v) / total for v in logits]

    means = [math.fsum(column) / 3 for column in zip(*z.tolist(), strict=True)]
    bar = probabilities(means)
    experts = [probabilities(row) for row in z.tolist()]
    for y in range(7):  # the same for every label
        own = math.fsum(-math.log(p[y]) for p in experts) / 3
        left = own - (-math.log(bar[y]))
        divergence = [math.fsum(b * math.log(b / p) for b, p in zip(bar, expert, strict=True)) for expert in experts]
        turned = [math.fsum(p * math.log(p / b) for b, p in zip(bar, expert, strict=True)) for expert in experts]
        right = math.fsum(divergence) / 3
        assert_equation(left, right, wrong=[math.fsum(turned) / 3, 3 * right, own - math.log(bar[y])])
        assert min(divergence) >= 0
    assert_equation(lt.losses.expert_diversity(z[None]) / 3, right)


@pytest.mark.display("d9eda793")
def test_14_mean(assert_equation: Check, generator: torch.Generator) -> None:
    h, mean = (torch.randn(4, dtype=torch.float64, generator=generator) for _ in range(2))
    left = math.fsum((a - b) ** 2 for a, b in zip(h.tolist(), mean.tolist(), strict=True))
    own, product_, length = float(h @ h), float(mean @ h), float(mean @ mean)
    wrong = [own + 2 * (product_ - length / 2), own - 2 * (product_ + length / 2), own - 2 * (product_ - length)]
    assert_equation(left, own - 2 * (product_ - length / 2), wrong=wrong)


@pytest.mark.display("9930588b")
def test_14_weights(assert_equation: Check, generator: torch.Generator) -> None:
    """The derivative through a step of a small network with a hidden layer, by autograd; the product by hand."""
    X, B = (torch.randn(count, 3, dtype=torch.float64, generator=generator) for count in (6, 4))
    y, b = torch.tensor([0, 1, 2, 0, 1, 2]), torch.tensor([0, 1, 2, 1])
    w = torch.randn(3 * 4 + 4 * 3, dtype=torch.float64, generator=generator, requires_grad=True)
    eta = 0.3

    def losses(weights: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(images @ weights[:12].view(3, 4))
        return F.cross_entropy(hidden @ weights[12:].view(4, 3), labels, reduction="none")

    omega = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    (step,) = torch.autograd.grad((omega * losses(w, X, y)).sum(), w, create_graph=True)
    (slope,) = torch.autograd.grad(losses(w - eta * step, B, b).mean(), omega)
    (balanced,) = torch.autograd.grad(losses(w, B, b).mean(), w)
    each = [torch.autograd.grad(losses(w, X[i : i + 1], y[i : i + 1]).sum(), w)[0] for i in range(6)]
    right = eta * torch.stack([balanced @ gradient for gradient in each])
    assert_equation(-slope, right, wrong=[right / eta, eta * right])


@pytest.mark.display("f9197013")
def test_14_mixed(assert_equation: Check, generator: torch.Generator) -> None:
    z = torch.randn(5, dtype=torch.float64, generator=generator)
    logs = z.log_softmax(0).tolist()
    for share, first, second in ((0.3, 0, 4), (0.8, 2, 1), (0.6, 3, 3)):
        loss = [F.cross_entropy(z[None], torch.tensor([k])).item() for k in (first, second)]
        left = share * loss[0] + (1 - share) * loss[1]

        def right(part: float, a: int = first, b: int = second) -> float:
            chi = [part * (k == a) + (1 - part) * (k == b) for k in range(5)]
            return -math.fsum(c * v for c, v in zip(chi, logs, strict=True))

        wrong = [right(1 - share), right(1.0)] if first != second else []
        assert_equation(left, right(share), wrong=wrong)


@pytest.mark.display("023a11b3")
def test_14_deployed(assert_equation: Check, generator: torch.Generator) -> None:
    """Against the accuracy on a list of images that has each class as often as the deployment."""
    counts, nu = [64, 16, 4], 0.5
    right_of = [[1, 1, 1, 0], [1, 0, 1, 0], [0, 0, 1, 0]]  # four test images a class
    images = [hit for k, count in enumerate(counts) for hit in right_of[k] for _ in range(round(count**nu))]
    left = math.fsum(images) / len(images)
    pi = [count / sum(counts) for count in counts]

    def right(power: float) -> float:
        q = [share**power / math.fsum(other**power for other in pi) for share in pi]
        return math.fsum(share * sum(hits) / 4 for share, hits in zip(q, right_of, strict=True))

    assert_equation(left, right(nu), wrong=[right(-nu), right(1.0), right(0.0)])
