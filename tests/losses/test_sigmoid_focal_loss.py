import math

import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional as F

from lt_core.losses import ClassBalancedFocalLoss, class_balanced_focal_loss, class_balanced_weights

COUNTS = [500, 90, 20, 7, 3]
WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]


def draw(rows):
    return 3 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def literal(row, y, gamma, beta):
    """The docstring's value and gradient, with plain numbers."""
    raw = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    v = len(raw) * raw[y] / sum(raw)
    value, gradient = 0.0, []
    for j, z in enumerate(row):
        sign = 1 if j == y else -1
        p = 1 / (1 + math.exp(-sign * z))
        value -= v * (1 - p) ** gamma * math.log(p)
        gradient.append(-sign * v * (1 - p) ** gamma * (1 - p - gamma * p * math.log(p)))
    return value, gradient


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_value_and_gradient_are_those_of_the_docstring(targets, gamma, beta):
    z = draw(len(targets)).requires_grad_()
    losses = class_balanced_focal_loss(z, targets, COUNTS, gamma, beta, WEIGHT, "none")
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    for i, (row, y) in enumerate(zip(z.tolist(), targets.tolist(), strict=True)):
        value, slopes = literal(row, y, gamma, beta)
        assert losses[i].item() == pytest.approx(WEIGHT[y] * value, rel=1e-9)
        assert gradient[i].tolist() == pytest.approx([WEIGHT[y] * slope for slope in slopes], rel=1e-9, abs=1e-12)


def test_without_gamma_and_beta_it_is_binary_cross_entropy(targets):
    z, one_hot = draw(len(targets)), F.one_hot(targets, 5).double()
    expected = F.binary_cross_entropy_with_logits(z, one_hot, reduction="sum") / len(targets)
    torch.testing.assert_close(class_balanced_focal_loss(z, targets, COUNTS, 0.0, 0.0), expected)


def test_the_mean_divides_by_the_images_and_not_by_their_weights(targets):
    each = class_balanced_focal_loss(draw(8), targets, COUNTS, reduction="none")
    torch.testing.assert_close(class_balanced_focal_loss(draw(8), targets, COUNTS), each.mean())
    same = torch.full((8,), 4)
    rare = class_balanced_focal_loss(draw(8), same, COUNTS) / class_balanced_focal_loss(draw(8), same, COUNTS, beta=0.0)
    assert rare.item() == pytest.approx(class_balanced_weights(COUNTS)[4].item())


def test_the_classes_do_not_compete(targets):
    z, moved = draw(8).requires_grad_(), draw(8)
    moved[:, 0] += 5.0
    moved.requires_grad_()
    one, other = (torch.autograd.grad(class_balanced_focal_loss(x, targets, COUNTS), x)[0][:, 1:] for x in (z, moved))
    torch.testing.assert_close(one, other)


def test_per_sample_gradients_by_function_transforms(targets):
    loss, z = ClassBalancedFocalLoss(COUNTS, weight=WEIGHT, reduction="sum"), draw(8).requires_grad_()
    targets[2] = -100
    (expected,) = torch.autograd.grad(loss(z, targets), z)
    each = vmap(grad(lambda row, y: loss(row[None], y[None])))(z.detach(), targets)
    torch.testing.assert_close(each, expected)
    assert expected[2].eq(0).all()


@pytest.mark.parametrize("gamma", [0.3, 1.0, 2.0])
def test_saturated_logits(gamma):
    """Where the released formula overflows, the value is linear in the logit and the gradient is the weight."""
    z = torch.tensor([[-1e4, 1e4, -1e4]], requires_grad=True)
    loss = class_balanced_focal_loss(z, torch.tensor([0]), [5, 5, 5], gamma)
    loss.backward()
    assert loss.item() == pytest.approx(2e4)
    assert z.grad[0].tolist() == pytest.approx([-1.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"gamma": -0.5}, ValueError, "gamma is -0.5"),
        ({"gamma": "1"}, TypeError, "gamma is '1'"),
        ({"beta": 1.0}, ValueError, "beta is 1"),
        ({"beta": -0.1}, ValueError, "beta is -0.1"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        ClassBalancedFocalLoss(COUNTS, **options)
    with pytest.raises(error, match=match):
        class_balanced_focal_loss(torch.zeros(1, 5), torch.tensor([0]), COUNTS, **options)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_a_masked_class_makes_no_nan(gamma):
    logits = torch.tensor([[0.0, -torch.inf]], requires_grad=True)
    value = class_balanced_focal_loss(logits, torch.tensor([0]), [5, 1], gamma=gamma)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
