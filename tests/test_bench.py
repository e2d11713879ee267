"""The bench: its arithmetic, the shape of its tables on tiny sizes, and its errors; never a timing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from lt_core import bench
from lt_core.bench import loop, roofline
from lt_core.bench.memory import peak_bytes
from lt_core.cli import app
from lt_core.data.augment import MEAN, STD
from lt_core.losses import LOSS_NAMES, build_loss
from lt_core.training import TrainingError
from lt_core.training.strategies import plain

CPU = torch.device("cpu")
TINY = bench.Sizes(
    epoch_max_count=2, step_max_count=2, batches=(32,), classes=(100,), loss_batch=4, backbone="resnet8", matmul=16,
    copy_bytes=1024,
)  # fmt: skip


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny sizes, one call a sample, and no compiler."""
    monkeypatch.setattr(bench, "ON_CPU", TINY)
    monkeypatch.setattr(bench, "SAMPLE", 0.0)
    monkeypatch.setattr(bench, "compiles", lambda device: False)


def values(table: bench.Table, column: str) -> list[Any]:
    return [row[column] for row in table.rows]


def test_median_and_half_the_interquartile_range() -> None:
    assert bench.summary([1.0, 2.0, 3.0, 4.0, 50.0]) == (3.0, 1.0)
    assert bench.summary([7.0, 7.0]) == (7.0, 0.0)


def test_ratios_are_taken_round_by_round() -> None:
    # Both arms get twice as slow in the second round, as on a busy machine: the ratio does not see it.
    times = {"old": [4.0, 8.0, 4.0], "new": [1.0, 2.0, 1.0]}
    old, new = bench.compare(times, 100, "old")
    assert old == {"what": "old", "images/s": 25.0, "speed-up": 1.0, "±": 0.0}
    assert new == {"what": "new", "images/s": 100.0, "speed-up": 4.0, "±": 0.0}
    _, new = bench.compare(times, 100, "old", cost=True)
    assert new == {"what": "new", "images/s": 100.0, "cost / old": 0.25, "±": 0.0}


def test_the_spread_is_that_of_the_ratios() -> None:
    _, new = bench.compare({"old": [2.0, 4.0, 6.0], "new": [1.0, 1.0, 1.0]}, 1, "old")
    assert (new["speed-up"], new["±"]) == (4.0, 1.0)


def test_arms_take_turns_for_the_time_given(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    clock = iter(range(10_000))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: float(next(clock)))  # a second at every look
    times = bench.interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 20.0, CPU)
    rounds = len(times["a"])
    assert "".join(calls) == "aabb" + "ab" * rounds  # of each, one call to warm up and one to see how long it takes
    assert times == {"a": [1.0] * rounds, "b": [1.0] * rounds}
    assert rounds == 5  # a round looks at the clock four times, and from the third on once more to see whether to stop
    few = bench.interleave({"a": lambda: None}, 1e-9, CPU)
    assert len(few["a"]) == bench.MIN_ROUNDS


def test_short_calls_are_repeated_within_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(0.001 * k for k in range(10_000))
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(clock))
    count = 0

    def arm() -> None:
        nonlocal count
        count += 1

    times = bench.interleave({"a": arm}, 1e-9, CPU)
    calls = math.ceil(bench.SAMPLE / 0.001)
    assert abs(count - 2 - bench.MIN_ROUNDS * calls) <= bench.MIN_ROUNDS  # the clock's steps are rounded
    assert times["a"] == pytest.approx([0.001 / calls] * bench.MIN_ROUNDS, rel=0.05)


def test_flop_and_bytes_of_a_small_network_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5))
    images, targets = torch.rand(2, 3, 8, 8), torch.tensor([0, 4])
    flop, moved = roofline.count_step(model, images, targets, itemsize=2)
    convolution, classifier = 2 * 4 * 64 * 3 * 9, 2 * 4 * 64 * 5  # multiply-adds, forward
    assert flop == 2 * (2 * convolution + 3 * classifier)  # the images need no gradient
    image, hidden, out = 2 * 3 * 64, 2 * 4 * 64, 2 * 5
    read_and_written = (2 * image + 2 * hidden) + (3 * hidden + 2 * out)
    parameters = 4 * 3 * 9 + 4 * 64 * 5 + 5
    assert moved == 2 * read_and_written + 32 * parameters


def test_flop_of_resnet32_by_hand() -> None:
    stem = 3 * 16 * 9 * 32**2
    stages = 10 * 16 * 16 * 9 * 32**2 + (16 + 9 * 32) * 32 * 9 * 16**2 + (32 + 9 * 64) * 64 * 9 * 8**2
    classifier = 64 * 100
    flop, moved = roofline.step_arithmetic("resnet32", 3, itemsize=4)
    assert flop == 3 * 2 * (2 * stem + 3 * (stages + classifier))
    _, half = roofline.step_arithmetic("resnet32", 3, itemsize=2)
    parameters = 32 * 470_004
    assert moved - parameters == 2 * (half - parameters)  # activations shrink, parameters do not


def test_the_floor_is_the_largest_bound_of_each_round() -> None:
    sizes = bench.Sizes(matmul=10, copy_bytes=500)  # a product is 2,000 FLOP, a copy moves 1,000 bytes
    times = {"matmul": [1.0, 4.0, 1.0], "copy": [2.0, 2.0, 2.0], "step": [60.0, 60.0, 60.0]}
    rows = {row["quantity"]: row["median"] for row in bench.floor_rows(times, 20_000, 10_000, sizes)}
    assert rows["step by arithmetic, ms"] == 10e3
    assert rows["step by memory, ms"] == 20e3
    assert rows["floor of a step (the largest of these), ms"] == 20e3
    assert rows["our step / floor"] == 3.0  # of 3, 1.5 and 3
    assert rows["copy, read and written, GB/s"] == pytest.approx(500e-9)
    assert rows["matrix product, GFLOP/s"] == pytest.approx(2000e-9)
    assert rows["floor of an epoch of 169 steps, s"] == 169 * 20
    assert rows["floor of 200 epochs, s"] == 200 * 169 * 20
    assert "step by launches, ms" not in rows
    times["launch"] = [30.0, 30.0, 30.0]
    rows = {row["quantity"]: row["median"] for row in bench.floor_rows(times, 20_000, 10_000, sizes)}
    assert rows["step by launches, ms"] == 30e3
    assert rows["floor of a step (the largest of these), ms"] == 30e3


def test_random_data_has_the_class_counts_of_cifar100_lt() -> None:
    data = bench.random_data(500)
    assert len(data.train_images) == 10_847
    assert (max(data.class_counts), min(data.class_counts)) == (500, 5)


def test_the_pil_pipeline_cuts_its_hole_before_it_normalises(monkeypatch: pytest.MonkeyPatch) -> None:
    data = bench.random_data(2)
    monkeypatch.setattr(loop, "cut_hole", lambda image: torch.full_like(image, 0.25))
    image, target = loop.PILImages(data.train_images, data.train_targets)[3]
    assert target == int(data.train_targets[3])
    expected = [(0.25 - mean) / std for mean, std in zip(MEAN, STD, strict=True)]
    torch.testing.assert_close(image, torch.tensor(expected).view(3, 1, 1).expand(3, 32, 32))


def test_cutout_blackens_one_square_that_may_reach_over_the_border() -> None:
    areas = set()
    for _ in range(200):
        hole = loop.cut_hole(torch.ones(3, 32, 32))[0] == 0
        rows, columns = hole.any(dim=1).sum(), hole.any(dim=0).sum()
        assert hole.sum() == rows * columns
        assert 8 <= rows <= 16
        assert 8 <= columns <= 16
        areas.add(int(hole.sum()))
    assert max(areas) == 256
    assert len(areas) > 1


def test_the_straightforward_loop_trains() -> None:
    data = bench.random_data(2)
    straightforward = loop.StraightforwardLoop(data, bench.RECIPE, 32, "resnet8", CPU)
    before = straightforward.model.classifier.weight.detach().clone()
    assert straightforward.load() == len(data.train_images) // 32
    assert math.isfinite(straightforward.train())
    assert not torch.equal(straightforward.model.classifier.weight, before)
    assert straightforward.workers >= 1


def test_augment_part(quick: None) -> None:
    (table,) = bench.measure("cpu", 0.01, "augment")
    assert values(table, "what")[1] == "whole epoch at once"
    assert values(table, "speed-up")[0] == 1.0
    assert min(values(table, "images/s")) > 0


def test_step_part(quick: None) -> None:
    training, memory = bench.measure("cpu", 0.01, "step")
    assert values(training, "what") == ["straightforward loop", "engine, eager"]
    assert 0 < training.rows[1]["augmentation, %"] < 100
    assert values(memory, "what") == ["straightforward loop", "engine"]
    assert memory.rows[0]["share"] == 1.0
    assert min(values(memory, "MB")) > 0
    first, *lines = training.text().splitlines()
    assert first == training.title
    assert len(lines) == 3
    assert "nan" not in training.text().lower()


def test_losses_part_has_every_loss_in_every_mode(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "compiles", lambda device: True)
    monkeypatch.setattr(torch, "compile", lambda call, **options: call)
    tables = list(bench.measure("cpu", 0.01, "losses"))
    assert [table.title.split(",")[:2] for table in tables] == [
        ["Loss alone", " eager"], ["Loss alone", " compiled"], ["Loss in the whole step", " eager"],
    ]  # fmt: skip
    for table in tables:
        assert values(table, "what") == list(LOSS_NAMES)
        assert table.rows[0]["cost / ce"] == 1.0
    eager, compiled, _ = tables
    assert "peak, MB" not in compiled.rows[0]
    peaks = dict(zip(values(eager, "what"), values(eager, "peak, MB"), strict=True))
    scores = 4 * TINY.loss_batch * TINY.classes[0] / 1e6
    assert 2 * scores <= peaks["ce"] < 4 * scores  # log-probabilities, and the gradient
    assert peaks["ce"] == min(peaks.values())


def test_peak_bytes_counts_what_lives_at_one_time() -> None:
    """Three blocks one after the other, two of them at a time; views and what is there before count nothing."""
    there = torch.ones(1000)

    def work() -> None:
        first = there + 1
        second = first * 2
        del first
        third = second.view(10, 100) * 3
        assert third.sum() > 0

    assert peak_bytes(work, [there], torch.device("cpu")) == pytest.approx(2 * 4000, abs=16)
    assert peak_bytes(lambda: there.view(10, 100), [there], torch.device("cpu")) == 0


def test_an_arm_of_a_loss_is_its_forward_and_backward() -> None:
    loss = build_loss("balanced_softmax", [5, 3, 1])
    scores, targets = torch.randn(6, 3, requires_grad=True), torch.tensor([0, 1, 2, 0, 1, 2])
    arm = bench.loss_arm(loss, scores, targets, compiled=False)
    arm()
    arm()  # the second call does not add to the first one's gradient
    (expected,) = torch.autograd.grad(loss(scores, targets), scores)
    assert scores.grad is not None
    torch.testing.assert_close(scores.grad, expected)


def test_floor_part(quick: None) -> None:
    (table,) = bench.measure("cpu", 0.01, "floor")
    assert "A CPU launches no kernels." in table.note
    assert "floor of 200 epochs, s" in values(table, "quantity")
    assert min(values(table, "median")) > 0


def test_reading_part_compares_with_the_usual_loader(
    quick: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LT_WORKERS", "0")
    small = replace(bench.ON_CPU, large=bench.large.LargeSizes(photographs=8, sides=(40, 30), pixels=16, batch_size=3))
    (table,) = bench.measure("cpu", 0.01, "reading", small)
    assert values(table, "what") == ["ImageFolder and DataLoader, this process", "images in files, this process"]
    assert table.rows[0]["speed-up"] == 1.0
    assert table.title == "Reading 8 JPEGs of 40 x 30, crops of 16 pixels"
    files = bench.large.write_photographs(tmp_path, small.large)
    assert [file.parent.name for file in files[:5]] == ["class0", "class1", "class2", "class3", "class0"]


def test_features_part_trains_both_and_reports_accuracies(quick: None) -> None:
    small = replace(bench.ON_CPU, large=bench.large.LargeSizes(largest=100, dimension=64))
    (table,) = bench.measure("cpu", 0.01, "features", small)
    assert values(table, "what") == ["LogisticRegression", "recipe features, ce", "recipe features, balanced_softmax"]
    assert min(values(table, "top-1, %")) > 5  # of 100 classes
    assert min(values(table, "seconds")) > 0


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="not run: no GPU")
def test_floor_part_counts_launches_on_a_gpu() -> None:
    (table,) = bench.measure("cuda", 0.01, "floor", TINY)
    assert "step by launches, ms" in values(table, "quantity")


@pytest.fixture
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two losses of the registry, one seed, two epochs of the small network."""
    values = {"losses": ("ce", "gala"), "seeds": 1, "epochs": 2}
    monkeypatch.setattr(bench, "divergence", partial(bench.divergence, **values))
    monkeypatch.setattr(bench, "RunConfig", partial(bench.RunConfig, recipe="short"))


def test_divergence_part_trains_every_loss_with_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (bench.SEEDS, bench.EPOCHS) == (5, 30)
    seen = []

    def trained(device: torch.device, dataset: str, loss: str, seed: int, epochs: int) -> dict[str, Any]:
        seen.append((dataset, loss, seed, epochs))
        return {"loss": loss, "seed": seed, "finite": "yes"}

    monkeypatch.setattr(bench, "_trained", trained)
    (table,) = bench.measure("cpu", only="divergence")
    assert seen == [(bench.EXAMPLE, loss, seed, 30) for loss in LOSS_NAMES for seed in range(5)]
    assert len(table.rows) == 5 * len(LOSS_NAMES)


def test_divergence_part_says_what_a_run_ends_at(short_runs: None) -> None:
    (table,) = bench.measure("cpu", only="divergence", dataset="synthetic")
    assert [(row["loss"], row["finite"]) for row in table.rows] == [("ce", "yes"), ("gala", "yes")]
    assert all(math.isfinite(row["final loss"]) and 0 <= row["top-1, %"] <= 100 for row in table.rows)
    assert table.title == "Divergence: synthetic, recipe short, 2 epochs"


def test_a_run_that_diverges_fails_the_command_after_the_table(
    short_runs: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    build = plain.build_run_loss

    def broken(config: Any, data: Any) -> Any:
        loss = build(config, data)
        if config.loss == "gala":
            loss.theta[0] = math.inf
        return loss

    monkeypatch.setattr(plain, "build_run_loss", broken)
    out = tmp_path / "bench.json"
    done = CliRunner().invoke(app, ["bench", "--device", "cpu", "--only", "divergence", "--out", str(out)])
    assert done.exit_code != 0
    assert isinstance(done.exception, TrainingError)
    assert str(done.exception) == "1 of 2 runs diverged: gala with seed 0"
    assert "Divergence: " in done.output
    rows = json.loads(out.read_text())["tables"][0]["rows"]
    assert [(row["loss"], row["finite"]) for row in rows] == [("ce", "yes"), ("gala", "no")]


def test_the_help_names_every_part() -> None:
    text = CliRunner().invoke(app, ["bench", "--help"], env={"COLUMNS": "200"}).output
    assert all(part in text for part in (*bench.PARTS, "divergence"))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"only": "all"}, "only is 'all'; allowed are"), ({"seconds": 0}, "seconds is 0"), ({"device": "tpu"}, "device")],
)
def test_impossible_requests_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(bench.measure(**{"device": "cpu", **options}))


def test_a_missing_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="PyTorch sees no GPU"):
        next(bench.measure("cuda"))


def test_the_command_prints_tables_and_saves_figures(quick: None, tmp_path: Path) -> None:
    out = tmp_path / "new" / "bench.json"
    command = ["bench", "--device", "cpu", "--seconds", "0.01", "--only", "floor", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    saved = json.loads(out.read_text())
    (table,) = saved["tables"]
    assert table["title"] in done.output
    assert {"quantity", "median", "±"} == set(table["rows"][0])
    assert {"torch", "device", "threads", "cores", "load"} <= set(saved["environment"])


def test_a_place_that_cannot_be_written_fails_before_the_measuring(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["bench", "--device", "cpu", "--out", str(tmp_path)])
    assert isinstance(done.exception, OSError)
    assert str(tmp_path) in str(done.exception)
