"""Files of scores and counts: what is read, what is told apart, and a line for every fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from lt_core.scores import FLOOR, ScoresError, read_counts, read_scores

P = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def scores(
    path: Path, values: np.ndarray, labels: tuple[str, ...] = ("ant", "cat"), head: str = "label,ant,bee,cat"
) -> Path:
    rows = [",".join([label, *(repr(float(v)) for v in row)]) for label, row in zip(labels, values, strict=True)]
    return write(path / "scores.csv", head, *rows)


@pytest.mark.parametrize("kind", ["probabilities", "log-probabilities", "logits"])
def test_each_kind_is_told_and_gives_the_same(tmp_path: Path, kind: str) -> None:
    shift = np.array([[2.0], [-3.0]])
    values = {"probabilities": P, "log-probabilities": np.log(P), "logits": np.log(P) + shift}[kind]
    for asked in (None, kind):
        read = read_scores(scores(tmp_path, values), asked)
        torch.testing.assert_close(read.log_probabilities.exp(), torch.from_numpy(P))
        assert read.labels.tolist() == [0, 2]
        assert read.class_names == ["ant", "bee", "cat"]
        assert read.notes[0].startswith(f"The scores were read as {kind}")
        assert ("told by" in read.notes[0]) == (asked is None)


def test_the_column_of_labels_may_stand_anywhere(tmp_path: Path) -> None:
    file = write(tmp_path / "s.csv", "ant, label ,bee", "0.9,bee,0.1", "0.4,ant,0.6")
    assert read_scores(file).labels.tolist() == [1, 0]


def test_labels_may_be_places(tmp_path: Path) -> None:
    read = read_scores(scores(tmp_path, P, ("0", "2")))
    assert read.labels.tolist() == [0, 2]
    assert read.notes[1] == "Labels are the places of the columns, from 0."


def test_a_label_that_names_a_column_is_that_column(tmp_path: Path) -> None:
    read = read_scores(scores(tmp_path, P, ("1", "3"), head="label,3,2,1"))
    assert read.labels.tolist() == [2, 0]


def test_rows_are_renormalised_and_zeros_floored(tmp_path: Path) -> None:
    read = read_scores(scores(tmp_path, np.array([[0.995, 0.0, 0.0], [0.5, 0.25, 0.25]])))
    assert read.log_probabilities.exp().sum(1).tolist() == pytest.approx([1, 1])
    assert read.log_probabilities[0, 1].item() == pytest.approx(np.log(FLOOR), abs=0.01)
    assert read.notes[1] == f"2 probabilities of zero were taken as {FLOOR:g}."
    logs = read_scores(scores(tmp_path, np.array([[0.0, -np.inf, -np.inf], [-0.7, -0.7, -np.inf]])))
    assert torch.isfinite(logs.log_probabilities).all()


def test_what_sums_to_something_else_is_logits_unless_it_is_named(tmp_path: Path) -> None:
    file = scores(tmp_path, 1.02 * P)
    assert read_scores(file).notes[0].startswith("The scores were read as logits")
    with pytest.raises(ScoresError, match=r"line 2: the probabilities sum to 1\.02, and not to 1"):
        read_scores(file, "probabilities")


FAULTS = {
    "no label": (("ant,bee", "1,2"), "has no column 'label'"),
    "one class": (("label,ant", "ant,1"), "scores of 1 classes"),
    "two of a name": (("label,ant,ant", "ant,1,2"), "two columns 'ant'"),
    "no row": (("label,ant,bee",), "no row below"),
    "a word": (("label,ant,bee", "ant,1,2", "bee,1,many"), "line 3, column 'bee': 'many' is no finite number"),
    "a gap": (("label,ant,bee", "ant,1,"), "line 2, column 'bee': '' is no finite number"),
    "not a number": (("label,ant,bee", "ant,nan,1"), "line 2, column 'ant': 'nan' is no finite number"),
    "infinite": (("label,ant,bee", "ant,inf,1"), "line 2, column 'ant': 'inf' is no finite number"),
    "a lost logit": (("label,ant,bee", "ant,-inf,1"), "line 2: -inf is no logit"),
    "a strange label": (("label,ant,bee", "ant,1,2", "cow,1,2"), "line 3: label 'cow' is not a column's name"),
    "a far place": (("label,ant,bee", "0,1,2", "2,1,2"), r"line 3: label '2' is not a place in \[0, 2\)"),
    "percentages": (("label,ant,bee", "ant,40,60"), "the rows sum to 100"),
    "too long a row": (("label,ant,bee", "ant,1,2,3"), "is no CSV file"),
    "nothing": ((), "is no CSV file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_a_line(tmp_path: Path, fault: str) -> None:
    lines, message = FAULTS[fault]
    with pytest.raises(ScoresError, match=message) as raised:
        read_scores(write(tmp_path / "bad.csv", *lines) if lines else write(tmp_path / "bad.csv"))
    assert "bad.csv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(ScoresError, match=r"none\.csv: No such file"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ScoresError, match="is no CSV file"):
        read_scores(tmp_path / "picture.csv")


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([[-0.1, 1.1]], "probabilities", "a probability is below 0"),
        ([[0.1, -3.0]], "log-probabilities", "a log-probability is above 0"),
        ([[-1.0, -1.0]], "log-probabilities", "the probabilities sum to 0.7358"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path: Path, values: list[list[float]], kind: str, message: str) -> None:
    file = scores(tmp_path, np.array(values), ("ant",), head="label,ant,bee")
    with pytest.raises(ScoresError, match=f"line 2: {message}"):
        read_scores(file, kind)


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind is 'odds'"):
        read_scores(scores(tmp_path, P), "odds")


def test_counts_follow_the_names_in_any_order(tmp_path: Path) -> None:
    file = write(tmp_path / "counts.csv", "count,label", "5,cat", "100,ant", "20,bee")
    assert read_counts(file, ["ant", "bee", "cat"]) == [100, 20, 5]
    places = write(tmp_path / "places.csv", "label,count", "2,5", "0,100", "1,20")
    assert read_counts(places, ["ant", "bee", "cat"]) == [100, 20, 5]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("label,n", "ant,1"), "has no column 'count'"),
        (("label,count", "ant,1"), "has no count of 1 classes, such as 'bee'"),
        (("label,count", "ant,1", "ant,2"), "line 3: class 'ant' is named twice"),
        (("label,count", "ant,0", "bee,2"), "line 2: the count is 0; a whole number of at least 1 is needed"),
        (("label,count", "ant,1.5", "bee,2"), "line 2: the count is 1.5"),
        (("label,count", "cow,1", "bee,2"), "line 2: label 'cow'"),
    ],
)
def test_a_fault_in_the_counts_is_a_line(tmp_path: Path, lines: tuple[str, ...], message: str) -> None:
    with pytest.raises(ScoresError, match=message):
        read_counts(write(tmp_path / "counts.csv", *lines), ["ant", "bee"])
