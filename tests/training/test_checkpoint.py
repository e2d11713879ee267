"""Checkpoints that cannot be used: one line each, with the advice for its cause."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lt_core.training import CheckpointError, RunConfig, checkpoint
from lt_core.training.checkpoint import KEYS, applying, load_checkpoint, save_checkpoint

FIRST = torch.arange(1000.0)
OTHER = "go on with the versions of lt_core and PyTorch that wrote it"


def content(epoch: int = 2, **values: Any) -> dict[str, Any]:
    made = {
        "config": RunConfig().to_dict(),
        "epoch": epoch,
        "model": {"weight": FIRST},
        "loss": {},
        "step": {"optimizer": {}, "scaler": {}},
        "history": [{"epoch": 1}, {"epoch": 2}],
        "best": {"top1": 1.0},
        "best_rebalanced": {"top1": 1.0},
        "seconds": {"whole": 1.0},
        "rng": torch.get_rng_state(),
        "cuda_rng": [],
        "threads": 1,
        "compiled": False,
        "precision": "float32",
    }
    return made | values


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with two good checkpoints."""
    for epoch in (1, 2):
        save_checkpoint(tmp_path, content(epoch))
    return tmp_path


def refusal(folder: Path) -> str:
    """What `load_checkpoint` says, which is one line and leaves both files alone."""
    before = {path: path.read_bytes() for path in folder.glob("*.pt") if path.is_file()}
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert {path: path.read_bytes() for path in before} == before
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 600
    assert str(folder / "last.pt") in line
    return line


def flip(data: bytes) -> bytes:
    """One byte of a stored tensor changed."""
    changed = bytearray(data)
    changed[data.index(FIRST[500:510].numpy().tobytes()) + 2] ^= 0xFF
    return bytes(changed)


DAMAGE = {
    "it is empty": lambda data: b"",
    "it is cut short": lambda data: data[: len(data) // 2],
    "never written by torch.save": lambda data: b"\0" * len(data),
    "/data/0 is not as it was written": flip,
}


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_names_the_older_checkpoint(run: Path, what: str) -> None:
    last, previous = run / "last.pt", run / "previous.pt"
    last.write_bytes(DAMAGE[what](last.read_bytes()))
    line = refusal(run)
    assert "last.pt is damaged: it" in line
    assert what in line
    assert line.endswith(f"; the previous one is {previous}: rename it to last.pt to go on from it")
    previous.replace(last)  # what the message advises
    assert load_checkpoint(run)["epoch"] == 1


def test_every_damaged_byte_of_a_weight_would_else_pass_unnoticed(run: Path) -> None:
    """Why the check sums are looked at here: PyTorch reads the changed file."""
    last = run / "last.pt"
    last.write_bytes(flip(last.read_bytes()))
    assert not torch.equal(torch.load(last, weights_only=True)["model"]["weight"], FIRST)


def test_without_a_whole_older_one_none_is_named(run: Path) -> None:
    (run / "last.pt").write_bytes(b"")
    (run / "previous.pt").write_bytes(b"PK")
    assert refusal(run).endswith("it is empty; there is no earlier one: move it away to begin anew")
    (run / "previous.pt").unlink()
    assert refusal(run).endswith("it is empty; there is no earlier one: move it away to begin anew")


def test_a_missing_checkpoint(run: Path, tmp_path: Path) -> None:
    (run / "last.pt").unlink()
    assert refusal(run).startswith("there is no checkpoint at")
    assert "rename it" in refusal(run)
    (run / "previous.pt").unlink()
    assert refusal(run) == f"there is no checkpoint at {run / 'last.pt'}"
    (tmp_path / "file").write_text("")
    assert refusal(tmp_path / "file") == f"there is no checkpoint at {tmp_path / 'file' / 'last.pt'}"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
    ],
)
def test_what_cannot_be_read_is_never_replaced(
    run: Path, error: OSError, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == "last.pt":
            raise error
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(run)
    advice = "the file may be whole: make it readable, and give the command again"
    assert str(caught.value) == f"{run / 'last.pt'} cannot be read: {words}; {advice}"
    assert load_checkpoint(run)["epoch"] == 2


def test_a_directory_in_its_place(run: Path) -> None:
    (run / "last.pt").unlink()
    (run / "last.pt").mkdir()
    assert refusal(run) == f"{run / 'last.pt'} is a directory, where a file is needed; move it away"


@pytest.mark.parametrize("key", KEYS)
def test_a_checkpoint_without_a_key_is_of_another_version(run: Path, key: str) -> None:
    saved = content()
    del saved[key]
    torch.save(saved, run / "last.pt")
    line = refusal(run)
    if key in ("config", "model"):
        assert "is not a checkpoint of lt_core; move it away" in line
    else:
        assert f"last.pt is of another version: it lacks {key}; {OTHER}" in line
        assert "previous.pt" not in line


@pytest.mark.parametrize(("key", "value"), [("history", {}), ("config", [1]), ("rng", [1, 2]), ("threads", "two")])
def test_a_value_of_another_type_is_of_another_version(run: Path, key: str, value: Any) -> None:
    torch.save(content(**{key: value}), run / "last.pt")
    line = refusal(run)
    assert f"last.pt is of another version: {key} is of type {type(value).__name__}; {OTHER}" in line
    assert "previous.pt" not in line


@pytest.mark.parametrize("foreign", [{"weights": torch.zeros(2)}, [1, 2], torch.zeros(3)])
def test_a_file_of_something_else_is_moved_away_first(run: Path, foreign: Any) -> None:
    torch.save(foreign, run / "last.pt")
    assert "is not a checkpoint of lt_core; move it away; the previous one is" in refusal(run)


def test_another_versions_objects_are_named_without_pytorchs_advice(run: Path) -> None:
    torch.save(content(best={"top1": np.float64(3)}), run / "last.pt")
    line = refusal(run)
    assert re.search(r"cannot be read by this version: it holds numpy\.\S+\.scalar; go on with", line)
    assert "trust" not in line
    assert "previous.pt" not in line


def test_a_file_of_a_newer_pytorch(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Attempted to read a PyTorch file with version 10, but 9 is supported.\nException raised")

    monkeypatch.setattr(checkpoint.torch, "load", refuse)
    line = refusal(run)
    assert "by this version: Attempted to read a PyTorch file with version 10, but 9 is supported; " + OTHER in line
    assert "previous.pt" not in line


# Applying


def network(width: int = 4, **layers: nn.Module) -> nn.Module:
    return nn.ModuleDict({"first": nn.Linear(3, width), "classifier": nn.Linear(width, 100), **layers})


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        (network(), ""),
        (network(width=6), r"size mismatch for first\.weight: .*\[6, 3\].*\[4, 3\]\); size mismatch for first\.bias"),
        (network(last=nn.Linear(2, 2)), r'Unexpected key\(s\) in state_dict: "last\.weight", "last\.bias"'),
        (nn.ModuleDict({"first": nn.Linear(3, 4)}), r'Missing key\(s\) in state_dict: "classifier\.weight", "class'),
        (network(width=7, **{f"l{n}": nn.Linear(50, 50) for n in range(300)}), r"Unexpected .* …; size.*; and 1 more"),
    ],
)
def test_another_network_is_one_line_that_says_what_differs(saved: nn.Module, words: str, tmp_path: Path) -> None:
    if not words:
        with applying(tmp_path):
            network().load_state_dict(saved.state_dict())
        return
    with pytest.raises(CheckpointError, match=words) as caught, applying(tmp_path):
        network().load_state_dict(saved.state_dict())
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'last.pt'} does not fit this run: ")
    assert line.endswith("or train anew in another directory")
    assert "\n" not in line
    assert len(line) < 800


def missing_key() -> None:
    {}["cpu_seconds"]


def other_optimizer() -> None:
    one, two = (torch.optim.SGD([torch.zeros(1, requires_grad=True) for _ in range(n)]) for n in (1, 2))
    one.load_state_dict(two.state_dict())


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (missing_key, "it lacks 'cpu_seconds'"),
        (other_optimizer, "loaded state dict contains a parameter group"),
        (lambda: torch.set_rng_state(torch.zeros(3)), "RNG"),
        (lambda: RunConfig.from_dict({"sampling": "x"}), "configuration key is 'sampling'; allowed are"),
        (lambda: [][0], "list index out of range"),
        (lambda: len(3), "has no len"),
    ],
)
def test_whatever_does_not_fit_is_one_line(block: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=re.escape(words)) as caught, applying(tmp_path):
        block()
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, Exception)


@pytest.mark.parametrize("error", [CheckpointError("mine"), torch.OutOfMemoryError("of the GPU"), ZeroDivisionError()])
def test_errors_of_another_kind_pass(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, applying(tmp_path):
        raise error
    assert caught.value is error


# Writing


def test_a_full_disk_is_said_in_these_words(run: Path) -> None:
    before = (run / "last.pt").read_bytes()
    (run / ".last.pt.new").symlink_to("/dev/full")
    with pytest.raises(CheckpointError) as caught:
        save_checkpoint(run, content(3, model={"weight": torch.zeros(100_000)}))
    last = run / "last.pt"
    assert str(caught.value) == (
        f"the checkpoint {last} cannot be written: the disk is full; the last good one is {last}"
    )
    assert last.read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == ["last.pt", "previous.pt"]


def test_the_first_checkpoint_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be written: No such file or directory; there is no earlier one"):
        save_checkpoint(tmp_path / "gone", content())


def test_without_hard_links_the_previous_one_is_still_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(checkpoint.os, "link", refuse)
    for epoch in (1, 2):
        save_checkpoint(tmp_path, content(epoch))
    assert load_checkpoint(tmp_path)["epoch"] == 2
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["epoch"] == 1


def test_what_is_saved_is_read(run: Path) -> None:
    read, wrote = load_checkpoint(run), content()
    assert list(read) == list(wrote)
    for key, value in wrote.items():
        same = torch.equal(read[key], value) if isinstance(value, Tensor) else str(read[key]) == str(value)
        assert same, key
