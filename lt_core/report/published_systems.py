"""What was published for the systems of chapter 14: CIFAR100-LT at imbalance factor 100, each figure with its recipe.

Top-1 in percent, as the named source prints it (100 minus the error where it prints errors). Most sources do not say
which epoch a figure is of or how many runs it is from. Network, length and augmentation stand in ``recipe``; "(code)"
marks what only the released code shows. `TRICKS` is one repository's table, so it has one recipe.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A published figure of one method.

    Args:
        top1: percent, as printed.
        recipe: in a few words, what it was trained with.
        source: repository on GitHub and the place in it.
    """

    top1: str
    recipe: str
    source: str


@dataclass(frozen=True)
class Trick:
    """One row of BagofTricks-LT's table: ResNet-32, 200 epochs unless ``epochs`` says otherwise, one run.

    Args:
        name: as here.
        family: weights, sampling, deferred, classifier, mixing or loss.
        top1: 100 minus the printed error.
        method: the method of `lt_core.methods` with the same idea, or None.
        differs: how that one differs from theirs, beyond the recipe.
        epochs: of theirs.
    """

    name: str
    family: str
    top1: str
    method: str | None
    differs: str = ""
    epochs: int = 200


TRICKS_SOURCE = "zhangyongshun/BagofTricks-LT, documents/trick_gallery.md at ce7859a"
# Their own cross-entropy stands in their README (error 62.27). The gallery's row "Baseline" (61.68) is what the README
# quotes as the reference of others.
TRICKS_CONTROL, TRICKS_BASELINE = "37.73", "38.32"
_NEAR_INVERSE = "class-balanced, beta 0.9999: nearly 1/n"
_NEAR_EVEN = "theirs beta 0.9: tail to head 2.4"
TRICKS = (
    Trick("inverse frequency", "weights", "32.27", "cb", f"ours {_NEAR_INVERSE}"),
    Trick("square root of it", "weights", "38.36", None),
    Trick("class-balanced", "weights", "38.97", None, _NEAR_EVEN),
    Trick("class-balanced focal", "weights", "38.56", "cb_focal", f"ours {_NEAR_INVERSE}; {_NEAR_EVEN}"),
    Trick("focal", "loss", "37.22", "focal", "on the softmax, theirs on sigmoids"),
    Trick("LDAM", "loss", "38.88", "ldam"),
    Trick("equalization", "loss", "40.49", "eql"),
    Trick("balanced softmax", "loss", "42.99", "balanced_softmax"),
    Trick("class-balanced sampling", "sampling", "35.24", "class_balanced"),
    Trick("square-root sampling", "sampling", "36.79", "sqrt"),
    Trick("progressive sampling", "sampling", "39.04", "progressive"),
    Trick("inverse frequency, deferred", "deferred", "41.62", "ce_drw", f"ours {_NEAR_INVERSE}"),
    Trick("class-balanced weights, deferred", "deferred", "39.21", None, _NEAR_EVEN),
    Trick("LDAM-DRW", "deferred", "42.47", "ldam_drw"),
    Trick("tau-normalisation", "classifier", "40.96", "tau_norm", "bias dropped, theirs kept"),
    Trick("cRT", "classifier", "40.26", "crt"),
    Trick("LWS", "classifier", "40.16", "lws"),
    Trick("mixup", "mixing", "40.82", "mixup", epochs=400),
    Trick("Remix", "mixing", "41.39", "remix", epochs=400),
)

_TRICKS = "BagofTricks-LT's (ResNet-32, 200 epochs, crop and flip)"
_BBN = "BBN's network of 128 features"
_LISTED = "ResNet-32, recipe not stated there"
_BOARD = "yanyanSann/Long-Tailed-Classification-Leaderboard, README"
REPORTED: dict[str, Reported] = {
    trick.method: Reported(
        trick.top1, _TRICKS if trick.epochs == 200 else _TRICKS.replace("200", str(trick.epochs)), TRICKS_SOURCE
    )
    for trick in TRICKS
    if trick.method
} | {
    "ce": Reported(TRICKS_CONTROL, _TRICKS, "zhangyongshun/BagofTricks-LT, README at ce7859a"),
    "cb": Reported("32.27", f"{_TRICKS}; inverse frequency", TRICKS_SOURCE),
    "cb_focal": Reported("38.56", f"{_TRICKS}; beta 0.9", TRICKS_SOURCE),
    "ce_drw": Reported("41.62", f"{_TRICKS}; inverse frequency", TRICKS_SOURCE),
    "gala": Reported(
        "52.1",
        "ResNet-32, 200 epochs, AutoAugment, Cutout (code), best epoch",
        "lt-project-repository/lt-peoject, README",
    ),
    "mislas": Reported("47.0", "ResNet-32, 200 + 10 epochs, mixup (code), best epoch", "dvlab-research/MiSLAS, README"),
    "bals": Reported("50.8", "ResNet-32; released: 13,000 + 2,000 steps of 512, AutoAugment, Cutout (code)", _BOARD),
    "bbn": Reported("42.56", f"{_BBN}, 200 epochs (code)", _BOARD),
    "causal_norm": Reported(
        "44.1",
        f"{_BBN}, weight decay 5e-4 (code), mean of two",
        f"{_BOARD}; KaihuaTang/Long-Tailed-Recognition.pytorch",
    ),
    "ride": Reported(
        "48.6",
        "three experts of ResNet-32, with routing; weight decay 5e-4, rotation (code)",
        "frank-xwang/RIDE-LongTailRecognition, MODEL_ZOO",
    ),
    "lfme": Reported("43.8", f"with LDAM; {_LISTED}", _BOARD),
    "meta_weight_net": Reported("42.09", "ResNet-32, meta set from outside the long tail, 100 epochs (code)", _BOARD),
    "fsa": Reported("46.57", "ResNet-18", _BOARD),
    "sam_drw": Reported("44.6", "ResNet-32, 200 epochs", "val-iisc/Saddle-LongTail, README"),
}
