"""Many runs on one device: the configurations of a YAML file, trained by several processes at a time, resumable.

Every run is a process of its own, ``train --resume`` in the run's directory, so a grid that was interrupted, or some of
whose runs failed, goes on when the same command is given again. Nothing is ever deleted: a run that cannot go on (a
damaged checkpoint, a directory with another configuration) is reported in the status table.
"""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lt_core import records
from lt_core.training import trial
from lt_core.training.checkpoint import LAST, PREVIOUS
from lt_core.training.configs import load_grid, run_directory
from lt_core.training.engine import TrainingError, pick_device
from lt_core.training.progress import Board, write_status
from lt_core.training.recipes import RunConfig
from lt_core.validation import check_whole

POLL = 0.2  # seconds
STATUS_EVERY = 30.0  # seconds, where no run begins or ends
PATIENCE = 10.0  # seconds that a run has to end by itself when it is interrupted


@dataclass
class Run:
    """One run of a grid, and how far it is."""

    config: RunConfig
    folder: Path
    name: str
    state: str = "waiting"  # waiting, running, finished or failed
    error: str = ""
    epoch: int = 0
    top1: float | None = None  # of the last epoch
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
            if not any((self.folder / name).exists() for name in (LAST, PREVIOUS)):
                self.fail(f"{error}, and there is no checkpoint to make it anew; move {self.folder} away")
            return
        try:
            there = RunConfig.from_dict(record["config"]).to_dict()
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
            row = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))[-1]
            epoch, top1, images = int(row["epoch"]), float(row["top1"]), int(row["images"])
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            return  # there is none yet, or it is damaged; it only tells how far the run is
        self._read, self.epoch, self.top1 = stamp, epoch, top1
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
                start_new_session=True,  # Ctrl-C reaches the grid alone, which then ends its runs in order
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


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold the grid's folder alone. The runs inherit the lock: it also tells of those that outlive a killed grid."""
    import fcntl

    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"another grid, or a run that it left, is at work in {folder}") from None
        except OSError as error:  # some network file systems have no locks
            print(f"note: {folder} cannot be locked ({error.strerror}); start no second grid in it", file=sys.stderr)
        yield file.fileno()


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it is ignored (``nohup``), end the block as Ctrl-C does: with KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        names.append(signal.SIGHUP)
    before = {name: signal.signal(name, signal.default_int_handler) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def run_grid(
    file: str | Path,
    out: str | Path,
    jobs: int | None = None,
    device: str = "auto",
    data_root: str | Path | None = None,
    precision: str = "auto",
) -> list[Run]:
    """Train what is not finished of a grid.

    Args:
        file: YAML file; see `lt_core.training.configs.load_grid`.
        out: the grid's folder; a run lies in ``out/recipe/run_name``. Gets ``status.csv``.
        jobs: runs at a time; None takes what a trial of about a minute shows to be fastest.
        device: "auto", "cpu" or "cuda"; all runs share it.
        data_root: where the data lies; default ``LT_DATA_ROOT``.
        precision: as in `lt_core.training.train`, for the runs that start anew.

    Returns:
        The runs in the file's order; a run that failed has its error, and the others were trained all the same.

    Raises:
        ValueError: a grid file that is not allowed.
        TrainingError: no such device, another grid at work in ``out``, or a trial that does not run.
        KeyboardInterrupt: the grid was interrupted. Its processes have ended, and the next call goes on.
    """
    if jobs is not None:
        check_whole("jobs", jobs, 1)
    place, out = pick_device(device), Path(out)
    root = None if data_root is None else Path(data_root)
    runs = [Run(config, out / run_directory(config), run_directory(config)) for config in load_grid(file)]
    out.mkdir(parents=True, exist_ok=True)
    env = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str((out / ".compile_cache").resolve())}
    with locked(out) as lock, interruptible():
        try:
            for run in runs:
                run.inspect()
            waiting = [run for run in runs if run.state == "waiting"]
            write_status(runs, out / "status.csv")
            if jobs is None:
                log = out / "trial.log"
                jobs = find_jobs(waiting, place.type, device, precision, root, log, env) if len(waiting) > 1 else 1
            env["OMP_NUM_THREADS"] = str(max(1, trial.cores() // jobs))
            arguments = ["--resume", "--device", device, "--precision", precision]
            arguments += [] if root is None else ["--data-root", str(root)]
            train_all(runs, min(jobs, len(waiting)), arguments, env, lock, out / "status.csv")
        finally:
            write_status(runs, out / "status.csv")
    return runs


def find_jobs(
    waiting: Sequence[Run],
    kind: str,
    device: str,
    precision: str,
    root: Path | None,
    log: Path,
    env: dict[str, str],
) -> int:
    """How many runs at a time are fastest, by a trial with the first of them; prints what was measured."""
    tried = trial.candidates(kind, len(waiting))
    if len(tried) == 1:
        return tried[0]
    print(f"trial of --jobs {', '.join(map(str, tried))} with {waiting[0].name}, about a minute", flush=True)
    with trial.Workers(waiting[0].write_config(), device, root, log, env, precision) as workers:
        jobs, rates = trial.choose_jobs(tried, workers.measure)
    print("jobs  images/s (all runs together)")
    for number, rate in rates.items():
        print(f"{number:4d}  {f'{rate:8,.0f}' if rate else 'does not run'}{'  <- taken' if number == jobs else ''}")
    sys.stdout.flush()
    return jobs


def train_all(
    runs: Sequence[Run], jobs: int, arguments: Sequence[str], env: dict[str, str], lock: int, status: Path
) -> None:
    """Keep ``jobs`` processes busy until every waiting run has been tried; leaves none behind, whatever happens."""
    waiting = [run for run in runs if run.state == "waiting"]
    running: list[Run] = []
    written = time.monotonic()
    with Board(runs, jobs, sys.stderr.isatty()) as board:
        try:
            while waiting or running:
                changed = False
                while waiting and len(running) < jobs:
                    run = waiting.pop(0)
                    config = str(run.folder / "config.yaml")
                    command = [sys.executable, "-m", "lt_core", "train", "--config", config, "--out", str(run.folder)]
                    running.append(run)
                    try:
                        run.start([*command, *arguments], env, [lock])
                    except OSError as error:  # a directory that cannot be written
                        running.remove(run)
                        run.fail(str(error))
                        board.say(run.line())
                    changed = True
                for run in [run for run in running if run.look()]:
                    running.remove(run)
                    board.say(run.line())
                    changed = True
                if changed or time.monotonic() - written >= STATUS_EVERY:
                    write_status(runs, status)
                    written = time.monotonic()
                board.show()
                time.sleep(POLL)
        finally:
            stop_all([run for run in running if run.process is not None])


def stop_all(running: Sequence[Run]) -> None:
    """Interrupt the processes and wait until they have ended."""
    for run in running:
        assert run.process is not None
        run.process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + PATIENCE
    for run in running:
        run.stop(deadline)
