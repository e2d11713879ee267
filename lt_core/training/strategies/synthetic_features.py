"""A classifier trained on the features of a finished run and on synthetic ones between them: SMOTE and its kin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from lt_core.data.oversampling import borderline_smote, smote
from lt_core.training.strategies.plain import Option
from lt_core.training.strategies.second_stage import RetrainedClassifier

_NEIGHBORS = Option(5, low=1, whole=True)


class SyntheticFeatures(RetrainedClassifier):
    """SMOTE on features: those of the un-augmented training images, and synthetic ones up to the largest class.

    They are computed once. An epoch shows as many of them as there are images, drawn without replacement, so it has
    its usual number of steps. See `lt_core.data.oversampling`.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"neighbors": _NEIGHBORS}
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"sampler": ("uniform",), "mixing": ("none",)}
    corrects = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._samples: tuple[Tensor, Tensor, tuple[int, ...]] | None = None

    @property
    def samples(self) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """Features, targets and the classes that were skipped: a function of the frozen network and the seed."""
        if self._samples is None:
            features, targets, skipped = self.enlarge(self.training_features().cpu())
            self._samples = features.to(self.device), targets.to(self.device), skipped
        return self._samples

    def enlarge(self, features: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        """The enlarged set, on the CPU, from the images' features (N, d)."""
        neighbors = self.options["neighbors"]
        data = self.data
        return *smote(features, data.train_targets, data.class_counts, self.generator(), neighbors), ()

    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.config.seed)

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Features (n, d) and targets (n,), in place of images."""
        features, targets, _ = self.samples
        index = torch.randperm(len(features), generator=generator)[: len(self.images)].to(self.device)
        return features[index], targets[index]

    def step(self, images: Tensor, targets: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        with self.autocast():
            outputs = model.classifier(images).float()
        return self.loss(outputs, targets), outputs


class BorderlineFeatures(SyntheticFeatures):
    """Borderline-SMOTE on features; the record names the classes that it leaves as small as they are."""

    OPTIONS: ClassVar[Mapping[str, Option]] = {"neighbors": _NEIGHBORS, "surroundings": Option(10, low=1, whole=True)}

    def enlarge(self, features: Tensor) -> tuple[Tensor, Tensor, tuple[int, ...]]:
        data, options = self.data, self.options
        return borderline_smote(features, data.train_targets, data.class_counts, self.generator(), **options)

    def facts(self) -> dict[str, Any]:
        return {"skipped_classes": list(self.samples[2])}
