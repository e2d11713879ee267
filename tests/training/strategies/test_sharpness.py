"""SAM against its two steps, written out on the weights themselves."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.training import RunConfig, TrainingError, engine, train

CPU = torch.device("cpu")


def trainer(rho: float, strategy: str = "sam", **values: Any) -> engine.Trainer:
    options = {"rho": rho} if strategy == "sam" else {}
    config = RunConfig(
        dataset="digits_lt",
        recipe="short",
        batch_size=64,
        epochs=4,
        strategy=strategy,
        strategy_options=options,
        **values,
    )
    run = engine.Trainer(config, lt.data.load_dataset("digits_lt"), CPU, precision="float32")
    run.strategy.train()
    return run


def test_three_updates_are_those_of_the_two_steps_written_out() -> None:
    """Climb in place, take the gradient there, go back, and let SGD step from below."""
    run, rho = trainer(0.3), 0.3
    model = copy.deepcopy(run.model)
    recipe = run.recipe
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    run.step.set_learning_rate(0.05)
    for first in (0, 64, 128):
        images, targets = run.images[first : first + 64], run.targets[first : first + 64]
        run.step(images, targets)
        x = run.strategy.normalize(images)
        F.cross_entropy(model(x), targets).backward()
        norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
        start = [p.detach().clone() for p in model.parameters()]
        with torch.no_grad():
            for p in model.parameters():
                p.add_(rho / norm * p.grad)
        sgd.zero_grad()
        F.cross_entropy(model(x), targets).backward()
        with torch.no_grad():
            for p, was in zip(model.parameters(), start, strict=True):
                p.copy_(was)
        sgd.step()
        sgd.zero_grad()
    for (name, value), other in zip(run.model.state_dict().items(), model.state_dict().values(), strict=True):
        torch.testing.assert_close(value, other, rtol=1e-3, atol=1e-5, msg=name)  # running statistics too


def test_the_second_pass_is_uphill() -> None:
    losses = []
    for rho in (0.0, 0.05, 0.2):
        run = trainer(rho)
        losses.append(run.strategy.step(run.images[:64], run.targets[:64])[0].item())
    assert losses[0] < losses[1] < losses[2]


def test_without_a_radius_the_weights_go_as_plain_ones() -> None:
    runs = trainer(0.0), trainer(0.0, "plain")
    for run in runs:
        run.run_epoch()
    for (name, p), other in zip(runs[0].model.named_parameters(), runs[1].model.parameters(), strict=True):
        torch.testing.assert_close(p, other, rtol=1e-4, atol=1e-5, msg=name)


def test_a_loss_that_accumulates_sees_a_batch_once() -> None:
    run = trainer(0.05, loss="gala")
    once = trainer(0.0, "plain", loss="gala")
    for one in (run, once):
        one.strategy.step(one.images[:64], one.targets[:64])
    assert run.loss.training
    assert run.loss.theta.sum() == pytest.approx(once.loss.theta.sum().item(), rel=0.5)


def test_it_goes_with_mixing() -> None:
    run = trainer(0.1, mixing="mixup")
    assert run.run_epoch()["train_loss"] > 0


def test_compiling_is_refused() -> None:
    config = RunConfig(dataset="digits_lt", recipe="short", epochs=1, method="sam")
    with pytest.raises(TrainingError, match="a step of 'sam' cannot be compiled; use --compile off"):
        train(config, progress=False, compile="on")
