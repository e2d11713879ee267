"""The displayed equations of chapter 07, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import lt_core as lt

Check = Callable[..., None]
CLASSES, SIZE, STEPS, EPS = 5, 8, 12, 1e-3
LAMBDA1, LAMBDA2 = 1.2, 0.9


def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random logits and labels, with every class present."""
    logits = 2 * torch.randn(SIZE, CLASSES, generator=generator, dtype=torch.float64)
    rest = torch.randint(CLASSES, (SIZE - CLASSES,), generator=generator)
    return logits, torch.cat([torch.arange(CLASSES), rest])


def accumulator(generator: torch.Generator) -> Tensor:
    return 0.05 + 3 * torch.rand(CLASSES, generator=generator, dtype=torch.float64)


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(z - max(row)) for z in row]
    return [power / sum(powers) for power in powers]


def mean_loss_gradient(adjusted: Tensor, labels: Tensor) -> Tensor:
    """What the released code collects: the gradient of the mean loss on a detached copy of the adjusted logits."""
    copy = adjusted.detach().clone().requires_grad_()
    F.cross_entropy(copy, labels).backward()
    assert copy.grad is not None
    return copy.grad


def table(gradient: Tensor, labels: Tensor) -> Tensor:
    """Absolute gradients, line of the sample's class k, column of the row j; one sample at a time."""
    pushes = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
    for i, k in enumerate(labels.tolist()):
        pushes[k] += gradient[i].abs()
    return pushes


def released_run(generator: torch.Generator, steps: int = STEPS) -> tuple[list[Tensor], Tensor, lt.losses.GALALoss]:
    """The tables |G(1)|/B, ..., |G(t)|/B, then Phi(t), and a GALALoss that has seen the same batches.

    The loop keeps theta and phi apart and subtracts the lambda2 term; the Module does neither.
    """
    loss = lt.losses.GALALoss(CLASSES, lambda_pos=LAMBDA1, lambda_neg=LAMBDA2, eps=EPS).double()
    tables: list[Tensor] = []
    Theta = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
    Phi = torch.zeros_like(Theta)
    for _ in range(steps):
        logits, labels = batch(generator)
        theta, phi = Phi.diagonal(), Phi.sum(1) - Phi.diagonal()
        adjusted = logits + LAMBDA1 * torch.log(theta + EPS) - LAMBDA2 * torch.log(phi[labels] + EPS)[:, None]
        pushes = table(mean_loss_gradient(adjusted, labels), labels)
        Theta = Theta + pushes
        Phi = Phi + Theta
        tables.append(pushes)
        loss(logits, labels)
    return tables, Phi, loss


def off_diagonal(matrix: Tensor) -> Tensor:
    return matrix * (1 - torch.eye(len(matrix), dtype=matrix.dtype))


@pytest.mark.display("7cfcf638")
def test_07_balance(assert_equation: Check, generator: torch.Generator) -> None:
    logits, labels = batch(generator)
    adjusted = logits + torch.log(accumulator(generator))
    positive = -SIZE * mean_loss_gradient(adjusted, labels).gather(1, labels[:, None])[:, 0]
    rows = [softmax(row) for row in adjusted.tolist()]
    negatives = [sum(p for j, p in enumerate(row) if j != k) for row, k in zip(rows, labels.tolist(), strict=True)]
    own = torch.tensor([row[k] for row, k in zip(rows, labels.tolist(), strict=True)], dtype=torch.float64)
    right = torch.tensor(negatives, dtype=torch.float64)
    for left in (positive, 1 - own):
        assert_equation(left, right, wrong=[1 + own, right + own, right - own])


@pytest.mark.display("79bb3956")
def test_07_table(assert_equation: Check, generator: torch.Generator) -> None:
    logits, labels = batch(generator)
    adjusted = logits + torch.log(accumulator(generator))
    released = table(mean_loss_gradient(adjusted, labels), labels)
    G = F.one_hot(labels, CLASSES).double().T @ (adjusted.softmax(1) - F.one_hot(labels, CLASSES))  # chapter 02's

    def literal(sign: int, absolute: bool = True) -> Tensor:
        pushes = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
        for row, k in zip(adjusted.tolist(), labels.tolist(), strict=True):
            for j, p in enumerate(softmax(row)):
                value = p - sign * (j == k)
                pushes[k, j] += (abs(value) if absolute else value) / SIZE
        return pushes

    for left in (released, G.abs() / SIZE):
        assert_equation(left, literal(1), wrong=[literal(-1), literal(1, absolute=False), literal(1).T])


@pytest.mark.display("137157f7")
def test_07_sums(assert_equation: Check, generator: torch.Generator) -> None:
    tables = torch.rand(STEPS, CLASSES, CLASSES, generator=generator, dtype=torch.float64)

    def recursion(inner: int, outer: int) -> Tensor:
        Theta = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
        Phi = torch.zeros_like(Theta)
        for pushes in tables:
            Theta = Theta + inner * pushes
            Phi = Phi + outer * Theta
        return torch.stack([Theta, Phi])

    twice = torch.stack([tables[: v + 1].sum(0) for v in range(STEPS)]).sum(0)
    left = torch.stack([tables.sum(0), twice])
    assert_equation(left, recursion(1, 1), wrong=[recursion(-1, 1), recursion(1, -1), recursion(-1, -1)])


@pytest.mark.display("73abe3f2")
def test_07_accumulators(assert_equation: Check, generator: torch.Generator) -> None:
    _, Phi, loss = released_run(generator)
    left = torch.stack([loss.theta, loss.phi])
    diagonal = Phi.diagonal()
    right = torch.stack([diagonal, off_diagonal(Phi).sum(1)])
    by_column = torch.stack([diagonal, off_diagonal(Phi).sum(0)])
    subtracted = torch.stack([diagonal, off_diagonal(Phi).sum(1) - 2 * Phi[:, 0]])
    assert_equation(left, right, wrong=[by_column, subtracted, torch.stack([-diagonal, right[1]])])


@pytest.mark.display("09a009a0")
def test_07_one_vector(assert_equation: Check, generator: torch.Generator) -> None:
    tables, last, _ = released_run(generator)
    Phi = torch.stack(tables).cumsum(0).cumsum(0)  # Phi(1), ..., Phi(t): after every step
    assert torch.allclose(Phi[-1], last)
    theta = Phi.diagonal(dim1=1, dim2=2)
    phi = Phi.sum(2) - theta
    assert_equation(theta, phi, wrong=[Phi.sum(1) - theta, Phi.sum(2), Phi.sum(2) - 2 * theta + 1e-3])


@pytest.mark.display("3cf6d651")
def test_07_formula(assert_equation: Check, generator: torch.Generator) -> None:
    (logits, labels), theta = batch(generator), accumulator(generator)
    phi = theta  # 07-one-vector: the package keeps one
    left = lt.losses.gala_logits(logits, labels, theta, LAMBDA1, LAMBDA2, form="formula", eps=EPS)

    def literal(first: float, second: float, target_too: bool = False) -> Tensor:
        adjusted = logits.clone()
        for i, k in enumerate(labels.tolist()):
            for j in range(CLASSES):
                if j != k or target_too:
                    adjusted[i, j] += first * math.log(theta[j] + EPS) + second * math.log(phi[k] + EPS)
        return adjusted

    wrong = [literal(-LAMBDA1, -LAMBDA2), literal(LAMBDA1, LAMBDA2), literal(LAMBDA1, -LAMBDA2, target_too=True)]
    assert_equation(left, literal(LAMBDA1, -LAMBDA2), wrong)


def released(
    logits: Tensor, labels: Tensor, theta: Tensor, phi: Tensor, first: float = LAMBDA1, second: float = -LAMBDA2
) -> Tensor:
    adjusted = logits.clone()
    for i, k in enumerate(labels.tolist()):
        for j in range(CLASSES):
            adjusted[i, j] += first * math.log(theta[j] + EPS) + second * math.log(phi[k] + EPS)
    return adjusted


@pytest.mark.display("7f78f927")
def test_07_released(assert_equation: Check, generator: torch.Generator) -> None:
    # Here phi is any vector, so that the sign of its term shows; the softmax of the released code does not see it.
    (logits, labels), theta, phi = batch(generator), accumulator(generator), accumulator(generator)
    raised = logits + LAMBDA1 * torch.log((theta + EPS).expand(SIZE, -1))
    left = raised - LAMBDA2 * torch.log(phi[labels][:, None] + EPS)
    right = released(logits, labels, theta, phi)
    flipped = [released(logits, labels, theta, phi, a, b) for a, b in ((-1.2, -0.9), (1.2, 0.9), (-1.2, 0.9))]
    assert_equation(left, right, wrong=[*flipped, released(logits, labels, phi, theta)])
    ours = lt.losses.gala_logits(logits, labels, theta, LAMBDA1, LAMBDA2, form="released", eps=EPS)
    assert_equation(ours.log_softmax(1), right.log_softmax(1), wrong=[flipped[0].log_softmax(1)])


@pytest.mark.display("0c470a56")
def test_07_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    for form in ("released", "formula"):
        (logits, labels), theta = batch(generator), accumulator(generator)
        logits.requires_grad_()
        loss = lt.losses.gala_loss(logits, labels, theta, LAMBDA1, LAMBDA2, form, EPS, reduction="sum")
        (left,) = torch.autograd.grad(loss, logits)
        adjusted = lt.losses.gala_logits(logits.detach(), labels, theta, LAMBDA1, LAMBDA2, form, EPS)
        p = torch.tensor([softmax(row) for row in adjusted.tolist()], dtype=torch.float64)
        target = F.one_hot(labels, CLASSES)
        assert_equation(left, p - target, wrong=[p + target, -p - target])


@pytest.mark.display("386690de")
def test_07_cancels(assert_equation: Check, generator: torch.Generator) -> None:
    (logits, labels), theta, phi = batch(generator), accumulator(generator), accumulator(generator)

    def ratio(power: float, sign: int) -> Tensor:
        terms = (theta + EPS) ** power * torch.exp(sign * logits)
        return terms / terms.sum(1, keepdim=True)

    for second in (0.0, -LAMBDA2, 5.0):
        left = released(logits, labels, theta, phi, second=second).softmax(1)
        assert_equation(left, ratio(LAMBDA1, 1), wrong=[ratio(-LAMBDA1, 1), ratio(LAMBDA1, -1)])
    ours = lt.losses.gala_logits(logits, labels, theta, LAMBDA1, 7.0, eps=EPS).softmax(1)
    assert_equation(ours, ratio(LAMBDA1, 1))


@pytest.mark.display("10f69211")
def test_07_gaps(assert_equation: Check, generator: torch.Generator) -> None:
    (logits, labels), theta = batch(generator), accumulator(generator)

    def gaps(form: str) -> Tensor:
        adjusted = lt.losses.gala_logits(logits, labels, theta, LAMBDA1, LAMBDA2, form, EPS)
        return (adjusted - adjusted.gather(1, labels[:, None]))[F.one_hot(labels, CLASSES) == 0]

    rivals = [(i, j, k) for i, k in enumerate(labels.tolist()) for j in range(CLASSES) if j != k]
    log = [math.log(value + EPS) for value in theta.tolist()]

    def values(first: float, second: float) -> Tensor:
        """The plain gap, plus the first weight times the rival's logarithm, plus the second times the target's."""
        terms = [(logits[i, j] - logits[i, k]).item() + first * log[j] + second * log[k] for i, j, k in rivals]
        return torch.tensor(terms, dtype=torch.float64)

    plain = values(0.0, 0.0)
    for form, relief in (("formula", LAMBDA2), ("released", LAMBDA1)):
        wrong = [values(LAMBDA1, relief), values(-LAMBDA1, -relief), values(relief + 0.1, -LAMBDA1), plain]
        wrong.append(values(LAMBDA1, -relief) - 2 * plain)
        assert_equation(gaps(form), values(LAMBDA1, -relief), wrong)
    right = values(0.0, LAMBDA1 - LAMBDA2) - plain
    wrong = [values(0.0, LAMBDA1 + LAMBDA2) - plain, -right, values(LAMBDA1 - LAMBDA2, 0.0) - plain]
    assert_equation(gaps("formula") - gaps("released"), right, wrong)
    # The condition j != k: the target's own gap is zero in both forms, so the difference there is zero.
    log_theta = (LAMBDA1 - LAMBDA2) * torch.tensor(log, dtype=torch.float64)[labels][:, None].expand(SIZE, CLASSES)
    whole = {}
    for form in ("formula", "released"):
        adjusted = lt.losses.gala_logits(logits, labels, theta, LAMBDA1, LAMBDA2, form, EPS)
        whole[form] = adjusted - adjusted.gather(1, labels[:, None])
    right = log_theta * (1 - F.one_hot(labels, CLASSES))
    assert_equation(whole["formula"] - whole["released"], right, wrong=[log_theta])


@pytest.mark.display("b27415c7")
def test_07_double(assert_equation: Check, generator: torch.Generator) -> None:
    tables, _, loss = released_run(generator)

    def weighted(weight: Callable[[int], int]) -> Tensor:
        return torch.stack([weight(u) * pushes.diagonal() for u, pushes in enumerate(tables, start=1)]).sum(0)

    wrong = [weighted(lambda u: STEPS + u + 1), weighted(lambda u: STEPS - u - 1), weighted(lambda u: u)]
    assert_equation(loss.theta, weighted(lambda u: STEPS - u + 1), wrong)


@pytest.mark.display("999ebe25")
def test_07_steady(assert_equation: Check, generator: torch.Generator) -> None:
    pull, t = accumulator(generator), 37  # |G_kk| / B of every step
    left = pull.expand(t, CLASSES).cumsum(0).cumsum(0)[-1]
    assert_equation(left, t * (t + 1) / 2 * pull, wrong=[t * (t - 1) / 2 * pull])


@pytest.mark.display("26a1d6a8")
def test_07_vanish(assert_equation: Check, generator: torch.Generator) -> None:
    t, start = 40, 15
    pulls = torch.rand(t, CLASSES, generator=generator, dtype=torch.float64)
    pulls[start:] = 0
    single = pulls.cumsum(0)  # the diagonal of Theta
    theta = single.cumsum(0)
    now, before, total = theta[t - 1], theta[start - 1], single[start - 1]
    wrong = [before - (t - start) * total, before + (t + start) * total, (t - start) * total - before]
    assert_equation(now, before + (t - start) * total, wrong)


@pytest.mark.display("1bc4d71b")
def test_07_split(assert_equation: Check, generator: torch.Generator) -> None:
    loss = lt.losses.GALALoss(CLASSES, eps=EPS).double()
    V, pulled = torch.zeros(2, CLASSES, dtype=torch.float64)
    for u in range(1, STEPS + 1):
        logits, labels = batch(generator)
        p = (logits + torch.log(loss.theta + EPS)).softmax(1)
        weight = (STEPS - u + 1) / SIZE
        V += weight * torch.bincount(labels, minlength=CLASSES)
        for i, k in enumerate(labels.tolist()):
            pulled[k] += weight * (1 - p[i, k])
        loss(logits, labels)
    assert (V > 0).all()  # the condition: every class has come
    mean = loss.theta / V
    assert_equation(mean, pulled / V, wrong=[pulled])  # what the page says of it: a mean of 1 - p
    assert ((mean > 0) & (mean < 1)).all()
    right = V.log() + (pulled / V).log()
    assert_equation(torch.log(loss.theta), right, wrong=[right - 2 * V.log(), right - 2 * mean.log(), V.log()])
    unseen = lt.losses.GALALoss(CLASSES + 1, eps=EPS).double()
    unseen(torch.randn(SIZE, CLASSES + 1, generator=generator, dtype=torch.float64), labels)
    assert unseen.theta[-1] == 0  # where V = 0 there is nothing to split: its logarithm is minus infinity


@pytest.mark.display("1bd484e3")
def test_07_balanced(assert_equation: Check, generator: torch.Generator) -> None:
    logits, labels = batch(generator)
    counts = torch.tensor([500, 120, 40, 9, 2])
    theta = 0.37 * counts.double()
    left = lt.losses.gala_loss(logits, labels, theta, eps=1e-15, reduction="none")

    def literal(power: int, sign: int = 1) -> Tensor:
        losses = []
        for row, k in zip(logits.tolist(), labels.tolist(), strict=True):
            terms = [n**power * math.exp(sign * z) for n, z in zip(counts.tolist(), row, strict=True)]
            losses.append(-math.log(terms[k] / sum(terms)))
        return torch.tensor(losses, dtype=torch.float64)

    assert_equation(left, literal(1), wrong=[literal(-1), literal(1, sign=-1), literal(0)])
    ours = lt.losses.BalancedSoftmaxLoss(counts.tolist(), reduction="none")(logits, labels)
    assert_equation(left, ours, wrong=[literal(-1)])


@pytest.mark.display("a2558c2e")
def test_07_rate(assert_equation: Check, generator: torch.Generator) -> None:
    joint = torch.rand(11, CLASSES, generator=generator, dtype=torch.float64)  # p(x, y) on eleven images
    joint = joint / joint.sum()
    p_x = joint.sum(1)
    P = joint / p_x[:, None]
    left = torch.zeros(CLASSES, dtype=torch.float64)
    for x in range(11):
        for y in range(CLASSES):
            left[y] += joint[x, y] * (1 - P[x, y])
    right = p_x @ (P * (1 - P))
    assert_equation(left, right, wrong=[p_x @ (P * (1 + P)), p_x @ P, p_x @ (P * P)])


@pytest.mark.display("b5510856")
def test_07_cap(assert_equation: Check, generator: torch.Generator) -> None:
    theta = accumulator(generator)
    for values in (theta, 1e-3 * theta, 1e3 * theta):
        spread = torch.log(values + EPS).max() - torch.log(values + EPS).min()
        assert spread < torch.log(1 + values.max() / EPS)
    theta[2] = 0.0
    left = torch.log(theta + EPS).max() - torch.log(theta + EPS).min()
    largest = theta.max().item()
    wrong = [math.log(abs(1 - largest / EPS)), math.log(1 + largest * EPS), math.log(1 + EPS / largest)]
    assert_equation(left, math.log(1 + largest / EPS), wrong)


@pytest.mark.display("f2ddffef")
def test_07_two_classes(assert_equation: Check, generator: torch.Generator) -> None:
    n, rare = 400, 30
    y = (torch.arange(n) < rare).long()  # class "2" of the text is 1 here
    score = 0.8 * torch.randn(n, generator=generator, dtype=torch.float64) + 1.5 * y
    offset = math.log(7.0)  # any adjustment, held fixed

    def second(bias: float) -> Tensor:
        return torch.sigmoid(score + bias - offset)

    low, high = -20.0, 20.0
    for _ in range(100):  # the bias at which the mean loss is stationary, by bisection
        middle = (low + high) / 2
        low, high = (low, middle) if second(middle).sum() > rare else (middle, high)
    p2 = second((low + high) / 2)
    p1 = 1 - p2
    terms = [(1 - p1)[y == 0], p1[y == 1], (1 - p2)[y == 1]]
    pull1, pushes, pull2 = (term.sum() for term in terms)
    G = torch.stack(
        [torch.stack([p1[y == k].sum() - (k == 0) * (n - rare), p2[y == k].sum() - (k == 1) * rare]) for k in (0, 1)]
    )
    wrong = [(1 + p1)[y == 1].sum(), terms[2].mean(), (1 + p2)[y == 1].sum()]
    for right in (pull1, pushes, pull2, G[1, 1].abs()):
        assert_equation(G[0, 0].abs(), right, wrong)
    early = second(0.0)
    assert abs(early[y == 0].sum() - (1 - early)[y == 1].sum()) > 0.01 * n  # away from the optimum they differ
