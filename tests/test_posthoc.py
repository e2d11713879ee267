import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck

from lt_core.posthoc import adjust_logits, rebalance_logits, rebalance_predictions, tau_normalize

COUNTS = [500, 40, 3]


def probabilities(rows=50, dtype=torch.float64, seed=0):
    logits = 2 * torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (logits + torch.tensor([2.0, 0.0, -1.0])).softmax(1).to(dtype)


def test_adjust_logits_by_hand():
    logits = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    expected = [z - 1.5 * math.log(n / 543) for z, n in zip([1.0, 2.0, 3.0], COUNTS, strict=True)]
    assert adjust_logits(logits, COUNTS, 1.5)[0].tolist() == pytest.approx(expected, rel=1e-12)
    assert torch.equal(adjust_logits(logits, COUNTS, 0.0), logits)


@given(st.floats(0, 3), st.integers(2, 9))
def test_adjust_logits_divides_probabilities_by_the_prior(tau, factor):
    p = probabilities(5)
    adjusted = adjust_logits(p.log(), [factor * n for n in COUNTS], tau).softmax(1)
    scaled = p / torch.tensor(COUNTS, dtype=torch.float64) ** tau
    torch.testing.assert_close(adjusted, scaled / scaled.sum(1, keepdim=True))


def test_adjust_logits_recovers_balance():
    # A calibrated model whose evidence is empty predicts the prior; adjusted, it has no preference left.
    logits = torch.tensor(COUNTS, dtype=torch.float64).log()[None]
    assert adjust_logits(logits, COUNTS).std() < 1e-12


def test_rebalance_by_hand():
    p = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.5, 0.5]], dtype=torch.float64)
    for tau in (0.0, 0.5, 1.0, 1.7):
        expected = [[a / 2.1**tau, b / 0.9**tau] for a, b in p.tolist()]
        torch.testing.assert_close(rebalance_predictions(p, tau), torch.tensor(expected, dtype=torch.float64))


@given(st.integers(0, 1000))
def test_rebalance_at_tau_one_gives_columns_of_mass_one_and_leaves_rows_unnormalised(seed):
    balanced = rebalance_predictions(probabilities(seed=seed))
    torch.testing.assert_close(balanced.sum(0), torch.ones(3, dtype=torch.float64))
    assert (balanced.sum(1) - 1).abs().max() > 0.1


def test_rebalance_is_transductive_and_ignores_the_order_of_rows():
    p = probabilities()
    order = torch.randperm(len(p), generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(rebalance_predictions(p)[order], rebalance_predictions(p[order]))
    assert not torch.allclose(rebalance_predictions(p)[:10], rebalance_predictions(p[:10]))
    # One sample alone: every class is divided by itself, so the prediction carries no information.
    assert rebalance_predictions(p[:1]).tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_half_precision_is_widened(dtype):
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    p = probabilities(dtype=dtype)
    assert rebalance_predictions(p).dtype == wide
    torch.testing.assert_close(rebalance_predictions(p).double(), p.double() / p.double().sum(0), rtol=1e-5, atol=0)
    assert adjust_logits(p, COUNTS).dtype == wide
    assert tau_normalize(p).dtype == wide


def test_rebalance_takes_float64_made_from_float32():
    p = (30 * torch.randn(40, 1000, generator=torch.Generator().manual_seed(0))).softmax(1).double()
    assert rebalance_predictions(p + 1e-12).shape == (40, 1000)


@given(st.floats(0, 3), st.integers(0, 1000))
def test_rebalance_in_log_space_is_the_logarithm(tau, seed):
    p = probabilities(seed=seed)
    logits = p.log() + torch.arange(len(p))[:, None]  # a softmax does not see a constant
    torch.testing.assert_close(rebalance_logits(logits, tau), rebalance_predictions(p, tau).log())
    rows = rebalance_predictions(p, tau)
    torch.testing.assert_close(rebalance_logits(logits, tau).softmax(1), rows / rows.sum(1, keepdim=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_rebalance_in_log_space_at_the_extremes(dtype):
    """Where probabilities underflow, also in float64, the classes are told apart as they are by hand."""
    logits = torch.tensor([[1e4, -1e4, 0.0], [1e4, 0.0, -1e4], [1e4, 0.0, 0.0]]).to(dtype)
    scores = rebalance_logits(logits)
    assert scores.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    # log p is 0 or the distance to class 0; the columns' log-sums are log 3, -1e4 + log 2 and -1e4 + log 2
    top, two, three = logits.double()[0, 0].item(), math.log(2), math.log(3)
    expected = [[-three, -top - two, -two], [-three, -two, -top - two], [-three, -two, -two]]
    torch.testing.assert_close(scores.double(), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=2e-3)
    with pytest.raises(ValueError, match=r"\[:, 1\] is 0 in every row.*rebalance_logits"):
        rebalance_predictions(logits.double().softmax(1))


def test_rebalance_in_log_space_of_a_collapsed_network():
    """All images get the same logits: nothing is known, and every class gets the same score."""
    collapsed = torch.tensor([[2e5, -3e4, 0.0]]).expand(40, -1)
    scores = rebalance_logits(collapsed)
    torch.testing.assert_close(scores, torch.full((40, 3), -math.log(40)), rtol=0, atol=0.05)
    assert torch.equal(rebalance_logits(collapsed, 0.0), collapsed.log_softmax(1))


def test_numbers_of_other_libraries():
    logits = probabilities().log()
    for tau in (np.float32(0.5), np.array(0.5), torch.tensor([0.5])):
        assert torch.equal(adjust_logits(logits, np.array(COUNTS), tau), adjust_logits(logits, COUNTS, 0.5))
        assert torch.equal(rebalance_logits(logits, tau), rebalance_logits(logits, 0.5))
        assert torch.equal(rebalance_predictions(logits.exp(), tau), rebalance_predictions(logits.exp(), 0.5))
        assert torch.equal(tau_normalize(logits, tau), tau_normalize(logits, 0.5))


def test_nothing_is_float64_for_float32(no_float64):
    p, w = probabilities(dtype=torch.float32), torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    expected = adjust_logits(p.double().log(), COUNTS, 0.7).float()
    with no_float64():
        torch.testing.assert_close(adjust_logits(p.log(), COUNTS, 0.7), expected)
        rebalance_predictions(p, 0.7)
        rebalance_logits(p.log(), 0.7)
        tau_normalize(w, 0.7)


def test_tau_normalize():
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.1]], dtype=torch.float64)
    torch.testing.assert_close(tau_normalize(rows).norm(dim=1), torch.ones(2, dtype=torch.float64))
    assert torch.equal(tau_normalize(rows, 0.0), rows)
    torch.testing.assert_close(tau_normalize(rows, 0.5)[0], rows[0] / math.sqrt(5))
    torch.testing.assert_close(tau_normalize(rows, 2.0)[1], rows[1] / 0.01)
    assert gradcheck(lambda w: tau_normalize(w, 0.7), (rows.requires_grad_(),))


BAD = [
    (lambda: adjust_logits(torch.zeros(1, 3), [5, 0, 1]), ValueError, r"class_counts\[1\] is 0"),
    (lambda: adjust_logits(torch.zeros(1, 4), COUNTS), ValueError, "4 columns; class_counts has 3"),
    (lambda: adjust_logits(torch.zeros(3), COUNTS), ValueError, "logits has shape"),
    (lambda: adjust_logits(torch.zeros(1, 3).long(), COUNTS), TypeError, "logits is torch.int64"),
    (lambda: adjust_logits(torch.full((1, 3), math.nan), COUNTS), ValueError, "NaN"),
    (lambda: adjust_logits(torch.zeros(1, 3), COUNTS, -1.0), ValueError, "tau is -1.0"),
    (lambda: adjust_logits(torch.zeros(1, 3), COUNTS, "1"), TypeError, "tau is '1'"),
    (lambda: rebalance_predictions(torch.randn(4, 3)), ValueError, "probability lies in"),
    (lambda: rebalance_predictions(torch.full((4, 3), 0.5)), ValueError, r"probabilities\[0\] sums to 1.5"),
    (lambda: rebalance_predictions(torch.full((4, 3), math.nan)), ValueError, "NaN"),
    (lambda: rebalance_predictions(torch.tensor([[1.0, 0.0], [1.0, 0.0]])), ValueError, r"\[:, 1\] is 0 in every row"),
    (lambda: rebalance_predictions(torch.zeros(0, 3)), ValueError, "N >= 1"),
    (lambda: rebalance_predictions(torch.ones(3)), ValueError, "shape"),
    (lambda: rebalance_predictions([[0.5, 0.5]]), TypeError, "probabilities is list"),
    (lambda: rebalance_predictions(probabilities(), -0.5), ValueError, "tau is -0.5"),
    (lambda: rebalance_predictions(probabilities(), math.nan), ValueError, "tau is nan"),
    (lambda: rebalance_logits(torch.zeros(0, 3)), ValueError, "N >= 1"),
    (lambda: rebalance_logits(torch.zeros(3)), ValueError, "logits has shape"),
    (lambda: rebalance_logits(torch.zeros(2, 3).long()), TypeError, "logits is torch.int64"),
    (lambda: rebalance_logits(torch.full((2, 3), math.nan)), ValueError, "NaN"),
    (lambda: rebalance_logits(torch.tensor([[0.0, -math.inf]])), ValueError, "logits holds -inf; every value must be"),
    (lambda: rebalance_logits(torch.zeros(2, 3), -1.0), ValueError, "tau is -1.0"),
    (lambda: tau_normalize(torch.tensor([[1.0, 2.0], [0.0, 0.0]])), ValueError, r"weight\[1\] has norm 0"),
    (lambda: tau_normalize(torch.tensor([[1.0, math.nan]])), ValueError, r"weight\[0\] has norm nan"),
    (lambda: tau_normalize(torch.ones(3)), ValueError, "weight has shape"),
    (lambda: tau_normalize(torch.ones(3, 3).int()), TypeError, "weight is torch.int32"),
    (lambda: tau_normalize(torch.ones(3, 3), -1), ValueError, "tau is -1"),
]


@pytest.mark.parametrize(("call", "error", "match"), BAD)
def test_bad_input(call, error, match):
    with pytest.raises(error, match=match):
        call()
