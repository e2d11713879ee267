r"""Features near their class's centre and far from the others, which moves the centres too: OLTR (chapter 14)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lt_core.validation import check_number, check_scores, check_targets, upcast


def centroid_loss(
    features: Tensor,
    targets: Tensor,
    centroids: Tensor,
    margin: float = 10.0,
    repel: float = 0.01,
    weight: float = 1.0,
) -> Tensor:
    r"""Half the squared distance to the own centre, and a hinge on the mean squared distance to the others.

    .. math::
        \ell = \lambda \left[\frac{1}{2N} \sum_i \lVert x_i - m_{y_i}\rVert^2
        + \beta \max\Bigl(0,\; M - \frac{1}{NC} \sum_i \sum_{j \ne y_i} \lVert x_i - m_j\rVert^2\Bigr)\right]

    A centre is drawn by its own images with another strength than this value has, that of the released code, whatever
    :math:`\lambda`: with :math:`n_c` images of class c in the batch,

    .. math::
        \frac{\partial}{\partial m_c} = \frac{1}{N (1 + n_c)} \sum_{i: y_i = c} (m_c - x_i)
        + \lambda\,\beta\,\frac{\partial \max(0, \cdot)}{\partial m_c}.

    Args:
        features: (N, d) floating point.
        targets: (N,) int64 in [0, C); -100 is refused, since every image draws a centre.
        centroids: (C, d), of the features' dtype or wider.
        margin: M, at least 0.
        repel: the factor beta, at least 0.
        weight: the factor lambda, at least 0.

    Returns:
        A scalar; float32 for half-precision features, else their dtype.

    Raises:
        ValueError: a wrong shape, NaN, a label outside [0, C), a negative option.
        TypeError: features that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019, section 3, and the
        released ``DiscCentroidsLoss``, whose backward pass leaves the weight out for the centres.

    Example:
        >>> import torch, lt_core as lt
        >>> centroids = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
        >>> lt.losses.centroid_loss(torch.tensor([[0.0, 2.0]]), torch.tensor([0]), centroids, repel=0.0).item()
        2.0
    """
    check_scores(features, "features")
    check_scores(centroids, "centroids")
    if centroids.ndim != 2 or centroids.shape[1] != features.shape[1]:
        raise ValueError(f"centroids has shape {tuple(centroids.shape)}; (C, {features.shape[1]}) is needed")
    check_targets(targets, len(features), len(centroids))
    margin, repel = check_number("margin", margin, low=0.0), check_number("repel", repel, low=0.0)
    weight = check_number("weight", weight, low=0.0)
    dtype = torch.promote_types(upcast(features).dtype, centroids.dtype)
    features, centroids = features.to(dtype), centroids.to(dtype)
    own = centroids[targets]
    attract = (features - own.detach()).square().sum() / (2 * len(features))

    squared = features.square().sum(1, keepdim=True) - 2 * features @ centroids.T + centroids.square().sum(1)
    others = targets[:, None] != torch.arange(len(centroids), device=targets.device)
    distance = torch.where(others, squared, 0.0).mean()
    loss = weight * (attract + repel * (margin - distance).clamp(min=0))

    images = others.logical_not().sum(0)[targets]  # of the own class in this batch
    drawn = ((features.detach() - own).square().sum(1) / (2 * (1 + images))).mean()
    return loss + (drawn - drawn.detach())  # a gradient without a value


class CentroidLoss(nn.Module):
    """Module form of `centroid_loss`.

    Args:
        margin: M, at least 0.
        repel: the factor beta, at least 0.
        weight: the factor lambda, at least 0.

    Shape:
        features (N, d) float, targets (N,) int64 in [0, C), centroids (C, d); a scalar.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.CentroidLoss(weight=0.01)
        CentroidLoss(margin=10.0, repel=0.01, weight=0.01)
    """

    def __init__(self, margin: float = 10.0, repel: float = 0.01, weight: float = 1.0) -> None:
        super().__init__()
        self.margin = check_number("margin", margin, low=0.0)
        self.repel = check_number("repel", repel, low=0.0)
        self.weight = check_number("weight", weight, low=0.0)

    def forward(self, features: Tensor, targets: Tensor, centroids: Tensor) -> Tensor:
        return centroid_loss(features, targets, centroids, self.margin, self.repel, self.weight)

    def extra_repr(self) -> str:
        return f"margin={self.margin}, repel={self.repel}, weight={self.weight}"
