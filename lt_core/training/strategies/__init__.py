"""What a method changes beyond its loss, one file each. The engine's loop asks none of them which method it runs.

A strategy is a class with four steps that it may override: `build` (network and loss), `order` (the images of an
epoch), `step` (one batch to loss and outputs) and `predict` (images to logits). `Plain` has them as a loss needs them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lt_core.training.strategies.branches import BilateralBranches, BranchNetwork
from lt_core.training.strategies.causal import CausalNorm
from lt_core.training.strategies.distillation import GroupTraining, SelfPacedStudent
from lt_core.training.strategies.experts import AveragedExperts, DiverseExperts, IndependentNetworks
from lt_core.training.strategies.feature_augmentation import FeatureAugmentation
from lt_core.training.strategies.learned_sampling import LearnedSampling
from lt_core.training.strategies.learned_weights import MetaWeightNet, ReweightedExamples
from lt_core.training.strategies.memory import FurtherTraining, Memory
from lt_core.training.strategies.plain import Option, Plain, Stage
from lt_core.training.strategies.range_loss import RangeRegularised
from lt_core.training.strategies.second_stage import (
    Alignment,
    ContinuedClassifier,
    LearnedScales,
    RetrainedClassifier,
    ShiftedScales,
)
from lt_core.training.strategies.sharpness import SharpnessAware
from lt_core.training.strategies.sigmoid_start import SigmoidStart
from lt_core.training.strategies.synthetic_features import BorderlineFeatures, SyntheticFeatures
from lt_core.training.strategies.untrained import NearestMean, PriorCorrected, TauNormalized
from lt_core.validation import check_choice, check_number, check_whole

STRATEGIES: dict[str, type[Plain]] = {
    "plain": Plain,
    # a classifier of its own
    "crt": RetrainedClassifier,
    "continued": ContinuedClassifier,
    "lws": LearnedScales,
    "tau_norm": TauNormalized,
    "ncm": NearestMean,
    "pc_softmax": PriorCorrected,
    "disalign": Alignment,
    "mislas": ShiftedScales,
    "bals": LearnedSampling,
    "smote": SyntheticFeatures,
    "borderline_smote": BorderlineFeatures,
    # networks, experts and memory
    "two_branches": BranchNetwork,
    "bbn": BilateralBranches,
    "experts": AveragedExperts,
    "ride": DiverseExperts,
    "ensemble": IndependentNetworks,
    "causal_norm": CausalNorm,
    "further": FurtherTraining,
    "oltr": Memory,
    "lfme_experts": GroupTraining,
    "lfme": SelfPacedStudent,
    # learned weights, and transfer
    "l2rw": ReweightedExamples,
    "meta_weight_net": MetaWeightNet,
    "fsa": FeatureAugmentation,
    "range_loss": RangeRegularised,
    "sigmoid_start": SigmoidStart,
    "sam": SharpnessAware,
}

__all__ = ["STRATEGIES", "Option", "Plain", "Stage", "checked_options"]


def checked_options(strategy: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The constants of a strategy, with the values that are given in place of its own; without those that are None.

    Raises:
        ValueError: an unknown name or strategy, or a value that is not allowed.
        TypeError: a value that is no number where one is needed.

    Example:
        >>> checked_options("crt", {"batchnorm": "train"})
        {'batchnorm': 'train'}
    """
    known = STRATEGIES[check_choice("strategy", strategy, tuple(STRATEGIES))].OPTIONS
    for name in given:
        if name not in known:
            allowed = f"allowed are {', '.join(known)}" if known else "it has none"
            raise ValueError(f"strategy {strategy!r} has no option {name!r}; {allowed}")
    kept = {name: option for name, option in known.items() if name in given or option.default is not None}
    return {name: _checked(name, given.get(name, option.default), option) for name, option in kept.items()}


def _checked(name: str, value: Any, option: Option) -> Any:
    if option.choices is not None:
        return check_choice(name, value, option.choices)
    if option.words and isinstance(value, str):
        if value not in option.words:
            raise ValueError(f"{name} is {value!r}; a number or {' or '.join(map(repr, option.words))} is needed")
        return value
    if option.whole:
        return check_whole(name, value, int(option.low))
    return check_number(name, value, option.low, option.high, option.open_low)
