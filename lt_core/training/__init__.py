"""From a recipe to a record: configuration, training and evaluation."""

from lt_core.training.checkpoint import CheckpointError
from lt_core.training.engine import TrainingError, evaluate, train
from lt_core.training.recipes import RECIPES, Recipe, RunConfig

__all__ = ["RECIPES", "CheckpointError", "Recipe", "RunConfig", "TrainingError", "evaluate", "train"]
