import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lt_core.losses import LADELoss, balanced_softmax_loss, lade_estimates, lade_loss

COUNTS = [500, 90, 20, 7, 3]
WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]
FORMS = ["released", "derived"]


def draw(rows, seed=6):
    return 2 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal(rows, targets, alpha, lam, form, weight):
    """The docstring's mean, its r and the shares u, with plain numbers."""
    prior = [n / sum(COUNTS) for n in COUNTS]
    weights = [1.0 if weight is None else weight[y] for y in targets]
    fit, total, r, shares = 0.0, 0.0, [], []
    for row, y, w in zip(rows, targets, weights, strict=True):
        powers = [p * math.exp(z) for z, p in zip(row, prior, strict=True)]
        fit -= w * math.log(powers[y] / sum(powers)) / sum(weights)
    for c in range(5):
        parts = [
            math.exp(row[c]) / (5 * prior[y if form == "derived" else c]) for row, y in zip(rows, targets, strict=True)
        ]
        r.append(math.log(sum(parts) / len(rows)))
        shares.append([part / sum(parts) for part in parts])
        own = [row[c] for row, y in zip(rows, targets, strict=True) if y == c]
        first = sum(own) / len(own) if own else 0.0
        total += prior[c] * (-first + r[c] + lam * r[c] ** 2)
    return fit + alpha * total, r, shares


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4, 0, 2, 4], [0, 0, 0, 1, 1, 3, 0, 1]])
def test_value_and_gradient_are_those_of_the_docstring(form, weight, labels):
    """Also where classes 2 and 4 have no image in the batch."""
    z, targets = draw(8).requires_grad_(), torch.tensor(labels)
    value = lade_loss(z, targets, COUNTS, 0.3, 0.05, form, weight)
    (gradient,) = torch.autograd.grad(value, z)
    expected, r, shares = literal(z.tolist(), labels, 0.3, 0.05, form, weight)
    assert value.item() == pytest.approx(expected, rel=1e-10)
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    p, one_hot = torch.softmax(z.detach() + prior.log(), 1), F.one_hot(targets, 5).double()
    w = torch.ones(8, dtype=torch.float64) if weight is None else torch.tensor(weight, dtype=torch.float64)[targets]
    rest = (1 + 2 * 0.05 * torch.tensor(r, dtype=torch.float64)) * torch.tensor(shares, dtype=torch.float64).T
    own = one_hot / one_hot.sum(0).clamp(min=1)
    closed = (w / w.sum())[:, None] * (p - one_hot) + 0.3 * prior * (rest - own)
    torch.testing.assert_close(gradient, closed, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_the_shares_of_none_add_up(targets, form, weight):
    """Sum and mean are those of the images' values, and an image's own first term is in its value alone."""
    z = draw(8)
    each, total, mean = (
        lade_loss(z, targets, COUNTS, form=form, weight=weight, reduction=r) for r in ("none", "sum", "mean")
    )
    weights = torch.ones(8) if weight is None else torch.tensor(weight)[targets]
    torch.testing.assert_close(each.sum(), total)
    torch.testing.assert_close(total / weights.sum().double(), mean)
    fit = balanced_softmax_loss(z, targets, COUNTS, weight, "none")
    prior = torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    own = (8 / torch.bincount(targets, minlength=5) * prior)[targets] * z.gather(1, targets[:, None])[:, 0]
    share = (each - fit) / (0.1 * weights.mean()) + own
    torch.testing.assert_close(share, share[:1].expand(8))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_without_the_regulariser_it_is_balanced_softmax(targets, reduction, weight):
    expected = balanced_softmax_loss(draw(8), targets, COUNTS, weight, reduction)
    torch.testing.assert_close(lade_loss(draw(8), targets, COUNTS, 0.0, weight=weight, reduction=reduction), expected)


def test_an_image_s_gradient_depends_on_the_others(targets):
    """Which is why it stands outside the family: with balanced softmax the first row's gradient would not move."""
    z, moved = draw(8).requires_grad_(), draw(8)
    moved[1:] += 1.0
    moved.requires_grad_()
    first, second = (torch.autograd.grad(lade_loss(x, targets, COUNTS, 0.5), x)[0][0] for x in (z, moved))
    assert (first - second).abs().max() > 1e-3


def optimal_critic(rows):
    """Images of ten Gaussian classes drawn by a long-tailed prior: log density ratios to the mixture, and the truth.

    The truth of a class is its Kullback-Leibler divergence from the balanced mixture, by a large sample of the class.
    """
    generator = torch.Generator().manual_seed(0)
    centres = 1.5 * torch.randn(10, 2, generator=generator, dtype=torch.float64)
    counts = [round(1000 * 100 ** (-c / 9)) for c in range(10)]
    prior = torch.tensor(counts, dtype=torch.float64) / sum(counts)

    def ratios(x):
        densities = -0.5 * ((x[:, None] - centres) ** 2).sum(2)
        return densities - torch.logsumexp(densities, 1, keepdim=True) + math.log(10)

    truth = []
    for c in range(10):
        x = centres[c] + torch.randn(200_000, 2, generator=generator, dtype=torch.float64)
        truth.append(ratios(x)[:, c].mean())
    labels = torch.multinomial(prior, rows, replacement=True, generator=generator)
    x = centres[labels] + torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    return ratios(x), labels, counts, torch.stack(truth)


def test_the_derived_estimate_is_the_divergence_and_the_released_one_is_not():
    z, labels, counts, truth = optimal_critic(200_000)
    derived, released = (lade_estimates(z, labels, counts, form) for form in ("derived", "released"))
    assert (derived - truth).abs().max() < 0.1
    assert (released[-3:] < truth[-3:] - 1).all()  # the rare classes
    assert (released < 0).any()


@given(st.integers(0, 10**6), st.floats(0, 3))
def test_the_derived_estimate_is_a_lower_bound(seed, size):
    """Donsker-Varadhan: no critic's estimate is above the divergence, here of two known distributions.

    Images are values of x in 0 ... 3, and a batch has every (x, y) as often as its probability says.
    """
    generator = torch.Generator().manual_seed(seed)
    per_class = torch.randint(1, 9, (2, 4), generator=generator)
    counts = per_class.sum(1).tolist()
    labels = torch.repeat_interleave(torch.tensor([0, 1]), torch.tensor(counts))
    images = torch.cat([torch.repeat_interleave(torch.arange(4), row) for row in per_class])
    shares = per_class.double() / per_class.sum(1, keepdim=True)
    truth = (shares * (shares / shares.mean(0)).log()).sum(1)
    critic = size * torch.randn(4, 2, generator=generator, dtype=torch.float64)
    estimates = lade_estimates(critic[images], labels, counts, "derived")
    assert (estimates <= truth + 1e-9).all()
    best = (shares / shares.mean(0)).log().T
    torch.testing.assert_close(lade_estimates(best[images], labels, counts, "derived"), truth, rtol=1e-9, atol=1e-9)


def test_a_class_without_images_has_no_estimate_and_still_pays():
    targets = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3])
    assert lade_estimates(draw(8), targets, COUNTS).isnan().tolist() == [False] * 4 + [True]
    z = draw(8).requires_grad_()
    regulariser = lade_loss(z, targets, COUNTS, 1.0) - balanced_softmax_loss(z, targets, COUNTS)
    assert torch.autograd.grad(regulariser, z)[0][:, 4].abs().min() > 0


def test_ignored_images_are_in_no_estimate(targets):
    some = targets.clone()
    some[[1, 4]] = -100
    kept = some != -100
    for form in FORMS:
        expected = lade_estimates(draw(8)[kept], targets[kept], COUNTS, form)
        torch.testing.assert_close(lade_estimates(draw(8), some, COUNTS, form), expected, equal_nan=True)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_ignored_as_a_whole_has_no_gradient(form):
    z = draw(4).requires_grad_()
    total = lade_loss(z, torch.full((4,), -100), COUNTS, form=form, reduction="sum")
    assert total.item() == 0.0
    assert torch.autograd.grad(total, z)[0].eq(0).all()


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"alpha": -0.1}, ValueError, "alpha is -0.1"),
        ({"alpha": "1"}, TypeError, "alpha is '1'"),
        ({"lam": math.inf}, ValueError, "lam is inf"),
        ({"form": "paper"}, ValueError, "form is 'paper'; allowed are 'released', 'derived'"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        LADELoss(COUNTS, **options)
    with pytest.raises(error, match=match):
        lade_loss(torch.zeros(1, 5), torch.tensor([0]), COUNTS, **options)
