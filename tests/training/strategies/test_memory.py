"""OLTR and its control: the memory's start and its movement, attention, what learns at which rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import lt_core as lt
from lt_core.models import MemoryClassifier, ModulatedAttention
from lt_core.training import RunConfig, TrainingError, engine, train
from lt_core.training.base import Base

CPU = torch.device("cpu")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


def started(strategy: str = "oltr", **options: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """A trainer of a second stage before its first step, and the weights of the first."""
    torch.manual_seed(3)
    network, data = lt.models.resnet8(10), lt.data.load_dataset("digits_lt")
    weights = network.state_dict()
    config = RunConfig(**SETTING, strategy=strategy, strategy_options=options, sampler="class_balanced", epochs=4)
    return engine.Trainer(config, data, CPU, precision="float32", base=Base(weights, {})), weights


def test_the_memory_starts_at_the_class_means_and_the_rest_at_the_first_stage() -> None:
    run, weights = started()
    model = run.model.eval()
    with torch.no_grad():
        features = model.features(run.strategy.normalize(run.images))
    for c in range(10):
        torch.testing.assert_close(model.classifier.memory[c].detach(), features[run.targets == c].mean(0))
    assert torch.equal(model.classifier.hallucinator.weight, weights["classifier.weight"])
    assert torch.equal(model.classifier.hallucinator.bias, weights["classifier.bias"])
    assert torch.equal(model.blocks[0].conv1.weight, weights["blocks.0.conv1.weight"])


def test_the_classifier_leaves_the_memory_alone() -> None:
    head = MemoryClassifier(6, 4).double()
    x = torch.rand(5, 6, dtype=torch.float64)
    head(x).square().sum().backward()
    assert head.memory.grad is None
    assert head.hallucinator.weight.grad.abs().sum() > 0
    before = head(x)
    head.memory.data[2] = x[0]  # the first feature is a centre: the reach is bounded, nothing is NaN
    after = head(x)
    assert torch.isfinite(after).all()
    assert not torch.allclose(after, before)
    assert (after[0].abs() <= 16).all()


def test_logits_are_those_of_the_docstring() -> None:
    head = MemoryClassifier(6, 4).double()
    x = torch.rand(5, 6, dtype=torch.float64)
    with torch.no_grad():
        for row, z in zip(x, head(x), strict=True):
            shares = head.hallucinator(row).softmax(0)
            added = torch.tanh(head.selector(row)) * sum(shares[c] * head.memory[c] for c in range(4))
            v = 10 / min((row - head.memory[c]).norm() for c in range(4)) * (row + added)
            for j in range(4):
                w = head.weight[j]
                expected = 16 * v.norm() / (1 + v.norm()) * (v @ w) / (v.norm() * w.norm())
                assert float(z[j]) == pytest.approx(float(expected), rel=1e-10)


def test_attention_adds_to_the_map_and_nothing_without_its_mask() -> None:
    layer, maps = ModulatedAttention(8, 12).double(), torch.randn(2, 8, 3, 4, dtype=torch.float64)
    assert layer.mask.weight.abs().sum() > 0  # the released network draws what its layer had set to zero
    assert not torch.allclose(layer(maps), maps)
    nn.init.zeros_(layer.mask.weight)
    assert torch.equal(layer(maps), maps)


@pytest.mark.parametrize("strategy", ["oltr", "further"])
def test_the_old_network_and_the_memory_learn_at_a_tenth_of_the_rate(strategy: str) -> None:
    run, _ = started(strategy)
    run.step.set_learning_rate(0.08)
    rates = {id(p): group["lr"] for group in run.step.optimizer.param_groups for p in group["params"]}
    named = dict(run.model.named_parameters())
    assert len(rates) == len(named)
    for name, parameter in named.items():
        quick = name.startswith("classifier.") and name != "classifier.memory"
        assert rates[id(parameter)] == pytest.approx(0.08 if quick else 0.008), name


def test_the_control_is_the_finished_network_and_differs_from_oltr_in_its_ideas_alone() -> None:
    run, weights = started("further")
    own = run.model.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[name], weights[name]) for name in own)
    setting = {"dataset": "cifar100_lt", "recipe": "short"}
    pair = [RunConfig(**setting, method=name).to_dict() for name in ("oltr", "ce_further")]
    assert {key for key in pair[0] if pair[0][key] != pair[1][key]} == {"method", "strategy", "strategy_options"}
    assert pair[0]["strategy_options"] == {**pair[1]["strategy_options"], "feature_weight": 0.01}


@pytest.mark.parametrize("strategy", ["oltr", "further"])
@pytest.mark.parametrize("batchnorm", ["train", "eval"])
def test_batchnorm_follows_its_option(batchnorm: str, strategy: str) -> None:
    run, weights = started(strategy, batchnorm=batchnorm)
    run.train_epoch()
    moved = not torch.equal(run.model.bn1.running_mean, weights["bn1.running_mean"])
    assert moved == (batchnorm == "train")
    assert not torch.equal(run.model.conv1.weight, weights["conv1.weight"])


def test_the_memory_follows_the_features_without_a_feature_loss_on_them() -> None:
    """The released backward pass draws the centres at full strength, whatever weight the feature loss has."""
    run, _ = started(feature_weight=0.0)
    before = run.model.classifier.memory.detach().clone()
    run.train_epoch()
    assert not torch.allclose(run.model.classifier.memory, before, atol=1e-4)


def test_a_run_of_another_strategy_is_no_first_stage(tmp_path: Path) -> None:
    train(RunConfig(**SETTING, strategy="experts", epochs=1), tmp_path / "experts", progress=False)
    match = "'oltr' starts from a run with strategy 'plain', but that in .* has 'experts'"
    with pytest.raises(TrainingError, match=match):
        train(RunConfig(**SETTING, method="oltr", epochs=1), progress=False, base=tmp_path / "experts")
