"""The displayed equations of chapter 02, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import lt_core as lt
from lt_core.training.meters import PushMeter, loss_gradients

Check = Callable[..., None]
C, N = 5, 40


def batch(generator: torch.Generator, size: int = N) -> tuple[Tensor, Tensor]:
    """Random float64 logits (size, C) and labels with every class present."""
    logits = 2 * torch.randn(size, C, generator=generator, dtype=torch.float64)
    targets = torch.cat([torch.arange(C), torch.randint(0, 2, (size - C,), generator=generator)])
    return logits, targets


def autograd(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    point = at.detach().clone().requires_grad_()
    return torch.autograd.grad(function(point).sum(), point)[0]


def differences(function: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    """Central finite differences of a function (size, C) -> (size,) that treats rows apart."""
    columns = []
    for j in range(at.shape[1]):
        shift = torch.zeros_like(at)
        shift[:, j] = step
        columns.append((function(at + shift) - function(at - shift)) / (2 * step))
    return torch.stack(columns, dim=1)


def literal_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Minus the log of the target's softmax probability, written out; independent of torch's losses."""
    powers = logits.exp()
    return -(powers[torch.arange(len(targets)), targets] / powers.sum(1)).log()


def target_entries(matrix: Tensor, targets: Tensor) -> Tensor:
    return matrix[torch.arange(len(targets)), targets]


def literal_pushes(logits: Tensor, targets: Tensor) -> Tensor:
    """G[k, j] by loops over images and rows."""
    pushes = torch.zeros(C, C, dtype=torch.float64)
    for i, k in enumerate(targets.tolist()):
        total = sum(logits[i, m].exp() for m in range(C))
        for j in range(C):
            pushes[k, j] += logits[i, j].exp() / total - (1.0 if j == k else 0.0)
    return pushes


def offset_gradients(logits: Tensor, targets: Tensor) -> Tensor:
    """G by autograd: the gradient of class k's summed loss for an offset added to the logits of its images."""
    offset = torch.zeros(C, C, dtype=torch.float64, requires_grad=True)
    F.cross_entropy(logits + offset[targets], targets, reduction="sum").backward()
    assert offset.grad is not None
    return offset.grad


def adjustment(generator: torch.Generator, size: int) -> Tensor:
    return 3 * torch.rand(size, C, generator=generator, dtype=torch.float64)


@pytest.mark.display("94ff3e62")
def test_02_softmax(assert_equation: Check, generator: torch.Generator) -> None:
    logits, _ = batch(generator)
    right = logits.exp() / logits.exp().sum(1, keepdim=True)
    flipped = (-logits).exp() / (-logits).exp().sum(1, keepdim=True)
    assert_equation(torch.softmax(logits, 1), right, wrong=[flipped])


@pytest.mark.display("8499a636")
def test_02_loss(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    left = lt.losses.CrossEntropyLoss(reduction="none")(logits, targets)
    partition, target = logits.exp().sum(1).log(), target_entries(logits, targets)
    assert_equation(left, literal_loss(logits, targets))
    assert_equation(left, partition - target, wrong=[partition + target, -partition - target])


@pytest.mark.display("b1ef61d8")
def test_02_log_partition(assert_equation: Check, generator: torch.Generator) -> None:
    logits, _ = batch(generator)
    left = differences(lambda z: z.exp().sum(1).log(), logits)
    middle = logits.exp() / logits.exp().sum(1, keepdim=True)
    for right in (middle, logits.softmax(1)):
        assert_equation(left, right, wrong=[(-logits).softmax(1)], tolerance=1e-7)


@pytest.mark.display("7a35e03a")
def test_02_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    p, one_hot = logits.softmax(1), F.one_hot(targets, C).double()
    wrong = [p + one_hot, -p - one_hot, one_hot - p]
    assert_equation(autograd(lambda z: literal_loss(z, targets), logits), p - one_hot, wrong=wrong)


@pytest.mark.display("b27d0995")
def test_02_forces(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    gradient = differences(lambda z: literal_loss(z, targets), logits)
    own = F.one_hot(targets, C).bool()
    p = logits.softmax(1)
    positive, negative = 1 - p[own], p[~own]
    assert_equation(-gradient[own], positive, wrong=[1 + p[own], p[own]], tolerance=1e-7)
    assert_equation(gradient[~own], negative, wrong=[1 - negative], tolerance=1e-7)


@pytest.mark.display("1447efc0")
def test_02_balance(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    gradient = autograd(lambda z: literal_loss(z, targets), logits)
    rows = zip(gradient.tolist(), targets.tolist(), strict=True)
    negatives = torch.tensor([sum(row[j] for j in range(C) if j != y) for row, y in rows], dtype=torch.float64)
    own, p = F.one_hot(targets, C).bool(), logits.softmax(1)
    others, target = (p * ~own).sum(1), p[own]
    for right in (others, 1 - target, -gradient[own]):
        assert_equation(negatives, right, wrong=[1 + target, p.sum(1), target])


@pytest.mark.display("19938822")
def test_02_row_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    features = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    _, targets = batch(generator)
    layer = nn.Linear(3, C, dtype=torch.float64)
    F.cross_entropy(layer(features), targets, reduction="sum").backward()
    p = layer(features).detach().softmax(1)
    weight, bias = torch.zeros(2, C, 3, dtype=torch.float64), torch.zeros(2, C, dtype=torch.float64)
    for sign, factor in enumerate((-1.0, 1.0)):
        for i, y in enumerate(targets.tolist()):
            for j in range(C):
                push = p[i, j] + factor * (j == y)
                weight[sign, j] += push * features[i]
                bias[sign, j] += push
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    assert_equation(layer.weight.grad, weight[0], wrong=[weight[1]])
    assert_equation(layer.bias.grad, bias[0], wrong=[bias[1]])


def push_gradients(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """What the engine hands to the meter."""
    return loss_gradients(lt.losses.CrossEntropyLoss(), logits, targets, {})


@pytest.mark.display("cfb0398b")
def test_02_push_matrix(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    right = literal_pushes(logits, targets)
    one_hot = F.one_hot(targets, C).double()
    wrong = [one_hot.T @ (logits.softmax(1) + one_hot), right.T]
    assert_equation(offset_gradients(logits, targets), right, wrong=wrong)
    meter = PushMeter(C, torch.device("cpu"))
    for part in (slice(0, 7), slice(7, N)):
        meter.update(push_gradients(logits[part], targets[part]), targets[part])
    assert_equation(meter.pushes, right, wrong=wrong, tolerance=1e-5)


@pytest.mark.display("986df201")
def test_02_image_side(assert_equation: Check, generator: torch.Generator) -> None:
    pushes = offset_gradients(*batch(generator))
    off_diagonal = torch.stack([sum((pushes[k, j] for j in range(C) if j != k), torch.tensor(0.0)) for k in range(C)])
    assert_equation(-pushes.diagonal(), off_diagonal, wrong=[pushes.sum(1), pushes.diagonal()])


@pytest.mark.display("848ace46")
def test_02_row_side(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    layer_bias = autograd(lambda b: F.cross_entropy(logits + b, targets, reduction="sum"), torch.zeros(C).double())
    left = offset_gradients(logits, targets).sum(0)
    predicted, counts = logits.softmax(1).sum(0), torch.bincount(targets, minlength=C)
    assert_equation(left, predicted - counts, wrong=[predicted + counts])
    assert_equation(left, layer_bias)


@pytest.mark.display("df601207")
def test_02_ratio(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    pushes = literal_pushes(logits, targets)
    right = torch.stack([-pushes[j, j] / sum(pushes[k, j] for k in range(C) if k != j) for j in range(C)])
    p, own = logits.softmax(1), F.one_hot(targets, C).bool()
    left = ((1 - p) * own).sum(0) / (p * ~own).sum(0)
    wrong = [-pushes.diagonal() / pushes.sum(0), -pushes.diagonal() / (pushes.sum(1) - pushes.diagonal())]
    assert_equation(left, right, wrong=wrong)
    meter = PushMeter(C, torch.device("cpu"))
    meter.update(push_gradients(logits, targets), targets)
    assert_equation(meter.row_ratio(), right, wrong=wrong, tolerance=1e-5)


@pytest.mark.display("fce310fa")
def test_02_start(assert_equation: Check, generator: torch.Generator) -> None:
    _, targets = batch(generator)
    pushes = offset_gradients(torch.zeros(N, C, dtype=torch.float64), targets)
    left = -pushes.diagonal() / (pushes.sum(0) - pushes.diagonal())
    counts = torch.bincount(targets, minlength=C).double()
    wrong = [counts * (C + 1) / (N - counts), counts * (C - 1) / (N + counts), (N - counts) / counts / (C - 1)]
    for right in (counts * (1 - 1 / C) / ((N - counts) / C), counts * (C - 1) / (N - counts)):
        assert_equation(left, right, wrong=wrong)


def optimum(features: Tensor, targets: Tensor) -> nn.Linear:
    """The minimum of softmax regression with a bias, by L-BFGS in float64."""
    layer = nn.Linear(features.shape[1], C, dtype=torch.float64)
    optimizer = torch.optim.LBFGS(
        layer.parameters(), max_iter=3000, tolerance_grad=1e-12, tolerance_change=0.0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(layer(features), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    return layer


@pytest.mark.display("2a127ddf")
def test_02_stationary(assert_equation: Check, generator: torch.Generator) -> None:
    targets = torch.arange(C).repeat_interleave(torch.tensor([60, 30, 15, 8, 6]))
    features = torch.randn(len(targets), 2, generator=generator, dtype=torch.float64)
    features[:, 0] += targets / 2
    layer = optimum(features, targets)
    counts = torch.bincount(targets).double()
    with torch.no_grad():
        predicted, decided = layer(features).softmax(1).sum(0), layer(features).argmax(1)
    assert_equation(predicted, counts, wrong=[len(targets) - counts], tolerance=1e-5)
    assert not torch.equal(torch.bincount(decided, minlength=C).double(), counts), "the sums balance, decisions do not"


@pytest.mark.display("930cffa9")
def test_02_ledger(assert_equation: Check, generator: torch.Generator) -> None:
    features = torch.randn(N, 3, generator=generator, dtype=torch.float64)
    _, targets = batch(generator)
    layer, rate = nn.Linear(3, C, dtype=torch.float64), 0.7
    start = layer.bias.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    positive, negative = torch.zeros(2, C, dtype=torch.float64)
    for _ in range(25):
        pushes = offset_gradients(layer(features).detach(), targets)
        positive -= pushes.diagonal()
        negative += pushes.sum(0) - pushes.diagonal()
        optimizer.zero_grad()
        F.cross_entropy(layer(features), targets).backward()
        optimizer.step()
    assert_equation(
        layer.bias.detach() - start,
        rate / N * (positive - negative),
        wrong=[rate / N * (positive + negative), rate * (positive - negative)],
    )


@pytest.mark.display("9597d68a")
def test_02_adjusted(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    counts = torch.tensor([50, 20, 9, 4, 2])
    prior = (counts / counts.sum()).double()
    left = (-lt.losses.logit_adjusted_loss(logits, targets, counts, reduction="none")).exp()

    def right(sign: float) -> Tensor:
        powers = (logits + sign * -prior.log()).exp()
        return target_entries(powers / powers.sum(1, keepdim=True), targets)

    assert_equation(left, right(-1.0), wrong=[right(1.0), right(0.0)], tolerance=1e-6)


@pytest.mark.display("0ede6590")
def test_02_adjusted_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    adjusting = adjustment(generator, N)
    left = differences(lambda z: literal_loss(z - adjusting, targets), logits)
    one_hot = F.one_hot(targets, C).double()
    wrong = [(logits + adjusting).softmax(1) - one_hot, logits.softmax(1) - one_hot]
    wrong += [(logits - adjusting).softmax(1) + one_hot]
    p = (logits - adjusting).softmax(1)
    cases = torch.stack(
        [torch.stack([p[i, j] - 1 if j == y else p[i, j] for j in range(C)]) for i, y in enumerate(targets.tolist())]
    )
    for right in (p - one_hot, cases):
        assert_equation(left, right, wrong=wrong, tolerance=1e-7)


def target_force(logits: Tensor, adjusting: Tensor, targets: Tensor, scale: float = 1.0) -> Tensor:
    """|dl/df_y| by autograd, differentiable once more; f are the logits, z = scale * (f - A)."""
    point = logits.detach().clone().requires_grad_()
    loss = literal_loss(scale * (point - adjusting), targets).sum()
    return target_entries(torch.autograd.grad(loss, point, create_graph=True)[0], targets).abs()


def growth(logits: Tensor, adjusting: Tensor, targets: Tensor, scale: float = 1.0) -> Tensor:
    """The derivative of that force with respect to A_y."""
    moved = adjusting.detach().clone().requires_grad_()
    force = target_force(logits, moved, targets, scale)
    return target_entries(torch.autograd.grad(force.sum(), moved)[0], targets)


@pytest.mark.display("7e9d27f2")
def test_02_odds(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    adjusting = adjustment(generator, N)
    force = target_force(logits, adjusting, targets).detach()
    rest, left_out = torch.zeros(N, dtype=torch.float64), torch.zeros(N, dtype=torch.float64)
    for i, y in enumerate(targets.tolist()):
        for j in range(C):
            rest[i] += (logits[i, j] - adjusting[i, j]).exp() * (j != y)
            left_out[i] += logits[i, j].exp() * (j != y)
    gap = target_entries(adjusting - logits, targets)
    wrong = [rest * (-gap).exp(), left_out * gap.exp(), gap.exp() / rest]
    p = target_entries((logits - adjusting).softmax(1), targets)
    for right in ((1 - p) / p, rest * gap.exp()):
        assert_equation(force / (1 - force), right, wrong=wrong, tolerance=1e-7)


@pytest.mark.display("46856ffd")
def test_02_growth(assert_equation: Check, generator: torch.Generator) -> None:
    logits, targets = batch(generator)
    adjusting = adjustment(generator, N)
    p = target_entries((logits - adjusting).softmax(1), targets)
    q = target_entries((logits + adjusting).softmax(1), targets)
    force = target_force(logits, adjusting, targets).detach()
    for right in (force * (1 - force), p * (1 - p)):
        assert_equation(growth(logits, adjusting, targets), right, wrong=[p * (1 + p), q * (1 - q)])


@pytest.mark.display("2184d9ed")
def test_02_growth_scaled(assert_equation: Check, generator: torch.Generator) -> None:
    cosines = torch.rand(N, C, generator=generator, dtype=torch.float64) * 0.4 - 0.2
    _, targets = batch(generator)
    adjusting, scale = 0.1 * adjustment(generator, N), 7.0
    p = target_entries((scale * (cosines - adjusting)).softmax(1), targets)
    on_cosines = growth(cosines, adjusting, targets, scale)
    # A derivative for z = s cos is the one for cos over s.
    on_logits = on_cosines / scale
    slope = p * (1 - p)
    assert_equation(on_logits, scale * slope, wrong=[slope, scale**2 * slope, scale * p * (1 + p)])
    assert_equation(on_cosines, scale**2 * slope, wrong=[slope, scale * slope, scale**2 * p * (1 + p)])
