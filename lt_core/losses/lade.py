r"""LADE: cross-entropy with the prior, and a term that asks each logit for a density ratio (chapter 08)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lt_core.losses._common import (
    Counts,
    Loss,
    Weight,
    as_index,
    as_weight,
    constant,
    cross_entropy,
    float_counts,
    is_kept,
    log_shares,
    target_mask,
)
from lt_core.validation import REDUCTIONS, check_choice, check_logits, check_number, upcast

FORMS = ("released", "derived")


def lade_estimates(logits: Tensor, targets: Tensor, class_counts: Counts, form: str = "released") -> Tensor:
    r"""What LADE's regulariser pushes up: an estimate of a divergence for each class, from one batch.

    Take :math:`z_c` as a critic that tells the images of class c from those of a balanced mixture of all classes. Then

    .. math::
        \frac{1}{N_c} \sum_{i: y_i = c} z_{ic} - r_c, \qquad
        r_c = \log \frac1N \sum_i \frac{e^{z_{ic}}}{C\, \pi_{y_i}} \;(\texttt{derived})

    is Donsker and Varadhan's lower bound of the Kullback-Leibler divergence of class c from the mixture: the weight
    :math:`1 / (C \pi_{y_i})` of the *image's* class turns the training set into the mixture. In the released code the
    weight belongs to the *logit*, the same for every image,

    .. math:: r_c = \log \frac1N \sum_i \frac{e^{z_{ic}}}{C\, \pi_c} \;(\texttt{released})

    which is not that bound: for rare classes it is far too low, and may be negative.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        form: "released" or "derived".

    Returns:
        Estimates (C,), float32 or wider, with gradient; NaN for a class that the batch has not.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count, an unknown form.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
        >>> lt.losses.lade_estimates(logits, targets, [3, 1], form="derived")  # a critic that knows nothing
        tensor([0., 0.])
        >>> lt.losses.lade_estimates(logits, targets, [3, 1])
        tensor([ 0.4055, -0.6931])
    """
    log_prior = log_shares(float_counts(class_counts))
    form = check_choice("form", form, FORMS)
    check_logits(logits, targets, len(log_prior))
    scores = upcast(logits)
    own = target_mask(targets, len(log_prior))
    sums = torch.where(own, scores, 0.0).sum(dim=0)
    of_classes = constant(log_prior, scores.dtype, scores.device)
    return sums / own.sum(dim=0) - _log_means(scores, targets, of_classes, form)


def lade_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    alpha: float = 0.1,
    lam: float = 0.01,
    form: str = "released",
    weight: Weight = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Logit-adjusted cross-entropy plus a regulariser that is computed from the batch as a whole.

    .. math::
        \ell = \frac{\sum_i w_{y_i} \operatorname{CE}(z_i + \log \pi,\; y_i)}{\sum_i w_{y_i}} + \alpha \sum_c \pi_c
        \Bigl(-\frac{1}{N_c} \sum_{i: y_i = c} z_{ic} + r_c + \lambda r_c^2\Bigr)

    with :math:`r_c` from `lade_estimates`, N images in the batch and :math:`N_c` of class c. A class without an image
    in the batch has no first term, and the others all the same. With
    :math:`\tilde p = \operatorname{softmax}(z + \log \pi)` and :math:`u_{ic}` the share of image i in the sum inside
    :math:`r_c`, the gradient is

    .. math::
        \frac{\partial \ell}{\partial z_{ic}} =
        \frac{w_{y_i}}{\sum_l w_{y_l}} (\tilde p_{ic} - 1[c = y_i])
        + \alpha\, \pi_c \Bigl((1 + 2 \lambda r_c)\, u_{ic} - \frac{1[c = y_i]}{N_c}\Bigr),

    so an image's gradient depends on the other images of its batch.

    The formula is the mean. "sum" is the mean times the sum of the weights; and "none" gives each image its
    cross-entropy, its own part of the first term and an equal share of the rest, so that its mean (divided by the sum
    of the samples' weights) and its sum are the other two. ``weight`` is that of the cross-entropy alone; a batch's
    regulariser keeps its size in the mean. In a run of several processes each process has the regulariser of its own
    part of the batch.

    Args:
        logits: (N, C) floating point.
        targets: (N,) int64 in [0, C), or -100 for a sample to leave out.
        class_counts: C whole numbers, at least 1 each.
        alpha: strength of the regulariser, at least 0; 0 is `balanced_softmax_loss`.
        lam: :math:`\lambda`, what keeps :math:`r_c` near 0; at least 0.
        form: "released" or "derived"; see `lade_estimates`.
        weight: class weights (C,), at least 0, or None.
        reduction: "mean", "sum" or "none".

    Returns:
        A scalar, or (N,) with ``reduction="none"``; float32 for half-precision logits, else their dtype.

    Raises:
        ValueError: a wrong shape, a label outside [0, C) that is not -100, a NaN logit, a bad count or option.
        TypeError: logits that are not floating point, targets that are not int64, an option of the wrong type.

    Source:
        Hong et al., "Disentangling Label Distribution for Long-tailed Visual Recognition", CVPR 2021, and the released
        code; alpha and lambda are those of its README for CIFAR100-LT with imbalance factor 100.

    Example:
        >>> import torch, lt_core as lt
        >>> logits, targets = torch.zeros(4, 2), torch.tensor([0, 0, 0, 1])
        >>> round(lt.losses.lade_loss(logits, targets, [3, 1], form="derived").item(), 4)  # balanced softmax: r = 0
        0.5623
    """
    log_prior = log_shares(float_counts(class_counts))
    alpha, lam, form = _checked(alpha, lam, form)
    reduction = check_choice("reduction", reduction, REDUCTIONS)
    weights = as_weight(weight, len(log_prior))
    check_logits(logits, targets, len(log_prior))
    scores = upcast(logits)
    of_classes = constant(log_prior, scores.dtype, scores.device)
    return _lade(scores, targets, of_classes, alpha, lam, form, weights, reduction)


class LADELoss(Loss):
    r"""Module form of `lade_loss`.

    Args:
        class_counts: C whole numbers, at least 1 each.
        alpha: strength of the regulariser, at least 0.
        lam: :math:`\lambda`, what keeps :math:`r_c` near 0; at least 0.
        form: "released" or "derived".
        weight: class weights (C,), at least 0, or None; kept as the buffer ``weight``.
        reduction: "mean", "sum" or "none".

    Example:
        >>> import lt_core as lt
        >>> lt.losses.LADELoss([500, 5])
        LADELoss(num_classes=2, alpha=0.1, lam=0.01, form='released', weight=None, reduction='mean')
    """

    log_prior: Tensor

    def __init__(
        self,
        class_counts: Counts,
        alpha: float = 0.1,
        lam: float = 0.01,
        form: str = "released",
        weight: Weight = None,
        reduction: str = "mean",
    ) -> None:
        log_prior = log_shares(float_counts(class_counts))
        super().__init__(len(log_prior), weight, reduction)
        self.alpha, self.lam, self.form = _checked(alpha, lam, form)
        self.register_buffer("log_prior", constant(log_prior, torch.float64), persistent=False)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        check_logits(logits, targets, self.num_classes)
        scores = upcast(logits)
        options = (self.alpha, self.lam, self.form, self.weight, self.reduction)
        return _lade(scores, targets, self.log_prior.to(scores), *options)

    def extra_repr(self) -> str:
        options = f"alpha={self.alpha}, lam={self.lam}, form={self.form!r}"
        return f"num_classes={self.num_classes}, {options}, {super().extra_repr()}"


def _checked(alpha: float, lam: float, form: str) -> tuple[float, float, str]:
    return check_number("alpha", alpha, low=0.0), check_number("lam", lam, low=0.0), check_choice("form", form, FORMS)


def _log_means(scores: Tensor, targets: Tensor, log_prior: Tensor, form: str) -> Tensor:
    """r (C,): the log of the weighted mean of e^z over the images that are not ignored."""
    kept = is_kept(targets)
    seen = kept | ~kept.any()  # of no image at all there is no mean; nobody sees the one of all of them
    weights = log_prior[as_index(targets)][:, None] if form == "derived" else log_prior
    powers = torch.where(seen[:, None], scores - weights, -torch.inf)
    return torch.logsumexp(powers, dim=0) - torch.log(seen.sum().to(scores)) - math.log(scores.shape[1])


def _lade(
    scores: Tensor,
    targets: Tensor,
    log_prior: Tensor,
    alpha: float,
    lam: float,
    form: str,
    weight: Tensor | None,
    reduction: str,
) -> Tensor:
    kept, labels = is_kept(targets), as_index(targets)
    ones = kept.to(scores)
    images = ones.sum().clamp(min=1)
    weights = ones if weight is None else ones * weight.to(scores)[labels]
    own = target_mask(targets, scores.shape[1])
    rest = _log_means(scores, targets, log_prior, form)
    prior = torch.exp(log_prior)
    # The first term's part of an image: its own logit times N pi_y / N_y. Of the others each image has the same part.
    factors = prior * images / own.sum(dim=0).clamp(min=1)
    first = torch.where(own, factors * scores, 0.0).sum(dim=1)
    shares = (prior * (rest + lam * rest**2)).sum() - first
    fit = cross_entropy(scores + log_prior, targets, weight, "none")
    losses = torch.where(kept, fit + alpha * (weights.sum() / images) * shares, 0.0)
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / weights.sum()
