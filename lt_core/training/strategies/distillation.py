"""A student of several experts, each of which knows a group of classes: LFME."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.data import LongTailedData
from lt_core.data.augment import augment
from lt_core.metrics import shot_groups
from lt_core.records import GROUPS
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.recipes import RunConfig
from lt_core.training.strategies.plain import Option, Plain, Stage

# How often an image of many, medium and few comes in an epoch of its expert. The released code has batches of 128, 64
# and 32; here all have the recipe's, and the experts take as many steps.
REPEATS = {"many": 1, "medium": 2, "few": 4}


class GroupExperts(nn.Module):
    """A network for each shot group that has classes, which tells only these apart.

    Args:
        config: names backbone and classifier.
        data: has the class counts, which decide the groups.

    Shape:
        images (N, 3, H, W) to (N, C): every expert's log-probabilities, in the columns of its classes.
    """

    place: Tensor

    def __init__(self, config: RunConfig, data: LongTailedData) -> None:
        super().__init__()
        masks = shot_groups(data.class_counts)
        self.groups = {name: masks[name].nonzero().squeeze(1) for name in GROUPS if bool(masks[name].any())}
        sizes = [len(classes) for classes in self.groups.values()]
        self.experts = nn.ModuleList([build_network(config, data, num_classes=size) for size in sizes])
        self.register_buffer("place", torch.cat(list(self.groups.values())).argsort(), persistent=False)

    def outputs(self, images: Tensor) -> list[Tensor]:
        """The logits (N, C_g) of all experts."""
        return [expert(images) for expert in self.experts]

    def forward(self, images: Tensor) -> Tensor:
        parts = [logits.float().log_softmax(dim=1) for logits in self.outputs(images)]
        return torch.cat(parts, dim=1)[:, self.place]


class GroupTraining(Plain):
    """LFME's experts: one network each for the images of many, medium and few classes.

    A batch has images of one group alone and trains its expert; the others are not touched. The record's accuracy is
    that of guessing with all experts side by side, which none of them was trained for.
    """

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "loss": ("ce",), "classifier": ("linear",), "drw": (False,), "sampler": ("uniform",), "mixing": ("none",),
    }  # fmt: skip
    compiles = False  # which expert a batch belongs to is asked on the host
    distributed = False

    @property
    def observed(self) -> bool:
        return False

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        return GroupExperts(self.config, self.data), build_run_loss(self.config, self.data)

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Whole batches of one group each; the last batch of a group is filled up with its images, drawn anew."""
        size, indices, owners = int(self.config.batch_size or 1), [], []
        for owner, (name, classes) in enumerate(self.experts.groups.items()):
            own = torch.isin(self.data.train_targets, classes).nonzero().squeeze(1)
            wanted = -(-len(own) * REPEATS[name] // size) * size
            rounds = [own[torch.randperm(len(own), generator=generator)] for _ in range(-(-wanted // len(own)))]
            indices.append(torch.cat(rounds)[:wanted])
            owners.append(torch.full((wanted,), owner))
        index = torch.cat(indices).to(self.device)
        return augment(self.images[index], self.recipe.augmentation, generator), self.targets[index], torch.cat(owners)

    @property
    def experts(self) -> GroupExperts:
        model: Any = self.model
        return model

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        owner = int(others[0][0])
        classes = list(self.experts.groups.values())[owner].to(self.device)
        with self.autocast():
            logits = self.experts.experts[owner](self.normalize(images))
        logits = logits.float()
        # Not `loss`, which refuses a single class: of a group of one there is nothing to learn, and the value is 0.
        loss = F.cross_entropy(logits, torch.searchsorted(classes, targets))
        outputs = logits.new_full((len(logits), self.data.num_classes), -1e4)
        return loss, outputs.index_copy(1, classes, logits.detach())


class Student(nn.Module):
    """A network that learns, experts that do not, and how easy the experts find each training image.

    Args:
        network: the student.
        experts: its teachers, whose parameters are frozen.
        images: number of training images.

    Shape:
        images (N, 3, H, W) to the student's logits (N, C); ``ease`` is (images,) in [0, 1].
    """

    ease: Tensor

    def __init__(self, network: nn.Module, experts: GroupExperts, images: int) -> None:
        super().__init__()
        self.network, self.experts = network, experts.requires_grad_(False)
        self.register_buffer("ease", torch.ones(images))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def image_ease(probabilities: Tensor, targets: Tensor, class_counts: Tensor, groups: Mapping[str, Tensor]) -> Tensor:
    """An expert's probability of an image's own class, stretched within the class from the group's floor to 1.

    The floor is the smallest mean count of a group, that of few where there are few, over the group's own: 1 for that
    group. Where a class has no spread all its images have 1.

    Args:
        probabilities: (N,) in [0, 1].
        targets: (N,) int64.
        class_counts: (C,).
        groups: the classes of "many", "medium" and "few", as far as there are such.

    Returns:
        (N,) in [0, 1].
    """
    means = {name: float(class_counts[classes].double().mean()) for name, classes in groups.items()}
    rarest = min(means.values())
    ease = torch.ones_like(probabilities)
    for name, classes in groups.items():
        floor = rarest / means[name]
        for label in classes.tolist():
            own = targets == label
            values = probabilities[own]
            spread = values.max() - values.min()
            if spread > 0:
                ease[own] = (values - values.min()) / spread * (1 - floor) + floor
    return ease


class SelfPacedStudent(Plain):
    """LFME: cross-entropy on class-balanced batches, and the experts' distributions over their groups as soft labels.

    An expert's share is 1 until the student is right on ``threshold`` of what the expert is right on, in an epoch's
    images of its group, and falls linearly to 0 from there; the released code reads both from the validation set. An
    image's logits are multiplied by its ease at first, and by 1 at half time. "released" ``pace`` goes on above 1, as
    the released code does, "capped" stops there.

    Source: Xiang et al., ECCV 2020, section 3, and the released ``run_network_LFME.py``.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "temperature": Option(2.0, low=0.0, open_low=True),
        "threshold": Option(0.3, low=0.0, high=0.99),
        "pace": Option("released", choices=("released", "capped")),
    }
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"classifier": ("linear",), "mixing": ("none",)}
    stage = Stage(share=1.0)
    starts_from = "lfme_experts"
    distributed = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = self.student.experts.groups
        self.classes = [classes.to(self.device) for classes in groups.values()]
        self.members = torch.stack([torch.isin(torch.arange(self.data.num_classes), c) for c in groups.values()])
        self.members = self.members.to(self.device)  # (G, C): whether a class is in a group
        self.hits = torch.zeros(2, len(groups), device=self.device)  # of student and experts, in the epoch so far
        self.shares = torch.ones(len(groups), device=self.device)
        self.pace = torch.zeros((), device=self.device)
        if self.begins:
            self.measure_ease()

    @property
    def student(self) -> Student:
        model: Any = self.model
        return model

    @property
    def observed(self) -> bool:
        return False

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        experts = GroupExperts(self.config, self.data)
        self.begins = weights is not None  # where a checkpoint follows it brings all of this
        if weights is not None:
            experts.load_state_dict(weights)
        network = build_network(self.config, self.data)
        return Student(network, experts, len(self.data.train_targets)), build_run_loss(self.config, self.data)

    @torch.no_grad()
    def measure_ease(self) -> None:
        """From the experts' probabilities on the training images as they are."""
        experts = self.student.experts.eval()
        parts = self.images.split(self.evaluation_batch)
        log_probabilities = torch.cat([experts(self.normalize(part)) for part in parts])
        own = log_probabilities.gather(1, self.targets[:, None]).squeeze(1).exp()
        self.student.ease.copy_(image_ease(own, self.targets, self.counts, experts.groups))

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        index = self.draw(self.config.sampler, generator)
        images = augment(self.images[index], self.recipe.augmentation, generator)
        return images, self.targets[index], self.student.ease[index]

    def train(self) -> None:
        super().train()
        self.student.experts.eval()
        student, experts = self.hits
        behind = 1 - student / experts.clamp(min=1)
        shares = behind.clamp(min=0) / (1 - self.options["threshold"])
        # No epoch so far, or no hit of an expert: the share is whole.
        self.shares.copy_(torch.where(experts > 0, shares.clamp(max=1), 1.0))
        self.hits.zero_()
        pace = (self.epoch + 1) / (self.epochs / 2)
        self.pace.fill_(pace if self.options["pace"] == "released" else min(pace, 1.0))

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        (ease,) = others
        normalised = self.normalize(images)
        outputs = self.outputs(normalised)
        with torch.no_grad(), self.autocast():
            taught = [logits.float() for logits in self.student.experts.outputs(normalised)]
        scaled = outputs * (ease + (1 - ease) * self.pace)[:, None]
        loss = self.loss(scaled, targets)
        temperature = self.options["temperature"]
        for share, classes, logits in zip(self.shares, self.classes, taught, strict=True):
            own = (scaled[:, classes] / temperature).log_softmax(dim=1)
            loss = loss + share * F.kl_div(own, (logits / temperature).softmax(dim=1), reduction="batchmean")
        self.count_hits(outputs.detach(), taught, targets)
        return loss, outputs

    def count_hits(self, outputs: Tensor, taught: list[Tensor], targets: Tensor) -> None:
        """Add the batch's right answers, of the student among all classes and of each expert among its own."""
        inside = self.members[:, targets]  # (G, B)
        guesses = torch.stack([classes[logits.argmax(1)] for classes, logits in zip(self.classes, taught, strict=True)])
        self.hits[0] += (inside & (outputs.argmax(1) == targets)).sum(1)
        self.hits[1] += (inside & (guesses == targets)).sum(1)

    def state_dict(self) -> dict[str, Any]:
        return {"hits": self.hits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.hits.copy_(state["hits"])
