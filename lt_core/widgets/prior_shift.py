"""`PriorShift`: what the counts do to a boundary, and what taking them off gives back (chapter 04)."""

from __future__ import annotations

import math

from lt_core.validation import check_number
from lt_core.widgets.base import Explorer, number, source, style

LARGEST_RATIO = 1000.0
DISTANCES = (0.5, 5.0)
MAX_TAU = 2.0


def two_normals(ratio: float, distance: float, tau: float) -> dict[str, float]:
    r"""The best rule with the log prior taken off with strength τ, for two normal classes of variance 1.

    The head's centre lies at 0 and the tail's at the distance d. Everything beyond the boundary is called tail:

    .. math:: x^\star = \frac{d}{2} + \frac{1 - \tau}{d} \log \frac{\pi_{\text{head}}}{\pi_{\text{tail}}}

    Args:
        ratio: head images for one of the tail, above 0.
        distance: of the centres, above 0.
        tau: 0 is the best rule for data like the training set, 1 for a balanced test set.

    Returns:
        "boundary"; the shares of each class that are right, "head" and "tail"; the "balanced" error; and the error on
        data like the "training" set.

    Example:
        >>> rates = two_normals(ratio=100, distance=2, tau=0)
        >>> {name: round(value, 3) for name, value in rates.items()}
        {'boundary': 3.303, 'head': 1.0, 'tail': 0.096, 'balanced': 0.452, 'training': 0.009}
    """
    boundary = distance / 2 + (1 - tau) * math.log(ratio) / distance
    head, tail = (math.erfc(-x / math.sqrt(2)) / 2 for x in (boundary, distance - boundary))
    return {
        "boundary": boundary,
        "head": head,
        "tail": tail,
        "balanced": 1 - (head + tail) / 2,
        "training": 1 - (ratio * head + tail) / (ratio + 1),
    }


class PriorShift(Explorer):
    r"""Two classes on a line: densities, the boundary, and what each class gets right, as the prior is taken off.

    Both classes are normal with variance 1, the head around 0 and the tail around ``distance``. The reader changes how
    many head images there are for one of the tail, how far the classes overlap, and the strength τ of the adjustment;
    the boundary can be dragged.

    Args:
        ratio: head images for one of the tail, in [1, 1000].
        distance: of the two centres, in [0.5, 5].
        tau: strength in [0, 2] with which the log prior is taken off: 0 is cross-entropy's rule, 1 the balanced one.

    Attributes:
        rates: what `two_normals` gives for the chosen values.

    Raises:
        ValueError: a value outside its range.
        TypeError: a value that is no number.

    Source:
        Bayes' rule for two normal classes; Menon et al., "Long-tail learning via logit adjustment", ICLR 2021, for τ.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.PriorShift(tau=1.0)
        >>> widget
        PriorShift(ratio=100.0, distance=2.0, tau=1.0)
        >>> round(widget.rates["boundary"], 2), round(widget.rates["balanced"], 3)
        (1.0, 0.159)
    """

    _esm = source("two_normals.js", "prior_shift.js")
    _css = style()
    settings = ("ratio", "distance", "tau")

    ratio = number(100.0, low=1.0, high=LARGEST_RATIO)
    distance = number(2.0, low=DISTANCES[0], high=DISTANCES[1])
    tau = number(0.0, low=0.0, high=MAX_TAU)

    def __init__(self, ratio: float = 100.0, distance: float = 2.0, tau: float = 0.0) -> None:
        check_number("ratio", ratio, low=1.0, high=LARGEST_RATIO)
        check_number("distance", distance, low=DISTANCES[0], high=DISTANCES[1])
        check_number("tau", tau, low=0.0, high=MAX_TAU)
        super().__init__(ratio=ratio, distance=distance, tau=tau)

    @property
    def rates(self) -> dict[str, float]:
        """`two_normals` of the chosen values."""
        return two_normals(self.ratio, self.distance, self.tau)
