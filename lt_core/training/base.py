"""The finished run that a second stage starts from."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lt_core import methods, records
from lt_core.training import distributed
from lt_core.training.checkpoint import CheckpointError, applying, load_checkpoint
from lt_core.training.errors import TrainingError
from lt_core.training.progress import tell
from lt_core.training.recipes import RunConfig
from lt_core.training.strategies import STRATEGIES

# What a run and the one that it starts from must have alike.
ALIKE = ("dataset", "imbalance_factor", "image_size", "backbone", "subset_seed", "class_order")


@dataclass(frozen=True)
class Base:
    """Weights of a finished run, and what the record of the second stage says of it."""

    weights: Mapping[str, Tensor]
    facts: dict[str, Any]
    data: dict[str, Any] | None = None  # what its data were, where they are of one's own


def base_config(config: RunConfig) -> RunConfig:
    """The run that ``config`` starts from where none is named: the method's first stage, with the same seeds."""
    first: dict[str, Any] = {"strategy": STRATEGIES[config.strategy].starts_from}
    if config.method is not None:
        first = methods.base_settings(config.method)
    shared = (*ALIKE, "recipe", "augmentation", "batch_size", "pretrained", "seed")
    return RunConfig(**{name: getattr(config, name) for name in shared} | first)


def prepare_base(
    config: RunConfig,
    place: str | Path | None,
    folder: Path | None,
    train: Callable[..., Any],
    progress: bool | str = False,
) -> Base | None:
    """The run that ``config`` starts from, found in ``place`` or trained now; None where it starts from nothing.

    With ``progress``, two lines on stderr tell where a first stage that is trained begins and where it ends.

    Raises:
        TrainingError: ``place`` where the strategy starts from no run; a run that is not finished, is of other data or
            another network, or is not the method's first stage; or a configuration that names a run, without ``place``.
        CheckpointError: its checkpoint cannot be read or is not that of its record.
    """
    if STRATEGIES[config.strategy].stage is None:
        if place is not None:
            named = config.method or config.strategy
            raise TrainingError(f"{named!r} starts from no other run; leave --from out")
        return None
    if distributed.world() > 1:
        raise TrainingError(f"{config.method or config.strategy!r} works in one process; start it without torchrun")
    if place is not None:
        return load_base(Path(place), config)
    if config.base is not None:
        raise TrainingError(f"the configuration starts from {config.base}; say where that is with --from")
    with ExitStack() as stack:
        where = folder if folder is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        first = base_config(config)
        tell(progress, f"first stage: {first.run_name}, {first.epochs} epochs")
        train(first, where / "base")
        tell(progress, f"second stage: {config.run_name}, {config.epochs} epochs")
        return load_base(where / "base", config)


def load_base(folder: Path, config: RunConfig) -> Base:
    """The weights of the finished run in ``folder``; it must fit what ``config`` does with them.

    A method has a first stage of its own, and another one would make it another method. A strategy without a method
    starts from any run of the strategy that it goes on from.
    """
    try:
        record = records.load(folder)
    except records.RecordError as error:
        raise TrainingError(f"--from needs a finished run: {error}") from None
    saved = load_checkpoint(folder)
    with applying(folder):
        there = RunConfig.from_stored(saved["config"])
    if difference := there.difference(record["config"]):
        raise CheckpointError(f"checkpoint and record of {folder} are of two runs: {difference}")
    if saved["epoch"] < int(there.epochs or 0):
        raise CheckpointError(f"the checkpoint of {folder} is of epoch {saved['epoch']} of {there.epochs}")
    name = f"{there.recipe}/{there.run_name}"
    if config.base is not None and config.base != name:
        raise TrainingError(f"the configuration starts from {config.base}, but {folder} holds {name}")
    first, what = base_config(config), config.method or config.strategy
    for key in ("strategy",) if config.method is None else methods.DECIDED:
        if (has := getattr(there, key)) != (needed := getattr(first, key)):
            raise TrainingError(f"{what!r} starts from a run with {key} {needed!r}, but that in {folder} has {has!r}")
    for key in ALIKE:
        if getattr(there, key) != getattr(config, key):
            here = getattr(config, key)
            raise TrainingError(f"{folder} has {key} {getattr(there, key)!r}, but this run has {here!r}")
    facts = {
        "run": name,
        "checksum": weights_checksum(saved["model"]),
        "top1": record["final"]["last"]["top1"],
        "seconds": record["environment"]["seconds"],
        "cpu_seconds": record["environment"].get("cpu_seconds"),
    }
    return Base(saved["model"], facts, saved.get("data"))


def weights_checksum(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and values, the first 16 digits."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
