"""The displayed equations of chapter 08, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

Check = Callable[..., None]
PRIOR = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
SHARES = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
# Four classes on nine values of x: densities that are known, so that a mean over images is a sum.
DENSITY = torch.softmax(
    torch.tensor([[-((x - c) ** 2) / 6 for x in range(9)] for c in (1.0, 3.0, 4.5, 7.0)], dtype=torch.float64), dim=1
)


def answers(rows: list[list[float]]) -> Tensor:
    return torch.tensor([row.index(max(row)) for row in rows], dtype=torch.float64)


def predicted(generator: torch.Generator, images: int = 400) -> Tensor:
    tilt = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    return (torch.randn(images, 4, dtype=torch.float64, generator=generator) + tilt).softmax(1)


def bayes(prior: Tensor) -> Tensor:
    """Posterior (9, 4) of the classes at each x, by a loop."""
    joint = [[float(prior[j] * DENSITY[j, x]) for j in range(4)] for x in range(9)]
    return torch.tensor([[value / math.fsum(row) for value in row] for row in joint], dtype=torch.float64)


def mixture(shares: Tensor) -> Tensor:
    """Probability (9,) of each x."""
    return shares @ DENSITY


def column_means(p: Tensor, factors: Tensor, weights: Tensor) -> Tensor:
    """The left side of the one equation, in loops over images with the given weights."""
    total = [0.0] * p.shape[1]
    for row, weight in zip(p.tolist(), weights.tolist(), strict=True):
        scaled = [f * v for f, v in zip(factors.tolist(), row, strict=True)]
        for j, value in enumerate(scaled):
            total[j] += weight * value / math.fsum(scaled)
    return torch.tensor(total, dtype=torch.float64)


@pytest.mark.display("94f4ac0d")
def test_08_rebalanced(assert_equation: Check, generator: torch.Generator) -> None:
    p, tau = predicted(generator), 0.8
    sums = [math.fsum(column) for column in p.T.tolist()]

    def right(power: float) -> Tensor:
        return answers([[v / total**power for v, total in zip(row, sums, strict=True)] for row in p.tolist()])

    by_rows = (p / p.sum(1, keepdim=True) ** tau).argmax(1).double()  # the sum over classes in place of images
    wrong = [right(-tau), right(2 * tau), right(0), by_rows]
    assert_equation(lt.posthoc.rebalance_predictions(p, tau=tau).argmax(1).double(), right(tau), wrong=wrong)
    assert_equation(lt.posthoc.rebalance_logits(p.log(), tau=tau).argmax(1).double(), right(tau))
    by_hand = lt.posthoc.rebalance_predictions(torch.tensor([[0.9, 0.1], [0.7, 0.3]], dtype=torch.float64))
    assert_equation(by_hand, torch.tensor([[9 / 16, 1 / 4], [7 / 16, 3 / 4]], dtype=torch.float64))


@pytest.mark.display("cddd239c")
def test_08_level(assert_equation: Check, generator: torch.Generator) -> None:
    p = predicted(generator)
    factors = torch.tensor([400 / (4 * math.fsum(column)) for column in p.T.tolist()], dtype=torch.float64)
    level = torch.full((4,), 100.0, dtype=torch.float64)
    off = [torch.stack([(f * p)[:, j].sum() for j in range(4)]) for f in (1 / factors, factors**2, factors * 4)]
    assert_equation(level, torch.stack([(factors * p)[:, j].sum() for j in range(4)]), wrong=off)
    # Up to a common number the factors are those of re-balancing at tau = 1.
    ratio = lt.posthoc.rebalance_predictions(p) / (factors * p)
    assert_equation(ratio, torch.full_like(p, 1 / 100), wrong=[torch.full_like(p, 1 / 400)])


@pytest.mark.display("ab6934de")
def test_08_equation(assert_equation: Check, generator: torch.Generator) -> None:
    # The theorem: with exact posteriors the factors q/pi solve the equation, in the limit of many images.
    p, weights = bayes(PRIOR), mixture(SHARES)
    wrong_factors = [PRIOR / SHARES, 1 / PRIOR, SHARES, torch.ones(4)]
    wrong = [column_means(p, factors, weights) for factors in wrong_factors]
    assert_equation(SHARES, column_means(p, SHARES / PRIOR, weights), wrong=wrong)
    # And Sinkhorn's iteration, from the first half-step on, ends in a solution for any given matrix.
    p, flat = predicted(generator), torch.full((4,), 0.25, dtype=torch.float64)
    matrix = p.clone()
    for step in range(200):
        matrix = matrix / (4 / 400 * matrix.sum(0))  # level columns, N / C each
        if step == 0:
            half = lt.posthoc.rebalance_predictions(p)
            assert_equation(matrix / half, torch.full_like(p, 100.0))
        matrix = matrix / matrix.sum(1, keepdim=True)
    factors = (matrix / p)[0]
    even = torch.full((400,), 1 / 400, dtype=torch.float64)
    wrong = [column_means(p, f, even) for f in (1 / factors, factors**2)]
    assert_equation(flat, column_means(p, factors, even), wrong=wrong)


@pytest.mark.display("317a6a32")
def test_08_posterior(assert_equation: Check, generator: torch.Generator) -> None:
    centres = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    x = centres.repeat(50, 1) + torch.randn(200, 3, dtype=torch.float64, generator=generator)
    density = (-(x[:, None] - centres).square().sum(2) / 2).exp() / (2 * math.pi) ** 1.5
    right = PRIOR * density / (PRIOR * density).sum(1, keepdim=True)
    # The page's way: logits without what all classes have in common, and the log prior.
    logits = x @ centres.T - centres.square().sum(1) / 2 + PRIOR.log()
    unweighted = density / density.sum(1, keepdim=True)
    wrong = [unweighted, PRIOR * density / density.sum(1, keepdim=True), unweighted * PRIOR]
    assert_equation(logits.softmax(1), right, wrong=wrong)


@pytest.mark.display("92c760b5")
def test_08_em(assert_equation: Check, generator: torch.Generator) -> None:
    p, weights = bayes(PRIOR), mixture(SHARES)

    def step(shares: Tensor, over: Tensor = PRIOR) -> Tensor:
        return column_means(p, shares / over, weights)

    # The first step gives the column means; the true shares are a fixed point, and iterating from the prior finds them.
    assert_equation(step(PRIOR), weights @ p, wrong=[step(PRIOR, over=1 / PRIOR), step(1 / PRIOR)])
    assert_equation(SHARES, step(SHARES), wrong=[step(SHARES, over=torch.ones(4)), step(PRIOR), PRIOR])
    found, likelihoods = PRIOR, []
    for _ in range(3000):
        likelihoods.append(float(weights @ torch.log((found / PRIOR * p).sum(1))))
        found = step(found)
    assert_equation(found, SHARES, wrong=[PRIOR, weights @ p], tolerance=1e-4)
    assert all(later >= earlier - 1e-12 for earlier, later in itertools.pairwise(likelihoods))


@pytest.mark.display("6ef95dfa")
def test_08_bbse(assert_equation: Check, generator: torch.Generator) -> None:
    # A classifier of the nine values of x; its answers are counted class by class, and on the test set.
    said = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3])
    confusion = torch.stack([F.one_hot(said, 4).double().T @ DENSITY[k] for k in range(4)], dim=1)
    right = F.one_hot(said, 4).double().T @ mixture(SHARES)
    wrong = [confusion.T @ SHARES, confusion @ PRIOR, SHARES]
    assert_equation(confusion @ SHARES, right, wrong=wrong)
    assert_equation(torch.linalg.solve(confusion, right), SHARES, wrong=[right, PRIOR])


def column_slope(p: Tensor, counts: list[int]) -> Tensor:
    """The display, in loops."""
    u, v = [math.log(n) for n in counts], [math.log(math.fsum(c) / len(c)) for c in p.T.tolist()]
    mu, mv = math.fsum(u) / len(u), math.fsum(v) / len(v)
    covariance = math.fsum((s - mu) * (t - mv) for s, t in zip(u, v, strict=True))
    return torch.tensor(covariance / math.fsum((s - mu) ** 2 for s in u), dtype=torch.float64)


@pytest.mark.display("3dbd2a5c")
def test_08_kappa(assert_equation: Check, generator: torch.Generator) -> None:
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
    # The theorem: 1 where the features say nothing, 0 where the classes do not overlap.
    nothing = PRIOR * torch.ones(2000, 4, dtype=torch.float64)
    assert_equation(column_slope(nothing, [60, 25, 10, 5]), 1.0)
    certain = F.one_hot(torch.arange(2000) % 4, 4).double()
    assert abs(float(column_slope(certain, [60, 25, 10, 5]))) < 1e-12


@pytest.mark.display("8b67ff83")
@pytest.mark.parametrize("tau", [0.4, 1.7])
def test_08_alone(assert_equation: Check, generator: torch.Generator, tau: float) -> None:
    p = predicted(generator, images=1)
    right = torch.tensor([[value ** (1 - tau) for value in p[0].tolist()]], dtype=torch.float64)
    assert_equation(lt.posthoc.rebalance_predictions(p, tau=tau), right, wrong=[p**tau, p ** (1 + tau), p])
    least = tau > 1
    answer = int(lt.posthoc.rebalance_predictions(p, tau=tau).argmax())
    assert answer == int(p.argmin() if least else p.argmax())
    assert torch.equal(lt.posthoc.rebalance_predictions(p, tau=1.0), torch.ones_like(p))


@pytest.mark.display("853a02a1")
def test_08_training(assert_equation: Check, generator: torch.Generator) -> None:
    counts = torch.tensor([60, 25, 10, 5])
    targets = torch.arange(4).repeat_interleave(counts)
    x = torch.randn(100, 3, dtype=torch.float64, generator=generator)
    x = x + 0.7 * F.one_hot(targets, 4).double()[:, :3]

    def sums(bias: float = 1.0, decay: float = 0.0, weight_decay: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Column sums on the training images, the logits there and the biases, at the optimum."""
        V = torch.zeros(4, 4, dtype=torch.float64, requires_grad=True)
        ends = {"tolerance_grad": 1e-10, "tolerance_change": 1e-15, "max_iter": 500}
        optimizer = torch.optim.LBFGS([V], history_size=40, line_search_fn="strong_wolfe", **ends)

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(x @ V[:3] + bias * V[3], targets)
            loss = loss + decay * V[3].square().sum() + weight_decay * V[:3].square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        z = (x @ V[:3] + bias * V[3]).detach()
        return z.softmax(1).sum(0), z, V[3].detach()

    found, z, _ = sums()
    decayed, _, b = sums(decay=0.05)
    assert_equation(found, counts.double(), wrong=[sums(bias=0.0)[0], decayed], tolerance=1e-5)
    # A decay of the weights alone changes nothing; that of the bias takes 2 N lambda b off (exercise).
    assert_equation(sums(weight_decay=0.05)[0], counts.double(), tolerance=1e-5)
    assert_equation(decayed, counts - 2 * 100 * 0.05 * b, wrong=[counts + 10 * b, counts], tolerance=1e-5)
    assert decayed[0] < counts[0]
    assert decayed[-1] > counts[-1]
    for tau in (0.5, 1.0, 1.6):
        inductive = z.log_softmax(1) - tau * found.log()
        assert torch.equal(inductive.argmax(1), lt.posthoc.adjust_logits(z, counts, tau=tau).argmax(1))


@pytest.mark.display("e435fb47")
def test_08_pc(assert_equation: Check, generator: torch.Generator) -> None:
    z = 2 * torch.randn(400, 4, dtype=torch.float64, generator=generator)
    scores = [
        [value - math.log(s) + math.log(t) for value, s, t in zip(row, PRIOR.tolist(), SHARES.tolist(), strict=True)]
        for row in z.tolist()
    ]
    adjusted = lt.posthoc.adjust_logits(z, [60, 25, 10, 5])
    wrong = [(z + PRIOR.log() - SHARES.log()), z + SHARES.log(), adjusted, z]
    left = (adjusted + SHARES.log()).argmax(1).double()
    assert_equation(left, answers(scores), wrong=[variant.argmax(1).double() for variant in wrong])
    # At uniform shares it is post-hoc adjustment, and on exact posteriors it is Bayes' rule on the test distribution.
    assert torch.equal((adjusted + math.log(0.25)).argmax(1), adjusted.argmax(1))
    test = (bayes(PRIOR).log() - PRIOR.log() + SHARES.log()).softmax(1)
    assert_equation(test, bayes(SHARES), wrong=[bayes(PRIOR)])


def divergence(k: int) -> float:
    """KL of class k from the balanced mixture, in a loop."""
    even = mixture(torch.full((4,), 0.25, dtype=torch.float64)).tolist()
    return math.fsum(p * math.log(p / u) for p, u in zip(DENSITY[k].tolist(), even, strict=True))


def bound(k: int, z: Tensor, mixed: Tensor) -> Tensor:
    return DENSITY[k] @ z - torch.log(mixed @ z.exp())


@pytest.mark.display("3eb519f7")
def test_08_dv(assert_equation: Check, generator: torch.Generator) -> None:
    even = mixture(torch.full((4,), 0.25, dtype=torch.float64))
    for k in range(4):
        right = divergence(k)
        best = DENSITY[k].log() - even.log()
        # Equality, also with a constant added; another sign or another mixture gives another value.
        wrong = [bound(k, -best, even), bound(k, best, mixture(PRIOR)), DENSITY[k] @ best + 1]
        assert_equation(bound(k, best, even), right, wrong=wrong)
        assert_equation(bound(k, best + 0.7, even), right)
        assert right > 0
        others = torch.randn(200, 9, dtype=torch.float64, generator=generator)
        values = torch.stack([bound(k, best + 0.3 * z, even) for z in others])
        assert bool((values < right).all())
        assert bool((torch.stack([bound(k, z, even) for z in others]) < right).all())


@pytest.mark.display("8c62db85")
def test_08_weighted(assert_equation: Check, generator: torch.Generator) -> None:
    even = mixture(torch.full((4,), 0.25, dtype=torch.float64))
    z = torch.randn(9, dtype=torch.float64, generator=generator)

    def expected(weight: Tensor) -> float:
        """The mean over image and label on the training distribution, in loops."""
        pairs = [(y, x) for y in range(4) for x in range(9)]
        return math.fsum(float(PRIOR[y] * DENSITY[y, x] * z[x].exp() * weight[y]) for y, x in pairs)

    right = expected(1 / (4 * PRIOR))
    own = 2  # the released form: the weight of the logit's class, whatever the image's label
    wrong = [expected(4 * PRIOR), expected(torch.ones(4)), expected(1 / (4 * PRIOR[own]).expand(4))]
    assert_equation(even @ z.exp(), right, wrong=wrong)


@pytest.mark.display("00885567")
def test_08_lade(assert_equation: Check, generator: torch.Generator) -> None:
    counts = [12, 5, 2, 1]
    targets = torch.arange(4).repeat_interleave(torch.tensor(counts))
    z = torch.randn(20, 4, dtype=torch.float64, generator=generator)
    prior = [n / 20 for n in counts]

    def terms(weight: Callable[[int, int], float]) -> Tensor:
        """Log of the mean over the images, for each k; the weight may read the image's class and k."""
        rows = list(zip(z.tolist(), targets.tolist(), strict=True))
        return torch.tensor(
            [math.log(math.fsum(math.exp(row[k]) * weight(y, k) for row, y in rows) / 20) for k in range(4)],
            dtype=torch.float64,
        )

    derived, released = terms(lambda y, k: 1 / (4 * prior[y])), terms(lambda y, k: 1 / (4 * prior[k]))
    own = torch.stack([z[targets == k, k].mean() for k in range(4)])
    for form, right, other in (("derived", derived, released), ("released", released, derived)):
        found = own - lt.losses.lade_estimates(z, targets, counts, form)
        assert_equation(found, right, wrong=[other, terms(lambda y, k: 1.0), right - math.log(4)])
        # The loss: balanced softmax and alpha times the regulariser.
        alpha, lam = 0.3, 0.2
        term = (torch.tensor(prior, dtype=torch.float64) * (-own + right + lam * right**2)).sum()
        loss = lt.losses.LADELoss(counts, alpha=alpha, lam=lam, form=form)(z, targets)
        assert_equation(loss, lt.losses.BalancedSoftmaxLoss(counts)(z, targets) + alpha * term)
