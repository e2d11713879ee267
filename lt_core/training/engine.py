"""Train a network on long-tailed data, evaluate it, and write the record."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lt_core import posthoc, records
from lt_core.data import LongTailedData
from lt_core.data.streaming import in_batches
from lt_core.losses import class_balanced_weights
from lt_core.seeding import derived_seed, set_seed
from lt_core.training import distributed
from lt_core.training.base import Base, prepare_base
from lt_core.training.build import check_same_data, load_data, own_data
from lt_core.training.checkpoint import LAST, PREVIOUS, CheckpointError, applying, load_checkpoint, save_checkpoint
from lt_core.training.devices import device_name, pick_compile, pick_device, pick_precision
from lt_core.training.errors import TrainingError
from lt_core.training.evaluation import accuracies, finite, summarise
from lt_core.training.locking import locked
from lt_core.training.meters import FactorMeter, LossMeter, PushMeter, group_means, loss_gradients
from lt_core.training.progress import EpochLines
from lt_core.training.recipes import Recipe, RunConfig
from lt_core.training.recording import (
    COLUMNS,
    MANY_CLASSES,
    check_record_size,
    record_of,
    write_history,
    write_per_class,
)
from lt_core.training.step import TrainStep
from lt_core.training.strategies import STRATEGIES
from lt_core.validation import check_choice, check_targets, check_whole, trusted_values

DRW_BETA = 0.9999
TEST_EVERY = (1, 2, 5, 10)  # a record keeps every tenth epoch, which has to be a tested one


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of an epoch's order and augmentation: a function of seed and epoch alone."""
    return torch.Generator().manual_seed(derived_seed(seed, epoch))


def followed_by(earlier: list[Any], now: Any) -> list[Any]:
    """What the processes of a run had, in their order; what stays the same is named once."""
    return earlier if earlier[-1] == now else [*earlier, now]


class Trainer:
    """One run, epoch by epoch; its `state_dict` is what a checkpoint holds."""

    def __init__(
        self,
        config: RunConfig,
        data: LongTailedData,
        device: torch.device,
        compiled: bool = False,
        precision: str = "auto",
        test_every: int = 1,
        base: Base | None = None,
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
        check_targets(data.train_targets, len(data.train_images), data.num_classes)  # once; the steps do not
        self.precision = pick_precision(device, precision)
        self.base = None if base is None else base.facts
        self.data_facts = own_data(config, data)
        if base is not None and base.data != self.data_facts:
            there = f"{base.data} there, {self.data_facts} here"
            raise TrainingError(f"the run that this one starts from is of other data: {there}")
        weights = None if base is None else base.weights
        self.strategy = STRATEGIES[config.strategy](config, data, device, self.precision, weights)
        self.model, self.loss, self.scale = self.strategy.model, self.strategy.loss, self.strategy.scale
        self.images, self.targets = self.strategy.images, self.strategy.targets
        self.test_every = check_choice("test_every", test_every, TEST_EVERY)
        self.commits, self.machines = [records.git_commit()], [records.machine(device_name(device))]
        self.step = TrainStep(self.strategy, compiled)
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"top1": -1.0}
        self.best_rebalanced: dict[str, Any] = {"top1": -1.0}
        self.seconds = {"whole": 0.0, "augment": 0.0, "train": 0.0, "cpu": 0.0}
        self.logits: Tensor | None = None  # of the test set, after the epoch that ended last
        self.test_loss = math.nan  # likewise

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
            "strategy": self.strategy.state_dict(),
            "base": self.base,
            "data": self.data_facts,
            "history": self.history,
            "best": self.best,
            "best_rebalanced": self.best_rebalanced,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
            "threads": torch.get_num_threads(),
            "compiled": self.compiled,
            "precision": self.precision,
            "test_every": self.test_every,
            "commits": self.commits,
            "machines": self.machines,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.loss.load_state_dict(state["loss"])
        self.step.load_state_dict(state["step"])
        self.strategy.load_state_dict(state.get("strategy", {}))  # the first versions had none, and no base
        self.base = state.get("base")
        self.history, self.best, self.seconds = state["history"], state["best"], state["seconds"]
        self.best_rebalanced = state["best_rebalanced"]
        self.seconds.setdefault("cpu", math.nan)  # not measured by the first versions
        # The first versions noted neither.
        self.commits = followed_by(state.get("commits", [None]), self.commits[0])
        self.machines = followed_by(state.get("machines", self.machines), self.machines[0])
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
        self.strategy.epoch = epoch
        images, all_targets, *others = self.strategy.order(generator)
        used = len(images) - len(images) % self.batch_size if self.recipe.drop_last else len(images)
        augmented = self._now()

        meter = LossMeter(self.device)
        observed = self.strategy.observed
        factors = FactorMeter(len(counts), self.device) if observed and hasattr(self.loss, "factors") else None
        # Under cross-entropy the pushes are followed over all epochs, under the other losses at both ends of the run.
        measured = observed and len(counts) <= MANY_CLASSES and (config.loss == "ce" or epoch in (0, self.epochs - 1))
        pushes = PushMeter(len(counts), self.device) if measured else None
        self.strategy.train()
        rank, processes = distributed.rank(), distributed.world()
        wholes = [slice(first, min(first + self.batch_size, used)) for first in range(0, used, self.batch_size)]
        parts = [slice(whole.start + rank, whole.stop, processes) for whole in wholes]
        with distributed.own_draws(config.seed, epoch, self.device):
            for whole, part, batch in zip(wholes, parts, in_batches(images, parts, self.device), strict=True):
                targets = all_targets[part]
                # Copies, since a replayed step writes into the buffers themselves.
                buffers = {} if pushes is None else {name: b.clone() for name, b in self.loss.named_buffers()}
                loss, outputs = self.step(batch, targets, all_targets[whole], *(other[part] for other in others))
                targets = targets if targets.ndim == 1 else targets[:, 0]
                meter.update(loss, outputs, targets, (whole.stop - whole.start) / processes)
                with trusted_values():
                    if factors is not None:
                        factors.update(self.loss.factors(outputs, targets), targets)
                    if pushes is not None:
                        pushes.update(loss_gradients(self.loss, outputs, targets, buffers) / self.scale, targets)
                if bar is not None:
                    bar.update(whole.stop - whole.start)
        for reduced in (meter, factors, pushes):
            if reduced is not None:
                reduced.reduce()
        trained = self._now()
        self.seconds["augment"] += augmented - start
        self.seconds["train"] += trained - augmented

        row = {"epoch": epoch + 1, "lr": rate, "images": used} | self.describe(meter, factors, pushes)
        if not math.isfinite(row["train_loss"]):
            raise TrainingError(f"epoch {epoch + 1}: the training loss is not finite; lower the learning rate")
        return row

    def describe(self, meter: LossMeter, factors: FactorMeter | None, pushes: PushMeter | None) -> dict[str, Any]:
        """What the meters of an epoch say, as entries of its row of the history."""
        counts = self.data.class_counts
        row: dict[str, Any] = {"train_loss": meter.mean_loss(), "train_top1": meter.top1()}
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

    def is_tested(self, epoch: int) -> bool:
        """Whether the 1-based ``epoch`` ends with a test: every few epochs, all of the last fifth, and the last one."""
        return epoch % self.test_every == 0 or epoch > round(0.8 * self.epochs) or epoch == self.epochs

    def _now(self) -> float:
        """Seconds, with the device's work done: called three times an epoch."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def test_logits(self) -> Tensor:
        """Inference logits of the test set after the last finished epoch, computed once."""
        if self.logits is None:
            logits = self.strategy.predict(self.data.test_images)
            self.test_loss = F.cross_entropy(logits, self.data.test_targets).item()
            self.logits = finite(logits)
        return self.logits

    def run_epoch(self, bar: Any = None) -> dict[str, Any]:
        """Train one epoch, test it where it is due, and add its row to the history."""
        start, cpu = time.perf_counter(), time.process_time()
        row = dict.fromkeys(COLUMNS) | self.train_epoch(bar)
        self.logits = None
        for earlier in self.history[1:]:  # of these, the record keeps the first and the last epoch's only
            for name in ("flow", "per_class", "row_ratio_per_class", "pushes"):
                earlier.pop(name, None)
        self.history.append(row)
        if self.is_tested(self.epoch):
            row |= self.test()
        self.seconds["whole"] += time.perf_counter() - start
        self.seconds["cpu"] += time.process_time() - cpu
        return row

    def test(self) -> dict[str, Any]:
        """Test the network as it is; returns loss and accuracies, and keeps the best of what came so far."""
        logits, targets, counts = self.test_logits(), self.data.test_targets, self.data.class_counts
        result = {"test_loss": self.test_loss, **accuracies(logits.argmax(1), targets, counts)}
        if result["top1"] > self.best["top1"]:
            self.best = {"epoch": self.epoch, **summarise(logits.softmax(1), targets, counts)}
        rebalanced = accuracies(posthoc.rebalance_logits(logits.double()).argmax(1), targets, counts)
        if rebalanced["top1"] > self.best_rebalanced["top1"]:
            self.best_rebalanced = {"epoch": self.epoch, **rebalanced}
        return result

    def save_arrays(self, folder: Path) -> None:
        """``probabilities.npz`` and ``pushes.npz``: what is too large for the record. See `lt_core.records`."""
        records.save_probabilities(self.test_logits().log_softmax(1), folder)
        if "pushes" in self.history[-1]:
            records.save_pushes(self.history[0]["pushes"], self.history[-1]["pushes"], folder)
        if self.data.num_classes > MANY_CLASSES:
            write_per_class(folder / "per_class.csv", self)


def choose_settings(
    config: RunConfig, data: LongTailedData, place: torch.device, compile: str = "auto", precision: str = "auto"
) -> tuple[bool, str]:
    """Whether a new run is compiled, and its precision; arguments as in `train`."""
    precision = pick_precision(place, precision)
    steps = int(config.epochs or 0) * math.ceil(len(data.train_targets) / int(config.batch_size or 1))
    choice = "off" if compile == "auto" and not STRATEGIES[config.strategy].compiles else compile
    return pick_compile(choice, place, steps, precision), precision


def prepare_folder(folder: Path, config: RunConfig, resume: bool) -> dict[str, Any] | None:
    """The checkpoint to go on from, if there is one; refuses a directory that must be left alone."""
    holds_run = any((folder / name).exists() for name in ("record.json", LAST, PREVIOUS))
    if (holds_run or (folder / "base").exists()) and not resume:
        raise TrainingError(f"{folder} already holds a run; name another directory, delete it, or use --resume")
    if not holds_run:
        return None
    saved = load_checkpoint(folder)
    with applying(folder):
        RunConfig.from_stored(saved["config"])
    if difference := config.difference(saved["config"]):
        raise CheckpointError(f"{folder / LAST} is of another configuration: {difference}")
    if config.augmentation == "autoaugment" and "classifier_init" not in saved["config"]:
        raise CheckpointError(f"{folder / LAST} was begun when AutoAugment's translations were cut off; train it anew")
    return saved


def settings_of(
    saved: dict[str, Any], compile: str, precision: str, test_every: int | None, folder: Path
) -> tuple[bool, str, int]:
    """Compilation, precision and test interval of a checkpoint; asking for others is an error."""
    compiled, there = saved["compiled"], saved["precision"]
    every = saved.get("test_every", 1)
    for name, asked, has in (
        ("compile", compile, "on" if compiled else "off"),
        ("precision", precision, there),
        ("test_every", every if test_every is None else test_every, every),
    ):
        if asked not in ("auto", has):
            raise TrainingError(f"{name} is {asked!r}, but the run in {folder} was begun with {has!r}; a run keeps it")
    return compiled, there, every


def train(
    config: RunConfig,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    progress: bool | str = True,
    download: bool = False,
    resume: bool = False,
    compile: str = "auto",
    precision: str = "auto",
    checkpoint_every: int = 1,
    test_every: int | None = None,
    base: str | Path | None = None,
) -> dict[str, Any]:
    """Run one configuration from start to end.

    Args:
        config: what to run.
        out: run directory; gets ``record.json``, ``history.csv``, the test set's probabilities, the pushes between
            classes and the checkpoints. None writes nothing.
        data_root: where the data lies; default ``LT_DATA_ROOT``. Not used by data sets without files.
        device: "auto", "cpu" or "cuda".
        progress: True shows a progress bar on stderr, "lines" prints a line an epoch there (at most one a minute),
            False nothing.
        download: fetch the data where it is missing.
        resume: go on from the checkpoint in ``out``, or start where there is none. The number of threads, the
            compile setting, the precision and the tested epochs are then the checkpoint's, so that the numbers are
            those of the uninterrupted run; asking for others is an error.
        compile: "auto", "on" or "off"; see `lt_core.training.devices.pick_compile`.
        precision: "auto", "float32", "bfloat16" or "float16"; see `lt_core.training.devices.pick_precision`.
        checkpoint_every: epochs between two checkpoints; the last epoch always gets one.
        test_every: epochs between two tests, 1, 2, 5 or 10 (default 1); each epoch of the last fifth is tested. It
            changes nothing but which epochs the best one is chosen from.
        base: run directory of the finished run that a second stage starts from; None trains that run first, in
            ``out/base``, with this batch size, or gives it up after use where ``out`` is None. A method takes only its
            own first stage, and one without a second stage takes none.

    Returns:
        The record (see `lt_core.records`).

    Raises:
        ValueError: an option that is not allowed, or a batch size that does not fit the processes or the data.
        TypeError: ``checkpoint_every`` that is not a whole number.
        TrainingError: no such device, a run directory that holds a run already, is in use or cannot be written, or a
            loss that is not finite.
        CheckpointError: a checkpoint that is damaged, of another configuration, or cannot be written.
        lt_core.data.DataError: missing or damaged data.
        lt_core.records.RecordError: the record would be too large, which is found out before the first epoch.
    """
    records.git_commit()  # the commit of the code that was just imported
    checkpoint_every = check_whole("checkpoint_every", checkpoint_every, 1)
    if test_every is not None:
        test_every = check_choice("test_every", test_every, TEST_EVERY)
    check_choice("progress", progress, (True, False, "lines"))
    folder = None if out is None else Path(out)
    with distributed.process_group(pick_device(device)) as place, ExitStack() as stack:
        if folder is not None and distributed.rank() == 0:
            stack.enter_context(locked(folder, "training"))
        distributed.barrier()
        saved = None
        if folder is not None and (distributed.rank() == 0 or resume):
            saved = prepare_folder(folder, config, resume)
        distributed.barrier()
        if saved is not None and folder is not None:
            compiled, precision, test_every = settings_of(saved, compile, precision, test_every, folder)
            torch.set_num_threads(saved["threads"])
        data = load_data(config, data_root, download)
        picked = precision  # the first stage of a run gets what was asked for
        if saved is None:
            compiled, picked = choose_settings(config, data, place, compile, precision)
        make = partial(Trainer, config, data, place, compiled, picked, test_every or 1)
        begin = None
        if saved is None:
            if base is None and STRATEGIES[config.strategy].stage is not None:
                make()  # what it refuses, it refuses now and not after the first stage
            begin = prepare_base(config, base, folder, partial(
                train, data_root=data_root, device=device, progress=progress, resume=True, compile=compile,
                precision=precision, checkpoint_every=checkpoint_every, test_every=test_every,
            ), progress)  # fmt: skip
        trainer = make(begin)
        if saved is not None and folder is not None:
            check_same_data(saved, trainer.data_facts, folder)
            with applying(folder):
                trainer.load_state_dict(saved)
            if trainer.epoch == trainer.epochs and (kept := finished_record(folder)) is not None:
                return kept
        if folder is not None:
            check_record_size(trainer)
        run_epochs(trainer, folder, progress if distributed.rank() == 0 else False, checkpoint_every)
        record = record_of(trainer)
        if folder is not None and distributed.rank() == 0:
            trainer.save_arrays(folder)
            records.save(record, folder / "record.json")  # last: where it is, the run is finished
        distributed.barrier()
    return record


def finished_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished run, which stays as it is: the code that runs now trained nothing of it.

    None where there is none yet or where it is damaged, so that it is written.
    """
    with suppress(records.RecordError):
        return records.load(folder)
    return None


def run_epochs(trainer: Trainer, folder: Path | None, progress: bool | str, checkpoint_every: int) -> None:
    """Train what is left of the run; rank 0 writes the history and a checkpoint every few epochs."""
    from tqdm.auto import tqdm

    images = len(trainer.data.train_targets)
    lines = EpochLines(trainer.epoch, trainer.epochs) if progress == "lines" else None
    bar = tqdm(
        total=trainer.epochs * images,
        initial=trainer.epoch * images,
        unit="img",
        unit_scale=True,
        mininterval=0.5,
        disable=progress is not True,
        desc=trainer.config.run_name,
    )
    with bar:
        while trainer.epoch < trainer.epochs:
            row = trainer.run_epoch(bar)
            if row["top1"] is not None:
                bar.set_postfix(epoch=trainer.epoch, loss=f"{row['train_loss']:.3f}", top1=f"{row['top1']:.1f}")
            if lines is not None:
                lines.show(row)
            due = trainer.epoch % checkpoint_every == 0 or trainer.epoch == trainer.epochs
            if folder is not None and due and distributed.rank() == 0:
                save_checkpoint(folder, trainer.state_dict())
                write_history(folder / "history.csv", trainer.history)
