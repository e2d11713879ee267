"""The last layer: a linear classifier's weights, or cosines between feature and class weights (chapter 06)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.validation import check_choice, check_number

CLASSIFIERS = ("linear", "cosine")
CLASSIFIER_INITS = ("kaiming", "default")  # of a linear classifier


class CosineClassifier(nn.Module):
    r"""Cosines between the features and one weight vector per class, times ``scale``.

    .. math:: f_j(x) = s \cos\theta_j = s\,\frac{w_j^\top x}{\lVert w_j\rVert\,\lVert x\rVert}

    There is no bias. Losses that add a margin to the cosine (LDAM, ALA) scale it themselves, so they want
    ``scale=1``; plain cross-entropy wants a scale near 30, because cosines alone give at most
    :math:`e/(e + (C-1)e^{-1})` to one class.

    Args:
        in_features: dimension d of the features.
        num_classes: C, at least 2.
        scale: s > 0.

    Shape:
        features (N, d) to (N, C). The cosines are computed in float32 or wider under any autocast.

    Source: ALA, Eq. 5; NormedLinear of LDAM-DRW's released code, whose initialisation (uniform directions) is kept.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        check_number("scale", scale, low=0.0, open_low=True)
        self.scale = float(scale)
        self.weight = nn.Parameter(F.normalize(torch.empty(num_classes, in_features).uniform_(-1, 1), dim=1))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            wide = features if features.dtype == torch.float64 else features.float()
            weight = F.normalize(self.weight.to(wide.dtype), dim=1)
            cosines = F.linear(F.normalize(wide, dim=1), weight)
            return cosines if self.scale == 1.0 else self.scale * cosines

    def extra_repr(self) -> str:
        num_classes, in_features = self.weight.shape
        return f"in_features={in_features}, num_classes={num_classes}, scale={self.scale}"


class FeatureClassifier(nn.Module):
    """A classifier alone, in place of a network, for data that are features already.

    Args:
        in_features: dimension d of the features.
        num_classes: C, at least 2.
        classifier: "linear" (with bias) or "cosine".
        scale: factor on the cosines; unused by "linear".
        classifier_init: of the linear weights: "kaiming", normal of variance 2 / d, or "default", PyTorch's own.

    Shape:
        features (N, d) to logits or cosines (N, C).
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        classifier: str = "linear",
        scale: float = 1.0,
        classifier_init: str = "default",
    ) -> None:
        super().__init__()
        self.classifier = make_classifier(classifier, in_features, num_classes, scale, classifier_init)

    def features(self, features: Tensor) -> Tensor:
        """The features themselves."""
        return features

    def forward(self, features: Tensor) -> Tensor:
        return self.classifier(features)


def make_classifier(
    kind: str, in_features: int, num_classes: int, scale: float = 1.0, classifier_init: str = "default"
) -> nn.Module:
    """A `torch.nn.Linear` with bias ("linear"), of either initialisation, or a `CosineClassifier` ("cosine")."""
    check_choice("classifier", kind, CLASSIFIERS)
    check_choice("classifier_init", classifier_init, CLASSIFIER_INITS)
    if kind == "cosine":
        return CosineClassifier(in_features, num_classes, scale)
    linear = nn.Linear(in_features, num_classes)
    if classifier_init == "kaiming":
        nn.init.kaiming_normal_(linear.weight)
    return linear
