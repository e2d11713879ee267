"""Second stages that make or choose their data: synthetic features, learned rates."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.data.oversampling import borderline_smote, smote
from lt_core.seeding import set_seed
from lt_core.training import RunConfig, TrainingError, engine
from lt_core.training.base import Base
from lt_core.training.build import build_network
from lt_core.training.trial import train_for

CPU = torch.device("cpu")
DATA = lt.data.load_dataset("digits_lt")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64, "epochs": 2}


def stage(compiled: bool = False, **values: Any) -> engine.Trainer:
    set_seed(5)
    network = build_network(RunConfig(**SETTING), DATA)
    config = RunConfig(**{**SETTING, **values})
    return engine.Trainer(config, DATA, CPU, compiled, precision="float32", base=Base(network.state_dict(), {}))


def own_features(run: engine.Trainer) -> torch.Tensor:
    model: Any = run.model.eval()
    with torch.no_grad():
        return model.features(lt.data.augment.Normalize()(DATA.train_images))


def test_smote_shows_features_of_the_frozen_network_and_synthetic_ones() -> None:
    run = stage(strategy="smote", strategy_options={"neighbors": 3}, seed=4)
    features, targets, *others = run.strategy.order(torch.Generator().manual_seed(0))
    assert not others
    assert features.shape == (304, 64)  # as many as there are images: equal steps
    whole, labels = smote(
        own_features(run), DATA.train_targets, DATA.class_counts, torch.Generator().manual_seed(4), neighbors=3
    )
    rows = {tuple(row) for row in torch.cat([whole, labels[:, None]], 1).tolist()}
    shown = [tuple(row) for row in torch.cat([features, targets[:, None]], 1).tolist()]
    assert set(shown) <= rows
    second, _ = run.strategy.order(torch.Generator().manual_seed(1))
    assert not torch.equal(second, features)


def test_smote_trains_the_classifier_alone_on_them() -> None:
    run = stage(strategy="smote")
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    run.train_epoch()
    moved = {name for name, value in run.model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_borderline_names_the_classes_that_it_skips() -> None:
    run = stage(strategy="borderline_smote")
    targets, counts = DATA.train_targets, DATA.class_counts
    skipped = borderline_smote(own_features(run), targets, counts, torch.Generator().manual_seed(0))[2]
    assert run.strategy.facts() == {"skipped_classes": list(skipped)}
    assert 9 in skipped  # its one image has no neighbour of its class


@pytest.mark.parametrize("strategy", ["smote", "borderline_smote", "bals"])
def test_what_makes_its_own_batches_refuses_a_sampler_and_mixing(strategy: str) -> None:
    for values, needed in (({"sampler": "sqrt"}, "uniform"), ({"mixing": "mixup"}, "none")):
        with pytest.raises(ValueError, match=f"strategy '{strategy}' needs '{needed}'"):
            stage(strategy=strategy, **values)


def rates(**values: Any) -> engine.Trainer:
    run = stage(strategy="bals", loss="balanced_softmax", weight_decay=5e-4, **values)
    run.step.set_learning_rate(0.1)
    run.strategy.train()
    run.batch = run.strategy.order(torch.Generator().manual_seed(0))
    return run


def test_images_are_drawn_by_their_class_rate() -> None:
    strategy: Any = rates().strategy
    with torch.no_grad():
        strategy.weights.copy_(torch.linspace(-2, 2, 10))
    index, ones = strategy.drawn(20_000)
    shares = strategy.targets[index].bincount(minlength=10) / 20_000
    expected = strategy.rates() * strategy.counts
    assert (shares - expected / expected.sum()).abs().max() < 0.015
    assert torch.equal(ones.detach(), torch.ones(20_000))


def test_the_virtual_step_is_the_optimisers_next_step() -> None:
    run = rates()
    strategy: Any = run.strategy
    images, targets = run.batch
    for first in (0, 64):  # the second one has momentum
        part = slice(first, first + 64)
        loss, _ = strategy.step(images[part], targets[part])
        expected = strategy.virtual_step(loss)
        run.step.optimizer.zero_grad()
        loss.backward()
        run.step.optimizer.step()
        for name, value in strategy.model.classifier.named_parameters():
            torch.testing.assert_close(value, expected[name])


def test_the_gradient_of_the_rates_is_that_of_the_draws() -> None:
    """By hand: -lr / B times the sum over the batch of <grad of its loss, grad of the meta loss> d soft_b / d w."""
    run = rates()
    strategy: Any = run.strategy
    classifier, (images, targets) = strategy.model.classifier, run.batch
    images, targets = images[:16], targets[:16]
    state = strategy.generator.get_state()
    strategy.step(images, targets)
    found = strategy.weights.grad.clone()

    with torch.no_grad():
        strategy.weights.zero_()
    strategy.generator.set_state(state)
    noise = -torch.empty(16, 304).exponential_(generator=strategy.generator).log()
    weights = strategy.weights.detach().clone().requires_grad_()
    soft = (F.logsigmoid(weights)[strategy.targets] + noise).softmax(1)
    index = soft.argmax(1)
    parameters = list(classifier.parameters())
    drawn = strategy.features(strategy.normalize(strategy.pool[index]))
    balanced = strategy.features(strategy.normalize(images))
    prior = torch.tensor(DATA.class_counts).log()

    slopes = []
    for row, y in zip(drawn, strategy.targets[index], strict=True):
        loss = F.cross_entropy((classifier(row) + prior)[None], y[None])
        slopes.append(torch.cat([s.flatten() for s in torch.autograd.grad(loss, parameters)]))
    start = torch.cat([p.detach().flatten() for p in parameters])
    moved = start - 0.1 * (torch.stack(slopes).mean(0) + 5e-4 * start)
    moved.requires_grad_()
    scores = balanced @ moved[:640].view(10, 64).T + moved[640:]
    (meta,) = torch.autograd.grad(F.cross_entropy(scores, targets), moved)
    expected = torch.zeros(10)
    for b in range(16):
        (change,) = torch.autograd.grad(soft[b, index[b]], weights, retain_graph=True)
        expected += -0.1 / 16 * (slopes[b] @ meta) * change
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    assert expected.abs().max() > 0


def test_rates_rise_where_the_balanced_batch_gains() -> None:
    """All of the balanced batch is of one class: drawing that class helps, so its rate rises above the others'."""
    run = rates()
    strategy: Any = run.strategy
    images, _ = run.batch
    for _ in range(20):
        loss, _ = strategy.step(images[:64], torch.full((64,), 3))
        assert loss.isfinite()
    assert strategy.rates().argmax() == 3
    assert strategy.rates()[3] > 0.52


def test_the_learned_rates_cannot_be_compiled() -> None:
    with pytest.raises(TrainingError, match="a step of 'bals' cannot be compiled"):
        stage(compiled=True, strategy="bals")


def test_lengths_are_shares_of_the_recipes() -> None:
    lengths = {
        name: RunConfig(dataset="cifar100_lt", method=name).epochs for name in ("crt", "gcl", "bals", "tau_norm")
    }
    assert lengths == {"crt": 10, "gcl": 30, "bals": 31, "tau_norm": 1}


def test_annealing_never_trains_at_zero() -> None:
    recipe = RunConfig(dataset="cifar100_lt", method="crt").ingredients()
    rates_of = [recipe.learning_rate_at(epoch, 10) for epoch in range(10)]
    assert rates_of[0] == pytest.approx(0.1)
    assert rates_of[5] == pytest.approx(0.05)
    assert rates_of[-1] == pytest.approx(0.00245, abs=1e-5)
    assert RunConfig(dataset="cifar100_lt", method="gcl").learning_rate == 0.002


@pytest.mark.parametrize("method", ["smote", "bals", "gcl", "tau_norm"])
def test_the_trial_of_a_grid_takes_what_the_strategy_orders(method: str) -> None:
    config = RunConfig(**SETTING, method=method)
    run = engine.Trainer(config, DATA, CPU, precision="float32")
    run.step.set_learning_rate(0.0)
    assert train_for(run, 0.0) > 0
