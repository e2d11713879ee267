"""Feature space augmentation: what is specific to a rare class, on the background of a common one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.data.augment import augment
from lt_core.data.sampling import image_of_class
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.strategies.plain import Option, Plain, Stage

GROUP, PARTNERS = 8, 3  # a rare image, its three partners, and as many common images


def is_common(class_counts: Sequence[int], share: float) -> Tensor:
    """Boolean (C,): the largest classes that together hold at most ``share`` of the images, one at least.

    Example:
        >>> is_common([60, 25, 10, 5], 0.9)
        tensor([ True,  True, False, False])
    """
    counts = torch.tensor(class_counts)
    order = counts.argsort(descending=True, stable=True)
    held = counts[order].cumsum(0) <= share * counts.sum()
    held[0] = True
    common = torch.empty_like(held)
    common[order] = held
    return common


def activation_maps(maps: Tensor, rows: Tensor) -> Tensor:
    """Where a map speaks for a class: (..., h, w) in [0, 1], from maps (..., K, h, w) and classifier rows (..., K).

    With average pooling and a linear classifier the gradient-weighted map is the positive part of the classifier's
    products at each place; it is stretched to [0, 1], and is 0 where it is the same everywhere.
    """
    strength = (maps * rows[..., None, None]).sum(dim=-3).clamp(min=0)
    low, high = strength.amin(dim=(-2, -1), keepdim=True), strength.amax(dim=(-2, -1), keepdim=True)
    return (strength - low) / torch.where(high > low, high - low, 1.0)


class FeatureAugmentation(Plain):
    """The classifier of a finished run goes on with rare images whose background comes from common classes.

    An input in eight is a rare image. Three are its partners, one of each of the three common classes whose images the
    finished network takes for the rare class most: of their last maps only what does not speak for their own class is
    kept, of the rare image's what speaks for its class, and each place is taken from the one or the other at random.
    The mixture is labelled as the rare class. The last four are common images as they are. Only the classifier learns.

    Options: above ``specific`` a map's activation is specific to its class, below ``generic`` it is background; the
    common classes hold ``common_share`` of the images.

    Raises:
        ValueError: data without a rare class.

    Source: Chu et al., "Feature Space Augmentation for Long-Tailed Data", ECCV 2020; constants and details are those of
    the unofficial code SSRSGJYD/Feature-Space-Augmentation-for-Long-Tailed-Data.
    """

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"sampler": ("uniform",), "mixing": ("none",)}
    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "specific": Option(0.8, low=0.0, high=1.0),
        "generic": Option(0.2, low=0.0, high=1.0),
        "common_share": Option(0.9, low=0.0, high=1.0),
    }
    stage = Stage(share=0.2)
    batch_multiple = GROUP
    distributed = False

    def __init__(self, config: Any, data: Any, device: Any, precision: str, weights: Any = None) -> None:
        super().__init__(config, data, device, precision, weights)
        self.common = is_common(data.class_counts, self.options["common_share"])
        if self.common.all():
            raise ValueError(
                f"common_share is {self.options['common_share']:g}, which leaves no class of {data.name} rare"
            )
        self.partners = torch.zeros(data.num_classes, PARTNERS, dtype=torch.int64)
        if weights is not None:
            probabilities = self.predict(data.train_images).softmax(dim=1)
            self.partners = self.most_confused(probabilities, data.train_targets)

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network: Any = build_network(self.config, self.data)
        if weights is not None:
            self.start(network, weights)
        network.requires_grad_(False)
        network.classifier.requires_grad_(True)
        return network, build_run_loss(self.config, self.data)

    def most_confused(self, probabilities: Tensor, targets: Tensor) -> Tensor:
        """For each class (C, 3), the common classes whose images (N, C) have it most probable on average."""
        means = torch.zeros(self.data.num_classes, self.data.num_classes)
        means.index_add_(0, targets, probabilities)
        means /= torch.tensor(self.data.class_counts)[:, None]
        common = self.common.nonzero()[:, 0]
        ranked = common[means[common].argsort(dim=0, descending=True, stable=True)].T
        return ranked[:, torch.arange(PARTNERS) % len(common)]

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Groups of eight, as the class describes them: images, labels, and third each image's own class."""
        targets = self.data.train_targets
        groups = len(targets) // GROUP
        rare = (~self.common[targets]).nonzero()[:, 0]
        rounds = [rare[torch.randperm(len(rare), generator=generator)] for _ in range(-(-groups // len(rare)))]
        first = torch.cat(rounds)[:groups]  # every rare image once before one of them comes again
        labels = targets[first]
        partners = image_of_class(self.partners[labels], targets, torch.tensor(self.data.class_counts), generator)
        frequent = self.common[targets].nonzero()[:, 0]
        others = frequent[torch.randint(len(frequent), (groups, GROUP // 2), generator=generator)]
        index = torch.cat([first[:, None], partners, others], dim=1).flatten()
        given = torch.cat([labels[:, None].expand(-1, 1 + PARTNERS), targets[others]], dim=1).flatten()
        images = augment(self.images[index.to(self.device)], self.recipe.augmentation, generator)
        return images, given.to(self.device), targets[index].to(self.device)

    def train(self) -> None:
        super().train()
        self.model.eval()  # the maps are those of the finished run

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        with torch.no_grad():
            with self.autocast():
                maps = model.maps(self.normalize(images))
            features = self.fuse(maps.float(), model.classifier.weight[others[0]]).mean(dim=(2, 3))
        with self.autocast():
            outputs = model.classifier(features)
        return self.loss(outputs.float(), targets), outputs.float()

    def fuse(self, maps: Tensor, rows: Tensor) -> Tensor:
        """Maps (B, K, h, w), the partners among them fused; ``rows`` (B, K) of the classifier, of each own class."""
        groups, activation = maps.unflatten(0, (-1, GROUP)), activation_maps(maps, rows).unflatten(0, (-1, GROUP))
        rare, partners = groups[:, :1], groups[:, 1 : 1 + PARTNERS]
        specific = torch.where(activation[:, :1, None] > self.options["specific"], rare, 0.0)
        generic = torch.where(activation[:, 1 : 1 + PARTNERS, None] < self.options["generic"], partners, 0.0)
        shares = torch.rand(*partners.shape[:2], 1, 1, 1, device=maps.device)
        taken = torch.rand(*partners.shape[:2], 1, *maps.shape[2:], device=maps.device) > shares
        fused = torch.where(taken, specific, generic)
        return torch.cat([rare, fused, groups[:, 1 + PARTNERS :]], dim=1).flatten(0, 1)

    def state_dict(self) -> dict[str, Any]:
        return {"partners": self.partners}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.partners = state["partners"]
