"""The displayed equations of chapter 05, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.optimize import brentq, minimize, minimize_scalar
from scipy.stats import norm
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

COUNTS = [500, 90, 20, 5]
SCALE = 7.0  # small enough that no probability saturates
ADDED, FACTOR = 0.5, 1.7
Check = Callable[..., None]
random = partial(torch.randn, dtype=torch.float64)


def draw(generator: torch.Generator, rows: int = 8) -> tuple[Tensor, Tensor]:
    """Cosines (rows, 4) in (-0.9, 0.9) and a label of every class."""
    return 0.9 * torch.tanh(0.5 * random(rows, 4, generator=generator)), torch.arange(rows) % 4


@pytest.mark.display("23cee316")
def test_05_cosine(assert_equation: Check, generator: torch.Generator) -> None:
    classifier = lt.models.CosineClassifier(5, 4).double()
    classifier.weight.data *= torch.tensor([[0.5], [1.0], [2.0], [3.0]])
    features, weight = random(3, 5, generator=generator), classifier.weight.detach()
    unit_h, unit_w = (t / t.pow(2).sum(1, keepdim=True).sqrt() for t in (features, weight))
    cosines = torch.stack([torch.stack([(w * h).sum() for w in unit_w]) for h in unit_h])
    assert_equation(classifier(features).detach(), cosines, wrong=[features @ weight.T, unit_h @ weight.T])
    # The loss multiplies them by s: at a margin of zero it is the cross-entropy of z.
    targets = torch.tensor([0, 1, 3])
    with_scale = lt.losses.cosface_loss(cosines, targets, margin=0.0, scale=SCALE)
    assert_equation(with_scale, F.cross_entropy(SCALE * cosines, targets), wrong=[F.cross_entropy(cosines, targets)])


@pytest.mark.display("baa8e1ae")
def test_05_tangent(assert_equation: Check, generator: torch.Generator) -> None:
    h, w = (3 * random(2, 6, generator=generator)).unbind()
    leaf = h.clone().requires_grad_()
    cosine = (leaf * w).sum() / (leaf.norm() * w.norm())
    (gradient,) = torch.autograd.grad(cosine, leaf)
    unit_h, unit_w, c = h / h.norm(), w / w.norm(), cosine.detach()
    right = (unit_w - c * unit_h) / h.norm()
    assert_equation(gradient, right, wrong=[(unit_w + c * unit_h) / h.norm(), right * h.norm(), unit_w / h.norm()])
    assert abs((gradient @ h).item()) < 1e-12  # perpendicular: so a step never shortens it, by Pythagoras
    step = 0.3 * gradient
    assert_equation((h - step).pow(2).sum(), h.pow(2).sum() + step.pow(2).sum(), wrong=[h.pow(2).sum()])


@pytest.mark.display("321e9372")
def test_05_temperature(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    p = torch.exp(-lt.losses.cosface_loss(cosines, targets, margin=0.0, scale=SCALE, reduction="none"))
    powers = torch.exp(SCALE * cosines)
    own = powers.gather(1, targets[:, None]).squeeze(1)
    assert_equation(p, own / powers.sum(1), wrong=[own / (powers.sum(1) - own), cosines.softmax(1).max(1).values])
    every = (SCALE * cosines).softmax(1)
    odds = every.gather(1, targets[:, None]) / every
    gap = cosines.gather(1, targets[:, None]) - cosines
    assert_equation(odds, torch.exp(SCALE * gap), wrong=[torch.exp(-SCALE * gap), torch.exp(gap)])


@pytest.mark.display("548b2691")
def test_05_hinge(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator, rows=40)
    margin, scale = 0.3, 1e10
    left = lt.losses.cosface_loss(cosines, targets, margin=margin, scale=scale, reduction="none") / scale
    own = cosines.gather(1, targets[:, None]).squeeze(1)
    rival = cosines.masked_fill(F.one_hot(targets, 4).bool(), -2).max(1).values

    def hinge(sign: float = 1.0, inner: float = 1.0) -> Tensor:
        return (sign * margin - inner * (own - rival)).clamp(min=0)

    assert_equation(left, hinge(), wrong=[hinge(sign=-1), hinge(inner=-1), margin - (own - rival)])
    assert (hinge() == 0).any()
    # The page's bracket: between s times the right side, and that plus log C.
    loss = lt.losses.cosface_loss(cosines, targets, margin=margin, scale=SCALE, reduction="none")
    assert (SCALE * hinge() <= loss).all()
    assert (loss <= SCALE * hinge() + math.log(4)).all()


def smallest_mean_loss(shares: list[float], scale: float, dimension: int, generator: torch.Generator) -> float:
    """The best of ten descents over features and class vectors of any direction."""
    C, weights, best = len(shares), torch.tensor(shares, dtype=torch.float64), math.inf
    for _ in range(10):
        free = random(2, C, dimension, generator=generator).requires_grad_()
        options = {"max_iter": 500, "tolerance_grad": 1e-12, "line_search_fn": "strong_wolfe"}
        descent = torch.optim.LBFGS([free], tolerance_change=1e-15, **options)

        def closure(free: Tensor = free, descent: torch.optim.Optimizer = descent) -> Tensor:
            descent.zero_grad()
            h, w = F.normalize(free, dim=2)
            loss = weights @ F.cross_entropy(scale * h @ w.T, torch.arange(C), reduction="none")
            loss.backward()
            return loss

        descent.step(closure)
        best = min(best, closure().item())
    return best


@pytest.mark.display("ab9f2e8c")
def test_05_smallest_loss(assert_equation: Check, generator: torch.Generator) -> None:
    C, s = 4, 2.0

    def formula(sign: float = 1.0, power: float = C / (C - 1), factor: float = C - 1) -> float:
        return math.log(1 + factor * math.exp(-sign * s * power))

    found = smallest_mean_loss([1 / C] * C, s, C - 1, generator)
    wrong = [formula(sign=-1), formula(power=1), formula(factor=C), formula(power=(C - 1) / C)]
    assert_equation(found, formula(), wrong)
    # The two conditions: a dimension fewer does not reach it, and a long tail goes below it (the page's .250).
    assert smallest_mean_loss([1 / C] * C, s, C - 2, generator) > formula() + 1e-3
    tailed = smallest_mean_loss([0.98, 0.01, 0.01], 1.0, 2, generator)
    assert tailed == pytest.approx(0.250, abs=5e-4)
    assert tailed < math.log(1 + 2 * math.exp(-1.5)) - 0.1


def curves(angle: float, added: float = ADDED, factor: float = FACTOR, delta: float = 0.35) -> list[float]:
    """CosFace, ArcFace, SphereFace."""
    turned = factor * angle
    sphere = math.cos(turned) if turned <= math.pi else -2 - math.cos(turned)
    return [math.cos(angle) - delta, math.cos(min(angle + added, math.pi)), sphere]


@pytest.mark.display("868e305b")
def test_05_faces(assert_equation: Check) -> None:
    losses = [lt.losses.CosFaceLoss(2), lt.losses.ArcFaceLoss(2, ADDED), lt.losses.SphereFaceLoss(2, FACTOR)]
    angles = torch.linspace(0.05, math.pi - 0.05, 40, dtype=torch.float64)
    cosines = torch.stack([angles.cos(), torch.zeros_like(angles)], dim=1)
    first = torch.zeros(40, dtype=torch.int64)
    left = torch.stack([cosines[:, 0] - loss.margin(cosines, first) for loss in losses])

    def right(**options: float) -> Tensor:
        return torch.tensor([curves(float(a), **options) for a in angles], dtype=torch.float64).T

    wrong = [right(added=-ADDED), right(factor=1 / FACTOR), right(delta=-0.35), right(factor=FACTOR + 1)]
    assert_equation(left, right(), wrong)
    assert (left <= cosines[:, 0] + 1e-9).all()  # margins are never negative
    assert (left[:, 1:] <= left[:, :-1] + 1e-12).all()  # and no curve rises
    assert curves(math.radians(60)) == pytest.approx([0.15, 0.02, -0.21], abs=5e-3)  # by hand on the page


@pytest.mark.display("b0ad022e")
def test_05_arch(assert_equation: Check, generator: torch.Generator) -> None:
    angle = (math.pi - ADDED) * torch.rand(20, generator=generator, dtype=torch.float64)
    cosines = torch.stack([angle.cos(), torch.zeros_like(angle)], dim=1)
    left = lt.losses.ArcFaceLoss(2, ADDED).margin(cosines, torch.zeros(20, dtype=torch.int64))
    assert_equation(left, angle.cos() - torch.cos(angle + ADDED), wrong=[angle.cos() + torch.cos(angle + ADDED)])

    def arch(sign: float = 1.0, factor: float = 2.0) -> Tensor:
        return factor * math.sin(ADDED / 2) * torch.sin(angle + sign * ADDED / 2)

    assert_equation(left, arch(), wrong=[arch(sign=-1), arch(factor=1), arch(sign=2)])
    peak = minimize_scalar(lambda a: math.cos(a + ADDED) - math.cos(a), bounds=(0, 3), method="bounded")
    assert_equation(-peak.fun, 2 * math.sin(ADDED / 2))
    assert_equation(peak.x, math.pi / 2 - ADDED / 2, wrong=[math.pi / 2], tolerance=1e-5)


@pytest.mark.display("3c8ba30c")
def test_05_slope(assert_equation: Check, generator: torch.Generator) -> None:
    angle = 0.1 + 1.5 * torch.rand(20, generator=generator, dtype=torch.float64)
    cosine, step = angle.cos(), 1e-6
    slopes = []
    for curve in (1, 2):
        up, down = ([curves(math.acos(c + d))[curve] for c in cosine.tolist()] for d in (step, -step))
        slopes.append([(u - d) / (2 * step) for u, d in zip(up, down, strict=True)])
    arc, sphere = torch.tensor(slopes, dtype=torch.float64)
    right = torch.sin(angle + ADDED) / torch.sin(angle)
    assert_equation(arc, right, wrong=[torch.sin(angle - ADDED) / torch.sin(angle), 1 / right], tolerance=1e-6)
    right = FACTOR * torch.sin(FACTOR * angle) / torch.sin(angle)
    assert_equation(sphere, right, wrong=[right / FACTOR, 1 / right], tolerance=1e-6)
    # The library's attached form has it, and the page's exercise its ratios.
    for value, ratio in ((0.9, 1.9), (0.999, 11.6), (0.999999, 113.0)):
        c = torch.tensor([[value, 0.0]], dtype=torch.float64, requires_grad=True)
        both = [lt.losses.ArcFaceLoss(2, ADDED, detach=detach)(c, torch.tensor([0])) for detach in (True, False)]
        detached, attached = (torch.autograd.grad(loss, c)[0][0, 0] for loss in both)
        assert (attached / detached).item() == pytest.approx(ratio, abs=0.05)


@pytest.mark.display("1487be67")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_05_detached(assert_equation: Check, generator: torch.Generator, which: int) -> None:
    cosines, targets = draw(generator)
    made = [
        lt.losses.CosFaceLoss(4, scale=SCALE, reduction="sum"),
        lt.losses.ArcFaceLoss(4, ADDED, SCALE, reduction="sum"),
        lt.losses.SphereFaceLoss(4, FACTOR, SCALE, reduction="sum"),
    ]
    leaf = cosines.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(made[which](leaf, targets), leaf)
    hot, own = F.one_hot(targets, 4), cosines.gather(1, targets[:, None])
    psi = torch.tensor([[curves(math.acos(c))[which]] for c in own.flatten().tolist()], dtype=torch.float64)
    adjusted = SCALE * cosines.scatter(1, targets[:, None], psi)
    p = torch.exp(adjusted) / torch.exp(adjusted).sum(1, keepdim=True)
    plain = (SCALE * cosines).softmax(1)
    wrong = [SCALE * (p + hot), p - hot, SCALE * (plain - hot)]
    assert_equation(gradient, SCALE * (p - hot), wrong)


@pytest.mark.display("46e084ec")
def test_05_fourth_root(assert_equation: Check) -> None:
    n1, n2, total = 500, 5, 0.7

    def best_split(q: float) -> tuple[float, float]:
        def bound(first: float) -> float:
            return (first * math.sqrt(n1)) ** -q + ((total - first) * math.sqrt(n2)) ** -q

        bounds = (1e-3, total - 1e-3)
        first = minimize_scalar(bound, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return first, total - first

    first, second = best_split(1)
    left, right = (1 / (d**2 * math.sqrt(n)) for d, n in ((first, n1), (second, n2)))
    assert_equation(left, right, wrong=[1 / (second * math.sqrt(n2)), 1 / (second**2 * n2)], tolerance=1e-6)
    ratio = (n1 / n2) ** 0.25
    assert_equation(second / first, ratio, wrong=[1 / ratio, ratio**2, (n1 / n2) ** (1 / 3)], tolerance=1e-6)
    # The exercise: with the error to the power q the exponent is q / (2 (q + 1)).
    for q, exponent in ((2, 1 / 3), (9, 0.45)):
        first, second = best_split(q)
        assert_equation(math.log(second / first) / math.log(n1 / n2), exponent, tolerance=1e-5)


@pytest.mark.display("5f355603")
def test_05_ldam(assert_equation: Check) -> None:
    def literal(power: float = 0.25, largest: float = 0.5) -> Tensor:
        return torch.tensor([largest * (min(COUNTS) / n) ** power for n in COUNTS], dtype=torch.float64)

    wrong = [literal(power=-0.25), literal(largest=1), literal(power=0.5)]
    assert_equation(lt.losses.ldam_margins(COUNTS, dtype=torch.float64), literal(), wrong)


def vs_scores(z: Tensor, gamma: float, tau: float, counts: list[int] = COUNTS) -> Tensor:
    n = torch.tensor(counts, dtype=torch.float64)
    return (n / n.max()) ** gamma * z + tau * torch.log(n / n.sum())


@pytest.mark.display("7ec6aacc")
def test_05_vs(assert_equation: Check, generator: torch.Generator) -> None:
    z, targets = 3 * random(8, 4, generator=generator), torch.arange(8) % 4
    gamma, tau = 0.2, 1.2
    loss = lt.losses.VSLoss(COUNTS, gamma, tau, reduction="none")(z, targets)

    def literal(gamma: float = gamma, tau: float = tau) -> Tensor:
        return -vs_scores(z, gamma, tau).log_softmax(1).gather(1, targets[:, None]).squeeze(1)

    assert_equation(loss, literal(), wrong=[literal(gamma=-gamma), literal(tau=-tau), literal(gamma=0)])
    adjusted = lt.losses.LogitAdjustedLoss(COUNTS, reduction="none")(z, targets)
    assert_equation(lt.losses.VSLoss(COUNTS, 0.0, reduction="none")(z, targets), adjusted, wrong=[loss])


@pytest.mark.display("f7dec529")
def test_05_limit(assert_equation: Check) -> None:
    """The problem that descent solves in the limit: the smallest w and b with both margins at least one."""

    def formula(head: float, tail: float, sign: float = 1.0) -> float:
        return -(head - sign * tail) / (head + sign * tail)

    for head, tail in ((1.0, 0.5), (1.0, 0.25), (0.8, 0.3)):
        margins = [lambda v, a=tail: a * (v[0] + v[1]) - 1, lambda v, a=head: a * (v[0] - v[1]) - 1]
        constraints = [{"type": "ineq", "fun": margin} for margin in margins]
        found = minimize(lambda v: v @ v, np.array([2.0, 0.0]), constraints=constraints, method="SLSQP", tol=1e-14).x
        wrong = [formula(tail, head), formula(head, tail, sign=-1)]
        assert_equation(-found[1] / found[0], formula(head, tail), wrong, tolerance=1e-6)
    vs_in_softmax_form_moves_nothing_for_two_classes_and_something_for_three()
    # Gradient flow goes there, slowly, from either side: the distance shrinks as one over the logarithm of time.
    w = b = 0.0
    for _ in range(30_000):
        lead = np.array([0.5 * (w + b), w - b])
        weight = np.array([0.01, 0.99])
        push = weight * np.array([0.5, 1.0]) / (1 + np.exp(lead))
        step = 0.05 / (weight @ np.logaddexp(0, -lead))
        w, b = w + step * push.sum(), b + step * (push[0] - push[1])
    assert -1 / 3 < -b / w < -0.31


@pytest.mark.display("85847d0c")
def test_05_shift(assert_equation: Check, generator: torch.Generator) -> None:
    n = torch.tensor(COUNTS, dtype=torch.float64)
    zeta, z, iota = (n / n.max()) ** 0.3, random(4, generator=generator), 2.7
    left = zeta * (z + iota / zeta)
    assert_equation(left, zeta * z + iota, wrong=[zeta * z - iota, zeta * (z + iota)])
    loss = lt.losses.VSLoss(COUNTS)
    targets = torch.arange(4)
    values = [loss((z + shift / zeta).expand(4, 4), targets) for shift in (0.0, iota, -40.0, 40.0)]
    assert_equation(torch.stack(values), values[0].expand(4), wrong=[loss((z + iota).expand(4, 4), targets).expand(4)])
    assert (z + 40 / zeta).argmax() == 3
    assert (z - 40 / zeta).argmax() == 0
    vs_from_zero_decides_as_logit_adjustment_for_two_classes(generator)


def vs_from_zero_decides_as_logit_adjustment_for_two_classes(generator: torch.Generator) -> None:
    """The exercise: descent keeps the sum of z / zeta, and with two classes has the sign of the adjusted log odds."""
    for _ in range(10):
        P = torch.rand(1, generator=generator, dtype=torch.float64).item()
        posterior = torch.tensor([P, 1 - P], dtype=torch.float64)
        zeta, prior = torch.tensor([1.0, 0.3], dtype=torch.float64), torch.tensor([0.9, 0.1], dtype=torch.float64)
        z = torch.zeros(2, dtype=torch.float64)
        for _ in range(4000):
            z = z - zeta * ((zeta * z + prior.log()).softmax(0) - posterior)
        assert abs((z / zeta).sum().item()) < 1e-9
        log_odds = math.log(P / (1 - P)) - math.log(0.9 / 0.1)
        assert (z[0] > z[1]) == (log_odds > 0)


def separable_rows(points: np.ndarray, factors: list[float]) -> np.ndarray:
    """Rows (with a bias as a last feature) of smallest norm whose factored scores lead by one on every point."""
    X = np.hstack([points, np.ones((len(points), 1))])
    C, d = len(factors), X.shape[1]

    def lead(v: np.ndarray, k: int, j: int) -> float:
        rows = v.reshape(C, d)
        return factors[k] * rows[k] @ X[k] - factors[j] * rows[j] @ X[k] - 1

    pairs = [(k, j) for k in range(C) for j in range(C) if j != k]
    constraints = [{"type": "ineq", "fun": lead, "args": pair} for pair in pairs]
    start = np.random.default_rng(0).normal(size=C * d)
    options = {"maxiter": 1000, "ftol": 1e-14}
    found = minimize(lambda v: v @ v, start, jac=lambda v: 2 * v, constraints=constraints, options=options)
    return found.x.reshape(C, d)


def vs_in_softmax_form_moves_nothing_for_two_classes_and_something_for_three() -> None:
    """The exercise's boundary for two classes, and its 0.80, 0.92 and 0.87 for three."""
    for factors in ([1.0, 1.0], [1.0, 0.3]):
        w = separable_rows(np.array([[1.0], [-1.0]]), factors)
        assert abs((w[0] - w[1])[1] / (w[0] - w[1])[0]) < 1e-6
    angles = np.deg2rad([90, 210, 330])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for factors, expected in (([1.0, 1.0, 1.0], (0.87, 0.87)), ([1.0, 1.0, 0.5], (0.80, 0.92))):
        w = separable_rows(points, factors)
        gap = w[0] - w[2]
        values = [gap[:2] @ points[0] + gap[2], -(gap[:2] @ points[2] + gap[2])]
        assert np.array(values) / np.hypot(*gap[:2]) == pytest.approx(expected, abs=5e-3)


def expected_over_clouds(f: Callable[[float], float]) -> float:
    """The mean of f(size) for the size of a normal number of standard deviation 1/3, cut at 1, by integration."""
    inside, _ = quad(lambda x: f(x) * 6 * norm.pdf(3 * x), 0, 1)
    return inside + 2 * (1 - norm.cdf(3)) * f(1.0)


@pytest.mark.display("07c8287a")
def test_05_gcl(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)

    def fresh() -> torch.Generator:
        return torch.Generator().manual_seed(3)

    loss = lt.losses.gcl_loss(cosines, targets, COUNTS, scale=SCALE, reduction="none", generator=fresh())
    size = (random(cosines.shape, generator=fresh()) / 3).abs().clamp(max=1)

    def literal(half: float = 2.0, own: bool = True) -> Tensor:
        rarity = [math.log(max(COUNTS) / n) / math.log(max(COUNTS) / min(COUNTS)) for n in COUNTS]
        cloud = size / half * torch.tensor(rarity, dtype=torch.float64)
        if not own:
            cloud = cloud * F.one_hot(targets, 4)
        adjusted = SCALE * (cosines - cloud)
        return -adjusted.log_softmax(1).gather(1, targets[:, None]).squeeze(1)

    assert_equation(loss, literal(), wrong=[literal(half=-2.0), literal(half=1.0), literal(own=False)])


@pytest.mark.display("811b44fb")
def test_05_gcl_mean(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, _ = draw(generator, rows=1)
    ratio, mean = math.log(max(COUNTS) / min(COUNTS)), expected_over_clouds(lambda x: x)
    s = 30.0
    tau = s / 2 * mean / ratio
    assert tau == pytest.approx(0.87, abs=5e-3)
    rarity = torch.tensor([math.log(max(COUNTS) / n) / ratio for n in COUNTS], dtype=torch.float64)
    left = s * (cosines - mean / 2 * rarity)
    prior = torch.tensor([math.log(n / sum(COUNTS)) for n in COUNTS], dtype=torch.float64)

    def centred(values: Tensor) -> Tensor:  # equal up to a constant
        return values - values.mean(1, keepdim=True)

    wrong = [centred(s * cosines - tau * prior), centred(s * cosines + 2 * tau * prior), centred(s * cosines)]
    assert_equation(centred(left), centred(s * cosines + tau * prior), wrong)
    # The library's eval mode is that mean, and its draws have it.
    targets = torch.arange(1)
    in_eval = lt.losses.GCLLoss(COUNTS).eval()(cosines, targets)
    assert_equation(in_eval, F.cross_entropy(left, targets), wrong=[F.cross_entropy(s * cosines, targets)])
    draws = (random(200_000, generator=generator) / 3).clamp(-1, 1).abs()
    assert draws.mean().item() == pytest.approx(mean, abs=2e-3)


@pytest.mark.display("69ddda1d")
def test_05_gcl_odds(assert_equation: Check) -> None:
    """The posterior at which the scores that minimise the expected loss tie, found by root finding twice."""
    s = 30.0

    def best_gap(tail: float) -> float:
        """The z_2 - z_1 at which the expected loss has no slope, by differences of the loss itself."""

        def expected_loss(gap: float) -> float:
            def at(x: float) -> float:
                return tail * np.logaddexp(0, s * x / 2 - gap) + (1 - tail) * np.logaddexp(0, gap - s * x / 2)

            return expected_over_clouds(at)

        return brentq(lambda gap: expected_loss(gap + 1e-4) - expected_loss(gap - 1e-4), -20, 20)

    share = brentq(best_gap, 0.01, 0.5)

    def logistic(u: float) -> float:
        return 1 / (1 + math.exp(-u))

    def odds(sign: float = 1.0, half: float = 2.0) -> float:
        above, below = (expected_over_clouds(lambda x, t=t: logistic(t * sign * s * x / half)) for t in (-1, 1))
        return above / below

    assert_equation(share / (1 - share), odds(), wrong=[odds(sign=-1), odds(half=1)], tolerance=1e-5)
    assert odds() == pytest.approx(0.118, abs=5e-4)
    assert odds() > math.exp(-s / 2 * expected_over_clouds(lambda x: x))  # the mean alone would go further
