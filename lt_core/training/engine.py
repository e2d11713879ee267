"""Train a network on long-tailed data, evaluate it, and write the record."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core import metrics, posthoc, records
from lt_core.data import LongTailedData, load_dataset
from lt_core.data.augment import Normalize, augment
from lt_core.losses import COSINE_LOSSES, build_loss, class_balanced_weights
from lt_core.models import BACKBONES
from lt_core.seeding import set_seed
from lt_core.training import distributed
from lt_core.training.checkpoint import LAST, PREVIOUS, CheckpointError, load_checkpoint, save_checkpoint
from lt_core.training.meters import FactorMeter, LossMeter, PushMeter, group_means, loss_gradients
from lt_core.training.recipes import COSINE_SCALE, Recipe, RunConfig
from lt_core.training.step import TrainStep, pick_compile, pick_precision
from lt_core.validation import check_choice, check_targets, check_whole, trusted_values

EVALUATION_BATCH = {"cuda": 2000, "cpu": 128}  # a CPU's caches hold the activations of few images
DRW_BETA = 0.9999
SWEEP = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)  # strengths tau of the two post-hoc methods in a record
COLUMNS = ("epoch", "lr", "train_loss", "test_loss", "train_top1", "top1", *records.GROUPS)


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
        num_classes, str(config.classifier), 1.0 if own_scale else COSINE_SCALE, str(config.classifier_init)
    )
    options = dict(config.loss_options)
    if config.drw:
        options["weight"] = torch.ones(num_classes)
    return model, build_loss(config.loss, data.class_counts, **options)


def inference_scale(config: RunConfig, loss: Any) -> float:
    """What turns the network's outputs into logits: the scale of a loss on cosines, else 1."""
    return float(loss.scale) if config.loss in COSINE_LOSSES else 1.0


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, scale: float, device: torch.device, precision: str) -> Tensor:
    """Inference logits (N, C), float32 on the CPU: the network's outputs times ``scale``."""
    model.eval()
    normalize = Normalize().to(device)
    batches, size = [], EVALUATION_BATCH[device.type]
    with torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"):
        for part in images.split(size):
            batches.append(model(normalize(part.to(device))).float())
    return scale * torch.cat(batches).cpu()


def accuracies(predictions: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, float | None]:
    """``top1``, ``many``, ``medium`` and ``few`` in percent; None for an empty group."""
    shots = metrics.shot_accuracy(predictions, targets, class_counts)
    top1 = 100.0 * (predictions == targets).double().mean().item()
    groups = {name: None if share is None else 100.0 * share for name, share in shots.items()}
    return {"top1": top1} | {name: groups[name] for name in records.GROUPS}


def summarise(scores: Tensor, targets: Tensor, class_counts: Sequence[int], normalised: bool = True) -> dict[str, Any]:
    """What a record keeps of one evaluation.

    Accuracies, balanced error and ECE in percent, the slope of `lt_core.metrics.column_mean_slope`, and per-class
    accuracy. ``scores`` are probabilities (N, C); with ``normalised=False`` scores that are at least 0, whose rows are
    divided by their sums for ECE and slope.
    """
    predictions = scores.argmax(1)
    per_class = metrics.per_class_accuracy(predictions, targets, len(class_counts))
    if not normalised:
        scores = scores / scores.sum(1, keepdim=True)
    ece, slope = metrics.expected_calibration_error(scores, targets), metrics.column_mean_slope(scores, class_counts)
    return {
        **accuracies(predictions, targets, class_counts),
        "balanced_error": 100.0 * metrics.balanced_error(predictions, targets, len(class_counts)),
        "ece": 100.0 * ece,
        "column_slope": slope,
        "per_class": [round(100.0 * a, 1) for a in per_class.tolist()],
    }


def rebalance(logits: Tensor, tau: float = 1.0) -> Tensor:
    """Re-balanced scores; in float64, where no column of probabilities is rounded to zero."""
    return posthoc.rebalance_predictions(logits.double().softmax(1), tau)


def posthoc_sweep(logits: Tensor, targets: Tensor, class_counts: Sequence[int]) -> dict[str, list[float]]:
    """Top-1 accuracy (percent) after prior adjustment and after re-balancing, over strengths tau."""

    def top1(scores: Tensor) -> float:
        return 100.0 * (scores.argmax(1) == targets).double().mean().item()

    return {
        "tau": list(SWEEP),
        "adjust": [top1(posthoc.adjust_logits(logits, class_counts, tau)) for tau in SWEEP],
        "rebalance": [top1(rebalance(logits, tau)) for tau in SWEEP],
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


def posthoc_results(logits: Tensor, targets: Tensor, class_counts: Sequence[int], tau: float = 1.0) -> dict[str, Any]:
    """The summary after prior adjustment and after re-balancing (which looks at all test predictions at once)."""
    adjusted = posthoc.adjust_logits(logits, class_counts, tau).softmax(1)
    rebalanced = rebalance(logits, tau)
    return {
        "adjust": {"tau": tau, **summarise(adjusted, targets, class_counts)},
        "rebalance": {"tau": tau, **summarise(rebalanced, targets, class_counts, normalised=False)},
    }


class Trainer:
    """One run, epoch by epoch; its `state_dict` is what a checkpoint holds."""

    def __init__(
        self,
        config: RunConfig,
        data: LongTailedData,
        device: torch.device,
        compiled: bool = False,
        precision: str = "auto",
    ) -> None:
        set_seed(config.seed)
        self.config, self.data, self.device, self.compiled = config, data, device, compiled
        self.recipe: Recipe = config.ingredients()
        self.epochs, self.batch_size = int(config.epochs or 0), int(config.batch_size or 0)
        processes = distributed.world()
        if self.batch_size % processes:
            raise ValueError(f"batch_size is {self.batch_size}; a multiple of the {processes} processes is needed")
        if self.recipe.drop_last and len(data.train_targets) < self.batch_size:
            raise ValueError(
                f"batch_size is {self.batch_size}, but there are {len(data.train_targets)} training images and recipe "
                f"{config.recipe!r} leaves out the last, smaller batch"
            )
        model, loss = build(config, data)
        check_targets(data.train_targets, len(data.train_images), data.num_classes)  # once; the steps do not
        self.model = model.to(device).to(memory_format=torch.channels_last)
        self.loss: Any = loss.to(device)  # some losses have `factors` or `log_theta`, most have neither
        self.scale = inference_scale(config, loss)
        self.images = data.train_images.to(device)
        self.targets = data.train_targets.to(device)
        self.precision = pick_precision(device, precision)
        self.step = TrainStep(self.model, self.loss, self.recipe, device, self.precision, compiled)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"top1": -1.0}
        self.best_rebalanced: dict[str, Any] = {"top1": -1.0}
        self.seconds = {"whole": 0.0, "augment": 0.0, "train": 0.0}

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    def state_dict(self) -> dict[str, Any]:
        return {
            "config": self.config.to_dict(),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "loss": self.loss.state_dict(),
            "step": self.step.state_dict(),
            "history": self.history,
            "best": self.best,
            "best_rebalanced": self.best_rebalanced,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "threads": torch.get_num_threads(),
            "compiled": self.compiled,
            "precision": self.precision,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.step.load_state_dict(state["step"])
        self.history, self.best, self.seconds = state["history"], state["best"], state["seconds"]
        self.best_rebalanced = state["best_rebalanced"]
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["cuda_rng"]:
            torch.cuda.set_rng_state_all(state["cuda_rng"])

    def train_epoch(self, bar: Any = None) -> dict[str, Any]:
        """Train for one epoch; returns its row of the history, with the adjustment where there is one."""
        config, counts, epoch = self.config, self.data.class_counts, self.epoch
        rate = self.recipe.learning_rate_at(epoch, self.epochs)
        self.step.set_learning_rate(rate)
        if config.drw and epoch >= self.recipe.drw_epoch(self.epochs):
            self.loss.weight.copy_(class_balanced_weights(counts, DRW_BETA))
        start = self._now()
        generator = epoch_generator(config.seed, epoch)
        images = augment(self.images, self.recipe.augmentation, generator)
        order = torch.randperm(len(images), generator=generator).to(self.device)
        used = len(order) - len(order) % self.batch_size if self.recipe.drop_last else len(order)
        augmented = self._now()

        meter = LossMeter(self.device)
        factors = FactorMeter(len(counts), self.device) if hasattr(self.loss, "factors") else None
        # Under cross-entropy the pushes are followed over all epochs, under the other losses at both ends of the run.
        measured = config.loss == "ce" or epoch in (0, self.epochs - 1)
        pushes = PushMeter(len(counts), self.device) if measured else None
        self.model.train()
        self.loss.train()
        rank, processes = distributed.rank(), distributed.world()
        for first in range(0, used, self.batch_size):
            whole = order[first : first + self.batch_size]
            index = whole[rank::processes]
            targets = self.targets[index]
            buffers = {} if pushes is None else dict(self.loss.named_buffers())
            loss, outputs = self.step(images[index], targets, self.targets[whole])
            meter.update(loss, outputs, targets)
            with trusted_values():
                if factors is not None:
                    factors.update(self.loss.factors(outputs, targets), targets)
                if pushes is not None:
                    pushes.update(loss_gradients(self.loss, outputs, targets, buffers) / self.scale, targets)
            if bar is not None:
                bar.update(len(whole))
        for reduced in (meter, factors, pushes):
            if reduced is not None:
                reduced.reduce()
        trained = self._now()
        self.seconds["augment"] += augmented - start
        self.seconds["train"] += trained - augmented

        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "lr": rate,
            "train_loss": meter.mean_loss(),
            "train_top1": meter.top1(),
            "images": used,
        }
        if not math.isfinite(row["train_loss"]):
            raise TrainingError(f"epoch {epoch + 1}: the training loss is not finite; lower the learning rate")
        image_counts = torch.bincount(self.targets.cpu(), minlength=len(counts))
        if pushes is not None:
            row["row_ratio"] = group_means(pushes.row_ratio(), torch.ones(len(counts)), counts)
            row["flow"] = pushes.group_flow(counts)
            row["row_ratio_per_class"] = pushes.row_ratio().tolist()
            row["pushes"] = pushes.pushes.cpu()
        if factors is not None:
            row["adjustment"] = {k: group_means(v, image_counts, counts) for k, v in factors.class_means().items()}
            # QF is left out: the counts give it.
            row["per_class"] = {k: v.tolist() for k, v in factors.class_means().items() if k != "QF"}
        if hasattr(self.loss, "log_theta"):
            log_theta = self.loss.log_theta()
            row["adjustment"] = {"log_theta": group_means(log_theta, torch.ones(len(counts)), counts)}
            row["per_class"] = {"log_theta": log_theta.tolist()}
        return row

    def _now(self) -> float:
        """Seconds, with the device's work done: called three times an epoch."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def test_logits(self) -> Tensor:
        """Inference logits of the test set."""
        return predict(self.model, self.data.test_images, self.scale, self.device, self.precision)

    def run_epoch(self, bar: Any = None) -> dict[str, Any]:
        """Train and test one epoch and add its row to the history."""
        start = time.perf_counter()
        row = self.train_epoch(bar)
        logits = self.test_logits()
        targets, counts = self.data.test_targets, self.data.class_counts
        row["test_loss"] = F.cross_entropy(logits, targets).item()
        row |= accuracies(logits.argmax(1), targets, counts)
        for earlier in self.history[1:]:  # of these, the record keeps the first and the last epoch's only
            for name in ("flow", "per_class", "row_ratio_per_class", "pushes"):
                earlier.pop(name, None)
        self.history.append(row)
        if row["top1"] > self.best["top1"]:
            self.best = {"epoch": self.epoch, **summarise(logits.softmax(1), targets, counts)}
        rebalanced = accuracies(rebalance(logits).argmax(1), targets, counts)
        if rebalanced["top1"] > self.best_rebalanced["top1"]:
            self.best_rebalanced = {"epoch": self.epoch, **rebalanced}
        self.seconds["whole"] += time.perf_counter() - start
        return row

    def save_arrays(self, folder: Path) -> None:
        """``probabilities.npz`` and ``pushes.npz``: what is too large for the record. See `lt_core.records`."""
        records.save_probabilities(self.test_logits().log_softmax(1), folder)
        records.save_pushes(self.history[0]["pushes"], self.history[-1]["pushes"], folder)

    def record(self) -> dict[str, Any]:
        """The record of a finished run."""
        logits, targets, counts = self.test_logits(), self.data.test_targets, self.data.class_counts
        history, last_row = self.history, self.history[-1]
        kept = [history[number - 1] for number in recorded_epochs(self.epochs, self.best["epoch"])]
        record = {
            "schema": records.SCHEMA,
            "config": self.config.to_dict(),
            "environment": {
                **records.environment(device_name(self.device)),
                "precision": self.precision,
                "compiled": self.compiled,
                "processes": distributed.world(),
                "seconds": self.seconds["whole"],
                "images_per_second": sum(row["images"] for row in history) / self.seconds["train"],
                "augmentation_share": self.seconds["augment"] / (self.seconds["augment"] + self.seconds["train"]),
            },
            "final": {
                "last": {"epoch": self.epochs, **summarise(logits.softmax(1), targets, counts)},
                "best_on_test": self.best,
            },
            "posthoc": posthoc_results(logits, targets, counts)
            | {"rebalance_best_on_test": self.best_rebalanced, "sweep": posthoc_sweep(logits, targets, counts)},
            "target_probability": target_quantiles(logits.softmax(1), targets, counts),
            "epochs": [{key: row[key] for key in COLUMNS} for row in kept],
            "adjustment": [{"epoch": row["epoch"], **row["adjustment"]} for row in kept if "adjustment" in row],
        }
        if "per_class" in last_row:
            record["adjustment_per_class"] = last_row["per_class"]
        if "row_ratio" in last_row:
            measured = [row for row in kept if "row_ratio" in row]
            record["row_ratio"] = [{"epoch": row["epoch"], "groups": row["row_ratio"]} for row in measured]
            record["row_ratio_per_class"] = [round(ratio, 3) for ratio in last_row["row_ratio_per_class"]]
            record["flow"] = {"first": history[0]["flow"], "last": last_row["flow"]}
        return record


def recorded_epochs(epochs: int, best: int) -> list[int]:
    """1-based epochs that a record keeps: all where there are at most 60, else every 10th, the best and the last."""
    if epochs <= 60:
        return list(range(1, epochs + 1))
    return sorted({*range(10, epochs + 1, 10), best, epochs})


def prepare_folder(folder: Path, config: RunConfig, resume: bool) -> dict[str, Any] | None:
    """Make the run directory; returns the checkpoint to go on from, if there is one."""
    holds_run = any((folder / name).exists() for name in ("record.json", LAST, PREVIOUS))
    if holds_run and not resume:
        raise TrainingError(f"{folder} already holds a run; name another directory, delete it, or use --resume")
    folder.mkdir(parents=True, exist_ok=True)  # a place that cannot be written fails now, not after the training
    if not holds_run:
        return None
    saved = load_checkpoint(folder)
    if difference := config.difference(saved["config"]):
        raise CheckpointError(f"{folder / LAST} is of another configuration: {difference}")
    return saved


def train(
    config: RunConfig,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    download: bool = False,
    resume: bool = False,
    compile: str = "auto",
    precision: str = "auto",
    checkpoint_every: int = 1,
) -> dict[str, Any]:
    """Run one configuration from start to end.

    Args:
        config: what to run.
        out: run directory; gets ``record.json``, ``history.csv``, the test set's probabilities, the pushes between
            classes and the checkpoints. None writes nothing.
        data_root: where the data lies; default ``LT_DATA_ROOT``. Not used by "synthetic".
        device: "auto", "cpu" or "cuda".
        progress: show a progress bar on stderr.
        download: fetch the data where it is missing.
        resume: go on from the checkpoint in ``out``, or start where there is none. The number of threads, the
            compile setting and the precision are then the checkpoint's, so that the numbers are those of the
            uninterrupted run.
        compile: "auto", "on" or "off"; see `lt_core.training.step.pick_compile`.
        precision: "auto", "float32", "bfloat16" or "float16"; see `lt_core.training.step.pick_precision`.
        checkpoint_every: epochs between two checkpoints; the last epoch always gets one.

    Returns:
        The record (see `lt_core.records`).

    Raises:
        TrainingError: no such device, a run directory that holds a run already, or a loss that is not finite.
        CheckpointError: a checkpoint that is damaged, of another configuration, or cannot be written.
        lt_core.data.DataError: missing or damaged data.
    """
    check_whole("checkpoint_every", checkpoint_every, 1)
    folder = None if out is None else Path(out)
    with distributed.process_group(pick_device(device)) as place:
        saved = None
        if folder is not None and (distributed.rank() == 0 or resume):
            saved = prepare_folder(folder, config, resume)
        distributed.barrier()
        data = load_dataset(
            config.dataset, data_root, config.imbalance_factor, config.subset_seed, config.class_order, download
        )
        if saved is None:
            steps = int(config.epochs or 0) * math.ceil(len(data.train_targets) / int(config.batch_size or 1))
            compiled = pick_compile(compile, place, steps)
        else:
            torch.set_num_threads(saved["threads"])
            compiled, precision = saved["compiled"], saved["precision"]
        trainer = Trainer(config, data, place, compiled, precision)
        if saved is not None:
            trainer.load_state_dict(saved)
        run_epochs(trainer, folder, progress and distributed.rank() == 0, checkpoint_every)
        record = trainer.record()
        if folder is not None and distributed.rank() == 0:
            records.save(record, folder / "record.json")
            trainer.save_arrays(folder)
        distributed.barrier()
    return record


def run_epochs(trainer: Trainer, folder: Path | None, progress: bool, checkpoint_every: int) -> None:
    """Train what is left of the run; rank 0 writes the history and a checkpoint every few epochs."""
    from tqdm.auto import tqdm

    images = len(trainer.data.train_targets)
    bar = tqdm(
        total=trainer.epochs * images,
        initial=trainer.epoch * images,
        unit="img",
        unit_scale=True,
        mininterval=0.5,
        disable=not progress,
        desc=trainer.config.run_name,
    )
    with bar:
        while trainer.epoch < trainer.epochs:
            row = trainer.run_epoch(bar)
            bar.set_postfix(epoch=trainer.epoch, loss=f"{row['train_loss']:.3f}", top1=f"{row['top1']:.1f}")
            due = trainer.epoch % checkpoint_every == 0 or trainer.epoch == trainer.epochs
            if folder is not None and due and distributed.rank() == 0:
                save_checkpoint(folder, trainer.state_dict())
                write_history(folder / "history.csv", trainer.history)


def write_history(path: Path, history: list[dict[str, Any]]) -> None:
    """Every epoch so far, as a table."""
    import pandas as pd

    records.write_atomically(path, pd.DataFrame(history)[[*COLUMNS, "images"]].to_csv(index=False))


def evaluate(
    run: str | Path,
    method: str | None = None,
    tau: float = 1.0,
    data_root: str | Path | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Test a run again from its checkpoint, plain or after a post-hoc adjustment.

    Args:
        run: run directory of `train`.
        method: None, "adjust" (subtract tau times the log prior) or "rebalance" (divide by column masses to the tau).
        tau: strength of the adjustment.
        data_root, device: as in `train`.

    Returns:
        The summary: top1, many, medium, few, balanced_error, ece (percent) and per_class.

    Raises:
        CheckpointError: there is no checkpoint, or it is not one of ours.
    """
    if method is not None:
        check_choice("posthoc", method, ("adjust", "rebalance"))
    place = pick_device(device)
    saved = load_checkpoint(Path(run))
    config = RunConfig.from_dict(saved["config"])
    data = load_dataset(config.dataset, data_root, config.imbalance_factor, config.subset_seed, config.class_order)
    model, loss = build(config, data)
    model.load_state_dict(saved["model"])
    scale = inference_scale(config, loss)
    model = model.to(place).to(memory_format=torch.channels_last)
    logits = predict(model, data.test_images, scale, place, saved["precision"])
    if method is None:
        return summarise(logits.softmax(1), data.test_targets, data.class_counts)
    return posthoc_results(logits, data.test_targets, data.class_counts, tau)[method]
