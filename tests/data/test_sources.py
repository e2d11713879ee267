"""The second source: a Parquet file that the test makes, a local server that breaks off, and nothing tried silently."""

from __future__ import annotations

import builtins
import errno
import hashlib
import http.server
import io
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from lt_core.cli import main
from lt_core.data import (
    CIFAR100_CLASSES,
    CIFAR100_SUPERCLASSES,
    DataError,
    check_files,
    cifar10_lt,
    cifar100_lt,
    class_counts,
    load_dataset,
    sources,
)
from lt_core.data import cifar as cifar_module

PER_CLASS = {"train": 3, "test": 1}
KEPT = "cifar-100-huggingface"


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_parquet(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """The layout of uoft-cs/cifar100: a struct of PNG bytes and a path, and two columns of labels."""
    image = pa.array(
        [{"bytes": png(pixels), "path": None} for pixels in arrays["images"]],
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    columns = {"img": image, "fine_label": arrays["fine"], "coarse_label": arrays["coarse"]}
    pq.write_table(pa.table(columns), path, row_group_size=100)


def random_arrays(per_class: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    fine = rng.permutation(np.repeat(np.arange(100), per_class))
    images = rng.integers(0, 256, (len(fine), 32, 32, 3), dtype=np.uint8)
    return {"images": images, "fine": fine, "coarse": fine % 20}


class Host(http.server.ThreadingHTTPServer):
    """Serves ``files``; can break off, stall, refuse, or ignore ranges, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.break_after: int | None = None
        self.stall = threading.Event()
        self.stall.set()
        self.status: int | None = None
        self.ranges = True
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Host

    def do_GET(self) -> None:
        host, content = self.server, self.server.files.get(self.path)
        wanted = self.headers["Range"]
        host.asked.append((self.path, wanted))
        if content is None or host.status:
            self.send_error(host.status or 404)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and host.ranges else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : None if host.break_after is None else start + host.break_after])
        self.wfile.flush()
        host.stall.wait(10)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def host() -> Iterator[Host]:
    server = Host()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.stall.set()
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A CIFAR-100 of 300 and 100 random images, as arrays and as Parquet files."""
    home = tmp_path_factory.mktemp("small")
    arrays = {split: random_arrays(n, n) for split, n in PER_CLASS.items()}
    for split, content in arrays.items():
        write_parquet(home / split, content)
    return SimpleNamespace(arrays=arrays, files={f"/{split}": (home / split).read_bytes() for split in arrays})


@pytest.fixture
def served(small: SimpleNamespace, host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The small set on the local host, its sums taken for the official ones; the official host is nowhere."""
    host.files = dict(small.files)
    monkeypatch.setattr(sources, "HUGGINGFACE", {split: f"{host.url}/{split}" for split in PER_CLASS})
    monkeypatch.setattr(sources, "CHECKSUMS", sums(small.arrays))
    monkeypatch.setattr(cifar_module, "class_counts", lambda c, n, f: class_counts(c, PER_CLASS["train"], f))
    monkeypatch.setattr("torchvision.datasets.CIFAR100.url", "http://127.0.0.1:9/nothing.tar.gz")
    return host


def sums(arrays: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, str]]:
    def digest(array: np.ndarray) -> str:
        return hashlib.sha256(np.ascontiguousarray(array)).hexdigest()

    return {split: {name: digest(array) for name, array in content.items()} for split, content in arrays.items()}


def fetch(root: Path, **options: object):
    return cifar100_lt(root, 1, download=True, source="huggingface", **options)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


# The decoder


def test_images_and_labels_come_back_exactly(small: SimpleNamespace, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(small.files["/train"])
    found = sources.decode_parquet(path)
    assert found.keys() == small.arrays["train"].keys()
    for name, array in small.arrays["train"].items():
        assert found[name].dtype == array.dtype
        assert np.array_equal(found[name], array)


@pytest.mark.parametrize("damage", ["truncated", "emptied", "not a Parquet file", "a page", "a PNG", "no PNG", "gray"])
def test_broken_parquet_is_one_sentence(damage: str, small: SimpleNamespace, tmp_path: Path) -> None:
    path, content = tmp_path / "file.parquet", small.files["/test"]
    if damage in ("a PNG", "no PNG", "gray"):
        pixels = {"a PNG": png(np.zeros((32, 32, 3), np.uint8))[:60], "no PNG": None}.get(
            damage, png(np.zeros((32, 32), np.uint8))
        )
        columns = {"img": [{"bytes": pixels, "path": None}], "fine_label": [0], "coarse_label": [0]}
        pq.write_table(pa.table(columns), path)
    else:
        middle = len(content) // 2
        path.write_bytes({
            "truncated": content[:middle], "emptied": b"", "not a Parquet file": b"<html>busy</html>" * 9,
            "a page": content[:4] + b"\xff" * middle + content[4 + middle :],
        }[damage])  # fmt: skip
    with pytest.raises(DataError, match=r"file\.parquet \(\d+ bytes\) cannot be decoded \(.+\)") as caught:
        sources.decode_parquet(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("column", ["img", "fine_label", "coarse_label"])
def test_missing_column_is_named(column: str, tmp_path: Path) -> None:
    image = png(np.zeros((32, 32, 3), np.uint8))
    columns = {"img": [{"bytes": image, "path": None}], "fine_label": [0], "coarse_label": [0]}
    del columns[column]
    pq.write_table(pa.table(columns), tmp_path / "file")
    with pytest.raises(DataError, match=column):
        sources.decode_parquet(tmp_path / "file")


# The transfer


def test_broken_transfer_is_continued(host: Host, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(300_000)
    host.files, host.break_after = {"/file": content}, 100_000
    path = tmp_path / "file"
    for arrived in (100_000, 200_000):
        with pytest.raises(DataError, match=rf"sent {arrived} of 300000 bytes.*continues where it stopped"):
            sources.download(f"{host.url}/file", path)
        assert names(tmp_path) == ["file.part"]
    sources.download(f"{host.url}/file", path)
    assert path.read_bytes() == content
    assert names(tmp_path) == ["file"]
    assert [wanted for _, wanted in host.asked] == [None, "bytes=100000-", "bytes=200000-"]


def test_host_without_ranges_starts_again(host: Host, tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(100_000)
    host.files, host.ranges = {"/file": content}, False
    (tmp_path / "file.part").write_bytes(b"what was there" * 100)
    sources.download(f"{host.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == content


def test_part_longer_than_the_file_starts_again(host: Host, tmp_path: Path) -> None:
    host.files = {"/file": b"short"}
    (tmp_path / "file.part").write_bytes(b"much too long")
    sources.download(f"{host.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"short"


def test_host_that_falls_silent(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "TIMEOUT", 0.2)
    host.files, host.break_after = {"/file": bytes(1000)}, 10
    host.stall.clear()
    with pytest.raises(DataError, match=r"cannot be downloaded .*timed out"):
        sources.download(f"{host.url}/file", tmp_path / "file")


@pytest.mark.parametrize(("status", "words"), [(404, "HTTP Error 404"), (503, "HTTP Error 503")])
def test_refusal_of_the_host(status: int, words: str, served: Host, tmp_path: Path) -> None:
    served.status = status
    with pytest.raises(DataError, match=rf"cannot be downloaded \({words}.*source='toronto'"):
        fetch(tmp_path / "new")
    assert names(tmp_path) == []


def test_full_disk_keeps_nothing(served: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_open = open

    class Full(io.FileIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(file, mode="r", *args, **kwargs):
        return Full(file, mode) if str(file).endswith(".part") else real_open(file, mode, *args, **kwargs)

    monkeypatch.setattr(builtins, "open", refuse)
    with pytest.raises(DataError, match=r"the disk of .* is full; .* need 330 MB"):
        fetch(tmp_path)
    assert names(tmp_path) == []


# The whole way


def test_the_data_is_the_one_that_was_served(served: Host, small: SimpleNamespace, tmp_path: Path) -> None:
    data = fetch(tmp_path / "new")
    assert names(tmp_path / "new") == [f"{KEPT}/test.npz", f"{KEPT}/train.npz"]
    test = small.arrays["test"]
    assert np.array_equal(data.test_images.permute(0, 2, 3, 1).numpy(), test["images"])
    assert data.test_targets.tolist() == test["fine"].tolist()
    assert data.class_counts == [PER_CLASS["train"]] * 100
    assert data.class_names == list(CIFAR100_CLASSES)
    assert data.superclasses == [CIFAR100_SUPERCLASSES[fine % 20] for fine in range(100)]
    for image, target in zip(data.train_images[:5], data.train_targets[:5], strict=True):
        same = (small.arrays["train"]["images"] == image.permute(1, 2, 0).numpy()).all(axis=(1, 2, 3))
        assert small.arrays["train"]["fine"][same].tolist() == [target]


def test_what_is_there_and_whole_is_not_fetched_again(served: Host, tmp_path: Path) -> None:
    first = fetch(tmp_path)
    asked = len(served.asked)
    for data in (fetch(tmp_path), load_dataset("cifar100_lt", tmp_path, 1), cifar100_lt(tmp_path, 1, download=True)):
        assert torch.equal(data.train_images, first.train_images)
    assert len(served.asked) == asked
    assert [path.name for path in check_files(tmp_path)] == ["train.npz", "test.npz"]


def test_interrupted_import_goes_on(served: Host, tmp_path: Path) -> None:
    served.break_after = 50_000
    with pytest.raises(DataError, match="cannot be downloaded"):
        fetch(tmp_path)
    assert names(tmp_path) == [f"{KEPT}-train.parquet.part"]
    with pytest.raises(DataError, match=r"does not exist|is missing"):
        cifar100_lt(tmp_path, 1)
    served.break_after = None
    assert len(fetch(tmp_path).train_images) == 300
    assert served.asked[1] == ("/train", "bytes=50000-")


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", ["images", "fine", "coarse", "order"])
def test_altered_data_is_refused(
    split: str, kind: str, served: Host, small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = {name: array.copy() for name, array in small.arrays[split].items()}
    if kind == "order":
        arrays = {name: array[::-1] for name, array in arrays.items()}
    else:
        arrays[kind].flat[77] ^= 1
    write_parquet(tmp_path / "altered", arrays)
    served.files[f"/{split}"] = (tmp_path / "altered").read_bytes()
    root = tmp_path / "root"
    what = "pixels" if kind in ("images", "order") else f"{kind} labels"
    with pytest.raises(DataError, match=rf"the {what} of .*-{split}\.parquet are not those of CIFAR-100.*deleted"):
        fetch(root)
    assert f"{KEPT}-{split}.parquet" not in names(root)
    assert not (root / KEPT).exists()
    served.files = dict(small.files)  # and the next attempt is clean
    assert len(fetch(root).train_images) == 300


def test_stopped_while_it_is_kept(served: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path, **arrays: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", stop)
        with pytest.raises(DataError, match=r"the disk of .* is full"):
            fetch(tmp_path)
    assert names(tmp_path) == [f"{KEPT}-test.parquet", f"{KEPT}-train.parquet"]
    served.status = 503
    assert len(fetch(tmp_path).train_images) == 300  # both files were whole


@pytest.mark.parametrize("damage", ["truncated", "altered", "emptied", "missing"])
def test_damaged_copy_is_named_and_mended(damage: str, served: Host, tmp_path: Path) -> None:
    fetch(tmp_path)
    path = tmp_path / KEPT / "test.npz"
    content = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes({"truncated": content[:-9], "altered": content, "emptied": b""}[damage])
    words = "is missing" if damage == "missing" else r"is truncated or altered|are not those"
    with pytest.raises(DataError, match=rf"test\.npz.* ({words}).*source='huggingface'"):
        cifar100_lt(tmp_path, 1)
    assert len(fetch(tmp_path).test_images) == 100


def test_arrays_swapped_in_the_copy_are_refused(served: Host, small: SimpleNamespace, tmp_path: Path) -> None:
    fetch(tmp_path)
    arrays = small.arrays["test"]
    np.savez(tmp_path / KEPT / "test.npz", images=arrays["images"][::-1], fine=arrays["fine"], coarse=arrays["coarse"])
    with pytest.raises(DataError, match=r"the pixels of .*test\.npz are not those of CIFAR-100"):
        cifar100_lt(tmp_path, 1)


# Nothing is tried silently


def test_toronto_down_does_not_touch_huggingface(served: Host, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.tar\.gz cannot be downloaded .*source='huggingface'"):
        cifar100_lt(tmp_path / "new", 1, download=True)
    assert served.asked == []
    assert names(tmp_path) == []


def test_huggingface_down_does_not_touch_toronto(served: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    official = Host()
    threading.Thread(target=official.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setattr("torchvision.datasets.CIFAR100.url", f"{official.url}/archive")
    served.status = 503
    with pytest.raises(DataError, match="HTTP Error 503"):
        fetch(tmp_path)
    assert official.asked == []
    official.shutdown()
    official.server_close()


def test_broken_official_files_are_not_replaced_by_the_copy(served: Host, tmp_path: Path) -> None:
    fetch(tmp_path)
    (tmp_path / "cifar-100-python").mkdir()
    with pytest.raises(DataError, match=r"cifar-100-python/train is missing"):
        cifar100_lt(tmp_path, 1)
    asked = len(served.asked)
    with pytest.raises(DataError, match=r"broken official files.*delete that folder"):
        fetch(tmp_path)
    assert len(served.asked) == asked


def test_without_pyarrow_nothing_is_fetched(served: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"needs pyarrow.*pip install pyarrow"):
        fetch(tmp_path)
    assert served.asked == []


@pytest.mark.parametrize("load", [cifar100_lt, cifar10_lt, lambda *a, **k: load_dataset("synthetic", **k)])
def test_unknown_source(load, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source is 'kaggle'; allowed are 'toronto', 'huggingface'"):
        load(tmp_path, source="kaggle")


def test_cifar10_has_one_source(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="source is 'huggingface'; allowed for cifar10_lt is 'toronto' only"):
        cifar10_lt(tmp_path, download=True, source="huggingface")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--download", "--source", "kaggle"), "source is 'kaggle'; allowed are 'toronto', 'huggingface'"),
        (("--download", "--source", ""), "source is ''"),
        (("--source", "huggingface"), "--source is 'huggingface' without --download"),
        (("--download", "--source", "huggingface", "--dataset", "cifar10_lt"), "allowed for cifar10_lt"),
        (("--download", "--source", "huggingface"), "is a file"),
    ],
)
def test_command_line_errors(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd
) -> None:
    root = tmp_path / "file"
    root.write_text("no folder, so nothing is asked of the network")
    monkeypatch.setattr(sys, "argv", ["lt_core", "data", "--root", str(root), *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line


def test_command_line_fetches(served: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    options = ["--root", str(tmp_path), "--imbalance-factor", "3", "--download", "--source", "huggingface"]
    monkeypatch.setattr(sys, "argv", ["lt_core", "data", *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    assert "files verified" in capfd.readouterr().out
    assert {path for path, _ in served.asked} == {"/train", "/test"}


# The real images


@pytest.mark.realdata
def test_real_superclass_names(cifar_root: Path) -> None:
    meta = pickle.loads((cifar_root / "cifar-100-python" / "meta").read_bytes(), encoding="latin1")
    assert tuple(meta["coarse_label_names"]) == CIFAR100_SUPERCLASSES


@pytest.mark.realdata
def test_real_data_over_both_ways_is_identical(
    cifar_root: Path, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split in ("train", "test"):
        content = pickle.loads((cifar_root / "cifar-100-python" / split).read_bytes(), encoding="latin1")
        arrays = {f"{kind}": np.array(content[f"{kind}_labels"]) for kind in ("fine", "coarse")}
        arrays["images"] = content["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        write_parquet(tmp_path / split, arrays)
        host.files[f"/{split}"] = (tmp_path / split).read_bytes()
    monkeypatch.setattr(sources, "HUGGINGFACE", {split: f"{host.url}/{split}" for split in ("train", "test")})
    options = {"imbalance_factor": 10, "seed": 3, "class_order": list(range(99, -1, -1))}
    second = cifar100_lt(tmp_path / "root", **options, download=True, source="huggingface")
    official = cifar100_lt(cifar_root, **options)
    for name in ("train_images", "train_targets", "test_images", "test_targets"):
        a, b = getattr(second, name), getattr(official, name)
        assert (a.dtype, a.stride()) == (b.dtype, b.stride())
        assert torch.equal(a, b)
    for name in ("name", "class_counts", "class_names", "superclasses"):
        assert getattr(second, name) == getattr(official, name)
