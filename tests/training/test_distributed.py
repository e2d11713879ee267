"""Several processes give what one gives: GALA's accumulators, the gradient, the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
from processes import METHOD, free_port
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import lt_core as lt
from lt_core import records
from lt_core.training import RunConfig, distributed, engine

STEPS, BATCH, CLASSES = 50, 32, 6


def batches() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(STEPS, BATCH, 3, 8, 8, generator=generator, dtype=torch.float64)
    targets = torch.multinomial(1.0 / torch.arange(1.0, CLASSES + 1), STEPS * BATCH, True, generator=generator)
    return images, targets.view(STEPS, BATCH)


def fifty_steps(rank: int, world: int) -> dict[str, torch.Tensor]:
    """GALA in float64 on a small network with BatchNorm in eval mode; each process gets its half of every batch."""
    torch.manual_seed(0)
    model: nn.Module = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(256, CLASSES)
    ).double()
    model[1].eval()
    plain = model
    if world > 1:
        model = DistributedDataParallel(model)
    loss = lt.losses.GALALoss(CLASSES).double()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.05, momentum=0.9)
    for images, targets in zip(*batches(), strict=True):
        optimizer.zero_grad()
        loss(model(images[rank::world]), targets[rank::world]).backward()
        optimizer.step()
    return {"theta": loss.theta, "gradient_sum": loss.gradient_sum, "weight": plain[4].weight.detach()}


def worker(rank: int, world: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    torch.save(fifty_steps(rank, world), Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_give_the_accumulators_of_one(tmp_path: Path) -> None:
    single = fifty_steps(0, 1)
    mp.start_processes(worker, (2, free_port(), str(tmp_path)), nprocs=2, start_method=METHOD)
    for rank in (0, 1):
        both = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in single.items():
            torch.testing.assert_close(both[name], value, rtol=1e-6, atol=1e-12, msg=f"{name} on rank {rank}")
    assert single["theta"].min() > 0


def engine_worker(rank: int, world: int, port: int, folder: str, values: dict[str, Any]) -> None:
    """Three engine steps with BatchNorm frozen, so that the parts of a batch do not see different statistics."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if world > 1:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    config, data = RunConfig(dataset="synthetic", **values), lt.data.load_dataset("synthetic")
    trainer = engine.Trainer(config, data, torch.device("cpu"), precision="float32")
    if trainer.loss.weight is not None:
        trainer.loss.weight.copy_(lt.losses.class_balanced_weights(trainer.data.class_counts))
    trainer.step.set_learning_rate(0.01)
    trainer.model.eval()
    order = torch.randperm(len(trainer.images), generator=torch.Generator().manual_seed(1))
    for first in (0, 64, 128):
        whole = order[first : first + (64 if first < 128 else 37)]  # the last batch splits unevenly
        part = whole[rank::world]
        trainer.step(trainer.images[part], trainer.targets[part], trainer.targets[whole])
    if rank == 0:
        torch.save(trainer.model.state_dict(), Path(folder) / f"{world}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("values", [{"loss": "gala"}, {"loss": "ldam", "drw": True}, {"strategy": "experts"}])
def test_two_processes_give_the_gradient_of_the_whole_batch(values: dict[str, Any], tmp_path: Path) -> None:
    """Also with class weights and with a last batch that does not split evenly."""
    values = {**values, "recipe": "short", "epochs": 2, "batch_size": 64}
    engine_worker(0, 1, 0, str(tmp_path), values)
    mp.start_processes(engine_worker, (2, free_port(), str(tmp_path), values), nprocs=2, start_method=METHOD)
    one, two = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in (1, 2))
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-3, atol=1e-5, msg=name)


def epoch_worker(rank: int, world: int, port: int, folder: str) -> None:
    """An epoch that changes nothing, so that every batch meets the same network; its last batch has 47 images."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    if world > 1:
        torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    data = lt.data.load_dataset("synthetic")
    config = RunConfig(dataset="synthetic", recipe="short", epochs=1, batch_size=64, learning_rate=1e-12)
    trainer = engine.Trainer(config, data, torch.device("cpu"), precision="float32")
    trainer.model.eval()
    trainer.strategy.train = lambda: None  # type: ignore[method-assign]
    torch.save(trainer.train_epoch()["train_loss"], Path(folder) / f"{world}{rank}.pt")
    if world > 1:
        torch.distributed.destroy_process_group()


def test_the_mean_loss_of_an_epoch_is_that_of_one_process_where_the_last_batch_is_odd(tmp_path: Path) -> None:
    epoch_worker(0, 1, 0, str(tmp_path))
    mp.start_processes(epoch_worker, (2, free_port(), str(tmp_path)), nprocs=2, start_method=METHOD)
    one, *both = (torch.load(tmp_path / f"{name}.pt", weights_only=True) for name in ("10", "20", "21"))
    assert both == pytest.approx([one, one], rel=1e-5)


def drawing_worker(rank: int, world: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.distributed.init_process_group("gloo", rank=rank, world_size=world)
    drawn = []
    for epoch in (0, 1, 0):
        torch.manual_seed(epoch)
        with distributed.own_draws(7, epoch, torch.device("cpu")):
            drawn.append(torch.rand(3))
    torch.save({"inside": drawn, "after": torch.rand(3)}, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_each_process_draws_noise_of_its_own_and_the_same_when_resumed(tmp_path: Path) -> None:
    mp.start_processes(drawing_worker, (2, free_port(), str(tmp_path)), nprocs=2, start_method=METHOD)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    torch.manual_seed(0)
    with distributed.own_draws(7, 0, torch.device("cpu")):  # alone, nothing is changed
        alone = torch.rand(3)
    for drawn in (first, second):
        torch.testing.assert_close(drawn["after"], alone, rtol=0, atol=0)
        torch.testing.assert_close(drawn["inside"][0], drawn["inside"][2], rtol=0, atol=0)
        assert not torch.equal(drawn["inside"][0], drawn["inside"][1])
        assert not torch.equal(drawn["inside"][0], alone)
    assert not torch.equal(first["inside"][0], second["inside"][0])


def test_the_command_runs_under_torchrun_and_only_the_first_process_writes(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(free_port()), "-m", "lt_core", "train", "--dataset", "synthetic"]
    command += ["--loss", "ce", "--recipe", "short"]
    command += ["--epochs", "2", "--batch-size", "64"]
    done = subprocess.run([*command, "--device", "cpu", "--out", str(out)], capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("record: ") == 1
    record = records.load(out)
    assert record["environment"]["processes"] == 2
    written = {".lock", "record.json", "history.csv", "probabilities.npz", "pushes.npz", "last.pt", "previous.pt"}
    assert {p.name for p in out.iterdir()} == written
    flow = torch.tensor(record["flow"]["first"])
    assert flow.sum() > 100  # the pushes of both processes' images


def test_a_batch_that_does_not_divide_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world", lambda: 3)
    with pytest.raises(ValueError, match="a multiple of the 3 processes"):
        engine.Trainer(
            RunConfig(dataset="synthetic", recipe="short", batch_size=64),
            lt.data.load_dataset("synthetic"),
            torch.device("cpu"),
        )
