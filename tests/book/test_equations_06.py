"""The displayed equations of chapter 06, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

COUNTS = [500, 90, 20, 5]
SCALE = 7.0  # small enough that no probability saturates
Check = Callable[..., None]


def draw(generator: torch.Generator, rows: int = 6) -> tuple[Tensor, Tensor]:
    """Cosines (rows, 4) in (-0.9, 0.9) and a label of every class."""
    noise = torch.randn(rows, len(COUNTS), generator=generator, dtype=torch.float64)
    return 0.9 * torch.tanh(0.5 * noise), torch.arange(rows) % len(COUNTS)


def literal_qf(label: int) -> float:
    return 1 / math.log(COUNTS[label] / min(COUNTS) + 1)


def literal_margins(cosines: Tensor, targets: Tensor) -> Tensor:
    """A of every sample, from plain Python numbers."""
    values = [(1 - row[y].item()) / 2 * literal_qf(int(y)) for row, y in zip(cosines, targets, strict=True)]
    return torch.tensor(values, dtype=torch.float64)


def adjusted_probabilities(cosines: Tensor, targets: Tensor, sign: float = 1.0) -> Tensor:
    """The softmax of the adjusted scores, by exponentials; ``sign=-1`` adds the margin."""
    hot = F.one_hot(targets, len(COUNTS))
    powers = torch.exp(SCALE * (cosines - sign * literal_margins(cosines, targets)[:, None] * hot))
    return powers / powers.sum(1, keepdim=True)


def loss_gradient(cosines: Tensor, targets: Tensor, detach: bool = True) -> Tensor:
    leaf = cosines.clone().requires_grad_()
    lt.losses.ala_loss(leaf, targets, COUNTS, scale=SCALE, detach=detach, reduction="sum").backward()
    assert leaf.grad is not None
    return leaf.grad


def quantity_of(targets: Tensor) -> Tensor:
    return torch.tensor([literal_qf(int(y)) for y in targets], dtype=torch.float64)


@pytest.mark.display("f845e81f")
def test_06_cosine(assert_equation: Check, generator: torch.Generator) -> None:
    classifier = lt.models.CosineClassifier(5, 4).double()
    features = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    weight = classifier.weight.detach()
    inner = torch.stack([torch.stack([(w * h).sum() for w in weight]) for h in features])
    lengths, sizes = (t.pow(2).sum(1).sqrt() for t in (weight, features))
    norms = torch.outer(sizes, lengths)
    assert_equation(classifier(features).detach(), inner / norms, wrong=[inner * norms, inner])


@pytest.mark.display("ab9f2e8c")
def test_06_smallest_loss(assert_equation: Check, generator: torch.Generator) -> None:
    classes, scale = 4, 3.0

    def mean_loss(features: Tensor, vectors: Tensor) -> Tensor:
        cosines = F.normalize(features, dim=1) @ F.normalize(vectors, dim=1).T
        return F.cross_entropy(scale * cosines, torch.arange(classes))

    def smallest_found(dimension: int) -> float:
        start = torch.randn(2, classes, dimension, generator=generator, dtype=torch.float64)
        free = start.requires_grad_()
        optimizer = torch.optim.LBFGS([free], max_iter=500, tolerance_grad=1e-11, line_search_fn="strong_wolfe")

        def closure() -> Tensor:
            optimizer.zero_grad()
            loss = mean_loss(free[0], free[1])
            loss.backward()
            return loss

        optimizer.step(closure)
        return mean_loss(free[0], free[1]).item()

    def formula(sign: float = 1.0, c: int = classes) -> float:
        return math.log(1 + (c - 1) * math.exp(-sign * scale * c / (c - 1)))

    wrong = [formula(-1.0), formula(c=classes + 1), math.log(1 + (classes + 1) * math.exp(-scale * 4 / 3))]
    wrong.append(math.log(1 - (classes - 1) * math.exp(-scale * 4 / 3)))
    assert_equation(smallest_found(classes - 1), formula(), wrong)
    # One dimension fewer does not suffice, and nothing gets below the bound.
    assert min(smallest_found(classes - 2) for _ in range(3)) > formula() + 1e-3


@pytest.mark.display("5f355603")
def test_06_ldam(assert_equation: Check) -> None:
    literal = torch.tensor([0.5 * (min(COUNTS) / n) ** 0.25 for n in COUNTS], dtype=torch.float64)
    flipped = torch.tensor([0.5 * (min(COUNTS) / n) ** -0.25 for n in COUNTS], dtype=torch.float64)
    assert_equation(lt.losses.ldam_margins(COUNTS, dtype=torch.float64), literal, wrong=[flipped, 2 * literal])


@pytest.mark.display("17bcfcf8")
def test_06_adjustment(assert_equation: Check, generator: torch.Generator) -> None:
    # The left side is read off the loss: with one rival the target's odds give the amount taken off.
    cosines, targets = draw(generator)
    loss = lt.losses.ala_loss(cosines, targets, COUNTS, scale=SCALE, reduction="none")
    rest = torch.stack(
        [
            sum((torch.exp(SCALE * row[j]) for j in range(4) if j != y), torch.zeros((), dtype=torch.float64))
            for row, y in zip(cosines, targets, strict=True)
        ]
    )
    target = cosines.gather(1, targets[:, None]).squeeze(1)
    subtracted = target - torch.log(rest / torch.expm1(loss)) / SCALE
    df, qf = (1 - target) / 2, quantity_of(targets)
    assert_equation(subtracted, df * qf, wrong=[df + qf, df / qf, df])


@pytest.mark.display("0a50ac43")
def test_06_df(assert_equation: Check, generator: torch.Generator) -> None:
    angle = math.pi * torch.rand(20, generator=generator, dtype=torch.float64)
    df = lt.losses.difficulty_factor(angle.cos())
    assert_equation(df, torch.sin(angle / 2) ** 2, wrong=[torch.cos(angle / 2) ** 2])
    assert_equation(df, (1 - angle.cos()) / 2, wrong=[(1 + angle.cos()) / 2])
    assert ((df >= 0) & (df <= 1)).all()


@pytest.mark.display("2b04c303")
def test_06_df_distance(assert_equation: Check, generator: torch.Generator) -> None:
    h, w = torch.randn(2, 10, 7, generator=generator, dtype=torch.float64)
    df = lt.losses.difficulty_factor(F.cosine_similarity(h, w))
    h, w = h / h.norm(dim=1, keepdim=True), w / w.norm(dim=1, keepdim=True)
    quarter = ((h - w) ** 2).sum(1) / 4
    assert_equation(df, quarter, wrong=[((h + w) ** 2).sum(1) / 4, 2 * quarter])


@pytest.mark.display("85aeaa1e")
def test_06_qf(assert_equation: Check) -> None:
    literal = torch.tensor([literal_qf(k) for k in range(4)], dtype=torch.float64)
    ratio = torch.tensor(COUNTS, dtype=torch.float64) / min(COUNTS)
    flipped = [1 / torch.log(ratio - 1), 1 / torch.log(1 / ratio + 1)]
    assert_equation(lt.losses.quantity_factor(COUNTS, dtype=torch.float64), literal, wrong=[*flipped, 1 / literal])
    assert literal.max().item() == 1 / math.log(2)


@pytest.mark.display("b41ce580")
def test_06_elasticity(assert_equation: Check, generator: torch.Generator) -> None:
    smallest = 5.0
    log_n = (math.log(smallest) + 6 * torch.rand(10, generator=generator, dtype=torch.float64)).requires_grad_()
    log_factor = torch.log(1 / torch.log(torch.exp(log_n) / smallest + 1))
    (slope,) = torch.autograd.grad(log_factor.sum(), log_n)
    n = torch.exp(log_n.detach())

    def right(sign: float = 1.0, inner: float = 1.0) -> Tensor:
        return -n / ((n + sign * smallest) * torch.log((n / smallest + inner).abs()))

    assert_equation(slope, right(), wrong=[right(sign=-1.0), right(inner=-1.0), n / smallest * right()])


@pytest.mark.display("9f827c1b")
def test_06_loss(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    loss = lt.losses.ala_loss(cosines, targets, COUNTS, scale=SCALE, reduction="none")
    index = torch.arange(len(targets)), targets
    literal, flipped = (-torch.log(adjusted_probabilities(cosines, targets, sign)[index]) for sign in (1.0, -1.0))
    assert_equation(loss, literal, wrong=[flipped])


@pytest.mark.display("b8eb4dcc")
def test_06_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    hot = F.one_hot(targets, 4)
    p, p_flipped = (adjusted_probabilities(cosines, targets, sign) for sign in (1.0, -1.0))
    gradient = loss_gradient(cosines, targets)
    assert_equation(gradient, SCALE * (p - hot), wrong=[SCALE * (p + hot), SCALE * (p_flipped - hot), p - hot])
    assert gradient.sum(1).abs().max() < 1e-12


@pytest.mark.display("f5ae317d")
def test_06_odds(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    p = (SCALE * cosines).softmax(1).gather(1, targets[:, None]).squeeze(1)
    adjusted = torch.exp(-lt.losses.ala_loss(cosines, targets, COUNTS, scale=SCALE, reduction="none"))
    growth = torch.exp(SCALE * literal_margins(cosines, targets))
    assert_equation((1 - adjusted) / adjusted, growth * (1 - p) / p, wrong=[(1 - p) / p / growth])


@pytest.mark.display("b0915065")
def test_06_target_line(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    factors = lt.losses.ALALoss(COUNTS).factors(cosines, targets)
    target, qf = cosines.gather(1, targets[:, None]).squeeze(1), quantity_of(targets)
    left = target - factors["DF"] * factors["QF"]
    right = (1 + qf / 2) * target - qf / 2
    assert_equation(left, right, wrong=[(1 - qf / 2) * target - qf / 2, (1 + qf / 2) * target + qf / 2])


@pytest.mark.display("0e2f277a")
def test_06_gradient_attached(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    hot, qf = F.one_hot(targets, 4), quantity_of(targets)[:, None]
    g = SCALE * (adjusted_probabilities(cosines, targets) - hot)
    attached = loss_gradient(cosines, targets, detach=False)
    assert_equation(attached, (1 + qf / 2 * hot) * g, wrong=[(1 - qf / 2 * hot) * g, (1 + qf / 2) * g, g])
    # The page's exercise: a step of the feature along the detached field can raise the loss, though one of the
    # cosines cannot. Own vector (5 images) at 30 degrees, rival (500) at 40, feature at 0.
    angles = torch.tensor([40.0, 30.0], dtype=torch.float64).deg2rad()
    vectors, own = torch.stack([angles.cos(), angles.sin()]), torch.tensor([1])
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64, requires_grad=True)

    def value(x: Tensor, detach: bool) -> Tensor:
        return lt.losses.ala_loss(F.normalize(x) @ vectors, own, [500, 5], detach=detach)

    step, slope = (torch.autograd.grad(value(x, detach), x)[0] for detach in (True, False))
    assert_equation(-(step * slope).sum(), 6.317, tolerance=1e-4)
    after = value(x.detach() - 1e-6 * step, True)
    assert_equation((after - value(x.detach(), True)) / 1e-6, 6.317, tolerance=1e-4)


@pytest.mark.display("4cb95049")
def test_06_row_sum(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator)
    p = adjusted_probabilities(cosines, targets).gather(1, targets[:, None]).squeeze(1)
    qf = quantity_of(targets)
    sums = loss_gradient(cosines, targets, detach=False).sum(1)
    assert_equation(sums, -SCALE * qf / 2 * (1 - p), wrong=[-SCALE * qf / 2 * (1 + p), -SCALE * qf / 2 * p])


@pytest.mark.display("07fa5d73")
def test_06_jacobian(assert_equation: Check, generator: torch.Generator) -> None:
    cosines, targets = draw(generator, rows=4)
    step = 1e-5
    for row, y in zip(cosines, targets, strict=True):
        label = int(y)

        def field(shift: Tensor, row: Tensor = row, y: Tensor = y) -> Tensor:
            return loss_gradient((row + shift)[None], y[None])[0]

        shifts = step * torch.eye(4, dtype=torch.float64)
        jacobian = torch.stack([(field(e) - field(-e)) / (2 * step) for e in shifts], dim=1)
        others = [j for j in range(4) if j != label]
        down, across = jacobian[others, label], jacobian[label, others]
        qf = literal_qf(label)
        assert_equation(down, (1 + qf / 2) * across, wrong=[(1 - qf / 2) * across, across], tolerance=1e-6)
