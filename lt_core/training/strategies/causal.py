"""A classifier that takes off what the mean feature adds, at test: causal norm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from lt_core.models import CausalNormClassifier
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.strategies.branches import two_branches
from lt_core.training.strategies.plain import Option, Plain


class CausalNorm(Plain):
    """De-confounded training: a normalised classifier in two parts; at test the total direct effect.

    ``alpha`` acts at test alone, and 0 leaves the subtraction out; ``network`` "two_branches" is BBN's, which the
    released configuration for CIFAR has, with features of 128 dimensions.

    Source: Tang et al., NeurIPS 2020, and the released ``Causal_Norm_Classifier``.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "alpha": Option(1.5, low=0.0),
        "network": Option("plain", choices=("plain", "two_branches")),
    }
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"classifier": ("linear",)}
    distributed = False  # the mean feature is that of a whole batch

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        branched = self.options["network"] == "two_branches"
        network: Any = (two_branches if branched else build_network)(self.config, self.data)
        num_classes, dimension = network.classifier.weight.shape
        network.classifier = CausalNormClassifier(dimension, num_classes, self.options["alpha"])
        return network, build_run_loss(self.config, self.data)
