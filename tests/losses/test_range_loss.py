import math
from itertools import combinations

import pytest
import torch
from torch.autograd import gradcheck

from lt_core.losses import RangeLoss, range_loss

TARGETS = torch.tensor([0, 1, 0, 2, 1, 0, 0, 4])  # class 2 and 4 have one image, class 3 none, class 1 one pair


def draw(rows=8, seed=0):
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def literal(rows, labels, k, margin, intra, inter):
    """The docstring's terms, with plain numbers."""
    groups = {c: [row for row, y in zip(rows, labels, strict=True) if y == c] for c in set(labels) - {-100}}
    first = 0.0
    for group in groups.values():
        distances = sorted((math.dist(a, b) ** 2 for a, b in combinations(group, 2)), reverse=True)[:k]
        first += len(distances) / sum(1 / d for d in distances) if distances else 0.0
    centres = [[sum(column) / len(group) for column in zip(*group, strict=True)] for group in groups.values()]
    nearest = min((math.dist(a, b) ** 2 for a, b in combinations(centres, 2)), default=math.inf)
    return intra * first + inter * max(0.0, margin - nearest)


@pytest.mark.parametrize("k", [1, 2, 5, 100])
@pytest.mark.parametrize(("margin", "intra", "inter"), [(9.0, 0.3, 0.0), (9.0, 0.0, 0.7), (0.1, 0.3, 0.7)])
def test_value_is_that_of_the_docstring(k, margin, intra, inter):
    expected = literal(draw().tolist(), TARGETS.tolist(), k, margin, intra, inter)
    for value in (
        range_loss(draw(), TARGETS, 5, k, margin, intra, inter),
        RangeLoss(5, k, margin, intra, inter)(draw(), TARGETS),
    ):
        assert value.item() == pytest.approx(expected, rel=1e-4)
    assert expected > 0 or inter > 0


def test_gradcheck():
    features = draw().requires_grad_()
    assert gradcheck(lambda x: range_loss(x, TARGETS, 5, margin=9.0, intra=0.3, inter=0.7), (features,), atol=1e-4)


def test_one_outlier_does_not_decide():
    """The two largest distances are both the outlier's; with the mean of all they would grow without bound too."""
    near, far = torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([[0.0], [1.0], [200.0]])
    same = torch.zeros(3, dtype=torch.int64)
    assert range_loss(near, same, 2, k=3, intra=1.0, inter=0.0).item() == pytest.approx(3 / (1 / 4 + 1 + 1), rel=1e-4)
    assert range_loss(far, same, 2, k=3, intra=1.0, inter=0.0).item() < 3.0  # of distances 1, 39601 and 40000


def test_the_second_term_ends_at_the_margin():
    features, targets = torch.tensor([[0.0], [3.0], [5.0]]).requires_grad_(), torch.tensor([0, 1, 2])
    assert range_loss(features, targets, 3, margin=4.0).item() == 0.0
    loss = range_loss(features, targets, 3, margin=5.0, inter=0.1)
    assert loss.item() == pytest.approx(0.1)
    (gradient,) = torch.autograd.grad(loss, features)
    assert gradient[:, 0].tolist() == pytest.approx([0.0, 0.4, -0.4])  # the nearest two are pushed apart


def test_an_image_that_is_drawn_twice():
    features = torch.ones(4, 3, requires_grad=True)
    loss = range_loss(features, torch.zeros(4, dtype=torch.int64), 2)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert gradient.eq(0).all()
    twice = torch.tensor([[0.0], [0.0], [1.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(range_loss(twice, torch.zeros(3, dtype=torch.int64), 2, intra=1.0), twice)
    assert gradient.isfinite().all()


def test_ignored_images_are_not_there():
    some = TARGETS.clone()
    some[[0, 3]] = -100
    kept = some != -100
    expected = range_loss(draw()[kept], TARGETS[kept], 5, margin=9.0)
    torch.testing.assert_close(range_loss(draw(), some, 5, margin=9.0), expected)
    assert range_loss(draw(), torch.full((8,), -100), 5).item() == 0.0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("size", [1.0, 1e4])
def test_dtypes_and_extremes(dtype, size):
    features = (size * draw().sign()).to(dtype).requires_grad_()
    loss = range_loss(features, TARGETS, 5)
    assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (gradient,) = torch.autograd.grad(loss, features)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_compiles_without_a_graph_break():
    torch._dynamo.reset()
    loss = RangeLoss(5)
    compiled = torch.compile(loss, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(draw(), TARGETS), loss(draw(), TARGETS))


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"k": 0}, ValueError, "k is 0"),
        ({"margin": -1.0}, ValueError, "margin is -1"),
        ({"intra": math.nan}, ValueError, "intra is nan"),
        ({"inter": "1"}, TypeError, "inter is '1'"),
        ({"num_classes": 1}, ValueError, "num_classes is 1"),
    ],
)
def test_bad_options(options, error, match):
    with pytest.raises(error, match=match):
        RangeLoss(**{"num_classes": 5, **options})
    with pytest.raises(error, match=match):
        range_loss(draw(), TARGETS, **{"num_classes": 5, **options})


@pytest.mark.parametrize(
    ("features", "targets", "error", "match"),
    [
        (draw()[0], TARGETS, ValueError, "shape"),
        (draw().long(), TARGETS, TypeError, "int64"),
        (draw() * math.nan, TARGETS, ValueError, "NaN"),
        (draw(), TARGETS[:3], ValueError, "targets"),
        (draw(), TARGETS + 1, ValueError, "label 5"),
    ],
)
def test_bad_input_is_named(features, targets, error, match):
    with pytest.raises(error, match=match):
        range_loss(features, targets, 5)
