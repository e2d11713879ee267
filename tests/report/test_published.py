"""The published values: complete, consistent with each other and with the targets."""

from __future__ import annotations

import re

import pytest

from lt_core.losses import LOSS_NAMES
from lt_core.report.published import (
    BLOCKS,
    FACTORS,
    PLAIN,
    PUBLISHED,
    REMARKS,
    STRONG,
    TARGETS,
    WIDE,
    Published,
    by_recipe,
    source_notes,
)
from lt_core.training.recipes import RECIPES

BY_NAME = {(row.block, row.method): row for row in PUBLISHED}


@pytest.mark.parametrize("row", PUBLISHED, ids=lambda row: f"{row.block}: {row.method}")
def test_a_row_is_whole(row: Published) -> None:
    assert row.block in BLOCKS
    assert row.top1
    assert set(row.top1) <= set(FACTORS)
    accuracies = [float(row.top1[factor]) for factor in FACTORS if factor in row.top1]
    assert accuracies == sorted(accuracies), "less imbalance, higher accuracy"
    assert all(30 < a < 75 for a in accuracies), "percent, not shares or errors"
    assert re.match(r"[\w.-]+/[\w.-]+(, |$)|48\.5 − 3\.62, GALA's", row.source), "a repository and the place in it"
    for field in (row.network, row.epochs, row.augmentation, row.epoch_chosen, row.seeds):
        assert field


def test_no_row_appears_twice() -> None:
    assert len(BY_NAME) == len(PUBLISHED)


def test_augmentation_agrees_with_the_block() -> None:
    for row in PUBLISHED:
        strong = "Augment" in row.augmentation
        assert strong == (row.block == STRONG), row.method


def test_rows_are_sorted_by_network_and_length() -> None:
    rows = sorted(PUBLISHED, key=by_recipe)
    assert [row.block for row in rows] == [block for block in BLOCKS for row in rows if row.block == block]
    plain = [row for row in rows if row.block == PLAIN]
    assert [row.network for row in plain][-3:] == ["own (code)"] * 3
    lengths = [int(row.epochs.split()[0]) for row in plain[:-3] if row.epochs[0].isdigit()]
    assert lengths == sorted(lengths)
    assert len(lengths) > 5
    assert all("64 to 256" in row.network for row in rows if row.block == WIDE)


def test_values_that_follow_from_others() -> None:
    implied = BY_NAME[PLAIN, "GCL, two stages"].top1[200]
    rebalanced = BY_NAME[STRONG, "GALA, re-balanced: sees the test set"].top1
    assert float(implied) == pytest.approx(float(rebalanced[200]) - 3.62)
    user = BY_NAME[PLAIN, "cross-entropy (a user of CMO)"]
    three = [float(value) for value in re.findall(r"\d+\.\d+", user.seeds)]
    assert len(three) == 3
    assert float(user.top1[100]) == pytest.approx(sum(three) / 3, abs=0.005)


def test_the_targets_are_published_values() -> None:
    values = {(t.title, t.imbalance_factor): (t.low, t.high) for t in TARGETS}
    assert len(values) == len(TARGETS)
    for factor in FACTORS:
        plain = float(BY_NAME[STRONG, "GALA"].top1[factor])
        rebalanced = float(BY_NAME[STRONG, "GALA, re-balanced: sees the test set"].top1[factor])
        earlier = float(BY_NAME[STRONG, "GALA, earlier, re-balanced"].top1[factor])
        assert values["GALA, re-balanced, earlier README", factor] == (earlier, earlier)
        for method in ("GALA", "GALA (lambda_neg 0.9, lambda_pos 1.2)"):
            assert values[method, factor] == (plain, plain)
            assert values[f"{method}, re-balanced", factor] == (rebalanced, rebalanced)
    low, high = values["cross-entropy", 100]
    assert (low, high) == pytest.approx((38.22, 38.81), abs=0.03)  # the lowest and the highest of the user's three
    assert low < float(BY_NAME[PLAIN, "cross-entropy"].top1[100]) < high
    assert values["LDAM-DRW", 100][0] == pytest.approx(float(BY_NAME[PLAIN, "LDAM-DRW"].top1[100]), abs=0.05)


def test_the_targets_recipes_fit_the_published_augmentation() -> None:
    assert "gala" in LOSS_NAMES
    for target in TARGETS:
        strong = RECIPES[target.recipe].augmentation == "autoaugment"
        assert strong == target.method.startswith("GALA")
        assert target.tolerance == (0.7 if strong else 1.0)


ONLY_CODE = {
    "GALA": ("network", "epochs", "augmentation"),
    "balanced softmax (OpenLT)": ("network", "epochs", "augmentation"),
    "BALMS": ("epochs", "augmentation"),
    "ProCo": ("network", "augmentation"),
    "balanced softmax (BagofTricks)": ("epochs", "augmentation"),
    "cross-entropy (BagofTricks)": ("epochs", "augmentation"),
    "GALA, earlier, re-balanced": ("network", "epochs", "augmentation"),
    "MiSLAS, two stages": ("epochs", "augmentation"),
}


@pytest.mark.parametrize("method", ONLY_CODE)
def test_what_only_the_code_shows_is_marked(method: str) -> None:
    (row,) = (row for row in PUBLISHED if row.method == method)
    for field in ("network", "epochs", "augmentation"):
        assert getattr(row, field).endswith("(code)") == (field in ONLY_CODE[method]), field


def test_notes_say_whose_optimiser_is_another() -> None:
    numbers, note = source_notes(PUBLISHED)
    assert len(numbers) == len({row.source for row in PUBLISHED})
    nesterov = [line for line in note.splitlines() if "Nesterov" in line]
    assert [re.split(r"[ ,]+", line)[1] for line in nesterov] == [
        "zhangyongshun/BagofTricks-LT", "liming-ai/OpenLT", "google-research/google-research",
        "zhangyongshun/BagofTricks-LT",
    ]  # fmt: skip
    assert set(REMARKS) <= set(numbers)


def test_no_cell_is_longer_than_a_page_shows() -> None:
    """A notebook cuts a table's cells after fifty characters."""
    for row in PUBLISHED:
        assert all(len(str(value)) < 50 for value in vars(row).values() if isinstance(value, str)), row
