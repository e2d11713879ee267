"""Folders of images: every odd file is handled or named, and what is read is what was written."""

from __future__ import annotations

import importlib
import io
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from lt_core.data import DataError, load_dataset
from lt_core.data.decoding import centre, pixels, read_image
from lt_core.data.folder import damaged, folder, memory, scan
from lt_core.training import RunConfig, evaluate, train

RED, GREEN = (220, 30, 30), (30, 200, 40)


def save(path: Path, colour: tuple[int, int, int] = RED, size: tuple[int, int] = (20, 16), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **options)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Two classes of JPEGs: red with five images, green with two; three and two to test."""
    for part, name, colour, number in (
        ("train", "red", RED, 5),
        ("train", "green", GREEN, 2),
        ("test", "red", RED, 3),
        ("test", "green", GREEN, 2),
    ):
        for i in range(number):
            save(tmp_path / part / name / f"{i}.jpg", colour)
    return tmp_path


def photographs(root: Path, counts: tuple[int, ...] = (60, 20, 6), tested: int = 15) -> Path:
    """Crops of three real photographs: a class each, long-tailed; the left part trains, the right part tests."""
    import matplotlib
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    hopper = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    pictures = [Image.fromarray(china), Image.fromarray(flower), Image.open(hopper).convert("RGB")]
    random = np.random.default_rng(0)
    for name, picture, count in zip(("temple", "flower", "admiral"), pictures, counts, strict=True):
        half = picture.width // 2
        for part, number, left in (("train", count, 0), ("test", tested, half)):
            (root / part / name).mkdir(parents=True)
            for i in range(number):
                x = left + int(random.integers(half - 100))
                y = int(random.integers(picture.height - 100))
                picture.crop((x, y, x + 100, y + 100)).save(root / part / name / f"{i:03d}.jpg", quality=90)
    return root


def test_classes_are_the_folders_in_their_order(tree: Path) -> None:
    data = folder(tree, 8)
    assert data.class_names == ["green", "red"]
    assert data.class_counts == [2, 5]
    assert data.train_images.shape == (7, 3, 8, 8)
    assert data.test_targets.tolist() == [0, 0, 1, 1, 1]
    for images, targets in ((data.train_images, data.train_targets), (data.test_images, data.test_targets)):
        means = images.float().mean((2, 3))
        assert (means[targets == 1] - torch.tensor(RED)).abs().max() < 4
        assert (means[targets == 0] - torch.tensor(GREEN)).abs().max() < 4


def test_nested_folders_links_and_hidden_files(tree: Path) -> None:
    save(tree / "train" / "green" / "more" / "deep" / "a.PNG", GREEN)
    (tree / "elsewhere").mkdir()
    save(tree / "elsewhere" / "b.jpeg", GREEN)
    (tree / "train" / "green" / "linked").symlink_to(tree / "elsewhere")
    (tree / "train" / "green" / "again.jpg").symlink_to(tree / "train" / "green" / "0.jpg")
    (tree / "train" / "green" / "upwards").symlink_to(tree / "train" / "green")
    for name in (".hidden.jpg", ".thumbs/c.jpg", "notes.txt"):
        path = tree / "train" / "green" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"no image")
    listing = scan(tree)
    assert listing.faults == []
    assert listing.counts("train") == [2 + 3, 5]


def test_names_are_compared_in_composed_form(tree: Path) -> None:
    """One system writes "é" as one sign, another as two."""
    save(tree / "train" / unicodedata.normalize("NFD", "Bébé 猫") / "a.jpg")
    save(tree / "test" / unicodedata.normalize("NFC", "Bébé 猫") / "a.jpg")
    data = folder(tree, 8)
    assert data.class_names == [unicodedata.normalize("NFC", "Bébé 猫"), "green", "red"]
    assert data.test_targets.tolist().count(0) == 1


def test_val_stands_for_test(tree: Path) -> None:
    (tree / "test").rename(tree / "val")
    assert len(folder(tree, 8).test_targets) == 5
    save(tree / "test" / "red" / "a.jpg")
    listing = scan(tree)
    assert len(listing.test) == 1
    assert listing.notes[0].endswith("val is not used")


def faults(root: Path) -> str:
    listing = scan(root)
    return "\n".join([*listing.faults, *damaged(listing)])


def test_everything_that_is_wrong_is_said_in_one_pass(tree: Path) -> None:
    save(tree / "train" / "loose.jpg")
    (tree / "train" / "empty").mkdir()
    save(tree / "test" / "unknown" / "a.jpg")
    (tree / "train" / "red" / "gone.jpg").symlink_to(tree / "nowhere.jpg")
    whole = (tree / "train" / "red" / "0.jpg").read_bytes()
    (tree / "train" / "red" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tree / "test" / "green" / "text.png").write_text("no image")
    (tree / "test" / "green" / "nothing.jpg").write_bytes(b"")
    found = faults(tree)
    for words in (
        "loose.jpg lies in no class's folder",
        "empty has no image",
        "unknown: there is no class 'unknown'",
        "gone.jpg is a link that leads nowhere",
        "cut.jpg cannot be read",
        "text.png is no image",
        "nothing.jpg is no image",
    ):
        assert words in found, found
    assert len(found.splitlines()) == 7
    with pytest.raises(DataError, match=r"lies in no class's folder \(4 such lines"):
        folder(tree, 8)


def test_a_damaged_image_is_named_when_it_is_met(tree: Path) -> None:
    (tree / "test" / "green" / "text.png").write_text("no image")
    with pytest.raises(DataError, match=r"text\.png is no image"):
        folder(tree, 8)


@pytest.mark.parametrize(
    ("remove", "message"),
    [("train", "train is no folder"), ("test", "neither a folder test nor a folder val")],
)
def test_a_missing_part_is_named(tree: Path, remove: str, message: str) -> None:
    (tree / remove).rename(tree / "other")
    with pytest.raises(DataError, match=message):
        folder(tree, 8)


def test_one_class_no_test_image_and_a_class_that_is_not_tested(tree: Path) -> None:
    for file in (tree / "test" / "green").iterdir():
        file.unlink()
    assert scan(tree).notes == ["there is no test image of 'green'"]
    for file in (tree / "test" / "red").iterdir():
        file.unlink()
    assert "test has no image" in faults(tree)
    (tree / "train" / "green").rename(tree / "apart")
    assert "has 1 classes; at least two are needed" in faults(tree)


def written(path: Path, image: Image.Image, **options: Any) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(read_image(path))


def test_colours_of_every_mode(tmp_path: Path) -> None:
    grey = Image.new("L", (4, 4), 77)
    assert (written(tmp_path / "l.png", grey) == 77).all()
    assert (written(tmp_path / "1.png", Image.new("1", (4, 4), 1)) == 255).all()
    cmyk = written(tmp_path / "cmyk.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)))
    assert (abs(cmyk.astype(int) - (255, 0, 0)) < 8).all()
    palette = Image.new("RGB", (4, 4), GREEN).convert("P", palette=Image.Palette.ADAPTIVE)
    assert (written(tmp_path / "p.gif", palette) == GREEN).all()


def test_transparent_is_white(tmp_path: Path) -> None:
    half = Image.new("RGBA", (2, 1), (*RED, 255))
    half.putpixel((1, 0), (0, 0, 0, 0))
    assert written(tmp_path / "a.png", half).tolist() == [[list(RED), [255, 255, 255]]]
    veil = Image.new("LA", (1, 1), (0, 128))
    assert written(tmp_path / "la.png", veil)[0, 0].tolist() == pytest.approx([127] * 3, abs=1)


def test_sixteen_bits_become_eight(tmp_path: Path) -> None:
    steps = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert written(tmp_path / "16.png", Image.fromarray(steps))[0, :, 0].tolist() == [0, 1, 128, 255]
    dark = np.array([[0, 200]], np.uint16)
    assert written(tmp_path / "dark.png", Image.fromarray(dark))[0, :, 0].max() <= 1


def test_a_turned_photograph_stands_upright(tmp_path: Path) -> None:
    picture = Image.new("RGB", (20, 10), RED)
    picture.paste(GREEN, (0, 0, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    upright = read_image(tmp_path / "turned.jpg")
    assert upright.size == (10, 20)
    assert ImageOps.exif_transpose(upright).size == (10, 20)
    assert np.asarray(upright)[2, 5, 1] > 150
    assert np.asarray(upright)[17, 5, 0] > 150


def test_the_first_picture_of_several_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (GREEN, RED)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert (abs(np.asarray(read_image(tmp_path / "moving.gif")).astype(int) - GREEN) < 3).all()


def test_the_middle_of_the_longer_side_is_kept() -> None:
    wide = Image.new("RGB", (30, 10), RED)
    wide.paste(GREEN, (10, 0, 20, 10))
    for picture in (wide, wide.rotate(90, expand=True)):
        image = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        assert (centre(image, 10).float().mean((1, 2)) - torch.tensor(GREEN)).abs().max() < 2
    assert centre(torch.zeros(3, 400, 1, dtype=torch.uint8), 8).shape == (3, 8, 8)


def test_a_damaged_jpeg_is_named(tmp_path: Path) -> None:
    whole = save(tmp_path / "whole.jpg", size=(200, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.jpg cannot be read"):
        pixels(tmp_path / "cut.jpg")
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(DataError, match=r"text\.jpg is no image"):
        pixels(tmp_path / "text.jpg")


def test_too_many_images_for_the_memory_are_refused(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert memory() > 2**30
    module = importlib.import_module("lt_core.data.folder")  # the name is also the function's
    monkeypatch.setattr(module, "memory", lambda: 4 * 3 * 8 * 8 * 11)
    with pytest.raises(DataError, match="12 images of 8 pixels take"):
        folder(tree, 8)


@pytest.mark.parametrize(("size", "error"), [(7, ValueError), (8.5, TypeError), ("32", TypeError)])
def test_a_bad_image_size_is_named(tree: Path, size: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="image_size"):
        folder(tree, size)
    with pytest.raises(error, match="image_size"):
        RunConfig(dataset="folder", image_size=size)


def test_a_folder_of_photographs_trains(tmp_path: Path) -> None:
    root = photographs(tmp_path / "photographs")
    config = RunConfig(
        dataset="folder", image_size=24, recipe="short", backbone="resnet8", loss="balanced_softmax", epochs=6,
        batch_size=32,
    )  # fmt: skip
    assert config.run_name == "folder-balanced_softmax-e6-b32-24px-s0"
    record = train(config, tmp_path / "run", root, device="cpu", progress=False)
    assert record["final"]["last"]["top1"] > 55
    assert {key: record["data"][key] for key in ("train", "test", "classes", "largest", "smallest")} == {
        "train": 86, "test": 45, "classes": 3, "largest": 60, "smallest": 6,
    }  # fmt: skip
    again = evaluate(tmp_path / "run", data_root=root, device="cpu")
    assert again["top1"] == pytest.approx(record["final"]["last"]["top1"])


@pytest.mark.parametrize("size", [8, 17, 40])
def test_both_networks_take_any_size(size: int) -> None:
    from lt_core.models import resnet8, resnet32

    images = torch.rand(2, 3, size, size)
    for network in (resnet8(5), resnet32(5)):
        assert network(images).shape == (2, 5)


def test_a_second_stage_starts_from_a_run_on_the_same_folder(tree: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"dataset": "folder", "image_size": 8, "recipe": "short", "epochs": 1, "batch_size": 4}
    train(RunConfig(**settings), tmp_path / "ce", tree, device="cpu", progress=False)
    config = RunConfig(method="crt", base="short/folder-ce-e1-b4-8px-s0", **settings)
    record = train(config, tmp_path / "crt", tree, device="cpu", progress=False, base=tmp_path / "ce")
    assert record["base"]["run"] == "short/folder-ce-e1-b4-8px-s0"


def test_load_dataset_has_the_folder_too(tree: Path) -> None:
    data = load_dataset("folder", tree, image_size=8)
    assert data.train_images.shape == (7, 3, 8, 8)
    assert data.digest == folder(tree, 8).digest
    save(tree / "train" / "red" / "0.jpg", GREEN)
    assert data.digest != folder(tree, 8).digest


def test_an_image_may_be_larger_than_pil_would_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("L", (64, 64)).save(buffer, format="PNG")
    (tmp_path / "large.png").write_bytes(buffer.getvalue())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(DataError, match=r"large\.png cannot be read"):
        read_image(tmp_path / "large.png")
