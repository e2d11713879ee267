"""The runs of one schedule, and how the tables and figures find them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lt_core import layout, records
from lt_core.training.recipes import RECIPES, RunConfig

if TYPE_CHECKING:
    from torch import Tensor

SCHEDULES = {
    "plain": "recipe plain: ResNet-32, 200 epochs",
    "strong": "recipe strong: ResNet-32, 200 epochs, AutoAugment and Cutout",
    "short": "CPU schedule (recipe short): ResNet-8, 40 epochs",
}
# The order of tables and legends; methods that are not named here follow in the order of their runs' names.
METHODS = ("cross-entropy", "cross-entropy (cosine)", "balanced softmax", "LDAM-DRW", "ALA", "GALA")
CHANGES = (
    "backbone", "epochs", "batch_size", "augmentation", "schedule", "learning_rate", "weight_decay", "classifier_init"
)  # fmt: skip


Key = TypeVar("Key", bound=Hashable)  # what names a row


class MissingRuns(records.RecordError):
    """A table or figure needs runs that are not recorded, or a file of the book where there is no clone of it."""


def book_file(name: str) -> Path:
    """A file of the folder ``book`` that a table or figure needs beside the runs.

    Raises:
        MissingRuns: neither the working directory nor the package is in a clone of the book.
    """
    try:
        return records.find_results().parent / name
    except records.RecordError as error:
        raise MissingRuns(f"no book/{name}: {error}") from None


@dataclass(frozen=True)
class Run:
    """One recorded run."""

    folder: Path
    record: Mapping[str, Any]

    @cached_property
    def config(self) -> RunConfig:
        """The run's configuration; a `lt_core.records.RecordError` for one that this version does not have."""
        try:
            return RunConfig.from_stored(self.record["config"])
        except (ValueError, TypeError) as error:
            raise records.RecordError(f"{self.folder / 'record.json'}: config: {error}") from None

    @property
    def method(self) -> str:
        """The method's name, such as ``LDAM-DRW``."""
        return records.label(self.record)

    @property
    def last(self) -> Mapping[str, Any]:
        """Results of the last epoch, the headline."""
        return self.record["final"]["last"]

    @property
    def best(self) -> Mapping[str, Any]:
        """Results of the epoch that is best on the test set, which has therefore seen the test set."""
        return self.record["final"]["best_on_test"]

    @property
    def tested(self) -> list[Mapping[str, Any]]:
        """The recorded epochs that were tested."""
        return [row for row in self.record["epochs"] if row["top1"] is not None]

    @property
    def changes(self) -> dict[str, Any]:
        """What the run has otherwise than its recipe, by the setting's name; empty where nothing differs."""
        recipe = RECIPES[str(self.config.recipe)]
        return {name: value for name in CHANGES if (value := getattr(self.config, name)) != getattr(recipe, name)}

    @property
    def class_counts(self) -> list[int]:
        """Training images of each label, whatever the class order."""
        from lt_core.data import class_counts, counts_in_order
        from lt_core.data.cifar import TUNING, TUNING_COUNT

        largest = TUNING_COUNT if self.config.dataset == TUNING else 500
        largest -= self.config.strategy_options.get("meta_per_class", 0)
        assert self.config.imbalance_factor is not None
        return counts_in_order(class_counts(100, largest, self.config.imbalance_factor), self.config.class_order)

    def probabilities(self) -> Tensor:
        """Test probabilities (10000, 100); a `lt_core.records.RecordError` for a run whose own are not kept."""
        return records.load_probabilities(self.folder)

    def pushes(self) -> dict[str, Tensor]:
        """Pushes (100, 100) of the first and the last epoch; kept for the same runs as the probabilities."""
        return records.load_pushes(self.folder)


class Study:
    """Recorded runs of one recipe on CIFAR100-LT: all of a folder, or a part of them (`only`, ``|``).

    Args:
        folder: holds a folder a run, such as ``book/results/study/short``; its name is the recipe.

    Raises:
        lt_core.records.RecordError: there is no record, one cannot be read or lacks a key (file and key are in the
            message), or one is of another recipe.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.recipe = self.folder.resolve().name
        paths = sorted(self.folder.glob("*/record.json"))
        if not paths:
            raise records.RecordError(f"there is no record at {self.folder}/*/record.json")
        self.runs = [self._read(path) for path in paths]

    def _read(self, path: Path) -> Run:
        run = Run(path.parent, records.load(path))
        if run.config.recipe != self.recipe:
            raise records.RecordError(f"{path} is of recipe {run.config.recipe!r}, not {self.recipe!r}")
        if fault := layout.study_fault(run.record):
            raise records.RecordError(f"{path}: {fault}")
        return run

    def __iter__(self) -> Iterator[Run]:
        return iter(self.runs)

    def __str__(self) -> str:
        return f"{SCHEDULES.get(self.recipe, self.recipe)}; {len(self.runs)} runs, digest {self.digest}"

    def only(self, *methods: str, **conditions: Any) -> Study:
        """The part of the study that `select` gives, as a study: what a page reads, and nothing else.

        Its tables, figures and digest stay as they are when runs of another method, seed, length or class order are
        recorded. Two parts are joined by ``|``.

        Raises:
            MissingRuns: no run is left, or a named method has none.

        Example:
            >>> import lt_core as lt
            >>> study = lt.report.load_study("short")  # doctest: +SKIP
            >>> page = study.only("GALA", seeds=(0, 1, 2)) | study.only("ALA", class_order="any")  # doctest: +SKIP
        """
        return self._part(self.select(*methods, **conditions))

    def __or__(self, other: Study) -> Study:
        if self.folder != other.folder:
            raise ValueError(f"the studies lie in {self.folder} and {other.folder}; parts of one study are needed")
        return self._part([*self.runs, *(run for run in other.runs if run not in self.runs)])

    def _part(self, runs: Iterable[Run]) -> Study:
        part = Study.__new__(Study)
        part.folder, part.recipe = self.folder, self.recipe
        part.runs = sorted(runs, key=lambda run: run.folder)
        return part

    @cached_property
    def digest(self) -> str:
        """Eight hexadecimal digits that change with any record of the study, and with any array beside one."""
        total = hashlib.sha256()
        for path in sorted(path for run in self.runs for path in run.folder.glob("*.*")):
            if path.suffix in (".json", ".npz"):
                total.update(f"{path.relative_to(self.folder)}\n".encode())
                total.update(path.read_bytes())
        return total.hexdigest()[:8]

    def select(
        self,
        *methods: str,
        changes: Mapping[str, Any] | None = None,
        seeds: Sequence[int] | None = None,
        **conditions: Any,
    ) -> list[Run]:
        """Runs by method and configuration, in the order of the methods and then of the seeds.

        Args:
            methods: names such as ``"GALA"``; none stands for all there are.
            changes: what differs from the recipe; default: nothing.
            seeds: these training seeds only, each of which every named method must have; default: all there are.
            conditions: values of configuration keys; those of the canonical experiment are the default
                (``dataset="cifar100_lt"``, ``imbalance_factor=100``, ``subset_seed=0``, ``class_order=None``), and
                None frees a key of them, ``class_order="any"`` that one.

        Raises:
            MissingRuns: no run is left, or a named method has none.
        """
        wanted = {"dataset": "cifar100_lt", "imbalance_factor": 100, "subset_seed": 0, "class_order": None} | conditions
        if wanted["class_order"] == "any":
            del wanted["class_order"]
        wanted = {key: value for key, value in wanted.items() if value is not None or key == "class_order"}
        found = [
            run
            for run in self.runs
            if run.changes == (changes or {})
            and all(getattr(run.config, key) == value for key, value in wanted.items())
            and (not methods or run.method in methods)
            and (seeds is None or run.config.seed in seeds)
        ]
        missing = [name for name in methods if not any(run.method == name for run in found)]
        for name in methods if seeds is not None and not missing else ():
            there = {run.config.seed for run in found if run.method == name}
            missing += [f"{name} at seed {seed}" for seed in seeds or () if seed not in there]
        if missing or not found:
            where = ", ".join(f"{key} {value}" for key, value in {**wanted, **(changes or {})}.items())
            raise MissingRuns(f"no {self.recipe} run of {', '.join(missing) or 'any method'} ({where})")
        order = methods or METHODS
        rank = {name: place for place, name in enumerate(order)}
        return sorted(found, key=lambda run: (rank.get(run.method, len(rank)), run.config.run_name))

    def by_method(self, *methods: str, **conditions: Any) -> dict[str, list[Run]]:
        """`select`, as a mapping from the method's name to its runs."""
        groups: dict[str, list[Run]] = {}
        for run in self.select(*methods, **conditions):
            groups.setdefault(run.method, []).append(run)
        return groups


def load_study(recipe: str, results: str | Path | None = None) -> Study:
    """The recorded study of a recipe.

    Args:
        recipe: "plain", "strong" or "short".
        results: folder with a folder for each recipe; default: ``book/results/study`` of the repository.
    """
    folder = records.find_results() / "study" if results is None else Path(results)
    return Study(folder / recipe)


def seeds(runs: Iterable[Run]) -> dict[int, Run]:
    """Runs by their training seed."""
    return {run.config.seed: run for run in runs}


def setting(runs: Iterable[Run]) -> str:
    """Schedule, precision and processor, imbalance factor and seeds of runs: the line under a table, from the records.

    Raises:
        ValueError: there is no run.
    """
    listed = list(runs)
    if not listed:
        raise ValueError("there is no run to describe")

    def each(values: Iterable[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    environments = [run.record["environment"] for run in listed]
    numbers = sorted({run.config.seed for run in listed})
    return "; ".join(
        (
            each(SCHEDULES.get(str(run.config.recipe), run.config.recipe) for run in listed),
            each(f"{e['precision']} on {e['device']}" for e in environments),
            "imbalance factor " + each(f"{run.config.imbalance_factor:g}" for run in listed),
            f"seed{'s' * (len(numbers) > 1)} " + each(numbers),
        )
    )


def same_seeds(groups: Mapping[Key, Sequence[Run]]) -> tuple[dict[Key, list[Run]], str]:
    """The runs at the seeds that all methods have, and a sentence on what is left out ("" where nothing is).

    Raises:
        MissingRuns: the methods share no seed; the message has each one's.
    """
    by_seed = {name: seeds(runs) for name, runs in groups.items()}
    shared = sorted(set.intersection(*map(set, by_seed.values())))
    if not shared:
        told = "; ".join(f"{name}: {', '.join(map(str, sorted(there)))}" for name, there in by_seed.items())
        raise MissingRuns(f"no seed that all rows have ({told})")
    more = [f"{name}'s seed {seed}" for name, there in by_seed.items() for seed in sorted(there) if seed not in shared]
    kept = {name: [there[seed] for seed in shared] for name, there in by_seed.items()}
    return kept, f"left out, since not all rows have it: {', '.join(more)}" if more else ""
