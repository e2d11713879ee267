"""Several classifiers whose logits are averaged: RIDE, its network alone, and an ensemble that costs the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.losses import ExpertDiversity, expert_temperatures
from lt_core.models import Ensemble, Experts
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.strategies.plain import Option, Plain

EXPERT_WIDTHS = (16, 24, 48)  # RIDE's ``reduce_dimension`` on a CIFAR ResNet
# Three independent networks of these widths have, within 1 %, as many multiplications as three experts: with one block
# a stage and with five. The steps are even, as the shortcut's padding wants.
MEMBER_WIDTHS = (11, 23, 43)


class AveragedExperts(Plain):
    """RIDE's network, trained on the mean of its experts' logits: what RIDE's own training is compared with.

    ``experts`` is how many there are.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"experts": Option(3, low=2, whole=True)}
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"backbone": ("resnet32", "resnet8")}

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        count = self.options["experts"]
        networks = [build_network(self.config, self.data, widths=EXPERT_WIDTHS) for _ in range(count)]
        return Experts(networks), build_run_loss(self.config, self.data)

    def outputs(self, images: Tensor) -> Tensor:
        return super().outputs(images).mean(dim=1)

    def inference(self, images: Tensor) -> Tensor:
        return super().inference(images).mean(dim=1)


class SeparateExperts(AveragedExperts):
    """Each expert has its own loss, and the losses are added up; the mean of their logits predicts."""

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {**AveragedExperts.NEEDS, "mixing": ("none",)}
    one_loss = False
    distributed = False

    @property
    def observed(self) -> bool:
        return False

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        outputs = Plain.outputs(self, self.normalize(images))  # of all experts
        total = torch.stack([self.loss(of_one, targets) for of_one in outputs.unbind(1)]).sum()
        return total - self.bonus(outputs), outputs.mean(dim=1)

    def bonus(self, outputs: Tensor) -> Tensor | float:
        """What is taken off the sum of the losses."""
        return 0.0


class DiverseExperts(SeparateExperts):
    """RIDE's first stage: experts with LDAM-DRW each, and a reward for differing from their mean.

    ``experts`` is how many there are, ``diversity`` the factor of `lt_core.losses.expert_diversity`, 0 is none;
    ``tail_factor`` sets its temperatures, which are 1 until deferred re-weighting sets in. The second stage, which
    learns how many experts an image needs, saves operations and no errors; it is left out.

    Source: Wang et al., ICLR 2021, and the released ``RIDELoss``. Its factor 0 also puts the mean's loss in the place
    of the experts' own; here it does not.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        **AveragedExperts.OPTIONS,
        "diversity": Option(0.45, low=0.0),
        "tail_factor": Option(0.05, low=0.0, high=0.99),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.term = ExpertDiversity(self.data.num_classes).to(self.device)

    def train(self) -> None:
        super().train()
        if self.config.drw and self.epoch >= self.recipe.drw_epoch(self.epochs):
            self.term.temperatures.copy_(expert_temperatures(self.data.class_counts, self.options["tail_factor"]))

    def bonus(self, outputs: Tensor) -> Tensor | float:
        if self.options["diversity"] == 0:
            return 0.0
        bonus: Tensor = self.options["diversity"] * self.term(self.scale * outputs)
        return bonus


class IndependentNetworks(SeparateExperts):
    """An ensemble: networks that share nothing but the batches, each narrow enough that all cost what RIDE costs."""

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        count = self.options["experts"]
        networks = [build_network(self.config, self.data, widths=MEMBER_WIDTHS) for _ in range(count)]
        return Ensemble(networks), build_run_loss(self.config, self.data)
