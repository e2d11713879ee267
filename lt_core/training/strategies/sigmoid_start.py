"""The start that a loss with one sigmoid a class needs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.training.strategies.plain import Plain


class SigmoidStart(Plain):
    r"""The last bias starts at :math:`-\log(C - 1)`, where a class is yes with probability 1/C, and is not decayed.

    Source: the released code of Cui et al., CVPR 2019 (``model_base.py``, ``cifar_main.py``).
    """

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"classifier": ("linear",)}  # the cosine one has no bias

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network, loss = super().build(weights)
        with torch.no_grad():
            self.bias(network).fill_(-math.log(self.data.num_classes - 1))
        return network, loss

    @staticmethod
    def bias(network: Any) -> nn.Parameter:
        bias: nn.Parameter = network.classifier.bias
        return bias

    def parameters(self) -> list[dict[str, Any]]:
        bias = self.bias(self.model)
        others = [p for p in self.model.parameters() if p is not bias]
        return [{"params": others}, {"params": [bias], "weight_decay": 0.0}]
