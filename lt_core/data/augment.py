"""Augmentation of a whole epoch at once, on the device that holds the images.

Every image gets its own random draws, as in the usual image-by-image pipeline. They are drawn for the epoch in one go,
and images that drew the same operation are transformed together. Draws come from one CPU generator, so an epoch
depends on the seed alone: not on the device, and not on the batch size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lt_core.validation import check_choice

MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
AUGMENTATIONS = ("none", "crop_flip", "autoaugment")
FILL = 128.0  # grey; the released GALA code fills what a shear, shift or rotation uncovers with (128, 128, 128)


class Normalize(nn.Module):
    """uint8 images (N, 3, H, W) to float32, scaled to [0, 1] and normalised; by CIFAR's `MEAN` and `STD` if not told.

    The result is in channels-last layout, the one that convolutions are fastest in.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float] = MEAN, std: Sequence[float] = STD) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return ((images.float() / 255 - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


class Standardize(nn.Module):
    """Features (N, d) with the training features' mean and standard deviation in each column taken off.

    A column that does not vary becomes zero.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, train_features: Tensor) -> None:
        super().__init__()
        std, mean = torch.std_mean(train_features.double(), dim=0, correction=0)
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", torch.where(std > 0, std, torch.inf).float())

    def forward(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std


def augment(images: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """One augmented copy of every image.

    Args:
        images: (N, 3, H, W) uint8, on any device.
        kind: "none"; "crop_flip" (pad 4, random crop, random flip: recipe ``plain``); "autoaugment" (crop and flip, the
            CIFAR-10 policy, then Cutout 16: recipe ``strong``).
        generator: a CPU generator.

    Returns:
        (N, 3, H, W) uint8 on the same device. "none" returns ``images`` itself, which may then be features.

    Raises:
        ValueError: unknown ``kind``.
        TypeError: images that are not uint8.
    """
    check_choice("augmentation", kind, AUGMENTATIONS)
    if kind == "none":
        return images
    if images.dtype != torch.uint8:
        raise TypeError(f"images are {images.dtype}; uint8 is needed")
    images = random_flip(random_crop(images, generator), generator)
    if kind == "autoaugment":
        images = cutout(autoaugment(images, generator), generator)
    return images


def random_crop(images: Tensor, generator: torch.Generator, padding: int = 4) -> Tensor:
    """Pad with black by ``padding`` on each side and cut out a window of the old size at a random offset."""
    n, _, height, width = images.shape
    offsets = torch.randint(2 * padding + 1, (2, n), generator=generator).to(images.device)
    padded = torch.nn.functional.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (N, 3, offsets, offsets, H, W)
    return windows[torch.arange(n, device=images.device), :, offsets[0], offsets[1]]


def random_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right with probability one half."""
    flip = (torch.rand(images.shape[0], generator=generator) < 0.5).to(images.device)
    return torch.where(flip.view(-1, 1, 1, 1), images.flip(3), images)


def cutout(images: Tensor, generator: torch.Generator, size: int = 16) -> Tensor:
    """Blacken one ``size`` x ``size`` square a picture; its centre is uniform, so it may reach over the border.

    It acts before normalisation (black, not mean colour), as in the released GALA code.
    """
    n, _, height, width = images.shape
    centre_y = torch.randint(height, (n, 1), generator=generator).to(images.device)
    centre_x = torch.randint(width, (n, 1), generator=generator).to(images.device)
    rows = torch.arange(height, device=images.device) - centre_y
    columns = torch.arange(width, device=images.device) - centre_x
    in_rows = (rows >= -(size // 2)) & (rows < size // 2)
    in_columns = (columns >= -(size // 2)) & (columns < size // 2)
    hole = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return images.masked_fill(hole, 0)


# Magnitudes of levels 0 to 9, and whether the sign is drawn. AutoAugment (Cubuk et al., 2019) draws it for rotations
# too; the code released with GALA rotates one way only, and so do we.
LEVELS: dict[str, tuple[list[float], bool]] = {
    "ShearX": (torch.linspace(0, 0.3, 10).tolist(), True),
    "ShearY": (torch.linspace(0, 0.3, 10).tolist(), True),
    "TranslateX": (torch.linspace(0, 150 / 331, 10).tolist(), True),  # of the image's width
    "TranslateY": (torch.linspace(0, 150 / 331, 10).tolist(), True),
    "Rotate": (torch.linspace(0, 30, 10).tolist(), False),  # degrees
    "Brightness": (torch.linspace(0, 0.9, 10).tolist(), True),
    "Color": (torch.linspace(0, 0.9, 10).tolist(), True),
    "Contrast": (torch.linspace(0, 0.9, 10).tolist(), True),
    "Sharpness": (torch.linspace(0, 0.9, 10).tolist(), True),
    "Posterize": ([8, 8, 7, 7, 6, 6, 5, 5, 4, 4], False),  # bits that stay
    "Solarize": (torch.linspace(256, 0, 10).tolist(), False),  # grey values from here on are inverted; 256: none
}


def apply_operation(images: Tensor, name: str, magnitude: float) -> Tensor:
    """One AutoAugment operation on a batch of uint8 images, as PIL does it in the code released with GALA.

    Most are torchvision's tensor kernels. Shifts go by whole pixels, rotations take the nearest pixel, shears are
    bicubic; all three fill with grey `FILL`. AutoContrast, Brightness, Color, Contrast and Sharpness differ from PIL
    by one grey value at most, where the two round otherwise; the rest is PIL's, pixel for pixel, at the levels of the
    policy.

    Args:
        images: (N, 3, H, W) uint8, on any device.
        name: a key of `LEVELS`, or "AutoContrast", "Equalize" or "Invert".
        magnitude: of `LEVELS`, with its sign; a shift's is a fraction of the side. Unused by the last three.

    Returns:
        (N, 3, H, W) uint8 on the same device.

    Raises:
        ValueError: unknown ``name``.

    Example:
        >>> image = torch.tensor([0, 100, 200, 255], dtype=torch.uint8).expand(1, 3, 4, 4)
        >>> apply_operation(image, "TranslateX", 0.4)[0, 0, 0].tolist()  # by 1.6 pixels: two
        [128, 128, 0, 100]
    """
    from torchvision.transforms import functional as tvf
    from torchvision.transforms.v2 import functional as tvf2

    fill = [FILL] * 3
    if name in ("ShearX", "ShearY"):
        return shear_y(images.mT, magnitude).mT if name == "ShearX" else shear_y(images, magnitude)
    if name == "TranslateX":
        return tvf.affine(images, 0.0, [round(magnitude * images.shape[3]), 0], 1.0, [0.0, 0.0], fill=fill)
    if name == "TranslateY":
        return tvf.affine(images, 0.0, [0, round(magnitude * images.shape[2])], 1.0, [0.0, 0.0], fill=fill)
    if name == "Rotate":
        return tvf.rotate(images, magnitude, fill=fill)
    if name == "Posterize":
        return tvf.posterize(images, int(magnitude))
    if name == "Solarize":
        return torch.where(images < magnitude, images, 255 - images)  # torchvision's kernel refuses 256
    adjust = {
        "Brightness": tvf.adjust_brightness,
        "Color": tvf.adjust_saturation,
        "Contrast": tvf.adjust_contrast,
        "Sharpness": tvf.adjust_sharpness,
    }
    if name in adjust:
        return adjust[name](images, 1.0 + magnitude)
    # The older kernel of equalize loops over the images; the newer one takes a batch and gives the same pixels.
    plain = {"AutoContrast": tvf.autocontrast, "Equalize": tvf2.equalize, "Invert": tvf.invert}
    check_choice("operation", name, (*LEVELS, *plain))
    return plain[name](images)


def shear_y(images: Tensor, slope: float) -> Tensor:
    """Column x takes its pixels from ``slope`` * x rows further down: PIL's bicubic shear.

    A cubic convolution with parameter -1; the rows at the border are repeated, and the result is cut off, not rounded,
    to a grey value. torchvision's tensor kernels have no bicubic shear.
    """
    height, width = images.shape[2:]
    rows, columns = (torch.arange(side, dtype=torch.float64) + 0.5 for side in (height, width))
    source = slope * columns + rows[:, None]  # (H, W): where a pixel comes from, in rows from the upper edge
    inside = ((source >= 0) & (source < height)).to(images.device)
    below = (source - 0.5).floor()
    t = (source - 0.5 - below).to(images.device)
    neighbours = (below.long() + torch.arange(-1, 3).view(4, 1, 1)).clamp(0, height - 1).to(images.device)
    a, b, c, d = (images.gather(2, index.expand_as(images)).double() for index in neighbours)
    cubic = b + t * (c - a + t * (2 * (a - b) + c - d + t * (b - a + d - c)))
    return torch.where(inside, cubic.clamp(0, 255), FILL).to(torch.uint8)


def cifar10_policy() -> list[tuple[tuple[str, float, int | None], ...]]:
    """The 25 sub-policies found for CIFAR-10, as torchvision lists them: pairs of (operation, probability, level)."""
    from torchvision.transforms import AutoAugment, AutoAugmentPolicy

    return AutoAugment(AutoAugmentPolicy.CIFAR10).policies


def autoaugment(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one of the 25 CIFAR-10 sub-policies for every image and apply its two operations in turn.

    Source: Cubuk et al., *AutoAugment: Learning augmentation strategies from data*, Table 7 of the supplement.
    """
    policy = cifar10_policy()
    n = images.shape[0]
    chosen = torch.randint(len(policy), (n,), generator=generator)
    chance = torch.rand((n, 2), generator=generator)
    positive = torch.rand((n, 2), generator=generator) < 0.5
    images = images.clone()
    for step in (0, 1):
        groups: dict[tuple[str, float], list[Tensor]] = {}
        for number, sub_policy in enumerate(policy):
            name, probability, level = sub_policy[step]
            acts = (chosen == number) & (chance[:, step] < probability)
            levels, signed = LEVELS.get(name, ([0.0], False))
            magnitude = float(levels[level or 0])
            for sign, mask in ((1, acts & positive[:, step]), (-1, acts & ~positive[:, step])):
                key = (name, sign * magnitude if signed else magnitude)
                groups.setdefault(key, []).append(mask.nonzero().squeeze(1))
        for (name, magnitude), indices in groups.items():
            index = torch.cat(indices).to(images.device)
            if len(index):
                images[index] = apply_operation(images[index], name, magnitude)
    return images
