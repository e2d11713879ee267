"""Losses for long-tailed recognition, one file per family, each as a function and as a Module.

Logits or cosines are (N, C) floating point, targets (N,) int64. Every Module takes ``weight`` (class weights
or None) and ``reduction`` ("mean", "sum", "none"), computes in float32 or wider, and checks its input; checks
on values are skipped while `torch.compile` traces and inside `torch.func` transforms.

A sample with the label -100 is ignored as PyTorch ignores it: its value is 0, and no mean, weight or state sees it
(`centroid_loss` alone refuses it). A mean is NaN, as PyTorch's is, where the weights of the batch's samples sum to
zero: every one is ignored or of weight 0, or there is none.

Modules of logits or cosines take (N, C, d1, ...) with targets (N, d1, ...), too, all but `GALALoss`, `LADELoss`,
`GCLLoss`, `EqualizationLoss` and `FamilyLoss`. `CrossEntropyLoss`, `LogitAdjustedLoss` and
`BalancedSoftmaxLoss` also take targets that are shares (N, C) of the classes.

Class counts and class weights are sequences, arrays or tensors in the order of the labels, or mappings from the label
and pandas Series, which are put into that order. Where options are numbers, NumPy's and PyTorch's are accepted.
Constants computed from the counts are float64, and float32 on a device without float64.

Two terms are no losses of a single network's logits, so runs do not name them: `ExpertDiversity` and `CentroidLoss`.

The losses of `RANDOM_LOSSES` draw from PyTorch's own generators in training mode, and take the mean in eval mode.
"""

from lt_core.losses.ala import ALALoss, ala_loss, difficulty_factor, quantity_factor
from lt_core.losses.centroids import CentroidLoss, centroid_loss
from lt_core.losses.cross_entropy import CrossEntropyLoss, class_balanced_weights
from lt_core.losses.diversity import ExpertDiversity, expert_diversity, expert_temperatures
from lt_core.losses.equalization import EqualizationLoss, equalization_loss
from lt_core.losses.face import (
    ArcFaceLoss,
    CosFaceLoss,
    SphereFaceLoss,
    arcface_loss,
    cosface_loss,
    sphereface_loss,
)
from lt_core.losses.family import FamilyLoss, Measured, measure, tie_odds
from lt_core.losses.focal import FocalLoss, focal_loss
from lt_core.losses.gala import GALALoss, gala_logits, gala_loss
from lt_core.losses.gcl import GCLLoss, gcl_loss
from lt_core.losses.label_aware import LabelAwareSmoothingLoss, label_aware_smoothing_loss
from lt_core.losses.lade import LADELoss, lade_estimates, lade_loss
from lt_core.losses.ldam import LDAMLoss, ldam_loss, ldam_margins
from lt_core.losses.logit_adjusted import (
    BalancedSoftmaxLoss,
    LogitAdjustedLoss,
    balanced_softmax_loss,
    logit_adjusted_loss,
)
from lt_core.losses.margin import CosineMarginLoss
from lt_core.losses.range import RangeLoss, range_loss
from lt_core.losses.registry import (
    CORRECTING_LOSSES,
    COSINE_LOSSES,
    LOSS_NAMES,
    PRIOR_LOSSES,
    RANDOM_LOSSES,
    build_loss,
    loss_options,
)
from lt_core.losses.sigmoid_focal import ClassBalancedFocalLoss, class_balanced_focal_loss
from lt_core.losses.vs import VSLoss, vs_loss

__all__ = [
    "CORRECTING_LOSSES",
    "COSINE_LOSSES",
    "LOSS_NAMES",
    "PRIOR_LOSSES",
    "RANDOM_LOSSES",
    "ALALoss",
    "ArcFaceLoss",
    "BalancedSoftmaxLoss",
    "CentroidLoss",
    "ClassBalancedFocalLoss",
    "CosFaceLoss",
    "CosineMarginLoss",
    "CrossEntropyLoss",
    "EqualizationLoss",
    "ExpertDiversity",
    "FamilyLoss",
    "FocalLoss",
    "GALALoss",
    "GCLLoss",
    "LADELoss",
    "LDAMLoss",
    "LabelAwareSmoothingLoss",
    "LogitAdjustedLoss",
    "Measured",
    "RangeLoss",
    "SphereFaceLoss",
    "VSLoss",
    "ala_loss",
    "arcface_loss",
    "balanced_softmax_loss",
    "build_loss",
    "centroid_loss",
    "class_balanced_focal_loss",
    "class_balanced_weights",
    "cosface_loss",
    "difficulty_factor",
    "equalization_loss",
    "expert_diversity",
    "expert_temperatures",
    "focal_loss",
    "gala_logits",
    "gala_loss",
    "gcl_loss",
    "label_aware_smoothing_loss",
    "lade_estimates",
    "lade_loss",
    "ldam_loss",
    "ldam_margins",
    "logit_adjusted_loss",
    "loss_options",
    "measure",
    "quantity_factor",
    "range_loss",
    "sphereface_loss",
    "tie_odds",
    "vs_loss",
]
