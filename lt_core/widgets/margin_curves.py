"""`MarginCurves`: whose margin is larger, and for which class or angle (chapter 05)."""

from __future__ import annotations

import math
from typing import Any

import torch
import traitlets

from lt_core.losses.ala import difficulty_factor, quantity_factor
from lt_core.losses.face import ArcFaceLoss, CosFaceLoss, SphereFaceLoss
from lt_core.losses.ldam import ldam_margins
from lt_core.validation import check_whole
from lt_core.widgets.base import Explorer, choice, number, source, style, whole

AGAINST = ("images", "angle")
ALSO = ("none", "power", "log2")
LARGEST = 1_000_000


class MarginCurves(Explorer):
    r"""ALA's margin and LDAM's against the class count, or the margins of face recognition against the angle.

    Against the count it is Figure 2 of the ALA paper.
    ALA's curve is :math:`A = \mathrm{DF} \cdot \mathrm{QF}` at one target cosine; at cosine -1 DF is 1 and the curve is
    QF itself, as published. A third curve can join: a power :math:`\frac{1}{2} (n_{\min}/n)^\gamma`, LDAM's margin
    at :math:`\gamma = 1/4`, or ALA's with "log2". The reader reads the values at one count.

    Against the angle it shows what CosFace, ArcFace and SphereFace take off, and LDAM for a class of ``images``; the
    values are read at the target cosine.

    Args:
        smallest: images of the rarest class, at least 1.
        largest: images of the largest class, at least ``2 * smallest`` and at most a million.
        target_cosine: the sample's cosine with its own class, in [-1, 1].
        relative: divide each curve by its value at the rarest class, so that only its shape remains.
        also: the third curve, "none", "power" or "log2".
        exponent: the power's :math:`\gamma`, in [0, 1].
        images: the count at which the values are read, in [smallest, largest]; the geometric middle where None.
        against: what the curves are drawn against, "images" or "angle".
        cosface: what CosFace subtracts from the cosine, in [0, 0.6].
        arcface: what ArcFace adds to the angle, in radians, in [0, 1].
        sphereface: what SphereFace multiplies the angle by, in [1, 2].

    Attributes:
        margins: {"DF", "QF", "A", "LDAM", "power", "log2"} at ``images``; "log2" includes DF, as "A" does.
        face_margins: {"CosFace", "ArcFace", "SphereFace"} at the target cosine.
        smaller_above: the target cosine from which on ALA's margin is smaller than LDAM's at ``images``.

    Raises:
        ValueError: a value outside its range.
        TypeError: a value of the wrong type.

    Source:
        "Adaptive Logit Adjustment Loss for Long-Tailed Visual Recognition", AAAI 2022, Eq. 4, 6 and 7 and Figure 2; Cao
        et al., NeurIPS 2019, section 3.2, for LDAM; `lt_core.losses.face` for the others.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.MarginCurves(images=500)
        >>> widget
        MarginCurves(against='images', target_cosine=0.0, relative=False, also='none', exponent=0.5, images=500)
        >>> round(widget.margins["A"], 3), round(widget.margins["LDAM"], 3), round(widget.smaller_above, 2)
        (0.108, 0.158, -0.46)
    """

    _esm = source("margin_curves.js")
    _css = style()
    settings = ("against", "target_cosine", "relative", "also", "exponent", "images")

    against = choice("images", AGAINST)
    target_cosine = number(0.0, low=-1.0, high=1.0)
    relative = choice(False, (True, False))
    also = choice("none", ALSO)
    exponent = number(0.5, low=0.0, high=1.0)
    images = whole(50, low=1)
    cosface = number(0.35, low=0.0, high=0.6)
    arcface = number(0.5, low=0.0, high=1.0)
    sphereface = number(1.7, low=1.0, high=2.0)
    smallest = traitlets.Int(5).tag(sync=True)
    largest = traitlets.Int(500).tag(sync=True)

    def __init__(
        self,
        smallest: int = 5,
        largest: int = 500,
        target_cosine: float = 0.0,
        relative: bool = False,
        also: str = "none",
        exponent: float = 0.5,
        images: int | None = None,
        against: str = "images",
        cosface: float = 0.35,
        arcface: float = 0.5,
        sphereface: float = 1.7,
    ) -> None:
        check_whole("smallest", smallest, low=1)
        check_whole("largest", largest, low=2 * smallest, high=LARGEST)
        if images is None:
            images = round(math.sqrt(smallest * largest))
        check_whole("images", images, low=smallest, high=largest)
        super().__init__(
            smallest=smallest,
            largest=largest,
            target_cosine=target_cosine,
            relative=relative,
            also=also,
            exponent=exponent,
            images=images,
            against=against,
            cosface=cosface,
            arcface=arcface,
            sphereface=sphereface,
        )

    @traitlets.validate("images")
    def _images_of_a_class(self, proposal: dict[str, Any]) -> int:
        check_whole("images", proposal["value"], low=self.smallest, high=self.largest)
        return int(proposal["value"])

    @property
    def margins(self) -> dict[str, float]:
        """DF, QF and the margins at ``images`` and the chosen cosine."""
        counts = [self.smallest, self.images]
        difficulty = difficulty_factor(torch.tensor(self.target_cosine, dtype=torch.float64)).item()
        log, log2 = (quantity_factor(counts, name, torch.float64)[1].item() for name in ("log", "log2"))
        return {
            "DF": difficulty,
            "QF": log,
            "A": difficulty * log,
            "LDAM": ldam_margins(counts, dtype=torch.float64)[1].item(),
            "power": 0.5 * (self.smallest / self.images) ** self.exponent,
            "log2": difficulty * log2,
        }

    @property
    def face_margins(self) -> dict[str, float]:
        """What the losses of face recognition take off a target at the chosen cosine."""
        row, target = torch.tensor([[self.target_cosine, 0.0]], dtype=torch.float64), torch.tensor([0])
        losses = {
            "CosFace": CosFaceLoss(2, self.cosface),
            "ArcFace": ArcFaceLoss(2, self.arcface),
            "SphereFace": SphereFaceLoss(2, self.sphereface),
        }
        return {name: loss.margin(row, target).item() for name, loss in losses.items()}

    @property
    def smaller_above(self) -> float:
        """1 - 2 Δ / QF at ``images``; above this target cosine ALA's margin is smaller than LDAM's."""
        margins = self.margins
        return 1 - 2 * margins["LDAM"] / margins["QF"]
