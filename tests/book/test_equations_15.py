"""The displayed equations of chapter 15, typed in Python: by independent ways."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch

Check = Callable[..., None]


@pytest.mark.display("3b71c92f")
def test_15_parts(assert_equation: Check) -> None:
    """Against the share of right answers in a list of test images, five of each class."""
    hits = {"many": [5, 4], "medium": [4, 2, 1, 3], "few": [0, 1, 1]}
    classes = [count for counts in hits.values() for count in counts]
    images = [1] * sum(classes) + [0] * (5 * len(classes) - sum(classes))
    left = sum(images) / len(images)
    means = {group: sum(counts) / (5 * len(counts)) for group, counts in hits.items()}

    def right(weight: Callable[[str], float]) -> float:
        return math.fsum(weight(group) * mean for group, mean in means.items())

    wrong = [right(lambda group: 1 / 3), right(lambda group: len(classes) / len(hits[group]))]
    assert_equation(left, right(lambda group: len(hits[group]) / len(classes)), wrong=wrong)


@pytest.mark.display("617f6ca3")
def test_15_unrelated(assert_equation: Check) -> None:
    """Against the spread of the difference over all outcomes of two networks on five images."""
    a, other, images = 0.7, 0.4, 5
    outcomes = [
        (
            math.prod(a if hit else 1 - a for hit in one) * math.prod(other if hit else 1 - other for hit in two),
            one,
            two,
        )
        for one in product((0, 1), repeat=images)
        for two in product((0, 1), repeat=images)
    ]
    values = [(chance, (sum(one) - sum(two)) / images) for chance, one, two in outcomes]
    mean = math.fsum(chance * value for chance, value in values)
    left = math.sqrt(math.fsum(chance * (value - mean) ** 2 for chance, value in values))

    def right(sign: float = 1.0, first: float = a, second: float = other, count: float = images) -> float:
        return math.sqrt((first * (1 - first) + sign * second * (1 - second)) / count)

    wrong = [
        right(first=other),
        right(second=a),
        right(count=images**2),
        math.sqrt((a * (1 + a) + other * (1 - other)) / images),
        math.sqrt((a * (1 - a) + other * (1 + other)) / images),
        math.sqrt(abs(a * (1 - a) - other * (1 - other)) / images),
    ]
    assert_equation(left, right(), wrong=wrong)


SHARDS = ([0, 3], [1], [2, 4, 5, 6])  # the classes of three processes, uneven


def loss(z: list[float], y: int) -> float:
    return -math.log(math.exp(z[y]) / math.fsum(math.exp(v) for v in z))


def sums(z: list[float], top: float) -> list[float]:
    return [math.fsum(math.exp(z[j] - top) for j in rows) for rows in SHARDS]


@pytest.mark.display("bf64cb2d")
def test_15_shards(assert_equation: Check, generator: torch.Generator) -> None:
    z = (3 * torch.randn(7, dtype=torch.float64, generator=generator)).tolist()
    top = max(max(z[j] for j in rows) for rows in SHARDS)
    assert top == max(z)
    for y in range(7):
        total = math.fsum(sums(z, top))
        wrong = [
            -top - z[y] + math.log(total),
            top + z[y] + math.log(total),
            top - z[y] - math.log(total),
            # each process with its own maximum, and none exchanged
            top - z[y] + math.log(sum(sum(math.exp(z[j] - max(z[i] for i in rows)) for j in rows) for rows in SHARDS)),
            top - z[y] + math.log(math.fsum(sums(z, -top))),
        ]
        assert_equation(loss(z, y), top - z[y] + math.log(total), wrong=wrong)
    far = [v + 800 for v in z]  # where a sum of exponentials alone overflows
    assert_equation(800 + max(z) - far[0] + math.log(math.fsum(sums(far, max(far)))), loss(z, 0))


@pytest.mark.display("51c4b93d")
def test_15_shard_gradient(assert_equation: Check, generator: torch.Generator) -> None:
    W = torch.randn(7, 4, dtype=torch.float64, generator=generator)
    h = torch.randn(4, dtype=torch.float64, generator=generator, requires_grad=True)
    bias = torch.randn(7, dtype=torch.float64, generator=generator)
    y = 4
    z = W @ h + bias
    (left,) = torch.autograd.grad(torch.logsumexp(z, 0) - z[y], h)
    values = z.tolist()
    total = math.fsum(sums(values, max(values)))

    def right(label: float = 1.0, divisor: float = total, shards: tuple[list[int], ...] = SHARDS) -> torch.Tensor:
        g = [math.exp(value - max(values)) / divisor - label * (j == y) for j, value in enumerate(values)]
        return sum((g[j] * W[j] for rows in shards for j in rows), torch.zeros(4, dtype=torch.float64))

    own = sums(values, max(values))[2]  # the sum of the label's process alone
    wrong = [right(label=-1.0), right(label=0.0), right(divisor=own), right(shards=SHARDS[1:])]
    assert_equation(left, right(), wrong=wrong)


class Ring:
    """Processes in a ring, each of which sends to the next; counts the numbers that one of them sends."""

    def __init__(self, size: int) -> None:
        self.size, self.sent = size, 0

    def pass_on(self, blocks: list[list[list[float]]], add: bool) -> None:
        """Each block goes round once: ``blocks[p][b]`` is block b at process p, added up on its way or copied."""
        for step in range(self.size - 1):
            for p in range(self.size):
                b = (p - step) % self.size
                target = blocks[(p + 1) % self.size]
                target[b] = [u + v for u, v in zip(target[b], blocks[p][b], strict=True)] if add else list(blocks[p][b])
                self.sent += len(blocks[p][b]) if p == 0 else 0


def parts(numbers: int, size: int, value: float) -> list[list[float]]:
    return [[value] * (numbers // size) for _ in range(size)]


@pytest.mark.display("7bf7679c")
def test_15_exchange(assert_equation: Check) -> None:
    """Against rings that really pass the numbers on: gather, scatter with sums, and both for an all-reduce."""
    Q, B, H, C = 4, 8, 5, 24

    def all_reduce(ring: Ring, numbers: int) -> None:
        blocks = [parts(numbers, Q, float(p + 1)) for p in range(Q)]
        ring.pass_on(blocks, add=True)
        whole = [(b - 1) % Q for b in range(Q)]  # where block b was completed
        assert all(set(blocks[whole[b]][b]) == {1.0 + 2 + 3 + 4} for b in range(Q))
        turned = [[blocks[p][(b + 1) % Q] for b in range(Q)] for p in range(Q)]
        ring.pass_on(turned, add=False)
        assert all(set(block) == {10.0} for process in turned for block in process)

    split, copied = Ring(Q), Ring(Q)
    gathered = [parts(B * H, Q, float(p)) for p in range(Q)]
    split.pass_on(gathered, add=False)
    assert all(gathered[p][b] == [float(b)] * (B * H // Q) for p in range(Q) for b in range(Q))
    split.pass_on([parts(B * H, Q, 1.0) for _ in range(Q)], add=True)
    all_reduce(split, B)  # the maximum
    all_reduce(split, 2 * B)  # the sum, and the label's logit
    all_reduce(copied, C * H)

    def right(share: float, scalars: int = 6, times: int = 2) -> list[float]:
        return [share * B * (times * H + scalars), share * times * C * H]

    share = (Q - 1) / Q
    wrong = [right((Q + 1) / Q), right(share, scalars=-6), right(share, scalars=4), right(share, times=1)]
    assert_equation([split.sent, copied.sent], right(share), wrong=[torch.tensor(w) for w in wrong])
