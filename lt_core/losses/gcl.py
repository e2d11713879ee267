r"""Gaussian clouded logits: a random amount is taken off every cosine, more of it for rarer classes (chapter 05)."""

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
    reduce_losses,
    subtract_at_target,
)
from lt_core.losses.margin import as_cosines
from lt_core.validation import REDUCTIONS, check_choice, check_cosines, check_flag, check_number

DEVIATION = 1.0 / 3.0  # of the normal draw, which is cut at -1 and 1
# Mean of |e| for e ~ N(0, 1/9) cut at -1 and 1: what lies inside, and the two tails, which count as 1.
MEAN_DRAW = DEVIATION * math.sqrt(2 / math.pi) * (1 - math.exp(-0.5 / DEVIATION**2)) + math.erfc(
    1 / (DEVIATION * math.sqrt(2))
)


def gcl_loss(
    cosines: Tensor,
    targets: Tensor,
    class_counts: Counts,
    margin: float = 0.0,
    scale: float = 30.0,
    noise: float = 0.5,
    weight: Weight = None,
    reduction: str = "mean",
    training: bool = True,
    generator: torch.Generator | None = None,
    gamma: float = 0.0,
) -> Tensor:
    r"""Cross-entropy on scaled cosines, less a random amount that is larger for rarer classes.

    .. math::
        \ell = w_y\,\rho \operatorname{CE}(\tilde z, y), \qquad
        \tilde z_j = s\,\bigl(\cos\theta_j - \kappa_j |\varepsilon_j| - m\,1[j = y]\bigr), \qquad
        \kappa_j = \kappa\, \frac{\log(\max_k n_k / n_j)}{\log(\max_k n_k / \min_k n_k)}

    with :math:`\varepsilon_j` drawn anew for each image and class from a normal distribution of standard deviation 1/3,
    cut at -1 and 1. The draw is a constant when differentiating:

    .. math::
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\,\rho\, s\,(\tilde p_j - 1[j = y]), \qquad
        \rho = (1 - \tilde p_y)^\gamma

    The focal factor :math:`\rho` is a constant too; at :math:`\gamma = 0` it is 1.

    All logits get their cloud, the target's and the others', so it shifts the prior: its mean,
    :math:`E|\varepsilon| = 0.266`, makes the loss a logit adjustment with
    :math:`\tau = s\,\kappa\, E|\varepsilon| / \log(\max_k n_k / \min_k n_k)`, 0.87 by default at a ratio of 100. Where
    all counts are equal there is no cloud.

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        margin: m, at least 0.
        scale: the factor s, above 0.
        noise: :math:`\kappa`, the rarest class's largest cloud, at least 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".
        training: draw; False puts the mean in place of the draw, and asks no generator.
        generator: of the draws, on the cosines' device; None is PyTorch's own.
        gamma: of the focal factor, at least 0.

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Li, Cheung and Lu, "Long-tailed Visual Recognition via Gaussian Clouded Logit Adjustment", CVPR 2022, with the
        draw, the clouds' sizes and stage 1's constants of the released code. Its second stage trains the classifier
        alone with m = 0.1, s = 20 and gamma = 1.

    Example:
        >>> import torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.5, 0.5]]), torch.tensor([1])
        >>> round(lt.losses.gcl_loss(cosines, targets, [500, 5], training=False).item(), 2)  # 30 * 0.5 * 0.266 = 3.99
        4.0
    """
    sizes = _cloud_sizes(class_counts, noise)
    options = _checked(margin, scale, noise, gamma)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    training = check_flag("training", training)
    weights = as_weight(weight, len(sizes))
    check_cosines(cosines, targets, len(sizes))
    cosines = as_cosines(cosines)
    clouds = constant(sizes, cosines.dtype, cosines.device)
    return _gcl(cosines, targets, clouds, *options[:2], training, generator, options[3], weights, reduction)


class GCLLoss(Loss):
    r"""Module form of `gcl_loss`.

    In training mode it draws from PyTorch's own generator of the cosines' device: `torch.manual_seed` decides the
    draws, and a training run that is resumed from a checkpoint goes on with those it would have had. In eval mode the
    mean takes the place of the draw.

    Args:
        class_counts: C whole numbers, at least 1 each.
        margin: m, at least 0.
        scale: the factor s, above 0.
        noise: :math:`\kappa`, the rarest class's largest cloud, at least 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".
        gamma: of the focal factor, at least 0.

    Attributes:
        cloud_sizes: buffer (C,), float64: each class's cloud, from 0 for the largest class to ``noise``.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.GCLLoss([500, 50, 5]).cloud_sizes
        tensor([0.0000, 0.2500, 0.5000], dtype=torch.float64)
    """

    cloud_sizes: Tensor

    def __init__(
        self,
        class_counts: Counts,
        margin: float = 0.0,
        scale: float = 30.0,
        noise: float = 0.5,
        weight: Weight = None,
        reduction: str = "mean",
        gamma: float = 0.0,
    ) -> None:
        sizes = _cloud_sizes(class_counts, noise)
        super().__init__(len(sizes), weight, reduction)
        self.margin, self.scale, self.noise, self.gamma = _checked(margin, scale, noise, gamma)
        self.register_buffer("cloud_sizes", constant(sizes, torch.float64), persistent=False)

    def forward(self, cosines: Tensor, targets: Tensor) -> Tensor:
        check_cosines(cosines, targets, self.num_classes)
        cosines = as_cosines(cosines)
        clouds = self.cloud_sizes.to(cosines)
        options = (self.margin, self.scale, self.training, None, self.gamma, self.weight, self.reduction)
        return _gcl(cosines, targets, clouds, *options)

    def extra_repr(self) -> str:
        options = f"margin={self.margin}, scale={self.scale}, noise={self.noise}, gamma={self.gamma}"
        return f"num_classes={self.num_classes}, {options}, {super().extra_repr()}"


def _checked(margin: float, scale: float, noise: float, gamma: float) -> tuple[float, float, float, float]:
    return (
        check_number("margin", margin, low=0.0),
        check_number("scale", scale, low=0.0, open_low=True),
        check_number("noise", noise, low=0.0),
        check_number("gamma", gamma, low=0.0),
    )


def _cloud_sizes(class_counts: Counts, noise: float) -> NDArray[np.float64]:
    """What a draw of 1 takes off each class's cosine, (C,)."""
    counts = float_counts(class_counts)
    logs = np.log(counts.max() / counts)
    return check_number("noise", noise, low=0.0) * logs / (logs.max() or 1.0)


def _gcl(
    cosines: Tensor,
    targets: Tensor,
    clouds: Tensor,
    margin: float,
    scale: float,
    training: bool,
    generator: torch.Generator | None,
    gamma: float,
    weight: Tensor | None,
    reduction: str,
) -> Tensor:
    if training:
        draws = torch.randn(cosines.shape, dtype=cosines.dtype, device=cosines.device, generator=generator)
        clouds = clouds * (DEVIATION * draws).clamp(-1.0, 1.0).abs()
    else:
        clouds = clouds * MEAN_DRAW
    margins = torch.full_like(cosines[:, 0], margin)
    scores = scale * subtract_at_target(cosines - clouds, targets, margins)
    if gamma == 0.0:
        return cross_entropy(scores, targets, weight, reduction)
    losses = cross_entropy(scores, targets, None, "none")
    rest = -torch.expm1(-losses.detach().clamp(min=0))  # 1 - p of the target, without cancellation
    return reduce_losses(rest**gamma * losses, targets, weight, reduction)
