"""Features in a file: what is read, what is refused, and a classifier that is trained on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lt_core.data import DataError, LongTailedData, load_dataset
from lt_core.data.augment import Standardize
from lt_core.data.features import features
from lt_core.training import CheckpointError, RunConfig, evaluate, train

C, D = 4, 6
COUNTS = [60, 30, 12, 4]


def arrays(seed: int = 0, **changes: Any) -> dict[str, Any]:
    """Four clouds on a scale of their own in each column, the last one rare."""
    random = np.random.default_rng(seed)
    centres = 3 * np.eye(C, D)
    y = np.repeat(np.arange(C), COUNTS)
    test_y = np.repeat(np.arange(C), 25)
    scale = np.array([100.0, 1.0, 0.01, 5.0, 1.0, 1.0])
    values: dict[str, Any] = {
        "train_features": (scale * (centres[y] + random.normal(size=(len(y), D)) + 7)).astype(np.float32),
        "train_labels": y,
        "test_features": (scale * (centres[test_y] + random.normal(size=(len(test_y), D)) + 7)).astype(np.float32),
        "test_labels": test_y,
    }
    values |= changes
    return {key: value for key, value in values.items() if value is not None}


def write(path: Path, **changes: Any) -> Path:
    np.savez(path / "features.npz", **arrays(**changes))
    return path / "features.npz"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    data = features(write(tmp_path, class_names=np.array(["ä", "b", "c", "d"])))
    assert data.class_counts == COUNTS
    assert data.class_names == ["ä", "b", "c", "d"]
    assert data.has_features
    np.testing.assert_array_equal(data.train_images.numpy(), arrays()["train_features"])
    np.testing.assert_array_equal(data.test_targets.numpy(), arrays()["test_labels"])


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_floating_types_become_float32(tmp_path: Path, kind: Any) -> None:
    made = arrays()
    data = features(write(tmp_path, train_features=made["train_features"].astype(kind)))
    assert data.train_images.dtype == torch.float32
    assert data.class_names == ["0", "1", "2", "3"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a missing key": ({"test_labels": None}, "lacks test_labels; it has test_features, train_features, train_labels"),
    "one dimension": ({"train_features": np.zeros(106, np.float32)}, r"train_features is float32 \(106,\)"),
    "whole numbers": ({"train_features": np.zeros((106, D), int)}, r"floating point \(N, d\) is needed"),
    "no columns": ({"train_features": np.zeros((106, 0), np.float32)}, r"\(106, 0\)"),
    "other columns": ({"test_features": np.zeros((100, 3), np.float32)}, "has 6 columns, test_features 3"),
    "fewer labels": ({"train_labels": np.zeros(5, int)}, "106 train_features and 5 train_labels"),
    "labels with commas": ({"test_labels": np.zeros(100)}, r"test_labels is float64 \(100,\)"),
    "a strange label": ({"test_labels": np.full(100, 9)}, r"test_labels has the label 9; labels are in \[0, 4\)"),
    "a negative label": ({"train_labels": np.full(106, -1)}, "train_labels has the label -1"),
    "a class without any": ({"class_names": np.array(list("abcde"))}, "class 4 has no training features"),
    "one class": ({"train_labels": np.zeros(106, int), "test_labels": np.zeros(100, int)}, "one class only"),
    "not a number": ({"test_features": np.full((100, D), np.nan, np.float32)}, "test_features, row 0, is not finite"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_fault_is_a_line_that_names_the_file(tmp_path: Path, fault: str) -> None:
    changes, message = BAD[fault]
    with pytest.raises(DataError, match=message) as raised:
        features(write(tmp_path, **changes))
    assert "features.npz" in str(raised.value)


def test_files_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        features(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(DataError, match=r"is no \.npz file, or a damaged one"):
        features(tmp_path / "text.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"is no \.npz file"):
        features(tmp_path / "one.npy")
    np.savez(tmp_path / "objects.npz", train_features=np.array([{"code": 1}], dtype=object))
    with pytest.raises(DataError, match="holds Python objects, which may be code"):
        features(tmp_path / "objects.npz")
    whole = write(tmp_path).read_bytes()
    (tmp_path / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="damaged"):
        features(tmp_path / "half.npz")


def test_standardize_is_scikit_learns(tmp_path: Path) -> None:
    from sklearn.preprocessing import StandardScaler

    data = features(write(tmp_path))
    expected = StandardScaler().fit(data.train_images.numpy()).transform(data.test_images.numpy())
    ours = Standardize(data.train_images)(data.test_images)
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-3, atol=1e-4)
    constant = Standardize(torch.ones(5, 2))(torch.tensor([[1.0, 3.0]]))
    assert constant.tolist() == [[0.0, 0.0]]


def test_features_and_images_do_not_mix() -> None:
    x, y = torch.zeros(4, 3), torch.tensor([0, 0, 1, 1])
    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    fitting: dict[str, Any] = {"name": "x", "train_targets": y, "test_targets": y, "class_counts": [2, 2]}
    with pytest.raises(TypeError, match=r"test_images is torch\.uint8, train_images torch\.float32"):
        LongTailedData(train_images=x, test_images=images, class_names=["a", "b"], **fitting)
    with pytest.raises(ValueError, match="test_images has 2 columns, train_images 3"):
        LongTailedData(train_images=x, test_images=x[:, :2], class_names=["a", "b"], **fitting)
    with pytest.raises(TypeError, match=r"train_images is torch\.float32 \(4,\); images are uint8"):
        LongTailedData(train_images=x[:, 0], test_images=x, class_names=["a", "b"], **fitting)


@pytest.mark.parametrize("loss", ["ce", "balanced_softmax", "ldam", "ala", "gala"])
def test_losses_train_on_features(tmp_path: Path, loss: str) -> None:
    file = write(tmp_path)
    config = RunConfig(dataset="features", loss=loss, batch_size=32, epochs=12)
    assert (config.backbone, config.recipe, config.imbalance_factor) == ("none", "features", None)
    record = train(config, tmp_path / "run", file, device="cpu", progress=False)
    assert record["final"]["last"]["top1"] > 60
    assert record["data"] | {"checksum": ""} == {
        "train": 106, "test": 100, "classes": 4, "largest": 60, "smallest": 4, "checksum": "",
    }  # fmt: skip
    again = evaluate(tmp_path / "run", data_root=file, device="cpu")
    assert again["top1"] == pytest.approx(record["final"]["last"]["top1"])


def test_a_linear_classifier_is_scikit_learns_logistic_regression(tmp_path: Path) -> None:
    """Trained long enough, cross-entropy on features predicts what scikit-learn's solver predicts."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    file, made = write(tmp_path), arrays()
    decay = 1e-2
    config = RunConfig(dataset="features", batch_size=106, epochs=400, weight_decay=decay, learning_rate=0.5)
    record = train(config, None, file, device="cpu", progress=False)
    theirs = LogisticRegression(C=1 / (decay * 106), max_iter=2000)
    model = make_pipeline(StandardScaler(), theirs).fit(made["train_features"], made["train_labels"])
    expected = 100 * model.score(made["test_features"], made["test_labels"])
    assert record["final"]["last"]["top1"] == pytest.approx(expected, abs=1.01)


def test_changed_data_stop_a_resumed_run_and_an_evaluation(tmp_path: Path) -> None:
    file = write(tmp_path)
    config = RunConfig(dataset="features", epochs=1)
    train(config, tmp_path / "run", file, device="cpu", progress=False)
    write(tmp_path, seed=1)
    with pytest.raises(CheckpointError, match="is of other data"):
        evaluate(tmp_path / "run", data_root=file, device="cpu")
    with pytest.raises(CheckpointError, match="is of other data"):
        train(config, tmp_path / "run", file, device="cpu", progress=False, resume=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"imbalance_factor": 10}, "imbalance_factor is 10, but 'features' is used as it is"),
        ({"subset_seed": 1}, "subset_seed is 1"),
        ({"class_order": (1, 0)}, "class_order"),
        ({"image_size": 32}, "only the images of folder, imagenet_lt"),
        ({"recipe": "plain"}, "recipe is 'plain'; 'features' is for the data set 'features'"),
        ({"backbone": "resnet8"}, "backbone is 'resnet8' with dataset 'features'"),
        ({"mixing": "mixup"}, "mixing is 'mixup', but features have no images"),
        ({"augmentation": "crop_flip"}, "augmentation is 'crop_flip'"),
        ({"method": "crt"}, "strategy is 'crt', but features have no images"),
    ],
)
def test_what_features_cannot_have_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig(dataset="features", **settings)


@pytest.mark.parametrize("settings", [{"recipe": "features"}, {"backbone": "none"}])
def test_images_cannot_have_what_is_for_features(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'features'"):
        RunConfig(dataset="cifar100_lt", **settings)


def test_names_of_runs_have_no_imbalance_factor() -> None:
    assert RunConfig(dataset="features", loss="la").run_name == "features-la-s0"


def test_load_dataset_takes_no_subset_of_ones_own_data(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="imbalance_factor is 10, but 'features' is used as it is"):
        load_dataset("features", write(tmp_path), imbalance_factor=10)


def test_many_classes_have_a_table_beside_the_record(tmp_path: Path) -> None:
    """With more classes than a record has room for, accuracies by class are in ``per_class.csv``."""
    import pandas as pd

    random, classes = np.random.default_rng(0), 500
    y = np.repeat(np.arange(classes), 2)
    x = random.normal(size=(len(y), 8)).astype(np.float32)
    np.savez(tmp_path / "many.npz", train_features=x, train_labels=y, test_features=x, test_labels=y)
    record = train(
        RunConfig(dataset="features", loss="gala", epochs=2), tmp_path / "run", tmp_path / "many.npz", progress=False
    )
    assert record["final"]["last"]["per_class"] is None
    assert (tmp_path / "run" / "record.json").stat().st_size < 24 * 1024
    table = pd.read_csv(tmp_path / "run" / "per_class.csv")
    assert len(table) == classes
    assert table["accuracy"].mean() == pytest.approx(record["final"]["last"]["top1"], abs=0.05)
    assert not (tmp_path / "run" / "pushes.npz").exists()
