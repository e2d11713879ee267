"""How much memory a piece of work holds at its peak."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts, on the CPU, the most bytes that tensors hold at one time that are made inside.

    What a kernel takes and gives back before it returns is not seen, nor are the tensors in ``known``.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()
        self.known = {StorageWeakRef(tensor.untyped_storage()) for tensor in known}
        self.live: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        results = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.live[StorageWeakRef(storage)] = storage.nbytes()
        self.live = {r: size for r, size in self.live.items() if r not in self.known and not r.expired()}
        self.peak = max(self.peak, sum(self.live.values()))
        return results


def peak_bytes(work: Callable[[], object], known: Iterable[Tensor], device: torch.device) -> int:
    """Bytes that ``work`` holds at its peak beyond the tensors ``known``, which are there before."""
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    with LiveBytes(known) as counted:
        work()
    return counted.peak
