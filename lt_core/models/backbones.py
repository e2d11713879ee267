"""torchvision's networks without their last layer, with or without its weights from ImageNet-1k."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_core.validation import check_choice

TORCHVISION = ("resnet18", "resnet50", "resnet152", "resnext50_32x4d")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images, as torchvision normalises them


class WeightsError(RuntimeError):
    """Weights that are not at hand and cannot be fetched; the message says where to put the file."""


class Trunk(nn.Module):
    """Images to pooled features.

    Args:
        name: one of `TORCHVISION`.
        pretrained: with the weights IMAGENET1K_V1 of torchvision, which are fetched once and kept in PyTorch's cache;
            else with random ones.

    Shape:
        uint8 images (N, 3, H, W) to (N, ``dimension``).

    Raises:
        ValueError: an unknown name.
        WeightsError: the weights are not in the cache and cannot be fetched.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool = False) -> None:
        from torchvision.models import get_model, get_model_weights

        super().__init__()
        check_choice("backbone", name, TORCHVISION)
        weights = get_model_weights(name)["IMAGENET1K_V1"] if pretrained else None
        network: Any = get_model(name, weights=None)
        if weights is not None:
            network.load_state_dict(_fetch(weights.url))
        self.dimension = int(network.fc.in_features)
        network.fc = nn.Identity()
        self.network = network
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images.float() / 255 - self.mean) / self.std)


def _fetch(url: str) -> Any:
    """A state dict by its address; from PyTorch's cache, or fetched and compared with the checksum in its name."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    try:
        return torch.hub.load_state_dict_from_url(url, map_location="cpu", progress=False, check_hash=True)
    except OSError as error:  # of which urllib's are a kind
        reason = getattr(error, "reason", error)
        raise WeightsError(f"{url} cannot be fetched ({reason}); put that file at {place}") from None
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:  # a wrong checksum, or no checkpoint
        raise WeightsError(
            f"{place} cannot be used: {(str(error) or 'it ends too early').splitlines()[0]}; delete it"
        ) from None
