import pytest
import torch
from torch.autograd import gradcheck

from lt_core.losses import CentroidLoss, centroid_loss

TARGETS = torch.tensor([0, 1, 1, 3, 1, 0])


def draw(rows, seed, dtype=torch.float64):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("margin", [0.0, 50.0])
def test_value_is_that_of_the_docstring(margin):
    x, m = draw(6, 0), draw(4, 1)
    near = sum(float((x[i] - m[y]).square().sum()) for i, y in enumerate(TARGETS.tolist())) / 12
    far = sum(float((x[i] - m[j]).square().sum()) for i, y in enumerate(TARGETS.tolist()) for j in range(4) if j != y)
    expected = 0.7 * (near + 0.2 * max(0.0, margin - far / 24))
    assert float(centroid_loss(x, TARGETS, m, margin, 0.2, 0.7)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("weight", [0.01, 1.0])
def test_centres_are_drawn_by_their_images_whatever_the_weight(weight):
    x, m = draw(6, 0).requires_grad_(), draw(4, 1).requires_grad_()
    centroid_loss(x, TARGETS, m, repel=0.0, weight=weight).backward()
    torch.testing.assert_close(x.grad, weight * (x - m[TARGETS]).detach() / 6)
    for c in range(4):
        own = (c == TARGETS).nonzero().flatten()
        expected = sum((m[c] - x[i]).detach() for i in own) / (6 * (1 + len(own)))
        torch.testing.assert_close(m.grad[c], expected + torch.zeros(3, dtype=torch.float64))
    assert not m.grad[2].any()  # a class without an image


def test_gradient_on_features_and_the_hinge_on_centres():
    x, m = draw(6, 0).requires_grad_(), draw(4, 1)
    assert gradcheck(lambda f: centroid_loss(f, TARGETS, m, 50.0, 0.2, 0.7), (x,))
    near, far = m.clone().requires_grad_(), m.clone().requires_grad_()
    centroid_loss(x.detach(), TARGETS, near, 50.0, 0.2, 0.7).backward()
    centroid_loss(x.detach(), TARGETS, far, 0.0, 0.2, 0.7).backward()
    hinge = near.grad - far.grad
    for j in range(4):
        others = (j != TARGETS).nonzero().flatten()
        expected = -0.7 * 0.2 * sum(2 * (m[j] - x[i]).detach() for i in others) / 24
        torch.testing.assert_close(hinge[j], expected)


def test_module_is_function_and_large_features_stay_finite():
    x, m = draw(6, 0), draw(4, 1)
    options = {"margin": 3.0, "repel": 0.5, "weight": 0.1}
    assert torch.equal(CentroidLoss(**options)(x, TARGETS, m), centroid_loss(x, TARGETS, m, **options))
    large = (1e4 * draw(6, 0, torch.float32)).requires_grad_()
    value = centroid_loss(large, TARGETS, m.float())
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(large.grad).all()
    assert centroid_loss(x.bfloat16(), TARGETS, m.float()).dtype == torch.float32


def test_bad_input_is_refused():
    x, m = draw(6, 0), draw(4, 1)
    for match, features, targets, centroids, options in (
        ("features has shape", x[0], TARGETS, m, {}),
        ("features holds NaN", x * float("nan"), TARGETS, m, {}),
        ("centroids has shape", x, TARGETS, m[:, :2], {}),
        ("targets holds the label 6", x, TARGETS + 6, m, {}),
        ("margin is -1", x, TARGETS, m, {"margin": -1.0}),
        ("repel is -1", x, TARGETS, m, {"repel": -1.0}),
    ):
        with pytest.raises(ValueError, match=match):
            centroid_loss(features, targets, centroids, **options)
    with pytest.raises(TypeError, match=r"targets is torch\.float32"):
        centroid_loss(x, TARGETS.float(), m)
    with pytest.raises(ValueError, match="weight is -1"):
        CentroidLoss(weight=-1.0)


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float16,) * 2, (torch.bfloat16,) * 2])
def test_centroids_may_have_the_features_type_or_a_wider_one(dtypes):
    x, m = draw(6, 0).to(dtypes[0]), draw(4, 1).to(dtypes[1])
    expected = centroid_loss(x.double(), TARGETS, m.double())
    assert float(centroid_loss(x, TARGETS, m)) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(TypeError, match="centroids"):
        centroid_loss(x, TARGETS, m.tolist())
