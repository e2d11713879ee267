"""The commands, run as a user runs them.

Most are called in this process, through the function that ``python -m lt_core`` calls: a process of its own spends
five seconds on importing PyTorch. What only a process can show is asked of one.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from processes import start, wait_for

from lt_core import cli, records
from lt_core.cli import main, parse_options, parse_order
from lt_core.data import DATASETS
from lt_core.losses import LOSS_NAMES
from lt_core.models import BACKBONES
from lt_core.training import RECIPES
from lt_core.training.evaluation import run_scores


@pytest.fixture(autouse=True)
def _no_data_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LT_DATA_ROOT", raising=False)


def process(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``python -m lt_core`` with these arguments."""
    command = [sys.executable, "-m", "lt_core", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=120)


def lt(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The same in this process: exit status, and what is written to each stream, Python's warnings included."""
    out, err = io.StringIO(), io.StringIO()

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        err.write(warnings.formatwarning(message, category, filename, lineno, line))

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["lt_core", *arguments])
        warnings.resetwarnings()  # pytest's filters, and its catching, are not a user's
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = show
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as stopped:
            main()
    assert isinstance(stopped.value.code, int)
    return subprocess.CompletedProcess(arguments, stopped.value.code, out.getvalue(), err.getvalue())


RUN = ("--recipe", "short", "--epochs", "1", "--device", "cpu")
SMALL = ("--dataset", "synthetic", *RUN)
DIGITS = ("--dataset", "digits_lt", *RUN)  # trains in a quarter of the time


def test_train_then_evaluate(tmp_path: Path) -> None:
    """What `train` leaves is enough for another process."""
    out = tmp_path / "run"
    done = lt("train", *DIGITS, "--loss", "gala", "--loss-option", "lambda_pos=1.5", "--seed", "2", "--out", str(out))
    assert done.returncode == 0, done.stderr
    record = records.load(out)
    assert record["config"]["loss_options"] == {"lambda_pos": 1.5}
    assert record["config"]["seed"] == 2
    assert f"{record['final']['last']['top1']:.2f}" in done.stdout
    plain = process("evaluate", str(out))
    assert f"{record['final']['last']['top1']:.2f}" in plain.stdout
    rebalanced = lt("evaluate", str(out), "--posthoc", "rebalance", "--tau", "1.0")
    assert f"{record['posthoc']['rebalance']['top1']:.2f}" in rebalanced.stdout
    assert "whole test set" in rebalanced.stdout


def test_data_shows_the_counts_of_the_synthetic_set() -> None:
    done = lt("data", "--dataset", "synthetic")
    assert done.returncode == 0, done.stderr
    assert "12 classes" in done.stdout


def test_data_shows_the_digits_and_claims_no_files() -> None:
    done = lt("data", "--dataset", "digits_lt")
    assert done.returncode == 0, done.stderr
    assert "304 training and 500 test images of 10 classes" in done.stdout
    assert "counts: 124 74 44 26 16 9 5 3 2 1" in done.stdout
    assert "verified" not in done.stdout


def test_thousands_of_classes_fit_on_a_screen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    counts = [1000, *[5] * 8140, 2]
    many = SimpleNamespace(class_counts=counts, test_targets=range(8142), has_features=False)
    monkeypatch.setattr("lt_core.data.load_dataset", lambda *arguments, **options: many)
    monkeypatch.setattr(sys, "argv", ["lt_core", "data"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    printed = capsys.readouterr().out
    assert "41702 training and 8142 test images of 8142 classes" in printed
    assert len(printed) < 1000
    assert printed.rstrip().endswith("5 2")


def test_a_wrong_class_order_is_not_repeated_whole() -> None:
    with pytest.raises(ValueError, match="--class-order has 'x'; allowed are labels separated by commas"):
        parse_order(",".join(map(str, range(8142))) + ",x")
    assert parse_order("2,0,1") == (2, 0, 1)


def test_data_takes_the_root_by_either_name() -> None:
    for option in ("--root", "--data-root"):
        done = lt("data", option, "/nowhere")
        assert "the data root /nowhere does not exist" in done.stderr


@pytest.mark.realdata
def test_data_verifies_cifar(cifar_root: Path) -> None:
    done = lt("data", "--root", str(cifar_root))
    assert "10847 training and 10000 test images of 100 classes" in done.stdout
    assert "many 35, medium 35, few 30" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train",), "Missing option"),
        (("fly",), "No such command"),
        (("train", "--out", "x", "--epochs", "many"), "--epochs"),
        (("train", "--out", "x", "--loss", "hinge"), "loss is 'hinge'; allowed are"),
        (("train", "--out", "x", "--loss-option", "gamma"), "allowed is name=value"),
        (("train", "--out", "x", "--loss", "ce", "--loss-option", "gamma=1"), "gamma"),
        (("train", "--out", "x", "--loss", "gala", "--loss-option", "eps=-1", *SMALL), "eps is -1"),
        (("train", "--out", "x", "--class-order", "0,b"), "labels separated by commas"),
        (("train", "--out", "x", *SMALL, "--dataset", "cifar100_lt"), "no data root is given"),
        (("train", "--out", "x", *SMALL, "--dataset", "cifar100_lt", "--data-root", "/nowhere"), "/nowhere"),
        (("train", "--out", "/proc/run", *SMALL), "/proc"),
        (("train", "--out", "", *SMALL), "a path is empty"),
        (("train", "--out", "x", "--data-root", " ", *SMALL), "a path is empty"),
        (("grid", "x.yaml", "--out", ""), "a path is empty"),
        (("collect", ".", "--into", ""), "a path is empty"),
        (("train", "--out", "x", "--loss-option", "tau=1", "--loss-option", "tau=2"), "names 'tau' twice"),
        (("train", "--out", "x", "--loss-option", "reduction=sum", *SMALL), "reduction"),
        (("train", "--out", "x", "--drw", "--loss-option", "weight=[1, 2]", *SMALL), "weight"),
        (("train", "--out", "x", "--test-every", "3", *SMALL), "test_every is 3; allowed are 1, 2, 5, 10"),
        (("evaluate", "/nowhere", "--tau", "2"), "tau is 2.0 without a post-hoc method"),
        (("evaluate", "/nowhere"), "there is no checkpoint at /nowhere"),
        (("evaluate", "/nowhere", "--posthoc", "magic"), "posthoc is 'magic'"),
        (("evaluate",), "evaluate needs a run directory or --scores, and not both"),
        (("evaluate", "/nowhere", "--scores", "s.csv"), "evaluate needs a run directory or --scores, and not both"),
        (("evaluate", "--scores", "s.csv"), "--scores needs --html"),
        (("evaluate", "--scores", "s.csv", "--html", "p.html", "--tau", "1"), "--posthoc and --tau are for a run"),
        (("evaluate", "--scores", "s.csv", "--html", "p.html", "--kind", "odds"), "kind is 'odds'"),
        (("evaluate", "--scores", "s.csv", "--html", "p.html", "--device", "cpu"), "scores need neither"),
        (("evaluate", "--scores", "/none.csv", "--html", "p.html"), "/none.csv: No such file"),
        (("evaluate", "/nowhere", "--counts", "c.csv"), "--kind and --counts are for --scores"),
        (("evaluate", "/nowhere", "--html", "p.html", "--posthoc", "adjust"), "--html has every adjustment"),
        (("evaluate", "/nowhere", "--html", "p.html"), "there is no checkpoint at /nowhere"),
        (("data", "--root", "/nowhere"), "does not exist"),
        (("data", "--dataset", "folder", "--root", "/nowhere"), "/nowhere is no folder"),
        (("data", "--dataset", "folder", "--root", "/nowhere", "--check"), "/nowhere is no folder"),
        (("data", "--dataset", "folder", "--check", "--image-size", "64"), "--dataset and --root alone are used"),
        (("data", "--dataset", "digits_lt", "--check"), "--check is for --dataset folder"),
        (("data", "--dataset", "features", "--root", "/none.npz"), "/none.npz: No such file"),
        (("train", "--out", "x", "--dataset", "folder", "--imbalance-factor", "10"), "'folder' is used as it is"),
        (("train", "--out", "x", *DIGITS, "--image-size", "32"), "only the images of folder, imagenet_lt"),
    ],
)
def test_errors_are_one_line_and_a_status(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check_error(lt(*arguments), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fly",), "No such command"),
        (("train", "--out", "x", "--precision", "float32", "--loss", "gala", "--loss-option", "eps=-1"), "eps is -1"),
    ],
)
def test_errors_of_a_process_are_those_of_its_function(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = process(*arguments, cwd=tmp_path)
    check_error(real, message)
    monkeypatch.chdir(tmp_path)
    here = lt(*arguments)
    assert (here.returncode, here.stdout, here.stderr) == (real.returncode, real.stdout, real.stderr)


def check_error(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode != 0
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]


def test_without_a_terminal_a_run_speaks_line_by_line(tmp_path: Path) -> None:
    """At most a line a minute, and the last epoch's: never a progress bar in a log."""
    done = lt("train", *DIGITS, "--epochs", "2", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    record = records.load(tmp_path / "run")
    loss, top1 = record["epochs"][-1]["train_loss"], record["final"]["last"]["top1"]
    assert line == f"epoch 2/2: loss {loss:.3f}, top-1 {top1:.1f}"


def interrupt(*arguments: str, out: Path) -> tuple[int | None, str]:
    """Ctrl-C for a training as soon as it has written a checkpoint; its exit status and what it said last."""
    checkpoint, errors, began = out / "last.pt", out.with_name("errors"), time.time()
    training = start("train", *arguments, "--out", str(out), errors=errors)
    wait_for(lambda: checkpoint.exists() and checkpoint.stat().st_mtime > began, training)
    os.kill(training.pid or 0, signal.SIGINT)
    training.join(60)
    if training.is_alive():
        training.kill()
    return training.exitcode, errors.read_text().splitlines()[-1]


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    out, long = tmp_path / "run", (*SMALL, "--epochs", "500")
    code, line = interrupt(*long, out=out)
    assert code == 130
    assert line == f"error: interrupted; the same command with --resume goes on from the last checkpoint in {out}"
    code, line = interrupt(*long, "--resume", out=out)
    assert (code, line) == (130, f"error: interrupted; the same command goes on from the last checkpoint in {out}")


def test_ctrl_c_in_another_command_is_not_silent(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lt_core.training.evaluate", stop)
    monkeypatch.setattr(sys, "argv", ["lt_core", "evaluate", "run"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 130
    assert capsys.readouterr().err.strip() == "error: interrupted"


def test_a_second_adjustment_gets_a_note(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert lt("train", *DIGITS, "--loss", "balanced_softmax", "--out", out).returncode == 0
    adjusted = lt("evaluate", out, "--posthoc", "adjust")
    assert adjusted.returncode == 0, adjusted.stderr
    assert "note: the loss 'balanced_softmax' corrects for the class counts already" in adjusted.stdout
    assert "note: the loss" not in lt("evaluate", out).stdout


def test_a_run_and_its_scores_give_the_same_report(tmp_path: Path) -> None:
    """``evaluate RUN --html`` and ``evaluate --scores`` of the same numbers give the same tables and advice."""
    run = tmp_path / "run"
    assert lt("train", *DIGITS, "--loss", "la", "--out", str(run)).returncode == 0
    done = lt("evaluate", str(run), "--html", str(tmp_path / "run.html"))
    assert done.stdout == f"report: {tmp_path / 'run.html'}\n"
    tested = run_scores(run)
    names = tested.data.class_names
    head = ",".join(["label", *names])
    rows = [
        ",".join([names[y], *map(repr, z)])
        for y, z in zip(tested.data.test_targets, tested.logits.tolist(), strict=True)
    ]
    (tmp_path / "scores.csv").write_text("\n".join([head, *rows]), encoding="utf-8")
    counts = "\n".join(f"{name},{count}" for name, count in zip(names, tested.data.class_counts, strict=True))
    (tmp_path / "counts.csv").write_text(f"label,count\n{counts}\n", encoding="utf-8")
    files = ("--scores", str(tmp_path / "scores.csv"), "--counts", str(tmp_path / "counts.csv"))
    done = lt("evaluate", *files, "--html", str(tmp_path / "scores.html"))
    assert done.returncode == 0, done.stderr
    assert "note: The scores were read as logits" in done.stdout
    pages = [(tmp_path / name).read_text(encoding="utf-8") for name in ("run.html", "scores.html")]
    tables = [re.findall(r"<tbody>.*?</tbody>|<p class=\"verdict\">.*?</p>", page, re.S) for page in pages]
    assert len(tables[0]) == 3
    assert tables[0] == tables[1]
    assert "corrects for the class counts already" in pages[0]
    assert "corrects for the class counts already" not in pages[1]


def test_a_folder_is_checked_and_trained_on(tmp_path: Path) -> None:
    from PIL import Image

    for part, number in (("train", 3), ("test", 2)):
        for name, colour in (("red", (220, 30, 30)), ("green", (30, 200, 40))):
            (tmp_path / "mine" / part / name).mkdir(parents=True)
            for i in range(number - (name == "red")):
                Image.new("RGB", (12, 10), colour).save(tmp_path / "mine" / part / name / f"{i}.png")
    mine = ("--dataset", "folder", "--data-root", str(tmp_path / "mine"))
    checked = lt("data", *mine, "--check")
    assert checked.returncode == 0, checked.stderr
    assert "5 training and 3 test images of 2 classes" in checked.stdout
    assert checked.stdout.endswith("no faults: every image can be read\n")
    size = ("--image-size", "8", "--recipe", "short", "--epochs", "1", "--device", "cpu")
    done = lt("train", *mine, *size, "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "folder, imbalance factor 1.5" in lt("data", *mine).stdout
    page = lt(
        "evaluate", str(tmp_path / "run"), "--data-root", str(tmp_path / "mine"), "--html", str(tmp_path / "p.html")
    )
    assert page.returncode == 0, page.stderr
    (tmp_path / "mine" / "test" / "red" / "bad.jpg").write_text("no image")
    checked = lt("data", *mine, "--check")
    assert checked.returncode == 1
    assert "bad.jpg is no image" in checked.stderr
    assert checked.stdout.endswith("1 faults\n")


def test_two_trainings_in_one_directory(tmp_path: Path) -> None:
    """The second one, in another process, ends with one line; the first one's run is whole."""
    out = tmp_path / "run"
    command = ["train", *SMALL, "--epochs", "5", "--out", str(out)]
    first = start(*command)
    wait_for((out / "last.pt").exists, first)
    second = lt(*command, "--resume")
    assert second.returncode == 1
    assert second.stderr.splitlines() == [f"error: another training is at work in {out}"]
    first.join(120)
    assert first.exitcode == 0
    assert len(records.load(out)["epochs"]) == 5


def test_help_names_what_the_registries_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")
    shown = " ".join(lt("train", "--help").stdout.split())
    for names in (LOSS_NAMES, DATASETS, tuple(BACKBONES), tuple(RECIPES)):
        assert cli.one_of(names) in shown.replace("│ │ ", "")


def test_a_full_disk_is_said_in_those_words(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "x"))

    monkeypatch.setattr("lt_core.training.train", full)
    monkeypatch.setattr(sys, "argv", ["lt_core", "train", "--out", str(tmp_path / "run")])
    with pytest.raises(SystemExit):
        cli.main()
    assert capsys.readouterr().err.strip() == f"error: {tmp_path / 'x'}: the disk is full"


def test_options_become_values() -> None:
    assert parse_options(["a=1", "b=0.5", "c=false", "d=null", "e=log2", "f=1e-3"]) == {
        "a": 1, "b": 0.5, "c": False, "d": None, "e": "log2", "f": 1e-3,
    }  # fmt: skip


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, lt_core; lt_core.losses, lt_core.posthoc, lt_core.metrics, lt_core.models, lt_core.data, "
        "lt_core.training, lt_core.data.augment; "
        "heavy = {'matplotlib', 'torchvision', 'torchmetrics', 'typer', 'anywidget', 'pandas'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    bare = "import sys, lt_core; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True).stdout.strip() == "False"


@pytest.mark.parametrize(("has", "said"), [(True, True), (False, False)])
def test_precision_that_was_picked_is_said(
    has: bool, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    """In bfloat16, that is: float32 is what everybody expects. A precision that was asked for needs no word."""
    monkeypatch.setattr("lt_core.training.devices.cpu_has_bfloat16", lambda: has)
    for more, expected in ((("--precision", "float32"), False), ((), said)):
        out = str(tmp_path / ("asked" if more else "picked"))
        monkeypatch.setattr(sys, "argv", ["lt_core", "train", *DIGITS, *more, "--out", out])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == 0
        assert ("note: this CPU has bfloat16" in capsys.readouterr().out) == expected
        assert records.load(out)["environment"]["precision"] == ("bfloat16" if expected else "float32")


def test_without_a_command_there_is_help_and_no_empty_error() -> None:
    done = lt()
    assert done.returncode == 2
    assert "Commands" in done.stdout + done.stderr
    assert "error:" not in done.stdout + done.stderr
