"""A run's network and loss, from its configuration and data."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from lt_core.data import LongTailedData
from lt_core.losses import COSINE_LOSSES, build_loss
from lt_core.models import BACKBONES, ResNetCIFAR
from lt_core.training.recipes import COSINE_SCALE, RunConfig


def build_network(config: RunConfig, data: LongTailedData, **changes: Any) -> ResNetCIFAR:
    """The network of a run, untrained; the seed is the caller's.

    Args:
        config: names backbone and classifier.
        data: decides the number of classes.
        changes: of the backbone's arguments, such as ``widths`` or ``num_classes``.

    Returns:
        The network, which turns normalised images (N, 3, H, W) into outputs (N, C): logits, or cosines for a loss on
        cosines, which scales them itself.
    """
    scale = 1.0 if config.loss in COSINE_LOSSES else COSINE_SCALE
    arguments: dict[str, Any] = {
        "num_classes": len(data.class_counts),
        "classifier": str(config.classifier),
        "scale": scale,
        "classifier_init": str(config.classifier_init),
    }
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
