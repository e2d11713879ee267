"""Sums over an epoch, kept on the device that trains: nothing here waits for the host before the epoch ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from lt_core.metrics import shot_groups
from lt_core.records import GROUPS
from lt_core.training import distributed
from lt_core.validation import has_float64


def group_means(per_class: Tensor, weight: Tensor, class_counts: Sequence[int]) -> list[float | None]:
    """Weighted mean of a per-class quantity (C,) over many, medium and few; None for a group without weight."""
    masks = shot_groups(class_counts)
    means: list[float | None] = []
    for group in GROUPS:
        mass = weight.cpu().double() * masks[group]
        total = float(mass.sum())
        means.append(float((per_class.cpu().double() * mass).sum()) / total if total > 0 else None)
    return means


class LossMeter:
    """Mean training loss and accuracy of an epoch."""

    def __init__(self, device: torch.device) -> None:
        wide = torch.float64 if has_float64(device) else torch.float32
        self.loss = torch.zeros((), dtype=wide, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = torch.zeros((), dtype=torch.int64, device=device)

    def update(self, loss: Tensor, outputs: Tensor, targets: Tensor, share: float) -> None:
        """Add a step: its loss, logits and labels, and the images of the whole batch over the processes.

        A process's loss is scaled so that the mean over all processes is the whole batch's, whose last one need not
        divide among them.
        """
        self.loss += loss.detach() * share
        self.correct += (outputs.detach().argmax(1) == targets).sum()
        self.seen += len(targets)

    def reduce(self) -> None:
        """Sum over the processes of a distributed run."""
        for total in (self.loss, self.correct, self.seen):
            distributed.sum_(total)

    def mean_loss(self) -> float:
        return float(self.loss) / int(self.seen)

    def top1(self) -> float:
        return 100.0 * float(self.correct) / int(self.seen)


class FactorMeter:
    """Class means of the factors a loss applies to its samples (ALA's DF, QF and A)."""

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.sums: dict[str, Tensor] = {}
        self.count = torch.zeros(num_classes, dtype=torch.float32, device=device)

    def update(self, factors: Mapping[str, Tensor], targets: Tensor) -> None:
        for name, value in factors.items():
            total = self.sums.setdefault(name, torch.zeros_like(self.count))
            total.index_add_(0, targets, value.to(total.dtype))
        self.count.index_add_(0, targets, torch.ones_like(targets, dtype=self.count.dtype))

    def reduce(self) -> None:
        """Sum over the processes of a distributed run."""
        for total in (*self.sums.values(), self.count):
            distributed.sum_(total)

    def class_means(self) -> dict[str, Tensor]:
        return {name: total / self.count.clamp(min=1) for name, total in self.sums.items()}


def loss_gradients(loss: Any, outputs: Tensor, targets: Tensor, buffers: Mapping[str, Tensor]) -> Tensor:
    """What every sample pushes on the network's outputs: the gradient (N, C) of its loss, weight included.

    The loss is evaluated once more, outside the step, in eval mode and with the ``buffers`` it had before the step (a
    loss that accumulates has moved on since), so nothing of the run changes. Of a loss that draws, these are the pushes
    of its mean.
    """
    outputs = outputs.detach().requires_grad_()
    reduction, loss.reduction = loss.reduction, "sum"
    loss.eval()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(functional_call(loss, dict(buffers), (outputs, targets)), outputs)
    loss.train()
    loss.reduction = reduction
    return gradient


class PushMeter:
    r"""Who pushes whom: ``pushes[k, j]`` sums the gradients on output j over the images of class k (chapter 02).

    For softmax cross-entropy these are :math:`p_j - 1[j = k]`. The diagonal holds what each classifier row gets
    from its own images (negative: the logit is pushed up), column j off the diagonal what others do to row j.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self.pushes = torch.zeros(num_classes, num_classes, dtype=torch.float32, device=device)

    def update(self, gradients: Tensor, targets: Tensor) -> None:
        self.pushes.index_add_(0, targets, gradients.to(self.pushes.dtype))

    def reduce(self) -> None:
        """Sum over the processes of a distributed run."""
        distributed.sum_(self.pushes)

    def row_ratio(self) -> Tensor:
        """Positive over negative push on each classifier row, (C,)."""
        negative = self.pushes.clone().fill_diagonal_(0).sum(0)
        return -self.pushes.diagonal() / negative.clamp(min=1e-12)

    def group_flow(self, class_counts: Sequence[int]) -> list[list[float]]:
        """Negative pushes only, summed over groups: entry [a][b] is from images of group a onto rows of group b."""
        negative = self.pushes.cpu().double().clone()
        negative.fill_diagonal_(0)
        masks = shot_groups(class_counts)
        return [[float(negative[masks[a]][:, masks[b]].sum()) for b in GROUPS] for a in GROUPS]
