"""How many runs at a time are fastest on this device? A trial of about a minute.

Worker processes train on the run's own data and network for a few seconds, one of them, then two, and so on; the number
with the largest sum of images per second wins. ``python -m lt_core.training.trial`` is such a worker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import islice, repeat
from pathlib import Path

import torch

from lt_core.data.streaming import cores, in_batches
from lt_core.training.build import load_data
from lt_core.training.configs import load_config
from lt_core.training.devices import pick_device
from lt_core.training.engine import Trainer, epoch_generator
from lt_core.training.errors import TrainingError
from lt_core.training.strategies import STRATEGIES

SECONDS = 4.0  # measured for each candidate, after a quarter of it to warm up
BUDGET = 60.0  # seconds after which no further candidate is tried
CLEARLY_SLOWER = 0.9  # of the best so far: more processes would only be slower still


def candidates(device: str, runs: int) -> list[int]:
    """Numbers of processes to try for ``runs`` runs on a device of type "cpu" or "cuda"."""
    if device == "cuda":
        tried = [1, 2, 4, 8]
    else:
        tried = [*(2**k for k in range(cores().bit_length()) if 2**k < cores()), cores()]
    return sorted({min(jobs, runs) for jobs in tried})


def choose_jobs(
    tried: list[int], measure: Callable[[int], float], now: Callable[[], float] = time.monotonic
) -> tuple[int, dict[int, float]]:
    """Measure the candidates in rising order and take the best.

    Args:
        tried: numbers of processes, rising.
        measure: images per second of so many processes together; a `TrainingError` where so many do not fit.
        now: a clock in seconds.

    Returns:
        The best number, and what was measured (0 where so many do not fit). The trial ends early at a candidate that
        is clearly slower than the best so far, or after a minute.

    Raises:
        TrainingError: even the first candidate does not run.
    """
    start = now()
    rates: dict[int, float] = {}
    for jobs in tried:
        if rates and now() - start > BUDGET:
            break
        try:
            rates[jobs] = measure(jobs)
        except TrainingError:
            if not rates:
                raise
            rates[jobs] = 0.0
        if rates[jobs] < CLEARLY_SLOWER * max(rates.values()):
            break
    return max(rates, key=lambda jobs: rates[jobs]), rates


class Workers:
    """Processes that train for some seconds whenever they are told to; a measurement starts those that it lacks.

    Args:
        config: file of the configuration that they train.
        device, data_root: as in `lt_core.training.train`.
        log: file for what they say on stderr.
        env: their environment.
        precision: as in `lt_core.training.train`.
        seconds: that each measurement takes, after a quarter of it to warm up.
    """

    def __init__(
        self,
        config: Path,
        device: str,
        data_root: Path | None,
        log: Path,
        env: Mapping[str, str],
        precision: str = "auto",
        seconds: float = SECONDS,
    ) -> None:
        self.command = [sys.executable, "-m", "lt_core.training.trial", str(config), device, precision]
        self.command.append(str(data_root or ""))
        self.log, self.env, self.seconds = log, env, seconds
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def measure(self, jobs: int) -> float:
        """Images per second of ``jobs`` workers together; `TrainingError` where one of them ends before it answers."""
        if not self.processes:  # the first one starts alone, so that the others find what it compiles
            self._start()
            self._answer(self.processes[0])
        new = [self._start() for _ in range(jobs - len(self.processes))]
        for process in new:
            self._answer(process)
        for process in self.processes[:jobs]:
            self._tell(process, max(1, cores() // jobs))
        return sum(float(self._answer(process)) for process in self.processes[:jobs])

    def _start(self) -> subprocess.Popen[str]:
        with open(self.log, "a", encoding="utf-8") as log:
            process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=dict(self.env),
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def _tell(self, process: subprocess.Popen[str], threads: int) -> None:
        assert process.stdin is not None
        try:
            print(threads, self.seconds, file=process.stdin, flush=True)
        except BrokenPipeError:
            raise TrainingError(f"a trial process ended: {last_line(self.log)}") from None

    def _answer(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise TrainingError(f"a trial process ended: {last_line(self.log)}")
        return line


def last_line(log: Path, start: int = 0) -> str:
    """The last line with text in what a log has from byte ``start`` on, without a leading ``error: ``."""
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else f"nothing is said in {log}"


def train_for(trainer: Trainer, seconds: float) -> float:
    """Images per second of at least one step, and as many as begin within ``seconds``."""
    cuda, batch = trainer.device.type == "cuda", trainer.batch_size
    steps = 10 if cuda else 1  # between two looks at the clock
    pictures, *columns = trainer.strategy.order(epoch_generator(trainer.config.seed, 0))
    parts = [slice(first, first + batch) for first in range(0, max(1, len(pictures) - batch + 1), batch)]
    # Images in files are read anew in each round, as in each epoch of a run.
    once = partial(in_batches, pictures, parts, trainer.device)
    rounds = (pair for _ in repeat(None) for pair in zip(parts, once(), strict=True))
    trainer.strategy.train()
    images, start = 0, time.perf_counter()
    while True:
        for part, batch_images in islice(rounds, steps):
            targets, *others = (column[part] for column in columns)
            trainer.step(batch_images, targets, None, *others)
            images += len(targets)
        if cuda:
            torch.cuda.synchronize(trainer.device)
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return images / elapsed


def work(config_file: str, device: str, precision: str, data_root: str) -> None:
    """A worker: says ``ready``, then answers each line "threads seconds" on stdin with images per second."""
    config, place = load_config(config_file), pick_device(device)
    data = load_data(config, data_root or None)
    trainer = Trainer(
        config, data, place, compiled=place.type == "cuda" and STRATEGIES[config.strategy].compiles, precision=precision
    )
    trainer.step.set_learning_rate(0.0)
    train_for(trainer, 0.0)
    print("ready", flush=True)
    for line in sys.stdin:
        threads, seconds = line.split()
        torch.set_num_threads(int(threads))
        train_for(trainer, float(seconds) / 4)
        print(train_for(trainer, float(seconds)), flush=True)


if __name__ == "__main__":
    work(*sys.argv[1:])
