"""What second stages put in a classifier's place: learned factors, alignment by image, nearest class means."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.validation import check_choice

ALIGNMENTS = ("released", "paper")


class ScaledClassifier(nn.Module):
    r"""A classifier whose logits have a learned factor each, its bias included.

    .. math:: z'_c = f_c\,(w_c^\top x + b_c), \qquad f_c = 1 \text{ at first}

    Args:
        classifier: features (N, d) to logits (N, C).
        num_classes: C, the number of classes.

    Shape:
        features (N, d) to (N, C).

    Source: Kang et al., ICLR 2020, section 4.4 (learnable weight scaling); the released code scales the bias too.

    Example:
        >>> scaled = ScaledClassifier(nn.Linear(2, 3), 3)
        >>> scaled.factors.tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, classifier: nn.Module, num_classes: int) -> None:
        super().__init__()
        self.classifier = classifier
        self.factors = nn.Parameter(torch.ones(num_classes))

    def forward(self, features: Tensor) -> Tensor:
        return self.factors * self.classifier(features)


class AlignedClassifier(nn.Module):
    r"""A classifier whose logits are scaled and shifted by class, as far as a confidence of the image says.

    .. math::
        z'_c = \sigma\,(s_c z_c + b_c) + (1 - \sigma)\,z_c \;\text{(paper)}, \qquad
        z'_c = (1 + \sigma s_c)\,z_c + \sigma b_c \;\text{(released)}, \qquad
        \sigma = \operatorname{sigmoid}(v^\top x + u)

    with :math:`s = 1`, :math:`b = 0` and all entries of v 0.1 at first. The two are one function of s, which the
    released form counts from 0 and starts from 1: its first logits are :math:`(1 + \sigma) z`, those of the paper z.
    Nearly doubled logits make a large loss, which the first steps lower by closing the gate; once :math:`\sigma` is
    near 0 everywhere, no parameter has a gradient any more.

    Args:
        classifier: features (N, d) to logits (N, C).
        in_features: d, the length of a feature.
        num_classes: C, the number of classes.
        form: "paper" or "released".

    Shape:
        features (N, d) to (N, C).

    Raises:
        ValueError: an unknown form.

    Source: Zhang et al., "Distribution Alignment", CVPR 2021, Eq. 4-6; DisAlignLinear of cvpods, which the released
    classification code imports. The released heads for detection and segmentation have the paper's form.

    Example:
        >>> aligned = AlignedClassifier(nn.Linear(2, 3), 2, 3)
        >>> x = torch.ones(1, 2)
        >>> torch.allclose(aligned(x), aligned.classifier(x))
        True
    """

    def __init__(self, classifier: nn.Module, in_features: int, num_classes: int, form: str = "paper") -> None:
        super().__init__()
        self.form = check_choice("form", form, ALIGNMENTS)
        self.classifier = classifier
        self.scales, self.shifts = nn.Parameter(torch.ones(num_classes)), nn.Parameter(torch.zeros(num_classes))
        self.confidence = nn.Linear(in_features, 1)
        nn.init.constant_(self.confidence.weight, 0.1)

    def forward(self, features: Tensor) -> Tensor:
        logits, confidence = self.classifier(features), self.confidence(features).sigmoid()
        scales = self.scales if self.form == "released" else self.scales - 1
        return (1 + confidence * scales) * logits + confidence * self.shifts


class NearestMeanClassifier(nn.Module):
    r"""The class with the nearest mean, among features that are centred and normalised.

    .. math::
        z_c = -\lVert \hat x - m_c \rVert^2, \qquad \hat x = \frac{x - \bar x}{\lVert x - \bar x \rVert}, \qquad
        m_c = \frac{1}{n_c} \sum_{i: y_i = c} \hat x_i

    with :math:`\bar x` the mean of all features, each image alike. The means are not normalised again.

    Args:
        in_features: d, the length of a feature.
        num_classes: C, the number of classes.

    Shape:
        features (N, d) to (N, C); computed in float32 or wider under any autocast.

    Source: Kang et al., ICLR 2020, section 4.2; "cl2n" of the released code.

    Example:
        >>> nearest = NearestMeanClassifier(2, 2)
        >>> nearest.fit(torch.tensor([[4.0, 1.0], [2.0, 1.0], [-3.0, -1.0]]), torch.tensor([0, 0, 1]))
        >>> nearest(torch.tensor([[5.0, 1.0]])).argmax().item()
        0
    """

    mean: Tensor
    means: Tensor

    def __init__(self, in_features: int, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(in_features))
        self.register_buffer("means", torch.zeros(num_classes, in_features))

    def fit(self, features: Tensor, targets: Tensor) -> None:
        """Take the means of training features (N, d) with labels (N,); every class needs one."""
        self.mean.copy_(features.mean(0))
        directions, counts = F.normalize(features - self.mean, dim=1), targets.bincount(minlength=len(self.means))
        sums = torch.zeros_like(self.means).index_add_(0, targets, directions)
        self.means.copy_(sums / counts[:, None])

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            wide = features if features.dtype == torch.float64 else features.float()
            x = F.normalize(wide - self.mean, dim=1)
            return 2 * x @ self.means.T - (x**2).sum(1, keepdim=True) - (self.means**2).sum(1)
