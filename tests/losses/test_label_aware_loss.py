"""Label-aware smoothing: value and gradient by hand, its smoothing by class, its limits."""

import math

import pytest
import torch
from torch.func import grad, vmap
from torch.nn import functional as F

import lt_core as lt
from lt_core.losses import LabelAwareSmoothingLoss, label_aware_smoothing_loss

COUNTS = [500, 90, 20, 7, 3]
WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]


def logits(rows):
    return 3 * torch.randn(rows, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def smoothing(n):
    return 0.1 + 0.3 * math.sin(math.pi / 2 * (n - 3) / 497)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_value_and_gradient_are_those_of_the_docstring(targets, weight):
    z = logits(len(targets)).requires_grad_()
    losses = label_aware_smoothing_loss(z, targets, COUNTS, weight=weight, reduction="none")
    losses.sum().backward()
    for row, y, loss, slope in zip(z.tolist(), targets.tolist(), losses.tolist(), z.grad.tolist(), strict=True):
        w, e = 1.0 if weight is None else weight[y], smoothing(COUNTS[y])
        total = sum(math.exp(v) for v in row)
        p = [math.exp(v) / total for v in row]
        soft = [(1 - e) * (j == y) + e / 5 for j in range(5)]
        assert loss == pytest.approx(-w * sum(q * math.log(pj) for q, pj in zip(soft, p, strict=True)))
        assert slope == pytest.approx([w * (pj - q) for q, pj in zip(soft, p, strict=True)])


def test_smoothing_rises_from_the_tail_to_the_head():
    loss = LabelAwareSmoothingLoss(lt.data.class_counts(), head=0.4, tail=0.1)
    assert loss.smoothing[0].item() == pytest.approx(0.4)
    assert loss.smoothing[-1].item() == pytest.approx(0.1)
    assert loss.smoothing[49].item() == pytest.approx(0.14, abs=0.005)  # the sine is in the count
    assert (loss.smoothing.diff() <= 0).all()
    assert LabelAwareSmoothingLoss([7, 7, 7]).smoothing.tolist() == [0.1] * 3


def test_its_ends_are_cross_entropy_and_torchs_smoothing(targets):
    z = logits(len(targets))
    torch.testing.assert_close(label_aware_smoothing_loss(z, targets, COUNTS, 0.0, 0.0), F.cross_entropy(z, targets))
    torch.testing.assert_close(
        label_aware_smoothing_loss(z, targets, COUNTS, 0.3, 0.3), F.cross_entropy(z, targets, label_smoothing=0.3)
    )


def test_per_sample_gradients_by_function_transforms(targets):
    targets[2] = -100
    z = logits(len(targets)).requires_grad_()
    loss = LabelAwareSmoothingLoss(COUNTS, reduction="sum")
    (expected,) = torch.autograd.grad(loss(z, targets), z)
    torch.testing.assert_close(vmap(grad(lambda row, y: loss(row[None], y[None])))(z.detach(), targets), expected)
    assert expected[2].eq(0).all()


@pytest.mark.parametrize("name", ["head", "tail"])
@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_bad_options(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        LabelAwareSmoothingLoss(COUNTS, **{name: value})
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        label_aware_smoothing_loss(torch.zeros(1, 5), torch.tensor([0]), COUNTS, **{name: value})
