r"""Range loss: a regulariser of features that pulls a class's farthest images together (chapter 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lt_core.losses._common import target_mask
from lt_core.validation import check_number, check_scores, check_targets, check_whole, upcast

SMALLEST = 1e-6  # added to a squared distance before it is divided by: an image that is drawn twice is at distance 0


def range_loss(
    features: Tensor,
    targets: Tensor,
    num_classes: int,
    k: int = 2,
    margin: float = 1.0,
    intra: float = 0.01,
    inter: float = 0.1,
) -> Tensor:
    r"""Harmonic means of the largest distances within the classes of a batch, and the two centres that are nearest.

    .. math::
        \ell = \alpha \sum_c \frac{k_c}{\sum_{j \le k_c} 1 / D_{cj}} + \beta \max(0,\; M - D), \qquad
        D = \min_{c \neq d} \lVert \mu_c - \mu_d \rVert^2

    with :math:`D_{c1} \ge D_{c2} \ge \dots` the squared distances between two images of class c in the batch,
    :math:`\mu_c` their mean, and :math:`k_c` the smaller of k and the number of such pairs: a class with one image has
    none and is in the second term alone. The harmonic mean is ruled by the smaller of its distances, so that one
    outlier does not decide. It is added to a classification loss.

    Args:
        features: (N, d) floating point.
        targets: (N,) int64 in [0, C), or -100 for a row to leave out.
        num_classes: C, at least 2.
        k: at least 1.
        margin: M, at least 0, of squared distances.
        intra: :math:`\alpha`, at least 0.
        inter: :math:`\beta`, at least 0.

    Returns:
        A scalar, at least 0; float32 for half-precision features, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN feature, a bad option.
        TypeError: features that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Zhang et al., "Range Loss for Deep Face Recognition with Long-Tailed Training Data", ICCV 2017. The authors have
        no public code. The defaults for M, alpha and beta are this package's, for features of length 1, whose squared
        distances are at most 4; nobody has published constants for CIFAR.

    Example:
        >>> import torch, lt_core as lt
        >>> features, targets = torch.tensor([[0.0], [1.0], [3.0], [9.0]]), torch.tensor([0, 0, 0, 1])
        >>> round(lt.losses.range_loss(features, targets, 2, intra=1.0, inter=0.0).item(), 4)  # 2 / (1/9 + 1/4)
        5.5385
    """
    options = _checked(num_classes, k, margin, intra, inter)
    _check_features(features, targets, options[0])
    return _range(upcast(features), targets, *options)


class RangeLoss(nn.Module):
    """Module form of `range_loss`.

    Args:
        num_classes: C, at least 2.
        k: at least 1.
        margin: of squared distances, at least 0.
        intra: weight of the first term, at least 0.
        inter: weight of the second, at least 0.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.RangeLoss(100)
        RangeLoss(num_classes=100, k=2, margin=1.0, intra=0.01, inter=0.1)
    """

    def __init__(
        self, num_classes: int, k: int = 2, margin: float = 1.0, intra: float = 0.01, inter: float = 0.1
    ) -> None:
        super().__init__()
        self.num_classes, self.k, self.margin, self.intra, self.inter = _checked(num_classes, k, margin, intra, inter)

    def forward(self, features: Tensor, targets: Tensor) -> Tensor:
        _check_features(features, targets, self.num_classes)
        return _range(upcast(features), targets, self.num_classes, self.k, self.margin, self.intra, self.inter)

    def extra_repr(self) -> str:
        names = ("num_classes", "k", "margin", "intra", "inter")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


def _checked(
    num_classes: int, k: int, margin: float, intra: float, inter: float
) -> tuple[int, int, float, float, float]:
    margin, intra, inter = (
        check_number(name, value, low=0.0) for name, value in (("margin", margin), ("intra", intra), ("inter", inter))
    )
    return check_whole("num_classes", num_classes, 2), check_whole("k", k, 1), margin, intra, inter


def _check_features(features: Tensor, targets: Tensor, num_classes: int) -> None:
    check_scores(features, "features")
    check_targets(targets, len(features), num_classes, ignored=True)


def _range(
    features: Tensor, targets: Tensor, num_classes: int, k: int, margin: float, intra: float, inter: float
) -> Tensor:
    members = target_mask(targets, num_classes).T  # (C, N)
    pairs = (members[:, :, None] & members[:, None, :]).triu(1).flatten(1)
    k = min(k, pairs.shape[1])
    distances = _squared_distances(features).flatten()
    # Below every distance where there is no pair; what is taken there is left out again.
    largest, at = torch.where(pairs, distances, -1.0).topk(k, dim=1)
    there = pairs.gather(1, at)
    inverse = torch.where(there, 1 / (largest.clamp(min=0) + SMALLEST), 0.0).sum(dim=1)
    means = there.sum(dim=1) / torch.where(inverse > 0, inverse, 1.0)

    sizes = members.sum(dim=1)
    centres = members.to(features) @ features / sizes.clamp(min=1)[:, None]
    present = sizes > 0
    different = (present[:, None] & present[None, :]).triu(1)
    nearest = torch.where(different, _squared_distances(centres), torch.inf).amin()
    return intra * means.sum() + inter * (margin - nearest).clamp(min=0)


def _squared_distances(rows: Tensor) -> Tensor:
    """(N, N); by differences, which keep small distances and have a gradient at 0."""
    return ((rows[:, None] - rows[None, :]) ** 2).sum(dim=2)
