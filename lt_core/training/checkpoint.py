"""Checkpoints: the network, the loss's buffers and the configuration, written atomically."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lt_core.training.recipes import RunConfig

KEYS = ("config", "epoch", "model", "loss")


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, truncated or not one of ours."""


def save_checkpoint(path: Path, model: nn.Module, loss: nn.Module, config: RunConfig, epoch: int) -> None:
    """Write ``path`` so that it holds either the old checkpoint or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    content = {"config": config.to_dict(), "epoch": epoch, "model": model.state_dict(), "loss": loss.state_dict()}
    try:
        torch.save(content, temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint onto the CPU; only tensors and plain values are unpickled (``weights_only=True``).

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of `lt_core`.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}") from None
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{path} is not a readable checkpoint: {reason}") from None
    if not isinstance(content, dict) or any(key not in content for key in KEYS):
        raise CheckpointError(f"{path} is not a checkpoint of lt_core")
    return content
