import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lt_core.losses import VSLoss, logit_adjusted_loss, vs_loss

COUNTS = st.lists(st.integers(1, 10**5), min_size=2, max_size=12)


@pytest.fixture
def logits(targets):
    return 3 * torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def test_temperatures_at_a_ratio_of_one_hundred():
    assert VSLoss([500, 50, 5], gamma=0.5).temperatures.tolist() == pytest.approx([1.0, 10**0.5, 10.0])
    assert VSLoss([500, 50, 5], gamma=0.0).temperatures.tolist() == [1.0, 1.0, 1.0]


@given(COUNTS, st.floats(0, 2))
def test_temperatures_fall_with_the_count_to_one(counts, gamma):
    ranked = VSLoss(counts, gamma).temperatures[torch.tensor(counts).argsort()]
    assert (ranked[:-1] >= ranked[1:] * (1 - 1e-12)).all()
    assert ranked[-1].item() == 1.0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("tau", [0.0, 0.7, 1.0])
def test_without_temperatures_it_is_the_logit_adjusted_loss(logits, targets, counts, tau, reduction):
    weight = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)
    expected = logit_adjusted_loss(logits, targets, counts, tau, weight, reduction)
    torch.testing.assert_close(vs_loss(logits, targets, counts, 0.0, tau, weight, reduction), expected)


def test_without_a_prior_it_is_cross_entropy_at_each_class_s_temperature(logits, targets, counts):
    divided = logits / (500 / torch.tensor(counts, dtype=torch.float64)) ** 0.2
    torch.testing.assert_close(vs_loss(logits, targets, counts, 0.2, 0.0), F.cross_entropy(divided, targets))


@given(COUNTS, st.floats(0.05, 1), st.floats(0, 2), st.floats(-5, 5))
def test_a_shift_by_the_temperatures_changes_the_loss_nowhere(counts, gamma, tau, shift):
    """So the loss leaves a direction open in which the largest logit changes: it has no decision of its own."""
    loss = VSLoss(counts, gamma, tau, reduction="none")
    z = torch.randn(4, len(counts), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    targets = torch.arange(4) % len(counts)
    torch.testing.assert_close(loss(z + shift * loss.temperatures, targets), loss(z, targets), rtol=1e-7, atol=1e-7)


def test_the_shift_changes_the_prediction():
    loss, z = VSLoss([100, 1], 0.5, 1.0), torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    moved = z + loss.temperatures
    torch.testing.assert_close(loss(moved, torch.tensor([0])), loss(z, torch.tensor([0])))
    assert z.argmax().item() != moved.argmax().item()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"gamma": -0.1}, ValueError),
        ({"gamma": math.inf}, ValueError),
        ({"gamma": "1"}, TypeError),
        ({"tau": -1}, ValueError),
        ({"tau": None}, TypeError),
    ],
)
def test_bad_options(options, error, counts):
    name = next(iter(options))
    with pytest.raises(error, match=f"{name} is"):
        VSLoss(counts, **options)
    with pytest.raises(error, match=f"{name} is"):
        vs_loss(torch.zeros(1, 5), torch.tensor([0]), counts, **options)
