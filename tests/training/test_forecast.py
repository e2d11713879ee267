"""What a long run says before it begins."""

from __future__ import annotations

import re
import sys

import pytest
import torch

import lt_core as lt
from lt_core.training import devices, forecast

MODULE = sys.modules["lt_core.training.forecast"]  # whose name the function has
CONFIG = lt.training.RunConfig(dataset="synthetic", loss="gala", recipe="short", epochs=30, imbalance_factor=50)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "WARM_UP", 0.0)
    monkeypatch.setattr(MODULE, "MEASURED", 0.0)


@pytest.mark.usefixtures("brief")
def test_a_forecast_names_run_time_device_format_and_batch() -> None:
    line = forecast(CONFIG, device="cpu")
    assert re.fullmatch(rf"{CONFIG.run_name}: (less|about) .* on CPU.* in \w+, 30 epochs in batches of 128", line)


@pytest.mark.usefixtures("brief")
def test_a_t4_is_forecast_in_float16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU of capability 7.5, as Colab lends it, computes no bfloat16; its step runs here on the CPU."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    picked = devices.pick_precision(torch.device("cuda"))
    monkeypatch.setattr("lt_core.training.engine.pick_precision", lambda place, asked: picked)
    monkeypatch.setattr(MODULE, "device_name", lambda place: "Tesla T4")
    assert " on Tesla T4 in float16, 30 epochs in batches of 128" in forecast(CONFIG, device="cpu")


def test_the_first_steps_and_the_test_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling takes a minute once: it must not be counted for every epoch. The test set is."""
    rates = iter([1.0, 100.0])  # images a second, while it compiles and after
    clock = iter([50.0, 57.0])  # around the second prediction
    monkeypatch.setattr(MODULE, "train_for", lambda trainer, seconds: next(rates))
    monkeypatch.setattr(MODULE.time, "perf_counter", lambda: next(clock))
    data = lt.data.load_dataset("synthetic", imbalance_factor=50)
    trainer = MODULE.Trainer(CONFIG, data, torch.device("cpu"))
    assert MODULE.epoch_seconds(trainer) == pytest.approx(len(data.train_targets) / 100 + 7)
    assert trainer.step.optimizer.param_groups[0]["lr"] == 0.0
