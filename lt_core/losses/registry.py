"""Losses by the names of the command line and of run configurations."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from lt_core.losses._common import Counts, Loss
from lt_core.losses.ala import ALALoss
from lt_core.losses.cross_entropy import CrossEntropyLoss, class_balanced_weights
from lt_core.losses.equalization import EqualizationLoss
from lt_core.losses.face import ArcFaceLoss, CosFaceLoss, SphereFaceLoss
from lt_core.losses.focal import FocalLoss
from lt_core.losses.gala import GALALoss
from lt_core.losses.gcl import GCLLoss
from lt_core.losses.label_aware import LabelAwareSmoothingLoss
from lt_core.losses.lade import LADELoss
from lt_core.losses.ldam import LDAMLoss
from lt_core.losses.logit_adjusted import BalancedSoftmaxLoss, LogitAdjustedLoss
from lt_core.losses.sigmoid_focal import ClassBalancedFocalLoss
from lt_core.losses.vs import VSLoss
from lt_core.validation import check_choice, check_counts


def _class_balanced(class_counts: Counts, beta: float = 0.9999, reduction: str = "mean") -> CrossEntropyLoss:
    return CrossEntropyLoss(class_balanced_weights(class_counts, beta, torch.float64), reduction)


_BUILDERS: dict[str, Callable[..., Loss]] = {
    "ce": CrossEntropyLoss,
    "focal": FocalLoss,
    "cb": _class_balanced,
    "ldam": LDAMLoss,
    "la": LogitAdjustedLoss,
    "balanced_softmax": BalancedSoftmaxLoss,
    "ala": ALALoss,
    "gala": GALALoss,
    "vs": VSLoss,
    "gcl": GCLLoss,
    "cosface": CosFaceLoss,
    "arcface": ArcFaceLoss,
    "sphereface": SphereFaceLoss,
    "eql": EqualizationLoss,
    "lade": LADELoss,
    "label_aware": LabelAwareSmoothingLoss,
    "cb_focal": ClassBalancedFocalLoss,
}
LOSS_NAMES = tuple(_BUILDERS)
# Their input is cosines, so the network needs a cosine classifier.
COSINE_LOSSES = ("ldam", "ala", "gcl", "cosface", "arcface", "sphereface")
# An optimum of theirs holds the training set's shares already, so that a post-hoc adjustment takes them off twice.
PRIOR_LOSSES = ("la", "balanced_softmax", "gala", "vs", "gcl", "lade")
CORRECTING_LOSSES = (*PRIOR_LOSSES, "cb", "cb_focal", "eql")  # these, and what weighs classes by their counts
RANDOM_LOSSES = ("gcl", "eql")  # they draw in training mode, and have the draw's mean in eval mode


def loss_options(name: str) -> tuple[str, ...]:
    """What the loss called ``name`` takes besides its counts or number of classes.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.loss_options("la")
        ('tau', 'weight', 'reduction')
    """
    parameters = inspect.signature(_BUILDERS[check_choice("loss", name, LOSS_NAMES)]).parameters
    return tuple(p for p in parameters if p not in ("class_counts", "num_classes"))


def check_options(name: str, options: Iterable[str], without: Sequence[str] = ()) -> None:
    """Raise a ValueError where an option is none of the loss ``name``, or one that the caller sets itself."""
    allowed = [option for option in loss_options(name) if option not in without]
    for option in options:
        if option not in allowed:
            told = f"allowed are {', '.join(allowed)}" if allowed else "it has none"
            raise ValueError(f"loss {name!r} has no option {option!r}; {told}")


def build_loss(name: str, class_counts: Counts, **options: Any) -> Loss:
    """The loss called ``name`` for a training set with the given class counts.

    Args:
        name: one of `LOSS_NAMES`.
        class_counts: C whole numbers, at least 1 each.
        options: keyword arguments of the loss's class, apart from its counts or number of classes; "cb" takes
            ``beta`` and ``reduction``.

    Returns:
        The loss, in training mode.

    Raises:
        ValueError: an unknown name or option, or a value that the loss refuses.
        TypeError: a value of a type that the loss refuses.

    Example:
        >>> import lt_core as lt
        >>> lt.losses.build_loss("la", [500, 5], tau=1.5)
        LogitAdjustedLoss(num_classes=2, tau=1.5, weight=None, reduction='mean')
    """
    name = check_choice("loss", name, LOSS_NAMES)
    counts = check_counts(class_counts)
    builder = _BUILDERS[name]
    parameters = inspect.signature(builder).parameters
    check_options(name, options)
    if "class_counts" in parameters:
        return builder(counts, **options)
    if "num_classes" in parameters:
        return builder(len(counts), **options)
    loss = builder(**options)
    if loss.weight is not None and len(loss.weight) != len(counts):
        raise ValueError(f"weight has {len(loss.weight)} entries; class_counts has {len(counts)}")
    return loss
