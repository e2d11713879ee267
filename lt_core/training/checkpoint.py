"""Checkpoints: everything a run needs to go on, written atomically, with the previous one kept.

A run directory holds ``last.pt`` and, from the second checkpoint on, ``previous.pt``. Nothing falls back from one to
the other by itself: where ``last.pt`` is damaged, the error names ``previous.pt``, and you decide. An error of another
kind (no permission, another version) never does: there ``last.pt`` may be whole.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch

from lt_core.files import explain

LAST, PREVIOUS = "last.pt", "previous.pt"
# What every checkpoint has had from the first version on. A newer key is not among them: its reader knows its value of
# the time before it.
KEYS: dict[str, type] = {
    "config": dict,
    "epoch": int,
    "model": dict,
    "loss": dict,
    "step": dict,
    "history": list,
    "best": dict,
    "best_rebalanced": dict,
    "seconds": dict,
    "rng": torch.Tensor,
    "cuda_rng": list,
    "threads": int,
    "compiled": bool,
    "precision": str,
}
MISFITS = (RuntimeError, ValueError, LookupError, TypeError, AttributeError)  # from values of another version
OTHER_VERSION = "go on with the versions of lt_core and PyTorch that wrote it, or train anew in another directory"


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, foreign, of another version, or cannot be read or written."""


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Write ``folder/last.pt``; what it held before becomes ``previous.pt``.

    At every moment ``last.pt`` is a whole checkpoint: the new one is written beside it and renamed.

    Raises:
        CheckpointError: it cannot be written (a full disk, no permission); the old files are untouched.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    temporary, link = folder / f".{LAST}.new", folder / f".{PREVIOUS}.new"
    buffer = io.BytesIO()
    torch.save(content, buffer)  # into memory: of a full disk, torch.save would say "unexpected pos 768 vs 662"
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(buffer.getbuffer())
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
    except OSError as error:
        good = f"the last good one is {last}" if last.exists() else "there is no earlier one"
        raise CheckpointError(f"the checkpoint {last} cannot be written: {explain(error)}; {good}") from None


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """Read ``folder/last.pt`` onto the CPU; only tensors and plain values are unpickled (``weights_only=True``).

    Returns:
        A mapping that has all of `KEYS`, each of its type.

    Raises:
        CheckpointError: the file is missing, damaged, not readable, not a checkpoint of `lt_core`, or of another
            version. The message says which, and names the previous checkpoint where the last one is lost.
    """
    path = folder / LAST
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"there is no checkpoint at {path}{_older(folder)}") from None
    except OSError as error:
        if path.is_dir():
            raise CheckpointError(f"{path} is a directory, where a file is needed; move it away") from None
        reason = f"{explain(error)}; the file may be whole: make it readable, and give the command again"
        raise CheckpointError(f"{path} cannot be read: {reason}") from None
    if damage := _damage(data):
        older = _older(folder) or "; there is no earlier one: move it away to begin anew"
        raise CheckpointError(f"{path} is damaged: {damage}{older}")
    try:
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except (*MISFITS, EOFError, pickle.UnpicklingError) as error:
        raise CheckpointError(f"{path} cannot be read by this version: {_unread(error)}; {OTHER_VERSION}") from None
    if not isinstance(content, dict) or "config" not in content or "model" not in content:
        raise CheckpointError(f"{path} is not a checkpoint of lt_core; move it away{_older(folder)}")
    if missing := [key for key in KEYS if key not in content]:
        raise CheckpointError(f"{path} is of another version: it lacks {', '.join(missing)}; {OTHER_VERSION}")
    if wrong := [key for key, kind in KEYS.items() if not isinstance(content[key], kind)]:
        found = ", ".join(f"{key} is of type {type(content[key]).__name__}" for key in wrong)
        raise CheckpointError(f"{path} is of another version: {found}; {OTHER_VERSION}")
    return content


@contextmanager
def applying(folder: Path) -> Iterator[None]:
    """Around a block that applies what `load_checkpoint` gave: what does not fit becomes one line that names it.

    Raises:
        CheckpointError: a value is missing, or has another type or shape than the run or the network here.
    """
    try:
        yield
    except (CheckpointError, torch.OutOfMemoryError):
        raise
    except MISFITS as error:
        text = f"it lacks {error}" if isinstance(error, KeyError) else _misfit(error)
        raise CheckpointError(f"{folder / LAST} does not fit this run: {text}; {OTHER_VERSION}") from error


def _damage(data: bytes) -> str:
    """What is wrong with a checkpoint's bytes; "" where all check sums are right, at which PyTorch does not look."""
    if not data:
        return "it is empty"
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            part = archive.testzip()
    except Exception:  # in a damaged archive, zipfile stumbles in many ways
        return "it is cut short, or was never written by torch.save"
    return "" if part is None else f"its part {part} is not as it was written"


def _older(folder: Path) -> str:
    """The advice to go on from the previous checkpoint, where it is whole."""
    path = folder / PREVIOUS
    try:
        whole = not _damage(path.read_bytes())
    except OSError:
        return ""
    return f"; the previous one is {path}: rename it to {LAST} to go on from it" if whole else ""


def _unread(error: Exception) -> str:
    """What `torch.load` refuses, without its advice to load the file in spite of that."""
    if not isinstance(error, pickle.UnpicklingError):
        return _misfit(error)
    found = re.search(r"GLOBAL (\S+)", str(error))
    return f"it holds {found[1]}" if found else "it holds other things than tensors and plain values"


def _misfit(error: Exception) -> str:
    """An error's text as one line; PyTorch's list of all differences, which may fill pages, by its first three."""
    head, *rest = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    lines = rest if head.startswith("Error(s) in loading state_dict") and rest else [head]
    text = "; ".join(shorten(line, 160, placeholder=" …").rstrip(".") for line in lines[:3])
    return text if len(lines) <= 3 else f"{text}; and {len(lines) - 3} more"
