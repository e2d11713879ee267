import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lt_core.losses import CosineMarginLoss, LDAMLoss, ldam_loss, ldam_margins


def test_margins_at_a_ratio_of_one_hundred():
    margins = ldam_margins([500, 50, 5], dtype=torch.float64)
    assert margins[0].item() == pytest.approx(0.158, abs=5e-4)
    assert margins[2].item() == 0.5
    expected = [0.5 * n**-0.25 / 5**-0.25 for n in (500, 50, 5)]
    assert margins.tolist() == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=20), st.floats(0.01, 2))
def test_margins_fall_with_the_count_from_max_margin(counts, max_margin):
    margins = ldam_margins(counts, max_margin, torch.float64)
    assert margins.max().item() == pytest.approx(max_margin)
    ranked = margins[torch.tensor(counts).argsort()]
    assert (ranked[:-1] >= ranked[1:] * (1 - 1e-12)).all()  # equal counts may differ by a rounding
    assert (margins > 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_no_margin_is_scaled_cross_entropy(targets, counts, reduction):
    draw = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    cosines, weight = torch.tanh(draw), torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)
    ours = ldam_loss(cosines, targets, counts, max_margin=0.0, scale=30.0, weight=weight, reduction=reduction)
    torch.testing.assert_close(ours, F.cross_entropy(30.0 * cosines, targets, weight, reduction=reduction))


def test_template_needs_a_margin_and_takes_any():
    with pytest.raises(TypeError, match="margin"):
        CosineMarginLoss(num_classes=3)

    class Nothing(CosineMarginLoss):
        def margin(self, cosines, targets):
            return torch.zeros_like(cosines[:, 0])

    cosines, targets = torch.tensor([[0.3, -0.2, 0.9]]), torch.tensor([1])
    torch.testing.assert_close(Nothing(3, scale=16.0)(cosines, targets), F.cross_entropy(16.0 * cosines, targets))


def test_margin_sees_every_cosine_and_returns_one_margin_a_sample():
    class RunnerUp(CosineMarginLoss):
        def margin(self, cosines, targets):
            return cosines.topk(2).values[:, 1]

    cosines, targets = torch.tensor([[0.3, -0.2, 0.9]]), torch.tensor([2])
    expected = F.cross_entropy(16.0 * torch.tensor([[0.3, -0.2, 0.6]]), targets)
    torch.testing.assert_close(RunnerUp(3, scale=16.0)(cosines, targets), expected)

    class Row(CosineMarginLoss):
        def margin(self, cosines, targets):
            return cosines

    with pytest.raises(ValueError, match=r"margin returned shape \(1, 3\); \(1,\) is needed"):
        Row(3)(cosines, targets)


def test_only_the_target_loses_its_margin():
    class Constant(CosineMarginLoss):
        def margin(self, cosines, targets):
            return torch.full_like(cosines[:, 0], 0.35)

    cosines, targets = torch.tensor([[0.3, -0.2, 0.9]], dtype=torch.float64), torch.tensor([1])
    expected = F.cross_entropy(16.0 * torch.tensor([[0.3, -0.55, 0.9]], dtype=torch.float64), targets)
    torch.testing.assert_close(Constant(3, scale=16.0)(cosines, targets), expected)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scale": 0.0}, ValueError),
        ({"scale": -1.0}, ValueError),
        ({"scale": math.inf}, ValueError),
        ({"scale": "30"}, TypeError),
        ({"max_margin": -0.1}, ValueError),
        ({"max_margin": math.nan}, ValueError),
        ({"max_margin": None}, TypeError),
    ],
)
def test_bad_options(options, error, counts):
    name = next(iter(options))
    with pytest.raises(error, match=f"{name} is"):
        LDAMLoss(counts, **options)
    with pytest.raises(error, match=f"{name} is"):
        ldam_loss(torch.zeros(1, 5), torch.tensor([0]), counts, **options)
