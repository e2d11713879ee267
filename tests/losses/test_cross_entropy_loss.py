import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import lt_core as lt
from lt_core.losses import class_balanced_weights

COUNT_LISTS = st.lists(st.integers(1, 10**6), min_size=2, max_size=20)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0])])
def test_is_torch_cross_entropy(targets, weight, reduction):
    logits = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(1))
    ours = lt.losses.CrossEntropyLoss(weight, reduction)(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, weight, reduction=reduction))


def test_weights_accept_what_torch_accepts(targets, counts):
    weight = class_balanced_weights(counts)
    logits = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(1))
    ours = lt.losses.CrossEntropyLoss(weight)(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits, targets, weight))


def exact_weights(counts, beta):
    rational = Fraction(beta)
    raw = [1 / (1 - rational**n) for n in counts]
    return [float(r * len(counts) / sum(raw)) for r in raw]


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.9999, 1 - 1e-12, 1 - 2**-53])
def test_effective_number_against_exact_fractions(beta):
    counts = [50, 7, 3, 1]
    weights = class_balanced_weights(counts, beta, torch.float64)
    assert weights.tolist() == pytest.approx(exact_weights(counts, beta), rel=1e-12)


def test_limits_of_beta():
    counts = [500, 50, 5]
    assert class_balanced_weights(counts, 0.0).tolist() == [1.0, 1.0, 1.0]
    inverse = 1 / torch.tensor(counts, dtype=torch.float64)
    torch.testing.assert_close(
        class_balanced_weights(counts, 1 - 1e-12, torch.float64), 3 * inverse / inverse.sum(), rtol=1e-8, atol=0
    )


@given(COUNT_LISTS, st.floats(0.0, 0.99999))
def test_weights_sum_to_the_number_of_classes_and_favour_the_rare(counts, beta):
    weights = class_balanced_weights(counts, beta, torch.float64)
    assert weights.sum().item() == pytest.approx(len(counts))
    order = sorted(range(len(counts)), key=lambda c: counts[c])
    ranked = weights[order]
    assert (ranked[:-1] >= ranked[1:] * (1 - 1e-12)).all()


@given(COUNT_LISTS)
def test_reordering_the_classes_reorders_every_class_constant(counts):
    order = list(range(len(counts)))[::-1]
    reordered = [counts[c] for c in order]
    for constant in (class_balanced_weights, lt.losses.ldam_margins, lt.losses.quantity_factor):
        torch.testing.assert_close(constant(reordered), constant(counts)[order])


@pytest.mark.parametrize(
    ("beta", "error"),
    [(1.0, ValueError), (-0.1, ValueError), (1.5, ValueError), (math.nan, ValueError), ("0.9", TypeError)],
)
def test_bad_beta(beta, error):
    with pytest.raises(error, match="beta is"):
        class_balanced_weights([5, 3], beta)


def test_dtype_of_class_constants():
    for constant in (class_balanced_weights, lt.losses.ldam_margins, lt.losses.quantity_factor):
        assert constant([5, 3]).dtype == torch.float32
        assert constant([5, 3], dtype=torch.float64).dtype == torch.float64
