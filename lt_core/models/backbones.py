"""torchvision's networks, with or without its weights from ImageNet-1k."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_core.data.augment import Normalize
from lt_core.models.classifiers import make_classifier
from lt_core.models.resnet_cifar import ImageNetwork
from lt_core.validation import check_choice

TORCHVISION = ("resnet18", "resnet50", "resnet152", "resnext50_32x4d")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's images, as torchvision normalises them
IMAGENET = (MEAN, STD)


class WeightsError(RuntimeError):
    """Weights that are not at hand and cannot be fetched; the message says where to put the file."""


def _network(name: str, pretrained: bool) -> Any:
    """torchvision's network, with its weights IMAGENET1K_V1 or with random ones.

    Raises:
        ValueError: an unknown name.
        WeightsError: the weights are not in the cache and cannot be fetched.
    """
    from torchvision.models import get_model, get_model_weights

    check_choice("backbone", name, TORCHVISION)
    network: Any = get_model(name, weights=None)
    if pretrained:
        network.load_state_dict(_fetch(get_model_weights(name)["IMAGENET1K_V1"].url))
    return network


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

    def __init__(self, name: str, pretrained: bool = False) -> None:
        super().__init__()
        self.network = _network(name, pretrained)
        self.dimension = int(self.network.fc.in_features)
        self.network.fc = nn.Identity()
        self.normalize = Normalize(*IMAGENET)

    def forward(self, images: Tensor) -> Tensor:
        return self.network(self.normalize(images))


class Backbone(ImageNetwork):
    """A network of torchvision with a classifier of ours, to be trained: any size of image from 8 pixels on.

    The parts have the names that those of `lt_core.models.ResNetCIFAR` have, so that the same heads fit; the first of
    its ``blocks`` begins with the pooling that follows the first convolution.

    Args:
        name: one of `TORCHVISION`.
        num_classes: C, the number of classes.
        classifier: "linear" (with bias) or "cosine" (no bias, outputs cosines times ``scale``).
        scale: factor on the cosines; unused by "linear".
        classifier_init: of a linear classifier: "kaiming", normal of variance 2 / d, or "default", PyTorch's own.
        pretrained: with torchvision's weights IMAGENET1K_V1 below the classifier.

    Shape:
        images (N, 3, H, W), floating point and normalised, to logits or cosines (N, C). `features` gives the
        classifier's input, (N, ``dimension``), and `maps` what is averaged to it.

    Raises:
        ValueError: an unknown name, classifier or initialisation.
        WeightsError: the weights are not in the cache and cannot be fetched.
    """

    stride = 32

    def __init__(
        self,
        name: str,
        num_classes: int = 100,
        classifier: str = "linear",
        scale: float = 1.0,
        classifier_init: str = "default",
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        network = _network(name, pretrained)
        self.conv1, self.bn1 = network.conv1, network.bn1
        first, *others = [block for layer in range(1, 5) for block in getattr(network, f"layer{layer}")]
        self.blocks = nn.Sequential(nn.Sequential(network.maxpool, first), *others)
        self.dimension = int(network.fc.in_features)
        self.classifier = make_classifier(classifier, self.dimension, num_classes, scale, classifier_init)


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
