"""The CIFAR ResNets of He et al. (2016): 16-32-64 channels, parameter-free ("option A") shortcuts.

"ResNet-32" names several networks in the long-tail literature. This is the one of LDAM-DRW: 0.46 million parameters.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.models.classifiers import CLASSIFIER_INITS, make_classifier
from lt_core.validation import check_choice

WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalisation around an option-A shortcut.

    Where the block halves the image and doubles the channels, the shortcut takes every second pixel and pads the
    new channels with zeros, half of them in front.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride
        self.pad = (channels - in_channels) // 2

    def shortcut(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return x
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))

    def forward(self, x: Tensor) -> Tensor:
        out = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


def initialise(network: nn.Module, classifier_init: str = "kaiming") -> None:
    """Kaiming normal weights for the convolutions of a network, and with "kaiming" for its linear layers."""
    kaiming = (nn.Conv2d, nn.Linear) if classifier_init == "kaiming" else nn.Conv2d
    for module in network.modules():
        if isinstance(module, kaiming):
            nn.init.kaiming_normal_(module.weight)


class ImageNetwork(nn.Module):
    """What `ResNetCIFAR` and `Backbone` share, and heads rely on: convolution, blocks, average pooling, classifier.

    A subclass sets the parts ``conv1``, ``bn1``, ``blocks`` and ``classifier``, the features' dimension d, and the
    stride, how many pixels of the image go to one of the last maps.

    Shape:
        images (N, 3, H, W), floating point and normalised, to the classifier's logits or cosines (N, C).
    """

    stride: int  # pixels of the image to one of the last maps
    dimension: int  # d, of the features
    conv1: nn.Module
    bn1: nn.Module
    blocks: nn.Sequential
    classifier: nn.Module

    def maps(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the last block's maps (N, d, H / stride, W / stride), rounded up."""
        maps: Tensor = self.blocks(torch.relu(self.bn1(self.conv1(images))))
        return maps

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to pooled features (N, d)."""
        return self.maps(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(images))
        return logits


class ResNetCIFAR(ImageNetwork):
    """ResNet for 32x32 images: one convolution, three stages of ``blocks`` basic blocks, average pooling, classifier.

    Args:
        blocks: basic blocks a stage; the depth is 6 * blocks + 2.
        num_classes: C, the number of classes.
        classifier: "linear" (with bias) or "cosine" (no bias, outputs cosines times ``scale``).
        scale: factor on the cosines; unused by "linear".
        classifier_init: of the linear classifier's weights. "kaiming": normal of variance 2 / 64, as LDAM-DRW's code.
            "default": `torch.nn.Linear`'s own, uniform of variance 1 / (3 * 64), as GALA's code; the first logits are
            then smaller by the factor of the square root of 6. A cosine classifier has its own (uniform directions),
            so both give it the same weights.
        widths: channels of the three stages; a step from one to the next must be even, for the shortcut's padding.

    Shape:
        images (N, 3, 32, 32), floating point and normalised, to logits or cosines (N, C).
        `features` gives the 64-dimensional input of the classifier, (N, 64), and `maps` what is averaged to it.

    Raises:
        ValueError: unknown ``classifier`` or ``classifier_init``, or a ``scale`` that is not positive.

    Source: He et al., *Deep residual learning for image recognition*, Section 4.2; Kaiming normal for convolutions as
    in the code of LDAM-DRW and of GALA, which differ in the classifier.
    """

    stride = 4

    def __init__(
        self,
        blocks: int,
        num_classes: int = 100,
        classifier: str = "linear",
        scale: float = 1.0,
        classifier_init: str = "kaiming",
        widths: Sequence[int] = WIDTHS,
    ) -> None:
        super().__init__()
        check_choice("classifier_init", classifier_init, CLASSIFIER_INITS)
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        layers: list[nn.Module] = []
        in_channels = widths[0]
        for stage, channels in enumerate(widths):
            for block in range(blocks):
                layers.append(BasicBlock(in_channels, channels, stride=2 if stage > 0 and block == 0 else 1))
                in_channels = channels
        self.blocks = nn.Sequential(*layers)
        self.dimension = widths[-1]
        self.classifier = make_classifier(classifier, self.dimension, num_classes, scale)
        initialise(self, classifier_init)


def resnet32(
    num_classes: int = 100,
    classifier: str = "linear",
    scale: float = 1.0,
    classifier_init: str = "kaiming",
    widths: Sequence[int] = WIDTHS,
) -> ResNetCIFAR:
    """ResNet-32 for CIFAR: 5 blocks a stage, 0.46 million parameters. See `ResNetCIFAR`.

    Example:
        >>> import lt_core as lt
        >>> sum(p.numel() for p in lt.models.resnet32(classifier="cosine").parameters())
        469904
    """
    return ResNetCIFAR(5, num_classes, classifier, scale, classifier_init, widths)


def resnet8(
    num_classes: int = 100,
    classifier: str = "linear",
    scale: float = 1.0,
    classifier_init: str = "kaiming",
    widths: Sequence[int] = WIDTHS,
) -> ResNetCIFAR:
    """ResNet-8 for CIFAR: 1 block a stage, small enough to train on a CPU. See `ResNetCIFAR`."""
    return ResNetCIFAR(1, num_classes, classifier, scale, classifier_init, widths)
