"""A classifier trained anew on the frozen features of a finished run: cRT and its kin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.training.build import build_network, build_run_loss
from lt_core.training.strategies.plain import Option, Plain, Stage


class RetrainedClassifier(Plain):
    """cRT: the features of a finished run stay as they are, and a fresh classifier is trained on them.

    ``batchnorm`` "eval" keeps the running statistics of the first stage; "train" lets them move to what the second
    stage's sampler shows, as the released code does by leaving the network in training mode.

    Source: Kang et al., ICLR 2020, section 4.2.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"batchnorm": Option("eval", choices=("eval", "train"))}
    stage = Stage(share=0.05)
    distributed = False

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network: Any = build_network(self.config, self.data)
        if weights is not None:
            fresh = {k: v for k, v in network.state_dict().items() if k.startswith("classifier.")}
            network.load_state_dict({**weights, **fresh})
        network.requires_grad_(False)
        network.classifier.requires_grad_(True)
        return network, build_run_loss(self.config, self.data)

    def train(self) -> None:
        super().train()
        if self.options["batchnorm"] == "eval":
            self.model.eval()

    def outputs(self, images: Tensor) -> Tensor:
        model: Any = self.model
        with torch.no_grad(), self.autocast():
            features = model.features(images)
        with self.autocast():
            outputs: Tensor = model.classifier(features)
        return outputs.float()
