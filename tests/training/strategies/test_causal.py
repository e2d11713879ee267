"""Causal norm: what is subtracted, from what, and that it acts at test alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import lt_core as lt
from lt_core.models import CausalNormClassifier
from lt_core.training import RunConfig, engine, train
from lt_core.training.checkpoint import load_checkpoint

SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


def head(alpha: float = 1.5, parts: int = 2) -> CausalNormClassifier:
    torch.manual_seed(0)
    made = CausalNormClassifier(6, 4, alpha, parts).double()
    for _ in range(3):
        made(torch.rand(5, 6, dtype=torch.float64))
    return made.eval()


def features(rows: int = 5) -> torch.Tensor:
    return torch.rand(rows, 6, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_logits_are_those_of_the_docstring(parts: int) -> None:
    made, x = head(parts=parts), features()
    size, expected = 6 // parts, torch.zeros(5, 4, dtype=torch.float64)
    for k in range(parts):
        cut = slice(k * size, (k + 1) * size)
        for i in range(5):
            unit, mean = x[i, cut] / x[i, cut].norm(), made.mean[cut] / made.mean[cut].norm()
            for j in range(4):
                w = made.weight[j, cut]
                z = w @ (unit - 1.5 * (unit @ mean) * mean) / (w.norm() + 1 / 32)
                expected[i, j] += 16 / parts * z.detach()
    torch.testing.assert_close(made(x), expected)


def test_nothing_is_subtracted_in_training_or_with_alpha_zero() -> None:
    made, x = head(), features()
    without = head(alpha=0.0)(x)
    assert not torch.allclose(made(x), without)
    torch.testing.assert_close(made.train()(x), without)


def test_alpha_one_leaves_what_is_orthogonal_to_the_mean() -> None:
    made = head(alpha=1.0)
    x = features()
    before = made(x)
    scaled = torch.cat([made.mean[:3] * 2.0, made.mean[3:] * 0.1])  # along the mean in each part
    torch.testing.assert_close(made(scaled[None]), torch.zeros(1, 4, dtype=torch.float64))
    made.weight.data[:2] = scaled  # rows along the mean answer nothing, the others as before
    torch.testing.assert_close(made(x)[:, :2], torch.zeros(5, 2, dtype=torch.float64))
    torch.testing.assert_close(made(x)[:, 2:], before[:, 2:])


def test_the_mean_forgets_and_only_its_direction_counts() -> None:
    made = CausalNormClassifier(6, 4).double()
    batches = [features(n) for n in (3, 4, 5)]
    for x in batches:
        made(x)
    torch.testing.assert_close(made.mean, sum(0.9 ** (2 - t) * x.mean(0) for t, x in enumerate(batches)))
    made.eval()
    before = made(features())
    made.mean.mul_(7.0)
    torch.testing.assert_close(made(features()), before)
    torch.testing.assert_close(made(3.0 * features()), before)  # nor does the feature's length
    with pytest.raises(ValueError, match="parts is 4; it must divide the 6 features"):
        CausalNormClassifier(6, 4, parts=4)


def test_its_two_rows_train_the_same_network(tmp_path: Path) -> None:
    ends = []
    for method in ("causal_norm", "causal_norm_no_effect"):
        record = train(RunConfig(**SETTING, method=method, epochs=1), tmp_path / method, progress=False)
        ends.append((load_checkpoint(tmp_path / method)["model"], record))
    (first, with_effect), (second, without) = ends
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert with_effect["epochs"][0]["train_loss"] == without["epochs"][0]["train_loss"]
    assert with_effect["epochs"][0]["test_loss"] != without["epochs"][0]["test_loss"]


def test_the_released_network_is_an_option() -> None:
    config = RunConfig(**SETTING, strategy="causal_norm", strategy_options={"network": "two_branches"})
    run: Any = engine.Trainer(config, lt.data.load_dataset("digits_lt"), torch.device("cpu"), precision="float32")
    assert run.model.classifier.weight.shape == (10, 128)
    run.train_epoch()
    assert run.model.classifier.mean.norm() > 0
    with pytest.raises(ValueError, match="classifier is 'cosine', but strategy 'causal_norm' needs 'linear'"):
        RunConfig(**SETTING, strategy="causal_norm", classifier="cosine")
