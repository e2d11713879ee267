"""How long a run will take here, told before it begins."""

from __future__ import annotations

import time
from pathlib import Path

from lt_core.training.build import load_data
from lt_core.training.devices import device_name, pick_device
from lt_core.training.engine import Trainer, choose_settings, epoch_generator
from lt_core.training.progress import duration
from lt_core.training.recipes import RunConfig
from lt_core.training.trial import train_for

WARM_UP, MEASURED = 1.0, 3.0  # seconds of steps; the first ones compile, which an epoch's time must not hold


def forecast(
    config: RunConfig, data_root: str | Path | None = None, device: str = "auto", download: bool = False
) -> str:
    """One line: how long `lt_core.training.train` will take for ``config`` here, and on what.

    A network of its own trains for a few seconds, once its step is compiled, and predicts the test set once; it is
    thrown away. Methods with a second stage have no forecast: it starts from a run that must be there.

    Args:
        config: what is to run.
        data_root, device, download: as in `lt_core.training.train`.
    """
    data = load_data(config, data_root, download)
    place = pick_device(device)
    compiled, precision = choose_settings(config, data, place)
    took = duration(int(config.epochs or 0) * epoch_seconds(Trainer(config, data, place, compiled, precision)))
    what = f"{config.epochs} epochs in batches of {config.batch_size}"
    return f"{config.run_name}: {took} on {device_name(place)} in {precision}, {what}"


def epoch_seconds(trainer: Trainer) -> float:
    """Seconds of one epoch with its test, without what only the first one has to do."""
    trainer.step.set_learning_rate(0.0)
    train_for(trainer, WARM_UP)
    steps = len(trainer.targets) / train_for(trainer, MEASURED)
    trainer.strategy.predict(trainer.data.test_images)  # the first time finds its algorithms
    start = time.perf_counter()
    trainer.strategy.order(epoch_generator(trainer.config.seed, 1))
    trainer.strategy.predict(trainer.data.test_images).cpu()
    return steps + time.perf_counter() - start
