r"""One family: what a loss does to the scores, read off its gradients, and a template for a member (chapter 09).

A member adjusts each score by itself, :math:`\tilde z_j = \varphi_j(z_j)`, and pushes with a size of its own:

.. math::
    \frac{\partial \ell}{\partial z_j} = \rho\, \varphi_j'(z_j)\, (\tilde p_j - 1[j = y]), \qquad
    \tilde p = \operatorname{softmax}(\tilde z)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lt_core.losses._common import Loss, Weight, cross_entropy, reduce_losses
from lt_core.validation import check_choice, check_logits, check_scores, check_whole, upcast

READINGS = ("margin", "weight")
SAME = 1e-6  # relative difference of two measurements of one number
HOPELESS = 1000.0  # how far below the others a logit is when nothing is left of its probability


@dataclass(frozen=True)
class Measured:
    r"""What `measure` finds for one image.

    Attributes:
        slopes: :math:`\varphi_j'(z_j)`, (C,); of losses on cosines the scale is in it.
        offsets: :math:`b_j = \varphi_j(z_j) - \varphi_j'(z_j)\, z_j`, (C,), less that of the reference class.
        rho: the factor :math:`\rho`.
    """

    slopes: Tensor
    offsets: Tensor
    rho: float


def measure(loss: nn.Module, scores: Tensor, target: int, reading: str = "margin") -> Measured:
    r"""Slopes, offsets and factor of a loss at one image's scores, from its gradients alone.

    With :math:`g` the gradient and j, k other classes than the target: :math:`\log(g_j / g_k)` changes with
    :math:`z_j` at the rate :math:`\varphi_j'`; what is left of it is the difference of the offsets; the weighted sum
    :math:`\sum_j g_j / \varphi_j'` is zero, which gives the target's slope; and :math:`\rho` is what
    :math:`\sum_{j \neq y} g_j / \varphi_j' = \rho\,(1 - \tilde p_y)` comes to where the target's score is hopeless.
    From both, :math:`\tilde p_y` and the target's offset.

    Factor and target's offset are not unique: an offset at the target alone is a factor that depends on the image. With
    ``reading="margin"`` the factor is the one at hopeless scores, and what depends on the image is an offset. With
    "weight" the target's offset is that of the reference, 0, and all of it is in the factor; that is for losses whose
    offsets are zero elsewhere, such as focal loss.

    The loss is measured in eval mode, so of a loss that draws this is its mean. Losses on cosines are those with an
    attribute ``scale``; their target cannot be more hopeless than at cosine -1 with the others at 1, which is exact to
    about :math:`e^{-2s}`.

    Args:
        loss: a Module called with scores (N, C) and labels (N,), with an attribute ``reduction``.
        scores: (C,) floating point, C at least 3; they are taken in float64.
        target: the label, in [0, C).
        reading: "margin" or "weight".

    Returns:
        The measurement. The reference, whose offset is 0, is the first class that is not the target.

    Raises:
        ValueError: the loss is no member: an image's gradient depends on the other images, or another class's slope
            depends on its score; or a gradient is 0, so that nothing can be measured; fewer than 3 classes, a
            ``target`` outside [0, C), an unknown ``reading``.
        TypeError: scores that are not floating point.

    Example:
        >>> import torch, lt_core as lt
        >>> found = lt.losses.measure(lt.losses.VSLoss([500, 50, 5], gamma=0.5, tau=1.0), torch.zeros(3), target=2)
        >>> [round(value, 4) for value in found.slopes.tolist()]  # (n / 500) ** 0.5
        [1.0, 0.3162, 0.1]
        >>> [round(value, 4) for value in found.offsets.tolist()], round(found.rho, 4)  # log(n / 500)
        ([0.0, -2.3026, -4.6052], 1.0)
    """
    check_scores(scores[None], "scores")
    classes = scores.shape[0]
    if classes < 3:
        raise ValueError(f"scores has shape {tuple(scores.shape)}; at least 3 classes are needed")
    target = check_whole("target", target, 0, classes - 1)
    reading = check_choice("reading", reading, READINGS)
    at, bounded = scores.detach().double(), hasattr(loss, "scale")
    step = 0.05 if bounded else 1.0
    others = [j for j in range(classes) if j != target]
    reference = others[0]
    with _measurable(loss):
        _refuse_neighbours(loss, at, target)
        gradient = _gradient(loss, at, target)
        slopes = torch.ones(classes, dtype=torch.float64)
        for j in others:
            slopes[j] = _slope(loss, at, target, j, others[0] if j != others[0] else others[1], step)
        total = (gradient / slopes)[others].sum()
        slopes[target] = -gradient[target] / total
        hopeless = at.clone()
        hopeless[target] = -1.0 if bounded else at.min() - HOPELESS
        if bounded:
            hopeless[others] = 1.0
        rho = (_gradient(loss, hopeless, target) / slopes)[others].sum().item()
    logs = torch.log(gradient[others] / slopes[others]) - slopes[others] * at[others]
    offsets = torch.zeros(classes, dtype=torch.float64)
    offsets[others] = logs - logs[0]
    if reading == "weight":
        p = torch.softmax(slopes * at + offsets, 0)
        return Measured(slopes, offsets, (total / (1 - p[target])).item())
    # p~_y / p~_r, with p~_r the reference's part of 1 - p~_y.
    part = gradient[reference] / slopes[reference] / total
    p_target = 1 - total / rho
    score = slopes[reference] * at[reference] + torch.log(p_target / (part * (total / rho)))
    offsets[target] = score - slopes[target] * at[target]
    return Measured(slopes, offsets, rho)


def tie_odds(loss: nn.Module, level: float = 0.0, draws: int = 1) -> float:
    r"""Posterior odds of the second class against the first at which a loss of two classes is content with a tie.

    In the population, the expected gradient :math:`P_1\, g^{(1)} + P_2\, g^{(2)}` of an image is zero at the optimum,
    where :math:`g^{(k)}` is the gradient under the label k. At equal scores that gives
    :math:`P_2 / P_1 = -g_1^{(1)} / g_1^{(2)}`, and the second score has to say the same. Odds of 1 are those of plain
    accuracy on the training distribution; with counts 100 and 1, odds of 0.01 are those of balanced accuracy.

    Args:
        loss: a Module of two classes; measured in eval mode unless ``draws`` is above 1.
        level: the two scores.
        draws: above 1, the mean gradient of that many images in training mode, each with its own draw.

    Returns:
        The odds.

    Raises:
        ValueError: the two scores ask for different odds, so that no population is at rest at this tie.

    Example:
        >>> import lt_core as lt
        >>> round(lt.losses.tie_odds(lt.losses.BalancedSoftmaxLoss([100, 1])), 4)
        0.01
    """
    draws = check_whole("draws", draws, 1)
    with _measurable(loss, training=draws > 1):
        pulls = []
        for target in (0, 1):
            scores = torch.full((draws, 2), level, dtype=torch.float64, requires_grad=True)
            value = loss(scores, torch.full((draws,), target))
            (gradient,) = torch.autograd.grad(value, scores)
            pulls.append(gradient.mean(dim=0).tolist())
    odds, other = (-own / push for own, push in zip(*pulls, strict=True))  # as the first score has it, and the second
    if not math.isclose(odds, other, rel_tol=SAME):
        name = type(loss).__name__
        raise ValueError(f"{name} is at rest at no tie: its scores ask for two odds, {odds:g} and {other:g}")
    return odds


class FamilyLoss(Loss):
    r"""The template of the family: fill in one of two methods, or both.

    .. math::
        \ell = w_y\, \rho \operatorname{CE}(\tilde z, y), \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\, \rho\, \varphi_j'(z_j)\, (\tilde p_j - 1[j = y])

    The factor is taken as a constant when differentiating. What `adjust` returns is differentiated; a part of it that
    should be a constant has to be detached there.

    Args:
        num_classes: C, at least 2.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import torch, lt_core as lt
        >>> class Halved(lt.losses.FamilyLoss):
        ...     def adjust(self, scores, targets):
        ...         return scores / 2
        >>> loss = Halved(num_classes=2)
        >>> round(loss(torch.tensor([[2.0, 0.0]]), torch.tensor([0])).item(), 4)  # log(1 + 1/e)
        0.3133
    """

    def __init__(self, num_classes: int, weight: Weight = None, reduction: str = "mean") -> None:
        super().__init__(check_whole("num_classes", num_classes, low=2), weight, reduction)

    def adjust(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Adjusted scores (N, C) of scores (N, C), float32 or wider, and labels (N,)."""
        return scores

    def factor(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """The factors (N,) of images with the adjusted probabilities (N, C) and labels (N,)."""
        return torch.ones_like(probabilities[:, 0])

    def forward(self, scores: Tensor, targets: Tensor) -> Tensor:
        check_logits(scores, targets, self.num_classes)
        adjusted = self.adjust(upcast(scores), targets)
        if adjusted.shape != scores.shape:
            raise ValueError(f"adjust returned shape {tuple(adjusted.shape)}; {tuple(scores.shape)} is needed")
        factors = self.factor(torch.softmax(adjusted, dim=1).detach(), targets).detach()
        if factors.shape != targets.shape:
            raise ValueError(f"factor returned shape {tuple(factors.shape)}; {tuple(targets.shape)} is needed")
        return reduce_losses(
            factors * cross_entropy(adjusted, targets, None, "none"), targets, self.weight, self.reduction
        )

    def extra_repr(self) -> str:
        return f"num_classes={self.num_classes}, {super().extra_repr()}"


@contextmanager
def _measurable(loss: Any, training: bool = False) -> Iterator[None]:
    """The loss as a sum, in eval mode unless it shall draw; afterwards as it was."""
    reduction, mode = loss.reduction, loss.training
    loss.reduction = "sum"
    loss.train(training)
    try:
        yield
    finally:
        loss.reduction = reduction
        loss.train(mode)


def _gradient(loss: nn.Module, scores: Tensor, target: int) -> Tensor:
    leaf = scores.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(leaf[None], torch.tensor([target])), leaf)
    return gradient


def _refuse_neighbours(loss: nn.Module, scores: Tensor, target: int) -> None:
    """Raise where an image's gradient depends on the other images of its batch."""
    alone = _gradient(loss, scores, target)
    leaf = torch.stack([scores, -scores]).requires_grad_()
    labels = torch.tensor([target, (target + 1) % len(scores)])
    (gradient,) = torch.autograd.grad(loss(leaf, labels), leaf)
    if not torch.allclose(gradient[0], alone, rtol=SAME, atol=1e-12):
        name = type(loss).__name__
        raise ValueError(f"{name} is no member of the family: an image's gradient depends on the other images")


def _slope(loss: nn.Module, scores: Tensor, target: int, j: int, k: int, step: float) -> float:
    """The rate at which log(g_j / g_k) changes with z_j, the same below and above."""
    ratios = []
    for shift in (-step, 0.0, step):
        moved = scores.clone()
        moved[j] += shift
        gradient = _gradient(loss, moved, target)
        for c in (j, k):
            if not gradient[c] > 0:
                raise ValueError(f"the gradient on class {c} is {gradient[c].item():g}; only a push can be measured")
        ratios.append((gradient[j].log() - gradient[k].log()).item())
    below, above = (ratios[1] - ratios[0]) / step, (ratios[2] - ratios[1]) / step
    if not math.isclose(below, above, rel_tol=SAME):
        name = type(loss).__name__
        raise ValueError(f"{name} is no member of the family: class {j}'s slope depends on its score")
    return (below + above) / 2
