"""Cross-entropy with range loss on the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from lt_core.losses import RangeLoss
from lt_core.training.strategies.plain import Option, Plain


class RangeRegularised(Plain):
    """The run's loss plus `lt_core.losses.RangeLoss` of the features, which are brought to length 1 for it.

    A distance needs a scale, which the features of a softmax classifier do not have: it grows as they are trained. With
    length 1 the squared distances are at most 4, and the constants mean something. They are this package's own.

    Source: Zhang et al., ICCV 2017.
    """

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"mixing": ("none",)}
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "k": Option(2, low=1, whole=True),
        "margin": Option(1.0, low=0.0),
        "intra": Option(0.01, low=0.0),
        "inter": Option(0.1, low=0.0),
    }
    distributed = False

    def __init__(self, config: Any, *rest: Any) -> None:
        super().__init__(config, *rest)
        self.regulariser = RangeLoss(self.data.num_classes, **self.options)

    @property
    def observed(self) -> bool:
        return False

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        with self.autocast():
            features = model.features(self.normalize(images))
            outputs = model.classifier(features)
        loss = self.loss(outputs.float(), targets)
        return loss + self.regulariser(F.normalize(features.float(), dim=1), targets), outputs.float()
