"""What every loss promises: value, gradient, reductions, precision, extremes, bad input, compilation."""

import math

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional as F

import lt_core as lt

WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]
REDUCTIONS = ["mean", "sum", "none"]
HALF = [torch.float16, torch.bfloat16]


def softmax(row):
    top = max(row)
    powers = [math.exp(z - top) for z in row]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_value_and_gradient_are_those_of_the_docstring(case, targets, weight):
    scores = case.scores(len(targets)).requires_grad_()
    losses = case.build(weight=weight, reduction="none")(scores, targets)
    losses.sum().backward()
    for i, (row, y) in enumerate(zip(scores.tolist(), targets.tolist(), strict=True)):
        w = 1.0 if weight is None else weight[y]
        p = softmax(case.literal(row, y))
        assert losses[i].item() == pytest.approx(-w * case.modulate(p[y]) * math.log(p[y]), rel=1e-9, abs=1e-12)
        expected = [w * case.rho(p[y]) * case.scale * (p[j] - (j == y)) for j in range(len(p))]
        assert scores.grad[i].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_gradcheck(case, targets):
    # Detached ALA is not the gradient of its value: test_ala_loss.py shows that this very check fails on it.
    for options in [{}] if case.pure else [{"difficulty": False}, {"detach": False}]:
        for reduction in REDUCTIONS:
            loss = case.build(reduction=reduction, **options)
            assert gradcheck(lambda z, f=loss: f(z, targets), (case.scores(len(targets)).requires_grad_(),))


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_function_is_module(case, targets, weight, reduction):
    scores = case.scores(len(targets))
    module = case.build(weight=weight, reduction=reduction)(scores, targets)
    if case.call is None:
        function = F.cross_entropy(
            scores, targets, None if weight is None else torch.tensor(weight, dtype=torch.float64), reduction=reduction
        )
    else:
        function = case.call(scores, targets, weight=weight, reduction=reduction)
    torch.testing.assert_close(module, function, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("rows", [1, 2, 64])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_shapes_and_reductions(case, rows, reduction, weight):
    targets = torch.arange(rows) % 5
    scores = case.scores(rows)
    each = case.build(weight=weight, reduction="none")(scores, targets)
    assert each.shape == (rows,)
    result = case.build(weight=weight, reduction=reduction)(scores, targets)
    divisor = rows if weight is None else torch.tensor(weight, dtype=torch.float64)[targets].sum()
    expected = {"none": each, "sum": each.sum(), "mean": each.sum() / divisor}[reduction]
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("dtype", [*HALF, torch.float32, torch.float64])
def test_dtype_of_the_result(case, targets, dtype):
    scores = case.scores(len(targets), dtype).requires_grad_()
    result = case.build()(scores, targets)
    assert result.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    # Half precision is widened before anything is computed: only the input is rounded.
    torch.testing.assert_close(result.double(), case.build()(scores.detach().double(), targets), rtol=1e-5, atol=1e-6)
    result.backward()
    assert scores.grad.dtype == dtype
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad != 0).any()


@pytest.mark.parametrize("dtype", HALF)
def test_autocast(case, targets, dtype):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(len(targets), 16, generator=generator)
    rows = torch.randn(5, 16, generator=generator).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        if case.cosine:
            scores = F.linear(F.normalize(features, dim=1), F.normalize(rows, dim=1))
        else:
            scores = F.linear(features, rows)
        assert scores.dtype == dtype
        result = case.build()(scores, targets)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, case.build()(scores.detach().float(), targets), rtol=1e-5, atol=1e-6)
    result.backward()
    assert torch.isfinite(rows.grad).all()
    assert rows.grad.abs().max() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_extremes_have_finite_value_and_gradient(case, dtype, sign):
    size = 1.0 if case.cosine else 1e4
    options = {"scale": 1e4} if case.cosine else {}
    targets = torch.arange(5)
    one_hot = sign * size * (2 * torch.eye(5) - 1)  # the target at one end, all others at the other
    level = torch.full((5, 5), sign * size)
    for values in (one_hot, level):
        scores = values.to(dtype).requires_grad_()
        result = case.build(reduction="none", **options)(scores, targets)
        result.sum().backward()
        assert torch.isfinite(result).all()
        assert torch.isfinite(scores.grad).all()
        assert (result >= 0).all()


def test_weight_is_a_buffer_that_a_schedule_may_change(case, targets):
    scores = case.scores(len(targets))
    deferred = case.build(weight=torch.ones(5))
    torch.testing.assert_close(deferred(scores, targets), case.build()(scores, targets))
    deferred.weight.copy_(torch.tensor(WEIGHT))
    torch.testing.assert_close(deferred(scores, targets), case.build(weight=WEIGHT)(scores, targets))
    assert "weight" in deferred.state_dict()


def test_weight_is_copied(case, targets):
    weight = torch.ones(5)
    case.build(weight=weight).weight.mul_(3)
    assert weight.tolist() == [1.0] * 5


@pytest.mark.parametrize("lower", [lambda m: m.half(), lambda m: m.to(torch.bfloat16)], ids=["half", "bfloat16"])
def test_buffers_survive_half(case, targets, lower):
    scores = case.scores(len(targets), torch.float32)
    loss = case.build(weight=[0.1, 0.2, 0.3, 0.4, 0.7])
    before = loss(scores, targets)
    lowered = lower(loss)
    assert all(b.dtype in (torch.float32, torch.float64) for b in lowered.buffers())
    assert torch.equal(lowered(scores, targets), before)


def test_repr_names_the_options(case):
    text = repr(case.build(reduction="sum"))
    assert "reduction='sum'" in text
    assert "weight=None" in text


def test_compiles_without_a_graph_break(case, targets):
    torch._dynamo.reset()
    loss = case.build(weight=WEIGHT)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    scores = case.scores(len(targets))
    eager_input, compiled_input = scores.clone().requires_grad_(), scores.clone().requires_grad_()
    expected, result = loss(eager_input, targets), compiled(compiled_input, targets)
    torch.testing.assert_close(result, expected)
    expected.backward()
    result.backward()
    torch.testing.assert_close(compiled_input.grad, eager_input.grad)


BAD_CALLS = [
    ("one dimension", lambda z, y: (z[0], y), ValueError, "shape"),
    ("three dimensions", lambda z, y: (z[None], y), ValueError, "shape"),
    ("one class", lambda z, y: (z[:, :1], torch.zeros_like(y)), ValueError, "classes"),
    ("integer scores", lambda z, y: (z.long(), y), TypeError, "int64"),
    ("a list", lambda z, y: (z.tolist(), y), TypeError, "list"),
    ("NaN", lambda z, y: (z.masked_fill(torch.eye(8, 5, dtype=torch.bool), torch.nan), y), ValueError, "NaN"),
    ("too few targets", lambda z, y: (z, y[:-1]), ValueError, "targets"),
    ("one-hot targets", lambda z, y: (z, F.one_hot(y, 5)), ValueError, "targets"),
    ("float targets", lambda z, y: (z, y.double()), TypeError, "targets"),
    ("int32 targets", lambda z, y: (z, y.int()), TypeError, "targets"),
    ("label too large", lambda z, y: (z, y + 1), ValueError, r"label 5; labels are in \[0, 5\)"),
    ("negative label", lambda z, y: (z, y - 1), ValueError, r"label -1; labels are in \[0, 5\)"),
]


@pytest.mark.parametrize(("change", "error", "match"), [b[1:] for b in BAD_CALLS], ids=[b[0] for b in BAD_CALLS])
def test_bad_input_is_named(case, targets, change, error, match):
    bad = change(case.scores(len(targets)), targets)
    with pytest.raises(error, match=match):
        case.build()(*bad)
    if case.call is not None:
        with pytest.raises(error, match=match):
            case.call(*bad)


def test_wrong_number_of_classes_is_named(case, targets):
    wide = torch.zeros(len(targets), 6, dtype=torch.float64)
    with pytest.raises(ValueError, match="6 columns; 5 classes"):
        case.build(weight=WEIGHT)(wide, targets)


@pytest.mark.parametrize("value", [1.5, -1.5])
def test_cosines_outside_are_refused_and_rounding_is_not(cosine_case, targets, value):
    cosines = torch.zeros(len(targets), 5)
    cosines[3, 2] = value
    with pytest.raises(ValueError, match=r"cosines reach 1\.5.*\[-1, 1\]"):
        cosine_case.build()(cosines, targets)
    with pytest.raises(ValueError, match=r"cosines reach 1\.5"):
        cosine_case.call(cosines, targets)
    cosines[3, 2] = math.copysign(1 + 4 * torch.finfo(torch.float32).eps, value)
    assert torch.isfinite(cosine_case.build()(cosines, targets))


BAD_OPTIONS = [
    ({"reduction": "average"}, ValueError, "reduction is 'average'; allowed are 'mean', 'sum', 'none'"),
    ({"weight": [1.0, -1.0, 1.0, 1.0, 1.0]}, ValueError, "at least 0"),
    ({"weight": [1.0, math.nan, 1.0, 1.0, 1.0]}, ValueError, "finite"),
    ({"weight": [1.0, math.inf, 1.0, 1.0, 1.0]}, ValueError, "finite"),
    ({"weight": [0.0] * 5}, ValueError, "positive weight"),
    ({"weight": [[1.0] * 5]}, ValueError, "weight has shape"),
    ({"weight": "heavy"}, TypeError, "weight is 'heavy'"),
    ({"weight": [True] * 5}, TypeError, "weight holds torch.bool"),
]


@pytest.mark.parametrize(("options", "error", "match"), BAD_OPTIONS)
def test_bad_options_are_named(case, targets, options, error, match):
    with pytest.raises(error, match=match):
        case.build(**options)
    if case.call is not None:
        with pytest.raises(error, match=match):
            case.call(case.scores(len(targets)), targets, **options)


def test_weight_of_the_wrong_length_is_named(case, targets):
    with pytest.raises(ValueError, match=r"weight has shape \(4,\)|5 columns; 4 classes"):
        case.build(weight=torch.ones(4))(case.scores(len(targets)), targets)


BAD_COUNTS = [
    ([5, 0, 3], ValueError, r"class_counts\[1\] is 0"),
    ([5, -2, 3], ValueError, r"class_counts\[1\] is -2"),
    ([5, 2.5, 3], ValueError, r"class_counts\[1\] is 2.5"),
    ([5, math.nan, 3], ValueError, r"class_counts\[1\] is nan"),
    ([5], ValueError, "class_counts has shape"),
    ([[5, 3], [2, 1]], ValueError, "class_counts has shape"),
    (7, ValueError, "class_counts has shape"),
    ("many", TypeError, "class_counts is 'many'"),
    ([True, True], TypeError, "class_counts holds torch.bool"),
]


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", ["LDAMLoss", "LogitAdjustedLoss", "BalancedSoftmaxLoss", "ALALoss"])
def test_bad_counts_are_named_by_modules(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(bad)


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", ["class_balanced_weights", "ldam_margins", "quantity_factor"])
def test_bad_counts_are_named_by_class_constants(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(bad)


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", ["ldam_loss", "logit_adjusted_loss", "balanced_softmax_loss", "ala_loss"])
def test_bad_counts_are_named_by_functions(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(torch.zeros(2, 3), torch.tensor([0, 1]), bad)
