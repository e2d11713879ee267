"""Range loss in a run: what it adds to the loss, and to which features."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.training import RunConfig, engine

CPU = torch.device("cpu")


def strategy(kind: str = "range_loss", **options: Any) -> Any:
    config = RunConfig(dataset="digits_lt", batch_size=64, epochs=2, strategy=kind, strategy_options=options)
    built = engine.Trainer(config, lt.data.load_dataset("digits_lt"), CPU, precision="float32").strategy
    built.train()
    return built


def test_the_loss_is_cross_entropy_plus_the_term_on_features_of_length_one() -> None:
    built = strategy(margin=2.0, intra=0.5)
    images, targets = built.images[:64], built.targets[:64]
    loss, outputs = built.step(images, targets)
    features = F.normalize(built.model.features(built.normalize(images)), dim=1)
    term = lt.losses.range_loss(features, targets, 10, margin=2.0, intra=0.5)
    assert term > 0.1
    torch.testing.assert_close(loss, F.cross_entropy(outputs, targets) + term, rtol=1e-4, atol=1e-5)


def test_without_weights_it_is_the_plain_step() -> None:
    built, plain = strategy(intra=0.0, inter=0.0), strategy("plain")
    images, targets = built.images[:64], built.targets[:64]
    assert torch.equal(built.step(images, targets)[0], plain.step(images, targets)[0])


def test_training_on_it_alone_draws_the_classes_together() -> None:
    """The ratio of distances within classes to those between centres falls."""
    built = strategy(intra=1.0, inter=0.0)
    order = built.draw("class_balanced", torch.Generator().manual_seed(0))[:64]
    images, targets = built.images[order], built.targets[order]
    optimizer = torch.optim.SGD(built.parameters(), lr=0.05)

    def step() -> float:
        term = built.step(images, targets)[0] - F.cross_entropy(built.step(images, targets)[1], targets)
        optimizer.zero_grad()
        term.backward()
        optimizer.step()
        return float(term)

    terms = [step() for _ in range(6)]
    assert terms[-1] < 0.8 * terms[0]


def test_the_step_is_one_graph() -> None:
    torch._dynamo.reset()
    built = strategy()
    images, targets = built.images[:64], built.targets[:64]
    expected, _ = built.step(images, targets)
    found, _ = torch.compile(built.step, fullgraph=True, backend="eager")(images, targets)
    torch.testing.assert_close(found, expected)


def test_mixing_is_refused() -> None:
    with pytest.raises(ValueError, match="mixing is 'mixup', but strategy 'range_loss' needs 'none'"):
        RunConfig(dataset="digits_lt", strategy="range_loss", mixing="mixup")
