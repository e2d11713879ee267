"""One optimiser step, and nothing else in it: no copy to the host, no Python between the kernels that need not be."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lt_core.training import distributed
from lt_core.training.errors import TrainingError
from lt_core.training.strategies import Plain
from lt_core.validation import trusted_values


class TrainStep:
    """A strategy's step, and what follows it: backward and update.

    Args:
        strategy: what one batch is turned into a loss by.
        compiled: compile normalisation, network and loss into one graph (``fullgraph=True``).

    Raises:
        TrainingError: a strategy whose step is no graph, or cannot be shared out among processes.
    """

    def __init__(self, strategy: Plain, compiled: bool) -> None:
        named = strategy.config.method or strategy.config.strategy
        if compiled and not strategy.compiles:
            raise TrainingError(f"a step of {named!r} cannot be compiled; use --compile off")
        if distributed.world() > 1 and not (strategy.distributed and strategy.observed):
            what = f"mixing {strategy.mixing}" if strategy.distributed and strategy.mixing != "none" else named
            raise TrainingError(f"{what!r} works in one process; start it without torchrun")
        self.strategy, self.loss, recipe = strategy, strategy.loss, strategy.recipe
        strategy.network = distributed.wrap(strategy.model, strategy.device)
        self.optimizer = torch.optim.SGD(
            strategy.parameters(),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        strategy.optimizer = self.optimizer
        self.scaler = torch.amp.GradScaler(strategy.device.type, enabled=strategy.dtype == torch.float16)
        if compiled:
            # The strategies share code, and PyTorch compiles a function for eight cases at most: what earlier runs of
            # this process compiled must not count.
            torch.compiler.reset()
        # Two static shapes at most, the full batch and the last one: no dynamic shapes.
        self.forward = torch.compile(strategy.step, fullgraph=True, dynamic=False) if compiled else strategy.step
        if distributed.world() > 1:
            self.loss.reduction = "sum"  # the mean is taken over all processes, in `__call__`

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)

    def __call__(
        self, images: Tensor, targets: Tensor, whole: Tensor | None = None, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step on uint8 images (B, 3, 32, 32); returns the loss and the network's outputs (B, C).

        ``others`` is what the strategy's order has beside images and targets. In a run of several processes the batch
        is this process's part, and ``whole`` the labels of all parts.
        """
        with trusted_values(), torch.set_grad_enabled(self.strategy.learns):
            loss, outputs = self.forward(images, targets, *others)
        if not self.strategy.learns:
            return loss, outputs
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
