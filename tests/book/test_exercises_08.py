"""What the exercises of chapter 08 claim, on four classes and nine values of x: every mean is a sum."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PRIOR = torch.tensor([0.6, 0.25, 0.1, 0.05], dtype=torch.float64)
DENSITY = torch.softmax(
    torch.tensor([[-((x - c) ** 2) / 6 for x in range(9)] for c in (1.0, 3.0, 4.5, 7.0)], dtype=torch.float64), dim=1
)


def test_what_the_released_regulariser_wants() -> None:
    """The exercise: its best logits hold the training prior, those of the derived form do not."""
    even, train = DENSITY.mean(0), PRIOR @ DENSITY
    free = (DENSITY.log() - even.log()).T  # (9, 4)
    joint = PRIOR[:, None] * DENSITY
    holding = (joint / train).log().T + math.log(4)

    def value(z: Tensor, form: str) -> Tensor:
        own = (DENSITY * z.T).sum(1)
        weights = joint / (4 * PRIOR[:, None]) if form == "derived" else joint
        means = (weights.sum(0)[:, None] * z.exp()).sum(0)
        last = torch.log(means if form == "derived" else means / (4 * PRIOR))
        return (PRIOR * (own - last - 0.5 * last**2)).sum()

    for form, best, other in (("derived", free, holding), ("released", holding, free)):
        z = best.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(value(z, form), z)
        assert gradient.abs().max() < 1e-12
        assert value(best, form) > value(other, form) + 0.05


def test_two_classes_by_one_number() -> None:
    """The exercises on overlap, and on EM against re-balancing."""
    f, prior = DENSITY[[0, 3]], torch.tensor([0.8, 0.2], dtype=torch.float64)
    p = (prior[:, None] * f / (prior @ f)).T
    overlap = float((f[0] * f[1] / (prior @ f)).sum())
    assert 0 < overlap < 1
    even = f.mean(0) @ p
    assert abs(float(even[0] - even[1]) - overlap * 0.6) < 1e-12
    for first in (0.1, 0.5, 0.9):
        means = torch.tensor([first, 1 - first], dtype=torch.float64) @ f @ p
        assert abs(float(means[0]) - (0.8 * overlap + first * (1 - overlap))) < 1e-12
