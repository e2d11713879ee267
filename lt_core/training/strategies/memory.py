"""A classifier with a memory of class centres, on top of a finished run: OLTR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.losses import CentroidLoss
from lt_core.models import MemoryNetwork
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.strategies.plain import Option, Plain, Stage


class Memory(Plain):
    """OLTR's second stage: attention, a memory that starts at the class means, and a feature loss that moves it.

    The whole network learns, what was there before and the memory at a tenth of the rate. ``batchnorm`` "train" is the
    released code's. The second stage is twice as long as the first.

    Source: Liu et al., CVPR 2019, and the released configuration for ImageNet-LT.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "batchnorm": Option("train", choices=("train", "eval")),
        "feature_weight": Option(0.01, low=0.0),
        "slow_rate": Option(0.1, low=0.0),
    }
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"mixing": ("none",), "classifier": ("linear",)}
    stage = Stage(share=2.0)
    distributed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.feature_loss = CentroidLoss(weight=self.options["feature_weight"])
        if self.begins:
            self.fill_memory()

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network = build_network(self.config, self.data)
        if weights is not None:
            network.load_state_dict(weights)
        self.begins = weights is not None  # where a checkpoint follows it brings the memory
        model = MemoryNetwork(network, self.data.num_classes, self.data.train_images.shape[2:])
        model.classifier.hallucinator.load_state_dict(network.classifier.state_dict())
        return model, build_run_loss(self.config, self.data)

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

    def parameters(self) -> Iterator[dict[str, Any]]:
        own = dict(self.model.named_parameters())
        quick = {name for name in own if name.startswith("classifier.") and name != "classifier.memory"}
        yield {"params": [own[name] for name in own if name in quick], "share": 1.0}
        yield {"params": [own[name] for name in own if name not in quick], "share": self.options["slow_rate"]}

    def train(self) -> None:
        super().train()
        if self.options["batchnorm"] == "eval":
            for module in self.model.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        with self.autocast():
            features = model.features(self.normalize(images))
        features = features.float()
        outputs = model.classifier(features).float()
        loss = self.loss(outputs, targets) + self.feature_loss(features, targets, model.classifier.memory)
        return loss, outputs
