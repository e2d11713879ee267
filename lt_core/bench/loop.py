"""The training loop that the engine is measured against, as most released code has it."""

from __future__ import annotations

import os
import statistics
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from lt_core.data import LongTailedData
from lt_core.data.augment import MEAN, STD
from lt_core.models import BACKBONES
from lt_core.training.recipes import Recipe


class PILImages(Dataset[tuple[Tensor, int]]):
    """uint8 images (N, 3, H, W), handed out one by one through torchvision's PIL transforms of recipe ``strong``."""

    def __init__(self, images: Tensor, targets: Tensor) -> None:
        from torchvision import transforms as tv

        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.targets = targets.tolist()
        policy = tv.AutoAugment(tv.AutoAugmentPolicy.CIFAR10, fill=[128, 128, 128])
        steps = [tv.RandomCrop(32, padding=4), tv.RandomHorizontalFlip(), policy, tv.ToTensor(), cut_hole]
        self.transform = tv.Compose([*steps, tv.Normalize(MEAN, STD)])

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.targets[index]


def cut_hole(image: Tensor, size: int = 16) -> Tensor:
    """Cutout of one image (3, H, W), in place."""
    row, column = (int(torch.randint(length, ())) for length in image.shape[1:])
    half = size // 2
    image[:, max(0, row - half) : row + half, max(0, column - half) : column + half] = 0.0
    return image


class StraightforwardLoop:
    """A loader with one worker for every core, and an eager, contiguous float32 network, with `item()` each step."""

    def __init__(
        self, data: LongTailedData, recipe: Recipe, batch_size: int, backbone: str, device: torch.device
    ) -> None:
        self.device = device
        self.workers = os.cpu_count() or 1
        self.loader = DataLoader(
            PILImages(data.train_images, data.train_targets),
            batch_size,
            shuffle=True,
            drop_last=True,
            num_workers=self.workers,
            persistent_workers=True,
            pin_memory=device.type == "cuda",
        )
        self.model = BACKBONES[backbone](data.num_classes).to(device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), recipe.learning_rate, recipe.momentum, weight_decay=recipe.weight_decay
        )

    def load(self) -> int:
        """An epoch of batches on the device, and nothing done with them; returns their number."""
        return sum(len(images.to(self.device)) == len(targets.to(self.device)) for images, targets in self.loader)

    def train(self, steps: int | None = None) -> float:
        """An epoch of training, or its first ``steps``; returns the mean loss."""
        losses = []
        for images, targets in islice(self.loader, steps):
            loss = F.cross_entropy(self.model(images.to(self.device)), targets.to(self.device))
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return statistics.fmean(losses)
