"""One process at a time in a directory, with real processes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lt_core.training import TrainingError
from lt_core.training.locking import locked

HOLD = """
import sys
from pathlib import Path
from lt_core.training import TrainingError
from lt_core.training.locking import locked
try:
    with locked(Path(sys.argv[1]), "training"):
        print("held", flush=True)
        sys.stdin.read()
except TrainingError as error:
    sys.exit(f"error: {error}")
"""


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds ``folder`` until its standard input ends."""
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], text=True, **pipes) as process:
        try:
            assert process.stdout.readline() == "held\n", process.stderr.read()
            yield process
        finally:
            process.kill()


def test_a_second_process_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "run"
    with holder(folder) as first:
        second = subprocess.run([sys.executable, "-c", HOLD, str(folder)], capture_output=True, text=True, timeout=60)
        assert second.returncode == 1
        assert second.stdout == ""
        assert second.stderr.splitlines() == [f"error: another training is at work in {folder}"]
        _, complaint = first.communicate("", timeout=60)
        assert first.returncode == 0, complaint
        assert complaint == ""
    with locked(folder, "training"):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(TrainingError, match="another training is at work"), locked(tmp_path, "training"):
            pass
        process.kill()
        process.wait(60)
        assert (tmp_path / ".lock").exists()
        with locked(tmp_path, "training"):
            pass


def test_a_child_holds_the_lock_only_where_it_inherits_it(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with locked(tmp_path, "grid") as lock:
        heir = subprocess.Popen(sleep, pass_fds=[lock])
        other = subprocess.Popen(sleep)
    try:
        with pytest.raises(TrainingError, match="another grid is at work"), locked(tmp_path, "grid"):
            pass
        heir.kill()
        heir.wait(60)
        with locked(tmp_path, "grid"):  # `other` lives
            assert other.poll() is None
    finally:
        for process in (heir, other):
            process.kill()
            process.wait(60)


def test_a_grid_and_its_runs_hold_different_directories(tmp_path: Path) -> None:
    with locked(tmp_path, "grid"), locked(tmp_path / "plain" / "ce", "training"), locked(tmp_path / "b", "training"):
        pass


def test_the_lock_ends_with_an_error_in_the_block(tmp_path: Path) -> None:
    with pytest.raises(KeyError), locked(tmp_path, "training"):
        raise KeyError
    with locked(tmp_path, "training"):
        pass


def test_a_refused_block_takes_only_its_own_empty_folder_away(tmp_path: Path) -> None:
    made, there, used = tmp_path / "made", tmp_path / "there", tmp_path / "used"
    there.mkdir()

    def refuse(folder: Path) -> None:
        with locked(folder, "training"):
            if folder is used:
                (used / "history.csv").touch()
            raise KeyError

    for folder in (made, there, used):
        with pytest.raises(KeyError):
            refuse(folder)
    assert not made.exists()
    assert there.exists()
    assert (used / "history.csv").exists()


def test_a_lock_on_a_file_that_was_taken_away_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    lock = fcntl.flock

    def late(descriptor: int, how: int) -> None:
        (tmp_path / ".lock").unlink()
        lock(descriptor, how)

    monkeypatch.setattr("fcntl.flock", late)
    with pytest.raises(TrainingError, match="give the command again"), locked(tmp_path, "training"):
        pass


def test_without_fcntl_a_note_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path, "training"), locked(tmp_path, "training"):
        ran = True
    assert ran
    note = f"note: {tmp_path} cannot be locked (this system has no fcntl); start nothing else in it\n"
    assert capsys.readouterr().err == 2 * note


def test_without_locks_a_note_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    with locked(tmp_path, "training"):
        ran = True
    assert ran
    assert capsys.readouterr().err == (
        f"note: {tmp_path} cannot be locked (No locks available); start nothing else in it\n"
    )


@pytest.mark.parametrize("place", ["/proc/run", "file", "file/run"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("")
    folder = tmp_path / place
    reason = r"cannot be written: (No such file|File exists|Not a directory)"
    with pytest.raises(TrainingError, match=reason) as caught, locked(folder, "training"):
        pass
    assert str(folder) in str(caught.value)


def test_a_directory_that_cannot_be_written_fails_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(TrainingError, match="cannot be written: Permission denied"), locked(tmp_path, "training"):
        pass
