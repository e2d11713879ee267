"""The file lists of ImageNet-LT, Places-LT and iNaturalist 2018: published counts, and images where they say."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lt_core.data import FILE_LISTS, DataError, file_list, load_dataset
from lt_core.data.filelist import scan_lists
from lt_core.data.folder import damaged
from lt_core.training import RunConfig, train

MODULE = importlib.import_module("lt_core.data.filelist")
# A small set of the published form: three classes of 6, 3 and 2 images.
SMALL = replace(FILE_LISTS["places_lt"], images=11, classes=3, largest=6, smallest=2, tested=2)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LT_WORKERS", "0")
    monkeypatch.setitem(MODULE.FILE_LISTS, "places_lt", SMALL)
    for name, part, counts in ((SMALL.train, "train", (6, 3, 2)), (SMALL.test, "val", (2, 2, 2))):
        lines = []
        for label, count in enumerate(counts):
            place = tmp_path / part / f"place {label}"
            place.mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (40, 30), (80 * label, 10 * i, 90)).save(place / f"{i}.jpg")
                lines.append(f"{part}/place {label}/{i}.jpg {label}\n")
        (tmp_path / name).write_text("".join(lines))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "images", "classes", "factor"),
    [("imagenet_lt", 115.8, 1000, 256), ("places_lt", 62.5, 365, 996), ("inaturalist2018", 437.5, 8142, 500)],
)
def test_the_published_counts_are_those_of_the_paper(name: str, images: float, classes: int, factor: float) -> None:
    known = FILE_LISTS[name]
    assert known.images / 1000 == pytest.approx(images, abs=0.05)  # "115.8K", "62.5K", "437.5K"
    assert (known.classes, known.largest / known.smallest) == (classes, factor)


def test_lists_and_images_make_a_data_set(root: Path) -> None:
    data = load_dataset("places_lt", root, image_size=16)
    assert data.class_counts == [6, 3, 2]
    assert data.class_names == ["place 0", "place 1", "place 2"]
    assert data.streams
    assert data.train_images.shape == (11, 3, 16, 16)
    assert len(data.test_targets) == 6
    assert load_dataset("places_lt", root).train_images.shape == (11, 3, 224, 224)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("train/place 0/0.jpg 0\n", "have 12 training images; published are 11"),
        ("train/place 0/0.jpg 3\n", "line 12: .* is no path and label below 3"),
        ("train/place 0/0.jpg\n", "line 12"),
        ("train/place 0/0.jpg -1\n", "line 12"),
        ("\n", "line 12"),
    ],
)
def test_a_list_that_is_not_the_published_one_is_refused(root: Path, line: str, named: str) -> None:
    with (root / SMALL.train).open("a") as file:
        file.write(line)
    with pytest.raises(DataError, match=named):
        file_list("places_lt", root)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [("largest", 7, "largest class"), ("smallest", 1, "smallest class"), ("tested", 3, "test images in the largest")],
)
def test_each_published_count_is_compared(
    root: Path, monkeypatch: pytest.MonkeyPatch, field: str, value: int, named: str
) -> None:
    monkeypatch.setitem(MODULE.FILE_LISTS, "places_lt", replace(SMALL, **{field: value}))
    with pytest.raises(DataError, match=named):
        file_list("places_lt", root)
    assert any(named in fault for fault in scan_lists("places_lt", root).faults)


def test_missing_files_are_named(root: Path) -> None:
    (root / "train" / "place 1" / "0.jpg").unlink()
    with pytest.raises(DataError, match=r"place 1/0\.jpg is missing; needed below .* are Places-365"):
        file_list("places_lt", root)
    (root / SMALL.test).unlink()
    with pytest.raises(DataError, match=r"Places_LT_test\.txt is missing"):
        file_list("places_lt", root)
    (root / SMALL.test).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text"):
        file_list("places_lt", root)


def test_the_check_reports_all_that_is_wrong(root: Path) -> None:
    for i in (1, 2):
        (root / "train" / "place 0" / f"{i}.jpg").unlink()
    (root / "val" / "place 2" / "1.jpg").write_bytes(b"no image")
    listing = scan_lists("places_lt", root)
    assert len(listing.faults) == 2
    assert all("is missing" in fault for fault in listing.faults)
    assert listing.counts("train") == [4, 3, 2]
    assert [line.rpartition("/")[2] for line in damaged(listing)] == ["1.jpg is no image"]


def test_a_run_on_lists(root: Path, tmp_path: Path) -> None:
    config = RunConfig(
        dataset="places_lt",
        recipe="places_lt",
        backbone="resnet18",
        pretrained=False,
        image_size=32,
        epochs=2,
        batch_size=8,
    )
    assert config.run_name == "places_lt-ce-resnet18-e2-b8-32px-untrained-s0"
    record = train(config, tmp_path / "run", root, device="cpu", progress=False)
    assert record["final"]["last"]["top1"] >= 0
    assert all(np.isfinite(row["train_loss"]) for row in record["epochs"])


def test_the_recipes_of_the_large_sets() -> None:
    for name, backbone, epochs, batch, rate, decay in (
        ("imagenet_lt", "resnet50", 90, 256, 0.1, 5e-4),
        ("inaturalist2018", "resnet50", 90, 512, 0.2, 2e-4),
        ("places_lt", "resnet152", 30, 128, 0.1, 5e-4),
    ):
        config = RunConfig(dataset=name)
        assert (config.recipe, config.backbone, config.epochs, config.batch_size) == (name, backbone, epochs, batch)
        assert (config.learning_rate, config.weight_decay, config.image_size) == (rate, decay, 224)
        assert config.imbalance_factor is None
        assert config.run_name == f"{name}-ce-s0"
        assert RunConfig.from_stored(config.to_dict()) == config
    assert RunConfig(dataset="imagenet_lt", backbone="resnext50_32x4d").run_name == "imagenet_lt-ce-resnext50_32x4d-s0"


def test_lists_need_crops_of_files_and_take_no_subset() -> None:
    with pytest.raises(ValueError, match="'imagenet_lt' needs 'resized_crop'"):
        RunConfig(dataset="imagenet_lt", recipe="plain")
    with pytest.raises(ValueError, match="is used as it is"):
        RunConfig(dataset="imagenet_lt", imbalance_factor=100)
    with pytest.raises(ValueError, match="only torchvision's have weights"):
        RunConfig(dataset="places_lt", backbone="resnet32")


def test_an_unknown_list_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name is 'imagenet'"):
        file_list("imagenet", tmp_path)
