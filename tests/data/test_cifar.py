"""CIFAR-LT: a small stand-in for the official files shows every failure; the real ones are tested where they are."""

from __future__ import annotations

import errno
import functools
import hashlib
import http.server
import os
import pickle
import re
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision import datasets

from lt_core.data import (
    CIFAR100_CLASSES,
    DataError,
    check_files,
    cifar10_lt,
    cifar100_lt,
    cifar100_lt_tuning,
    class_counts,
    data_root,
    load_dataset,
    longtail_indices,
)
from lt_core.data import cifar as cifar_module
from lt_core.data import sources as sources_module

PER_CLASS = 6  # training images of each class in the stand-in


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_pickle(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content))


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """CIFAR-100 in the official layout, 100 classes of six images, and a local server that offers the archive."""
    home = tmp_path_factory.mktemp("official")
    folder = home / "cifar-100-python"
    rng = np.random.default_rng(0)
    sums = {}
    for name, per_class in (("train", PER_CLASS), ("test", 2)):
        fine = rng.permutation(np.repeat(np.arange(100), per_class))
        pixels = rng.integers(0, 256, (len(fine), 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": fine.tolist(), "coarse_labels": (fine % 20).tolist()}
        write_pickle(folder / name, content)
        images = np.ascontiguousarray(pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        sums[name] = {"images": hashlib.sha256(images).hexdigest()}
    names = {"fine": [f"fine{c}" for c in range(100)], "coarse": [f"coarse{c}" for c in range(20)]}
    write_pickle(folder / "meta", {f"{kind}_label_names": of_kind for kind, of_kind in names.items()})
    archive = home / "cifar-100-python.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, arcname=folder.name)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=home))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/{archive.name}"
    yield SimpleNamespace(folder=folder, archive=archive, url=url, sums=sums)
    server.shutdown()
    server.server_close()


@pytest.fixture
def stand_in(official: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data root with a copy of the stand-in, whose sums and address are taken for the official ones."""
    source, folder = datasets.CIFAR100, official.folder
    monkeypatch.setattr(source, "train_list", [["train", md5(folder / "train")]])
    monkeypatch.setattr(source, "test_list", [["test", md5(folder / "test")]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": md5(folder / "meta")})
    monkeypatch.setattr(source, "url", official.url)
    monkeypatch.setattr(source, "tgz_md5", md5(official.archive))
    monkeypatch.setattr(sources_module, "CHECKSUMS", official.sums)
    monkeypatch.setattr(cifar_module, "class_counts", lambda c, n, f: class_counts(c, PER_CLASS, f))
    monkeypatch.delenv("LT_DATA_ROOT", raising=False)
    return shutil.copytree(folder, tmp_path / "root" / folder.name).parent


def test_stand_in_loads(stand_in: Path) -> None:
    data = cifar100_lt(stand_in, imbalance_factor=6)
    source = datasets.CIFAR100(stand_in, train=True)
    kept = longtail_indices(source.targets, class_counts(100, PER_CLASS, 6))
    assert data.train_images.dtype == torch.uint8
    assert data.train_images.is_contiguous()
    assert (data.train_images.permute(0, 2, 3, 1).numpy() == source.data[kept]).all()
    assert data.train_targets.tolist() == np.array(source.targets)[kept].tolist()
    assert data.test_images.shape == (200, 3, 32, 32)
    assert data.class_names[17] == "fine17"
    assert data.superclasses is not None
    assert data.superclasses[17] == "coarse17"
    assert data.superclasses[99] == "coarse19"


def test_class_order_keeps_labels_and_pairs_the_images(stand_in: Path) -> None:
    plain = cifar100_lt(stand_in, 6)
    turned = cifar100_lt(stand_in, 6, class_order=list(range(99, -1, -1)))
    assert turned.class_counts == plain.class_counts[::-1]
    assert turned.class_names == plain.class_names
    assert torch.equal(turned.test_targets, plain.test_targets)
    for label in range(100):
        n = min(plain.class_counts[label], turned.class_counts[label])
        a, b = (d.train_images[d.train_targets == label][:n] for d in (plain, turned))
        assert torch.equal(a, b)


def test_identity_order_is_the_canonical_one(stand_in: Path) -> None:
    ordered, plain = cifar100_lt(stand_in, 6, class_order=range(100)), cifar100_lt(stand_in, 6)
    assert torch.equal(ordered.train_images, plain.train_images)


def test_imbalance_one_keeps_everything(stand_in: Path) -> None:
    assert cifar100_lt(stand_in, 1).class_counts == [PER_CLASS] * 100


@pytest.mark.parametrize("seed", [0, 3])
def test_tuning_trains_on_a_prefix_and_scores_the_end_of_each_shuffle(
    seed: int, stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = cifar100_lt(stand_in, 1, seed)  # every class's six images in the order of its shuffle
    monkeypatch.setattr(cifar_module, "TUNING_COUNT", 4)
    monkeypatch.setattr(cifar_module, "class_counts", class_counts)
    turned = list(range(99, -1, -1))
    for order, counts in ((None, class_counts(100, 4, 4)), (turned, class_counts(100, 4, 4)[::-1])):
        data = load_dataset("cifar100_lt_tuning", stand_in, 4, seed, order)
        assert (data.name, data.class_counts) == ("cifar100_lt_tuning", counts)
        assert data.class_names == whole.class_names
        assert data.superclasses == whole.superclasses
        assert data.test_targets.tolist() == [label for label in range(100) for _ in range(2)]
        for label in range(100):
            images = whole.train_images[whole.train_targets == label]
            assert torch.equal(data.train_images[data.train_targets == label], images[: counts[label]])
            assert torch.equal(data.test_images[data.test_targets == label], images[4:])


@pytest.mark.parametrize("seed", [0, 3])
def test_held_out_images_are_the_end_of_each_shuffle(seed: int, stand_in: Path, monkeypatch) -> None:
    whole = cifar100_lt(stand_in, 1, seed)  # every class's six images in the order of its shuffle
    assert (whole.meta_images, whole.meta_targets) == (None, None)
    monkeypatch.setattr(cifar_module, "class_counts", lambda c, n, f: class_counts(c, n - 500 + PER_CLASS, f))
    for order, counts in ((None, class_counts(100, 4, 4)), (range(99, -1, -1), class_counts(100, 4, 4)[::-1])):
        data = load_dataset("cifar100_lt", stand_in, 4, seed, order, meta_per_class=2)
        assert data.class_counts == counts
        assert data.meta_targets.tolist() == [label for label in range(100) for _ in range(2)]
        assert torch.equal(data.test_images, whole.test_images)
        for label in range(100):
            images = whole.train_images[whole.train_targets == label]
            assert torch.equal(data.train_images[data.train_targets == label], images[: counts[label]])
            assert torch.equal(data.meta_images[data.meta_targets == label], images[4:])


@pytest.mark.parametrize("name", ["cifar100_lt_tuning", "synthetic", "folder", "features", "imagenet_lt"])
def test_other_data_sets_hold_no_images_out(name: str) -> None:
    with pytest.raises(ValueError, match="meta_per_class is 2; only cifar100_lt, cifar10_lt, digits_lt can hold"):
        load_dataset(name, "anywhere", meta_per_class=2)


def test_tuning_has_450_images_in_its_largest_class() -> None:
    with pytest.raises(ValueError, match="imbalance_factor is 451; allowed is at most max_count = 450"):
        cifar100_lt_tuning("anywhere", 451)
    with pytest.raises(ValueError, match="source is 'elsewhere'"):
        cifar100_lt_tuning("anywhere", source="elsewhere")
    with pytest.raises(DataError, match="the data root /nowhere does not exist"):
        cifar100_lt_tuning("/nowhere")


def test_root_from_the_environment(stand_in: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LT_DATA_ROOT", str(stand_in))
    assert len(load_dataset("cifar100_lt", imbalance_factor=1).train_images) == 100 * PER_CLASS
    given = tmp_path / "given"
    with pytest.raises(DataError, match=re.escape(f"{given} does not exist")):
        cifar100_lt(given, 6)  # the root that is given wins over the environment


@pytest.mark.parametrize("value", [None, ""])
def test_no_root_names_both_ways(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LT_DATA_ROOT", raising=False)
    if value is not None:
        monkeypatch.setenv("LT_DATA_ROOT", value)
    with pytest.raises(DataError, match=r"root=.*LT_DATA_ROOT"):
        data_root()


def test_home_folder_is_expanded() -> None:
    assert data_root("~/somewhere") == Path.home() / "somewhere"


def test_check_files_lists_them(stand_in: Path) -> None:
    assert [path.name for path in check_files(stand_in)] == ["train", "test", "meta"]


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_missing_file_is_named(stand_in: Path, name: str) -> None:
    path = stand_in / "cifar-100-python" / name
    path.unlink()
    with pytest.raises(DataError, match=re.escape(f"the file {path} is missing; download=True")):
        cifar100_lt(stand_in, 6)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied"])
def test_damaged_file_is_named_with_both_sums(stand_in: Path, name: str, damage: str) -> None:
    path = stand_in / "cifar-100-python" / name
    official, content = md5(path), bytearray(path.read_bytes())
    if damage == "altered":
        content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[:-7], "altered": content, "emptied": b""}[damage])
    with pytest.raises(DataError) as caught:
        cifar100_lt(stand_in, 6)
    for word in (str(path), md5(path), official, "download=True"):
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_missing_from_the_root(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-10-batches-py/data_batch_1 is missing"):
        cifar10_lt(tmp_path)


def test_root_that_is_a_file(tmp_path: Path) -> None:
    root = tmp_path / "file"
    root.write_text("not a folder")
    words = re.escape(f"{root} is a file; name the folder that holds cifar-100-python")
    for download in (False, True):
        with pytest.raises(DataError, match=words):
            cifar100_lt(root, 6, download=download)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a download was begun")

    monkeypatch.setattr(sources_module, "download", refuse)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("download", [False, True])
def test_a_root_one_level_too_deep_names_the_right_one(stand_in: Path, download: bool, monkeypatch) -> None:
    folder = stand_in / "cifar-100-python"
    words = re.escape(f"{folder} is the folder of the files; give the one above it, {stand_in}")
    with pytest.raises(DataError, match=words):
        cifar100_lt(folder, 6, download=download)
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=re.escape(f"the one above it, {stand_in}")):
        cifar100_lt(".", 6, download=download)
    (folder / "test").unlink()  # a broken copy is still the wrong level
    with pytest.raises(DataError, match=words):
        cifar100_lt(folder, 6, download=download)
    words = re.escape(f"one of the data's files; give the folder above theirs, {stand_in}")
    with pytest.raises(DataError, match=words):
        cifar100_lt(folder / "train", 6, download=download)


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("download", [False, True])
def test_the_files_in_a_folder_of_another_name(stand_in: Path, tmp_path: Path, download: bool) -> None:
    folder = (stand_in / "cifar-100-python").rename(tmp_path / "mine")
    with pytest.raises(DataError, match="holds the files of cifar-100-python themselves; rename it to cifar-100-p"):
        cifar100_lt(folder, 6, download=download)


def test_the_copy_of_hugging_face_one_level_too_deep(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-100-huggingface"
    folder.mkdir()
    (folder / "train.npz").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"give the one above it, {tmp_path}")):
        cifar100_lt(folder)


def test_cifar10_one_level_too_deep(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"")
    with pytest.raises(DataError, match=re.escape(f"give the one above it, {tmp_path}")):
        cifar10_lt(folder)


def test_a_root_one_level_too_high_names_the_right_one(stand_in: Path) -> None:
    words = f"there is no cifar-100-python in the data root {stand_in.parent}, but in {stand_in}; give that one"
    with pytest.raises(DataError, match=re.escape(words)):
        cifar100_lt(stand_in.parent, 6)


def test_folders_called_train_and_test_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    root = tmp_path / "images"
    for name in ("train", "test", "meta"):
        (root / name).mkdir(parents=True)
    with pytest.raises(DataError, match="images/cifar-100-python/train is missing; download=True"):
        cifar100_lt(root)


def test_an_archive_that_is_not_unpacked(stand_in: Path, official: SimpleNamespace, tmp_path: Path) -> None:
    root = tmp_path / "new"
    root.mkdir()
    archive = Path(shutil.copy(official.archive, root))
    command = f"python -m lt_core data --download --root {root}"
    words = f"the archive {archive} is not unpacked; download=True ({command}) does that"
    with pytest.raises(DataError, match=re.escape(words)):
        cifar100_lt(root, 6)
    with pytest.raises(DataError, match=re.escape(f"is the archive; give its folder {root}, where download=True")):
        cifar100_lt(archive, 6, download=True)
    assert len(cifar100_lt(root, 1, download=True).train_images) == 100 * PER_CLASS  # as the message says


def test_the_command_of_a_message_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "my data"
    with pytest.raises(DataError) as caught:
        cifar10_lt(root)
    assert f"(python -m lt_core data --download --root '{root}' --dataset cifar10_lt)" in str(caught.value)


@pytest.mark.parametrize("code", [errno.EACCES, errno.ELOOP])
@pytest.mark.parametrize("place", [".", "cifar-100-python", "cifar-100-python/train"])
def test_a_folder_that_cannot_be_read(place: str, code: int, stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    locked, real_stat = stand_in / place, os.stat
    shutil.rmtree(stand_in / "cifar-100-python")  # else torchvision reads the files before we look at them

    def refuse(path, *args, **kwargs):
        if Path(path) == locked:
            raise OSError(code, os.strerror(code), str(path))
        return real_stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refuse)
    advice = f"check the permissions of {locked.parent}" if code == errno.EACCES else "name another data root"
    with pytest.raises(DataError, match=re.escape(f"{locked} cannot be read ({os.strerror(code)}); {advice}")):
        cifar100_lt(stand_in, 6)


def test_roots_that_are_no_paths() -> None:
    with pytest.raises(TypeError, match="root is 5 of type int; the path of a folder is needed"):
        cifar100_lt(5)
    with pytest.raises(DataError, match="the data root ~nobody-of-that-name/x cannot be used"):
        cifar100_lt("~nobody-of-that-name/x")


def test_unreadable_file(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = open

    def refuse(file, *args, **kwargs):
        if str(file).endswith("cifar-100-python/test"):
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return real_open(file, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"python/test cannot be read .*Permission denied.* check its permissions"):
        cifar100_lt(stand_in, 6)


def test_download_into_a_new_folder(stand_in: Path, tmp_path: Path) -> None:
    data = cifar100_lt(tmp_path / "new" / "folder", 6, download=True)
    assert torch.equal(data.train_images, cifar100_lt(stand_in, 6).train_images)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_download_repairs(stand_in: Path, name: str) -> None:
    path = stand_in / "cifar-100-python" / name
    official = md5(path)
    path.write_bytes(b"broken")
    cifar100_lt(stand_in, 6, download=True)
    assert md5(path) == official


def test_download_replaces_half_an_archive(stand_in: Path) -> None:
    (stand_in / "cifar-100-python" / "train").unlink()
    (stand_in / "cifar-100-python.tar.gz").write_bytes(b"interrupted")  # as torchvision's own download leaves it
    assert len(cifar100_lt(stand_in, 1, download=True).train_images) == 100 * PER_CLASS


def test_download_of_whole_files_needs_no_network(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.CIFAR100, "url", "http://127.0.0.1:9/nothing.tar.gz")
    assert len(cifar100_lt(stand_in, 1, download=True).train_images) == 100 * PER_CLASS


def test_downloaded_archive_with_the_wrong_sum(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", "0" * 32)
    with pytest.raises(DataError, match=r"cifar-100-python.tar.gz is incomplete or altered: .*deleted, try again"):
        cifar100_lt(tmp_path / "new", 6, download=True)
    assert list((tmp_path / "new").iterdir()) == []


def test_unpacking_that_stops_leaves_the_archive_and_nothing_half_written(
    stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "new"

    def stop(tar: tarfile.TarFile, path: Path, **options: object) -> None:
        (path / "cifar-100-python").mkdir()
        (path / "cifar-100-python" / "train").write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", stop)
        with pytest.raises(DataError, match=r"disk of .* is full"):
            cifar100_lt(new, 6, download=True)
    assert [path.name for path in new.iterdir()] == ["cifar-100-python.tar.gz"]
    monkeypatch.setattr(datasets.CIFAR100, "url", "http://127.0.0.1:9/nothing.tar.gz")
    assert len(cifar100_lt(new, 1, download=True).train_images) == 100 * PER_CLASS  # the archive was whole


def test_pixels_are_checked_whatever_the_files_say(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "CHECKSUMS", {**sources_module.CHECKSUMS, "test": {"images": "0" * 64}})
    with pytest.raises(DataError, match=r"pixels of .*cifar-100-python are not those of CIFAR-100: .*0{64}"):
        cifar100_lt(stand_in, 6)


def test_no_network(stand_in: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.CIFAR100, "url", "http://127.0.0.1:9/nothing.tar.gz")  # nobody listens there
    with pytest.raises(DataError, match=r"cannot be downloaded .*check the network connection .*, or copy cifar-100"):
        cifar100_lt(tmp_path / "new", 6, download=True)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.EACCES, "cannot be written or read .*choose a folder that you own"),
        (errno.EROFS, "cannot be written or read"),
        (errno.ENOSPC, "the disk of .* is full"),
        (errno.EIO, "cannot be used"),
    ],
)
def test_root_that_cannot_be_written(code: int, words: str, stand_in: Path, tmp_path: Path, monkeypatch) -> None:
    def refuse(path, *args, **kwargs):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DataError, match=words):
        cifar100_lt(tmp_path / "new", 6, download=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"imbalance_factor": 0.1}, "imbalance_factor is 0.1"),
        ({"imbalance_factor": 1000}, "imbalance_factor is 1000"),
        ({"class_order": [1, 0]}, "class_order is"),
        ({"class_order": [100, *range(99)]}, r"a label of class_order is 100; allowed is a whole number in \[0, 99\]"),
        ({"class_order": [0] * 100}, r"class_order is \[0, 0, 0, 0, 0, 0, 0, 0, ...\] of length 100"),
        ({"seed": -1}, "seed is -1"),
        ({"meta_per_class": 500}, r"meta_per_class is 500; allowed is a whole number in \[0, 499\]"),
        ({"meta_per_class": -1}, "meta_per_class is -1"),
    ],
)
def test_wrong_arguments(options: dict, words: str, stand_in: Path) -> None:
    with pytest.raises(ValueError, match=words):
        cifar100_lt(stand_in, **{"imbalance_factor": 6, **options})


def test_unknown_data_set() -> None:
    allowed = "'cifar100_lt', 'cifar10_lt', 'cifar100_lt_tuning', 'digits_lt', 'synthetic'"
    with pytest.raises(ValueError, match=f"dataset is 'mnist'; allowed are {allowed}"):
        load_dataset("mnist")
    with pytest.raises(ValueError, match="dataset is 'synthetic'; allowed are 'cifar100_lt', 'cifar10_lt'"):
        check_files("anywhere", "synthetic")


@pytest.mark.realdata
def test_official_pixels(cifar_root: Path) -> None:
    data = cifar100_lt(cifar_root, imbalance_factor=1)
    kept = longtail_indices(datasets.CIFAR100(cifar_root, train=True).targets, data.class_counts)
    train = data.train_images.permute(0, 2, 3, 1).numpy()[np.argsort(kept)]  # back in the order of the file
    test = data.test_images.permute(0, 2, 3, 1).numpy()
    assert train.shape == (50000, 32, 32, 3)
    sums = [hashlib.sha256(np.ascontiguousarray(a)).hexdigest() for a in (train, test)]
    assert sums == [
        "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
        "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
    ]


@pytest.mark.realdata
@pytest.mark.parametrize(("factor", "seed"), [(100, 0), (100, 1), (1, 0)])
def test_tuning_parts_are_disjoint_and_the_scored_one_is_balanced(cifar_root: Path, factor: int, seed: int) -> None:
    data = cifar100_lt_tuning(cifar_root, factor, seed)
    assert data.class_counts == class_counts(100, 450, factor)
    assert torch.bincount(data.test_targets).tolist() == [50] * 100
    # By position in the official training set, since CIFAR-100 holds a few pictures more than once.
    official = datasets.CIFAR100(cifar_root, train=True)
    kept = longtail_indices(official.targets, data.class_counts, seed)
    scored = longtail_indices(official.targets, [500] * 100, seed).reshape(100, 500)[:, 450:].ravel()
    assert not set(kept.tolist()) & set(scored.tolist())
    for images, targets, positions in (
        (data.train_images, data.train_targets, kept),
        (data.test_images, data.test_targets, scored),
    ):
        assert (images.permute(0, 2, 3, 1).numpy() == official.data[positions]).all()
        assert targets.tolist() == np.array(official.targets)[positions].tolist()


@pytest.mark.realdata
def test_the_official_held_out_images_are_in_no_other_part(cifar_root: Path) -> None:
    official = datasets.CIFAR100(cifar_root, train=True)
    data, usual = (load_dataset("cifar100_lt", cifar_root, meta_per_class=k) for k in (10, 0))
    assert (len(data.train_images), len(usual.train_images)) == (10626, 10847)
    assert (data.class_counts[0], data.class_counts[-1]) == (490, 4)
    assert torch.bincount(data.meta_targets).tolist() == [10] * 100
    # By position in the official training set, since CIFAR-100 holds a few pictures more than once.
    kept = longtail_indices(official.targets, data.class_counts)
    meta = longtail_indices(official.targets, [500] * 100).reshape(100, 500)[:, 490:].ravel()
    assert not set(kept.tolist()) & set(meta.tolist())
    assert set(kept.tolist()) < set(longtail_indices(official.targets, usual.class_counts).tolist())
    assert (data.train_images.permute(0, 2, 3, 1).numpy() == official.data[kept]).all()
    assert (data.meta_images.permute(0, 2, 3, 1).numpy() == official.data[meta]).all()
    assert data.meta_targets.tolist() == np.array(official.targets)[meta].tolist()


@pytest.mark.realdata
def test_official_names_and_superclasses(cifar_root: Path) -> None:
    data = cifar100_lt(cifar_root)
    assert data.class_names == list(CIFAR100_CLASSES)
    assert len(data.train_images) == 10847
    assert torch.bincount(data.test_targets).tolist() == [100] * 100
    assert data.superclasses is not None
    assert [data.superclasses.count(name) for name in set(data.superclasses)] == [5] * 20
    trees = {data.superclasses[data.class_names.index(f"{tree}_tree")] for tree in ("maple", "oak", "palm", "pine")}
    assert trees == {"trees"}
