"""What a training step must at least do: its arithmetic, its memory traffic, its kernel launches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.models import BACKBONES, CosineClassifier

COUNTED = """\
FLOP: convolutions and matrix products, forward and backward, two for a multiply-add. Bytes: every convolution and the
classifier read their input and write their output; in the backward pass they read the input and the output's gradient
and write the input's gradient; parameters, gradients and momentum move as the update needs them. Batch norm, ReLU, the
loss, augmentation and evaluation count as free, and copy and product run at the rate measured here: it is a floor."""


def step_arithmetic(backbone: str, batch_size: int, itemsize: int) -> tuple[int, int]:
    """FLOP and least bytes of one training step (`COUNTED`), for 100 classes and activations of ``itemsize`` bytes.

    Nothing is computed: the step runs on PyTorch's "meta" device, which knows shapes only.
    """
    with torch.device("meta"):
        model = BACKBONES[backbone](100)
        images, targets = torch.empty(batch_size, 3, 32, 32), torch.empty(batch_size, dtype=torch.int64)
    return count_step(model, images, targets, itemsize)


def count_step(model: nn.Module, images: Tensor, targets: Tensor, itemsize: int) -> tuple[int, int]:
    """FLOP and least bytes of forward, backward and update of cross-entropy on ``model``."""
    from torch.utils.flop_counter import FlopCounterMode

    values = 0

    def count(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal values
        entering = inputs[0].numel()
        values += 2 * entering + 2 * output.numel() + (entering if inputs[0].requires_grad else 0)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear, CosineClassifier)):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        F.cross_entropy(model(images), targets).backward()
    # In float32: read forward and backward, gradient written; then gradient, value and momentum read, two written.
    parameters = sum(p.numel() for p in model.parameters())
    return counter.get_total_flops(), itemsize * values + 4 * 8 * parameters


def count_kernels(step: Callable[[], object]) -> int:
    """Kernels and copies that one call of ``step`` launches on the GPU."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        step()
        torch.cuda.synchronize()
    return sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profile.events() or ())


def empty_kernels(number: int, device: torch.device) -> Callable[[], None]:
    """A CUDA graph of ``number`` kernels that write one value each; a call replays it."""
    value, graph = torch.zeros(1, device=device), torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(number):
            value.fill_(1.0)
    return graph.replay
