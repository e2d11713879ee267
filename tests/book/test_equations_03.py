"""The displayed equations of chapter 03, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

Check = Callable[..., None]
COUNTS = [40, 12, 5, 3]
C, N = len(COUNTS), sum(COUNTS)
TARGETS = torch.arange(C).repeat_interleave(torch.tensor(COUNTS))


def shares(generator: torch.Generator) -> Tensor:
    """Random shares of a sampler (C,)."""
    return torch.softmax(torch.randn(C, generator=generator, dtype=torch.float64), 0)


def prior() -> Tensor:
    return torch.tensor(COUNTS, dtype=torch.float64) / N


def image_gradients(generator: torch.Generator) -> Tensor:
    """Gradients (N, C * 3) of cross-entropy for a linear classifier, image by image, by autograd."""
    features = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    weight = torch.randn(C, 3, generator=generator, dtype=torch.float64)

    def loss(rows: Tensor, feature: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(feature @ rows.T, target)

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(weight, features, TARGETS)
    return each.flatten(1)


def draws(probabilities: Tensor, values: Tensor) -> Tensor:
    """The mean of one draw, written out image by image: a class, then one of its images."""
    total = torch.zeros_like(values[0])
    for k in range(C):
        mine = values[k == TARGETS]
        for value in mine:
            total = total + probabilities[k] / len(mine) * value
    return total


def uniform(values: Tensor) -> Tensor:
    total = torch.zeros_like(values[0])
    for value in values:
        total = total + value / N
    return total


@pytest.mark.display("006651d0")
def test_03_weights(assert_equation: Check, generator: torch.Generator) -> None:
    del generator
    for name in ("class_balanced", "sqrt", "reverse"):
        psi = lt.data.class_probabilities(COUNTS, name)
        # Its meaning on the page: how often an image of the class comes in an epoch of N draws.
        visits = torch.tensor([N * psi[k] / COUNTS[k] for k in range(C)])
        assert_equation(visits, psi / prior(), wrong=[psi * prior(), prior() / psi])


@pytest.mark.display("449c9cc5")
def test_03_length(assert_equation: Check, generator: torch.Generator) -> None:
    logits = torch.randn(N, C, generator=generator, dtype=torch.float64, requires_grad=True)
    omega = shares(generator) / prior()
    loss = sum(-omega[y] * (logits[i].exp()[y] / logits[i].exp().sum()).log() for i, y in enumerate(TARGETS.tolist()))
    (left,) = torch.autograd.grad(loss, logits)
    p, own, w = logits.detach().softmax(1), F.one_hot(TARGETS, C), omega[TARGETS, None]
    assert_equation(left, w * (p - own), wrong=[w * (p + own), p - own, w * p - own, p - w * own])


@pytest.mark.display("e423a5d5")
def test_03_class_loss(assert_equation: Check, generator: torch.Generator) -> None:
    losses = torch.rand(N, generator=generator, dtype=torch.float64)
    sums = torch.zeros(C, dtype=torch.float64)
    for loss, y in zip(losses.tolist(), TARGETS.tolist(), strict=True):
        sums[y] += loss
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    left = torch.stack([losses[k == TARGETS].mean() for k in range(C)])
    assert_equation(left, 1 / counts * sums, wrong=[sums, counts * sums, sums / N])


@pytest.mark.display("31ef8e6a")
def test_03_mean(assert_equation: Check, generator: torch.Generator) -> None:
    g, psi = image_gradients(generator), shares(generator)
    omega = psi / prior()
    means = torch.stack([g[k == TARGETS].mean(0) for k in range(C)])  # gradients of the classes' mean losses
    left, right = (prior() * omega) @ means, psi @ means
    assert_equation(left, right, wrong=[prior() @ means, omega @ means, means.mean(0)])
    # The two sides are what the theorem says: weighted uniform draws, and draws of the sampler.
    assert_equation(uniform(omega[TARGETS, None] * g), left, wrong=[uniform(g)])
    assert_equation(draws(psi, g), right, wrong=[draws(prior(), g)])


@pytest.mark.display("b0ea3278")
def test_03_optimum(assert_equation: Check, generator: torch.Generator) -> None:
    posterior = torch.softmax(torch.randn(C, generator=generator, dtype=torch.float64), 0)
    omega = shares(generator) / prior()
    logits = torch.zeros(C, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-13, tolerance_change=0)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -(omega * posterior * torch.log_softmax(logits, 0)).sum()
        value.backward()
        return value

    for _ in range(5):
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    right = omega * posterior / (omega * posterior).sum()
    wrong = [posterior, omega * posterior, posterior / omega / (posterior / omega).sum(), omega / omega.sum()]
    assert_equation(logits.detach().softmax(0), right, wrong=wrong, tolerance=1e-6)


@pytest.mark.display("25f0bd3e")
def test_03_second(assert_equation: Check, generator: torch.Generator) -> None:
    g, psi, pi = image_gradients(generator), shares(generator), prior()
    omega = psi / pi
    gamma = torch.stack([g[k == TARGETS].square().sum(1).mean() for k in range(C)])
    weighted = uniform((omega[TARGETS, None] * g).square().sum(1))
    for right in ((pi * omega**2 * gamma).sum(), (psi * omega * gamma).sum()):
        assert_equation(weighted, right, wrong=[(pi * omega * gamma).sum(), (psi * omega**2 * gamma).sum()])
    sampled = draws(psi, g.square().sum(1))
    assert_equation(sampled, (psi * gamma).sum(), wrong=[(psi**2 * gamma).sum(), (pi * gamma).sum()])


@pytest.mark.display("d9c07beb")
def test_03_factor(assert_equation: Check, generator: torch.Generator) -> None:
    psi, pi = shares(generator), prior()
    # With gradients of one length: the mean squared length of a weighted draw.
    left = uniform((psi / pi)[TARGETS] ** 2)
    omega = psi / pi
    assert_equation(left, (psi * omega).sum(), wrong=[(pi * omega).sum()])
    assert_equation(left, (psi**2 / pi).sum(), wrong=[(pi**2 / psi).sum(), (psi / pi).sum()])
    for _ in range(200):
        other = shares(generator)
        assert (other**2 / pi).sum() >= 1
    assert_equation((pi**2 / pi).sum(), 1.0)


def different(size: int, draws_: int) -> float:
    """Expected number of different values among draws from ``size``: a Markov chain on how many have been seen."""
    state = np.zeros(size + 1)
    state[0] = 1.0
    seen = np.arange(size + 1)
    for _ in range(draws_):
        new = state * seen / size
        new[1:] += (state * (1 - seen / size))[:-1]
        state = new
    return float(state @ seen)


@pytest.mark.display("50712d53")
def test_03_effective_step(assert_equation: Check, generator: torch.Generator) -> None:
    del generator
    for omega in (2, 7, 50):
        for n in (1, 2, 5, 40):
            before = different(omega, n - 1)
            right = 1 + (1 - 1 / omega) * before
            wrong = [1 - (1 - 1 / omega) * before, 1 + (1 + 1 / omega) * before, 1 + before] if n > 1 else [2.0]
            assert_equation(different(omega, n), right, wrong=wrong)


@pytest.mark.display("6d137c8e")
def test_03_effective(assert_equation: Check, generator: torch.Generator) -> None:
    del generator
    for omega in (2, 7, 50):
        beta = 1 - 1 / omega
        for n in (2, 4, 9):
            right = (1 - beta**n) / (1 - beta)
            wrong = [(1 + beta**n) / (1 - beta), (1 - beta**n) / (1 + beta), (1 - beta ** (n + 1)) / (1 - beta)]
            assert_equation(different(omega, n), right, wrong=wrong)
    weights = lt.losses.class_balanced_weights(COUNTS, 0.9, torch.float64)
    eff = torch.tensor([(1 - 0.9**n) / (1 - 0.9) for n in COUNTS], dtype=torch.float64)
    assert_equation(weights * eff, (weights * eff)[0].expand(C), wrong=[weights])  # inversely proportional


@pytest.mark.display("bcdd6ae2")
def test_03_effective_gap(assert_equation: Check, generator: torch.Generator) -> None:
    del generator
    for n in (3, 50, 500):
        beta = 1 - Fraction(1, 10**11)  # exact: the gap is far below a float's precision
        gap = 1 - (1 - beta**n) / (1 - beta) / n
        size = 10**11  # of a first-order term
        right = (n - 1) * (1 - beta) / 2
        wrong = [(n + 1) * (1 - beta) / 2, n * (1 - beta) / 2, (n - 1) * (1 - beta), (n - 1) * (1 + beta) / 2]
        assert_equation(float(size * gap), float(size * right), wrong=[float(size * w) for w in wrong], tolerance=1e-6)


@pytest.mark.display("aa5386e6")
def test_03_focal(assert_equation: Check, generator: torch.Generator) -> None:
    logits = 2 * torch.randn(N, C, generator=generator, dtype=torch.float64)
    p = logits.exp()[range(N), TARGETS] / logits.exp().sum(1)
    for gamma in (0.5, 1.0, 2.0):
        left = lt.losses.focal_loss(logits, TARGETS, gamma, reduction="none")
        right = -((1 - p) ** gamma) * p.log()
        assert_equation(left, right, wrong=[-((1 + p) ** gamma) * p.log(), -(p**gamma) * p.log(), -p.log()])


@pytest.mark.display("808eedbd")
def test_03_focal_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    logits = (2 * torch.randn(N, C, generator=generator, dtype=torch.float64)).requires_grad_()
    for gamma in (0.5, 1.0, 2.0, 5.0):
        all_p = logits.exp() / logits.exp().sum(1, keepdim=True)
        p = all_p[range(N), TARGETS]
        (left,) = torch.autograd.grad((-((1 - p) ** gamma) * p.log()).sum(), logits)
        p, all_p, own = p.detach(), all_p.detach(), F.one_hot(TARGETS, C)
        first, second = (1 - p) ** gamma, gamma * p * (1 - p) ** (gamma - 1) * p.log()
        third = gamma * p * (1 - p) ** gamma * p.log()
        wrong = [f[:, None] * (all_p - own) for f in (first + second, first, first - third)]
        factor = (first - second)[:, None]
        assert_equation(left, factor * (all_p - own), wrong=[*wrong, factor * (all_p + own)])


@pytest.mark.display("81689452")
def test_03_focal_largest(assert_equation: Check, generator: torch.Generator) -> None:
    logits = (3 * torch.randn(20, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    targets = torch.zeros(20, dtype=torch.int64)
    (gradient,) = torch.autograd.grad(lt.losses.focal_loss(logits, targets, 1.0, reduction="sum"), logits)
    p = logits.detach().softmax(1)[:, 0]
    left = gradient[:, 0] / (p - 1)  # the factor, measured
    assert_equation(left, 1 - p - p * p.log(), wrong=[1 - p + p * p.log(), 1 + p - p * p.log(), 1 - p - p.log()])
    grid = torch.linspace(1e-6, 1, 1_000_001, dtype=torch.float64)
    largest = (1 - grid - grid * grid.log()).max()
    assert_equation(largest, 1 + math.exp(-2), wrong=[1 - math.exp(-2), 1 + math.exp(-1), 1 + math.exp(2)])


@pytest.mark.display("cb59ce3d")
def test_03_separable(assert_equation: Check, generator: torch.Generator) -> None:
    del generator
    n, omega = (500.0, 5.0), (1.0, 7.0)
    for w in (18.0, 25.0):

        def force(b: float, w: float = w) -> float:
            """Slope of the weighted loss in the bias: class 1 at x = -1, class 2 at x = 1, z_2 - z_1 = w x + b."""
            head, tail = 1 / (1 + math.exp(w - b)), 1 / (1 + math.exp(w + b))  # p_2(-1), p_1(1)
            return omega[0] * n[0] * head - omega[1] * n[1] * tail

        left = -brentq(force, -w, w, xtol=1e-13) / w
        odds = omega[0] * n[0] / (omega[1] * n[1])
        flipped = omega[1] * n[0] / (omega[0] * n[1])
        wrong = [math.log(odds) / w, math.log(flipped) / (2 * w), math.log(n[0] / n[1]) / (2 * w)]
        assert_equation(left, math.log(odds) / (2 * w), wrong=wrong, tolerance=1e-5)


def stationary(generator: torch.Generator, decay: float) -> tuple[Tensor, Tensor, Tensor]:
    """Features, rows and probabilities where the mean loss plus decay on the rows is stationary, with a free bias."""
    features = torch.rand(N, 3, generator=generator, dtype=torch.float64)
    parameters = torch.zeros(C, 4, dtype=torch.float64, requires_grad=True)
    step = torch.optim.LBFGS(
        [parameters], max_iter=2000, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss() -> Tensor:
        step.zero_grad()
        logits = features @ parameters[:, :3].T + parameters[:, 3]
        value = F.cross_entropy(logits, TARGETS) + decay / 2 * parameters[:, :3].square().sum()
        value.backward()
        return value

    for _ in range(5):
        step.step(loss)  # type: ignore[no-untyped-call]
    found = parameters.detach()
    return features, found[:, :3], (features @ found[:, :3].T + found[:, 3]).softmax(1)


@pytest.mark.display("306356fe")
def test_03_row(assert_equation: Check, generator: torch.Generator) -> None:
    decay = 0.02
    features, rows, p = stationary(generator, decay)
    right = torch.zeros(C, 3, dtype=torch.float64)
    plus = torch.zeros_like(right)
    for i, y in enumerate(TARGETS.tolist()):
        for j in range(C):
            right[j] += ((1.0 if j == y else 0.0) - p[i, j]) * features[i] / (decay * N)
            plus[j] += ((1.0 if j == y else 0.0) + p[i, j]) * features[i] / (decay * N)
    assert_equation(rows, right, wrong=[plus, right * N, right * decay], tolerance=1e-6)


@pytest.mark.display("bd37a297")
def test_03_norm_bound(assert_equation: Check, generator: torch.Generator) -> None:
    decay = 0.02
    features, rows, p = stationary(generator, decay)
    longest, own = features.norm(dim=1).max(), F.one_hot(TARGETS, C)
    bound = 2 * prior() / decay * longest
    assert bool((rows.norm(dim=1) <= bound).all())
    # The step of the proof that gives the 2: pushes of own images and of others, each at most n_j, and equal.
    mine, others = ((1 - p) * own).sum(0), (p * (1 - own)).sum(0)
    assert_equation(mine, others, tolerance=1e-6)
    assert bool((mine <= torch.tensor(COUNTS)).all())
    # Without the 2 it is no consequence of these steps, but reached in the limit that the steps allow: two opposite
    # groups of features of one length, all pushes at full force.
    full = torch.tensor(COUNTS, dtype=torch.float64) / (decay * N) * longest
    assert_equation(full + full, bound, wrong=[bound / 2, bound * decay, bound / prior()])


@pytest.mark.display("40a417ad")
def test_03_tau(assert_equation: Check, generator: torch.Generator) -> None:
    rows = torch.randn(C, 5, generator=generator, dtype=torch.float64)
    for tau in (0.5, 1.0, 1.5):
        left = lt.posthoc.tau_normalize(rows, tau)
        lengths = torch.tensor([math.sqrt(sum(v * v for v in row)) for row in rows.tolist()], dtype=torch.float64)
        right = rows / lengths[:, None] ** tau
        assert_equation(left, right, wrong=[rows * lengths[:, None] ** tau, rows / lengths[:, None] ** (2 * tau), rows])


@pytest.mark.display("1eec41fe")
def test_03_shift(assert_equation: Check, generator: torch.Generator) -> None:
    densities = torch.rand(6, C, generator=generator, dtype=torch.float64)  # of class k at six inputs
    psi = shares(generator)
    before, after = prior() * densities, psi * densities  # Bayes' rule, by the training shares and by the sampler's
    posterior, p = before / before.sum(1, keepdim=True), after / after.sum(1, keepdim=True)
    omega = psi / prior()
    for k in range(C):
        for j in range(k):
            left = (p[:, k] / p[:, j]).log()
            first, second = (posterior[:, k] / posterior[:, j]).log(), (omega[k] / omega[j]).log()
            assert_equation(left, first + second, wrong=[first - second, first, first + second * 2])
