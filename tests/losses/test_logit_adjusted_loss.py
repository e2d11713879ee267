import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lt_core.losses import (
    BalancedSoftmaxLoss,
    LogitAdjustedLoss,
    balanced_softmax_loss,
    logit_adjusted_loss,
)

COUNTS = st.lists(st.integers(1, 10**5), min_size=4, max_size=4)
LOGITS = st.lists(st.floats(-20, 20), min_size=4, max_size=4)


def batch(logits):
    return torch.tensor([logits] * 4, dtype=torch.float64), torch.arange(4)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_degenerate_cases_are_cross_entropy(targets, counts, reduction):
    logits = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)
    expected = F.cross_entropy(logits, targets, weight, reduction=reduction)
    no_tau = logit_adjusted_loss(logits, targets, counts, 0.0, weight, reduction)
    torch.testing.assert_close(no_tau, expected, rtol=0, atol=0)
    equal = [13] * 5
    torch.testing.assert_close(logit_adjusted_loss(logits, targets, equal, 1.7, weight, reduction), expected)
    torch.testing.assert_close(balanced_softmax_loss(logits, targets, equal, weight, reduction), expected)


@given(LOGITS, COUNTS)
def test_balanced_softmax_is_logit_adjusted_at_tau_one(logits, counts):
    scores, targets = batch(logits)
    torch.testing.assert_close(
        balanced_softmax_loss(scores, targets, counts, reduction="none"),
        logit_adjusted_loss(scores, targets, counts, 1.0, reduction="none"),
    )


@given(LOGITS, COUNTS)
def test_balanced_softmax_counts_each_class_n_times(logits, counts):
    scores, targets = batch(logits)
    masses = [n * math.exp(z - max(logits)) for n, z in zip(counts, logits, strict=True)]
    expected = [-math.log(m / sum(masses)) for m in masses]
    losses = balanced_softmax_loss(scores, targets, counts, reduction="none")
    assert losses.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(LOGITS, COUNTS, st.floats(-50, 50), st.floats(0, 3), st.integers(2, 9))
def test_invariance_to_a_shift_of_the_logits_and_a_factor_of_the_counts(logits, counts, shift, tau, factor):
    scores, targets = batch(logits)
    more = [factor * n for n in counts]
    torch.testing.assert_close(
        logit_adjusted_loss(scores, targets, counts, tau, reduction="none"),
        logit_adjusted_loss(scores + shift, targets, more, tau, reduction="none"),
        rtol=1e-7,
        atol=1e-9,
    )


@given(LOGITS, COUNTS, st.permutations(range(4)), st.floats(0, 3))
def test_renaming_the_classes_changes_nothing(logits, counts, order, tau):
    scores, targets = batch(logits)
    inverse = torch.tensor(order).argsort()
    torch.testing.assert_close(
        logit_adjusted_loss(scores, targets, counts, tau, reduction="none"),
        logit_adjusted_loss(scores[:, order], inverse[targets], [counts[c] for c in order], tau, reduction="none"),
    )


@given(LOGITS, COUNTS)
def test_rare_classes_pay_more_than_in_cross_entropy(logits, counts):
    scores, targets = batch(logits)
    adjusted = balanced_softmax_loss(scores, targets, counts, reduction="none")
    plain = F.cross_entropy(scores, targets, reduction="none")
    rarest, commonest = counts.index(min(counts)), counts.index(max(counts))
    assert adjusted[rarest] >= plain[rarest] - 1e-9
    assert adjusted[commonest] <= plain[commonest] + 1e-9


@pytest.mark.parametrize(("tau", "error"), [(-1.0, ValueError), (math.nan, ValueError), ("1", TypeError)])
def test_bad_tau(tau, error, counts):
    with pytest.raises(error, match="tau is"):
        LogitAdjustedLoss(counts, tau)
    with pytest.raises(error, match="tau is"):
        logit_adjusted_loss(torch.zeros(1, 5), torch.tensor([0]), counts, tau)


def test_counts_and_columns_must_agree(counts):
    for loss in (LogitAdjustedLoss(counts), BalancedSoftmaxLoss(counts)):
        with pytest.raises(ValueError, match="logits has 3 columns; 5 classes were declared"):
            loss(torch.zeros(1, 3), torch.tensor([0]))
