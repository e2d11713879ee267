"""Checkpoints: everything a run needs to go on, written atomically, with the previous one kept.

A run directory holds ``last.pt`` and, from the second checkpoint on, ``previous.pt``. Nothing falls back from one to
the other by itself: where ``last.pt`` cannot be read, the error names ``previous.pt``, and you decide.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch

LAST, PREVIOUS = "last.pt", "previous.pt"
KEYS = ("config", "epoch", "model", "loss", "precision")


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, foreign, or cannot be written."""


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Write ``folder/last.pt``; what it held before becomes ``previous.pt``.

    At every moment ``last.pt`` is a whole checkpoint: the new one is written beside it and renamed.

    Raises:
        CheckpointError: it cannot be written (a full disk, no permission); the old files are untouched.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    temporary, link = folder / f".{LAST}.new", folder / f".{PREVIOUS}.new"
    try:
        try:
            with open(temporary, "wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())
            if last.exists():
                link.unlink(missing_ok=True)
                try:
                    os.link(last, link)
                    os.replace(link, previous)
                except OSError:  # a file system without hard links, such as a mounted Drive
                    os.replace(last, previous)
            os.replace(temporary, last)
        finally:
            temporary.unlink(missing_ok=True)
            link.unlink(missing_ok=True)
    except (OSError, RuntimeError) as error:
        good = f"the last good one is {last}" if last.exists() else "there is no earlier one"
        raise CheckpointError(f"the checkpoint {last} cannot be written: {_line(error)}; {good}") from None


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read ``folder/last.pt`` onto the CPU; only tensors and plain values are unpickled (``weights_only=True``).

    Raises:
        CheckpointError: the file is missing, damaged, or not a checkpoint of `lt_core`; the message names the
            previous checkpoint where there is one.
    """
    path = folder / LAST
    other = f"; the previous one is {folder / PREVIOUS}: rename it to {LAST} to go on from it"
    hint = other if (folder / PREVIOUS).exists() else ""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}{hint}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} is not a readable checkpoint: {_line(error)}{hint}") from None
    if not isinstance(content, dict) or any(key not in content for key in KEYS):
        raise CheckpointError(f"{path} is not a checkpoint of lt_core{hint}")
    return content


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
