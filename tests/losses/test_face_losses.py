import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError
from torch.nn import functional as F

from lt_core.losses import (
    ArcFaceLoss,
    CosFaceLoss,
    SphereFaceLoss,
    arcface_loss,
    cosface_loss,
    ldam_loss,
    sphereface_loss,
)

LOSSES = {
    "cosface": CosFaceLoss(5),
    "arcface": ArcFaceLoss(5, 0.5),
    "attached arcface": ArcFaceLoss(5, 0.5, detach=False),
    "sphereface": SphereFaceLoss(5),
    "steep sphereface": SphereFaceLoss(5, 4.0),
}
GRID = torch.linspace(math.pi, 0, 4001, dtype=torch.float64).cos().clamp(-1, 1)  # even in the angle, cosines rising


@pytest.fixture
def cosines(targets):
    draw = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return 0.9 * torch.tanh(draw)


def adjusted(loss, own):
    """The target's cosine after the loss, of cosines (N,)."""
    cosines = own[:, None].repeat(1, 5)
    return own - loss.margin(cosines, torch.zeros(len(own), dtype=torch.int64))


def gradient(loss, cosines, targets):
    leaf = cosines.clone().requires_grad_()
    loss.reduction = "sum"
    (result,) = torch.autograd.grad(loss(leaf, targets), leaf)
    loss.reduction = "mean"
    return result


def test_cosface_is_ldam_with_equal_margins(cosines, targets):
    expected = ldam_loss(cosines, targets, [7] * 5, max_margin=0.35)
    torch.testing.assert_close(cosface_loss(cosines, targets), expected, rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_a_margin_they_are_scaled_cross_entropy(cosines, targets, reduction):
    weight = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)
    options = {"scale": 16.0, "weight": weight, "reduction": reduction}
    expected = F.cross_entropy(16.0 * cosines, targets, weight, reduction=reduction)
    torch.testing.assert_close(cosface_loss(cosines, targets, 0.0, **options), expected)
    torch.testing.assert_close(arcface_loss(cosines, targets, 0.0, **options), expected)
    torch.testing.assert_close(arcface_loss(cosines, targets, 0.0, detach=False, **options), expected)
    torch.testing.assert_close(sphereface_loss(cosines, targets, 1.0, **options), expected)


@pytest.mark.parametrize("name", LOSSES)
def test_the_curve_falls_below_the_cosine_and_never_rises(name):
    curve = adjusted(LOSSES[name], GRID)
    assert (curve <= GRID + 1e-12).all()
    assert (curve.diff() >= -1e-12).all()
    if name != "attached arcface":  # which jumps where the angle passes pi
        assert curve.diff().max() < 4 * math.pi / 4000 + 1e-9  # no steeper than m times the cosine


def test_values_of_the_curves():
    own = torch.tensor([1.0, 0.5, 0.0, -1.0], dtype=torch.float64)
    assert adjusted(CosFaceLoss(5, 0.2), own).tolist() == pytest.approx([0.8, 0.3, -0.2, -1.2])
    third = math.pi / 3  # angles 0, 60, 90 and 180 degrees, and 60 more
    assert adjusted(ArcFaceLoss(5, third), own).tolist() == pytest.approx([0.5, -0.5, -math.sqrt(3) / 2, -1.0])
    beyond = -1 - third * math.sin(third)
    attached = adjusted(ArcFaceLoss(5, third, detach=False), own).tolist()
    assert attached[1:] == pytest.approx([-0.5, -math.sqrt(3) / 2, beyond])
    assert attached[0] == pytest.approx(0.5, abs=5e-3)  # the angle is kept 0.0045 from 0
    # m = 2: 0, 120, 180 and 360 degrees; cos, then -cos - 2, then cos - 4.
    assert adjusted(SphereFaceLoss(5, 2.0), own).tolist() == pytest.approx([1.0, -0.5, -1.0, -3.0])


def test_sphereface_of_whole_number_is_the_paper_s_polynomial():
    """cos 4t = 8 c^4 - 8 c^2 + 1, with sign and offset of each quarter of the half circle."""
    polynomial = 8 * GRID**4 - 8 * GRID**2 + 1
    quarter = (4 * torch.acos(GRID) / math.pi).floor()
    expected = torch.where(quarter % 2 == 0, polynomial, -polynomial) - 2 * quarter
    torch.testing.assert_close(adjusted(SphereFaceLoss(5, 4.0), GRID), expected, rtol=0, atol=1e-9)


@given(st.floats(-1, 1), st.floats(0, math.pi / 2), st.floats(0, math.pi / 2))
def test_a_larger_margin_takes_more(cosine, m, more):
    own = torch.tensor([cosine], dtype=torch.float64)
    low, high = sorted([m, more])
    assert adjusted(ArcFaceLoss(5, high), own) <= adjusted(ArcFaceLoss(5, low), own) + 1e-12
    assert adjusted(CosFaceLoss(5, high), own) <= adjusted(CosFaceLoss(5, low), own)
    assert adjusted(SphereFaceLoss(5, 1 + high), own) <= adjusted(SphereFaceLoss(5, 1 + low), own) + 1e-9


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_is_the_softmax_difference_and_the_target_s_slope(name, cosines, targets):
    loss, one_hot = LOSSES[name], F.one_hot(targets, 5).double()
    own = cosines.gather(1, targets[:, None])[:, 0]
    scores = torch.where(one_hot > 0, adjusted(loss, own)[:, None], cosines)
    expected = 30 * (torch.softmax(30 * scores, 1) - one_hot)
    if name == "attached arcface":
        angle = torch.acos(own)
        slope = torch.where(angle + 0.5 <= math.pi, torch.sin(angle + 0.5) / torch.sin(angle), 1.0)
        expected = torch.where(one_hot > 0, slope[:, None] * expected, expected)
    torch.testing.assert_close(gradient(loss, cosines, targets), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["arcface", "sphereface"])
def test_a_detached_margin_has_no_gradient_of_its_value(name, cosines, targets):
    loss = LOSSES[name]
    with pytest.raises(GradcheckError):
        gradcheck(lambda c: loss(c, targets), (cosines.requires_grad_(),))


def test_attached_and_detached_arcface_differ_in_the_target_s_gradient_alone(cosines, targets):
    one_hot = F.one_hot(targets, 5) > 0
    attached, detached = (gradient(ArcFaceLoss(5, 0.3, detach=d), cosines, targets) for d in (False, True))
    torch.testing.assert_close(attached[~one_hot], detached[~one_hot])
    assert (attached[one_hot] / detached[one_hot] - 1).abs().min() > 0.05


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [30.0, 1e4])
def test_attached_arcface_is_finite_at_both_ends(dtype, scale):
    """Its slope at a cosine of 1 is that at 1 - 1e-5: sin(0.1 + 0.0045) / sin(0.0045) = 23 with m = 0.1."""
    loss = ArcFaceLoss(5, 0.1, scale, detach=False)
    for values in (2 * torch.eye(5) - 1, 1 - 2 * torch.eye(5), torch.ones(5, 5), -torch.ones(5, 5)):
        cosines = values.to(dtype)
        slopes = gradient(loss, cosines, torch.arange(5))
        assert torch.isfinite(loss(cosines, torch.arange(5)))
        assert torch.isfinite(slopes).all()
        assert slopes.abs().max() <= 24 * scale
    steepest = gradient(loss, torch.ones(5, 5, dtype=torch.float64), torch.arange(5)).diagonal() / -scale
    expected = math.sin(0.1 + math.acos(1 - 1e-5)) / math.sin(math.acos(1 - 1e-5))
    gap = scale * (1 - math.cos(0.1 + math.acos(1 - 1e-5)))
    assert steepest.tolist() == pytest.approx([expected * 4 / (4 + math.exp(-gap))] * 5, rel=1e-3)


def test_attached_arcface_compiles(cosines, targets):
    torch._dynamo.reset()
    loss = ArcFaceLoss(5, 0.3, detach=False)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(gradient(compiled, cosines, targets), gradient(loss, cosines, targets))


@pytest.mark.parametrize(
    ("name", "options", "error", "match"),
    [
        ("cosface", {"margin": -0.1}, ValueError, "margin is -0.1; allowed is a finite number of at least 0"),
        ("cosface", {"margin": "1"}, TypeError, "margin is '1'"),
        ("arcface", {"margin": 1.6}, ValueError, r"margin is 1.6; allowed is a finite number in \[0, 1.5708\]"),
        ("arcface", {"margin": -0.1}, ValueError, "margin is -0.1"),
        ("arcface", {"detach": None}, ValueError, "detach is None"),
        ("sphereface", {"margin": 0.9}, ValueError, "margin is 0.9; allowed is a finite number of at least 1"),
        ("cosface", {"scale": 0}, ValueError, "scale is 0"),
        ("arcface", {"scale": math.nan}, ValueError, "scale is nan"),
        ("sphereface", {"scale": "30"}, TypeError, "scale is '30'"),
    ],
)
def test_bad_options(name, options, error, match):
    module = {"cosface": CosFaceLoss, "arcface": ArcFaceLoss, "sphereface": SphereFaceLoss}[name]
    function = {"cosface": cosface_loss, "arcface": arcface_loss, "sphereface": sphereface_loss}[name]
    with pytest.raises(error, match=match):
        module(5, **options)
    with pytest.raises(error, match=match):
        function(torch.zeros(1, 5), torch.tensor([0]), **options)


@pytest.mark.parametrize("module", [CosFaceLoss, ArcFaceLoss, SphereFaceLoss])
def test_bad_number_of_classes(module):
    with pytest.raises(ValueError, match="num_classes is 1"):
        module(1)
    with pytest.raises(TypeError, match=r"num_classes is 5\.5"):
        module(5.5)
