"""Many runs on one device: the configurations of a YAML file, trained by several processes at a time, resumable.

Every run is a process of its own, ``train --resume`` in the run's directory, so a grid that was interrupted, or some of
whose runs failed, goes on when the same command is given again. Nothing is ever deleted: a run that cannot go on (a
damaged checkpoint, a directory with another configuration) is reported in the status table.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lt_core.training import trial
from lt_core.training.configs import load_grid, run_directory
from lt_core.training.devices import pick_device
from lt_core.training.engine import TEST_EVERY
from lt_core.training.locking import locked
from lt_core.training.progress import Board, write_status
from lt_core.training.run import Run
from lt_core.validation import check_choice, check_whole

# A run asks for the same blocks in every step. By default glibc gives them back to the system in between, and gets them
# anew, zeroed and in small pages: a tenth of a CPU's time. Variables that are set already win.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 31),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(1 << 28),
    "THP_MEM_ALLOC_ENABLE": "1",
}
POLL = 0.2  # seconds
STATUS_EVERY = 30.0  # seconds, where no run begins or ends
PATIENCE = 10.0  # seconds that a run has to end by itself when it is interrupted


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it is ignored (``nohup``), end the block as Ctrl-C does: with KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # Windows has none
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
    test_every: int = 1,
) -> list[Run]:
    """Train what is not finished of a grid.

    Args:
        file: YAML file; see `lt_core.training.configs.load_grid`.
        out: the grid's folder; a run lies in ``out/recipe/run_name``. Gets ``status.csv``.
        jobs: runs at a time; None takes what a trial of about a minute shows to be fastest.
        device: "auto", "cpu" or "cuda"; all runs share it.
        data_root: where the data lies; default ``LT_DATA_ROOT``.
        precision, test_every: as in `lt_core.training.train`, for the runs that start anew.

    Returns:
        The runs in the file's order; a run that failed has its error, and the others were trained all the same.

    Raises:
        ValueError: a grid file that is not allowed.
        TrainingError: no such device, another grid at work in ``out``, or a trial that does not run.
        KeyboardInterrupt: the grid was interrupted. Its processes have ended, and the next call goes on.
    """
    if jobs is not None:
        jobs = check_whole("jobs", jobs, 1)
    test_every = check_choice("test_every", test_every, TEST_EVERY)
    place, out = pick_device(device), Path(out)
    root = None if data_root is None else Path(data_root)
    runs = [Run(config, out / run_directory(config), run_directory(config)) for config in load_grid(file)]
    out.mkdir(parents=True, exist_ok=True)
    env = KEEP_MEMORY | os.environ | {"TORCHINDUCTOR_CACHE_DIR": str((out / ".compile_cache").resolve())}
    with locked(out, "grid, or a run that it left,") as lock, interruptible():
        try:
            for run in runs:
                run.inspect()
            check_bases(runs)
            waiting = [run for run in runs if run.state == "waiting"]
            write_status(runs, out / "status.csv")
            if jobs is None:
                log = out / "trial.log"
                jobs = find_jobs(waiting, place.type, device, precision, root, log, env) if len(waiting) > 1 else 1
            env["OMP_NUM_THREADS"] = str(max(1, trial.cores() // jobs))
            arguments = ["--resume", "--device", device]
            arguments += [] if root is None else ["--data-root", str(root)]
            anew = ["--precision", precision, "--test-every", str(test_every)]
            train_all(runs, min(jobs, len(waiting)), arguments, anew, env, lock, out / "status.csv")
        finally:
            write_status(runs, out / "status.csv")
    return runs


def check_bases(runs: Sequence[Run]) -> None:
    """Raise where a run starts from one that is neither in the grid nor finished in its folder."""
    known = {run.name for run in runs}
    for run in runs:
        if run.base is None or run.config.base in known or (run.base / "record.json").exists():
            continue
        raise ValueError(f"{run.name} starts from {run.config.base}, which is no run of the grid, nor in {run.base}")


def next_run(waiting: Sequence[Run], runs: Sequence[Run]) -> Run | None:
    """The first run that can start: one whose base is finished. A run whose base has failed fails with it."""
    states = {run.name: run.state for run in runs}
    for run in waiting:
        state = "finished" if run.base is None else states.get(str(run.config.base), "finished")
        if state == "finished":
            return run
        if state == "failed":
            run.fail(f"{run.config.base}, which it starts from, has failed")
    return None


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
    runs: Sequence[Run],
    jobs: int,
    arguments: Sequence[str],
    anew: Sequence[str],
    env: dict[str, str],
    lock: int,
    status: Path,
) -> None:
    """Keep ``jobs`` processes busy until every waiting run has been tried; leaves none behind, whatever happens.

    Every run gets the ``arguments``, and one without a checkpoint those of ``anew`` too.
    """
    waiting = [run for run in runs if run.state == "waiting"]
    running: list[Run] = []
    written = time.monotonic()
    with Board(runs, jobs, sys.stderr.isatty()) as board:
        try:
            while waiting or running:
                changed = False
                while len(running) < jobs and (run := next_run(waiting, runs)) is not None:
                    waiting.remove(run)
                    config = str(run.folder / "config.yaml")
                    command = [sys.executable, "-m", "lt_core", "train", "--config", config, "--out", str(run.folder)]
                    command += [*arguments, *([] if run.begun else anew)]
                    command += [] if run.base is None else ["--from", str(run.base)]
                    running.append(run)
                    try:
                        run.start(command, env, [lock])
                    except OSError as error:  # a directory that cannot be written
                        running.remove(run)
                        run.fail(str(error))
                        board.say(run.line())
                    changed = True
                for run in [run for run in waiting if run.state != "waiting"]:  # failed with what it starts from
                    waiting.remove(run)
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
