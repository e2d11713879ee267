r"""Equalization loss: rare classes are let off the pushes of the other classes' images, at random (chapter 09)."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lt_core.losses._common import (
    Counts,
    Loss,
    Weight,
    as_weight,
    constant,
    cross_entropy,
    float_counts,
    is_kept,
    target_mask,
)
from lt_core.validation import REDUCTIONS, check_choice, check_flag, check_logits, check_number, upcast


def equalization_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    threshold: float = 0.005,
    gamma: float = 0.9,
    weight: Weight = None,
    reduction: str = "mean",
    training: bool = True,
    generator: torch.Generator | None = None,
) -> Tensor:
    r"""Cross-entropy of a softmax whose denominator leaves out rare classes, at random.

    .. math::
        \ell = w_y \operatorname{CE}(\tilde z, y), \qquad
        \tilde z_j = z_j + \log(1 - \beta_j), \qquad
        \frac{\partial \ell}{\partial z_j} = w_y\,(\tilde p_j - 1[j = y])

    where :math:`\beta_j`, drawn anew for each image and class, is 1 with probability :math:`\gamma` if class j is rare,
    :math:`\pi_j < \lambda`, and not the label's, and else 0. A class with :math:`\beta_j = 1` has
    :math:`\tilde p_j = 0`: this image does not push it down. By default 52 of the 100 classes of CIFAR100-LT are rare
    at an imbalance factor of 100.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        threshold: :math:`\lambda`, the share of the training set below which a class is rare; in [0, 1].
        gamma: probability that a rare class is left out; in [0, 1]. 0 is cross-entropy.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".
        training: draw; False puts the mean :math:`\gamma` in place of the draw, and asks no generator.
        generator: of the draws, on the logits' device; None is PyTorch's own.

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Tan et al., "Equalization Loss for Long-Tailed Object Recognition", CVPR 2020, in its softmax form. The paper's
        released code has the sigmoid form only; the draw per image and class is BagofTricks-LT's, which takes
        exponentials of the logits where this takes logarithms of the weights: it overflows at large logits.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(1, 3), torch.tensor([0])
        >>> loss = lt.losses.equalization_loss(logits, targets, [998, 1, 1], gamma=1.0)
        >>> loss.item()  # nothing is left in the denominator but the target
        0.0
    """
    rare = _is_rare(class_counts, threshold)
    gamma = check_number("gamma", gamma, low=0.0, high=1.0)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    training = check_flag("training", training)
    weights = as_weight(weight, len(rare))
    check_logits(logits, targets, len(rare))
    scores = upcast(logits)
    adjusted = _adjust(scores, targets, constant(rare, scores.dtype, scores.device), gamma, training, generator)
    return cross_entropy(adjusted, targets, weights, reduction)


class EqualizationLoss(Loss):
    r"""Module form of `equalization_loss`.

    In training mode it draws from PyTorch's own generator of the logits' device: `torch.manual_seed` decides the
    draws, and a training run that is resumed from a checkpoint goes on with those it would have had. In eval mode the
    mean takes the place of the draw.

    Args:
        class_counts: C whole numbers, at least 1 each.
        threshold: :math:`\lambda`, the share of the training set below which a class is rare; in [0, 1].
        gamma: probability that a rare class is left out; in [0, 1].
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Attributes:
        rare: buffer (C,), 1 for a rare class and 0 for another.

    Example:
        >>> import lt_core as lt
        >>> int(lt.losses.EqualizationLoss(lt.data.class_counts()).rare.sum())  # CIFAR100-LT, imbalance factor 100
        52
    """

    rare: Tensor

    def __init__(
        self,
        class_counts: Counts,
        threshold: float = 0.005,
        gamma: float = 0.9,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        rare = _is_rare(class_counts, threshold)
        super().__init__(len(rare), weight, reduction)
        self.threshold = check_number("threshold", threshold)
        self.gamma = check_number("gamma", gamma, low=0.0, high=1.0)
        self.register_buffer("rare", constant(rare, torch.float64), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        scores = upcast(logits)
        adjusted = _adjust(scores, targets, self.rare.to(scores), self.gamma, self.training, None)
        return cross_entropy(adjusted, targets, self.weight, self.reduction)

    def extra_repr(self) -> str:
        options = f"threshold={self.threshold}, gamma={self.gamma}"
        return f"num_classes={self.num_classes}, {options}, {super().extra_repr()}"


def _is_rare(class_counts: Counts, threshold: float) -> NDArray[np.float64]:
    """1 for a class whose share of the images is below ``threshold``, else 0; (C,)."""
    counts = float_counts(class_counts)
    share = check_number("threshold", threshold, low=0.0, high=1.0)
    return np.asarray(counts / counts.sum() < share, dtype=np.float64)


def _adjust(
    scores: Tensor,
    targets: Tensor,
    rare: Tensor,
    gamma: float,
    training: bool,
    generator: torch.Generator | None,
) -> Tensor:
    # A sample with the label -100 has no target to stay in the denominator, so nothing is taken out there.
    others = ~target_mask(targets, scores.shape[1]) & is_kept(targets)[:, None]
    free = (rare > 0) & others
    if training:
        draws = torch.rand(scores.shape, dtype=scores.dtype, device=scores.device, generator=generator)
        return scores.masked_fill(free & (draws < gamma), -torch.inf)
    return torch.where(free, scores + (math.log1p(-gamma) if gamma < 1.0 else -math.inf), scores)
