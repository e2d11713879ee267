"""Train a network on long-tailed data, evaluate it, and write the record."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core import metrics, posthoc, records
from lt_core.data import LongTailedData, load_dataset
from lt_core.data.augment import augment, normalize
from lt_core.losses import COSINE_LOSSES, build_loss, class_balanced_weights
from lt_core.models import BACKBONES
from lt_core.seeding import set_seed
from lt_core.training.checkpoint import load_checkpoint, save_checkpoint
from lt_core.training.meters import FactorMeter, LossMeter, PushMeter, group_means
from lt_core.training.recipes import COSINE_SCALE, RECIPES, Recipe, RunConfig
from lt_core.validation import check_choice

EVALUATION_BATCH = 1000
DRW_BETA = 0.9999


class TrainingError(RuntimeError):
    """A run that cannot start or go on."""


def pick_device(name: str = "auto") -> torch.device:
    """"auto" (a GPU where there is one), "cpu" or "cuda"; asking for a GPU that is not there is an error."""
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device is 'cuda', but PyTorch sees no GPU here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The model name of the GPU, or of the CPU where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"CPU ({line.split(':', 1)[1].strip()})"
    except OSError:
        pass
    return "CPU"


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of an epoch's order and augmentation: a function of seed and epoch alone."""
    import numpy as np

    state = np.random.SeedSequence([seed, epoch]).generate_state(2)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


def build(config: RunConfig, data: LongTailedData) -> tuple[nn.Module, Any]:
    """The network and the loss of a run. Under DRW the loss starts with weights of one."""
    num_classes = len(data.class_counts)
    own_scale = config.loss in COSINE_LOSSES
    model = BACKBONES[str(config.backbone)](
        num_classes, str(config.classifier), 1.0 if own_scale else COSINE_SCALE
    )
    options = dict(config.loss_options)
    if config.drw:
        if config.loss == "cb":
            raise ValueError("drw defers the weights that the loss 'cb' always has; use loss 'ce' with drw")
        options["weight"] = torch.ones(num_classes)
    return model, build_loss(config.loss, data.class_counts, **options)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, scale: float, device: torch.device) -> Tensor:
    """Inference logits (N, C), float32 on the CPU: the network's outputs times ``scale``."""
    model.eval()
    batches = []
    for start in range(0, len(images), EVALUATION_BATCH):
        batch = normalize(images[start : start + EVALUATION_BATCH].to(device))
        batches.append(scale * model(batch.contiguous(memory_format=torch.channels_last)).float())
    return torch.cat(batches).cpu()


def accuracies(predictions: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, float | None]:
    """``top1``, ``many``, ``medium`` and ``few`` in percent; None for an empty group."""
    shots = metrics.shot_accuracy(predictions, targets, class_counts)
    top1 = 100.0 * (predictions == targets).double().mean().item()
    groups = {name: None if share is None else 100.0 * share for name, share in shots.items()}
    return {"top1": top1} | {name: groups[name] for name in records.GROUPS}


def summarise(scores: Tensor, targets: Tensor, class_counts: Sequence[int], normalised: bool = True) -> dict[str, Any]:
    """What a record keeps of one evaluation: accuracies, balanced error, ECE (percent) and per-class accuracy.

    ``scores`` are probabilities (N, C), or any scores with ``normalised=False``, which have no calibration error.
    """
    predictions = scores.argmax(1)
    per_class = metrics.per_class_accuracy(predictions, targets, len(class_counts))
    ece = metrics.expected_calibration_error(scores, targets) if normalised else None
    return {
        **accuracies(predictions, targets, class_counts),
        "balanced_error": 100.0 * metrics.balanced_error(predictions, targets, len(class_counts)),
        "ece": None if ece is None else 100.0 * ece,
        "per_class": [round(100.0 * a, 1) for a in per_class.tolist()],
    }


def posthoc_results(logits: Tensor, targets: Tensor, class_counts: Sequence[int], tau: float = 1.0) -> dict[str, Any]:
    """The summary after prior adjustment and after re-balancing (which looks at all test predictions at once)."""
    adjusted = posthoc.adjust_logits(logits, class_counts, tau).softmax(1)
    rebalanced = posthoc.rebalance_predictions(logits.softmax(1), tau)
    return {
        "adjust": {"tau": tau, **summarise(adjusted, targets, class_counts)},
        "rebalance": {"tau": tau, **summarise(rebalanced, targets, class_counts, normalised=False)},
    }


class Trainer:
    """One run, epoch by epoch."""

    def __init__(self, config: RunConfig, data: LongTailedData, device: torch.device) -> None:
        set_seed(config.seed)
        self.config, self.data, self.device = config, data, device
        self.recipe: Recipe = RECIPES[config.recipe]
        self.epochs, self.batch_size = int(config.epochs or 0), int(config.batch_size or 0)
        if self.recipe.drop_last and len(data.train_targets) < self.batch_size:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are {len(data.train_targets)} training images and recipe "
                f"{config.recipe!r} leaves out the last, smaller batch"
            )
        model, loss = build(config, data)
        # Channels-last is the layout that convolutions are fastest in, on CPUs and GPUs alike.
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.loss: Any = loss.to(device)  # some losses have `factors` or `log_theta`, most have neither
        self.scale = float(loss.scale) if config.loss in COSINE_LOSSES else 1.0
        self.images = data.train_images.to(device)
        self.targets = data.train_targets.to(device)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )

    def step(self, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """One optimiser step; returns the loss and the network's outputs."""
        outputs = self.model(images)
        loss = self.loss(outputs, targets)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss, outputs

    def train_epoch(self, epoch: int, bar: Any = None) -> dict[str, Any]:
        """Train for one epoch (0-based); returns its row of the history and, where there is one, the adjustment."""
        config, counts = self.config, self.data.class_counts
        rate = self.recipe.learning_rate_at(epoch, self.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        if config.drw and epoch >= self.recipe.drw_epoch(self.epochs):
            self.loss.weight.copy_(class_balanced_weights(counts, DRW_BETA))
        generator = epoch_generator(config.seed, epoch)
        images = augment(self.images, self.recipe.augmentation, generator)
        order = torch.randperm(len(images), generator=generator).to(self.device)
        used = len(order) - len(order) % self.batch_size if self.recipe.drop_last else len(order)

        meter = LossMeter(self.device)
        factors = FactorMeter(len(counts), self.device) if hasattr(self.loss, "factors") else None
        pushes = PushMeter(len(counts), self.device) if config.loss == "ce" else None
        self.model.train()
        self.loss.train()
        for start in range(0, used, self.batch_size):
            index = order[start : start + self.batch_size]
            targets = self.targets[index]
            batch = normalize(images[index]).contiguous(memory_format=torch.channels_last)
            loss, outputs = self.step(batch, targets)
            meter.update(loss, outputs, targets)
            if factors is not None:
                factors.update(self.loss.factors(outputs.detach(), targets), targets)
            if pushes is not None:
                pushes.update(outputs, targets)
            if bar is not None:
                bar.update(len(index))

        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "lr": rate,
            "train_loss": meter.mean_loss(),
            "train_top1": meter.top1(),
            "images": used,
        }
        if not torch.isfinite(meter.loss):
            raise TrainingError(f"epoch {epoch + 1}: the training loss is not finite; lower the learning rate")
        image_counts = torch.bincount(self.targets, minlength=len(counts))
        if pushes is not None:
            row["row_ratio"] = group_means(pushes.row_ratio(), torch.ones(len(counts)), counts)
            row["flow"] = pushes.group_flow(counts)
        if factors is not None:
            row["adjustment"] = {k: group_means(v, image_counts, counts) for k, v in factors.class_means().items()}
            row["per_class"] = {k: v.tolist() for k, v in factors.class_means().items()}
        if hasattr(self.loss, "log_theta"):
            log_theta = self.loss.log_theta()
            row["adjustment"] = {"log_theta": group_means(log_theta, torch.ones(len(counts)), counts)}
            row["per_class"] = {"log_theta": log_theta.tolist()}
        return row

    def test_logits(self) -> Tensor:
        """Inference logits of the test set."""
        return predict(self.model, self.data.test_images, self.scale, self.device)


def recorded_epochs(epochs: int, best: int) -> list[int]:
    """1-based epochs that a record keeps: all where there are at most 60, else every 10th, the best and the last."""
    if epochs <= 60:
        return list(range(1, epochs + 1))
    return sorted({*range(10, epochs + 1, 10), best, epochs})


def train(
    config: RunConfig,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    download: bool = False,
) -> dict[str, Any]:
    """Run one configuration from start to end.

    Args:
        config: what to run.
        out: run directory; gets ``record.json``, ``history.csv`` and ``last.pt``. None writes nothing.
        data_root: where the data lies; default ``LT_DATA_ROOT``. Not used by "synthetic".
        device: "auto", "cpu" or "cuda".
        progress: show a progress bar on stderr.
        download: fetch the data where it is missing.

    Returns:
        The record (see `lt_core.records`).

    Raises:
        TrainingError: no such device, a run directory that holds a run already, or a loss that is not finite.
        lt_core.data.DataError: missing or damaged data.
    """
    from tqdm.auto import tqdm

    folder = None if out is None else Path(out)
    if folder is not None and any((folder / name).exists() for name in ("record.json", "last.pt")):
        raise TrainingError(f"{folder} already holds a run; name another directory, or delete it first")
    place = pick_device(device)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be written fails now, not after the training
    data = load_dataset(
        config.dataset, data_root, config.imbalance_factor, config.subset_seed, config.class_order, download
    )
    trainer = Trainer(config, data, place)
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"top1": -1.0}
    training_seconds, start = 0.0, time.perf_counter()
    logits = torch.empty(0)
    total = trainer.epochs * len(data.train_targets)
    name = config.run_name
    with tqdm(total=total, unit="img", unit_scale=True, mininterval=0.5, disable=not progress, desc=name) as bar:
        for epoch in range(trainer.epochs):
            epoch_start = time.perf_counter()
            row = trainer.train_epoch(epoch, bar)
            training_seconds += time.perf_counter() - epoch_start
            logits = trainer.test_logits()
            row["test_loss"] = F.cross_entropy(logits, data.test_targets).item()
            row |= accuracies(logits.argmax(1), data.test_targets, data.class_counts)
            history.append(row)
            if row["top1"] > best["top1"]:
                best = {"epoch": epoch + 1, **summarise(logits.softmax(1), data.test_targets, data.class_counts)}
            bar.set_postfix(epoch=epoch + 1, loss=f"{row['train_loss']:.3f}", top1=f"{row['top1']:.1f}")

    last = {"epoch": trainer.epochs, **summarise(logits.softmax(1), data.test_targets, data.class_counts)}
    kept = [history[number - 1] for number in recorded_epochs(trainer.epochs, best["epoch"])]
    plain = ("epoch", "lr", "train_loss", "test_loss", "train_top1", "top1", *records.GROUPS)
    record = {
        "schema": records.SCHEMA,
        "config": config.to_dict(),
        "environment": {
            **records.environment(device_name(place)),
            "precision": "float32",
            "seconds": time.perf_counter() - start,
            "images_per_second": sum(row["images"] for row in history) / training_seconds,
        },
        "final": {"last": last, "best_on_test": best},
        "posthoc": posthoc_results(logits, data.test_targets, data.class_counts),
        "epochs": [{key: row[key] for key in plain} for row in kept],
        "adjustment": [{"epoch": row["epoch"], **row["adjustment"]} for row in kept if "adjustment" in row],
    }
    if "per_class" in history[-1]:
        record["adjustment_per_class"] = history[-1]["per_class"]
    if "row_ratio" in history[-1]:
        record["row_ratio"] = [{"epoch": row["epoch"], "groups": row["row_ratio"]} for row in kept]
        record["flow"] = {"first": history[0]["flow"], "last": history[-1]["flow"]}
    if folder is not None:
        import pandas as pd

        columns = [*plain, "images"]
        records.write_atomically(folder / "history.csv", pd.DataFrame(history)[columns].to_csv(index=False))
        save_checkpoint(folder / "last.pt", trainer.model, trainer.loss, config, trainer.epochs)
        records.save(record, folder / "record.json")
    return record


def evaluate(
    run: str | Path,
    method: str | None = None,
    tau: float = 1.0,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Test a finished run again from its checkpoint, plain or after a post-hoc adjustment.

    Args:
        run: run directory of `train`.
        method: None, "adjust" (subtract tau times the log prior) or "rebalance" (divide by column masses to the tau).
        tau: strength of the adjustment.
        data_root, device: as in `train`.

    Returns:
        The summary: top1, many, medium, few, balanced_error, ece (percent) and per_class.

    Raises:
        TrainingError: there is no checkpoint, or it is not one of ours.
    """
    if method is not None:
        check_choice("posthoc", method, ("adjust", "rebalance"))
    place = pick_device(device)
    saved = load_checkpoint(Path(run) / "last.pt")
    config = RunConfig.from_dict(saved["config"])
    data = load_dataset(config.dataset, data_root, config.imbalance_factor, config.subset_seed, config.class_order)
    model, loss = build(config, data)
    model.load_state_dict(saved["model"])
    scale = float(loss.scale) if config.loss in COSINE_LOSSES else 1.0
    logits = predict(model.to(place), data.test_images, scale, place)
    if method is None:
        return summarise(logits.softmax(1), data.test_targets, data.class_counts)
    return posthoc_results(logits, data.test_targets, data.class_counts, tau)[method]
