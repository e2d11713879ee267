"""A run's network and loss, from its configuration and data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from lt_core.data import OWN, LongTailedData, load_dataset
from lt_core.data.streaming import RESIZED_CROPS
from lt_core.losses import COSINE_LOSSES, build_loss
from lt_core.models import BACKBONES
from lt_core.training.checkpoint import CheckpointError
from lt_core.training.recipes import COSINE_SCALE, RunConfig


def load_data(config: RunConfig, root: str | Path | None = None, download: bool = False) -> LongTailedData:
    """A run's data; arguments and errors as in `lt_core.data.load_dataset`."""
    return load_dataset(
        config.dataset,
        root,
        config.imbalance_factor,
        config.subset_seed,
        config.class_order,
        download,
        image_size=config.image_size,
        stream=config.augmentation in RESIZED_CROPS,
        meta_per_class=config.strategy_options.get("meta_per_class", 0),
    )


def own_data(config: RunConfig, data: LongTailedData) -> dict[str, Any] | None:
    """What a run keeps of data that no name identifies: sizes and a checksum; None for the other data sets."""
    if config.dataset not in OWN:
        return None
    counts = data.class_counts
    sizes = {"train": len(data.train_targets), "test": len(data.test_targets), "classes": len(counts)}
    return {**sizes, "largest": max(counts), "smallest": min(counts), "checksum": data.digest}


def check_same_data(saved: dict[str, Any], facts: dict[str, Any] | None, folder: Path) -> None:
    """Raise where the data have changed since the checkpoint ``saved`` in ``folder`` was made."""
    if (there := saved.get("data")) != facts:
        raise CheckpointError(f"the run in {folder} is of other data: {there} there, {facts} here")


def build_network(config: RunConfig, data: LongTailedData, **changes: Any) -> Any:
    """The network of a run, untrained; the seed is the caller's.

    Args:
        config: names backbone and classifier.
        data: decides the number of classes.
        changes: of the backbone's arguments, such as ``widths`` or ``num_classes``.

    Returns:
        The network (`lt_core.models.ResNetCIFAR`, `lt_core.models.backbones.Backbone` or, for features,
        `lt_core.models.FeatureClassifier`), which turns
        normalised images (N, 3, H, W) or features (N, d) into outputs (N, C): logits, or cosines for a loss on cosines,
        which scales them itself.
    """
    scale = 1.0 if config.loss in COSINE_LOSSES else COSINE_SCALE
    arguments: dict[str, Any] = {
        "num_classes": len(data.class_counts),
        "classifier": str(config.classifier),
        "scale": scale,
        "classifier_init": str(config.classifier_init),
    }
    if config.pretrained:
        arguments["pretrained"] = True
    if data.has_features:
        arguments["in_features"] = data.train_images.shape[1]
    return BACKBONES[str(config.backbone)](**(arguments | changes))


def build_run_loss(config: RunConfig, data: LongTailedData) -> nn.Module:
    """The loss of a run. Under deferred re-weighting it starts with weights of one."""
    options = dict(config.loss_options)
    if config.drw:
        options["weight"] = torch.ones(len(data.class_counts))
    return build_loss(config.loss, data.class_counts, **options)


def inference_scale(config: RunConfig, loss: Any) -> float:
    """What turns the network's outputs into logits: the scale of a loss on cosines, else 1."""
    return float(loss.scale) if config.loss in COSINE_LOSSES else 1.0
