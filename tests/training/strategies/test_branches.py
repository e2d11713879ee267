"""BBN: its share at both ends, its two samplers, its network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.training import RunConfig, TrainingError, distributed
from lt_core.training.step import TrainStep
from lt_core.training.strategies import STRATEGIES

CPU = torch.device("cpu")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


def strategy(name: str = "bbn", **values: Any) -> Any:
    torch.manual_seed(0)
    config = RunConfig(**{**SETTING, "epochs": 4, "strategy": name, **values})
    return STRATEGIES[name](config, lt.data.load_dataset("digits_lt"), CPU, "float32")


def batches(run: Any) -> tuple[torch.Tensor, ...]:
    return tuple(part[:16] for part in run.order(torch.Generator().manual_seed(1)))


def test_the_share_falls_from_one_to_the_square_of_the_last_epoch() -> None:
    run, shares = strategy(), []
    for run.epoch in range(4):
        run.train()
        shares.append(float(run.share))
    assert shares == [1.0, 0.9375, 0.75, 0.4375]


def test_in_the_first_epoch_the_reverse_images_have_no_part() -> None:
    run = strategy()
    run.train()
    images, targets, others, labels = batches(run)
    loss, outputs = run.step(images, targets, others, labels)
    again, same = run.step(images, targets, others.flip(0).roll(1, 2), labels.flip(0))
    assert torch.equal(loss, again)
    assert torch.equal(outputs, same)
    loss.backward()
    first, second = run.model.branches
    assert first.conv1.weight.grad.abs().sum() > 0
    assert not second.conv1.weight.grad.any()


@pytest.mark.parametrize("share", [0.2, 0.75])
def test_feature_and_loss_have_the_same_share(share: float) -> None:
    run = strategy()
    run.train()
    run.share.fill_(share)
    images, targets, others, labels = batches(run)
    loss, outputs = run.step(images, targets, others, labels)
    model = run.model
    natural = model.branches[0](model.trunk(run.normalize(images))).mean((2, 3))
    reverse = model.branches[1](model.trunk(run.normalize(others))).mean((2, 3))
    expected = model.classifier(torch.cat([2 * share * natural, 2 * (1 - share) * reverse], 1))
    torch.testing.assert_close(outputs, expected)
    mixed = share * F.cross_entropy(expected, targets) + (1 - share) * F.cross_entropy(expected, labels)
    torch.testing.assert_close(loss, mixed)


def test_at_test_both_branches_see_the_image_with_equal_shares() -> None:
    run = strategy()
    run.model.eval()
    images = run.normalize(run.images[:8])
    halves = run.model(images, images, torch.tensor(0.5))
    torch.testing.assert_close(run.inference(images), halves)
    assert torch.equal(run.predict(run.images[:8]), run.inference(images))


def test_one_sampler_is_the_data_set_and_the_other_prefers_the_rarest() -> None:
    run = strategy()
    _, natural, _, reverse = run.order(torch.Generator().manual_seed(0))
    counts = torch.tensor(run.data.class_counts)
    assert torch.equal(natural.bincount(minlength=10), counts)
    drawn = reverse.bincount(minlength=10).float() / len(reverse)
    assert (drawn - (1 / counts) / (1 / counts).sum()).abs().max() < 0.08
    assert drawn.argmax() == counts.argmin()


@pytest.mark.parametrize(("backbone", "parameters"), [("resnet32", 550_388), ("resnet8", 143_092)])
def test_the_network_is_that_of_the_paper(backbone: str, parameters: int) -> None:
    """With five blocks a stage as many parameters as the released network has; its features have 128 dimensions."""
    run = strategy("two_branches", backbone=backbone, dataset="synthetic")
    model = run.model
    model.classifier = torch.nn.Linear(model.classifier.in_features, 100)
    assert model.classifier.in_features == 128
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_what_it_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="mixing is 'mixup', but strategy 'bbn' needs 'none'"):
        RunConfig(**SETTING, strategy="bbn", mixing="mixup")
    run = strategy()
    monkeypatch.setattr(distributed, "world", lambda: 2)
    with pytest.raises(TrainingError, match="'bbn' works in one process"):
        TrainStep(run, compiled=False)
