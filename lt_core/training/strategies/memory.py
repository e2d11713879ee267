"""A classifier with a memory of class centres, on top of a finished run: OLTR, and its control."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.losses import CentroidLoss
from lt_core.models import MemoryNetwork
from lt_core.training.strategies.plain import Option, Plain, Stage


class FurtherTraining(Plain):
    """A whole network trained further, its classifier at the full rate and the rest at ``slow_rate`` of it.

    It is the control of OLTR: as long a second stage with the same rates, and none of its ideas. ``batchnorm`` "eval"
    keeps the running statistics of the first stage.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "batchnorm": Option("train", choices=("train", "eval")),
        "slow_rate": Option(0.1, low=0.0),
    }
    stage = Stage(share=2.0)
    slow: ClassVar[tuple[str, ...]] = ()  # parameters of the classifier that are slow, too

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network, loss = super().build(weights)
        if weights is not None:
            self.start(network, weights)
        return network, loss

    def parameters(self) -> Iterator[dict[str, Any]]:
        own = dict(self.model.named_parameters())
        quick = {name for name in own if name.startswith("classifier.") and name not in self.slow}
        yield {"params": [own[name] for name in own if name in quick], "share": 1.0}
        yield {"params": [own[name] for name in own if name not in quick], "share": self.options["slow_rate"]}

    def train(self) -> None:
        super().train()
        if self.options["batchnorm"] == "eval":
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()


class Memory(FurtherTraining):
    """OLTR's second stage: attention, a memory that starts at the class means, and a feature loss that moves it.

    The whole network learns, what was there before and the memory at a tenth of the rate. ``batchnorm`` "train" is the
    released code's. The second stage is twice as long as the first.

    Source: Liu et al., CVPR 2019, and the released configuration for ImageNet-LT.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {**FurtherTraining.OPTIONS, "feature_weight": Option(0.01, low=0.0)}
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"mixing": ("none",), "classifier": ("linear",)}
    distributed = False
    slow = ("classifier.memory",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.feature_loss = CentroidLoss(weight=self.options["feature_weight"])
        if self.begins:
            self.fill_memory()

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network: Any
        network, loss = super().build(weights)
        self.begins = weights is not None  # where a checkpoint follows it brings the memory
        model = MemoryNetwork(network, self.data.num_classes, self.data.train_images.shape[2:])
        model.classifier.hallucinator.load_state_dict(network.classifier.state_dict())
        return model, loss

    @torch.no_grad()
    def fill_memory(self) -> None:
        """The mean feature of each class, over the training images as they are."""
        model: Any = self.model.eval()
        parts = self.images.split(self.evaluation_batch)
        features = torch.cat([model.features(self.normalize(part)).float() for part in parts])
        sums = torch.zeros_like(model.classifier.memory).index_add_(0, self.targets, features)
        model.classifier.memory.copy_(sums / self.counts[:, None])

    @property
    def observed(self) -> bool:
        return False

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        with self.autocast():
            features = model.features(self.normalize(images))
        features = features.float()
        outputs = model.classifier(features).float()
        loss = self.loss(outputs, targets) + self.feature_loss(features, targets, model.classifier.memory)
        return loss, outputs
