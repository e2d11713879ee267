"""What every method keeps to: its loss falls if it learns, a resumed run is the uninterrupted one, its record names it.

On the 304 small digits that need no download. A second stage starts from one short run of
cross-entropy, which is trained once.
"""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
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
SETTING = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


def config(name: str, **values: Any) -> RunConfig:
    epochs = 6 if methods.METHODS[name].slow else 2
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
    first_logits: torch.Tensor  # of the test set, after the first epoch
    killed: dict[int, Path] = field(default_factory=dict)  # its folder, as a process that ended then would leave it


@pytest.fixture(scope="module")
def whole(bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Whole]:
    """The run of a method, trained when it is first asked for."""
    runs: dict[str, Whole] = {}
    original = engine.Trainer.run_epoch

    def trained(name: str) -> Whole:
        if name in runs:
            return runs[name]
        run, place = config(name), tmp_path_factory.mktemp("whole")
        folder, killed, logits = place / "run", {}, []
        stops = {1, int(run.epochs or 0) - 1}  # early and late; every epoch writes a checkpoint

        def run_epoch(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
            if self.epoch in stops:
                killed[self.epoch] = Path(shutil.copytree(folder, place / str(self.epoch)))
            row = original(self, bar)
            if self.epoch == 1:
                logits.append(self.test_logits())
            return row

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine.Trainer, "run_epoch", run_epoch)
            record = train(run, folder, progress=False, base=base_of(name, bases))
        assert set(killed) == stops
        runs[name] = Whole(folder, record, *logits, killed)
        return runs[name]

    return trained


@pytest.mark.parametrize("name", OWN)
def test_a_method_trains_resumes_and_records(
    name: str, bases: dict[str, Path], whole: Callable[[str], Whole], tmp_path: Path
) -> None:
    run, base, done = config(name), base_of(name, bases), whole(name)
    record = done.record
    losses = [row["train_loss"] for row in record["epochs"]]
    if STRATEGIES[run.strategy].learns:
        assert losses[-1] < losses[0]
    else:
        assert losses[-1] == pytest.approx(losses[0], rel=1e-5)  # the same network, in another order
    assert records.load(done.folder)["config"]["method"] == name
    assert records.label(record) == methods.METHODS[name].title
    assert ("base" in record) == (base is not None)
    assert evaluate(done.folder)["top1"] == pytest.approx(record["final"]["last"]["top1"])
    for stop, killed in done.killed.items():
        folder = Path(shutil.copytree(killed, tmp_path / str(stop)))
        torch.manual_seed(1234)  # the resumed process has another state of its own
        assert numbers(train(run, folder, progress=False, base=base, resume=True)) == numbers(record)


def test_an_interrupted_method_leaves_what_a_killed_one_does(
    bases: dict[str, Path], whole: Callable[[str], Whole], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception inside `train` may write no more than the end of the process."""
    name, original = "lfme", engine.Trainer.run_epoch

    def interrupted(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
        if self.epoch == 1:
            raise KeyboardInterrupt
        return original(self, bar)

    monkeypatch.setattr(engine.Trainer, "run_epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(config(name), tmp_path / "run", progress=False, base=base_of(name, bases))
    monkeypatch.setattr(engine.Trainer, "run_epoch", original)
    done = whole(name)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {path.name for path in done.killed[1].iterdir()}
    again = train(config(name), tmp_path / "run", progress=False, base=base_of(name, bases), resume=True)
    assert numbers(again) == numbers(done.record)


def test_methods_end_at_different_networks(whole: Callable[[str], Whole]) -> None:
    """No method silently trains another one: after an epoch, all logits differ."""
    ends = {name: whole(name).first_logits for name in OWN}
    # Deferred weights come in the last fifth, and the first epoch of the progressive sampler is uniform.
    early = {name: {**methods.settings(name), "drw": False} for name in OWN}
    early["progressive"]["sampler"] = "uniform"
    names = list(ends)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            if early[one] == early[other]:
                continue
            assert not torch.equal(ends[one], ends[other]), (one, other)


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
