"""The displayed equations of chapter 04, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

COUNTS = [500, 90, 20, 5]
PRIOR = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
Check = Callable[..., None]


def population(generator: torch.Generator, classes: int = 3, inputs: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """A prior (C,), p(x | k) as (inputs, C) over a few inputs x, and P_k(x) (inputs, C) that follow by Bayes' rule."""
    prior = torch.tensor([0.8, 0.15, 0.05], dtype=torch.float64)[:classes]
    prior = prior / prior.sum()
    likelihood = torch.rand(inputs, classes, generator=generator, dtype=torch.float64) ** 2
    likelihood = likelihood / likelihood.sum(0)
    joint = prior * likelihood
    return prior, likelihood, joint / joint.sum(1, keepdim=True)


def best_of_all(shares: Tensor, likelihood: Tensor) -> Tensor:
    """The classifier with the smallest error under the shares, by trying every one (labels from 1)."""
    inputs, classes = likelihood.shape

    def error(answers: tuple[int, ...]) -> float:
        wrong = [shares[k] * likelihood[i, k] for i, a in enumerate(answers) for k in range(classes) if k != a]
        return float(sum(wrong))

    return 1.0 + torch.tensor(min(itertools.product(range(classes), repeat=inputs), key=error))


def named(scores: Tensor) -> Tensor:
    return 1.0 + scores.argmax(1)


def softmax(scores: Tensor) -> Tensor:
    powers = torch.exp(scores)
    return powers / powers.sum(-1, keepdim=True)


def minimum(expected_loss: Callable[[Tensor], Tensor], classes: int) -> Tensor:
    """The scores of mean zero at which a convex loss is smallest; Newton's method, the last score held at 0."""

    def full(free: Tensor) -> Tensor:
        return torch.cat([free, free.new_zeros(1)])

    free = torch.zeros(classes - 1, dtype=torch.float64)
    for _ in range(200):
        leaf = free.clone().requires_grad_()
        (slope,) = torch.autograd.grad(expected_loss(full(leaf)), leaf)
        if slope.abs().max() < 1e-14:
            break
        bend = torch.autograd.functional.hessian(lambda f: expected_loss(full(f)), free)
        step = torch.linalg.solve(bend, slope)
        while expected_loss(full(free - step)) > expected_loss(full(free)) and step.abs().max() > 1e-12:
            step = step / 2
        free = free - step
    return full(free) - full(free).mean()


def centred(scores: Tensor) -> Tensor:
    return scores - scores.mean(-1, keepdim=True)


@pytest.mark.display("8f18b4ee")
def test_04_shift(assert_equation: Check, generator: torch.Generator) -> None:
    prior, likelihood, posterior = population(generator)
    q = torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    left = q * likelihood / (q * likelihood).sum(1, keepdim=True)

    def right(factor: Tensor) -> Tensor:
        return posterior * factor / (posterior * factor).sum(1, keepdim=True)

    assert_equation(left, right(q / prior), wrong=[right(prior / q), right(q), right(1 / prior), right(q * prior)])
    # The page's example: at the tail's centre 7 % become 88 %.
    near, far = norm.pdf(0), norm.pdf(2)
    tail = near / (near + 100 * far)
    assert round(100 * tail) == 7
    assert round(100 * (tail / 1) / (tail / 1 + (1 - tail) / 100)) == 88


@pytest.mark.display("3cf907a6")
def test_04_boundary(assert_equation: Check) -> None:
    for first, second, d in ((0.9, 0.1, 2.0), (0.3, 0.7, 1.2), (100 / 101, 1 / 101, 2.0)):
        left = brentq(lambda x, a=first, b=second, d=d: a * norm.pdf(x) - b * norm.pdf(x, d), -20, 20, xtol=1e-13)
        log = math.log(first / second)
        assert_equation(left, d / 2 + log / d, wrong=[d / 2 - log / d, d / 2 + log * d, d + log / d])


@pytest.mark.display("a731714f")
def test_04_balanced(assert_equation: Check, generator: torch.Generator) -> None:
    prior, likelihood, posterior = population(generator)
    marginal = (prior * likelihood).sum(1)
    answers = torch.tensor([0, 1, 2, 1, 0, 2])
    # One minus the mean of the classes' accuracies, class by class.
    accuracy = [likelihood[answers == k, k].sum() for k in range(3)]
    left = 1 - sum(accuracy) / 3
    chosen = posterior[torch.arange(6), answers]
    mean = (marginal * chosen / prior[answers]).sum()
    flipped = (marginal * chosen * prior[answers]).sum()
    assert_equation(left, 1 - mean / 3, wrong=[1 + mean / 3, 1 - mean, 1 - flipped / 3])


@pytest.mark.display("d9463145")
def test_04_scorer(assert_equation: Check, generator: torch.Generator) -> None:
    prior, likelihood, posterior = population(generator)
    left = best_of_all(torch.full((3,), 1 / 3, dtype=torch.float64), likelihood)
    log = posterior.log()
    wrong = [named(log + prior.log()), named(log), named(-log - prior.log())]
    assert_equation(left, named(log - prior.log()), wrong)


@pytest.mark.display("e4439dbd")
def test_04_known(assert_equation: Check, generator: torch.Generator) -> None:
    prior, likelihood, posterior = population(generator)
    z = posterior.log() + torch.randn(6, 1, generator=generator, dtype=torch.float64)  # logits up to a constant
    q = torch.tensor([0.1, 0.65, 0.25], dtype=torch.float64)
    wrong = [named(z + prior.log() + q.log()), named(z - prior.log() - q.log()), named(z + q.log())]
    assert_equation(best_of_all(q, likelihood), named(z - prior.log() + q.log()), [*wrong, named(z - prior.log())])
    counts = [80, 15, 5]
    adjusted = lt.posthoc.adjust_logits(z, counts)
    assert_equation(centred(adjusted), centred(z - prior.log()), wrong=[centred(z + prior.log())])


@pytest.mark.display("c581131e")
def test_04_loss(assert_equation: Check, generator: torch.Generator) -> None:
    z = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    y = torch.arange(8) % 4
    for tau in (0.5, 1.0, 2.0):

        def right(power: float, sign: float = 1.0) -> Tensor:
            powers = PRIOR**power * torch.exp(sign * z)
            return -torch.log((powers / powers.sum(1, keepdim=True))[torch.arange(8), y])

        left = lt.losses.logit_adjusted_loss(z, y, COUNTS, tau, reduction="none")
        assert_equation(left, right(tau), wrong=[right(-tau), right(0.0), right(tau, -1.0), right(tau + 1)])


@pytest.mark.display("d0b75f20")
def test_04_optimum(assert_equation: Check, generator: torch.Generator) -> None:
    """The expected loss of `lt_core` at one x, minimised over free scores."""
    for tau in (0.5, 1.0, 2.0):
        P = softmax(torch.randn(4, generator=generator, dtype=torch.float64))

        def expected(z: Tensor, P: Tensor = P, tau: float = tau) -> Tensor:
            rows, labels = z.expand(4, 4), torch.arange(4)
            return P @ lt.losses.logit_adjusted_loss(rows, labels, COUNTS, tau, reduction="none")

        wrong = [P.log() + tau * PRIOR.log(), P.log(), P.log() - (tau + 1) * PRIOR.log(), tau * PRIOR.log() - P.log()]
        right = centred(P.log() - tau * PRIOR.log())
        assert_equation(minimum(expected, 4), right, [centred(w) for w in wrong], tolerance=1e-7)


@pytest.mark.display("b43b1cd2")
def test_04_test_prior(assert_equation: Check) -> None:
    """Where two normal classes tie under strength tau, the odds of their densities tell the right shares."""
    prior = [0.7, 0.25, 0.05]
    centres = [0.0, 1.0, 2.5]
    for tau in (0.25, 1.0, 2.0):
        odds = [1.0]
        for k in (1, 2):

            def lead(x: float, k: int = k, tau: float = tau) -> float:
                first, other = ((1 - tau) * math.log(prior[j]) + norm.logpdf(x, centres[j]) for j in (0, k))
                return float(other - first)

            tie = brentq(lead, -60, 60, xtol=1e-13)
            odds.append(norm.pdf(tie) / norm.pdf(tie, centres[k]))  # q_k p(x | k) = q_0 p(x | 0)
        left = torch.tensor(odds) / sum(odds)

        def right(power: float) -> Tensor:
            shares = torch.tensor(prior, dtype=torch.float64) ** power
            return shares / shares.sum()

        wrong = [right(1 + tau), right(2 - tau), right(2.0)]
        assert_equation(left, right(1 - tau), wrong, tolerance=1e-7)


@pytest.mark.display("b70b8463")
def test_04_balanced_softmax(assert_equation: Check, generator: torch.Generator) -> None:
    likelihood = torch.rand(5, 4, generator=generator, dtype=torch.float64)
    training = PRIOR * likelihood / (PRIOR * likelihood).sum(1, keepdim=True)  # Bayes' rule
    z = likelihood.log() + torch.randn(5, 1, generator=generator, dtype=torch.float64)  # right on a balanced set

    def model(weight: Tensor, sign: float = 1.0) -> Tensor:
        powers = weight * torch.exp(sign * z)
        return powers / powers.sum(1, keepdim=True)

    n = torch.tensor(COUNTS, dtype=torch.float64)
    wrong = [model(1 / n), model(n, -1.0), model(torch.ones_like(n))]
    assert_equation(training, model(PRIOR), wrong)
    assert_equation(training, model(n), wrong)
    # One loss under two names, in value and gradient.
    leaf, y = z.clone().requires_grad_(), torch.tensor([0, 1, 2, 3, 3])
    values = lt.losses.balanced_softmax_loss(leaf, y, COUNTS), lt.losses.logit_adjusted_loss(leaf, y, COUNTS)
    gradients = [torch.autograd.grad(value, leaf)[0] for value in values]
    assert_equation(values[0].detach(), values[1].detach())
    assert_equation(gradients[0], gradients[1])
    own = -model(n)[torch.arange(5), y].log().mean()
    assert_equation(values[0].detach(), own, wrong=[-model(1 / n)[torch.arange(5), y].log().mean()])


@pytest.mark.display("0eaeb265")
def test_04_weights(assert_equation: Check, generator: torch.Generator) -> None:
    P = softmax(torch.randn(4, generator=generator, dtype=torch.float64))
    weights = 0.2 + torch.rand(4, generator=generator, dtype=torch.float64)

    def best(omega: Tensor) -> Tensor:
        def expected(z: Tensor) -> Tensor:
            losses = F.cross_entropy(z.expand(4, 4), torch.arange(4), weight=omega, reduction="none")
            return P @ losses

        return minimum(expected, 4)

    def share(factor: Tensor) -> Tensor:
        return factor * P / (factor * P).sum()

    wrong = [share(1 / weights), share(torch.ones_like(weights)), weights / weights.sum()]
    assert_equation(softmax(best(weights)), share(weights), wrong, tolerance=1e-7)
    wrong = [centred((P * PRIOR).log()), centred(P.log()), centred((PRIOR / P).log())]
    assert_equation(best(1 / PRIOR), centred((P / PRIOR).log()), wrong, tolerance=1e-7)


@pytest.mark.display("a96188b7")
def test_04_bias(assert_equation: Check, generator: torch.Generator) -> None:
    h = torch.randn(7, 3, generator=generator, dtype=torch.float64)
    W = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    b = torch.randn(4, generator=generator, dtype=torch.float64)
    y = torch.arange(7) % 4

    def plain(bias: Tensor) -> Tensor:
        return F.cross_entropy(h @ W.T + bias, y, reduction="none")

    for tau in (0.5, 1.0):
        left = lt.losses.logit_adjusted_loss(h @ W.T + b, y, COUNTS, tau, reduction="none")
        wrong = [plain(b - tau * PRIOR.log()), plain(b), plain(b + (tau + 1) * PRIOR.log())]
        assert_equation(left, plain(b + tau * PRIOR.log()), wrong)


@pytest.mark.display("8543dca2")
def test_04_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    z, A = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    for y in range(4):
        leaf = z.clone().requires_grad_()
        (left,) = torch.autograd.grad(F.cross_entropy((leaf - A)[None], torch.tensor([y])), leaf)
        hot = F.one_hot(torch.tensor(y), 4)
        powers, flipped = torch.exp(z - A), softmax(z + A)
        first, second = powers / powers.sum() - hot, softmax(z - A)
        wrong = [flipped - hot, second + hot, softmax(z) - hot]
        assert_equation(left, first, wrong)
        assert_equation(left, second - hot, wrong)
        cases = torch.stack([second[j] - 1 if j == y else second[j] for j in range(4)])
        assert_equation(left, cases, wrong)


@pytest.mark.display("e511c359")
def test_04_growth(assert_equation: Check, generator: torch.Generator) -> None:
    z, A = torch.randn(2, 4, generator=generator, dtype=torch.float64)
    for y in range(4):
        term = A[y].clone().requires_grad_()
        all_terms = torch.stack([term if j == y else A[j] for j in range(4)])
        own = torch.exp(z[y] - term) / torch.exp(z - all_terms).sum()
        (left,) = torch.autograd.grad(1 - own, term, retain_graph=True)
        (middle,) = torch.autograd.grad(own, term)
        p = own.detach()
        wrong = [p * (1 + p), p, 1 - p]
        assert_equation(left, p * (1 - p), wrong)
        assert_equation(-middle, p * (1 - p), wrong)


@pytest.mark.display("5e5ab5f4")
def test_04_margin_weight(assert_equation: Check, generator: torch.Generator) -> None:
    """The gradients of LDAM and of detached ALA on the scaled cosines, against those of weighted cross-entropy."""
    scale = 7.0
    cosines = 0.8 * torch.tanh(torch.randn(8, 4, generator=generator, dtype=torch.float64))
    y = torch.arange(8) % 4
    hot, rows = F.one_hot(y, 4), torch.arange(8)
    p = softmax(scale * cosines)
    own = p[rows, y]
    for loss in (lt.losses.LDAMLoss(COUNTS, scale=scale), lt.losses.ALALoss(COUNTS, scale=scale)):
        leaf = cosines.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss.double()(leaf, y) * len(y), leaf)
        m = scale * loss.margin(cosines, y).reshape(-1)

        def weight(sign: float = 1.0, power: float = -1.0, m: Tensor = m) -> Tensor:
            return (1 / (1 - sign * own * (1 - torch.exp(power * m))))[:, None]

        wrong = [weight(-1.0) * (p - hot), weight(1.0, 1.0) * (p - hot), weight() * (p + hot), p - hot]
        assert_equation(gradient / scale, weight() * (p - hot), wrong)
        assert ((weight()[:, 0] >= 1) & (weight()[:, 0] <= torch.exp(m))).all()


def tie(share: float, rest: Tensor, margins: Tensor, weights: Tensor, scale: float) -> tuple[float, float]:
    """Odds of class 1 to class 0 at which their best scores tie, and the probability p that both have there.

    ``share`` is what the two have together, ``rest`` the posterior of the other classes; found by bisection.
    """
    low, high, scores = 0.0, 1.0, torch.zeros(len(margins), dtype=torch.float64)
    for _ in range(32):
        middle = (low + high) / 2
        pair = share * torch.tensor([1 - middle, middle], dtype=torch.float64)
        posterior = torch.cat([pair, rest])

        def expected(scores: Tensor, posterior: Tensor = posterior) -> Tensor:
            adjusted = scores - scale * torch.diag(margins)  # row k: what a sample of class k meets
            return weights * posterior @ -adjusted.log_softmax(1).diagonal()

        scores = minimum(expected, len(margins))
        low, high = (low, middle) if scores[1] > scores[0] else (middle, high)
    return low / (1 - low), scores.softmax(0)[1].item()


@pytest.mark.display("69e0e0de")
def test_04_tie(assert_equation: Check, generator: torch.Generator) -> None:
    """The posterior at which the best free scores tie, found by bisection; two to six classes."""

    def formula(p: float, m: list[float], w: list[float], sign: float = 1.0, power: float = -1.0) -> float:
        j, k = (1 - sign * p * (1 - math.exp(power * x)) for x in m)
        return w[0] / w[1] * k / j

    for classes, scale in ((2, 1.0), (3, 4.0), (6, 2.0)):
        margins, weights = 0.1 + torch.rand(2, classes, generator=generator, dtype=torch.float64)
        rest = torch.rand(classes - 2, generator=generator, dtype=torch.float64)
        share = 0.6 if classes > 2 else 1.0
        left, p = tie(share, (1 - share) * rest / rest.sum(), margins, weights, scale)
        m, w = (scale * margins[:2]).tolist(), weights[:2].tolist()
        wrong = [formula(p, m[::-1], w), formula(p, m, w[::-1]), formula(p, m, w, sign=-1), formula(p, m, w, power=1)]
        assert_equation(left, formula(p, m, w), wrong, tolerance=1e-6)
        assert p < 0.5 + 1e-9
        # The widest gap that target margins can make: none at j, a huge one at k, and the reverse.
        for extreme in ([0.0, 20.0], [20.0, 0.0]):
            assert 0.5 <= formula(p, extreme, [1.0, 1.0]) <= 2

    # What chapter 06 prints of LDAM and of ALA at a right angle, 500 to 5 images.
    qf = lt.losses.quantity_factor([500, 5], dtype=torch.float64)
    ldam = lt.losses.ldam_margins([500, 5], dtype=torch.float64)
    ones, none = torch.ones(2, dtype=torch.float64), torch.zeros(0, dtype=torch.float64)
    for scale, printed_ldam, printed_ala in ((1.0, 0.867, 0.783), (10.0, 0.835, 0.748)):
        assert abs(tie(1.0, none, ldam, ones, scale)[0] - printed_ldam) < 5e-4
        assert abs(tie(1.0, none, qf / 2, ones, scale)[0] - printed_ala) < 5e-4
    assert abs(formula(0.5, (30 * ldam).tolist(), [1.0, 1.0]) - 0.991) < 5e-4

    # Attached ALA as the page prints it: the pulls of both classes on the difference of two equal cosines balance.
    for head, scale, cosine, printed in ((500, 10.0, 0.0, 0.579), (500, 2.0, -0.9, 0.496), (50_000, 5.5, 0.15, 0.440)):
        pulls = []
        for label in (0, 1):
            leaf = torch.full((1, 2), cosine, dtype=torch.float64, requires_grad=True)
            lt.losses.ala_loss(leaf, torch.tensor([label]), [head, 5], scale=scale, detach=False).backward()
            assert leaf.grad is not None
            pulls.append((leaf.grad[0, 1] - leaf.grad[0, 0]).item())
        assert abs(-pulls[0] / pulls[1] - printed) < 5.1e-4
