"""Logit adjustment for the long tail: losses, long-tailed data, training, and the records the book is made from.

``import lt_core as lt`` loads nothing heavy: submodules are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lt_core import data as data
    from lt_core import losses as losses
    from lt_core import metrics as metrics
    from lt_core import models as models
    from lt_core import plots as plots
    from lt_core import posthoc as posthoc
    from lt_core import records as records
    from lt_core import report as report
    from lt_core import training as training
    from lt_core import widgets as widgets
    from lt_core.seeding import set_seed as set_seed

__version__ = "0.1.0"
_SUBMODULES = ("data", "losses", "metrics", "models", "plots", "posthoc", "records", "report", "training", "widgets")
__all__ = ["__version__", "set_seed", *_SUBMODULES]


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"lt_core.{name}")
    if name == "set_seed":
        return importlib.import_module("lt_core.seeding").set_seed
    raise AttributeError(f"module 'lt_core' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
