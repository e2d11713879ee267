"""`LongTail`: how many images are left for the tail (chapter 01)."""

from __future__ import annotations

from collections.abc import Sequence

import traitlets

from lt_core.data.longtail import PROFILES, class_counts
from lt_core.validation import check_number, check_whole
from lt_core.widgets.base import Explorer, choice, number, source, style, whole


class LongTail(Explorer):
    r"""Counts per class of a long-tailed profile, with the many-, medium- and few-shot groups.

    The reader changes the imbalance factor and the profile, and looks at single classes.

    Args:
        imbalance_factor: at least 1 and at most ``max_count``, so that no class is empty.
        profile: "exp", "step" or "balanced".
        num_classes: C, at least 2.
        max_count: images of the largest class, at least 1.
        class_names: C names in the order of the profile, or nothing.
        log_axis: count on a logarithmic axis.

    Attributes:
        counts: the C counts of what is chosen, as `lt_core.data.class_counts` gives them.

    Raises:
        ValueError: a value outside its range, names that are not C.
        TypeError: a value of the wrong type.

    Source:
        The profiles of `lt_core.data.class_counts`; groups of `lt_core.metrics.shot_groups`.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.LongTail(imbalance_factor=10)
        >>> widget
        LongTail(imbalance_factor=10, profile='exp')
        >>> sum(widget.counts)
        19573
    """

    _esm = source("long_tail.js")
    _css = style()
    settings = ("imbalance_factor", "profile")

    imbalance_factor = number(100, low=1.0)
    profile = choice("exp", PROFILES)
    log_axis = choice(False, (True, False))
    inspect = whole(0, low=0)
    num_classes = traitlets.Int(100).tag(sync=True)
    max_count = traitlets.Int(500).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        imbalance_factor: float = 100,
        profile: str = "exp",
        num_classes: int = 100,
        max_count: int = 500,
        class_names: Sequence[str] = (),
        log_axis: bool = False,
    ) -> None:
        check_whole("num_classes", num_classes, low=2)
        check_whole("max_count", max_count, low=1)
        check_number("imbalance_factor", imbalance_factor, low=1.0, high=max_count)
        if class_names and len(class_names) != num_classes:
            raise ValueError(f"class_names has {len(class_names)} names; {num_classes} are needed")
        super().__init__(
            imbalance_factor=imbalance_factor,
            profile=profile,
            num_classes=num_classes,
            max_count=max_count,
            class_names=list(class_names),
            log_axis=log_axis,
            inspect=num_classes - 1,
        )

    @property
    def counts(self) -> list[int]:
        """The C counts of what is chosen."""
        return class_counts(self.num_classes, self.max_count, self.imbalance_factor, self.profile)
