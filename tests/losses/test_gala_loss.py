"""GALA against a slow, literal account of the released code, in which positives and negatives are kept apart."""

import copy
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lt_core.losses import GALALoss, balanced_softmax_loss, gala_logits, gala_loss

C = 4
THETA = torch.tensor([2.5, 0.4, 0.03, 0.0], dtype=torch.float64)


class SlowGALA:
    """Plain Python: A accumulates absolute gradients, Pos and Neg accumulate A, theta and phi are read off them.

    With "single", Pos and Neg are A's diagonal and the rest of A, not their sums over the steps.
    """

    def __init__(self, lambda_pos, lambda_neg, form, accumulate, eps=1e-3):
        self.lambda_pos, self.lambda_neg, self.form = lambda_pos, lambda_neg, form
        self.accumulate, self.eps = accumulate, eps
        self.matrix = [[0.0] * C for _ in range(C)]  # rows: classifier j; columns: class k of the sample
        self.pos = [[0.0] * C for _ in range(C)]
        self.neg = [[0.0] * C for _ in range(C)]

    def theta(self):
        return [sum(self.pos[j][k] for k in range(C)) for j in range(C)]

    def phi(self):
        return [sum(self.neg[j][k] for j in range(C)) for k in range(C)]

    def adjusted(self, row, y):
        theta, phi = self.theta(), self.phi()
        out = []
        for j in range(C):
            shift = self.lambda_pos * math.log(theta[j] + self.eps) - self.lambda_neg * math.log(phi[y] + self.eps)
            out.append(row[j] if self.form == "formula" and j == y else row[j] + shift)
        return out

    def step(self, logits, targets):
        batch = len(targets)
        losses, gradient = [], []
        for row, y in zip(logits, targets, strict=True):
            z = self.adjusted(row, y)
            top = max(z)
            total = sum(math.exp(v - top) for v in z)
            p = [math.exp(v - top) / total for v in z]
            losses.append(-math.log(p[y]))
            gradient.append([(p[j] - (j == y)) / batch for j in range(C)])
        for i, y in enumerate(targets):
            for j in range(C):
                self.matrix[j][y] += abs(gradient[i][j])
        for j in range(C):
            for k in range(C):
                if self.accumulate == "single":
                    self.pos[j][k] = self.neg[j][k] = 0.0
                if j == k:
                    self.pos[j][k] += self.matrix[j][k]
                else:
                    self.neg[j][k] += self.matrix[j][k]
        return sum(losses) / batch, gradient


def batches(steps, seed=0, sizes=(6, 9, 3)):
    generator = torch.Generator().manual_seed(seed)
    share = torch.tensor([0.6, 0.25, 0.1, 0.05])
    for t in range(steps):
        rows = sizes[t % len(sizes)]
        logits = 2 * torch.randn(rows, C, generator=generator, dtype=torch.float64)
        yield logits, torch.multinomial(share, rows, replacement=True, generator=generator)


def trained(steps=3, **options):
    loss = GALALoss(C, **options).double()
    for logits, targets in batches(steps):
        loss(logits, targets)
    return loss


@pytest.mark.parametrize("form", ["released", "formula"])
@pytest.mark.parametrize("accumulate", ["double", "single"])
@pytest.mark.parametrize(("lambda_pos", "lambda_neg"), [(1.0, 1.0), (1.2, 0.9), (0.5, 2.0), (0.0, 0.0)])
def test_agrees_with_the_literal_loop(form, accumulate, lambda_pos, lambda_neg):
    slow = SlowGALA(lambda_pos, lambda_neg, form, accumulate)
    fast = GALALoss(C, lambda_pos, lambda_neg, form, accumulate).double()
    for logits, targets in batches(20):
        leaf = logits.clone().requires_grad_()
        loss = fast(leaf, targets)
        loss.backward()
        expected, gradient = slow.step(logits.tolist(), targets.tolist())
        assert loss.item() == pytest.approx(expected, rel=1e-10)
        torch.testing.assert_close(leaf.grad, torch.tensor(gradient, dtype=torch.float64))
        assert slow.theta() == pytest.approx(slow.phi(), rel=1e-12)  # a finding of the loop, which shares nothing
        assert fast.theta.tolist() == pytest.approx(slow.theta(), rel=1e-10)
        assert fast.phi.tolist() == pytest.approx(slow.phi(), rel=1e-10)
    assert fast.theta.max() > 1  # the loop was not run at theta = 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_released_form_starts_as_cross_entropy(reduction):
    weight = torch.tensor([0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    for logits, targets in batches(1):
        loss = GALALoss(C, lambda_pos=1.3, weight=weight, reduction=reduction).double()
        expected = F.cross_entropy(logits, targets, weight, reduction=reduction)
        torch.testing.assert_close(loss(logits, targets), expected)


def test_without_lambdas_it_is_cross_entropy():
    loss = trained(5, lambda_pos=0.0, lambda_neg=0.0, form="formula")
    for logits, targets in batches(2, seed=5):
        torch.testing.assert_close(loss(logits, targets), F.cross_entropy(logits, targets))


def test_with_counts_for_theta_it_is_balanced_softmax():
    for logits, targets in batches(1):
        counts = [500, 90, 20, 3]
        loss = gala_loss(logits, targets, torch.tensor(counts, dtype=torch.float64), eps=1e-12)
        torch.testing.assert_close(loss, balanced_softmax_loss(logits, targets, counts))


@pytest.mark.parametrize("form", ["released", "formula"])
@pytest.mark.parametrize("accumulate", ["double", "single"])
def test_gradcheck_with_frozen_accumulators(form, accumulate):
    loss = trained(3, lambda_pos=1.2, lambda_neg=0.9, form=form, accumulate=accumulate).eval()
    frozen = loss.theta.clone()
    for logits, targets in batches(1, seed=4):
        assert gradcheck(lambda z, y=targets: loss(z, y), (logits.requires_grad_(),))
    assert torch.equal(loss.theta, frozen)


def test_the_update_comes_after_the_loss():
    loss = trained(3)
    before = copy.deepcopy(loss)
    for logits, targets in batches(1, seed=4):
        value = loss(logits, targets)
        torch.testing.assert_close(value, gala_loss(logits, targets, before.theta))
        assert (loss.theta >= before.theta).all()
        residuals = 1 - gala_logits(logits, targets, before.theta).softmax(1).gather(1, targets[:, None])[:, 0]
        batch_sum = torch.zeros(C, dtype=torch.float64).index_add(0, targets, residuals) / len(targets)
        torch.testing.assert_close(loss.gradient_sum - before.gradient_sum, batch_sum)
        assert not loss.theta.requires_grad


@pytest.mark.parametrize("accumulate", ["double", "single"])
def test_theta_as_a_sum_over_steps(accumulate):
    loss = GALALoss(C, accumulate=accumulate).double()
    per_step = []
    for logits, targets in batches(12):
        before = loss.gradient_sum.clone()
        loss(logits, targets)
        per_step.append(loss.gradient_sum - before)
    t = len(per_step)
    factor = [(t - u + 1) if accumulate == "double" else 1 for u in range(1, t + 1)]
    torch.testing.assert_close(loss.theta, sum(f * g for f, g in zip(factor, per_step, strict=True)))


def test_double_accumulation_grows_with_the_square_while_gradients_are_steady():
    logits, targets = torch.zeros(4, C, dtype=torch.float64), torch.arange(C)
    sizes = {}
    for accumulate in ("double", "single"):
        loss = GALALoss(C, lambda_pos=0.0, accumulate=accumulate).double()
        for t in range(1, 201):
            loss(logits, targets)
            if t in (100, 200):
                sizes[accumulate, t] = loss.theta[0].item()
    assert sizes["double", 200] / sizes["double", 100] == pytest.approx(4, rel=0.01)
    assert sizes["single", 200] / sizes["single", 100] == pytest.approx(2, rel=1e-9)


def test_released_form_does_not_see_lambda_neg():
    results = []
    for lambda_neg in (0.0, 0.9, 5.0):
        loss = GALALoss(C, lambda_pos=1.2, lambda_neg=lambda_neg).double()
        results.append((torch.stack([loss(z, y) for z, y in batches(10)]), loss.theta))
        assert loss.lambda_neg == lambda_neg
    for values, theta in results[1:]:
        assert torch.equal(values, results[0][0])
        assert torch.equal(theta, results[0][1])
    # The invariance is the softmax's: with the released code's constant the loop above gives the same, and the
    # formula does see lambda_neg.
    formula = [GALALoss(C, 1.2, lambda_neg, "formula").double() for lambda_neg in (0.0, 5.0)]
    values = [torch.stack([loss(z, y) for z, y in batches(10)]) for loss in formula]
    assert (values[0] - values[1]).abs().max() > 0.1


@given(st.floats(0, 3), st.integers(0, 50))
def test_forms_are_equal_at_equal_lambdas(strength, seed):
    for logits, targets in batches(1, seed=seed):
        released, formula = (
            gala_logits(logits, targets, THETA, strength, strength, form).log_softmax(1)
            for form in ("released", "formula")
        )
        torch.testing.assert_close(released, formula, rtol=1e-9, atol=1e-9)


@given(st.floats(0, 3), st.floats(0, 3), st.integers(0, 50))
def test_gap_between_the_forms(lambda_pos, lambda_neg, seed):
    for logits, targets in batches(1, seed=seed):
        gaps = {}
        for form in ("released", "formula"):
            adjusted = gala_logits(logits, targets, THETA, lambda_pos, lambda_neg, form)
            gaps[form] = adjusted - adjusted.gather(1, targets[:, None])
        own = torch.log(THETA[targets] + 1e-3)[:, None]
        expected = (lambda_pos - lambda_neg) * own * (1 - F.one_hot(targets, C))
        torch.testing.assert_close(gaps["formula"] - gaps["released"], expected, rtol=1e-8, atol=1e-8)


def test_formula_leaves_the_target_untouched():
    for logits, targets in batches(1):
        adjusted = gala_logits(logits, targets, THETA, 1.2, 0.9, "formula")
        assert torch.equal(adjusted.gather(1, targets[:, None]), logits.gather(1, targets[:, None]))


def test_eval_mode_is_frozen_and_applied():
    loss = trained(5).eval()
    state = copy.deepcopy(loss.state_dict())
    for logits, targets in batches(3, seed=9):
        torch.testing.assert_close(loss(logits, targets), gala_loss(logits, targets, state["theta"]))
        assert not torch.allclose(loss(logits, targets), F.cross_entropy(logits, targets))
    assert all(torch.equal(loss.state_dict()[name], value) for name, value in state.items())
    loss.train()
    loss(logits, targets)
    assert not torch.equal(loss.theta, state["theta"])


@pytest.mark.parametrize("accumulate", ["double", "single"])
def test_training_goes_on_from_the_state_dict(accumulate):
    straight = trained(8, accumulate=accumulate)
    first = GALALoss(C, accumulate=accumulate).double()
    resumed = GALALoss(C, accumulate=accumulate).double()
    for t, (logits, targets) in enumerate(batches(8)):
        if t == 4:
            assert set(first.state_dict()) == {"gradient_sum", "theta"}
            resumed.load_state_dict(first.state_dict())
        (first if t < 4 else resumed)(logits, targets)
    assert torch.equal(resumed.theta, straight.theta)
    assert torch.equal(resumed.gradient_sum, straight.gradient_sum)


def test_accumulators_ignore_reduction_and_weight():
    plain = trained(5)
    for options in ({"reduction": "sum"}, {"reduction": "none"}, {"weight": torch.tensor([9.0, 1.0, 1.0, 0.0])}):
        assert torch.equal(trained(5, **options).theta, plain.theta)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_accumulators_are_float32_whatever_the_precision(dtype):
    reference, loss = GALALoss(C), GALALoss(C)
    loss = loss.to(dtype)  # a model cast as a whole takes its loss along
    for logits, targets in batches(5):
        low = logits.to(dtype)
        with torch.autocast("cpu", dtype=dtype):
            loss(low, targets)
        reference(low.float(), targets)
        assert loss.theta.dtype == loss.gradient_sum.dtype == torch.float32
    assert torch.equal(loss.theta, reference.theta)
    assert GALALoss(C).double().theta.dtype == torch.float64


def test_residual_of_a_confident_sample():
    loss = GALALoss(2, accumulate="single").double()
    loss(torch.tensor([[20.0, 0.0]], dtype=torch.float64), torch.tensor([0]))
    assert loss.theta.tolist() == pytest.approx([1 / (1 + math.exp(20.0)), 0.0], rel=1e-6)


@pytest.mark.parametrize("form", ["released", "formula"])
@pytest.mark.parametrize("accumulate", ["double", "single"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_training_compiles_without_a_graph_break(form, accumulate, backend):
    torch._dynamo.reset()
    loss = GALALoss(C, form=form, accumulate=accumulate)
    twin = copy.deepcopy(loss)
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    for logits, targets in batches(4, sizes=(6,)):
        leaf, other = logits.float().requires_grad_(), logits.float().requires_grad_()
        expected, result = loss(leaf, targets), compiled(other, targets)
        expected.backward()
        result.backward()
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(other.grad, leaf.grad)
        torch.testing.assert_close(twin.theta, loss.theta)
    assert (twin.theta > 0).any()


def test_no_state_is_kept_of_the_graph():
    loss = GALALoss(C)
    for logits, targets in batches(2):
        loss(logits.float().requires_grad_(), targets).backward()
    assert loss.theta.grad_fn is None
    assert loss.gradient_sum.grad_fn is None


def test_log_theta():
    loss = trained(3, eps=0.01)
    torch.testing.assert_close(loss.log_theta(), torch.log(loss.theta + 0.01))
    loss.log_theta().zero_()
    assert (loss.theta > 0).any()


def test_an_empty_batch_changes_nothing():
    loss = trained(3, reduction="sum")
    before = loss.theta.clone(), loss.gradient_sum.clone()
    empty = torch.zeros(0, C, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    assert loss(*empty).item() == 0.0
    assert torch.equal(loss.gradient_sum, before[1])
    assert torch.isfinite(loss.theta).all()


def test_bad_input_leaves_the_accumulators_alone():
    loss = trained(3)
    before = loss.theta.clone()
    with pytest.raises(ValueError, match="NaN"):
        loss(torch.full((2, C), math.nan), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="label 4"):
        loss(torch.zeros(2, C), torch.tensor([0, 4]))
    assert torch.equal(loss.theta, before)


def state(loss):
    return torch.stack([loss.theta, loss.gradient_sum])


@pytest.mark.parametrize("bad", [math.inf, -math.inf])
def test_theta_counts_no_residual_that_is_not_finite(bad):
    """One overflowed logit, in a step that a gradient scaler would skip: its sample counts as nothing."""
    for logits, targets in batches(1, seed=4):
        spoiled = logits.clone()
        spoiled[2] = bad
        rest = torch.arange(len(targets)) != 2
        loss, twin = trained(3), trained(3)
        assert loss(spoiled, targets).isnan()
        twin(logits[rest], targets[rest])
        torch.testing.assert_close(state(loss), state(twin))
        assert loss(logits, targets).isfinite()


def test_a_batch_without_a_finite_residual_changes_nothing_but_what_is_summed_again():
    loss, twin = trained(3), trained(3)
    loss(torch.full((2, C), math.inf, dtype=torch.float64), torch.tensor([0, 1]))
    twin(torch.zeros(0, C, dtype=torch.float64), torch.tensor([], dtype=torch.int64))
    assert torch.equal(state(loss), state(twin))


def test_theta_ignores_what_the_mean_ignores():
    for logits, targets in batches(1, seed=4):
        some = targets.clone()
        some[1::2] = -100
        loss, twin = trained(3), trained(3)
        torch.testing.assert_close(loss(logits, some), twin(logits[::2], targets[::2]))
        torch.testing.assert_close(state(loss), state(twin))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_without_gradients_theta_is_read_only(context):
    loss = trained(3)
    before = state(loss)
    for logits, targets in batches(1, seed=4):
        with context():
            value = loss(logits, targets)
        torch.testing.assert_close(value, gala_loss(logits, targets, before[0]))
        assert torch.equal(state(loss), before)
        loss(logits, targets)
    assert not torch.equal(state(loss), before)


@pytest.mark.parametrize("form", ["released", "formula"])
def test_inside_function_transforms_theta_is_read_only(form):
    loss = trained(3, lambda_neg=0.5, form=form)
    before = state(loss)
    for logits, targets in batches(1, seed=4):
        leaf = logits.clone().requires_grad_()
        gala_loss(leaf, targets, before[0], lambda_neg=0.5, form=form, reduction="sum").backward()
        each = vmap(grad(lambda z, y: loss(z[None], y[None])))(logits, targets)
        torch.testing.assert_close(each, leaf.grad)
        whole = grad(lambda z, y=targets: loss(z, y))(logits)
        torch.testing.assert_close(whole, leaf.grad / len(targets))
        assert torch.equal(state(loss), before)
        assert not torch._C._functorch.is_functorch_wrapped_tensor(loss.theta)
        functional_call(loss, dict(loss.named_buffers()), (logits, targets))  # no transform: used, and put back
    assert torch.equal(state(loss), before)


@pytest.mark.parametrize("whole", [True, False], ids=["network and loss", "loss alone"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_counts_once_and_keeps_the_gradient(reentrant, whole):
    """Two steps, of which the second is computed in two parts before its backward pass, as in gradient accumulation."""
    results = []
    for checkpointed in (False, True):
        torch.manual_seed(0)
        network = torch.nn.Sequential(torch.nn.Linear(C, 8), torch.nn.Tanh(), torch.nn.Linear(8, C)).double()
        loss, seen = GALALoss(C, lambda_neg=0.5, form="formula").double(), []

        def run(x, y, network=network, loss=loss, checkpointed=checkpointed):
            if not checkpointed:
                return loss(network(x), y)
            if whole:
                return checkpoint(lambda x: loss(network(x), y), x, use_reentrant=reentrant)
            return checkpoint(loss, network(x), y, use_reentrant=reentrant)

        for x, y in batches(3, seed=4):
            values = (
                [run(x.clone().requires_grad_(), y)]
                if len(y) != 9 or reentrant
                else [run(x[part].clone().requires_grad_(), y[part]) for part in (slice(4), slice(4, 9))]
            )
            network.zero_grad()
            sum(values).backward()
            seen += [state(loss), *(v.detach() for v in values), *(p.grad.clone() for p in network.parameters())]
        results.append(seen)
    for plain, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, plain)
    assert results[0][0].abs().sum() > 0


def test_training_needs_no_float64(no_float64):
    loss = GALALoss(C).to("cpu")
    inputs = [(z.float().requires_grad_(), y) for z, y in batches(2)]
    with no_float64():
        for logits, targets in inputs:
            loss(logits, targets).backward()
        loss.state_dict()
    assert loss.theta.dtype == torch.float32
    assert loss.theta.sum() > 0


def test_options_are_kept_as_plain_numbers():
    options = {"lambda_pos": np.float32(0.5), "lambda_neg": torch.tensor(2), "eps": np.array([0.25])}
    loss = GALALoss(np.int64(C), form=np.str_("formula"), **options)
    kept = [loss.num_classes, loss.lambda_pos, loss.lambda_neg, loss.eps, loss.form]
    assert kept == [C, 0.5, 2, 0.25, "formula"]
    assert [type(value) for value in kept] == [int, float, int, float, str]


BAD_OPTIONS = [
    ({"lambda_pos": -1.0}, ValueError, "lambda_pos is -1.0"),
    ({"lambda_neg": math.nan}, ValueError, "lambda_neg is nan"),
    ({"lambda_pos": "1"}, TypeError, "lambda_pos is '1'"),
    ({"form": "paper"}, ValueError, "form is 'paper'; allowed are 'released', 'formula'"),
    ({"eps": 0.0}, ValueError, "eps is 0.0"),
    ({"eps": None}, TypeError, "eps is None"),
]


@pytest.mark.parametrize(("options", "error", "match"), BAD_OPTIONS)
def test_bad_options(options, error, match):
    logits, targets = torch.zeros(1, C, dtype=torch.float64), torch.tensor([0])
    with pytest.raises(error, match=match):
        GALALoss(C, **options)
    for function in (gala_logits, gala_loss):
        with pytest.raises(error, match=match):
            function(logits, targets, THETA, **options)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"num_classes": 1}, ValueError, "num_classes is 1"),
        ({"num_classes": 2.5}, TypeError, "num_classes is 2.5"),
        ({"num_classes": C, "accumulate": "triple"}, ValueError, "accumulate is 'triple'; allowed are 'double'"),
    ],
)
def test_bad_construction(arguments, error, match):
    with pytest.raises(error, match=match):
        GALALoss(**arguments)


@pytest.mark.parametrize(
    ("theta", "error", "match"),
    [
        ([1.0] * C, TypeError, "theta is list"),
        (torch.ones(C, dtype=torch.int64), TypeError, "theta is torch.int64"),
        (torch.ones(C + 1), ValueError, r"theta has shape \(5,\)"),
        (torch.tensor([1.0, -1.0, 1.0, 1.0]), ValueError, "at least 0"),
        (torch.tensor([1.0, math.nan, 1.0, 1.0]), ValueError, "finite"),
    ],
)
def test_bad_theta(theta, error, match):
    for function in (gala_logits, gala_loss):
        with pytest.raises(error, match=match):
            function(torch.zeros(1, C), torch.tensor([0]), theta)
