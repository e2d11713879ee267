"""From a network to logits, and from logits to what a record says of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lt_core import metrics, posthoc, records
from lt_core.data import LongTailedData
from lt_core.losses import CORRECTING_LOSSES
from lt_core.training.build import check_same_data, load_data, own_data
from lt_core.training.checkpoint import applying, load_checkpoint
from lt_core.training.devices import pick_device
from lt_core.training.recipes import RunConfig
from lt_core.training.strategies import STRATEGIES
from lt_core.validation import check_choice, check_number

SWEEP = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # strengths tau of the two post-hoc methods in a record


def accuracies(predictions: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, float | None]:
    """``top1``, ``many``, ``medium`` and ``few`` in percent; None for an empty group."""
    shots = metrics.shot_accuracy(predictions, targets, class_counts)
    top1 = 100.0 * (predictions == targets).double().mean().item()
    groups = {name: None if share is None else 100.0 * share for name, share in shots.items()}
    return {"top1": top1} | {name: groups[name] for name in records.GROUPS}


def finite(logits: Tensor) -> Tensor:
    """The logits with plus and minus infinity at 1e30, and what is not a number at the lowest.

    A network whose training has collapsed can give such; it then has accuracies all the same, near chance.
    """
    return torch.nan_to_num(logits, nan=-1e30, posinf=1e30, neginf=-1e30)


def summarise(probabilities: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, Any]:
    """What a record keeps of one evaluation.

    Accuracies, balanced error and ECE in percent, the slope of `lt_core.metrics.column_mean_slope`, and per-class
    accuracy, from probabilities (N, C).
    """
    predictions = probabilities.argmax(1)
    per_class = metrics.per_class_accuracy(predictions, targets, len(class_counts))
    return {
        **accuracies(predictions, targets, class_counts),
        "balanced_error": 100.0 * metrics.balanced_error(predictions, targets, len(class_counts)),
        "ece": 100.0 * metrics.expected_calibration_error(probabilities, targets),
        "column_slope": metrics.column_mean_slope(probabilities, class_counts),
        "per_class": [round(100.0 * a, 1) for a in per_class.tolist()],
    }


def posthoc_sweep(logits: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, list[float]]:
    """Top-1 accuracy (percent) after prior adjustment and after re-balancing, over strengths tau."""

    def top1(scores: Tensor) -> float:
        return 100.0 * (scores.argmax(1) == targets).double().mean().item()

    return {
        "tau": list(SWEEP),
        "adjust": [top1(posthoc.adjust_logits(logits, class_counts, tau)) for tau in SWEEP],
        "rebalance": [top1(posthoc.rebalance_logits(logits.double(), tau)) for tau in SWEEP],
    }


def target_quantiles(probabilities: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, Any]:
    """Quantiles 0, 0.05, ..., 1 of the target's probability over the test images of each group (ALA's Figure 3)."""
    own = probabilities.double().gather(1, targets[:, None]).squeeze(1)
    masks, levels = metrics.shot_groups(class_counts), torch.linspace(0, 1, 21, dtype=torch.float64)
    inside = {group: own[masks[group][targets]] for group in records.GROUPS}
    return {
        group: [round(q, 3) for q in values.quantile(levels).tolist()] if len(values) else None
        for group, values in inside.items()
    }


def corrects_counts(config: RunConfig) -> str:
    """What in a run corrects for the class counts already, in words; "" where nothing does."""
    if config.drw:
        return "deferred re-weighting"
    if config.sampler != "uniform":
        return f"the sampler {config.sampler!r}"
    if STRATEGIES[config.strategy].corrects:
        return f"the strategy {config.strategy!r}"
    return f"the loss {config.loss!r}" if config.loss in CORRECTING_LOSSES else ""


def posthoc_results(logits: Tensor, targets: Tensor, class_counts: Sequence[int], tau: float = 1.0) -> dict[str, Any]:
    """The summary after prior adjustment and after re-balancing (which looks at all test predictions at once)."""
    adjusted = posthoc.adjust_logits(logits, class_counts, tau).softmax(1)
    rebalanced = posthoc.rebalance_logits(logits.double(), tau).softmax(1)
    return {
        "adjust": {"tau": tau, **summarise(adjusted, targets, class_counts)},
        "rebalance": {"tau": tau, **summarise(rebalanced, targets, class_counts)},
    }


def evaluate(
    run: str | Path,
    method: str | None = None,
    tau: float | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Test a run again from its checkpoint, plain or after a post-hoc adjustment.

    Args:
        run: run directory of `train`.
        method: None, "adjust" (subtract tau times the log prior) or "rebalance" (divide by column masses to the tau).
        tau: strength of the adjustment, at least 0; None is 1. Without a method there is nothing that it could scale.
        data_root, device: as in `train`.

    Returns:
        The summary: top1, many, medium, few, balanced_error, ece (percent) and per_class.

    Warns:
        UserWarning: "adjust" on a run whose loss or weights correct for the counts already; or a run that is not
            finished.

    Raises:
        ValueError: an unknown method (the message calls it ``posthoc``, as the command line does), tau without a
            method, a bad tau or device.
        TypeError: a tau that is not a number.
        CheckpointError: there is no checkpoint, or it is not one of ours.
    """
    if method is not None:
        check_choice("posthoc", method, ("adjust", "rebalance"))
    elif tau is not None:
        raise ValueError(f"tau is {tau!r} without a post-hoc method; name one: adjust or rebalance")
    tau = 1.0 if tau is None else check_number("tau", tau, low=0.0)
    tested = run_scores(run, data_root, device)
    if method == "adjust" and (done := corrects_counts(tested.config)):
        warnings.warn(corrects_twice(done), stacklevel=2)
    targets, counts = tested.data.test_targets, tested.data.class_counts
    if method is None:
        return summarise(tested.logits.softmax(1), targets, counts)
    return posthoc_results(tested.logits, targets, counts, tau)[method]


def corrects_twice(done: str) -> str:
    """What is said of adjusting a run in which ``done`` corrects for the counts (`corrects_counts`)."""
    return (
        f"{done} corrects for the class counts already; adjusting the logits corrects twice, and usually costs accuracy"
    )


@dataclass(frozen=True)
class RunScores:
    """A run, its data, and its logits (N, C) on the test images."""

    config: RunConfig
    data: LongTailedData
    logits: Tensor


def run_scores(run: str | Path, data_root: str | Path | None = None, device: str = "auto") -> RunScores:
    """Predict the test set with a run's checkpoint; arguments, warning and errors as in `evaluate`."""
    place, folder = pick_device(device), Path(run)
    saved = load_checkpoint(folder)
    with applying(folder):
        config = RunConfig.from_stored(saved["config"])
    if saved["epoch"] < int(config.epochs or 0):
        warnings.warn(f"the run is not finished: this is epoch {saved['epoch']} of {config.epochs}", stacklevel=3)
    data = load_data(config, data_root)
    check_same_data(saved, own_data(config, data), folder)
    strategy = STRATEGIES[config.strategy](config, data, place, saved["precision"])
    with applying(folder):
        strategy.model.load_state_dict(saved["model"])
        strategy.load_state_dict(saved.get("strategy", {}))
    return RunScores(config, data, finite(strategy.predict(data.test_images)))
