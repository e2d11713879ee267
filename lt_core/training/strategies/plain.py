"""The four steps of a run that a method may change, and what they are when it changes nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core.data import LongTailedData
from lt_core.data.augment import Normalize, Standardize, augment
from lt_core.data.mixing import label_shares, mixing_shares
from lt_core.data.sampling import draw
from lt_core.models.backbones import IMAGENET, TORCHVISION
from lt_core.training.build import build_network, build_run_loss, inference_scale
from lt_core.training.devices import EVALUATION_BATCH
from lt_core.training.errors import TrainingError

if TYPE_CHECKING:
    from lt_core.training.recipes import RunConfig


@dataclass(frozen=True)
class Option:
    """A constant of a strategy: its value, and which other ones are allowed; ``words`` beside numbers.

    One whose value is None is left out of a configuration that does not give it, and of the run's name and record.
    """

    default: Any
    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    choices: tuple[Any, ...] | None = None
    whole: bool = False
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """The length of a second stage: a share of the recipe's epochs, and at least so many."""

    share: float
    least: int = 5

    def epochs(self, recipe_epochs: int) -> int:
        return max(self.least, round(self.share * recipe_epochs))


class Plain:
    """One network, one loss, one pass over the images an epoch; all that a loss, a sampler and mixing need.

    A strategy overrides some of `build`, `order`, `step` and `predict`. What it has beyond ``model`` and ``loss`` and
    has to survive an interruption goes into `state_dict`.

    Args:
        config: of the run.
        data: of the run.
        device: where the run computes.
        precision: "float32", "bfloat16" or "float16", of the network's forward passes.
        weights: the state dict of the network that a second stage starts from. None where there is no such stage, and
            where a checkpoint is applied afterwards.

    Attributes:
        model: all that is trained or predicts; a checkpoint keeps its state.
        network: what a step calls: ``model``, or its wrapper in a run of several processes.
        loss: a loss of `lt_core.losses`, or None where a strategy has its own.
        optimizer: what moves the parameters; set before the first epoch, for a strategy that looks ahead.
        epoch: number of finished epochs; the engine sets it.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {}
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {}  # settings of a run that must have one of these values
    stage: ClassVar[Stage | None] = None  # of a strategy that goes on from a finished run
    starts_from: ClassVar[str] = "plain"  # the strategy of that run
    batch_multiple: ClassVar[int] = 1  # what the batch size must be a multiple of
    corrects: ClassVar[bool] = False  # whether it makes up for the class counts, whatever loss and sampler are
    one_loss: ClassVar[bool] = True  # whether a step calls the loss once, as one that accumulates needs
    compiles: ClassVar[bool] = True  # whether `step` is one graph for torch.compile
    distributed: ClassVar[bool] = True  # whether a batch may be shared out among processes
    learns: ClassVar[bool] = True  # False: the loss is measured, and no parameter moves
    optimizer: torch.optim.Optimizer

    def __init__(
        self,
        config: RunConfig,
        data: LongTailedData,
        device: torch.device,
        precision: str,
        weights: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.config, self.data, self.device = config, data, device
        self.recipe = config.ingredients()
        self.options = dict(config.strategy_options)
        self.mixing, self.epoch, self.epochs = config.mixing, 0, int(config.epochs or 0)
        self.normalize = self.standard().to(device)
        self.half, self.dtype = precision != "float32", getattr(torch, precision)
        model, loss = self.build(weights)
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.network: nn.Module = self.model
        self.loss: Any = loss.to(device)  # some losses have `factors` or `log_theta`, most have neither
        if self.mixing != "none":
            self.loss.reduction = "none"  # a mixture's loss is the mean of two, and is averaged after that
        self.images: Any = data.train_images.to(device)  # a tensor, or FileImages of a strategy that reads no other way
        self.targets = data.train_targets.to(device)
        self.counts = torch.tensor(data.class_counts, device=device)

    @property
    def observed(self) -> bool:
        """Whether the loss of a step is ``loss`` of its outputs and targets, so that meters may evaluate it again."""
        return self.mixing == "none"

    def standard(self) -> nn.Module:
        """What brings uint8 images, or features, to the network's scale."""
        if self.data.has_features:
            return Standardize(self.data.train_images)
        return Normalize(*IMAGENET) if self.config.backbone in TORCHVISION else Normalize()

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        """The network and the loss, before the first epoch; both on the CPU."""
        return build_network(self.config, self.data), build_run_loss(self.config, self.data)

    def start(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Give the network of a second stage the weights of the finished run.

        Raises:
            TrainingError: the run had another network or classifier.
        """
        try:
            network.load_state_dict(weights)
        except RuntimeError:
            named = self.config.method or self.config.strategy
            kind = f"{self.config.backbone} with a {self.config.classifier} classifier"
            raise TrainingError(f"{named!r} goes on from a {kind}; the run that it starts from has another") from None

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """The images of an epoch in their order, augmented: uint8 images (n, 3, H, W) and targets (n,).

        What else an image of a step needs follows, a tensor (n, ...) each; all of it is cut into batches. With mixing,
        images and targets come in pairs, (n, 2, ...), and the third tensor is the first image's share.
        """
        kind = self.recipe.augmentation
        if self.data.streams:
            return self.file_order(kind, generator)
        if self.config.sampler == "uniform":
            images = augment(self.images, kind, generator)
            index = torch.randperm(len(images), generator=generator).to(self.device)
            images, targets = images[index], self.targets[index]
        else:  # an image that is drawn again is augmented again
            index = self.draw(self.config.sampler, generator)
            images, targets = augment(self.images[index], kind, generator), self.targets[index]
        if self.mixing == "none":
            return images, targets
        partner = torch.randperm(len(index), generator=generator).to(self.device)
        shares = mixing_shares(len(index), int(self.config.batch_size or 1), generator).to(self.device)
        return torch.stack([images, images[partner]], 1), torch.stack([targets, targets[partner]], 1), shares

    def file_order(self, kind: str, generator: torch.Generator) -> tuple[Any, Tensor]:
        """As `order`, of images in files, which are read and augmented when their turn comes."""
        if self.config.sampler == "uniform":
            index = torch.randperm(len(self.targets), generator=generator)
        else:
            index = self.draw(self.config.sampler, generator).cpu()
        return self.images.epoch(index, kind, generator), self.targets[index.to(self.device)]

    def draw(self, sampler: str, generator: torch.Generator) -> Tensor:
        """Indices of an epoch's images, drawn by a sampler of `lt_core.data.sampling`."""
        progress = self.epoch / max(1, self.epochs - 1)
        return draw(sampler, self.data.train_targets, self.data.class_counts, progress, generator).to(self.device)

    def step(self, images: Tensor, targets: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor]:
        """Loss (a scalar, with its graph) and outputs (B, C) of one batch; what `order` gave, cut into batches."""
        if self.mixing != "none":
            return self.mixed_step(images, targets, *shares)
        outputs = self.outputs(self.normalize(images))
        return self.loss(outputs, targets), outputs

    def mixed_step(self, images: Tensor, targets: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """The step on mixtures: the loss is that of both labels, each with its share."""
        first, second = self.normalize(images[:, 0]), self.normalize(images[:, 1])
        weight = shares.view(-1, 1, 1, 1)
        mixed = (weight * first + (1 - weight) * second).contiguous(memory_format=torch.channels_last)
        outputs = self.outputs(mixed)
        parts = label_shares(self.mixing, shares, targets, self.counts)
        losses = parts * self.loss(outputs, targets[:, 0]) + (1 - parts) * self.loss(outputs, targets[:, 1])
        if self.loss.weight is None:
            return losses.mean(), outputs
        weights = self.loss.weight.to(losses)[targets]
        return losses.sum() / (parts * weights[:, 0] + (1 - parts) * weights[:, 1]).sum(), outputs

    def outputs(self, images: Tensor) -> Tensor:
        """The network's outputs (B, C) on normalised images, in float32 whatever the precision."""
        with self.autocast():
            outputs: Tensor = self.network(images)
        return outputs.float()

    def autocast(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.half)

    def parameters(self) -> Iterator[nn.Parameter] | Iterator[dict[str, Any]] | list[dict[str, Any]]:
        """What the optimiser moves; or groups of it, as `torch.optim` has them, each with its "share" of the rate."""
        share = self.recipe.backbone_share
        if share == 1.0:
            return (p for p in self.model.parameters() if p.requires_grad)
        model: Any = self.model
        classifier = list(model.classifier.parameters())
        own = {id(parameter) for parameter in classifier}
        rest = [p for p in self.model.parameters() if p.requires_grad and id(p) not in own]
        return [{"params": classifier}, {"params": rest, "share": share}]

    def train(self) -> None:
        """Before an epoch's first step."""
        self.model.train()
        self.loss.train()

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Inference logits (N, C) of uint8 images, float32 on the CPU."""
        self.model.eval()
        logits = [self.inference(self.normalize(part.to(self.device))) for part in images.split(self.evaluation_batch)]
        return torch.cat(logits).cpu()

    @property
    def evaluation_batch(self) -> int:
        return EVALUATION_BATCH[self.device.type]

    def inference(self, images: Tensor) -> Tensor:
        """Logits (B, C) of one batch of normalised images; ``model`` is in eval mode."""
        with self.autocast():
            outputs: Tensor = self.model(images)
        return self.scale * outputs.float()

    @property
    def scale(self) -> float:
        """What turns the network's outputs into logits: the scale of a loss on cosines, else 1."""
        return inference_scale(self.config, self.loss)

    def facts(self) -> dict[str, Any]:
        """What was found on the way and a reader of the record should know: plain values, few of them."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold beyond ``model``, ``loss`` and their optimiser."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Apply what `state_dict` gave."""
