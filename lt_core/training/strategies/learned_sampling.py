"""BALMS's second stage: a classifier whose batches are drawn by rates that are learned with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_core.data.augment import augment
from lt_core.training.strategies.plain import Option, Stage
from lt_core.training.strategies.second_stage import RetrainedClassifier


class LearnedSampling(RetrainedClassifier):
    r"""A fresh classifier; each batch is drawn by class rates, which learn from a class-balanced batch beside it.

    An image's chance is proportional to :math:`\rho_y = \operatorname{sigmoid}(w_y)`, one weight a class, 1/2 at first.
    A draw is a Gumbel softmax over all images, passed through straight, so that the loss of a batch has a gradient in
    the weights. Each step

    1. draws a batch and takes a virtual step of the classifier on its loss;
    2. moves w by Adam down the gradient of the virtual classifier's cross-entropy on the class-balanced batch;
    3. takes the real step, on the same batch.

    ``rate_learning_rate`` is Adam's. ``temperature`` is that of the Gumbel softmax: which images are drawn does not
    depend on it, the draws' gradient does. ``batchnorm`` as in `RetrainedClassifier`.

    The class-balanced batches are drawn from the training images. The training accuracy in a record is that on them.

    Source: Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020, section 3.3; 2,000
    steps after 13,000 in the released code.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        **RetrainedClassifier.OPTIONS,
        "rate_learning_rate": Option(0.01, low=0.0, open_low=True),
        "temperature": Option(1.0, low=0.0, open_low=True),
    }
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"sampler": ("uniform",), "mixing": ("none",)}
    stage = Stage(share=2 / 13)
    one_loss = False
    compiles = False
    observed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.loss.reduction = "none"
        self.weights = torch.zeros(self.data.num_classes, device=self.device, requires_grad=True)
        self.rate_optimizer = torch.optim.Adam([self.weights], lr=self.options["rate_learning_rate"])
        self.pool, self.generator = self.images, torch.Generator()

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The class-balanced images and their targets; what the steps draw from is augmented here too."""
        kind = self.recipe.augmentation
        self.pool, self.generator = augment(self.images, kind, generator), generator
        index = self.draw("class_balanced", generator)
        return augment(self.images[index], kind, generator), self.targets[index]

    def drawn(self, size: int) -> tuple[Tensor, Tensor]:
        """Indices (B,) of a batch of training images, and ones (B,) that have the gradient of the draws."""
        chances = F.logsigmoid(self.weights)[self.targets]
        shape = (size, len(chances))
        noise = -torch.empty(shape).exponential_(generator=self.generator).log().to(self.device)
        soft = ((chances + noise) / self.options["temperature"]).softmax(1)
        index = soft.argmax(1)
        chosen = soft.gather(1, index[:, None]).squeeze(1)
        return index, 1 + (chosen - chosen.detach())

    def step(self, images: Tensor, targets: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor]:
        model: Any = self.model
        index, ones = self.drawn(len(targets))
        features = self.features(self.normalize(self.pool[index])).float()
        balanced = self.features(self.normalize(images)).float()
        losses = self.loss(model.classifier(features), self.targets[index])
        virtual = self.virtual_step((losses * ones).mean())
        outputs = torch.func.functional_call(model.classifier, virtual, (balanced,))
        (self.weights.grad,) = torch.autograd.grad(F.cross_entropy(outputs, targets), self.weights)
        self.rate_optimizer.step()
        return self.loss(model.classifier(features), self.targets[index]).mean(), outputs.detach()

    def virtual_step(self, loss: Tensor) -> dict[str, Tensor]:
        """The classifier after the optimiser's next step on ``loss``, with its graph; by name."""
        model: Any = self.model
        parameters = dict(model.classifier.named_parameters())
        slopes = torch.autograd.grad(loss, list(parameters.values()), create_graph=True)
        group = self.optimizer.param_groups[0]
        moved = {}
        for (name, value), slope in zip(parameters.items(), slopes, strict=True):
            step = slope + group["weight_decay"] * value.detach()
            before = self.optimizer.state[value].get("momentum_buffer")
            if before is not None:
                step = step + group["momentum"] * before
            moved[name] = value.detach() - group["lr"] * step
        return moved

    def rates(self) -> Tensor:
        return self.weights.detach().sigmoid()

    def facts(self) -> dict[str, Any]:
        return {"class_rates": [round(rate, 3) for rate in self.rates().tolist()]}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights.detach(), "rate_optimizer": self.rate_optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        with torch.no_grad():
            self.weights.copy_(state["weights"])
        self.rate_optimizer.load_state_dict(state["rate_optimizer"])
