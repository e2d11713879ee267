"""One optimiser step, and nothing else in it: no copy to the host, no Python between the kernels that need not be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from lt_core.data.augment import Normalize
from lt_core.training import distributed
from lt_core.training.recipes import Recipe
from lt_core.validation import trusted_values


class TrainStep:
    """Forward, loss, backward and update of one batch.

    Args:
        model: the network, on ``device`` in channels-last layout.
        loss: a loss of `lt_core.losses` with ``reduction="mean"``, on ``device``.
        recipe: optimiser settings.
        device: where everything is.
        precision: "float32", "bfloat16" or "float16": of the network's forward pass. The loss is in float32.
        compiled: compile normalisation, network and loss into one graph (``fullgraph=True``).
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        recipe: Recipe,
        device: torch.device,
        precision: str,
        compiled: bool,
    ) -> None:
        self.model = distributed.wrap(model, device)
        self.loss = loss
        self.normalize = Normalize().to(device)
        self.device, self.autocast = device, precision != "float32"
        self.dtype: torch.dtype = getattr(torch, precision)
        self.optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
        # Two static shapes at most, the full batch and the last one: no dynamic shapes.
        self.forward = torch.compile(self._forward, fullgraph=True, dynamic=False) if compiled else self._forward
        if distributed.world() > 1:
            self.loss.reduction = "sum"  # the mean is taken over all processes, in `__call__`

    def _forward(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(self.device.type, self.dtype, enabled=self.autocast):
            outputs = self.model(self.normalize(images))
        outputs = outputs.float()
        return self.loss(outputs, targets), outputs

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate

    def __call__(self, images: Tensor, targets: Tensor, whole: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """One step on uint8 images (B, 3, 32, 32); returns the loss and the network's outputs (B, C).

        In a run of several processes the batch is this process's part, and ``whole`` the labels of all parts.
        """
        with trusted_values():
            loss, outputs = self.forward(images, targets)
        if whole is not None and distributed.world() > 1:
            weight = self.loss.weight
            total = len(whole) if weight is None else weight[whole].sum()
            loss = loss * (distributed.world() / total)  # the average over processes is then the whole batch's mean
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss.detach(), outputs.detach()

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
