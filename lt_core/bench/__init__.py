"""Throughput, side by side: our epoch-wise augmentation and training step against the usual image-by-image loop.

An absolute time belongs to one machine at one moment. What is measured here are *ratios*: the things compared take
turns (A B A B …) in one run, a ratio is taken in every round, and a table shows the median of the rounds with, as its
spread, half their interquartile range. Pictures and labels are random: the work does not depend on what they show.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lt_core import records
from lt_core.bench import large, roofline
from lt_core.bench.loop import StraightforwardLoop
from lt_core.bench.memory import peak_bytes
from lt_core.data import LongTailedData, load_dataset
from lt_core.data.augment import Normalize, augment
from lt_core.data.longtail import class_counts
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES, build_loss
from lt_core.training import TrainingError
from lt_core.training.devices import device_name, pick_compile, pick_device, pick_precision
from lt_core.training.engine import Trainer
from lt_core.training.recipes import RECIPES, RunConfig
from lt_core.validation import check_choice, check_number, trusted_values

MIN_ROUNDS = 3
SAMPLE = 0.03  # seconds that one timed sample lasts at least: a short call is repeated within it
RECIPE = RECIPES["strong"]
EXAMPLE = "digits_lt"  # data set of the divergence part
SEEDS, EPOCHS = 5, 30  # of the divergence part
STEPS = sum(class_counts(100, 500, 100)) // RECIPE.batch_size  # of an epoch of CIFAR100-LT at imbalance factor 100
Arms = Mapping[str, Callable[[], object]]


@dataclass(frozen=True)
class Sizes:
    """How much work the parts do. ``..._max_count`` is the largest class of 100; the others fall off to a hundredth."""

    epoch_max_count: int = 500  # CIFAR100-LT at imbalance factor 100: 10,847 images
    step_max_count: int = 500
    batches: tuple[int, ...] = (64, 128)
    classes: tuple[int, ...] = (100, 8142)  # CIFAR-100 and iNaturalist 2018
    loss_batch: int = 128
    backbone: str = "resnet32"
    matmul: int = 8192
    copy_bytes: int = 2**30
    large: large.LargeSizes = field(default_factory=large.LargeSizes)


ON_CPU = Sizes(step_max_count=50, matmul=1024, copy_bytes=2**27)


@dataclass(frozen=True)
class Table:
    """A title, rows that share their keys, and what a reader must know."""

    title: str
    rows: list[dict[str, Any]]
    note: str = ""

    def text(self) -> str:
        import pandas as pd

        def figure(value: float) -> str:
            return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

        figures = pd.DataFrame(self.rows).to_string(index=False, na_rep="", float_format=figure)
        return "\n".join(filter(None, (self.title, figures, self.note)))


def measure(
    device: str = "auto",
    seconds: float = 60.0,
    only: str | None = None,
    sizes: Sizes | None = None,
    dataset: str = EXAMPLE,
) -> Iterator[Table]:
    """Measure the parts one after the other; yields each table when it is ready.

    Args:
        device: "auto", "cpu" or "cuda".
        seconds: of measuring in each part, above 0; warming up and compiling come on top, and three rounds are always
            made.
        only: a name of `PARTS`; None is all of them. Or "divergence", which measures no time: see `divergence`.
        sizes: how much work; None is what suits the device.
        dataset: what the divergence part trains on.

    Raises:
        ValueError: an unknown part, or ``seconds`` out of range.
        TrainingError: no such device; a run of the divergence part diverged (after its table).
    """
    seconds = check_number("seconds", seconds, low=0.0, open_low=True)
    if only is not None:
        check_choice("only", only, (*PARTS, "divergence"))
    place = pick_device(device)
    if only == "divergence":
        yield from divergence(place, dataset)
        return
    for name in PARTS if only is None else (only,):
        torch.compiler.reset()
        yield from PARTS[name](place, seconds, sizes or (Sizes() if place.type == "cuda" else ON_CPU))


def report(tables: Sequence[Table], device: str) -> dict[str, Any]:
    """The figures as plain data, with what they were measured on (and how busy that was, where the system tells)."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else None
    versions = records.environment([records.machine(device_name(pick_device(device)))], [records.git_commit()])
    environment = {**versions, "cores": os.cpu_count(), "load": load}
    return {"environment": environment, "tables": [asdict(table) for table in tables]}


def interleave(arms: Arms, seconds: float, device: torch.device) -> dict[str, list[float]]:
    """Seconds per call of every arm, one number a round. A first call (compiling, starting workers) is not timed."""

    def timed(arm: Callable[[], object], calls: int) -> float:
        _wait(device)
        start = time.perf_counter()
        for _ in range(calls):
            arm()
        _wait(device)
        return (time.perf_counter() - start) / calls

    calls = {}
    for name, arm in arms.items():
        arm()
        calls[name] = max(1, math.ceil(SAMPLE / timed(arm, 1)))
    times: dict[str, list[float]] = {name: [] for name in arms}
    stop = time.perf_counter() + seconds
    while min(map(len, times.values())) < MIN_ROUNDS or time.perf_counter() < stop:
        for name, arm in arms.items():
            times[name].append(timed(arm, calls[name]))
    return times


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def summary(values: Sequence[float]) -> tuple[float, float]:
    """Median and half the interquartile range."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, (high - low) / 2


def compare(times: Mapping[str, Sequence[float]], items: int, base: str, cost: bool = False) -> list[dict[str, Any]]:
    """A row an arm: images a second, and how many times as fast (with ``cost``: as dear) as ``base`` it is."""
    rows = []
    for name, seconds in times.items():
        ratios = [s / b if cost else b / s for b, s in zip(times[base], seconds, strict=True)]
        middle, spread = summary(ratios)
        column = f"cost / {base}" if cost else "speed-up"
        rows.append({"what": name, "images/s": items / summary(seconds)[0], column: middle, "±": spread})
    return rows


def random_data(max_count: int, num_classes: int = 100) -> LongTailedData:
    """Random pictures, with the class counts of an exponential profile."""
    counts = class_counts(num_classes, max_count, min(100, max_count))
    targets = torch.arange(num_classes).repeat_interleave(torch.tensor(counts))
    images = torch.randint(256, (len(targets), 3, 32, 32), dtype=torch.uint8)
    names = [str(c) for c in range(num_classes)]
    return LongTailedData("random", images, targets, images[:0], targets[:0], counts, names)


def make_engine(
    data: LongTailedData, batch_size: int, sizes: Sizes, device: torch.device, compiled: bool, loss: str = "ce"
) -> Trainer:
    """Our engine on ``data``, ready for `train_epoch` or for single steps."""
    config = RunConfig(
        dataset="cifar100_lt", loss=loss, recipe=RECIPE.name, backbone=sizes.backbone, batch_size=batch_size
    )
    return Trainer(config, data, device, compiled)


def compiles(device: torch.device) -> bool:
    """Whether the engine compiles a full run of recipe ``strong`` here."""
    return pick_compile("auto", device, RECIPE.epochs * STEPS, pick_precision(device))


def augment_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """Images a second from uint8 to normalised batches on the device."""
    data, batch_size = random_data(sizes.epoch_max_count), sizes.batches[0]
    loop = StraightforwardLoop(data, RECIPE, batch_size, sizes.backbone, device)
    images, normalize, generator = data.train_images.to(device), Normalize().to(device), torch.Generator()
    n = len(images)

    def ours() -> None:
        augmented = augment(images, RECIPE.augmentation, generator)
        order = torch.randperm(n, generator=generator).to(device)
        for start in range(0, n - n % batch_size, batch_size):
            normalize(augmented[order[start : start + batch_size]])

    base = f"PIL loader, {loop.workers} workers"
    times = interleave({base: loop.load, "whole epoch at once": ours}, seconds, device)
    title = f"Augmentation ({RECIPE.augmentation}), epochs of {n:,} images, batch {batch_size}"
    yield Table(title, compare(times, n - n % batch_size, base))


def step_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """Images a second of whole training (augmentation, steps, meters), and the memory that it takes."""
    data, base = random_data(sizes.step_max_count), "straightforward loop"
    n = len(data.train_images)
    for batch_size in sizes.batches:
        loop = StraightforwardLoop(data, RECIPE, batch_size, sizes.backbone, device)
        engines = {"engine, eager": make_engine(data, batch_size, sizes, device, False)}
        if compiles(device):
            engines["engine, compiled"] = make_engine(data, batch_size, sizes, device, True)
        arms = {name: engine.train_epoch for name, engine in engines.items()}
        times = interleave({base: loop.train, **arms}, seconds / len(sizes.batches), device)
        rows = compare(times, n - n % batch_size, base)
        for row, engine in zip(rows[1:], engines.values(), strict=True):
            spent = engine.seconds
            row["augmentation, %"] = 100 * spent["augment"] / (spent["augment"] + spent["train"])
        yield Table(f"Whole training, {sizes.backbone}, batch {batch_size}, epochs of {n:,} images", rows)
    if device.type == "cpu" and sys.platform == "win32":
        return  # Windows does not tell a process's peak
    peaks = {name: peak_memory(name, sizes, device) for name in (base, "engine")}
    rows = [{"what": k, "MB": v / 1e6, "share": v / peaks[base]} for k, v in peaks.items()]
    note = "Allocated on the GPU." if device.type == "cuda" else "Resident, beyond libraries and data; without workers."
    yield Table(f"Peak memory, eager, data set of {sizes.epoch_max_count} images in the largest class", rows, note)


def losses_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """Forward and backward of every loss, alone and in the whole step."""
    import torch._dynamo

    modes = (False, True) if compiles(device) else (False,)
    share = seconds / (len(sizes.classes) * len(modes) + 1)
    # The losses share code, so it is compiled more often than PyTorch expects of one function.
    with torch._dynamo.config.patch(cache_size_limit=64):
        for num_classes in sizes.classes:
            counts = class_counts(num_classes, 1000, 500)
            scores = torch.rand(sizes.loss_batch, num_classes, device=device).mul(2).sub(1).requires_grad_()
            targets = torch.randint(num_classes, (sizes.loss_batch,), device=device)
            for compiled in modes:
                losses = {name: build_loss(name, counts).to(device) for name in LOSS_NAMES}
                arms = {name: loss_arm(loss, scores, targets, compiled) for name, loss in losses.items()}
                times = interleave(arms, share, device)
                title = f"Loss alone, {_mode(compiled)}, C = {num_classes:,}, batch {sizes.loss_batch}"
                rows = compare(times, sizes.loss_batch, "ce", cost=True)
                if not compiled:
                    for row in rows:
                        known = [scores, targets, *losses[row["what"]].buffers()]
                        scores.grad = None  # of the call before
                        row["peak, MB"] = peak_bytes(arms[row["what"]], known, device) / 1e6
                note = "" if compiled else f"Scores have {scores.nbytes / 1e6:.3g} MB; their gradient is in the peak."
                yield Table(title, rows, note)
        torch.compiler.reset()
        data, batch_size, compiled = random_data(sizes.step_max_count), sizes.batches[0], device.type == "cuda"
        images, targets = data.train_images[:batch_size].to(device), data.train_targets[:batch_size].to(device)
        steps = {k: make_engine(data, batch_size, sizes, device, compiled, k).step for k in LOSS_NAMES}
        times = interleave({k: partial(step, images, targets) for k, step in steps.items()}, share, device)
    title = f"Loss in the whole step, {_mode(compiled)}, {sizes.backbone}, C = 100, batch {batch_size}"
    note = f"{', '.join(COSINE_LOSSES)} have the cosine classifier."
    yield Table(title, compare(times, batch_size, "ce", cost=True), note)


def _mode(compiled: bool) -> str:
    return "compiled" if compiled else "eager"


def loss_arm(loss: nn.Module, scores: Tensor, targets: Tensor, compiled: bool) -> Callable[[], None]:
    """Forward and backward of a loss alone, with the values trusted as the engine trusts them."""
    call = torch.compile(loss, fullgraph=True, dynamic=False) if compiled else loss

    def arm() -> None:
        scores.grad = None
        with trusted_values():
            call(scores, targets).backward()

    return arm


def floor_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """What a training step must at least take on this device, and what it takes."""
    precision = getattr(torch, pick_precision(device))
    flop, moved = roofline.step_arithmetic(sizes.backbone, RECIPE.batch_size, precision.itemsize)
    data = random_data(sizes.step_max_count)
    engine = make_engine(data, RECIPE.batch_size, sizes, device, compiles(device))
    step = partial(engine.step, engine.images[: RECIPE.batch_size], engine.targets[: RECIPE.batch_size])
    square = torch.rand(sizes.matmul, sizes.matmul, device=device).to(precision)
    source = torch.zeros(sizes.copy_bytes, dtype=torch.uint8, device=device)
    product, copied = torch.empty_like(square), torch.empty_like(source)
    arms: dict[str, Callable[[], object]] = {
        "matmul": partial(torch.mm, square, square, out=product),
        "copy": partial(copied.copy_, source),
        "step": step,
    }
    note = roofline.COUNTED
    if device.type == "cuda":
        step()  # compiles, so that the kernels are counted of the step alone
        kernels = roofline.count_kernels(step)
        arms["launch"] = roofline.empty_kernels(kernels, device)
        note += f"\nLaunches: a replayed CUDA graph of {kernels} empty kernels, as many as the step has."
    else:
        note += "\nA CPU launches no kernels."
    times = interleave(arms, seconds, device)
    yield Table(
        f"The floor of {sizes.backbone}, batch {RECIPE.batch_size}, recipe {RECIPE.name}, imbalance factor 100",
        floor_rows(times, flop, moved, sizes),
        note,
    )


def floor_rows(times: Mapping[str, Sequence[float]], flop: int, moved: int, sizes: Sizes) -> list[dict[str, Any]]:
    """Rates, the floor that they set, and the measured step over it; all of them taken round by round."""
    by_arithmetic = [s * flop / (2 * sizes.matmul**3) for s in times["matmul"]]
    by_memory = [s * moved / (2 * sizes.copy_bytes) for s in times["copy"]]  # a copy reads and writes
    bounds: dict[str, Sequence[float]] = {"arithmetic": by_arithmetic, "memory": by_memory}
    if "launch" in times:
        bounds["launches"] = times["launch"]
    floors = [max(bound) for bound in zip(*bounds.values(), strict=True)]
    quantities: dict[str, Sequence[float]] = {
        "step, GFLOP": [flop / 1e9] * 2,
        "step, MB": [moved / 1e6] * 2,
        "matrix product, GFLOP/s": [flop / 1e9 / s for s in by_arithmetic],
        "copy, read and written, GB/s": [moved / 1e9 / s for s in by_memory],
        **{f"step by {name}, ms": [1e3 * s for s in bound] for name, bound in bounds.items()},
        "floor of a step (the largest of these), ms": [1e3 * s for s in floors],
        f"floor of an epoch of {STEPS} steps, s": [STEPS * s for s in floors],
        f"floor of {RECIPE.epochs} epochs, s": [RECIPE.epochs * STEPS * s for s in floors],
        "our step / floor": [s / f for s, f in zip(times["step"], floors, strict=True)],
    }
    return [dict(zip(("quantity", "median", "±"), (k, *summary(v)), strict=True)) for k, v in quantities.items()]


def peak_memory(arm: str, sizes: Sizes, device: torch.device) -> float:
    """Bytes at the peak of an arm's first three steps, in a fresh process: a peak cannot be taken back."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, arm, sizes, device).result()


def _peak(arm: str, sizes: Sizes, device: torch.device) -> float:
    data, batch_size = random_data(sizes.epoch_max_count), sizes.batches[0]
    start = _high_water(device)
    if arm == "engine":
        engine = make_engine(data, batch_size, sizes, device, compiled=False)
        images = augment(engine.images, RECIPE.augmentation, torch.Generator())
        for _ in range(3):
            engine.step(images[:batch_size], engine.targets[:batch_size])
    else:
        StraightforwardLoop(data, RECIPE, batch_size, sizes.backbone, device).train(steps=3)
    return _high_water(device) - start


def _high_water(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "linux":  # where `getrusage` of a fresh process starts at the peak of the one that started it
        status = Path("/proc/self/status").read_text()
        return 1024.0 * int(status.split("VmHWM:")[1].split()[0])
    import resource

    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def divergence(
    device: torch.device,
    dataset: str = EXAMPLE,
    losses: Sequence[str] = LOSS_NAMES,
    seeds: int = SEEDS,
    epochs: int = EPOCHS,
) -> Iterator[Table]:
    """Train every loss of the registry with several seeds, and see whether one diverges.

    A run diverges where the mean loss of an epoch, or a logit of the test set after the last one, is not finite. Yields
    the table.

    Raises:
        TrainingError: a run diverged; raised after the table.
        lt_core.data.DataError: the data are not there.
    """
    rows = [_trained(device, dataset, loss, seed, epochs) for loss in losses for seed in range(seeds)]
    title = f"Divergence: {dataset}, recipe {RunConfig(dataset=dataset).recipe}, {epochs} epochs"
    yield Table(title, rows, "Loss: of the last epoch's training, in the loss's own terms. Top-1: on the test set.")
    if bad := [f"{row['loss']} with seed {row['seed']}" for row in rows if row["finite"] == "no"]:
        raise TrainingError(f"{len(bad)} of {len(rows)} runs diverged: {', '.join(bad)}")


def _trained(device: torch.device, dataset: str, loss: str, seed: int, epochs: int) -> dict[str, Any]:
    config = RunConfig(dataset=dataset, loss=loss, seed=seed, epochs=epochs)
    data = load_dataset(dataset)
    trainer = Trainer(config, data, device)
    row: dict[str, Any] = {"loss": loss, "seed": seed, "final loss": None, "top-1, %": None, "finite": "no"}
    for _ in range(epochs):
        try:
            trained = trainer.train_epoch()
        except TrainingError:  # the engine's word for a loss that is not finite
            return row
        trainer.history.append(trained)
    logits = trainer.test_logits()
    row["final loss"] = trained["train_loss"]
    row["top-1, %"] = 100.0 * (logits.argmax(1) == data.test_targets).double().mean().item()
    row["finite"] = "yes" if bool(torch.isfinite(logits).all()) else "no"
    return row


def reading_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """Images a second from JPEG files to normalised batches on the device."""
    with large.in_a_folder() as folder:
        arms = large.reading_arms(Path(folder), device, sizes.large)
        times = interleave(arms, seconds, device)
    width, height = sizes.large.sides
    title = f"Reading {sizes.large.photographs} JPEGs of {width} x {height}, crops of {sizes.large.pixels} pixels"
    yield Table(title, compare(times, sizes.large.photographs, next(iter(arms))))


def features_part(device: torch.device, seconds: float, sizes: Sizes) -> Iterator[Table]:
    """A classifier on features: time and accuracy. It runs once, whatever ``seconds`` is."""
    rows = list(large.features_rows(device, sizes.large))
    total = sum(class_counts(100, sizes.large.largest, min(100, sizes.large.largest)))
    title = f"Classifiers on {total:,} random features of {sizes.large.dimension} dimensions, 100 classes"
    yield Table(title, rows, "Test accuracy on balanced classes; balanced softmax corrects for the training counts.")


PARTS = {
    "augment": augment_part,
    "step": step_part,
    "losses": losses_part,
    "floor": floor_part,
    "reading": reading_part,
    "features": features_part,
}
