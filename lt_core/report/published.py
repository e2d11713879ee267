"""Published top-1 accuracies on CIFAR100-LT, each with what is known of its recipe and with its public source.

The values are those that the named README, issue or picture of a table shows, digit for digit (where it shows errors,
100 minus the error; of a user's three runs, the mean). What the source does not say is "not stated"; what only the
released code or its configurations show is marked "(code)". The papers themselves were not read for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLAIN, STRONG, WIDE = "plain augmentation", "AutoAugment", "a wider network"
BLOCKS = (PLAIN, STRONG, WIDE)
FACTORS = (200, 100, 50, 10)


@dataclass(frozen=True)
class Published:
    """One published row.

    Args:
        block: `PLAIN` (crop and flip, mixup where it says so), `STRONG` (AutoAugment or RandAugment), or `WIDE` (called
            ResNet-32, with four times as many channels).
        method: its name here.
        top1: percent by imbalance factor, as printed.
        network, epochs, augmentation, epoch_chosen, seeds: the recipe, as far as it is known.
        source: repository on GitHub, and the place in it (the README where none is named).
    """

    block: str
    method: str
    top1: Mapping[int, str]
    network: str
    epochs: str
    augmentation: str
    epoch_chosen: str
    seeds: str
    source: str


CODE = " (code)"
CROP, MIXUP, AUTO = "crop, flip" + CODE, "crop, flip, mixup" + CODE, "AutoAugment, Cutout" + CODE
R32, UNKNOWN, BEST = "ResNet-32", "not stated", "best on test" + CODE
VALIDATION = "best in a validation folder" + CODE
R32_WIDE = "ResNet-32, 64 to 256 channels" + CODE  # in place of 16 to 64: SURE's model/resnet32.py
SURE = "YutingLi0606/SURE, img/long-tail.jpeg"
SURE_CODE = "YutingLi0606/SURE, img; code"
OPENLT = "liming-ai/OpenLT, README"
MENON = "google-research/google-research, logit_adjustment"
BALMS = "jiawei-ren/BalancedMetaSoftmax-Classification"
GALA = "lt-project-repository/lt-peoject, README"
# Before 19 December 2022 the code had no lambda, which is (1, 1), and the README this table, of the same code's runs.
GALA_EARLIER = "lt-project-repository/lt-peoject, README 0dbae81"
PROCO = "LeapLabTHU/ProCo, README"
TRICKS = "zhangyongshun/BagofTricks-LT, trick_gallery.md"
TRICKS_OWN = "zhangyongshun/BagofTricks-LT, README"
# What else a source's code has. For comparison, recipe `plain` (LDAM-DRW's): momentum without Nesterov, weight decay
# 2e-4, warm-up of 5 epochs from 1/5 of the rate.
REMARKS = {
    OPENLT: "Nesterov, weight decay 5e-4, warm-up of 5 epochs from 1/5 of the rate (code)",
    **dict.fromkeys(
        (TRICKS, TRICKS_OWN), "Nesterov, weight decay 2e-4, warm-up of 5 epochs from 1/3 of the rate (code)"
    ),
    MENON: "Nesterov (code)",
    BALMS: "700 epochs: 13,000 steps of 512 images, and 2,000 more for a second stage",
}

PUBLISHED = (
    Published(
        PLAIN, "cross-entropy", {100: "38.30", 50: "43.90", 10: "55.70"},
        R32, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, SURE,
    ),
    Published(
        PLAIN, "cross-entropy (a user of CMO)", {100: "38.50"},
        R32 + CODE, "200 (code)", CROP, BEST, "3 (38.81, 38.46, 38.22)", "naver-ai/cmo, issue 4",
    ),
    Published(
        PLAIN, "cross-entropy (BagofTricks)", {100: "37.73", 50: "43.78"},
        R32, "200 (code)", CROP, BEST, UNKNOWN, TRICKS_OWN,
    ),
    Published(
        PLAIN, "cross-entropy (OpenLT)", {100: "40.3"}, R32 + CODE, "200 (code)", CROP, BEST, UNKNOWN, OPENLT
    ),
    Published(
        PLAIN, "cross-entropy (Menon et al.)", {100: "39.87"}, "own (code)", "1419 (code)", "pad 2, crop, flip (code)",
        "last (code)", UNKNOWN, MENON,
    ),
    Published(
        PLAIN, "cross-entropy, adjusted (Menon et al.)", {100: "44.07"}, "own (code)", "1419 (code)",
        "pad 2, crop, flip (code)", "last (code)", UNKNOWN, MENON,
    ),
    Published(
        PLAIN, "logit-adjusted (Menon et al.)", {100: "44.06"}, "own (code)", "1419 (code)", "pad 2, crop, flip (code)",
        "last (code)", UNKNOWN, MENON,
    ),
    Published(
        PLAIN, "focal", {100: "38.4", 50: "44.3", 10: "55.8"},
        R32, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, "KaihuaTang/Long-Tailed-Recognition.pytorch, png",
    ),
    Published(
        PLAIN, "class-balanced focal", {100: "39.60", 50: "45.17", 10: "57.99"},
        R32, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, SURE,
    ),
    Published(
        PLAIN, "LDAM-DRW", {100: "42.04", 50: "46.62", 10: "58.71"},
        R32, "200 (code)", CROP, BEST, UNKNOWN, "YutingLi0606/SURE, img; code: kaidic/LDAM-DRW",
    ),
    Published(PLAIN, "LDAM-DRW (OpenLT)", {100: "42.9"}, R32 + CODE, "200 (code)", CROP, BEST, UNKNOWN, OPENLT),
    Published(
        PLAIN, "balanced softmax (OpenLT)", {100: "46.47"}, R32 + CODE, "200 (code)", CROP, BEST, UNKNOWN, OPENLT
    ),
    Published(
        PLAIN, "balanced softmax (BagofTricks)", {100: "42.99", 50: "46.55"},
        R32, "200 (code)", CROP, BEST, UNKNOWN, TRICKS,
    ),
    Published(
        PLAIN, "MiSLAS, two stages", {100: "47.0", 50: "52.3", 10: "63.2"},
        R32, "200 + 10 (code)", MIXUP, BEST, UNKNOWN, "dvlab-research/MiSLAS, README",
    ),
    Published(
        PLAIN, "GCL, two stages", {200: "44.88"}, R32 + CODE, "200 + 30 (code)", MIXUP, BEST, UNKNOWN,
        "48.5 − 3.62, GALA's abstract; Keke921/GCLLoss",
    ),
    Published(
        STRONG, "cross-entropy", {200: "41.2"}, R32, "700 (code)", AUTO, BEST, UNKNOWN, BALMS
    ),
    Published(
        STRONG, "balanced softmax", {200: "46.7"}, R32, "700 (code)", AUTO, BEST, UNKNOWN, BALMS
    ),
    Published(
        STRONG, "balanced softmax, decoupled", {200: "47.2"}, R32, "700 + 108 (code)", AUTO,
        BEST, UNKNOWN, BALMS,
    ),
    Published(
        STRONG, "BALMS", {200: "48.0"}, R32, "700 + 108 (code)", AUTO, BEST, UNKNOWN, BALMS
    ),
    Published(
        STRONG, "GALA", {200: "48.0", 100: "52.1", 50: "56.0", 10: "63.8"},
        R32 + CODE, "200 (code)", AUTO, BEST, UNKNOWN, GALA,
    ),
    Published(
        STRONG, "GALA, re-balanced: sees the test set", {200: "48.5", 100: "52.3", 50: "56.5", 10: "64.2"},
        R32 + CODE, "200 (code)", AUTO, "best on test, re-balanced (code)", UNKNOWN, GALA,
    ),
    Published(
        STRONG, "GALA, earlier, re-balanced", {200: "47.4", 100: "50.9", 50: "55.1", 10: "62.5"},
        R32 + CODE, "200 (code)", AUTO, "best on test, re-balanced (code)", UNKNOWN, GALA_EARLIER,
    ),
    Published(
        STRONG, "ResLT", {100: "48.21", 50: "52.71", 10: "62.01"},
        R32, UNKNOWN, "AutoAugment", UNKNOWN, UNKNOWN, SURE,
    ),
    Published(
        STRONG, "ProCo", {100: "52.8", 50: "57.1", 10: "65.5"},
        R32 + CODE, "200", AUTO, BEST, UNKNOWN, PROCO,
    ),
    Published(
        STRONG, "ProCo, longer", {100: "54.2"}, R32 + CODE, "400", AUTO, BEST, UNKNOWN, PROCO
    ),
    Published(
        STRONG, "NCL, one of three networks", {100: "53.31"},
        R32 + CODE, "400 (code)", "RandAugment", UNKNOWN, UNKNOWN, "Bazinga699/NCL, issue 2",
    ),
    Published(
        PLAIN, "NCL, one of three networks", {100: "47.93"},
        R32 + CODE, "400 (code)", "crop, flip", UNKNOWN, UNKNOWN, "Bazinga699/NCL, issue 2",
    ),
    Published(
        WIDE, "SURE (4 times as wide)", {100: "51.60", 50: "58.57", 10: "71.13"},
        R32_WIDE, "200 (code)", "crop, flip, RegMixup (code)", VALIDATION, UNKNOWN, SURE_CODE,
    ),
    Published(
        WIDE, "SURE, re-weighted (4 times as wide)", {100: "57.34", 50: "63.13", 10: "73.24"},
        R32_WIDE, "200 + 50 (code)", "crop, flip, RegMixup (code)", VALIDATION, UNKNOWN, SURE_CODE,
    ),
)  # fmt: skip


def by_recipe(row: Published) -> tuple[int, bool, int]:
    """What published rows are sorted by: augmentation, whether the network is a design of its own, and epochs.

    Epochs that are not stated come first; of a procedure with two stages those of the first count.
    """
    stated = re.match(r"\d+", row.epochs)
    return BLOCKS.index(row.block), row.network.startswith("own"), int(stated[0]) if stated else 0


def source_notes(rows: Sequence[Published]) -> tuple[dict[str, int], str]:
    """A number for each source in the rows' order, and the note that says what each has beside the table's columns."""
    numbers: dict[str, int] = {}
    lines = ["(code): only the released code or its configurations show it. Sources, on GitHub:"]
    for row in rows:
        if row.source in numbers:
            continue
        numbers[row.source] = len(numbers) + 1
        same = [other for other in rows if other.source == row.source]
        told = [" / ".join(dict.fromkeys(getattr(r, key) for r in same)) for key in ("network", "epoch_chosen")]
        if any(r.seeds != UNKNOWN for r in same):
            told.append("seeds " + row.seeds)
        told += [REMARKS[row.source]] if row.source in REMARKS else []
        lines.append(f"{numbers[row.source]}  {row.source}: {'; '.join(told)}")
    return numbers, "\n".join(lines)


@dataclass(frozen=True)
class Target:
    """A published value that the study is judged against, with the runs that should give it.

    Args:
        recipe: of the study.
        method: name of its runs.
        imbalance_factor: theirs.
        low, high: published top-1 in percent; equal where there is one value.
        tolerance: largest distance, in points, at which it counts as reproduced.
        rebalanced: whether the value is after re-balancing, which sees the test set.
        note: what tells it from another value for the same runs.
    """

    recipe: str
    method: str
    imbalance_factor: int
    low: float
    high: float
    tolerance: float
    rebalanced: bool = False
    note: str = ""

    @property
    def title(self) -> str:
        return ", ".join(filter(None, (self.method, "re-balanced" * self.rebalanced, self.note)))


# Which options made the README's two columns is open (chapter 07), so each has two candidates; the earlier README's one
# column has the options (1, 1) and re-balancing at tau = 1.
_GALA = {200: 48.0, 100: 52.1, 50: 56.0, 10: 63.8}
_REBALANCED = {200: 48.5, 100: 52.3, 50: 56.5, 10: 64.2}
_EARLIER = {200: 47.4, 100: 50.9, 50: 55.1, 10: 62.5}
TARGETS = (
    Target("plain", "cross-entropy", 100, 38.2, 38.8, 1.0),
    Target("plain", "LDAM-DRW", 100, 42.0, 42.0, 1.0),
    *(
        Target("strong", "GALA", factor, value, value, 0.7, rebalanced=True, note="earlier README")
        for factor, value in _EARLIER.items()
    ),
    *(
        Target("strong", method, factor, value, value, 0.7, rebalanced)
        for method in ("GALA", "GALA (lambda_neg 0.9, lambda_pos 1.2)")
        for rebalanced, values in ((False, _GALA), (True, _REBALANCED))
        for factor, value in values.items()
    ),
)
