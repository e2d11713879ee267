"""Sharpness-aware minimisation: the gradient is taken where the loss of the batch is about highest nearby."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call

from lt_core.training.strategies.plain import Option, Plain


class SharpnessAware(Plain):
    r"""SAM: descend by the gradient at :math:`\theta + \rho\,g / \lVert g \rVert`, g the gradient at :math:`\theta`.

    The shift is a constant added to the weights, so the gradient by the weights is the one at the shifted ones, and
    momentum and decay act at :math:`\theta`. As in the code released for long tails, both passes move the running
    statistics. A loss that draws or accumulates does so in the second pass alone.

    Source: Foret et al., ICLR 2021, Eq. 2 and 3; for long tails Rangwani et al., NeurIPS 2022, whose code has
    :math:`\rho` 0.2 for cross-entropy on CIFAR100-LT and 0.8 with deferred weights, without a schedule.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"rho": Option(0.2, low=0.0)}
    compiles = False
    distributed = False

    def __init__(self, *arguments: Any) -> None:
        self.shifted: dict[str, Tensor] | None = None  # the weights of the second pass, while it runs
        super().__init__(*arguments)

    def step(self, images: Tensor, targets: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor]:
        self.loss.eval()
        loss, _ = super().step(images, targets, *shares)
        self.loss.train()
        self.shifted = self.uphill(loss)
        try:
            return super().step(images, targets, *shares)
        finally:
            self.shifted = None

    def uphill(self, loss: Tensor) -> dict[str, Tensor]:
        """The weights, moved by ``rho`` in the direction in which ``loss`` rises fastest."""
        trained = {name: p for name, p in self.model.named_parameters() if p.requires_grad}
        gradients = torch.autograd.grad(loss, list(trained.values()))
        norm = torch.stack([g.norm() for g in gradients]).norm()
        length = self.options["rho"] / (norm + 1e-12)
        return {name: p + length * g for (name, p), g in zip(trained.items(), gradients, strict=True)}

    def outputs(self, images: Tensor) -> Tensor:
        if self.shifted is None:
            return super().outputs(images)
        with self.autocast():
            outputs: Tensor = functional_call(self.model, self.shifted, (images,))
        return outputs.float()
