"""`GradientFlow`: what one image's gradient does to each class, under every loss (chapters 02, 04 and 09)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from lt_core.losses import COSINE_LOSSES, build_loss, class_balanced_weights, gala_loss
from lt_core.validation import as_counts, check_number, check_whole
from lt_core.widgets.base import LOSSES, Explorer, Trait, choice, number, source, style, whole

MOST_CLASSES = 6
DEFAULT_COUNTS = (500, 90, 20, 5)
DEFAULT_NAMES = ("head", "medium", "rare", "tail")
# The one option of a loss that has a slider; the others keep their defaults.
OPTIONS = {"focal": "gamma", "la": "tau", "ldam": "scale", "ala": "scale"}


class OnePerClass(Trait):
    """One number in [low, high] for each of the widget's ``class_counts``; a sequence, an array or a tensor."""

    def __init__(self, low: float = -math.inf, high: float = math.inf) -> None:
        super().__init__(default_value=[])
        self.low, self.high = low, high
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> list[float]:
        values = value.tolist() if hasattr(value, "tolist") else value
        if not isinstance(values, (list, tuple)):
            raise TypeError(f"{self.name} is {value!r}; a sequence of numbers is needed, one per class")
        if len(values) != len(obj.class_counts):
            raise ValueError(f"{self.name} has {len(values)} entries; {len(obj.class_counts)} are needed")
        for c, entry in enumerate(values):
            check_number(f"{self.name}[{c}]", entry, self.low, self.high)
        return [float(entry) for entry in values]


class GradientFlow(Explorer):
    r"""One image's pushes on the logits of a few classes: up on its own, down on every other.

    The reader moves the scores, picks the image's class and the loss. Beside the chosen loss stands plain
    cross-entropy on the same scores. For "ldam" and "ala" the scores are ``cosines`` times ``scale``, and a push is the
    negative gradient by a cosine; for the others they are ``logits``.

    Args:
        class_counts: images per class, 2 to 6 whole numbers, at least 1 each.
        class_names: one name per class; by default head, medium, rare and tail for the default counts, else class 1 and
            so on.
        logits: one finite number per class; 0 each by default.
        target: the image's class, in [0, C); the rarest by default.
        loss: one of `LOSSES` in `lt_core.widgets.base`.
        gamma: focal loss's, in [0, 5].
        tau: strength of the prior in "la", in [0, 2].
        lambda_pos: strength of the adjustment in "gala" (released form), in [0, 2].
        theta: GALA's accumulated gradients, one per class, at least 0; ``class_counts`` by default.
        cosines: one number in [-1, 1] per class; by default 0.55 for ``target`` and 0.2 for the others.
        scale: factor of the cosines, above 0.

    Attributes:
        gradient: the C derivatives of the loss by the logits (or cosines), by autograd.
        loss_value: the loss of the image.
        probabilities: p, the softmax of the scores, C numbers.
        adjusted_probabilities: p̃, the softmax of the scores as the loss adjusts them.
        weight: the weight of the image's class; 1 but for "cb".

    Raises:
        ValueError: a value outside its range, a sequence that does not have one entry per class.
        TypeError: a value of the wrong type.

    Source:
        The losses of `lt_core.losses`; positive and negative gradients as in chapter 02.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.GradientFlow(loss="ce")
        >>> widget.gradient
        [0.25, 0.25, 0.25, -0.75]
        >>> widget.loss = "balanced_softmax"
        >>> [round(g, 3) for g in widget.gradient]
        [0.813, 0.146, 0.033, -0.992]
    """

    _esm = source("gradient_flow.js")
    _css = style()
    settings = ("loss", "target", "logits", "cosines")

    class_counts = traitlets.List(traitlets.Int()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    logits = OnePerClass()
    cosines = OnePerClass(-1.0, 1.0)
    theta = OnePerClass(low=0.0)
    target = whole(0, low=0)
    loss = choice("balanced_softmax", LOSSES)
    gamma = number(2.0, low=0.0, high=5.0)
    tau = number(1.0, low=0.0, high=2.0)
    lambda_pos = number(1.0, low=0.0, high=2.0)
    scale = number(30.0, low=0.0, open_low=True)

    def __init__(
        self,
        class_counts: Sequence[int] | Tensor = DEFAULT_COUNTS,
        class_names: Sequence[str] = (),
        logits: Sequence[float] | Tensor | None = None,
        target: int | None = None,
        loss: str = "balanced_softmax",
        gamma: float = 2.0,
        tau: float = 1.0,
        lambda_pos: float = 1.0,
        theta: Sequence[float] | Tensor | None = None,
        cosines: Sequence[float] | Tensor | None = None,
        scale: float = 30.0,
    ) -> None:
        counts = [int(n) for n in as_counts(class_counts)]
        classes = len(counts)
        if classes > MOST_CLASSES:
            raise ValueError(f"class_counts has {classes} entries; 2 to {MOST_CLASSES} are allowed")
        if class_names and len(class_names) != classes:
            raise ValueError(f"class_names has {len(class_names)} names; {classes} are needed")
        if not all(isinstance(name, str) and name for name in class_names):
            raise TypeError(f"class_names is {class_names!r}; non-empty strings are needed")
        named = DEFAULT_NAMES if counts == list(DEFAULT_COUNTS) else [f"class {c + 1}" for c in range(classes)]
        if target is None:
            target = counts.index(min(counts))
        check_whole("target", target, low=0, high=classes - 1)
        super().__init__(
            class_counts=counts,  # first: the traits of one number per class are checked against it
            class_names=list(class_names or named),
            logits=[0.0] * classes if logits is None else logits,
            cosines=[0.55 if c == target else 0.2 for c in range(classes)] if cosines is None else cosines,
            theta=counts if theta is None else theta,
            target=target,
            loss=loss,
            gamma=gamma,
            tau=tau,
            lambda_pos=lambda_pos,
            scale=scale,
        )

    @traitlets.validate("target")
    def _check_target(self, proposal: Any) -> int:
        check_whole("target", proposal.value, low=0, high=len(self.class_counts) - 1)
        return int(proposal.value)

    @property
    def gradient(self) -> list[float]:
        """The C derivatives of the loss by the logits (or cosines)."""
        scores = self._scores().requires_grad_()
        return torch.autograd.grad(self._loss_of(scores), scores)[0][0].tolist()

    @property
    def loss_value(self) -> float:
        """The loss of the image, times the weight of its class for "cb"."""
        return self._loss_of(self._scores()).item()

    @property
    def probabilities(self) -> list[float]:
        """p, the softmax of the logits (or of the scaled cosines)."""
        return (self._slope() * self._scores()[0]).softmax(0).tolist()

    @property
    def adjusted_probabilities(self) -> list[float]:
        """p̃, the softmax of the scores as the loss adjusts them; p for the losses that adjust nothing."""
        if self.loss == "focal":
            return self.probabilities
        # Every other loss is a cross-entropy of adjusted scores, so its gradient is weight * slope * (p̃ - 1[j = y]).
        size = self.weight * self._slope()
        return [g / size + (c == self.target) for c, g in enumerate(self.gradient)]

    @property
    def weight(self) -> float:
        """The weight of the image's class; 1 but for "cb"."""
        return (
            class_balanced_weights(self.class_counts, dtype=torch.float64)[self.target].item()
            if self.loss == "cb"
            else 1.0
        )

    def _scores(self) -> Tensor:
        scores = self.cosines if self.loss in COSINE_LOSSES else self.logits
        return torch.tensor([scores], dtype=torch.float64)

    def _slope(self) -> float:
        return self.scale if self.loss in COSINE_LOSSES else 1.0

    def _loss_of(self, scores: Tensor) -> Tensor:
        targets = torch.tensor([self.target])
        if self.loss == "gala":
            theta = torch.tensor(self.theta, dtype=torch.float64)
            return gala_loss(scores, targets, theta, lambda_pos=self.lambda_pos)
        options = {OPTIONS[self.loss]: getattr(self, OPTIONS[self.loss])} if self.loss in OPTIONS else {}
        # The sum: a weighted mean over one image would divide by its weight.
        return build_loss(self.loss, self.class_counts, reduction="sum", **options)(scores, targets)
