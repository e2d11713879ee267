"""The two losses that draw, drawing: distribution, generator, and the contract where a draw could break it."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from lt_core.losses import (
    EqualizationLoss,
    GCLLoss,
    cosface_loss,
    equalization_loss,
    gcl_loss,
    logit_adjusted_loss,
)
from lt_core.validation import trusted_values

COUNTS = [500, 90, 20, 7, 3]
RARE = [False, False, False, True, True]  # below 2 % of 620 images
WEIGHT = [0.5, 1.0, 1.5, 2.0, 0.0]
MODULES = {"gcl": partial(GCLLoss, COUNTS), "eql": partial(EqualizationLoss, COUNTS, 0.02)}
FUNCTIONS = {"gcl": gcl_loss, "eql": partial(equalization_loss, threshold=0.02)}


@pytest.fixture(params=["gcl", "eql"])
def name(request):
    return request.param


def scores(name, rows, dtype=torch.float64):
    draw = torch.randn(rows, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (0.9 * torch.tanh(draw) if name == "gcl" else 3 * draw).to(dtype)


def seeded(loss, *inputs, seed=0):
    torch.manual_seed(seed)
    return loss(*inputs)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_function_is_module_with_the_same_draw(name, targets, weight, reduction):
    z = scores(name, len(targets))
    module = seeded(MODULES[name](weight=weight, reduction=reduction), z, targets)
    function = FUNCTIONS[name]
    own = function(z, targets, COUNTS, weight=weight, reduction=reduction, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(own, module, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(
        seeded(lambda *a: function(*a, weight=weight, reduction=reduction), z, targets, COUNTS), module
    )


def test_a_seed_decides_the_draws_and_each_call_draws_anew(name, targets):
    loss, z = MODULES[name](reduction="none"), scores(name, 64)
    labels = torch.arange(64) % 5
    first, second = seeded(loss, z, labels), loss(z, labels)
    assert not torch.equal(first, second)
    assert torch.equal(first, seeded(loss, z, labels))
    state = torch.get_rng_state()
    third = loss(z, labels)
    torch.set_rng_state(state)  # as a resumed run does
    assert torch.equal(loss(z, labels), third)


def test_a_generator_of_one_s_own_leaves_the_global_one_alone(name, targets):
    before = torch.get_rng_state()
    FUNCTIONS[name](scores(name, 8), targets, COUNTS, generator=torch.Generator().manual_seed(3))
    assert torch.equal(torch.get_rng_state(), before)


def test_draws_are_per_image_and_class():
    """Equal images get other values; within an image, the rare classes are drawn one by one."""
    same = torch.zeros(4000, 5, dtype=torch.float64)
    head = torch.zeros(4000, dtype=torch.int64)
    values = seeded(EqualizationLoss(COUNTS, 0.02, 0.6, reduction="none"), same, head)
    left_out = (5 - values.exp()).round()
    assert set(left_out.tolist()) == {0.0, 1.0, 2.0}
    shares = [(left_out == k).double().mean().item() for k in range(3)]
    assert shares == pytest.approx([0.16, 0.48, 0.36], abs=0.03)
    assert len(set(seeded(GCLLoss(COUNTS, reduction="none"), same[:50], head[:50]).tolist())) == 50


def test_eql_leaves_rare_classes_out_of_others_denominators(targets):
    """Against every possible draw: each value is a cross-entropy without some of the rare classes."""
    z = scores("eql", len(targets)).requires_grad_()
    losses = seeded(MODULES["eql"](gamma=0.5, reduction="none"), z, targets)
    (gradient,) = torch.autograd.grad(losses.sum(), z)
    seen = set()
    for i, y in enumerate(targets.tolist()):
        rare = [j for j in range(5) if RARE[j] and j != y]
        for choice in range(2 ** len(rare)):
            out = [j for b, j in enumerate(rare) if choice >> b & 1]
            kept = [j for j in range(5) if j not in out]
            p = torch.softmax(z[i, kept], 0)
            if math.isclose(losses[i].item(), -p[kept.index(y)].log().item(), rel_tol=1e-9):
                expected = torch.zeros(5, dtype=torch.float64)
                expected[kept] = p.detach()
                expected[y] -= 1
                torch.testing.assert_close(gradient[i], expected, rtol=1e-9, atol=1e-12)
                seen.add((i, len(out)))
    assert {i for i, _ in seen} == set(range(len(targets)))
    assert {n for _, n in seen} == {0, 1, 2}


def test_eql_at_its_ends_is_cross_entropy_and_a_softmax_of_frequent_classes(targets):
    z = scores("eql", len(targets))
    for training in (True, False):
        plain = equalization_loss(z, targets, COUNTS, 0.02, 0.0, training=training)
        torch.testing.assert_close(plain, F.cross_entropy(z, targets))
        torch.testing.assert_close(
            equalization_loss(z, targets, COUNTS, 0.0, 0.9, training=training), F.cross_entropy(z, targets)
        )
        without = torch.where(torch.tensor(RARE) & ~F.one_hot(targets, 5).bool(), -torch.inf, z)
        always = equalization_loss(z, targets, COUNTS, 0.02, 1.0, training=training)
        torch.testing.assert_close(always, F.cross_entropy(without, targets))


def test_eql_spares_the_rare_classes_of_cifar():
    import lt_core as lt

    counts = lt.data.class_counts()
    assert int(EqualizationLoss(counts).rare.sum()) == sum(n <= 53 for n in counts) == 52  # 54 are 0.498 %, 5 above
    assert int(EqualizationLoss(counts, threshold=0.00177).rare.sum()) == 30


def test_gcl_without_noise_is_cosface_and_equal_counts_have_no_cloud(targets):
    z = scores("gcl", len(targets))
    torch.testing.assert_close(gcl_loss(z, targets, COUNTS, margin=0.2, noise=0.0), cosface_loss(z, targets, 0.2))
    torch.testing.assert_close(gcl_loss(z, targets, [9] * 5), cosface_loss(z, targets, 0.0))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("training", [True, False])
def test_the_focal_factor_of_gcl_is_a_constant(targets, gamma, training):
    """Value and gradient are those without it, image by image, times (1 - p)^gamma; a weight stands outside."""
    z = scores("gcl", len(targets)).requires_grad_()
    weight = torch.tensor([0.5, 1.0, 1.5, 2.0, 0.25], dtype=torch.float64)

    def loss(**options):
        own = torch.Generator().manual_seed(0)
        return gcl_loss(z, targets, COUNTS, 0.1, 20.0, training=training, reduction="none", generator=own, **options)

    plain, focal = loss(), loss(gamma=gamma, weight=weight)
    factor = weight[targets] * (1 - torch.exp(-plain.detach())) ** gamma
    torch.testing.assert_close(focal, factor * plain)
    (slope,), (expected,) = torch.autograd.grad(focal.sum(), z), torch.autograd.grad(plain.sum(), z)
    torch.testing.assert_close(slope, factor[:, None] * expected)
    own = torch.Generator().manual_seed(0)
    mean = gcl_loss(z, targets, COUNTS, 0.1, 20.0, 0.5, weight, "mean", training, own, gamma)
    torch.testing.assert_close(mean, focal.sum() / weight[targets].sum())


def test_the_focal_factor_of_gcl_at_the_extremes_and_at_zero(targets):
    z = torch.cat([torch.eye(5), -torch.eye(5)]).requires_grad_()
    y = torch.arange(10) % 5
    for gamma in (0.5, 1.0):
        values = seeded(GCLLoss(COUNTS, scale=1e4, gamma=gamma, reduction="none"), z, y)
        values.sum().backward()
        assert torch.isfinite(values).all()
        assert torch.isfinite(z.grad).all()
    same = scores("gcl", len(targets))
    assert torch.equal(seeded(GCLLoss(COUNTS, gamma=0.0), same, targets), seeded(GCLLoss(COUNTS), same, targets))


def test_the_mean_cloud_is_a_logit_adjustment():
    import lt_core as lt

    counts = lt.data.class_counts()  # ratio 100
    z = 0.9 * torch.tanh(torch.randn(50, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    y = torch.arange(50) * 2
    inside = torch.distributions.Normal(0.0, 1 / 3).sample((10**6,)).clamp(-1, 1).abs().mean().item()
    tau = 30 * 0.5 * lt.losses.gcl.MEAN_DRAW / math.log(100)
    assert inside == pytest.approx(lt.losses.gcl.MEAN_DRAW, abs=1e-3)
    assert tau == pytest.approx(0.87, abs=0.005)
    mean = gcl_loss(z, y, counts, training=False)
    torch.testing.assert_close(mean, logit_adjusted_loss(30 * z, y, counts, tau))


def test_clouds_are_half_normal_cut_at_one_and_scaled_by_class():
    """Two equal cosines and a head of size 0: the value gives the rare class's cloud back."""
    zeros, tail = torch.zeros(20000, 2, dtype=torch.float64), torch.ones(20000, dtype=torch.int64)
    values = seeded(GCLLoss([100, 1], noise=0.8, reduction="none"), zeros, tail)
    clouds = torch.log(torch.expm1(values)) / 30 / 0.8
    assert clouds.min() >= -1e-9
    assert clouds.max() <= 1 + 1e-9
    assert (clouds > 1 - 1e-9).double().mean().item() == pytest.approx(math.erfc(3 / math.sqrt(2)), abs=2e-3)
    for share, quantile in ((0.5, 0.67449), (0.9, 1.64485)):
        assert clouds.quantile(share).item() == pytest.approx(quantile / 3, abs=0.01)
    medium = seeded(GCLLoss([100, 10, 1], noise=0.8), zeros[:, [0, 0, 0]], tail)
    assert torch.isfinite(medium)
    assert GCLLoss([100, 10, 1], noise=0.8).cloud_sizes.tolist() == pytest.approx([0, 0.4, 0.8])


@given(st.lists(st.integers(1, 10**5), min_size=2, max_size=12), st.floats(0, 3))
def test_cloud_sizes_fall_with_the_count_from_noise_to_zero(counts, noise):
    sizes = GCLLoss(counts, noise=noise).cloud_sizes[torch.tensor(counts).argsort()]
    assert (sizes[:-1] >= sizes[1:]).all()
    assert sizes[-1].item() == 0.0
    assert sizes[0].item() == pytest.approx(noise if min(counts) < max(counts) else 0.0)


@given(st.lists(st.integers(1, 10**4), min_size=2, max_size=8), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_eql_is_never_above_cross_entropy(counts, threshold, gamma, seed):
    """What it leaves out can only make a denominator smaller; a target is never left out."""
    y = torch.arange(len(counts))
    z = torch.randn(len(counts), len(counts), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    losses = seeded(EqualizationLoss(counts, threshold, gamma, reduction="none"), z, y, seed=seed)
    plain = F.cross_entropy(z, y, reduction="none")
    assert (losses <= plain + 1e-12).all()
    assert (losses >= 0).all()


def test_drawing_in_half_precision_and_under_autocast(name, targets):
    for dtype in (torch.float16, torch.bfloat16):
        z = scores(name, len(targets), dtype).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            value = seeded(MODULES[name](), z, targets)
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, seeded(MODULES[name](), z.detach().float(), targets))
        value.backward()
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_drawing_at_the_extremes(name, dtype, sign):
    size, options = (1.0, {"scale": 1e4}) if name == "gcl" else (1e4, {"gamma": 0.5})
    for values in (sign * size * (2 * torch.eye(5) - 1), torch.full((5, 5), sign * size)):
        z = values.to(dtype).requires_grad_()
        result = seeded(MODULES[name](reduction="none", **options), z, torch.arange(5))
        result.sum().backward()
        assert torch.isfinite(result).all()
        assert torch.isfinite(z.grad).all()
        assert (result >= 0).all()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("rare", [False, True])
def test_an_ignored_image_changes_nothing_for_the_others_of_its_draw(name, targets, reduction, rare):
    """With ``rare`` every class of EQL is: an image without a label must not leave out all of them."""
    options = {"threshold": 1.0, "gamma": 1.0} if rare and name == "eql" else {}
    loss = partial(FUNCTIONS[name], class_counts=COUNTS, reduction="none", **options)
    z = scores(name, len(targets)).requires_grad_()
    every = loss(z, targets, generator=torch.Generator().manual_seed(0))
    some = targets.clone()
    some[[1, 4]] = -100
    kept = some != -100
    value = loss(z, some, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(value, torch.where(kept, every, 0.0))
    reduced = loss(z, some, reduction=reduction, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(reduced, {"none": value, "sum": value.sum(), "mean": value.sum() / 6}[reduction])
    (gradient,) = torch.autograd.grad(reduced.sum(), z)
    assert torch.isfinite(gradient).all()
    assert gradient[[1, 4]].eq(0).all()


def test_drawing_compiles_without_a_graph_break(name, targets):
    torch._dynamo.reset()
    loss = MODULES[name](weight=WEIGHT)
    for backend in ("eager", "aot_eager"):
        compiled = torch.compile(loss, fullgraph=True, backend=backend)
        z, other = (scores(name, len(targets)).requires_grad_() for _ in range(2))
        expected, value = seeded(loss, z, targets), seeded(compiled, other, targets)
        torch.testing.assert_close(value, expected)
        expected.backward()
        value.backward()
        torch.testing.assert_close(other.grad, z.grad)


def test_drawing_checks_nothing_where_values_are_trusted(name, targets):
    z = scores(name, len(targets))
    expected = seeded(MODULES[name](), z, targets)
    with trusted_values():
        assert torch.equal(seeded(MODULES[name](), z, targets), expected)


@pytest.mark.parametrize(
    ("which", "options", "error", "match"),
    [
        ("gcl", {"margin": -0.1}, ValueError, "margin is -0.1"),
        ("gcl", {"noise": -1}, ValueError, "noise is -1"),
        ("gcl", {"noise": "0.5"}, TypeError, "noise is '0.5'"),
        ("gcl", {"scale": 0}, ValueError, "scale is 0"),
        ("gcl", {"gamma": -1}, ValueError, "gamma is -1"),
        ("eql", {"threshold": 1.5}, ValueError, r"threshold is 1.5; allowed is a finite number in \[0, 1\]"),
        ("eql", {"threshold": None}, TypeError, "threshold is None"),
        ("eql", {"gamma": -0.1}, ValueError, "gamma is -0.1"),
        ("eql", {"gamma": 1.1}, ValueError, "gamma is 1.1"),
    ],
)
def test_bad_options(which, options, error, match):
    module, function = {"gcl": (GCLLoss, gcl_loss), "eql": (EqualizationLoss, equalization_loss)}[which]
    with pytest.raises(error, match=match):
        module(COUNTS, **options)
    with pytest.raises(error, match=match):
        function(torch.zeros(1, 5), torch.tensor([0]), COUNTS, **options)


def test_training_is_a_flag(name):
    with pytest.raises(TypeError, match="training is 'yes'"):
        FUNCTIONS[name](torch.zeros(1, 5), torch.tensor([0]), COUNTS, training="yes")
