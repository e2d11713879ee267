"""One optimiser step, and nothing else in it: no copy to the host, no Python between the kernels that need not be."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lt_core.training import distributed
from lt_core.training.errors import TrainingError
from lt_core.training.strategies import Plain
from lt_core.validation import trusted_values

WARM_UP = 3  # steps before the first capture, in which kernels are compiled and chosen, and momentum gets its memory


class TrainStep:
    """A strategy's step, and what follows it: backward and update.

    On a GPU the steps on full batches are replayed from a CUDA graph, where the strategy is `Plain` and the precision
    needs no scaling of the loss: launching a small network's kernels one by one takes longer than running them. What
    a step returns is then overwritten by the next one.

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
        on_gpu = strategy.device.type == "cuda" and distributed.world() == 1
        self.captures = on_gpu and type(strategy) is Plain and not self.scaler.is_enabled()
        self.graph: CapturedUpdate | None = None
        self.full_batches = 0
        if distributed.world() > 1:
            self.loss.reduction = "sum"  # the mean is taken over all processes, in `__call__`

    def set_learning_rate(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        self.graph = None  # the rate is a constant in it

    def __call__(
        self, images: Tensor, targets: Tensor, whole: Tensor | None = None, *others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step on uint8 images (B, 3, 32, 32); returns the loss and the network's outputs (B, C).

        ``others`` is what the strategy's order has beside images and targets. In a run of several processes the batch
        is this process's part, and ``whole`` the labels of all parts.
        """
        if not self.captures or len(images) != self.strategy.config.batch_size:
            return self._update(whole, images, targets, *others)
        self.full_batches += 1
        if self.full_batches <= WARM_UP:
            return self._update(whole, images, targets, *others)
        if self.graph is None:  # of one process, where the batch is the whole one
            self.graph = CapturedUpdate(partial(self._update, None), self.loss, images, targets, *others)
        return self.graph(images, targets, *others)

    def _update(self, whole: Tensor | None, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
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


class CapturedUpdate:
    """An update on batches of one shape as a CUDA graph, captured from a first batch (and not run on it).

    A loss that puts a new tensor in the place of a buffer (GALA does) would read the old one in each replay: the new
    value is copied into the old tensor, inside the graph, and the loss keeps that.
    """

    def __init__(self, update: Callable[..., tuple[Tensor, Tensor]], loss: torch.nn.Module, *batch: Tensor) -> None:
        self.batch = [part.clone() for part in batch]
        self.graph = torch.cuda.CUDAGraph()
        buffers = dict(loss.named_buffers())
        with torch.cuda.graph(self.graph):
            self.results = update(*self.batch)
            for name, moved in loss.named_buffers():
                if moved is not buffers[name]:
                    buffers[name].copy_(moved)
        for name, buffer in buffers.items():
            path, _, last = name.rpartition(".")
            setattr(loss.get_submodule(path), last, buffer)

    def __call__(self, *batch: Tensor) -> tuple[Tensor, Tensor]:
        for part, new in zip(self.batch, batch, strict=True):
            part.copy_(new)
        self.graph.replay()
        return self.results
