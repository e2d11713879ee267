"""One run on several processes: the little that the engine needs of `torch.distributed`.

Every process holds the whole data set, draws the same order and augmentation, and works on its part of each batch. The
batch size of a configuration is that of all processes together. Gradients are averaged by DistributedDataParallel,
weighted so that the result is the gradient of the whole batch; GALA's residuals are summed over the processes inside
the loss; BatchNorm is synchronised on GPUs, and uses each process's part of the batch on CPUs, where PyTorch has no
synchronised form. Only the process of rank 0 writes and shows progress.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lt_core.seeding import derived_seed


def rank() -> int:
    """This process's number; 0 in a run of one process."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def is_first() -> bool:
    """Whether this process is the one that prints, also before and after the group exists."""
    return int(os.environ.get("RANK", "0")) == 0


def world() -> int:
    """The number of processes; 1 in a run of one process."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the group that ``torchrun`` describes in the environment; yields this process's device.

    Outside ``torchrun`` (or inside a group that is already there) nothing is joined and ``device`` comes back.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextmanager
def own_draws(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Draw in this process otherwise than in the others: noise of a loss, dropout. Alone, nothing is changed.

    The draws are a function of seed, epoch and rank, so that a resumed run repeats them; PyTorch's generators are
    afterwards as they were, the same in all processes.
    """
    if world() == 1:
        yield
        return
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(derived_seed(seed, epoch, 1 + rank()))
        yield


def sum_(tensor: Tensor) -> Tensor:
    """Sum ``tensor`` over the processes, in place."""
    if world() > 1:
        dist.all_reduce(tensor)
    return tensor


def barrier() -> None:
    """Wait for all processes."""
    if world() > 1:
        dist.barrier()


def wrap(model: nn.Module, device: torch.device) -> nn.Module:
    """The model under DistributedDataParallel, or itself in a run of one process."""
    if world() == 1:
        return model
    if device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return nn.parallel.DistributedDataParallel(model, device_ids=[device.index])
    return nn.parallel.DistributedDataParallel(model)
