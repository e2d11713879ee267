"""RIDE and what it is compared with: own losses, diversity, the mean that predicts, equal cost."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.losses import class_balanced_weights, expert_diversity, expert_temperatures
from lt_core.training import RunConfig, engine
from lt_core.training.strategies import STRATEGIES

CPU = torch.device("cpu")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64, "epochs": 5}


def strategy(method: str, **values: Any) -> Any:
    torch.manual_seed(0)
    config = RunConfig(**{**SETTING, "method": method, **values})
    return STRATEGIES[config.strategy](config, lt.data.load_dataset(config.dataset), CPU, "float32")


@pytest.mark.parametrize(("method", "factor"), [("ride", 0.45), ("ride_no_diversity", 0.0)])
def test_the_loss_is_the_sum_of_the_experts_less_their_diversity(method: str, factor: float) -> None:
    run = strategy(method)
    images, targets = run.images[::5], run.targets[::5]
    counts = torch.tensor(run.data.class_counts)
    for epoch in (0, 4):  # before re-weighting and after
        run.epoch = epoch
        run.train()
        if epoch == 4:
            run.loss.weight.copy_(class_balanced_weights(counts))
        loss, outputs = run.step(images, targets)
        cosines = run.model(run.normalize(images))
        assert cosines.shape == (len(images), 3, 10)
        torch.testing.assert_close(outputs, cosines.mean(1))
        temperatures = expert_temperatures(counts) if epoch == 4 else torch.ones(10)
        expected = sum(run.loss(cosines[:, k], targets) for k in range(3))
        expected = expected - factor * expert_diversity(30.0 * cosines, temperatures)
        torch.testing.assert_close(loss, expected)


def test_the_mean_of_the_logits_predicts() -> None:
    run = strategy("ride")
    run.model.eval()
    images = run.normalize(run.images[:8])
    torch.testing.assert_close(run.predict(run.images[:8]), 30.0 * run.model(images).mean(1))


def test_the_control_trains_the_mean() -> None:
    run = strategy("ce_experts")
    run.train()
    loss, _ = run.step(run.images[::5], run.targets[::5])
    logits = run.model(run.normalize(run.images[::5]))
    assert logits.abs().max() > 1.5  # cosines times 30
    torch.testing.assert_close(loss, F.cross_entropy(logits.mean(1), run.targets[::5]))
    assert run.observed  # so the record has the pushes of cross-entropy


def test_members_of_an_ensemble_learn_as_if_alone() -> None:
    """Two steps with momentum and decay: every member ends where it ends in a run of its own."""
    both = engine.Trainer(RunConfig(**SETTING, method="ensemble"), lt.data.load_dataset("digits_lt"), CPU)
    alone = []
    for member in both.model.members:
        run = engine.Trainer(RunConfig(**SETTING), lt.data.load_dataset("digits_lt"), CPU, precision="float32")
        network: Any = lt.models.resnet8(10, widths=(11, 23, 43)).to(memory_format=torch.channels_last)
        network.load_state_dict(member.state_dict())
        run.strategy.model = run.strategy.network = run.model = network
        run.step = engine.TrainStep(run.strategy, False)
        alone.append(run)
    for run in (both, *alone):
        run.step.set_learning_rate(0.05)
        run.strategy.train()
        for first in (0, 64):
            run.step(run.images[first : first + 64], run.targets[first : first + 64])
    for member, run in zip(both.model.members, alone, strict=True):
        for name, value in run.model.state_dict().items():
            torch.testing.assert_close(member.state_dict()[name], value, msg=name)


def operations(model: torch.nn.Module) -> int:
    """Multiplications of the convolutions on one 32x32 image."""
    total = 0

    def count(layer: torch.nn.Module, inputs: Any, output: torch.Tensor) -> None:
        nonlocal total
        total += layer.weight[0].numel() * output[0].numel()

    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    model.eval()(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return total


@pytest.mark.parametrize("backbone", ["resnet8", "resnet32"])
def test_the_ensemble_costs_what_the_experts_cost(backbone: str) -> None:
    experts, ensemble = (
        operations(strategy(m, backbone=backbone, dataset="synthetic").model) for m in ("ride", "ensemble")
    )
    one = operations(lt.models.BACKBONES[backbone](10))
    assert experts / one == pytest.approx(1.456, abs=0.01)
    assert ensemble / experts == pytest.approx(1.0, abs=0.01)


def test_the_experts_are_those_of_the_released_code() -> None:
    """ResNet-32 for 100 classes with three experts: 783,856 parameters; they start apart."""
    torch.manual_seed(0)
    networks = [lt.models.resnet32(100, "cosine", widths=(16, 24, 48)) for _ in range(3)]
    model = lt.models.Experts(networks)
    assert sum(p.numel() for p in model.parameters()) == 783_856
    first, second = model.experts[0], model.experts[1]
    assert not torch.equal(first[0].conv1.weight, second[0].conv1.weight)


def test_options_that_make_no_sense_are_refused() -> None:
    for options, match in (
        ({"experts": 1}, "experts is 1"),
        ({"experts": 2.5}, "experts is 2.5"),
        ({"diversity": -0.45}, "diversity is -0.45"),
        ({"tail_factor": 1.0}, "tail_factor is 1"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            RunConfig(**SETTING, strategy="ride", strategy_options=options)
