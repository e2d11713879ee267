"""On a GPU: the numbers of the CPU, one compiled step, every method trained. ``pytest -m cuda`` runs these alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch

import lt_core as lt
from lt_core import methods
from lt_core.data.augment import augment
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES, build_loss
from lt_core.training import RunConfig, engine, evaluate, train

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: no GPU"),
]
GPU = torch.device("cuda")
COUNTS = [60, 25, 9, 3]
OWN = [name for name in methods.TRAINED if methods.METHODS[name].same_as is None]
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64, "epochs": 2}


@pytest.fixture
def exact(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Products and convolutions in plain float32, always by the same kernels, and sums always in the same order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)


def loss_and_gradient(name: str, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Of eight samples in eval mode, where no loss draws; after a step in train mode, for those with a state."""
    generator = torch.Generator().manual_seed(3)
    scores = (torch.rand(8, len(COUNTS), generator=generator) * 1.8 - 0.9).to(device)
    targets = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3], device=device)
    loss = build_loss(name, COUNTS).to(device)
    if name == "gala":  # its state is a function of what it has seen, and no draw
        loss(scores.clone().requires_grad_(), targets).backward()
    loss.eval()
    leaf = scores.clone().requires_grad_()
    value = loss(leaf, targets)
    value.backward()
    assert leaf.grad is not None
    return value.detach().cpu(), leaf.grad.cpu()


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_losses_and_gradients_are_those_of_the_cpu(name: str) -> None:
    torch.manual_seed(0)
    expected = loss_and_gradient(name, torch.device("cpu"))
    torch.manual_seed(0)
    torch.testing.assert_close(loss_and_gradient(name, GPU), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("kind", "allowed"), [("crop_flip", 0.0), ("autoaugment", 0.1)])
def test_an_epoch_is_augmented_as_on_the_cpu(kind: str, allowed: float) -> None:
    images = torch.randint(256, (500, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    there, here = (augment(images.to(d), kind, torch.Generator().manual_seed(2)).cpu().int() for d in ("cuda", "cpu"))
    assert (there - here).abs().double().mean() <= allowed  # of 255 grey values; what rounds may round otherwise


def trained_epoch(loss: str, compiled: bool, precision: str) -> float:
    config = RunConfig(loss=loss, **SETTING)
    run = engine.Trainer(config, lt.data.load_dataset("digits_lt"), GPU, compiled, precision)
    return float(run.train_epoch()["train_loss"])


@pytest.mark.parametrize("loss", ["ce", "gala", "ala", "ldam"])
def test_a_compiled_epoch_has_the_eager_loss(loss: str, exact: None) -> None:
    eager = trained_epoch(loss, False, "float32")
    assert trained_epoch(loss, True, "float32") == pytest.approx(eager, rel=2e-3)
    assert trained_epoch(loss, True, "bfloat16") == pytest.approx(eager, rel=0.1)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("loss", ["ce", "gala", "ala", "gcl"])
def test_replayed_steps_are_the_launched_ones(loss: str, compiled: bool, exact: None) -> None:
    """Over two epochs, so over two learning rates: the losses, the parameters, and what the loss accumulates."""

    def trained(captures: bool) -> engine.Trainer:
        data = lt.data.load_dataset("digits_lt")
        run = engine.Trainer(RunConfig(loss=loss, **SETTING), data, GPU, compiled, "float32")
        run.step.captures = captures
        for _ in range(2):
            run.history.append(run.train_epoch())
        assert (run.step.graph is not None) == captures
        return run

    launched, replayed = trained(False), trained(True)
    for row, expected in zip(replayed.history, launched.history, strict=True):
        assert row["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-3)
    there, here = (dict(run.loss.named_buffers()) for run in (replayed, launched))
    torch.testing.assert_close(there, here, rtol=1e-3, atol=1e-5)
    for parameter, aim in zip(replayed.model.parameters(), launched.model.parameters(), strict=True):
        assert (parameter - aim).norm() <= 0.02 * aim.norm() + 1e-6


def test_a_resumed_run_is_the_uninterrupted_one(
    tmp_path: Path, exact: None, interrupted: Callable[[], AbstractContextManager[None]]
) -> None:
    config = RunConfig(loss="gala", **SETTING)
    whole = train(config, tmp_path / "whole", device="cuda", progress=False, compile="off")
    with interrupted():
        train(config, tmp_path / "run", device="cuda", progress=False, compile="off")
    again = train(config, tmp_path / "run", device="cuda", progress=False, resume=True)
    assert again["final"]["last"]["top1"] == pytest.approx(whole["final"]["last"]["top1"], abs=0.5)
    assert again["epochs"][-1]["train_loss"] == pytest.approx(whole["epochs"][-1]["train_loss"], rel=1e-3)
    assert evaluate(tmp_path / "run", device="cuda")["top1"] == pytest.approx(again["final"]["last"]["top1"], abs=0.5)


@pytest.mark.parametrize("name", OWN)
def test_every_method_trains(name: str) -> None:
    epochs = 6 if methods.METHODS[name].slow else 2
    record = train(RunConfig(method=name, **{**SETTING, "epochs": epochs}), device="cuda", progress=False)
    assert record["environment"]["precision"] == "bfloat16" or torch.cuda.get_device_capability() < (8, 0)
    assert all(row["train_loss"] is not None for row in record["epochs"])
    assert record["final"]["last"]["top1"] > 15  # of ten digits


def test_cosine_losses_meet_half_precision() -> None:
    """A cosine of 1.001 after half precision is clamped, not refused: one step at the edge for each loss on cosines."""
    for name in COSINE_LOSSES:
        cosines = torch.full((4, len(COUNTS)), 1.001, device=GPU, dtype=torch.bfloat16).float().requires_grad_()
        build_loss(name, COUNTS).to(GPU)(cosines, torch.tensor([0, 1, 2, 3], device=GPU)).backward()
        assert cosines.grad is not None
        assert cosines.grad.isfinite().all()
