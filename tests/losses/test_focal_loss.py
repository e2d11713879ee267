import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.nn import functional as F

from lt_core.losses import FocalLoss, focal_loss

WEIGHT = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)


def draw(rows):
    return 3 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_gamma_zero_is_cross_entropy(targets, weight, reduction):
    logits = draw(len(targets))
    ours = focal_loss(logits, targets, 0.0, weight, reduction)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, weight, reduction=reduction))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0, 5.0])
def test_closed_form_gradient_and_gradcheck(targets, gamma):
    logits = draw(len(targets)).requires_grad_()
    focal_loss(logits, targets, gamma, WEIGHT, "sum").backward()
    p = logits.detach().softmax(1)
    p_y = p.gather(1, targets[:, None])
    rho = (1 - p_y) ** gamma - gamma * p_y * (1 - p_y) ** (gamma - 1) * p_y.log()
    expected = WEIGHT[targets][:, None] * rho * (p - F.one_hot(targets, 5))
    torch.testing.assert_close(logits.grad, expected)
    assert gradcheck(lambda z: focal_loss(z, targets, gamma, WEIGHT), (logits,))


def test_weight_stands_outside_the_modulating_factor(targets):
    logits = draw(len(targets))
    inside = -((1 - logits.softmax(1).gather(1, targets[:, None]).squeeze(1) ** WEIGHT[targets]) ** 2)
    inside = inside * WEIGHT[targets] * logits.log_softmax(1).gather(1, targets[:, None]).squeeze(1)
    ours = focal_loss(logits, targets, 2.0, WEIGHT, "none")
    torch.testing.assert_close(ours, WEIGHT[targets] * focal_loss(logits, targets, 2.0, None, "none"))
    assert not torch.allclose(ours, inside)


@pytest.mark.parametrize("gamma", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("gap", [1e4, 200.0, 40.0, -40.0, -1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_probability_with_gamma_below_one(gamma, gap, dtype):
    logits = torch.tensor([[gap, 0.0]], dtype=dtype, requires_grad=True)
    loss = focal_loss(logits, torch.tensor([0]), gamma)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(logits.grad).all()
    if gap < 0:
        assert loss.item() == pytest.approx(-gap)
        assert logits.grad[0].tolist() == pytest.approx([-1.0, 1.0])
    else:  # (1 - p)^gamma * (-log p) = e^(-gap (1 + gamma)) to leading order
        expected = math.exp(-gap * (1 + gamma))
        assert loss.item() == pytest.approx(expected, rel=1e-3, abs=1e-37)
        assert logits.grad[0].tolist() == pytest.approx(
            [-(1 + gamma) * expected, (1 + gamma) * expected], rel=1e-3, abs=1e-37
        )


@given(st.floats(-8, 8), st.floats(0, 5), st.floats(0, 5))
def test_more_gamma_is_less_loss(gap, gamma, more):
    logits, targets = torch.tensor([[gap, 0.0, -1.0]], dtype=torch.float64), torch.tensor([0])
    less = focal_loss(logits, targets, gamma + more)
    assert less <= focal_loss(logits, targets, gamma) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("gamma", "error"), [(-0.5, ValueError), (math.inf, ValueError), (math.nan, ValueError), ("2", TypeError)]
)
def test_bad_gamma(gamma, error):
    with pytest.raises(error, match="gamma is"):
        FocalLoss(gamma)
    with pytest.raises(error, match="gamma is"):
        focal_loss(torch.zeros(1, 2), torch.tensor([0]), gamma)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("rest", [-torch.inf, -3e38])
def test_a_masked_class_makes_no_nan(gamma, rest):
    logits = torch.tensor([[0.0, rest, 1.0], [3e38, rest, rest]], requires_grad=True)
    value = focal_loss(logits, torch.tensor([0, 0]), gamma)
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(value)
    assert torch.isfinite(gradient).all()
    if gamma == 0:
        torch.testing.assert_close(value, F.cross_entropy(logits, torch.tensor([0, 0])))
