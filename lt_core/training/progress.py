"""How far a run or a grid is: live lines on a terminal, plain lines elsewhere, and the status table."""

from __future__ import annotations

import csv
import io
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lt_core import records

if TYPE_CHECKING:
    from lt_core.training.run import Run

STATUS = ("run", "state", "epoch", "epochs", "top1", "minutes", "error")
QUIET = 30.0  # seconds between two progress lines of a grid where stderr is no terminal
LINE_EVERY = 60.0  # seconds between two lines of a run there


def tell(progress: bool | str, text: str) -> None:
    """A line on stderr, where a run shows its ``progress`` in whatever way."""
    if progress:
        print(text, file=sys.stderr, flush=True)


class EpochLines:
    """A line on stderr after an epoch: at most one a minute, and the last one."""

    def __init__(self, epoch: int, epochs: int) -> None:
        self.first, self.epochs = epoch, epochs
        self.began = self.printed = time.monotonic()

    def show(self, row: Mapping[str, Any]) -> None:
        """Tell of the epoch that ended, with its row of the history."""
        now, epoch = time.monotonic(), int(row["epoch"])
        if now - self.printed < LINE_EVERY and epoch < self.epochs:
            return
        self.printed = now
        top1 = "" if row["top1"] is None else f", top-1 {row['top1']:.1f}"
        left = duration((now - self.began) / (epoch - self.first) * (self.epochs - epoch))
        text = f"epoch {epoch}/{self.epochs}: loss {row['train_loss']:.3f}{top1}"
        print(text + (f", {left} left" if epoch < self.epochs else ""), file=sys.stderr, flush=True)


def status_table(runs: Sequence[Run]) -> str:
    """The status of all runs as aligned text."""
    rows = [dict(zip(STATUS, STATUS, strict=True)), *({k: str(v) for k, v in r.status().items()} for r in runs)]
    width = {column: max(len(row[column]) for row in rows) for column in STATUS}
    numbers = ("epoch", "epochs", "top1", "minutes")
    lines = []
    for row in rows:
        cells = [row[c].rjust(width[c]) if c in numbers else row[c].ljust(width[c]) for c in STATUS]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def write_status(runs: Sequence[Run], path: Path) -> None:
    """The same table as a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, STATUS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(run.status() for run in runs)
    records.write_atomically(path, text.getvalue())


@dataclass
class Board:
    """One line for every running run and one for all: kept up to date on a terminal, printed now and then elsewhere."""

    runs: Sequence[Run]
    jobs: int
    live: bool
    bars: list[Any] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def __enter__(self) -> Board:
        from tqdm import tqdm

        self.at_start = sum(run.epoch for run in self.runs)
        self.printed = self.start
        if self.live:
            kwargs: dict[str, Any] = {"bar_format": "{desc}", "leave": False, "file": sys.stderr}
            self.bars = [tqdm(total=1, position=place, **kwargs) for place in range(self.jobs + 1)]
        return self

    def __exit__(self, *_: object) -> None:
        for bar in reversed(self.bars):
            bar.close()

    def say(self, text: str) -> None:
        """A line that stays."""
        from tqdm import tqdm

        if self.live:
            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr, flush=True)

    def show(self) -> None:
        """The lines of progress."""
        running = [run.line() for run in self.runs if run.state == "running"]
        lines = [*running, *[""] * (self.jobs - len(running)), self.overall()]
        if self.live:
            columns = shutil.get_terminal_size().columns - 1
            for bar, line in zip(self.bars, lines, strict=True):
                if bar.desc != line[:columns]:  # a redrawn line is a new one where the cursor cannot go up
                    bar.set_description_str(line[:columns])
        elif time.monotonic() - self.printed >= QUIET:
            self.printed = time.monotonic()
            for line in filter(None, lines):
                self.say(line)

    def overall(self) -> str:
        """How many runs are finished, and how long the others take if their epochs take as long as those so far."""
        finished, failed = (sum(run.state == state for run in self.runs) for state in ("finished", "failed"))
        left = sum(run.epochs - run.epoch for run in self.runs if run.state in ("waiting", "running"))
        done = sum(run.epoch for run in self.runs) - self.at_start
        text = f"{finished} of {len(self.runs)} runs finished" + (f", {failed} failed" if failed else "")
        if done > 0:
            text += f", {duration((time.monotonic() - self.start) * left / done)} left"
        return text


def duration(seconds: float) -> str:
    """``"about 12 min"`` or ``"about 1 h 20 min"``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return "less than a minute"
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min"
