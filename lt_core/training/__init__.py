"""From a recipe to a record: configuration, training and evaluation."""

from lt_core.training.build import build_network
from lt_core.training.checkpoint import CheckpointError
from lt_core.training.engine import train
from lt_core.training.errors import TrainingError
from lt_core.training.evaluation import evaluate
from lt_core.training.forecast import forecast
from lt_core.training.recipes import RECIPES, Recipe, RunConfig

__all__ = [
    "RECIPES",
    "CheckpointError",
    "Recipe",
    "RunConfig",
    "TrainingError",
    "build_network",
    "evaluate",
    "forecast",
    "train",
]
