"""One run of a grid: its directory, its process, and how far it is."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lt_core import records
from lt_core.training import trial
from lt_core.training.checkpoint import LAST, PREVIOUS
from lt_core.training.recipes import RunConfig


@dataclass
class Run:
    """One run of a grid, and how far it is."""

    config: RunConfig
    folder: Path
    name: str
    state: str = "waiting"  # waiting, running, finished or failed
    error: str = ""
    epoch: int = 0
    top1: float | None = None  # of the last tested epoch
    minutes: float | None = None  # of training where it is finished, else of this session
    speed: float | None = None  # images per second of this session, evaluation and checkpoints included
    process: subprocess.Popen[bytes] | None = None
    _read: int = 0  # time stamp of the history that was read last
    _first: tuple[int, int] | None = None  # epoch and time stamp of the first history of this session
    _began: float = 0.0
    _log_start: int = 0

    @property
    def epochs(self) -> int:
        return int(self.config.epochs or 0)

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        return any((self.folder / name).exists() for name in (LAST, PREVIOUS))

    @property
    def base(self) -> Path | None:
        """Directory of the run that this one starts from, where the grid has it."""
        return None if self.config.base is None else self.folder.parents[1] / self.config.base

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    def fail(self, error: str) -> None:
        self.state, self.error = "failed", error

    def inspect(self) -> None:
        """Find out from the directory whether the run is finished, can be started or resumed, or must be left alone."""
        path = self.folder / "record.json"
        self.read_history()
        self._first = None
        if not path.exists():
            return
        try:
            record = records.load(path)
        except records.RecordError as error:
            if not self.begun:
                self.fail(f"{error}, and there is no checkpoint to make it anew; move {self.folder} away")
            return
        try:
            there = RunConfig.from_stored(record["config"]).to_dict()
        except (ValueError, TypeError) as error:
            self.fail(f"{path} has no configuration of ours: {error}; move {self.folder} away")
            return
        if difference := self.config.difference(there):
            self.fail(f"{path} is of another configuration: {difference}; move {self.folder} away")
            return
        self.state, self.epoch = "finished", self.epochs
        self.top1 = record["final"]["last"]["top1"]
        self.minutes = record["environment"]["seconds"] / 60

    def read_history(self) -> None:
        """Epoch, accuracy and speed from the run's ``history.csv``, which it replaces at every checkpoint."""
        path = self.folder / "history.csv"
        try:
            stamp = path.stat().st_mtime_ns
            if stamp == self._read:
                return
            rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
            epoch, images = int(rows[-1]["epoch"]), int(rows[-1]["images"])
            tested = [float(row["top1"]) for row in rows if row["top1"]]
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return  # there is none yet, or it is damaged; it only tells how far the run is
        self._read, self.epoch, self.top1 = stamp, epoch, tested[-1] if tested else None
        if self._first is None:
            self._first = (epoch, stamp)
        elif stamp > self._first[1]:
            self.speed = images * (epoch - self._first[0]) / (stamp - self._first[1]) * 1e9

    def start(self, command: Sequence[str], env: dict[str, str], keep_open: Sequence[int] = ()) -> None:
        """Start the run's process; its output goes to ``log.txt``."""
        self.write_config()
        with open(self.log, "ab") as log:
            self._log_start = log.tell()
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=env,
                pass_fds=keep_open,
                # Ctrl-C reaches the grid alone, which then ends its runs in order. A group, not a session: Linux shares
                # the processors out among sessions, so that runs of one of their own would lose the grid's `nice`.
                process_group=0,
            )
        self.state, self._began = "running", time.monotonic()

    def write_config(self) -> Path:
        """``config.yaml``, what the run's process reads."""
        import yaml

        path = self.folder / "config.yaml"
        records.write_atomically(path, yaml.safe_dump(self.config.to_dict(), sort_keys=False))
        return path

    def look(self) -> bool:
        """Bring everything up to date; whether the process has ended."""
        assert self.process is not None
        code = self.process.poll()
        self.read_history()
        self.minutes = (time.monotonic() - self._began) / 60
        if code is None:
            return False
        self.process = None
        self.state = "waiting"
        self.inspect()
        if self.state != "waiting":
            return True
        if code < 0:
            self.fail(f"killed by {signal.Signals(-code).name}; see {self.log}")
        else:
            self.fail(trial.last_line(self.log, self._log_start))
        return True

    def stop(self, deadline: float) -> None:
        """Wait for a process that was interrupted, until ``deadline``; then kill it."""
        assert self.process is not None
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C does not wait
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.look()
        if self.state == "failed":
            self.state, self.error = "waiting", ""

    def status(self) -> dict[str, Any]:
        """The run's row of the status table."""
        return {
            "run": self.name,
            "state": self.state,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "top1": "" if self.top1 is None else f"{self.top1:.2f}",
            "minutes": "" if self.minutes is None else f"{self.minutes:.1f}",
            "error": self.error,
        }

    def line(self) -> str:
        """The run's progress, or its end, in a line."""
        if self.state == "failed":
            return f"{self.name}: failed: {self.error}"
        top1 = "–" if self.top1 is None else f"{self.top1:.1f}"
        speed = "–" if self.speed is None else f"{self.speed:,.0f}"
        text = f"{self.name}: epoch {self.epoch}/{self.epochs}, top-1 {top1}, {speed} images/s"
        return f"{text}, finished" if self.state == "finished" else text
