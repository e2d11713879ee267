"""Widgets that compute in the page, without a kernel (anywidget); in a live notebook Python feeds and reads them.

Each is one Python class and one file in ``js/``; all share ``js/losses.js`` (the losses, gradients and post-hoc
adjustments of this package, tested to be the same numbers) and ``js/ui.js``. A page can show one widget of a kind,
since each stores its own source. `frames` puts figures that matplotlib drew behind a slider.
"""

from lt_core.widgets.cosine_angle import CosineAngle
from lt_core.widgets.frames import frames
from lt_core.widgets.gala_accumulators import GalaAccumulators
from lt_core.widgets.gradient_flow import GradientFlow
from lt_core.widgets.long_tail import LongTail
from lt_core.widgets.margin_curves import MarginCurves
from lt_core.widgets.method_table import MethodTable
from lt_core.widgets.per_class import PerClass
from lt_core.widgets.prior_shift import PriorShift
from lt_core.widgets.rebalance import Rebalance
from lt_core.widgets.train_in_the_page import TrainInThePage

__all__ = [
    "CosineAngle",
    "GalaAccumulators",
    "GradientFlow",
    "LongTail",
    "MarginCurves",
    "MethodTable",
    "PerClass",
    "PriorShift",
    "Rebalance",
    "TrainInThePage",
    "frames",
]
