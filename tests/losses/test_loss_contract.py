"""What every loss promises: value, gradient, reductions, precision, extremes, bad input, compilation."""

import math

import pandas as pd
import pytest
import torch
from torch.autograd import gradcheck
from torch.func import grad, vmap
from torch.nn import functional as F

import lt_core as lt
from lt_core.validation import trusted_values

WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]
REDUCTIONS = ["mean", "sum", "none"]
HALF = [torch.float16, torch.bfloat16]


def softmax(row):
    top = max(row)
    powers = [math.exp(z - top) for z in row]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_value_and_gradient_are_those_of_the_docstring(row_case, targets, weight):
    case = row_case
    scores = case.scores(len(targets)).requires_grad_()
    losses = case.build(weight=weight, reduction="none")(scores, targets)
    losses.sum().backward()
    for i, (row, y) in enumerate(zip(scores.tolist(), targets.tolist(), strict=True)):
        w = 1.0 if weight is None else weight[y]
        p = softmax(case.literal(row, y))
        assert losses[i].item() == pytest.approx(-w * case.modulate(p[y]) * math.log(p[y]), rel=1e-9, abs=1e-12)
        expected = [w * case.rho(p[y]) * case.slopes[j] * (p[j] - (j == y)) for j in range(len(p))]
        assert scores.grad[i].tolist() == pytest.approx(expected, rel=1e-9, abs=1e-11)


def test_gradcheck(case, targets):
    # A detached margin has not the gradient of its value: test_ala_loss.py and test_face_losses.py show that this very
    # check fails there.
    for options in case.pure:
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
        assert (result >= 0).all() or not case.rowwise  # LADE's regulariser may be negative


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


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_per_sample_gradients_by_function_transforms(row_case, targets, weight):
    case = row_case
    targets[2] = -100
    scores = case.scores(len(targets)).requires_grad_()
    (expected,) = torch.autograd.grad(case.build(weight=weight, reduction="sum")(scores, targets), scores)
    for loss in case.forms(weight=weight, reduction="sum"):
        each = vmap(grad(lambda z, y, f=loss: f(z[None], y[None])))(scores.detach(), targets)
        torch.testing.assert_close(each, expected)
    assert expected[2].eq(0).all()
    assert expected[[0, 1, 3]].abs().sum(1).gt(0).all()


def test_value_checks_come_back_after_a_transform(case, targets):
    grad(lambda z: case.build()(z, targets))(case.scores(len(targets)))
    with pytest.raises(ValueError, match="label 5"):
        case.build()(case.scores(len(targets)), targets + 1)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weight", [None, WEIGHT])
@pytest.mark.parametrize("how", ["eager", "trusted", "compiled"])
def test_the_label_minus_100_is_ignored(case, targets, weight, reduction, how):
    """As if the samples were not there; and as PyTorch, whose value for them is 0."""
    scores, kept = case.scores(len(targets)).requires_grad_(), torch.tensor([0, 2, 3, 5, 6])
    some = torch.full_like(targets, -100)
    some[kept] = targets[kept]
    (expected,) = [case.build(weight=weight, reduction=reduction)(scores[kept], targets[kept])]
    (expected_gradient,) = torch.autograd.grad(expected.sum(), scores)
    if reduction == "none":
        expected = torch.zeros(len(targets), dtype=torch.float64).index_put((kept,), expected)
    forms = case.forms(weight=weight, reduction=reduction)
    if how == "compiled":
        torch._dynamo.reset()
        forms = [torch.compile(forms[0], fullgraph=True, backend="aot_eager")]
    for loss in forms:
        if how == "trusted":
            with trusted_values():
                value = loss(scores, some)
        else:
            value = loss(scores, some)
        torch.testing.assert_close(value, expected)
        (gradient,) = torch.autograd.grad(value.sum(), scores)
        torch.testing.assert_close(gradient, expected_gradient)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_a_batch_that_is_ignored_as_a_whole_is_as_in_torch(case, targets, weight):
    scores, ignored = case.scores(len(targets)), torch.full_like(targets, -100)
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    for reduction in REDUCTIONS:
        expected = F.cross_entropy(scores, ignored, tensor, reduction=reduction)
        assert expected.isnan().all() == (reduction == "mean")
        for loss in case.forms(weight=weight, reduction=reduction):
            torch.testing.assert_close(loss(scores, ignored), expected, equal_nan=True)


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_nothing_is_float64_on_a_device_without_it(case, targets, weight, no_float64):
    scores = case.scores(len(targets), torch.float32)
    targets[1] = -100
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    kept = case.build(weight=tensor)
    expected = kept(scores.double(), targets).float()
    moved = case.build(weight=tensor).to("cpu")
    assert all(buffer.dtype == torch.float32 for buffer in moved.buffers())
    forms = [moved, *case.forms(weight=weight)[1:]]
    with no_float64():
        for loss in forms:
            leaf = scores.clone().requires_grad_()
            value = loss(leaf, targets)
            value.backward()
            torch.testing.assert_close(value.detach(), expected, rtol=1e-4, atol=1e-5)
            assert leaf.grad.abs().max() > 0
        moved.state_dict()


def test_constants_stay_float64_where_there_is_float64(case, targets):
    scores = case.scores(len(targets))
    moved = case.build().to("cpu")
    assert torch.equal(moved(scores, targets), case.build()(scores, targets))


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
    ("negative label", lambda z, y: (z, y - 1), ValueError, r"label -1; labels are in \[0, 5\), or -100"),
    ("close to the ignored label", lambda z, y: (z, y - 101), ValueError, "label -101; labels are in"),
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
def test_cosines_outside_are_refused_with_both_causes(cosine_case, targets, value):
    cosines = torch.zeros(len(targets), 5)
    cosines[3, 2] = value
    for loss in cosine_case.forms():
        with pytest.raises(ValueError, match=r"cosines reach 1\.5.*\[-1, 1\].*cosine classifier.*half precision"):
            loss(cosines, targets)
    cosines[3, 2] = math.copysign(1.011, value)
    with pytest.raises(ValueError, match=r"cosines reach 1\.011"):
        cosine_case.build()(cosines, targets)


def test_cosines_a_little_outside_are_clamped(cosine_case, targets):
    """A product in half precision, cast up; also where values are not checked. Within [-1, 1] nothing changes."""
    torch._dynamo.reset()
    cosines = cosine_case.scores(len(targets), torch.float32)
    cosines[0, :3] = torch.tensor([1.009, 1.0, -1.009])
    cosines[3, 3], cosines[5, 3] = -1.009, 1.0
    clamped = cosines.clamp(-1, 1).requires_grad_()
    expected = cosine_case.build()(clamped, targets)
    (gradient,) = torch.autograd.grad(expected, clamped)
    gradient[cosines.abs() > 1] = 0.0
    assert gradient[5, 3] > 0.1  # at 1 exactly
    compiled = torch.compile(cosine_case.build(), fullgraph=True, backend="eager")
    for loss in [*cosine_case.forms(), compiled]:
        leaf = cosines.clone().requires_grad_()
        value = loss(leaf, targets)
        torch.testing.assert_close(value, expected)
        torch.testing.assert_close(torch.autograd.grad(value, leaf)[0], gradient)
    cosines[0, 0] = 1.5
    with trusted_values():
        torch.testing.assert_close(cosine_case.build()(cosines, targets), expected)
    torch.testing.assert_close(compiled(cosines, targets), expected)


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


COUNTED_MODULES = [
    "LDAMLoss",
    "LogitAdjustedLoss",
    "BalancedSoftmaxLoss",
    "ALALoss",
    "VSLoss",
    "GCLLoss",
    "EqualizationLoss",
    "LADELoss",
    "ClassBalancedFocalLoss",
]
COUNTED_FUNCTIONS = [
    "ldam_loss",
    "logit_adjusted_loss",
    "balanced_softmax_loss",
    "ala_loss",
    "vs_loss",
    "gcl_loss",
    "equalization_loss",
    "lade_loss",
    "class_balanced_focal_loss",
    "lade_estimates",
]
BAD_COUNTS = [
    ([5, 0, 3], ValueError, r"class_counts\[1\] is 0"),
    ([5, -2, 3], ValueError, r"class_counts\[1\] is -2"),
    ([5, 2.5, 3], ValueError, r"class_counts\[1\] is 2.5"),
    ([5, math.nan, 3], ValueError, r"class_counts\[1\] is nan"),
    ([5], ValueError, "class_counts has shape"),
    ([[5, 3], [2, 1]], ValueError, "class_counts has shape"),
    (7, ValueError, "class_counts has shape"),
    ("many", TypeError, "class_counts is 'many'"),
    ([True, True], TypeError, "class_counts is .True, True.; a sequence of whole numbers is needed"),
    ([[5, 3], [2]], ValueError, "at least two counts in one row"),
    ({5, 3}, TypeError, "class_counts is .*; a sequence of whole numbers is needed"),
    ({0: 5, 2: 3}, ValueError, r"class_counts has the labels \[0, 2\]; needed are 0 to 1, each once"),
    ({"cat": 5, "dog": 3}, ValueError, r"class_counts has the labels \['cat', 'dog'\]"),
    (pd.Series([5, 3], index=[1, 2]), ValueError, r"class_counts has the labels \[1, 2\]; needed are 0 to 1"),
    (pd.Series([5, 3], index=[0, 0]), ValueError, r"class_counts has the labels \[0, 0\]"),
    (pd.DataFrame({"n": [5, 3]}), ValueError, r"class_counts has shape \(2, 1\)"),
]


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", COUNTED_MODULES)
def test_bad_counts_are_named_by_modules(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(bad)


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", ["class_balanced_weights", "ldam_margins", "quantity_factor"])
def test_bad_counts_are_named_by_class_constants(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(bad)


@pytest.mark.parametrize(("bad", "error", "match"), BAD_COUNTS)
@pytest.mark.parametrize("name", COUNTED_FUNCTIONS)
def test_bad_counts_are_named_by_functions(name, bad, error, match):
    with pytest.raises(error, match=match):
        getattr(lt.losses, name)(torch.zeros(2, 3), torch.tensor([0, 1]), bad)


# By falling count, as `value_counts` sorts them: not the order of the labels.
LABELLED = {
    "Series": pd.Series([0] * 20 + [1] * 7 + [2] * 90).value_counts(),
    "mapping": {2: 90, 0: 20, 1: 7},
    "array": pd.Series([20, 7, 90]).to_numpy()[::-1][::-1],
}
BY_COUNTS = {
    "LDAMLoss": lambda counts: lt.losses.LDAMLoss(counts).margins,
    "LogitAdjustedLoss": lambda counts: lt.losses.LogitAdjustedLoss(counts).adjustment,
    "BalancedSoftmaxLoss": lambda counts: lt.losses.BalancedSoftmaxLoss(counts).adjustment,
    "ALALoss": lambda counts: lt.losses.ALALoss(counts).class_factors,
    "VSLoss": lambda counts: lt.losses.VSLoss(counts).temperatures,
    "GCLLoss": lambda counts: lt.losses.GCLLoss(counts).cloud_sizes,
    "EqualizationLoss": lambda counts: lt.losses.EqualizationLoss(counts, threshold=0.1).rare,
    "LADELoss": lambda counts: lt.losses.LADELoss(counts).log_prior,
    "ClassBalancedFocalLoss": lambda counts: lt.losses.ClassBalancedFocalLoss(counts).balanced,
    "class_balanced_focal_loss": lambda counts: lt.losses.class_balanced_focal_loss(
        torch.zeros(3, 3), torch.arange(3), counts, reduction="none"
    ),
    "vs_loss": lambda counts: lt.losses.vs_loss(torch.eye(3), torch.arange(3), counts, reduction="none"),
    "gcl_loss": lambda counts: lt.losses.gcl_loss(
        torch.zeros(3, 3), torch.arange(3), counts, reduction="none", training=False
    ),
    "equalization_loss": lambda counts: lt.losses.equalization_loss(
        torch.zeros(3, 3), torch.arange(3), counts, threshold=0.1, reduction="none", training=False
    ),
    "lade_loss": lambda counts: lt.losses.lade_loss(torch.zeros(3, 3), torch.arange(3), counts, reduction="none"),
    "ldam_loss": lambda counts: lt.losses.ldam_loss(torch.zeros(3, 3), torch.arange(3), counts, reduction="none"),
    "ala_loss": lambda counts: lt.losses.ala_loss(torch.zeros(3, 3), torch.arange(3), counts, reduction="none"),
    "logit_adjusted_loss": lambda counts: lt.losses.logit_adjusted_loss(
        torch.zeros(3, 3), torch.arange(3), counts, reduction="none"
    ),
    "balanced_softmax_loss": lambda counts: lt.losses.balanced_softmax_loss(
        torch.zeros(3, 3), torch.arange(3), counts, reduction="none"
    ),
    "class_balanced_weights": lt.losses.class_balanced_weights,
    "ldam_margins": lt.losses.ldam_margins,
    "quantity_factor": lt.losses.quantity_factor,
    "build_loss": lambda counts: lt.losses.build_loss("la", counts).adjustment,
    "adjust_logits": lambda counts: lt.posthoc.adjust_logits(torch.zeros(1, 3), counts),
    "shot_groups": lambda counts: torch.stack(list(lt.metrics.shot_groups(counts, many=50, few=10).values())),
    "column_mean_slope": lambda counts: torch.tensor(
        lt.metrics.column_mean_slope(torch.tensor([[0.2, 0.1, 0.7]]), counts)
    ),
}


@pytest.mark.parametrize("kind", LABELLED)
@pytest.mark.parametrize("name", BY_COUNTS)
def test_counts_with_labels_are_aligned_by_them(name, kind):
    assert LABELLED["Series"].tolist() == [90, 20, 7]
    expected = BY_COUNTS[name]([20, 7, 90])
    assert torch.equal(BY_COUNTS[name](LABELLED[kind]), expected)
    assert not torch.equal(BY_COUNTS[name]([90, 20, 7]), expected)


def test_weights_with_labels_are_aligned_by_them(case):
    aligned = [0.0, 1.0, 2.0, 3.0, 4.0]
    for weight in (pd.Series(aligned[::-1], index=[4, 3, 2, 1, 0]), {int(w): w for w in aligned[::-1]}):
        assert case.build(weight=weight).weight.tolist() == aligned
    with pytest.raises(ValueError, match="weight has the labels"):
        case.build(weight=pd.Series(aligned, index=[1, 2, 3, 4, 5]))


def test_messages_about_many_classes_are_short(case):
    weight = [1.0] * 8142
    weight[700] = -1.0
    with pytest.raises(ValueError, match=r"weight(\[700\] is -1| has shape)") as error:
        case.build(weight=weight)
    assert len(str(error.value)) < 200
    with pytest.raises(ValueError, match=r"class_counts has the labels") as error:
        lt.losses.LDAMLoss(dict.fromkeys(range(1, 8143), 5))
    assert len(str(error.value)) < 300
