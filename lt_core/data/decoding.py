"""From a file to pixels: any picture as RGB, upright."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from lt_core.data.errors import DataError
from lt_core.files import explain

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
BORDER = 256 / 224  # of networks on ImageNet: the shorter side when testing, over the side of the square cut out of it


def read_image(path: str | os.PathLike[str]) -> Image:
    """An image as RGB, upright.

    Grey, CMYK and palette images are converted; what is transparent becomes white; 16 bits become 8; of several
    pictures in one file the first is taken.

    Raises:
        DataError: a file that cannot be read, is no image, or ends too early.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as opened:
            opened.seek(0)
            opened.load()
            picture = ImageOps.exif_transpose(opened)
    except UnidentifiedImageError:
        raise DataError(f"{path} is no image") from None
    except OSError as error:
        reason = explain(error) if error.errno else str(error)
        raise DataError(f"{path} cannot be read: {reason}") from None
    except (SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:  # as PIL for damaged files
        raise DataError(f"{path} cannot be read: {error}") from None
    if picture.mode.startswith("I") or picture.mode == "F":
        picture = _eight_bits(picture)
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def _eight_bits(picture: Image) -> Image:
    """A grey image of more bits in 8: 16 bits are scaled, and so are 32 where there is more than a byte in them."""
    from PIL import Image

    values = np.asarray(picture, dtype=np.float64)
    if picture.mode.startswith("I;16") or values.max(initial=0) > 255:
        values = values / 257
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


def pixels(path: str | os.PathLike[str]) -> Tensor:
    """An image as uint8 (3, H, W), as `read_image` has it."""
    from torchvision.transforms.v2 import functional as tvf

    return tvf.pil_to_tensor(read_image(path))


def centre(image: Tensor, size: int, shorter: int | None = None) -> Tensor:
    """The middle (3, size, size) of an image (3, H, W), its shorter side first brought to ``shorter`` or ``size``.

    Source: `Resize` and `CenterCrop` of torchvision, with antialiasing.
    """
    from torchvision.transforms.v2 import functional as tvf

    return tvf.center_crop(tvf.resize(image, [shorter or size], antialias=True), [size, size])
