"""Features of a folder of images, for ``--dataset features``."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_core.data.decoding import centre, pixels
from lt_core.data.folder import scan
from lt_core.data.longtail import DataError
from lt_core.models.backbones import Trunk
from lt_core.records import write_atomically
from lt_core.training.devices import pick_device

SHORTER, CENTRE = 256, 224  # pixels, as ImageNet's networks are tested
BATCH = {"cpu": 32, "cuda": 256}


def prepare(path: Path) -> Tensor:
    """An image with its shorter side at 256 pixels, and of that the middle 224 x 224: uint8 (3, 224, 224)."""
    return centre(pixels(path), CENTRE, SHORTER)


def extract(
    root: str | Path,
    out: str | Path,
    backbone: str = "resnet50",
    pretrained: bool = False,
    device: str = "auto",
    progress: bool = False,
) -> dict[str, Any]:
    """Write the features of a data set of folders to a file that `lt_core.data.features` reads.

    Args:
        root: a data set of folders (`lt_core.data.folder`).
        out: the ``.npz`` file.
        backbone: one of `lt_core.models.backbones.TORCHVISION`.
        pretrained: with weights from ImageNet-1k; random ones (seed 0) otherwise.
        device: "auto", "cpu" or "cuda".
        progress: show a bar on stderr.

    Returns:
        "train", "test" and "dimension": the numbers of images, and of a feature's columns.

    Raises:
        DataError: what is wrong with the folder, or an image that cannot be read.
        lt_core.models.backbones.WeightsError: weights that are not at hand.
        ValueError: an unknown backbone.
    """
    import numpy as np
    from tqdm.auto import tqdm

    listing = scan(root)
    if listing.faults:
        raise DataError(listing.faults[0])
    place = pick_device(device)
    torch.manual_seed(0)
    trunk = Trunk(backbone, pretrained).eval().to(place)
    arrays: dict[str, Any] = {"class_names": np.array(listing.class_names)}
    total = len(listing.train) + len(listing.test)
    with tqdm(total=total, unit="img", desc="features", disable=not progress) as bar, ThreadPoolExecutor() as pool:
        for part in ("train", "test"):
            files = getattr(listing, part)
            batches = _batches([file for file, _ in files], BATCH[place.type], pool.map)
            arrays[f"{part}_features"] = torch.cat([_forward(trunk, batch.to(place), bar) for batch in batches]).numpy()
            arrays[f"{part}_labels"] = np.array([label for _, label in files], dtype=np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(Path(out), buffer.getvalue())
    return {"train": len(listing.train), "test": len(listing.test), "dimension": trunk.dimension}


def _batches(files: Sequence[Path], size: int, run: Callable[..., Iterator[Tensor]]) -> Iterator[Tensor]:
    for first in range(0, len(files), size):
        yield torch.stack(list(run(prepare, files[first : first + size])))


@torch.no_grad()
def _forward(trunk: Trunk, images: Tensor, bar: Any) -> Tensor:
    features = trunk(images).float().cpu()
    bar.update(len(images))
    return features
