"""`Plain`: how far training is when an epoch's images are drawn."""

from __future__ import annotations

import pytest
import torch

import lt_core as lt
from lt_core.data.sampling import draw
from lt_core.training import RunConfig, engine

DATA = lt.data.load_dataset("digits_lt")


@pytest.mark.parametrize(("epoch", "progress"), [(0, 0.0), (1, 0.5), (2, 1.0)])
def test_progressive_sampling_goes_from_the_first_epoch_to_the_last(epoch: int, progress: float) -> None:
    config = RunConfig(dataset="digits_lt", recipe="short", batch_size=64, epochs=3, method="progressive")
    strategy = engine.Trainer(config, DATA, torch.device("cpu"), precision="float32").strategy
    strategy.epoch = epoch
    shown = strategy.draw(config.sampler, torch.Generator().manual_seed(0))
    expected = draw("progressive", DATA.train_targets, DATA.class_counts, progress, torch.Generator().manual_seed(0))
    assert torch.equal(shown, expected)
    if progress == 1.0:
        balanced = draw("class_balanced", DATA.train_targets, DATA.class_counts, 1.0, torch.Generator().manual_seed(0))
        assert torch.equal(shown, balanced)
