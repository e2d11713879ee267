r"""Margins from face recognition on the target's cosine: CosFace, ArcFace and SphereFace (chapter 05).

Each replaces the target's cosine by a smaller value :math:`\varphi(\cos\theta_y)` and leaves the others alone. The
margin of the template, `CosineMarginLoss`, is then :math:`\cos\theta_y - \varphi(\cos\theta_y)`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_core.losses._common import Weight, as_index
from lt_core.losses.margin import CosineMarginLoss, checked, margin_cross_entropy, target_cosines
from lt_core.validation import check_choice, check_number, check_whole

KEPT_FROM_THE_ENDS = 1e-5  # of the cosine under attached ArcFace, whose slope at 1 is infinite


def cosface_loss(
    cosines: Tensor,
    targets: Tensor,
    margin: float = 0.35,
    scale: float = 30.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on scaled cosines, with one margin taken off every target: `ldam_loss` with equal margins.

    .. math::
        \ell = w_y \operatorname{CE}\bigl(s\,(\cos\theta_j - m\,1[j = y])_j,\; y\bigr), \qquad
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y])

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        margin: m, at least 0.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018.

    Example:
        >>> import torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.35, 0.0]]), torch.tensor([0])
        >>> round(lt.losses.cosface_loss(cosines, targets).item(), 4)  # log 2
        0.6931
    """
    margin = _checked_cosface(margin)
    cosines, scale, weights, reduction = checked(cosines, targets, None, scale, weight, reduction)
    margins = torch.full_like(cosines[:, 0], margin)
    return margin_cross_entropy(cosines, targets, margins, scale, weights, reduction)


class CosFaceLoss(CosineMarginLoss):
    """Module form of `cosface_loss`.

    Args:
        num_classes: C, at least 2.
        margin: m, at least 0.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import lt_core as lt
        >>> lt.losses.CosFaceLoss(num_classes=10)
        CosFaceLoss(m=0.35, num_classes=10, scale=30.0, weight=None, reduction='mean')
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.35,
        scale: float = 30.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(check_whole("num_classes", num_classes, low=2), scale, weight, reduction)
        self.m = _checked_cosface(margin)

    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        return torch.full_like(cosines[:, 0], self.m)

    def extra_repr(self) -> str:
        return f"m={self.m}, {super().extra_repr()}"


def arcface_loss(
    cosines: Tensor,
    targets: Tensor,
    margin: float = 0.1,
    scale: float = 30.0,
    detach: bool = True,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on scaled cosines, with the target's angle widened by a margin.

    .. math::
        \ell = w_y \operatorname{CE}(\tilde z, y), \qquad \tilde z_y = s\,\varphi(\cos\theta_y), \quad
        \tilde z_j = s \cos\theta_j \;(j \neq y), \qquad
        \varphi(\cos\theta) = \cos(\min(\theta + m, \pi))

    By default what is taken off the cosine is a constant when differentiating, so with :math:`\tilde p` the softmax of
    the adjusted scores

    .. math::
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y]),

    finite everywhere. With ``detach=False`` the target's entry is multiplied by the curve's slope,
    :math:`\varphi' = \sin(\theta_y + m) / \sin\theta_y`, which is infinite at :math:`\cos\theta_y = 1`: the cosine is
    kept 1e-5 away from both ends, and beyond that it has the slope of that place. And where
    :math:`\theta_y + m > \pi` the attached form takes :math:`\varphi = \cos\theta_y - m \sin m`, with slope 1.

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        margin: m in radians, in [0, pi / 2].
        scale: the factor s, above 0.
        detach: take the margin as a constant when differentiating.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, Eq. 3. Detached: the
        ``opensphere`` library by SphereFace's authors. Attached: the ``insightface`` library by ArcFace's, whose form
        beyond pi this is. No constants for CIFAR-LT are published; faces have m = 0.5 and s = 64.

    Example:
        >>> import math, torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([0])
        >>> round(lt.losses.arcface_loss(cosines, targets, margin=math.pi / 6, scale=2.0).item(), 4)  # log(1 + e)
        1.3133
    """
    margin, detach = _checked_arcface(margin, detach)
    cosines, scale, weights, reduction = checked(cosines, targets, None, scale, weight, reduction)
    margins = _arcface_margin(target_cosines(cosines, as_index(targets)), margin, detach)
    return margin_cross_entropy(cosines, targets, margins, scale, weights, reduction)


class ArcFaceLoss(CosineMarginLoss):
    """Module form of `arcface_loss`.

    Args:
        num_classes: C, at least 2.
        margin: m in radians, in [0, pi / 2].
        scale: the factor s, above 0.
        detach: take the margin as a constant when differentiating.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import lt_core as lt
        >>> lt.losses.ArcFaceLoss(num_classes=10)
        ArcFaceLoss(m=0.1, detach=True, num_classes=10, scale=30.0, weight=None, reduction='mean')
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.1,
        scale: float = 30.0,
        detach: bool = True,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(check_whole("num_classes", num_classes, low=2), scale, weight, reduction)
        self.m, self.detach = _checked_arcface(margin, detach)

    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        return _arcface_margin(target_cosines(cosines, targets), self.m, self.detach)

    def extra_repr(self) -> str:
        return f"m={self.m}, detach={self.detach}, {super().extra_repr()}"


def sphereface_loss(
    cosines: Tensor,
    targets: Tensor,
    margin: float = 1.7,
    scale: float = 30.0,
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Cross-entropy on scaled cosines, with the target's angle multiplied by a margin.

    .. math::
        \ell = w_y \operatorname{CE}(\tilde z, y), \qquad \tilde z_y = s\,\psi(\theta_y), \quad
        \tilde z_j = s \cos\theta_j \;(j \neq y), \qquad
        \psi(\theta) = (-1)^k \cos(m\theta) - 2k, \quad k = \lfloor m\theta / \pi \rfloor

    which falls from 1 without a jump. What is taken off the cosine is a constant when differentiating, so with
    :math:`\tilde p` the softmax of the adjusted scores

    .. math::
        \frac{\partial \ell}{\partial \cos\theta_j} = w_y\, s\,(\tilde p_j - 1[j = y]) .

    The slope of the curve itself would be :math:`m \sin(m\theta) / \sin\theta` where :math:`m\theta < \pi`.

    Args:
        cosines: (N, C) floating point in [-1, 1]; up to 1.01 in absolute value they are clamped, without a gradient.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        margin: m, at least 1; 1 is cross-entropy on scaled cosines.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean" (divided by the sum of the samples' weights), "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision cosines, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN, a cosine beyond 1.01 in absolute
            value, a bad option.
        TypeError: cosines that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017, with normalised
        features, real m and the detached margin of its authors' later library ``opensphere``. The paper's own loss
        keeps the feature's length and mixes the curve with the cosine by a weight that is annealed: that needs the
        features and a step counter.

    Example:
        >>> import torch, lt_core as lt
        >>> cosines, targets = torch.tensor([[0.0, 0.0]]), torch.tensor([0])
        >>> round(lt.losses.sphereface_loss(cosines, targets, margin=2.0, scale=1.0).item(), 4)  # log(1 + e)
        1.3133
    """
    margin = _checked_sphereface(margin)
    cosines, scale, weights, reduction = checked(cosines, targets, None, scale, weight, reduction)
    margins = _sphereface_margin(target_cosines(cosines, as_index(targets)), margin)
    return margin_cross_entropy(cosines, targets, margins, scale, weights, reduction)


class SphereFaceLoss(CosineMarginLoss):
    """Module form of `sphereface_loss`.

    Args:
        num_classes: C, at least 2.
        margin: m, at least 1.
        scale: the factor s, above 0.
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import lt_core as lt
        >>> lt.losses.SphereFaceLoss(num_classes=10)
        SphereFaceLoss(m=1.7, num_classes=10, scale=30.0, weight=None, reduction='mean')
    """

    def __init__(
        self,
        num_classes: int,
        margin: float = 1.7,
        scale: float = 30.0,
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(check_whole("num_classes", num_classes, low=2), scale, weight, reduction)
        self.m = _checked_sphereface(margin)

    def margin(self, cosines: Tensor, targets: Tensor) -> Tensor:
        return _sphereface_margin(target_cosines(cosines, targets), self.m)

    def extra_repr(self) -> str:
        return f"m={self.m}, {super().extra_repr()}"


def _checked_cosface(margin: float) -> float:
    return check_number("margin", margin, low=0.0)


def _checked_arcface(margin: float, detach: bool) -> tuple[float, bool]:
    return check_number("margin", margin, low=0.0, high=math.pi / 2), check_choice("detach", detach, (True, False))


def _checked_sphereface(margin: float) -> float:
    return check_number("margin", margin, low=1.0)


def _arcface_margin(own: Tensor, m: float, detach: bool) -> Tensor:
    """What ArcFace takes off the target cosines ``own`` (N,)."""
    if detach:
        own = own.detach()
        return own - torch.cos((torch.acos(own) + m).clamp(max=math.pi))
    # The value of the clamped cosine, the slope of its own: none of it is zero.
    inside = own + (own.clamp(KEPT_FROM_THE_ENDS - 1.0, 1.0 - KEPT_FROM_THE_ENDS) - own).detach()
    angles = torch.acos(inside) + m
    return own - torch.where(angles <= math.pi, torch.cos(angles), own - m * math.sin(m))


def _sphereface_margin(own: Tensor, m: float) -> Tensor:
    """What SphereFace takes off the target cosines ``own`` (N,)."""
    own = own.detach()
    angles = m * torch.acos(own)
    turns = torch.floor(angles / math.pi)
    return own - ((1.0 - 2.0 * torch.remainder(turns, 2.0)) * torch.cos(angles) - 2.0 * turns)
