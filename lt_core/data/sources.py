r"""Where CIFAR is fetched from: its official host or Hugging Face, the one that is asked for and never the other.

Derived in chapter 1, *Long-tailed data*.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import io
import os
import shutil
import ssl
import sys
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from lt_core.data.longtail import DataError

SOURCES = ("toronto", "huggingface")
# One commit, so that a later change there changes nothing here; its rows are in the official order.
_REVISION = "https://huggingface.co/datasets/uoft-cs/cifar100/resolve/aadb3af77e9048adbea6b47c21a81e47dd092ae5"
HUGGINGFACE = {split: f"{_REVISION}/cifar100/{split}-00000-of-00001.parquet" for split in ("train", "test")}
HUGGINGFACE_FOLDER = "cifar-100-huggingface"
# SHA-256 of CIFAR-100's arrays, taken from the official files: uint8 pixels (N, 32, 32, 3), int64 labels (N,).
CHECKSUMS = {
    "train": {
        "images": "4e457917601a66aed021f5fa37957b56c6319557c0a8ed5484de3c390af45430",
        "fine": "8bf4935e7c77a3096270043c6f3b221b6ecb9c63d1a08608e9af66cff17e977a",
        "coarse": "9f99c2cdae93cf09da2fc6497c96ab042c6dc02c456a2e86dcffd2305df5a2e9",
    },
    "test": {
        "images": "4cb8e5d9309da489bf6b19cc10cd96c3ae6f8daf225380b605aaee4c0d6aee19",
        "fine": "80031c23f8300724c6fbc588e4bccbe41c6392041782148727bb497b0132c4ad",
        "coarse": "e2f01c218d5f70ed60e3d80cb12337f835005bcae62b64fefcaa2b647612af83",
    },
}
COMMAND = "python -m lt_core data --download"  # for messages: the one command that has all options of a download
TIMEOUT = 60.0  # seconds without a byte before a transfer counts as broken
_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def download(url: str, path: Path, other: str = "") -> None:
    """Fetch a file; what an interrupted transfer left in ``path``.part is continued, or replaced if the host cannot.

    Args:
        url: address of the file.
        path: where the whole file goes, and only the whole file.
        other: another way to get it, for the message.

    Raises:
        DataError: the network or the host refused; what has arrived is kept for the next call.
        OSError: the disk refused; nothing is kept.
    """
    part = path.with_name(path.name + ".part")
    try:
        try:
            _transfer(url, part)
        except urllib.error.HTTPError as error:
            if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise
            part.unlink(missing_ok=True)  # there is nothing after what we have, so it is not this file's beginning
            _transfer(url, part)
    except _NETWORK as error:
        raise DataError(
            f"{url} cannot be downloaded ({error}); check the network connection and run it again,"
            f" which continues where it stopped{other}"
        ) from error
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    os.replace(part, path)


def fetch_archive(url: str, md5: str, folder: Path, filename: str, base_folder: str, other: str) -> None:
    """Fetch an official archive into ``folder`` and unpack it; an archive that is there and whole is not fetched.

    Raises:
        DataError: it cannot be fetched, is altered, or the disk refused. No half-written file stays in place.
    """
    archive = folder / filename
    with _storage_errors(folder, base_folder, 360):
        folder.mkdir(parents=True, exist_ok=True)
        if not archive.is_file() or md5_of(archive) != md5:
            download(url, archive, f"{other}, or copy {base_folder} into {folder} from a machine that has it")
        if (found := md5_of(archive)) != md5:
            archive.unlink()
            raise DataError(
                f"the archive downloaded from {url} is incomplete or altered: its MD5 is {found}, the official one"
                f" {md5}; it is deleted, try again{other}"
            )
        with _staging(folder / base_folder) as staging, tarfile.open(archive) as tar:
            tar.extractall(staging, filter="data")
            _install(staging / base_folder, folder / base_folder)


def fetch_huggingface(folder: Path) -> None:
    """Fetch CIFAR-100 from Hugging Face and keep it, checked, as arrays in ``folder/cifar-100-huggingface``.

    Raises:
        DataError: pyarrow is missing, the files cannot be fetched or read, an array is not the official one, or
            the disk refused. No half-written file stays in place.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise DataError("source='huggingface' needs pyarrow, which is not installed; pip install pyarrow") from None
    arrays = {}
    files = {split: folder / f"{HUGGINGFACE_FOLDER}-{split}.parquet" for split in HUGGINGFACE}
    with _storage_errors(folder, HUGGINGFACE_FOLDER, 330):
        folder.mkdir(parents=True, exist_ok=True)
        for split, path in files.items():
            if not path.is_file():
                download(HUGGINGFACE[split], path, f", or pass source='toronto' ({COMMAND} --source toronto)")
        for split, path in files.items():
            try:
                arrays[split] = decode_parquet(path)
                check_arrays(split, arrays[split], path)
            except DataError as error:
                path.unlink()
                raise DataError(f"{error}; it is deleted, try again, or pass source='toronto'") from error
        with _staging(folder / HUGGINGFACE_FOLDER) as staging:
            for split, kept in arrays.items():
                np.savez(staging / f"{split}.npz", images=kept["images"], fine=kept["fine"], coarse=kept["coarse"])
            _install(staging, folder / HUGGINGFACE_FOLDER)
        for path in files.values():
            path.unlink()


def read_huggingface(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """The arrays that :func:`fetch_huggingface` kept, checked again.

    Args:
        folder: the data root.

    Returns:
        For ``"train"`` and ``"test"``: ``images`` uint8 (N, 32, 32, 3), ``fine`` and ``coarse`` int64 (N,).

    Raises:
        DataError: a file is missing, unreadable or altered.
    """
    arrays = {}
    fix = f"fetch it again with download=True, source='huggingface' ({COMMAND} --source huggingface)"
    for split, names in CHECKSUMS.items():
        path = folder / HUGGINGFACE_FOLDER / f"{split}.npz"
        if not path.is_file():
            raise DataError(f"the file {path} is missing; {fix}")
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays[split] = {name: content[name] for name in names}
            check_arrays(split, arrays[split], path)
        except DataError as error:
            raise DataError(f"{error}; {fix}") from error
        except PermissionError as error:
            raise DataError(f"the file {path} cannot be read ({error}); check its permissions") from error
        except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"the file {path} is truncated or altered ({error}); {fix}") from error
    return arrays


def decode_parquet(path: Path) -> dict[str, np.ndarray]:
    """Pixels and labels of a Parquet file with the columns ``img`` (PNG), ``fine_label`` and ``coarse_label``.

    Args:
        path: the file, N rows.

    Returns:
        ``images`` uint8 (N, 32, 32, 3), ``fine`` and ``coarse`` int64 (N,), in the order of the rows.

    Raises:
        DataError: the file is truncated, or lacks a column, or an image is not a 32 × 32 RGB image.
    """
    import pyarrow.parquet as parquet
    from PIL import Image

    try:
        with parquet.ParquetFile(path) as file:
            total = file.metadata.num_rows
            images = np.empty((total, 32, 32, 3), dtype=np.uint8)
            labels: dict[str, list[int]] = {"fine": [], "coarse": []}
            row = 0
            with _progress(path.name, total, 0, "img") as bar:
                for batch in file.iter_batches(1000, columns=["img", "fine_label", "coarse_label"]):
                    for png in batch.column("img").field("bytes").to_pylist():
                        images[row] = np.asarray(Image.open(io.BytesIO(png)))
                        row += 1
                    for name in labels:
                        labels[name] += batch.column(f"{name}_label").to_pylist()
                    bar.update(len(batch))
            targets = {name: np.array(values, dtype=np.int64) for name, values in labels.items()}
    # pyarrow's own errors are among these; Pillow has a SyntaxError for a broken PNG.
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"the file {path} ({path.stat().st_size} bytes) cannot be decoded ({reason})") from error
    return {"images": images, **targets}


def check_arrays(split: str, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Raise a DataError for the first array that is not CIFAR-100's, by its SHA-256.

    Args:
        split: ``"train"`` or ``"test"``.
        arrays: any of ``images`` uint8 (N, 32, 32, 3), ``fine`` and ``coarse`` int64 (N,).
        path: where they come from, for the message.
    """
    for name, array in arrays.items():
        kind = np.uint8 if name == "images" else np.dtype("<i8")
        found = hashlib.sha256(np.ascontiguousarray(array, dtype=kind).data).hexdigest()
        if found != CHECKSUMS[split][name]:
            what = "pixels" if name == "images" else f"{name} labels"
            raise DataError(
                f"the {what} of {path} are not those of CIFAR-100: their SHA-256 is {found}, the official one"
                f" {CHECKSUMS[split][name]}"
            )


def md5_of(path: Path) -> str:
    """MD5 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _transfer(url: str, part: Path) -> None:
    """Append to ``part`` what it lacks of the file at ``url``."""
    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "lt_core"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = response.headers["Content-Length"]
        total = None if length is None else have + int(length)
        with open(part, "ab" if have else "wb") as file, _progress(part.stem, total, have, "B") as bar:
            while chunk := response.read(1 << 16):
                file.write(chunk)
                bar.update(len(chunk))
    arrived = part.stat().st_size
    if total is not None and arrived < total:  # http.client ends a broken transfer as it ends a whole one
        raise http.client.HTTPException(f"the host sent {arrived} of {total} bytes")


def _progress(name: str, total: int | None, initial: int, unit: str) -> Any:
    """A bar on stderr; none where that is a file or a pipe. A notebook's stderr, its own object, has the bar."""
    from tqdm.auto import tqdm

    disable = None if sys.stderr is sys.__stderr__ else False
    return tqdm(desc=name, total=total, initial=initial, unit=unit, unit_scale=True, mininterval=0.5, disable=disable)


@contextlib.contextmanager
def _staging(target: Path) -> Iterator[Path]:
    """An empty folder beside ``target``, gone afterwards: files move into place only when they are whole."""
    staging = target.with_name(target.name + ".part")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir()
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _install(staging: Path, target: Path) -> None:
    """Move every file of ``staging`` to ``target``."""
    target.mkdir(exist_ok=True)
    for file in staging.iterdir():
        os.replace(file, target / file.name)


@contextlib.contextmanager
def _storage_errors(folder: Path, name: str, megabytes: int) -> Iterator[None]:
    """One sentence for what the operating system refused."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = f"the disk of {folder} is full; the download of {name} and its files need {megabytes} MB"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            text = f"the data root {folder} cannot be written or read ({error}); choose a folder that you own"
        else:
            text = f"the data root {folder} cannot be used ({error}); choose another folder"
        raise DataError(text) from error
