"""The displayed equations of chapter 01, typed in Python: independent ways where there are two, else `lt_core`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import lt_core as lt

Check = Callable[..., None]
C = 6


def random_predictions(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Predictions and labels (400,) of C classes that are unequally frequent and unequally easy."""
    targets = torch.multinomial(torch.arange(1.0, C + 1), 400, replacement=True, generator=generator)
    wrong = torch.randint(C, (400,), generator=generator)
    correct = torch.rand(400, generator=generator) < (targets + 1) / (C + 2)
    return torch.where(correct, targets, wrong), targets


def random_world(generator: torch.Generator, points: int = 7) -> tuple[Tensor, Tensor, list[int]]:
    """Test frequencies q (C,), p(x | k) as (C, points) and the answers of some classifier, a class a point."""
    q = torch.rand(C, dtype=torch.float64, generator=generator)
    p = torch.rand(C, points, dtype=torch.float64, generator=generator)
    answers = torch.randint(C, (points,), generator=generator).tolist()
    return q / q.sum(), p / p.sum(1, keepdim=True), answers


@pytest.mark.display("6c002db6")
def test_01_odds(assert_equation: Check, generator: torch.Generator) -> None:
    pi, p, _ = random_world(generator)
    joint = pi[:, None] * p
    posterior = joint / joint.sum(0)
    left = torch.log(posterior[0] / posterior[1])
    likelihood, prior = torch.log(p[0] / p[1]), torch.log(pi[0] / pi[1])
    assert_equation(left, likelihood + prior, wrong=[likelihood - prior, prior - likelihood])


@pytest.mark.display("a60441e6")
def test_01_boundary(assert_equation: Check, generator: torch.Generator) -> None:
    draws = torch.rand(20, 2, dtype=torch.float64, generator=generator)
    distance, odds = 1 + 4 * draws[:, 0], torch.exp(8 * draws[:, 1] - 4)
    low, high = torch.full_like(odds, -50.0), torch.full_like(odds, 50.0)
    for _ in range(200):  # bisection for the point where the two weighted log densities are equal
        middle = (low + high) / 2
        first_wins = odds.log() - middle**2 / 2 > -((middle - distance) ** 2) / 2
        low, high = torch.where(first_wins, middle, low), torch.where(first_wins, high, middle)
    shift = torch.log(odds) / distance
    wrong = [distance / 2 - shift, distance / 2 + torch.log(odds) * distance, shift - distance / 2]
    assert_equation((low + high) / 2, distance / 2 + shift, wrong=wrong)


@pytest.mark.display("34917750")
def test_01_risk(assert_equation: Check, generator: torch.Generator) -> None:
    q, p, answers = random_world(generator)
    points = range(len(answers))
    left = sum(q[k] * sum(p[k, x] for x in points if answers[x] != k) for k in range(C))
    kept = sum(q[answers[x]] * p[answers[x], x] for x in points)
    assert_equation(left, 1 - kept, wrong=[1 + kept, kept])
    # The theorem that rests on it: of all classifiers on four points, the weighted maximum has the smallest risk.
    joint = q[:, None] * p[:, :4]
    every = torch.cartesian_prod(*[torch.arange(C)] * 4)
    risks = 1 - joint[every, torch.arange(4)].sum(1)
    assert every[risks.argmin()].tolist() == joint.argmax(0).tolist() != p[:, :4].argmax(0).tolist()


@pytest.mark.display("a4dddcab")
@pytest.mark.parametrize("factor", [1, 2, 10, 37, 50, 100, 200, 500])
@pytest.mark.parametrize(("classes", "n_max"), [(100, 500), (10, 5000)])
def test_01_profile(assert_equation: Check, factor: int, classes: int, n_max: int) -> None:
    # In whole numbers: n_k is the largest n with n^(C-1) IF^(k-1) <= n_max^(C-1).
    exact = []
    for k in range(1, classes + 1):
        n = n_max
        while n ** (classes - 1) * factor ** (k - 1) > n_max ** (classes - 1):
            n -= 1
        exact.append(float(n))
    counts = torch.tensor(lt.data.class_counts(classes, n_max, factor), dtype=torch.float64)
    places = torch.arange(1, classes + 1, dtype=torch.float64)
    flipped = n_max * factor ** ((places - 1) / (classes - 1))
    shifted = n_max * factor ** -(places / (classes - 1))
    assert_equation(torch.tensor(exact), counts, wrong=[flipped.floor(), shifted.floor()] if factor > 1 else [])


@pytest.mark.display("ae87ab42")
def test_01_recall(assert_equation: Check, generator: torch.Generator) -> None:
    predictions, targets = random_predictions(generator)
    pairs = list(zip(predictions.tolist(), targets.tolist(), strict=True))
    right = [sum(p == k == y for p, y in pairs) / sum(y == k for _, y in pairs) for k in range(C)]
    precision = [sum(p == k == y for p, y in pairs) / sum(p == k for p, _ in pairs) for k in range(C)]
    left = lt.metrics.per_class_accuracy(predictions, targets, C)
    assert_equation(left, torch.tensor(right, dtype=torch.float64), wrong=[torch.tensor(precision), 1 - left])


@pytest.mark.display("d970313e")
def test_01_balanced(assert_equation: Check, generator: torch.Generator) -> None:
    predictions, targets = random_predictions(generator)
    wrong_share = [
        sum(p != y for p, y in zip(predictions.tolist(), targets.tolist(), strict=True) if y == k)
        / targets.tolist().count(k)
        for k in range(C)
    ]
    recall = [1 - share for share in wrong_share]
    plain_error = (predictions != targets).double().mean()
    right = 1 - sum(recall) / C
    assert_equation(
        lt.metrics.balanced_error(predictions, targets, C), right, wrong=[1 + sum(recall) / C, 1 - right, plain_error]
    )


@pytest.mark.display("c63033c7")
def test_01_shot(assert_equation: Check, generator: torch.Generator) -> None:
    predictions, targets = random_predictions(generator)
    counts = [500, 101, 100, 20, 19, 5]  # both borders
    recall = [float((predictions[targets == k] == k).double().mean()) for k in range(C)]
    members = {"many": [0, 1], "medium": [2, 3], "few": [4, 5]}
    groups = lt.metrics.shot_accuracy(predictions, targets, counts)
    for name, classes in members.items():
        right = sum(recall[k] for k in classes) / len(classes)
        inside = torch.isin(targets, torch.tensor(classes))
        by_image = (predictions[inside] == targets[inside]).double().mean()
        others = [sum(recall[k] for k in m) / len(m) for other, m in members.items() if other != name]
        assert_equation(groups[name], right, wrong=[by_image, *others])


@pytest.mark.display("46f83a69")
def test_01_weighted(assert_equation: Check, generator: torch.Generator) -> None:
    predictions, targets = random_predictions(generator)
    recall = lt.metrics.per_class_accuracy(predictions, targets, C)
    share = torch.bincount(targets, minlength=C).double() / len(targets)
    left = sum(p == y for p, y in zip(predictions.tolist(), targets.tolist(), strict=True)) / len(targets)
    assert_equation(left, (share * recall).sum(), wrong=[recall.mean(), 1 - (share * recall).sum()])
