"""Kill and resume: the numbers are those of the uninterrupted run, and damage is named, never guessed around."""

from __future__ import annotations

import json
import lzma
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import start, wait_for

from lt_core import records
from lt_core.training import CheckpointError, RunConfig, TrainingError, engine, train

CONFIG = RunConfig(dataset="synthetic", loss="gala", recipe="strong", backbone="resnet8", epochs=6, batch_size=64)


def numbers(record: dict[str, Any]) -> dict[str, Any]:
    """All of a record but its environment (times)."""
    return {key: value for key, value in json.loads(records.dumps(record)).items() if key != "environment"}


class Whole:
    """The uninterrupted run: its numbers, and its folder after some of its epochs."""

    def __init__(self, place: Path) -> None:
        self.place = place
        original = engine.Trainer.run_epoch

        def run_epoch(trainer: engine.Trainer, bar: Any = None) -> dict[str, Any]:
            if trainer.epoch in (1, 2, 5):
                shutil.copytree(place / "run", place / str(trainer.epoch))
            return original(trainer, bar)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("lt_core.training.devices.cpu_has_bfloat16", lambda: False)  # as for every test
            patch.setattr(engine.Trainer, "run_epoch", run_epoch)
            self.numbers = numbers(train(CONFIG, place / "run", progress=False, resume=True))

    def stopped(self, folder: Path, epochs: int) -> None:
        """Make ``folder`` what a process leaves that ends after so many epochs."""
        shutil.copytree(self.place / str(epochs), folder, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(tmp_path_factory.mktemp("whole"))


class StopHere(Exception):
    """Stands for a process that ends between two epochs."""


@pytest.mark.parametrize(
    "options",
    [{"loss": "ldam", "drw": True, "dataset": "synthetic"}, *({"loss": name} for name in ("ala", "ce", "gcl", "eql"))],
)
def test_resuming_in_every_epoch_gives_the_uninterrupted_numbers(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(**{"dataset": "digits_lt", "recipe": "short", "epochs": 3, "batch_size": 64, **options})
    expected = numbers(train(config, progress=False))
    original = engine.Trainer.run_epoch

    def one_epoch(self: engine.Trainer, bar: Any = None) -> dict[str, Any]:
        if getattr(self, "done", False):
            raise StopHere
        self.done = True
        return original(self, bar)

    monkeypatch.setattr(engine.Trainer, "run_epoch", one_epoch)
    for _ in range(2):
        with pytest.raises(StopHere):
            train(config, tmp_path / "run", progress=False, resume=True)
    assert numbers(train(config, tmp_path / "run", progress=False, resume=True)) == expected


def test_killed_at_random_points_then_resumed(whole: Whole, tmp_path: Path) -> None:
    """SIGKILL, several times, at moments that a seed does not foresee; the last call runs to the end."""
    out = tmp_path / "run"
    command = ["train", "--out", str(out), "--resume", "--dataset", "synthetic", "--loss", "gala"]
    command += ["--recipe", "strong", "--backbone", "resnet8", "--epochs", "6", "--batch-size", "64", "--device", "cpu"]
    command += ["--precision", "float32"]
    last = out / "last.pt"

    def written() -> int | None:
        return last.stat().st_mtime_ns if last.exists() else None

    chance = random.Random()
    kills = 0
    for wait in (0.2, 1.5, 1.5, 1.5):
        before = written()
        process = start(*command)
        wait_for(lambda before=before: written() != before, process)  # let it get at least one epoch further
        time.sleep(chance.uniform(0, wait))
        if process.is_alive():
            process.kill()
            kills += 1
        process.join()
    assert kills >= 1
    process = start(*command, errors=tmp_path / "errors")
    process.join(120)
    assert process.exitcode == 0, (tmp_path / "errors").read_text()
    assert numbers(records.load(out)) == whole.numbers


def test_resume_of_a_finished_run_changes_nothing(whole: Whole, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole.place / "run", out)
    history = (out / "history.csv").read_text()
    assert numbers(train(CONFIG, out, progress=False, resume=True)) == whole.numbers
    assert (out / "history.csv").read_text() == history


def test_threads_compile_and_precision_are_the_checkpoints(
    whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, threads = tmp_path / "run", torch.get_num_threads()
    whole.stopped(out, 5)
    saved = torch.load(out / "last.pt", weights_only=True)
    saved |= {"threads": threads + 1}
    torch.save(saved, out / "last.pt")
    asked: list[tuple[bool, str]] = []
    original = engine.Trainer.__init__

    def spy(self: engine.Trainer, config: Any, data: Any, device: Any, compiled: bool, precision: str, *a: Any) -> None:
        asked.append((compiled, precision))
        original(self, config, data, device, compiled, precision, *a)

    monkeypatch.setattr(engine.Trainer, "__init__", spy)
    try:
        train(CONFIG, out, progress=False, resume=True)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert asked == [(False, "float32")]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"precision": "bfloat16"}, "precision is 'bfloat16', but .* begun with 'float32'"),
        ({"compile": "on"}, "compile is 'on', but .* begun with 'off'"),
        ({"test_every": 5}, "test_every is 5, but .* begun with 1"),
    ],
)
def test_what_a_run_keeps_is_not_changed_when_it_goes_on(
    asked: dict[str, Any], message: str, whole: Whole, tmp_path: Path
) -> None:
    whole.stopped(tmp_path, 1)
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(TrainingError, match=message):
        train(CONFIG, tmp_path, progress=False, resume=True, **asked)
    assert (tmp_path / "last.pt").read_bytes() == before


def test_a_resumed_run_names_all_commits_and_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit is that of the process's start, and what trains twice in a row is named once."""
    config = RunConfig(dataset="digits_lt", recipe="short", epochs=4)
    original = engine.Trainer.run_epoch
    for epochs, commit, device in ((1, "aaaa", "a GPU"), (2, "bbbb", "a GPU"), (3, "bbbb", "a CPU")):

        def stop(self: engine.Trainer, bar: Any = None, epochs: int = epochs) -> dict[str, Any]:
            if self.epoch == epochs:
                raise StopHere
            return original(self, bar)

        monkeypatch.setattr(records, "git_commit", lambda commit=commit: commit)
        monkeypatch.setattr(engine, "device_name", lambda _, device=device: device)
        with monkeypatch.context() as patch:
            patch.setattr(engine.Trainer, "run_epoch", stop)
            with pytest.raises(StopHere):
                train(config, tmp_path, progress=False, resume=True)
    environment = train(config, tmp_path, progress=False, resume=True)["environment"]
    assert environment["commit"] == "aaaa"
    assert environment["commits"] == ["aaaa", "bbbb"]
    assert environment["device"] == "a GPU, then a CPU"
    assert environment["torch"] == torch.__version__
    monkeypatch.setattr(records, "git_commit", lambda: "cccc")
    single = train(RunConfig(dataset="digits_lt", recipe="short", epochs=1), progress=False)["environment"]
    assert single["commit"] == "cccc"
    assert "commits" not in single


def test_a_checkpoint_of_the_first_version_goes_on(tmp_path: Path) -> None:
    """Commit 35be976 wrote it after two of three epochs (its weights rounded, its momentum zeroed, to be small)."""
    packed = Path(__file__).parent / "data" / "checkpoint_35be976.pt.xz"
    (tmp_path / "last.pt").write_bytes(lzma.decompress(packed.read_bytes()))
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    config = RunConfig.from_stored(saved["config"])
    assert config.classifier_init == "kaiming"
    threads = torch.get_num_threads()
    try:
        record = train(config, tmp_path, progress=False, resume=True)
    finally:
        torch.set_num_threads(threads)
    assert [row["epoch"] for row in record["epochs"]] == [1, 2, 3]
    assert record["epochs"][1]["train_loss"] == saved["history"][1]["train_loss"]
    environment = json.loads(records.dumps(record))["environment"]
    assert environment["commits"] == [None, records.git_commit()]
    assert environment["cpu_seconds"] is None  # that version did not measure them
    assert environment["test_every"] == 1


def test_runs_of_strong_from_before_it_was_as_released_are_refused_with_the_reason(
    whole: Whole, tmp_path: Path
) -> None:
    whole.stopped(tmp_path, 1)
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    del saved["config"]["classifier_init"]
    torch.save(saved, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match=r"'strong' is from before .*; train it anew"):
        train(CONFIG, tmp_path, progress=False, resume=True)
    saved["config"]["recipe"] = "short"
    torch.save(saved, tmp_path / "last.pt")
    config = RunConfig.from_stored(saved["config"])
    with pytest.raises(CheckpointError, match="when AutoAugment's translations were cut off; train it anew"):
        train(config, tmp_path, progress=False, resume=True)


def test_another_configuration_is_refused(whole: Whole, tmp_path: Path) -> None:
    whole.stopped(tmp_path, 1)
    other = RunConfig.from_dict({**CONFIG.to_dict(), "seed": 5, "loss_options": {"lambda_pos": 2.0}})
    with pytest.raises(CheckpointError, match=r"another configuration: loss_options .*, seed 0 there, 5 here"):
        train(other, tmp_path, progress=False, resume=True)


@pytest.mark.parametrize("damage", ["truncated", "foreign", "empty"])
def test_a_bad_checkpoint_names_the_previous_one_and_is_left_alone(damage: str, whole: Whole, tmp_path: Path) -> None:
    whole.stopped(tmp_path, 5)
    last, previous = tmp_path / "last.pt", tmp_path / "previous.pt"
    good = previous.read_bytes()
    if damage == "foreign":
        torch.save({"weights": torch.zeros(2)}, last)
    else:
        last.write_bytes(last.read_bytes()[:4000] if damage == "truncated" else b"")
    bad = last.read_bytes()
    with pytest.raises(CheckpointError, match=r"previous\.pt") as caught:
        train(CONFIG, tmp_path, progress=False, resume=True)
    assert "\n" not in str(caught.value)
    assert last.read_bytes() == bad
    assert previous.read_bytes() == good
    previous.replace(last)  # what the message advises
    assert numbers(train(CONFIG, tmp_path, progress=False, resume=True)) == whole.numbers


def test_a_full_disk_stops_the_run_and_leaves_the_good_checkpoint(whole: Whole, tmp_path: Path) -> None:
    whole.stopped(tmp_path, 2)
    before = (tmp_path / "last.pt").read_bytes()
    (tmp_path / ".last.pt.new").symlink_to("/dev/full")
    with pytest.raises(CheckpointError, match=r"cannot be written: the disk is full; the last good one is .*last\.pt"):
        train(CONFIG, tmp_path, progress=False, resume=True)
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*.new"))


def test_without_resume_a_run_is_refused(whole: Whole, tmp_path: Path) -> None:
    whole.stopped(tmp_path, 1)
    with pytest.raises(TrainingError, match="already holds a run"):
        train(CONFIG, tmp_path, progress=False)


def test_checkpoint_every_few_epochs_and_always_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs: list[int] = []
    monkeypatch.setattr(engine, "save_checkpoint", lambda folder, content: epochs.append(content["epoch"]))
    config = RunConfig(dataset="digits_lt", recipe="short", epochs=5, batch_size=245)
    train(config, tmp_path, progress=False, checkpoint_every=2)
    assert epochs == [2, 4, 5]
    with pytest.raises(ValueError, match="checkpoint_every is 0"):
        train(CONFIG, progress=False, checkpoint_every=0)


def test_a_finished_run_keeps_its_record_when_it_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever code runs by then: it trained nothing of it."""
    config = RunConfig(dataset="digits_lt", recipe="short", epochs=1, batch_size=64)
    first = train(config, tmp_path, progress=False)
    before = (tmp_path / "record.json").read_bytes()
    monkeypatch.setattr(records, "git_commit", lambda: "bbbbbbbbbb-dirty")
    again = train(config, tmp_path, progress=False, resume=True)
    assert (tmp_path / "record.json").read_bytes() == before
    assert again["environment"]["commit"] == first["environment"]["commit"]
