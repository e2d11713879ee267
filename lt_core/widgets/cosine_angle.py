"""`CosineAngle`: how hard a sample is, and what ALA takes off its target's cosine (chapter 06)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
import traitlets
from torch import Tensor

from lt_core.losses.ala import ALALoss
from lt_core.losses.ldam import ldam_margins
from lt_core.validation import as_counts, check_number, check_whole
from lt_core.widgets.base import Explorer, choice, number, source, style, whole

LOSSES = ("ce", "ldam", "ala")
LEAST_APART = 20.0
MOST_CLASSES = 6


class CosineAngle(Explorer):
    r"""A feature on the unit circle among class directions: angle, difficulty, adjustment, decision boundary.

    The reader moves the feature, picks its target class and the loss, and sees the angles at which the target's cosine
    wins, with and without the margin that the loss takes off it in training.

    Args:
        angles: directions of C class vectors in degrees, in [0, 360); 2 to 6, at least 20 degrees apart.
        class_counts: C whole numbers, at least 1 each.
        class_names: C names, or nothing: "class 1" and so on.
        feature_angle: direction of the feature in degrees, in [0, 360].
        target: the feature's class, in [0, C); the rarest class where None.
        loss: "ce" (cross-entropy on cosines), "ldam" or "ala".
        scale: the factor s of the cosines, above 0 and at most 100.

    Attributes:
        cosines: the feature's cosine with each class vector.
        factors: {"DF", "QF", "A"} as `lt_core.losses.ALALoss.factors` has them, whichever loss is chosen.
        margin: what the chosen loss takes off the target's cosine.
        probabilities: softmax of the adjusted scores, the :math:`\tilde p` of training.

    Raises:
        ValueError: a value outside its range, directions that are too close, lists that are not of one length.
        TypeError: a value of the wrong type.

    Source:
        "Adaptive Logit Adjustment Loss for Long-Tailed Visual Recognition", AAAI 2022, Eq. 4 to 8.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.CosineAngle(feature_angle=30)
        >>> widget
        CosineAngle(feature_angle=30, target=2, loss='ala')
        >>> {name: round(value, 3) for name, value in widget.factors.items()}
        {'DF': 0.25, 'QF': 1.443, 'A': 0.361}
    """

    _esm = source("cosine_angle.js")
    _css = style()
    settings = ("feature_angle", "target", "loss")

    feature_angle = number(25, low=0.0, high=360.0)
    target = whole(2, low=0)
    loss = choice("ala", LOSSES)
    scale = number(30.0, low=0.0, high=100.0, open_low=True)
    angles = traitlets.List(traitlets.Float()).tag(sync=True)
    class_counts = traitlets.List(traitlets.Int()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        angles: Sequence[float] = (90, 210, 330),
        class_counts: Sequence[int] | Tensor = (500, 90, 5),
        class_names: Sequence[str] = (),
        feature_angle: float = 25,
        target: int | None = None,
        loss: str = "ala",
        scale: float = 30.0,
    ) -> None:
        directions = _check_angles(angles)
        counts = [int(n) for n in as_counts(class_counts).tolist()]
        for name, given in {"class_counts": counts, "class_names": class_names}.items():
            if len(given) not in ((len(directions),) if name == "class_counts" else (0, len(directions))):
                raise ValueError(f"{name} has {len(given)} entries; angles has {len(directions)}")
        if target is None:
            target = counts.index(min(counts))
        check_whole("target", target, low=0, high=len(counts) - 1)
        super().__init__(
            angles=directions,
            class_counts=counts,
            class_names=list(class_names) or [f"class {k + 1}" for k in range(len(counts))],
            feature_angle=feature_angle,
            target=target,
            loss=loss,
            scale=scale,
        )

    @traitlets.validate("angles")
    def _angles_of_the_classes(self, proposal: dict[str, Any]) -> list[float]:
        return self._as_many_as_before("angles", _check_angles(proposal["value"]))

    @traitlets.validate("class_counts")
    def _counts_of_the_classes(self, proposal: dict[str, Any]) -> list[int]:
        counts = [int(n) for n in as_counts(proposal["value"]).tolist()]
        return self._as_many_as_before("class_counts", counts)

    @traitlets.validate("target")
    def _one_of_the_classes(self, proposal: dict[str, Any]) -> int:
        check_whole("target", proposal["value"], low=0, high=len(self.class_counts) - 1)
        return int(proposal["value"])

    def _as_many_as_before(self, name: str, values: list[Any]) -> list[Any]:
        if len(values) != len(self.class_names):
            raise ValueError(f"{name} has {len(values)} entries; the widget has {len(self.class_names)} classes")
        return values

    @property
    def cosines(self) -> list[float]:
        """The feature's cosine with each class vector."""
        return list(self._row()[0].tolist())

    @property
    def factors(self) -> dict[str, float]:
        """DF, QF and A of ALA for the feature and its target."""
        factors = ALALoss(self.class_counts, scale=self.scale).factors(self._row(), torch.tensor([self.target]))
        return {name: value.item() for name, value in factors.items()}

    @property
    def margin(self) -> float:
        """What the chosen loss takes off the target's cosine."""
        if self.loss == "ldam":
            return ldam_margins(self.class_counts, dtype=torch.float64)[self.target].item()
        return self.factors["A"] if self.loss == "ala" else 0.0

    @property
    def probabilities(self) -> list[float]:
        """Softmax of the adjusted scores."""
        adjusted = self._row()[0]
        adjusted[self.target] -= self.margin
        return list((self.scale * adjusted).softmax(dim=0).tolist())

    def _row(self) -> Tensor:
        angles = torch.tensor([self.angles], dtype=torch.float64)
        return (angles - self.feature_angle).deg2rad().cos()


def _check_angles(angles: Sequence[float]) -> list[float]:
    try:
        directions = [angle.item() if isinstance(angle, Tensor) else angle for angle in angles]
    except TypeError:
        raise TypeError(f"angles is {angles!r}; a sequence of numbers is needed") from None
    if not 2 <= len(directions) <= MOST_CLASSES:
        raise ValueError(f"angles has {len(directions)} entries; allowed are 2 to {MOST_CLASSES}")
    for k, angle in enumerate(directions):
        check_number(f"angles[{k}]", angle, low=0.0, high=360.0)
    for a, b in itertools.combinations(directions, 2):
        apart = abs((a - b + 180) % 360 - 180)
        if apart < LEAST_APART:
            raise ValueError(
                f"angles holds {a:g} and {b:g}, {apart:g} degrees apart; at least {LEAST_APART:g} are needed"
            )
    return [float(angle) for angle in directions]
