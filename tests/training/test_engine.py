"""Training, evaluation and the records they write.

On the digits, whose epoch takes a fifth of the synthetic set's, unless augmentation or the number of classes matters.
"""

from __future__ import annotations

import csv
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core import cli, records
from lt_core.data.augment import Normalize
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES, RANDOM_LOSSES
from lt_core.training import (
    CheckpointError,
    RunConfig,
    TrainingError,
    build_network,
    engine,
    evaluate,
    evaluation,
    recording,
    train,
)
from lt_core.training.evaluation import corrects_counts
from lt_core.training.locking import locked
from lt_core.training.meters import FactorMeter, PushMeter, group_means, loss_gradients
from lt_core.training.strategies import Plain


def config(**values: Any) -> RunConfig:
    return RunConfig(**{"dataset": "digits_lt", "recipe": "short", "epochs": 2, "batch_size": 64, **values})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("runs") / "gala"
    record = train(config(loss="gala", epochs=3), folder, progress=False)
    return folder, record


@dataclass
class Seen:
    """A run, and what its record was foreseen to be."""

    trainer: engine.Trainer
    foreseen: str
    record: dict[str, Any]


@pytest.fixture(scope="module", params=LOSS_NAMES)
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Three epochs of each loss: pushes are measured in the first and the last."""
    sizes: list[str] = []
    trainers: list[engine.Trainer] = []
    check_size, run_epochs = records.check_size, engine.run_epochs

    def check(text: str) -> None:
        sizes.append(text)
        check_size(text)

    def keep(trainer: engine.Trainer, *arguments: Any) -> None:
        assert trainer.history == []
        assert len(sizes) == 1
        trainers.append(trainer)
        run_epochs(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lt_core.training.devices.cpu_has_bfloat16", lambda: False)  # as for every test
        patch.setattr(records, "check_size", check)
        patch.setattr(engine, "run_epochs", keep)
        record = train(config(loss=request.param, epochs=3), tmp_path_factory.mktemp(request.param), progress=False)
    return Seen(*trainers, sizes[0], record)


def test_every_loss_trains(seen: Seen) -> None:
    record = seen.record
    assert all(row["train_loss"] > 0 for row in record["epochs"])
    assert 0 <= record["final"]["last"]["top1"] <= 100


def test_the_size_is_foreseen(seen: Seen) -> None:
    """The filled-in record has the real one's keys, epochs and, within a tenth, its size."""
    shape, real = json.loads(seen.foreseen), seen.record
    assert shape.keys() == real.keys()
    assert shape["epochs"]["epoch"] == [1, 2, 3]
    assert shape["epochs"].keys() == real["epochs"][0].keys()
    assert len(seen.foreseen) == pytest.approx(len(records.dumps(real)), rel=0.1)


def test_the_test_loss_is_plain_cross_entropy_of_what_the_network_says(seen: Seen) -> None:
    """Of logits, or of cosines times the loss's scale: no adjustment, no margin, no draw."""
    run, data = seen.trainer, seen.trainer.data
    run.model.eval()
    with torch.no_grad():
        outputs = run.model(Normalize()(data.test_images))
    scale = 30.0 if run.config.loss in COSINE_LOSSES else 1.0
    expected = F.cross_entropy(scale * outputs, data.test_targets).item()
    assert run.history[-1]["test_loss"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss", ["vs", "gcl", "cosface", "arcface", "sphereface", "eql", "lade"])
def test_a_digits_run_of_the_command_line(loss: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["lt_core", "train", "--dataset", "digits_lt", "--loss", loss, "--epochs", "2"]
    monkeypatch.setattr("sys.argv", [*command, "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    record = records.load(tmp_path / "run")
    assert record["config"]["loss"] == loss
    assert record["config"]["classifier"] == ("cosine" if loss in COSINE_LOSSES else "linear")
    assert len(record["final"]["last"]["per_class"]) == 10
    assert record["epochs"][1]["train_loss"] < record["epochs"][0]["train_loss"]


def test_training_learns_something() -> None:
    record = train(config(epochs=8, batch_size=32), progress=False)
    chance = 100 / len(record["final"]["last"]["per_class"])
    assert record["final"]["best_on_test"]["top1"] > 2 * chance
    assert record["epochs"][-1]["train_loss"] < record["epochs"][0]["train_loss"]


def test_same_seed_same_numbers_and_another_seed_others() -> None:
    """Augmentation, which the digits have none of, included."""
    one, two, other = (train(config(dataset="synthetic", seed=s), progress=False) for s in (0, 0, 1))
    assert one["epochs"] == two["epochs"]
    assert one["final"] == two["final"]
    assert one["epochs"] != other["epochs"]


def test_the_record_on_disk_is_the_one_returned_up_to_rounding(run: tuple[Path, dict[str, Any]]) -> None:
    folder, record = run
    loaded = records.load(folder)
    plain = json.loads(records.dumps(record))
    assert plain["epochs"]["top1"] == [row["top1"] for row in loaded["epochs"]]  # the file has them by column
    assert {**loaded, "epochs": None} == {**plain, "epochs": None}
    assert (folder / "record.json").stat().st_size <= records.MAX_BYTES
    written = {".lock", "record.json", "history.csv", "probabilities.npz", "pushes.npz", "last.pt", "previous.pt"}
    assert {p.name for p in folder.iterdir()} == written


def test_record_holds_what_the_schema_promises(run: tuple[Path, dict[str, Any]]) -> None:
    _, record = run
    last, best = record["final"]["last"], record["final"]["best_on_test"]
    assert [row["epoch"] for row in record["epochs"]] == [1, 2, 3]
    assert last["epoch"] == 3
    assert best["top1"] == max(row["top1"] for row in record["epochs"])
    assert last["top1"] == record["epochs"][-1]["top1"]
    classes = len(last["per_class"])
    assert last["top1"] == pytest.approx(sum(last["per_class"]) / classes, abs=0.06)  # balanced test set
    assert last["balanced_error"] == pytest.approx(100 - last["top1"])
    posthoc = record["posthoc"]
    assert set(posthoc) == {"adjust", "rebalance", "rebalance_best_on_test", "sweep"}
    assert posthoc["rebalance_best_on_test"]["top1"] >= posthoc["rebalance"]["top1"]
    for method in ("adjust", "rebalance"):
        assert posthoc["sweep"][method][posthoc["sweep"]["tau"].index(1.0)] == posthoc[method]["top1"]
        assert 0 <= posthoc[method]["ece"] <= 100
    assert set(record["target_probability"]) == set(records.GROUPS)
    assert [row["epoch"] for row in record["row_ratio"]] == [1, 3]
    assert len(record["row_ratio_per_class"]) == classes
    assert len(record["adjustment"][0]["log_theta"]) == 3
    assert len(record["adjustment_per_class"]["log_theta"]) == classes
    assert {"torch", "commit", "device", "seconds", "images_per_second", "precision"} <= set(record["environment"])


def test_tests_every_few_epochs_change_nothing_but_which_epochs_are_tested() -> None:
    """Ten epochs, tested every fifth and in the last fifth."""
    each = train(config(epochs=10, loss="gala"), progress=False)
    few = train(config(epochs=10, loss="gala"), progress=False, test_every=5)
    for key in ("posthoc", "adjustment", "adjustment_per_class"):
        there = {k: v for k, v in few[key].items() if k != "rebalance_best_on_test"} if key == "posthoc" else few[key]
        here = {k: v for k, v in each[key].items() if k != "rebalance_best_on_test"} if key == "posthoc" else each[key]
        assert there == here
    assert few["final"]["last"] == each["final"]["last"]
    assert [row["train_loss"] for row in few["epochs"]] == [row["train_loss"] for row in each["epochs"]]
    tested = [row["epoch"] for row in few["epochs"] if row["top1"] is not None]
    assert tested == [5, 9, 10]
    assert few["environment"]["test_every"] == 5
    assert each["environment"]["test_every"] == 1
    best = max((row for row in few["epochs"] if row["top1"] is not None), key=lambda row: row["top1"])
    assert few["final"]["best_on_test"]["top1"] == best["top1"]
    short = train(config(epochs=2), progress=False, test_every=5)  # its last fifth has no epoch
    assert short["final"]["best_on_test"]["epoch"] == short["final"]["last"]["epoch"] == 2
    with pytest.raises(ValueError, match="test_every is 3; allowed are 1, 2, 5, 10"):
        train(config(), progress=False, test_every=3)


def test_the_history_of_untested_epochs_has_empty_cells(tmp_path: Path) -> None:
    train(config(epochs=5, batch_size=245), tmp_path, progress=False, test_every=5)
    rows = list(csv.DictReader((tmp_path / "history.csv").open()))
    assert [bool(row["top1"]) for row in rows] == [False, False, False, False, True]
    assert all(float(row["train_loss"]) > 0 for row in rows)


def test_the_test_set_is_run_through_once_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = Plain.predict
    monkeypatch.setattr(Plain, "predict", lambda *a: calls.append(1) or original(*a))
    train(config(epochs=3), tmp_path / "run", progress=False)
    assert len(calls) == 3
    train(config(epochs=3), tmp_path / "run", progress=False, resume=True)  # finished: nothing is computed again
    assert len(calls) == 3


def test_cpu_seconds_are_recorded_beside_wall_seconds(run: tuple[Path, dict[str, Any]]) -> None:
    environment = run[1]["environment"]
    assert 0 < environment["cpu_seconds"] < 1.1 * environment["threads"] * environment["seconds"]


def test_a_record_that_would_be_too_large_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(records, "MAX_BYTES", 2000)
    monkeypatch.setattr(engine.Trainer, "run_epoch", lambda *_: pytest.fail("it trained"))
    with pytest.raises(records.RecordError, match=r"the record has \d+ bytes; at most 2000"):
        train(config(loss="ala"), tmp_path, progress=False)
    assert not (tmp_path / "last.pt").exists()


def test_arrays_are_written_before_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the record is, the run counts as finished: a full disk must not leave it without its arrays."""

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "save_pushes", full)
        with pytest.raises(OSError, match="No space left"):
            train(config(), tmp_path, progress=False)
    assert not (tmp_path / "record.json").exists()
    record = train(config(), tmp_path, progress=False, resume=True)
    assert (tmp_path / "pushes.npz").exists()
    assert records.load(tmp_path)["final"]["last"]["top1"] == pytest.approx(record["final"]["last"]["top1"], abs=1e-4)


def test_a_collapsed_network_gives_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits that are not numbers end no run: the loss becomes null, and every accuracy is a number."""

    def collapsed(self: Plain, images: torch.Tensor) -> torch.Tensor:
        logits = torch.full((len(images), 10), 1e30)
        logits[::2] = float("nan")
        logits[1::4, 3] = float("inf")
        return logits

    monkeypatch.setattr(Plain, "predict", collapsed)
    train(config(loss="gala"), tmp_path, progress=False)
    record = records.load(tmp_path)
    assert [row["test_loss"] for row in record["epochs"]] == [None, None]
    for summary in (record["final"]["last"], record["posthoc"]["adjust"], record["posthoc"]["rebalance"]):
        assert 0 <= summary["top1"] <= 100
        assert all(0 <= accuracy <= 100 for accuracy in summary["per_class"])


def test_underflowing_predictions_are_rebalanced(tmp_path: Path) -> None:
    """A network that gives a class to no test image at all: probabilities of zero, but log scores."""
    logits = torch.zeros(8, 4)
    logits[:, 0] = 4000.0
    targets, counts = torch.arange(8) % 4, [40, 30, 20, 10]
    results = evaluation.posthoc_results(logits, targets, counts)
    assert results["rebalance"]["top1"] == 25.0
    assert all(isinstance(value, float) for value in evaluation.posthoc_sweep(logits, targets, counts)["rebalance"])


def test_numbers_of_numpy_pytorch_and_pandas_become_plain_ones(tmp_path: Path) -> None:
    """Such a run once trained to its end and could then not be written."""
    counts = lt.data.load_dataset("synthetic").class_counts
    given = config(
        dataset="synthetic", epochs=np.int64(1), seed=torch.tensor(3), imbalance_factor=np.float32(100),
        drw=np.bool_(False),
        loss_options={"weight": lt.losses.class_balanced_weights(counts)}, class_order=pd.Series(range(12)),
    )  # fmt: skip
    weight = lt.losses.class_balanced_weights(counts).tolist()
    plain = config(dataset="synthetic", epochs=1, seed=3, loss_options={"weight": weight}, class_order=tuple(range(12)))
    assert given == plain
    assert json.dumps(given.to_dict()) == json.dumps(plain.to_dict() | {"imbalance_factor": 100.0})
    train(given, tmp_path, progress=False)
    assert records.load(tmp_path)["config"]["loss_options"]["weight"] == weight


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"loss_options": {"reduction": "none"}}, "loss_options has 'reduction'"),
        ({"loss_options": {"weight": [1, 2]}, "drw": True}, "drw sets the weights itself"),
        ({"loss_options": {"weight": {3, 4}}}, "weight"),
        ({"loss_options": {1: 2}}, "the key 1"),
        ({"loss_options": {"weight": [1.0, float("nan")]}}, "nan"),
        ({"epochs": np.float64(2.5)}, "epochs is"),
        ({"seed": np.array([1, 2])}, "seed is"),
        ({"drw": "yes"}, "drw is 'yes'"),
    ],
)
def test_what_a_run_cannot_obey_is_refused_with_its_configuration(values: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        config(**values)


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path, "training"), pytest.raises(TrainingError, match="another training is at work in"):
        train(config(), tmp_path, progress=False)
    train(config(epochs=1), tmp_path, progress=False)


def test_a_directory_that_cannot_be_written_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".lock").mkdir()  # stands for any reason why a file cannot be made here
    monkeypatch.setattr(engine.Trainer, "run_epoch", lambda *_: pytest.fail("it trained"))
    with pytest.raises(TrainingError, match="cannot be written"):
        train(config(), tmp_path, progress=False)


def test_tau_needs_a_method(run: tuple[Path, dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"tau is 2\.0 without a post-hoc method"):
        evaluate(run[0], tau=2.0)
    with pytest.raises(ValueError, match="tau is -1"):
        evaluate(run[0], "adjust", tau=-1)


@pytest.mark.parametrize(
    ("method", "done"),
    [
        ("ncm", "the strategy 'ncm'"),
        ("tau_norm", "the strategy 'tau_norm'"),
        ("pc_softmax", "the strategy 'pc_softmax'"),
        ("progressive", "the sampler 'progressive'"),  # which ends class-balanced
        ("fsa", ""),  # adjusting helps it
        ("mixup", ""),
    ],
)
def test_what_corrects_for_the_counts(method: str, done: str) -> None:
    assert corrects_counts(RunConfig(method=method, dataset="digits_lt")) == done


def test_adjusting_what_is_adjusted_already_warns(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="the loss 'gala' corrects for the class counts already"):
        evaluate(run[0], "adjust")
    train(config(loss="ce", drw=True, epochs=1), tmp_path / "drw", progress=False)
    train(config(loss="ce", epochs=1), tmp_path / "ce", progress=False)
    with pytest.warns(UserWarning, match="deferred re-weighting corrects"):
        evaluate(tmp_path / "drw", "adjust")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        evaluate(tmp_path / "ce", "adjust")
        evaluate(run[0], "rebalance")


def test_build_network_gives_the_run_s_network() -> None:
    data = lt.data.load_dataset("digits_lt")
    for loss, scale in (("ce", None), ("ala", 1.0)):
        network = build_network(config(loss=loss), data)
        assert network(torch.zeros(2, 3, 32, 32)).shape == (2, data.num_classes)
        assert getattr(network.classifier, "scale", None) == scale


def test_precision_is_recorded_and_survives_a_resume(tmp_path: Path) -> None:
    record = train(config(loss="gala"), tmp_path, progress=False, precision="bfloat16")
    assert record["environment"]["precision"] == "bfloat16"
    again = train(config(loss="gala"), tmp_path, progress=False, resume=True)  # the checkpoint's precision
    assert again["environment"]["precision"] == "bfloat16"
    assert again["final"] == json.loads(records.dumps(record))["final"]  # which rounds
    assert evaluate(tmp_path)["top1"] == record["final"]["last"]["top1"]
    wide = train(config(loss="gala"), progress=False)
    assert wide["epochs"][0]["train_loss"] == pytest.approx(record["epochs"][0]["train_loss"], rel=0.02)
    assert wide["epochs"] != record["epochs"]


def test_evaluate_repeats_the_records_numbers(run: tuple[Path, dict[str, Any]]) -> None:
    folder, record = run
    assert evaluate(folder) == {k: v for k, v in record["final"]["last"].items() if k != "epoch"}
    for method in ("adjust", "rebalance"):
        with warnings.catch_warnings(action="ignore"):  # of a double correction
            assert evaluate(folder, method) == record["posthoc"][method]
    with warnings.catch_warnings(action="ignore"):
        assert evaluate(folder, "adjust", tau=0.0)["top1"] == record["final"]["last"]["top1"]


def test_checkpoint_holds_galas_accumulators(run: tuple[Path, dict[str, Any]]) -> None:
    folder, record = run
    saved = torch.load(folder / "last.pt", weights_only=True)
    log_theta = torch.log(saved["loss"]["theta"] + 1e-3)
    assert log_theta.tolist() == pytest.approx(record["adjustment_per_class"]["log_theta"], abs=1e-5)


def test_ala_records_its_factors() -> None:
    record = train(config(loss="ala"), progress=False)
    row = record["adjustment"][-1]
    data = lt.data.load_dataset("digits_lt")
    quantity = lt.losses.quantity_factor(data.class_counts)
    counts = torch.tensor(data.class_counts)
    assert row["QF"] == pytest.approx(group_means(quantity, counts, data.class_counts), rel=1e-5, nan_ok=True)
    for low, high in zip(row["DF"], row["A"], strict=True):
        assert (low is None) == (high is None)
        assert low is None or 0 <= low <= 1


def test_drw_switches_the_weights_on_where_the_recipe_says() -> None:
    data = lt.data.load_dataset("digits_lt")
    trainer = engine.Trainer(config(loss="ldam", drw=True, epochs=5), data, torch.device("cpu"))
    for epoch in range(5):
        trainer.run_epoch()
        expected = lt.losses.class_balanced_weights(data.class_counts) if epoch >= 4 else torch.ones(data.num_classes)
        torch.testing.assert_close(trainer.loss.weight, expected.to(trainer.loss.weight))


def test_strong_leaves_out_the_last_partial_batch_and_plain_does_not() -> None:
    data = lt.data.load_dataset("digits_lt")
    n = len(data.train_targets)
    assert n % 64
    for recipe, used in (("strong", n - n % 64), ("plain", n)):
        small = config(recipe=recipe, backbone="resnet8")
        row = engine.Trainer(small, data, torch.device("cpu")).train_epoch()
        assert row["images"] == used


def test_push_meter_is_autograds_gradient() -> None:
    logits = torch.randn(50, 4, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(50) % 4
    meter = PushMeter(4, torch.device("cpu"))
    meter.update(loss_gradients(lt.losses.CrossEntropyLoss(), logits, targets, {}), targets)
    F.cross_entropy(logits, targets, reduction="sum").backward()
    expected = torch.stack([logits.grad[targets == k].sum(0) for k in range(4)])
    torch.testing.assert_close(meter.pushes.double(), expected, rtol=1e-5, atol=1e-5)
    positive, negative = -expected.diagonal(), expected.sum(0) - expected.diagonal()
    torch.testing.assert_close(meter.row_ratio().double(), positive / negative, rtol=1e-5, atol=1e-5)
    flow = torch.tensor(meter.group_flow([200, 200, 50, 5]))
    assert flow.sum() == pytest.approx(float(negative.sum()), rel=1e-5)
    assert flow[0, 2] == pytest.approx(float(expected[:2, 3].sum()), rel=1e-5)


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_pushes_are_the_gradients_of_the_step_and_leave_the_loss_alone(loss: str) -> None:
    """Of a loss that draws, those of its mean, so that the run's draws stay as they are."""
    counts, targets = [50, 10, 2], torch.tensor([0, 0, 1, 2])
    module = lt.losses.build_loss(loss, counts)
    torch.manual_seed(0)
    outputs = (2 * torch.rand(4, 3) - 1).requires_grad_()
    if loss == "gala":
        module(outputs, targets)  # accumulators that are not zero
    buffers = dict(module.named_buffers())
    module.reduction = "sum"
    module.train(loss not in RANDOM_LOSSES)
    (expected,) = torch.autograd.grad(module(outputs, targets), outputs)
    module.train().reduction = "mean"
    drawn = torch.get_rng_state()
    after = {name: buffer.clone() for name, buffer in module.named_buffers()}
    torch.testing.assert_close(loss_gradients(module, outputs, targets, buffers), expected)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert module.training
    assert module.reduction == "mean"
    for name, buffer in module.named_buffers():
        assert torch.equal(buffer, after[name])


def test_the_arrays_beside_a_record(run: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, record = run
    data = lt.data.load_dataset("digits_lt")
    probabilities = records.load_probabilities(folder)
    assert probabilities.shape == (len(data.test_targets), data.num_classes)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(probabilities), dtype=torch.float64))
    top1 = 100 * (probabilities.argmax(1) == data.test_targets).double().mean().item()
    assert top1 == pytest.approx(record["final"]["last"]["top1"], abs=2)  # ties within a step of 0.08 nats
    pushes = records.load_pushes(folder)
    assert pushes["first"].shape == pushes["last"].shape == (data.num_classes, data.num_classes)
    assert (pushes["first"].diagonal() < 0).all()
    own = torch.log_softmax(torch.randn(50, 7, dtype=torch.float64), 1)
    records.save_probabilities(own, tmp_path)
    again = records.load_probabilities(tmp_path).log()
    assert (again - own).abs().max() < 1.5 * records.LOG_STEP
    with pytest.raises(records.RecordError, match="there is no file"):
        records.load_pushes(tmp_path)
    (tmp_path / records.PROBABILITIES).rename(tmp_path / records.PUSHES)
    with pytest.raises(records.RecordError, match="lacks 'first"):
        records.load_pushes(tmp_path)
    (tmp_path / records.PUSHES).write_bytes(b"not an archive")
    with pytest.raises(records.RecordError, match="cannot be read"):
        records.load_pushes(tmp_path)


def test_factor_meter_averages_over_the_images_of_a_class() -> None:
    meter = FactorMeter(3, torch.device("cpu"))
    meter.update({"DF": torch.tensor([1.0, 0.0, 0.5])}, torch.tensor([0, 0, 2]))
    meter.update({"DF": torch.tensor([0.5])}, torch.tensor([2]))
    assert meter.class_means()["DF"].tolist() == [0.5, 0.0, 0.5]


def test_empty_group_is_none_not_zero() -> None:
    assert group_means(torch.ones(2), torch.ones(2), [500, 400]) == [1.0, None, None]


@pytest.mark.parametrize(("epochs", "best", "kept"), [(60, 3, 60), (200, 137, 21), (200, 130, 20), (61, 61, 7)])
def test_recorded_epochs(epochs: int, best: int, kept: int) -> None:
    numbers = recording.recorded_epochs(epochs, best)
    assert len(numbers) == kept
    assert best in numbers
    assert numbers[-1] == epochs


def test_a_directory_that_holds_a_run_is_refused_and_left_alone(run: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = run
    before = (folder / "record.json").read_text()
    with pytest.raises(TrainingError, match="already holds a run"):
        train(config(), folder, progress=False)
    assert (folder / "record.json").read_text() == before


def test_a_diverging_run_stops_and_names_the_epoch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def explode(self: Any, images: torch.Tensor, targets: torch.Tensor, whole: Any) -> tuple[torch.Tensor, ...]:
        return torch.tensor(float("inf")), torch.zeros(len(targets), 10)

    monkeypatch.setattr(engine.TrainStep, "__call__", explode)
    with pytest.raises(TrainingError, match="epoch 1: the training loss is not finite"):
        train(config(), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "record.json").exists()


def test_impossible_requests_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="batch_size is 5000"):
        train(config(recipe="strong", batch_size=5000), progress=False)
    with pytest.raises(ValueError, match="drw defers the weights"):
        train(config(loss="cb", drw=True), progress=False)
    with pytest.raises(ValueError, match="device is 'tpu'"):
        train(config(), device="tpu", progress=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingError, match="PyTorch sees no GPU"):
        train(config(), device="cuda", progress=False)


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "text"])
def test_bad_checkpoints_are_named(run: tuple[Path, dict[str, Any]], tmp_path: Path, damage: str) -> None:
    path = tmp_path / "last.pt"
    if damage == "truncated":
        path.write_bytes((run[0] / "last.pt").read_bytes()[:5000])
    elif damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    elif damage == "text":
        path.write_text("not a checkpoint")
    with pytest.raises(CheckpointError, match=r"last\.pt") as caught:
        evaluate(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.realdata
def test_cifar100_lt_trains(cifar_root: Path) -> None:
    """One epoch of ResNet-8 on the real CIFAR100-LT already beats chance several times over."""
    record = train(config(dataset="cifar100_lt", epochs=1, batch_size=128), data_root=cifar_root, progress=False)
    assert record["final"]["last"]["top1"] > 3
    assert record["final"]["last"]["many"] > record["final"]["last"]["few"]
