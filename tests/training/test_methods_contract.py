"""What every method keeps to: its loss falls if it learns, a resumed run is the uninterrupted one, its record names it.

On the 304 small digits that need no download. A second stage starts from one short run of
cross-entropy, which is trained once.
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from processes import METHOD, free_port

from lt_core import methods, records
from lt_core.data import load_dataset
from lt_core.training import RunConfig, engine, evaluate, train
from lt_core.training.errors import TrainingError
from lt_core.training.strategies import STRATEGIES

OWN = [name for name in methods.TRAINED if methods.METHODS[name].same_as is None]
# Of each strategy that has methods with deferred weights, the first of them.
DEFERRED = {methods.settings(name)["strategy"]: name for name in OWN[::-1] if methods.settings(name)["drw"]}
SETTING = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


def config(name: str, **values: Any) -> RunConfig:
    """Where weights may be deferred, three epochs: they are on in the last one. A second stage has none."""
    row = methods.METHODS[name]
    epochs = 6 if row.slow else 3 if row.base is None else 2
    return RunConfig(**{**SETTING, "method": name, "epochs": epochs, **values})


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A short first stage for each kind of base, by its settings."""
    folders: dict[str, Path] = {}
    for name in OWN:
        key = repr(sorted(dict(methods.METHODS[name].base or {}).items()))
        if methods.METHODS[name].base is not None and key not in folders:
            folders[key] = tmp_path_factory.mktemp("base")
            first = RunConfig(**SETTING, epochs=2, **methods.base_settings(name))
            train(first, folders[key], progress=False)
    return folders


def base_of(name: str, bases: dict[str, Path]) -> Path | None:
    base = methods.METHODS[name].base
    return None if base is None else bases[repr(sorted(dict(base).items()))]


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "environment"}


@dataclass
class Whole:
    """A run from start to end."""

    folder: Path
    record: dict[str, Any]
    logits: dict[int, torch.Tensor]  # of the test set, after the first epoch and after the last one
    killed: dict[int, Path] = field(default_factory=dict)  # its folder, as a process that ended then would leave it


@pytest.fixture(scope="module")
def whole(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[RunConfig], Whole]:
    """A run of a method, trained when it is first asked for."""
    runs: dict[str, Whole] = {}
    original = engine.Trainer.run_epoch

    def trained(run: RunConfig) -> Whole:
        if run.run_name in runs:
            return runs[run.run_name]
        place, epochs = tmp_path_factory.mktemp("whole"), int(run.epochs or 0)
        folder, killed, logits = place / "run", {}, {}
        stops = {1, epochs - 1}  # early and late; every epoch writes a checkpoint

        def run_epoch(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
            if self.epoch in stops:
                killed[self.epoch] = Path(shutil.copytree(folder, place / str(self.epoch)))
            row = original(self, bar)
            if self.epoch in (1, epochs):
                logits[self.epoch] = self.test_logits()
            return row

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Trainer, "run_epoch", run_epoch)
            record = train(run, folder, progress=False, base=base_of(str(run.method), bases))
        assert set(killed) == stops
        runs[run.run_name] = Whole(folder, record, logits, killed)
        return runs[run.run_name]

    return trained


def check_resumes(run: RunConfig, done: Whole, base: Path | None, place: Path) -> None:
    """From every checkpoint that is kept, a run ends as the uninterrupted one did."""
    for stop, killed in done.killed.items():
        folder = Path(shutil.copytree(killed, place / str(stop)))
        torch.manual_seed(1234)  # the resumed process has another state of its own
        assert numbers(train(run, folder, progress=False, base=base, resume=True)) == numbers(done.record)


@pytest.mark.parametrize("name", OWN)
def test_a_method_trains_resumes_and_records(
    name: str, bases: dict[str, Path], whole: Callable[[RunConfig], Whole], tmp_path: Path
) -> None:
    run, base = config(name), base_of(name, bases)
    done = whole(run)
    record = done.record
    losses = [row["train_loss"] for row in record["epochs"]]
    if run.drw:  # with other weights it is another loss
        losses = losses[: run.ingredients().drw_epoch(len(losses))]
    if STRATEGIES[run.strategy].learns:
        assert losses[-1] < losses[0]
    else:
        assert losses[-1] == pytest.approx(losses[0], rel=1e-5)  # the same network, in another order
    assert records.load(done.folder)["config"]["method"] == name
    assert records.label(record) == methods.METHODS[name].title
    assert ("base" in record) == (base is not None)
    assert evaluate(done.folder)["top1"] == pytest.approx(record["final"]["last"]["top1"])
    check_resumes(run, done, base, tmp_path)


@pytest.mark.parametrize("name", DEFERRED.values())
def test_a_method_resumes_between_two_epochs_with_deferred_weights(
    name: str, whole: Callable[[RunConfig], Whole], tmp_path: Path
) -> None:
    run = config(name, epochs=8)
    done = whole(run)
    assert max(done.killed) > run.ingredients().drw_epoch(8)
    check_resumes(run, done, None, tmp_path)


def test_an_interrupted_method_leaves_what_a_killed_one_does(
    bases: dict[str, Path],
    whole: Callable[[RunConfig], Whole],
    tmp_path: Path,
    interrupted: Callable[[], AbstractContextManager[None]],
) -> None:
    """An exception inside `train` may write no more than the end of the process."""
    name = "lfme"
    with interrupted():
        train(config(name), tmp_path / "run", progress=False, base=base_of(name, bases))
    done = whole(config(name))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in done.killed[1].iterdir()}
    again = train(config(name), tmp_path / "run", progress=False, base=base_of(name, bases), resume=True)
    assert numbers(again) == numbers(done.record)


def test_methods_end_at_different_networks(whole: Callable[[RunConfig], Whole]) -> None:
    """No method silently trains another one: the logits of any two differ after an epoch, or after as many epochs."""
    ends = {name: whole(config(name)).logits for name in OWN}
    for one, other in itertools.combinations(OWN, 2):
        shared = set(ends[one]) & set(ends[other])
        assert any(not torch.equal(ends[one][epoch], ends[other][epoch]) for epoch in shared), (one, other)


def test_bad_options_of_strategies_are_refused() -> None:
    for name, strategy in STRATEGIES.items():
        with pytest.raises(ValueError, match=f"strategy '{name}' has no option 'nonsense'"):
            RunConfig(strategy=name, strategy_options={"nonsense": 1})
        for option in strategy.OPTIONS:
            with pytest.raises((ValueError, TypeError), match=option):
                RunConfig(strategy=name, strategy_options={option: "nonsense"})


def one_epoch_each(rank: int, world: int, port: int, folder: str, given: dict[str, Path | None]) -> None:
    """An epoch of every method in one of two processes; the weights it ends with, or why it was refused."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    data, ends = load_dataset("digits_lt"), {}
    for name, base in given.items():
        run = config(name, epochs=1)
        try:
            weights = engine.prepare_base(run, base, None, train)
            trainer = engine.Trainer(run, data, torch.device("cpu"), precision="float32", base=weights)
        except TrainingError as error:
            ends[name] = str(error)
            continue
        row = trainer.run_epoch()
        assert math.isfinite(row["train_loss"]), name
        ends[name] = torch.cat([p.detach().reshape(-1) for p in trainer.model.parameters()])
    torch.save(ends, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_train_every_method_alike_or_refuse_it(bases: dict[str, Path], tmp_path: Path) -> None:
    given = {name: base_of(name, bases) for name in OWN}
    mp.start_processes(one_epoch_each, (2, free_port(), str(tmp_path), given), nprocs=2, start_method=METHOD)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    refused = {name for name, end in first.items() if isinstance(end, str)}
    for name in OWN:
        if name in refused:
            assert first[name] == second[name]
            assert "one process" in first[name], first[name]
            assert "\n" not in first[name]
        else:
            torch.testing.assert_close(first[name], second[name], rtol=0, atol=0, msg=name)
    alone = {n for n in OWN if not STRATEGIES[config(n).strategy].distributed or config(n).mixing != "none"}
    assert alone <= refused
    assert len(OWN) - len(refused) > 25
