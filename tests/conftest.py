"""Fixtures shared by every test folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

settings.register_profile("no_deadline", deadline=None)  # a busy machine is not a failed property
settings.load_profile("no_deadline")


@pytest.fixture(autouse=True)
def _same_precision_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests train in float32 also on a CPU that has bfloat16, unless they name a precision."""
    monkeypatch.setattr("lt_core.training.devices.cpu_has_bfloat16", lambda: False)


@pytest.fixture(scope="session")
def cifar_root() -> Path:
    """The folder of the official CIFAR-100 files. Without LT_DATA_ROOT the test is skipped; a broken one fails it."""
    root = os.environ.get("LT_DATA_ROOT")
    if not root:
        pytest.skip("not run: no CIFAR-100; set LT_DATA_ROOT to the folder that has cifar-100-python")
    from lt_core.data import check_files

    check_files(root, "cifar100_lt")
    folder = Path(root).expanduser()
    assert (folder / "cifar-100-python").is_dir(), "these tests compare with the official files (--source toronto)"
    return folder


class NoFloat64(TorchDispatchMode):
    """A device without float64: every operator that would return it raises."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in result if isinstance(result, (tuple, list)) else [result]:
            assert not (isinstance(value, Tensor) and value.dtype == torch.float64), f"{function} returns float64"
        return result


@pytest.fixture
def no_float64(monkeypatch: pytest.MonkeyPatch) -> type[NoFloat64]:
    """The CPU taken for a device without float64; enter the mode that it returns after moving the loss there."""
    from lt_core.losses import _common

    monkeypatch.setattr(_common, "has_float64", lambda device: False)
    return NoFloat64
