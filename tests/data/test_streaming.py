"""Images in files: what an epoch reads depends on the seed alone, and what is tested is torchvision's usual crop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lt_core.data import DataError, LongTailedData, folder, load_dataset
from lt_core.data.streaming import EpochImages, FileImages, in_batches, workers
from lt_core.training import RunConfig, evaluate, train
from lt_core.training.trial import train_for
from tests.data.test_folder import photographs

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return photographs(tmp_path_factory.mktemp("photographs") / "root")


@pytest.fixture(autouse=True)
def _read_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starting processes takes longer than reading these few files."""
    monkeypatch.setenv("LT_WORKERS", "0")


@pytest.fixture
def images(root: Path) -> FileImages:
    streamed: FileImages = folder(root, 24, stream=True).train_images
    return streamed


def epoch(images: FileImages, seed: int = 0, kind: str = "resized_crop_jitter", batch: int = 16) -> torch.Tensor:
    order = images.epoch(torch.arange(len(images)), kind, torch.Generator().manual_seed(seed))
    parts = [slice(first, first + batch) for first in range(0, len(images), batch)]
    return torch.cat(list(in_batches(order, parts, CPU)))


def test_an_epoch_is_the_same_for_any_number_of_workers_and_any_batch(
    images: FileImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = epoch(images)
    assert here.shape == (86, 3, 24, 24)
    assert here.dtype == torch.uint8
    assert not torch.equal(here, epoch(images, seed=1))
    assert torch.equal(here, epoch(images, batch=7))
    for number in ("1", "2"):
        monkeypatch.setenv("LT_WORKERS", number)
        assert torch.equal(here, epoch(images))


@pytest.mark.parametrize("number", ["0", "1"])
def test_reading_leaves_the_random_numbers_of_the_process_alone(
    images: FileImages, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setenv("LT_WORKERS", number)
    torch.manual_seed(0)
    epoch(images)
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3))


def test_parts_of_several_processes_are_the_whole(images: FileImages) -> None:
    order = images.epoch(torch.arange(20), "resized_crop", torch.Generator().manual_seed(0))
    (whole,) = in_batches(order, [slice(0, 20)], CPU)
    for rank in range(2):
        (mine,) = in_batches(order, [slice(rank, 20, 2)], CPU)
        assert torch.equal(mine, whole[rank::2])


def test_crops_are_windows_of_the_picture_and_half_are_mirrored(tmp_path: Path) -> None:
    # Red rises to the right and green downwards, so a crop shows where it was taken and whether it was mirrored.
    ramp = np.zeros((200, 200, 3), dtype=np.uint8)
    ramp[..., 0], ramp[..., 1] = np.arange(200)[None], np.arange(200)[:, None]
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    order = EpochImages([tmp_path / "ramp.png"] * 300, 32, "resized_crop", list(range(300)))
    (crops,) = in_batches(order, [slice(0, 300)], CPU)
    red, green = crops[:, 0].float(), crops[:, 1].float()
    mirrored = red[:, :, 0].mean(1) > red[:, :, -1].mean(1)
    assert 100 < mirrored.sum() < 200
    width = (red[:, :, -1].mean(1) - red[:, :, 0].mean(1)).abs() * 32 / 31
    height = (green[:, -1].mean(1) - green[:, 0].mean(1)) * 32 / 31
    share, shape = width * height / 200**2, width / height
    assert 0.06 < share.min() < 0.2
    assert 0.85 < share.max() < 1.03
    assert 0.7 < shape.min() < 0.85
    assert 1.2 < shape.max() < 1.4


def test_jitter_changes_colours_and_the_plain_crop_does_not(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40), (120, 60, 30)).save(tmp_path / "flat.png")
    for kind, varies in (("resized_crop", False), ("resized_crop_jitter", True)):
        order = EpochImages([tmp_path / "flat.png"] * 50, 8, kind, list(range(50)))
        (crops,) = in_batches(order, [slice(0, 50)], CPU)
        means = crops.float().mean((2, 3))
        assert bool((means.std(0) > 5).all()) == varies
        assert bool((means.std(0) < 0.1).all()) != varies


def test_a_tested_image_is_torchvisions_centre_crop(images: FileImages) -> None:
    from torchvision.transforms import CenterCrop, Compose, PILToTensor, Resize

    pipeline = Compose([Resize(27), CenterCrop(24), PILToTensor()])  # 24 * 256 / 224, rounded; PIL's own resampling
    tested = torch.cat(list(images.split(40)))
    assert tested.shape == images.shape == (86, 3, 24, 24)
    for place in (0, 50, 85):
        with Image.open(images.files[place]) as picture:
            expected = pipeline(picture.convert("RGB"))
        assert torch.equal(tested[place], images[place])
        assert (tested[place].int() - expected.int()).abs().max() <= 2


@pytest.mark.parametrize("number", ["0", "1"])
def test_a_damaged_image_is_named_in_one_line(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: str
) -> None:
    monkeypatch.setenv("LT_WORKERS", number)
    file = tmp_path / "broken.jpg"
    file.write_bytes((root / "train" / "temple" / "000.jpg").read_bytes()[:900])
    broken = FileImages([file], 24)
    for read in (lambda: epoch(broken), lambda: list(broken.split(1))):
        with pytest.raises(DataError, match=r"^.*broken\.jpg cannot be read: [^\n]*$"):
            read()


@pytest.mark.parametrize("named", ["two", "-1", "1.5", "²"])
def test_a_number_of_workers_that_is_none_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LT_WORKERS", named)
    with pytest.raises(DataError, match="LT_WORKERS"):
        workers()


def test_images_of_a_data_set_lie_in_files_or_do_not(root: Path) -> None:
    streamed, decoded = folder(root, 24, stream=True), folder(root, 24)
    assert streamed.streams
    assert not decoded.streams
    assert not streamed.has_features
    assert streamed.class_counts == decoded.class_counts
    with pytest.raises(TypeError, match="both be files"):
        LongTailedData(
            "mixed", streamed.train_images, streamed.train_targets, decoded.test_images, decoded.test_targets,
            decoded.class_counts, decoded.class_names,
        )  # fmt: skip
    with pytest.raises(ValueError, match="train_targets"):
        LongTailedData(
            "short", FileImages(streamed.train_images.files[1:], 24), streamed.train_targets, streamed.test_images,
            streamed.test_targets, streamed.class_counts, streamed.class_names,
        )  # fmt: skip


def test_a_changed_file_changes_the_digest(root: Path) -> None:
    digest = folder(root, 24, stream=True).digest
    assert digest == folder(root, 24, stream=True).digest != folder(root, 32, stream=True).digest
    file = root / "test" / "flower" / "000.jpg"
    whole = file.read_bytes()
    file.write_bytes(whole + b"\0")
    assert folder(root, 24, stream=True).digest != digest
    file.write_bytes(whole)


SETTINGS: dict[str, Any] = {
    "dataset": "folder", "image_size": 24, "recipe": "short", "augmentation": "resized_crop", "batch_size": 32,
}  # fmt: skip


@pytest.mark.parametrize("sampler", ["uniform", "class_balanced"])
def test_a_run_on_files_learns_and_goes_on_where_it_was_stopped(
    root: Path, tmp_path: Path, sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig(loss="balanced_softmax", epochs=8, sampler=sampler, **SETTINGS)
    whole = train(config, tmp_path / "whole", root, device="cpu", progress=False, precision="float32")
    assert whole["final"]["best_on_test"]["top1"] > 42  # of three classes; 45 images: one in three by chance, ± 7
    assert evaluate(tmp_path / "whole", data_root=root, device="cpu")["top1"] == whole["final"]["last"]["top1"]

    from lt_core.training import engine

    parts, kept = tmp_path / "parts", engine.save_checkpoint

    def stop(folder: Path, state: dict[str, Any]) -> None:
        kept(folder, state)
        if state["epoch"] == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(engine, "save_checkpoint", stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, parts, root, device="cpu", progress=False, precision="float32")
    monkeypatch.setattr(engine, "save_checkpoint", kept)
    again = train(config, parts, root, device="cpu", progress=False, resume=True)
    assert again["final"] == whole["final"]


def test_a_trial_reads_as_many_rounds_as_it_needs(root: Path) -> None:
    from lt_core.training.engine import Trainer

    config = RunConfig(**SETTINGS)
    data = load_dataset("folder", root, image_size=24, stream=True)
    assert train_for(Trainer(config, data, CPU), 0.3) > 0


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mixing": "mixup"}, "mixing is 'mixup', but augmentation 'resized_crop' leaves the images in their files"),
        ({"method": "crt"}, "strategy is 'crt', but"),
        ({"dataset": "digits_lt", "image_size": None}, "'digits_lt' has no images in files"),
        ({"augmentation": "windows"}, "augmentation"),
    ],
)
def test_what_needs_decoded_images_is_refused(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        RunConfig(**{**SETTINGS, **changes})
