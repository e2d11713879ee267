"""The start of a sigmoid classifier: its bias, and that nothing pulls it back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

import lt_core as lt
from lt_core.training import RunConfig, engine

CPU = torch.device("cpu")


def trainer(method: str | None = "cb_focal", **values: Any) -> engine.Trainer:
    config = RunConfig(dataset="digits_lt", recipe="short", batch_size=64, epochs=4, method=method, **values)
    return engine.Trainer(config, lt.data.load_dataset("digits_lt"), CPU, precision="float32")


def test_every_class_starts_at_one_in_ten() -> None:
    bias = trainer().strategy.model.classifier.bias
    assert bias.tolist() == pytest.approx([-math.log(9)] * 10)
    assert torch.sigmoid(bias).tolist() == pytest.approx([0.1] * 10)
    plain = trainer(None, loss="cb_focal").strategy.model
    others = {k: v for k, v in trainer().strategy.model.state_dict().items() if k != "classifier.bias"}
    assert all(torch.equal(plain.state_dict()[k], v) for k, v in others.items())  # the draws are the same


def test_only_the_bias_is_not_decayed() -> None:
    run = trainer(weight_decay=0.5)
    parameters = dict(run.model.named_parameters())
    before = {name: p.detach().clone() for name, p in parameters.items()}
    run.step.set_learning_rate(0.1)
    for p in parameters.values():
        p.grad = torch.zeros_like(p)
    run.step.optimizer.step()
    for name, p in parameters.items():
        kept = 1.0 if name == "classifier.bias" else 1 - 0.1 * 0.5
        torch.testing.assert_close(p.detach(), kept * before[name], msg=name)
    run.step.set_learning_rate(0.02)
    assert [group["lr"] for group in run.step.optimizer.param_groups] == [0.02, 0.02]


def test_a_classifier_without_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="classifier is 'cosine', but strategy 'sigmoid_start' needs 'linear'"):
        trainer(None, strategy="sigmoid_start", classifier="cosine")
    with pytest.raises(ValueError, match="drw defers the weights that the loss 'cb_focal' always has"):
        RunConfig(loss="cb_focal", drw=True)
