"""Two branches with a classifier over both: BBN, and its network alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.data import LongTailedData
from lt_core.data.augment import augment
from lt_core.models import TwoBranches, make_classifier
from lt_core.models.resnet_cifar import initialise
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.recipes import RunConfig
from lt_core.training.strategies.plain import Plain


def two_branches(config: RunConfig, data: LongTailedData) -> TwoBranches:
    """BBN's network out of the recipe's: each branch owns the last block, the classifier has twice the features."""
    first, second = build_network(config, data), build_network(config, data)
    own: Any = first.classifier
    num_classes, dimension = own.weight.shape
    classifier = make_classifier(str(config.classifier), 2 * dimension, num_classes, getattr(own, "scale", 1.0))
    initialise(classifier, str(config.classifier_init))
    return TwoBranches(first, second, classifier)


class BranchNetwork(Plain):
    """BBN's network, trained like any other: what BBN's own training is compared with."""

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        return two_branches(self.config, self.data), build_run_loss(self.config, self.data)


class BilateralBranches(BranchNetwork):
    """BBN: a natural image through one branch, an image of the reverse sampler through the other.

    The share of the natural image falls over the epochs from 1 to nearly 0, a = 1 − ((t − 1)/T)² in epoch t of T, in
    the feature and in the loss alike. At test an image goes through both branches, with equal shares. The training
    accuracy of the record is that of the natural images, which count for less and less.

    Source: Zhou et al., CVPR 2020, section 4, and the released ``Combiner.bbn_mix``.
    """

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"mixing": ("none",)}
    one_loss = False
    corrects = True
    distributed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.share = torch.ones((), device=self.device)  # a tensor: a number would be compiled into the graph

    @property
    def observed(self) -> bool:
        return False

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        natural = super().order(generator)
        index = self.draw("reverse", generator)
        return *natural, augment(self.images[index], self.recipe.augmentation, generator), self.targets[index]

    def train(self) -> None:
        super().train()
        self.share.fill_(1 - (self.epoch / self.epochs) ** 2)

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        reversed_images, reversed_targets = others
        with self.autocast():
            outputs = self.network(self.normalize(images), self.normalize(reversed_images), self.share).float()
        losses = self.loss(outputs, targets), self.loss(outputs, reversed_targets)
        return self.share * losses[0] + (1 - self.share) * losses[1], outputs
