"""What was published on ImageNet-LT, iNaturalist 2018 and Places-LT, and the sizes of the three sets.

Accuracies in percent, digit for digit: Tables 1 to 4 of the ALA paper, the READMEs of DisAlign's two released runs
on ImageNet-LT, and GALA's README. A row that the ALA paper took from another paper names that paper as its source.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Groups:
    """Training classes and images with more than 100, 20 to 100, and fewer than 20 images a class."""

    classes: tuple[int, int, int]
    images: tuple[int, int, int]


@dataclass(frozen=True)
class Row:
    """One printed row.

    Args:
        table: "1" to "4" of the ALA paper, or "README".
        data: a name of `lt_core.data.FILE_LISTS`.
        network: as printed.
        method: its name here.
        parts: many, medium and few, or None where the table has dashes.
        top1: the column "All".
        source: who trained it, as far as the table says: "ALA", "DisAlign" or "LADE" (copied from that paper), a
            repository, or "not stated".
    """

    table: str
    data: str
    network: str
    method: str
    parts: tuple[float, float, float] | None
    top1: float
    source: str

    def from_parts(self) -> float | None:
        """What "All" has to be: the groups' mean, each weighted by its number of classes (test sets are balanced)."""
        if self.parts is None:
            return None
        classes = GROUPS[self.data].classes
        return sum(count * part for count, part in zip(classes, self.parts, strict=True)) / sum(classes)


# From the class counts that GALA's repository ships (cls_freq/*.json at 1eea15d); the sums, and the largest and the
# smallest class, are those of `lt_core.data.FILE_LISTS`.
GROUPS = {
    "imagenet_lt": Groups((385, 479, 136), (88_693, 25_510, 1_643)),
    "inaturalist2018": Groups((842, 4_076, 3_224), (258_340, 133_061, 46_112)),
    "places_lt": Groups((131, 163, 71), (52_762, 8_934, 804)),
}
TITLES = {"imagenet_lt": "ImageNet-LT", "inaturalist2018": "iNaturalist 2018", "places_lt": "Places-LT"}
R50, X50, R152 = "ResNet-50", "ResNeXt-50", "ResNet-152"
DISALIGN = "Megvii-BaseDetection/DisAlign, classification/imagenetlt/resnext50"
GALA = "lt-project-repository/lt-peoject, README at 1eea15d"


def _table(table: str, data: str, network: str, text: str) -> tuple[Row, ...]:
    """Rows of lines "method | many medium few all | source"; a dash is a value that is not printed."""
    rows = []
    for line in text.strip().splitlines():
        method, values, source = (cell.strip() for cell in line.split("|"))
        *parts, top1 = values.split()
        known = None if "-" in parts else (float(parts[0]), float(parts[1]), float(parts[2]))
        rows.append(Row(table, data, network, method, known, float(top1), source))
    return tuple(rows)


ROWS = (
    *_table("1", "imagenet_lt", R50, """
        cross-entropy       | 64.0 33.8  5.8 41.6 | DisAlign
        LWS                 | 57.1 45.2 29.3 47.7 | DisAlign
        DisAlign            | 59.9 49.9 31.8 51.3 | DisAlign
        logit adjustment    |    -    -    - 51.0 | not stated
        LDAM-DRW            | 61.8 47.2 31.4 50.7 | ALA
        ALA                 | 62.4 49.1 35.7 52.4 | ALA
    """),
    *_table("1", "imagenet_lt", X50, """
        cross-entropy       | 65.9 37.5  7.7 44.4 | DisAlign
        focal loss          | 64.3 37.1  8.2 43.7 | LADE
        OLTR                | 51.0 40.8 20.8 41.9 | LADE
        LWS                 | 60.2 47.2 30.3 49.9 | DisAlign
        DisAlign            | 61.5 50.7 33.1 52.6 | DisAlign
        causal norm         | 62.7 48.8 31.6 51.8 | LADE
        balanced softmax    | 62.2 48.8 29.8 51.4 | LADE
        PC softmax          | 60.4 46.7 23.8 48.9 | LADE
        LADE                | 62.3 49.3 31.2 51.9 | LADE
        LDAM-DRW            | 62.9 47.5 31.9 51.3 | ALA
        ALA                 | 64.1 49.9 34.7 53.3 | ALA
    """),
    *_table("2", "inaturalist2018", R50, """
        cross-entropy       | 72.2 63.0 57.2 61.7 | DisAlign
        CB focal            |    -    -    - 61.1 | LADE
        LWS                 | 65.0 66.3 65.5 65.9 | DisAlign
        BBN                 | 49.4 70.8 65.3 66.3 | DisAlign
        DisAlign            |    -    -    - 67.8 | DisAlign
        causal norm         |    -    -    - 63.9 | LADE
        balanced softmax    |    -    -    - 69.8 | LADE
        PC softmax          |    -    -    - 69.3 | LADE
        LADE                |    -    -    - 70.0 | LADE
        LDAM-DRW            |    -    -    - 68.0 | LADE
        ALA                 | 71.3 70.8 70.4 70.7 | ALA
    """),
    *_table("3", "places_lt", R152, """
        cross-entropy       | 45.7 27.3  8.2 30.2 | DisAlign
        focal loss          | 41.1 34.8 22.4 34.6 | DisAlign
        range loss          | 41.1 35.4 23.2 35.1 | DisAlign
        OLTR                | 44.7 37.0 25.3 35.9 | DisAlign
        feature augmentation| 42.8 37.5 22.7 36.4 | DisAlign
        LWS                 | 40.6 39.1 28.6 37.6 | DisAlign
        DisAlign            | 40.4 42.4 30.1 39.3 | DisAlign
        causal norm         | 23.8 35.8 40.4 32.4 | LADE
        balanced softmax    | 42.0 39.3 30.5 38.6 | LADE
        PC softmax          | 43.0 39.1 29.6 38.7 | LADE
        LADE                | 42.8 39.0 31.2 38.8 | LADE
        ALA                 | 43.9 40.1 32.9 40.1 | ALA
    """),
    *_table("4", "imagenet_lt", X50, """
        DF                  | 64.7 47.3 28.6 51.5 | ALA
        QF                  | 61.4 47.7 33.0 51.0 | ALA
        DF x LDAM's margin  | 63.5 48.4 31.9 52.0 | ALA
    """),
    # At ead1da2: the first is the network that the second starts from.
    *_table("README", "imagenet_lt", X50, f"""
        DisAlign's stage 1  | 68.223 40.388  9.603 46.918 | {DISALIGN}
        DisAlign            | 61.439 50.530 33.676 52.438 | {DISALIGN}
    """),
)  # fmt: skip

# Data set -> GALA, GALA re-balanced, and the tau of that. The README names neither the configuration nor the network.
GALA_ROWS = {
    "imagenet_lt": (53.4, 54.9, 1.7),
    "inaturalist2018": (71.2, 73.3, 1.5),
    "places_lt": (41.0, 41.4, 1.4),
}


def rows(data: str, network: str | None = None, table: str | None = None) -> dict[str, Row]:
    """The rows of a data set by method.

    Args:
        data: a name of `lt_core.data.FILE_LISTS`.
        network: of one network alone.
        table: of one table alone; without it, Tables 1 to 3.
    """
    tables = "123" if table is None else (table,)
    return {
        row.method: row for row in ROWS if row.data == data and row.table in tables and network in (None, row.network)
    }
