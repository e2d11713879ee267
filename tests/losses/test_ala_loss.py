import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.autograd.gradcheck import GradcheckError
from torch.nn import functional as F

from lt_core.losses import ALALoss, ala_loss, difficulty_factor, ldam_loss, ldam_margins, quantity_factor

QUANTITIES = ["log", "log2", "ldam", None]
DIFFICULTIES = [True, False, "probability"]


@pytest.fixture
def cosines(targets):
    draw = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return 0.9 * torch.tanh(draw)


def gradient(cosines, targets, counts, **options):
    leaf = cosines.clone().requires_grad_()
    ala_loss(leaf, targets, counts, reduction="sum", **options).backward()
    return leaf.grad


def test_quantity_factors_at_a_ratio_of_one_hundred():
    counts = [500, 50, 5]
    assert quantity_factor(counts).tolist() == pytest.approx([0.217, 1 / math.log(11), 1.443], abs=5e-4)
    assert quantity_factor(counts, "log2").tolist() == pytest.approx(
        [math.log(2) / math.log(101), math.log(2) / math.log(11), 1.0]
    )
    assert quantity_factor(counts, "ldam").tolist() == pytest.approx([0.158, 0.5 * 0.1**0.25, 0.5], abs=5e-4)
    assert quantity_factor(counts, None).tolist() == [1.0, 1.0, 1.0]
    # The canonical "IF 200" subset has a ratio of 250.
    assert quantity_factor([500, 2])[0].item() == pytest.approx(0.181, abs=5e-4)


@pytest.mark.parametrize("quantity", ["log", "log2", "ldam"])
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=20))
def test_quantity_falls_with_the_count(quantity, counts):
    ranked = quantity_factor(counts, quantity, torch.float64)[torch.tensor(counts).argsort()]
    assert (ranked[:-1] >= ranked[1:]).all()
    assert (ranked > 0).all()
    assert ranked[0].item() == pytest.approx({"log": 1 / math.log(2), "log2": 1.0, "ldam": 0.5}[quantity])


@pytest.mark.parametrize("quantity", QUANTITIES)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=20), size=st.floats(1e-3, 10))
def test_size_is_the_rarest_classs_factor_and_keeps_the_shape(quantity, counts, size):
    plain, sized = (quantity_factor(counts, quantity, torch.float64, s) for s in (None, size))
    assert sized.max().item() == pytest.approx(size, rel=1e-12)
    torch.testing.assert_close(sized / sized.max(), plain / plain.max(), rtol=1e-12, atol=0)


def test_shapes_at_each_others_size(counts):
    torch.testing.assert_close(quantity_factor(counts, "log", size=1.0), quantity_factor(counts, "log2"))
    at_logs_size = quantity_factor(counts, "ldam", torch.float64, size=1 / math.log(2))
    torch.testing.assert_close(at_logs_size, ldam_margins(counts, 1 / math.log(2), torch.float64))
    assert quantity_factor([500, 50, 5], "log", size=0.5).tolist() == pytest.approx(
        [0.5 * math.log(2) / math.log(r + 1) for r in (100, 10, 1)]
    )


def test_size_without_a_quantity_is_a_constant_factor(cosines, targets, counts):
    options = {"quantity": None, "size": 0.35, "scale": 12.0}
    cosface = F.cross_entropy(12.0 * (cosines - 0.35 * F.one_hot(targets, 5)), targets)
    torch.testing.assert_close(ala_loss(cosines, targets, counts, difficulty=False, **options), cosface)
    factors = ALALoss(counts, **options).factors(cosines, targets)
    assert factors["QF"].tolist() == pytest.approx([0.35] * len(targets))
    torch.testing.assert_close(factors["A"], 0.35 * factors["DF"])


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_difficulty_is_in_the_unit_interval_and_falls_with_the_cosine(a, b):
    low, high = difficulty_factor(torch.tensor(sorted([a, b]), dtype=torch.float64)).tolist()
    assert 0.0 <= high <= low <= 1.0


def test_difficulty_is_detached_unless_asked():
    cosine = torch.tensor([0.3], requires_grad=True)
    assert not difficulty_factor(cosine).requires_grad
    assert difficulty_factor(cosine, detach=False).requires_grad


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_without_factors_it_is_scaled_cross_entropy(cosines, targets, counts, reduction):
    weight = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.0], dtype=torch.float64)
    options = {"difficulty": False, "quantity": None, "weight": weight, "reduction": reduction}
    expected = F.cross_entropy(30.0 * cosines, targets, weight, reduction=reduction)
    torch.testing.assert_close(ala_loss(cosines, targets, counts, **options), expected, rtol=0, atol=0)
    torch.testing.assert_close(ALALoss(counts, **options)(cosines, targets), expected, rtol=0, atol=0)


def test_perfect_samples_get_no_adjustment(counts):
    cosines = torch.eye(5, dtype=torch.float64)
    targets = torch.arange(5)
    expected = F.cross_entropy(30.0 * cosines, targets, reduction="none")
    torch.testing.assert_close(ala_loss(cosines, targets, counts, reduction="none"), expected)


def test_quantity_ldam_without_difficulty_is_ldam(cosines, targets, counts):
    torch.testing.assert_close(
        ala_loss(cosines, targets, counts, difficulty=False, quantity="ldam"), ldam_loss(cosines, targets, counts)
    )
    assert torch.equal(quantity_factor(counts, "ldam"), ldam_margins(counts, 0.5))


def test_difficulty_from_the_probability(cosines, targets, counts):
    loss = ALALoss(counts, scale=7.0, difficulty="probability")
    probabilities = torch.softmax(7.0 * cosines, 1).gather(1, targets[:, None])[:, 0]  # of the unadjusted scores
    factors = loss.factors(cosines, targets)
    torch.testing.assert_close(factors["DF"], 1 - probabilities)
    assert not loss.margin(cosines.requires_grad_(), targets).requires_grad
    assert ALALoss(counts, difficulty="probability", detach=False).margin(cosines, targets).requires_grad
    # Sharper than the cosine's, the paper's reason to prefer that one: at s = 30 every sample here is at 0 or 1.
    sharp, soft = (ALALoss(counts, difficulty=d).factors(cosines, targets)["DF"] for d in ("probability", True))
    assert ((sharp - 0.5).abs() > 0.48).all()
    assert ((soft - 0.5).abs() < 0.45).all()


def test_gradient_through_the_probability(cosines, targets, counts):
    options = {"difficulty": "probability", "scale": 5.0}
    detached = gradient(cosines, targets, counts, **options)
    attached = gradient(cosines, targets, counts, detach=False, **options)
    p = torch.softmax(5.0 * cosines, 1)
    one_hot = F.one_hot(targets, 5).double()
    margin = (1 - p.gather(1, targets[:, None])) * quantity_factor(counts, dtype=torch.float64)[targets][:, None]
    adjusted = torch.softmax(5.0 * (cosines - margin * one_hot), 1)
    own, own_adjusted = (q.gather(1, targets[:, None]) for q in (p, adjusted))
    quantity = quantity_factor(counts, dtype=torch.float64)[targets][:, None]
    torch.testing.assert_close(detached, 5.0 * (adjusted - one_hot))
    torch.testing.assert_close(
        attached - detached, 25.0 * quantity * own * (1 - own_adjusted) * (p - one_hot), rtol=1e-9, atol=1e-12
    )
    assert (attached - detached).abs().max() > 0.1
    assert attached.sum(1).abs().max() < 1e-12  # unlike the cosine's


# Not in float16: a gradient through the probability grows with the square of s, and at 1e4 it cannot hold that.
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_extremes_are_finite_without_detaching(counts, dtype, difficulty):
    loss = ALALoss(counts, scale=1e4, difficulty=difficulty, detach=False, reduction="sum")
    for values in (2 * torch.eye(5) - 1, 1 - 2 * torch.eye(5), torch.ones(5, 5), torch.zeros(5, 5)):
        cosines = values.to(dtype).requires_grad_()
        result = loss(cosines, torch.arange(5))
        result.backward()
        assert torch.isfinite(result)
        assert torch.isfinite(cosines.grad).all()
        factors = loss.factors(cosines, torch.arange(5))
        assert all((value >= 0).all() and torch.isfinite(value).all() for value in factors.values())


@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("quantity", QUANTITIES)
@pytest.mark.parametrize("size", [None, 0.7])
def test_function_is_module_in_every_variant(cosines, targets, counts, difficulty, quantity, detach, size):
    options = {"difficulty": difficulty, "quantity": quantity, "detach": detach, "size": size, "scale": 12.0}
    leaf = cosines.clone().requires_grad_()
    ALALoss(counts, reduction="sum", **options)(leaf, targets).backward()
    torch.testing.assert_close(leaf.grad, gradient(cosines, targets, counts, **options), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("difficulty", [True, "probability"])
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradcheck_fails_on_the_detached_loss(cosines, targets, counts, quantity, difficulty):
    leaf = cosines.requires_grad_()
    options = {"difficulty": difficulty, "quantity": quantity, "scale": 5.0}
    with pytest.raises(GradcheckError, match="Jacobian mismatch"):
        gradcheck(lambda c: ala_loss(c, targets, counts, **options), (leaf,))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradcheck_holds_with_difficulty_as_a_constant(cosines, targets, counts, quantity):
    leaf = cosines.requires_grad_()
    frozen = difficulty_factor(cosines.gather(1, targets[:, None])[:, 0])
    margins = frozen * quantity_factor(counts, quantity, torch.float64)[targets]

    def with_constant(c):
        return F.cross_entropy(5.0 * (c - margins[:, None] * F.one_hot(targets, 5)), targets)

    assert gradcheck(with_constant, (leaf,))
    # At the point where the constant was computed, value and gradient are those of the loss.
    loss = ala_loss(leaf, targets, counts, quantity=quantity, scale=5.0)
    torch.testing.assert_close(loss, with_constant(leaf))
    ours, theirs = torch.autograd.grad(loss, leaf), torch.autograd.grad(with_constant(leaf), leaf)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_gradcheck_holds_without_difficulty_and_without_detaching(cosines, targets, counts, quantity):
    leaf = cosines.requires_grad_()
    for options in ({"difficulty": False}, {"detach": False}, {"difficulty": "probability", "detach": False}):
        assert gradcheck(lambda c, o=options: ala_loss(c, targets, counts, 5.0, quantity=quantity, **o), (leaf,))


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_not_detaching_multiplies_the_targets_gradient(cosines, targets, counts, quantity):
    detached = gradient(cosines, targets, counts, quantity=quantity, scale=5.0)
    attached = gradient(cosines, targets, counts, quantity=quantity, scale=5.0, detach=False)
    factor = 1 + quantity_factor(counts, quantity, torch.float64)[targets] / 2
    is_target = F.one_hot(targets, 5).bool()
    torch.testing.assert_close(attached[is_target], factor * detached[is_target])
    torch.testing.assert_close(attached[~is_target], detached[~is_target], rtol=1e-12, atol=0)
    assert detached.sum(1).abs().max() < 1e-12
    assert (attached.sum(1) < -1e-4).all()
    values = [ala_loss(cosines, targets, counts, 5.0, quantity=quantity, detach=d) for d in (True, False)]
    assert torch.equal(*values)


def test_detached_field_has_an_asymmetric_jacobian(counts):
    cosines = torch.tensor([0.2, -0.4, 0.1, 0.5, -0.3], dtype=torch.float64)

    def field(c, detach):
        leaf = c if c.requires_grad else c.requires_grad_()
        loss = ala_loss(leaf[None], torch.tensor([3]), counts, 5.0, detach=detach, reduction="sum")
        return torch.autograd.grad(loss, leaf, create_graph=True)[0]

    step = 1e-6
    for detach, symmetric in ((True, False), (False, True)):
        columns = []
        for j in range(5):
            shift = step * torch.eye(5, dtype=torch.float64)[j]
            columns.append((field(cosines + shift, detach) - field(cosines - shift, detach)) / (2 * step))
        jacobian = torch.stack(columns, 1).detach()
        gap = (jacobian - jacobian.T).abs().max().item()
        assert (gap < 1e-6) == symmetric, gap


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
@pytest.mark.parametrize("quantity", QUANTITIES)
def test_factors_are_what_the_loss_subtracts(cosines, targets, counts, difficulty, quantity):
    loss = ALALoss(counts, difficulty=difficulty, quantity=quantity, reduction="none")
    factors = loss.factors(cosines.requires_grad_(), targets)
    assert set(factors) == {"DF", "QF", "A"}
    assert all(value.shape == targets.shape and not value.requires_grad for value in factors.values())
    if difficulty or quantity is not None:
        torch.testing.assert_close(factors["A"], factors["DF"] * factors["QF"])
    else:
        assert factors["A"].eq(0).all()
    adjusted = cosines - factors["A"][:, None] * F.one_hot(targets, 5)
    expected = F.cross_entropy(30 * adjusted, targets, reduction="none")
    torch.testing.assert_close(loss(cosines, targets), expected)


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"quantity": "sqrt"}, ValueError, "quantity is 'sqrt'; allowed are 'log', 'log2', 'ldam', None"),
        ({"difficulty": "no"}, ValueError, "difficulty is 'no'; allowed are True, False, 'probability'"),
        ({"size": 0}, ValueError, r"size is 0; allowed is a finite number above 0"),
        ({"size": math.inf}, ValueError, "size is inf"),
        ({"size": "large"}, TypeError, "size is 'large'"),
        ({"size": True}, TypeError, "size is True"),
        ({"detach": None}, ValueError, "detach is None"),
        ({"scale": 0}, ValueError, "scale is 0"),
        ({"scale": [30]}, TypeError, "scale is"),
    ],
)
def test_bad_options(options, error, match, counts):
    with pytest.raises(error, match=match):
        ALALoss(counts, **options)
    with pytest.raises(error, match=match):
        ala_loss(torch.zeros(1, 5), torch.tensor([0]), counts, **options)


def test_factors_check_their_input(counts):
    with pytest.raises(ValueError, match="cosines reach 2"):
        ALALoss(counts).factors(torch.full((1, 5), 2.0), torch.tensor([0]))
