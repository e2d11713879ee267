"""The map of the field, as plain values: a name from the literature, its settings, its paper, and what it changes.

A method is a combination of ingredients that live elsewhere: a loss, a sampler, a strategy. This table holds no code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

CHANGES = ("data", "loss", "network", "procedure", "prediction")
FIDELITY = {
    "released": "as the authors' code",
    "published": "as the paper, which has no public code",
    "adapted": "with the changes that are listed",
    "refused": "explained only",
}
# What a method decides, with the value of a run that names none. Other settings of a method are its defaults, which a
# configuration may change.
DECIDED: dict[str, Any] = {
    "loss": "ce",
    "loss_options": {},
    "drw": False,
    "classifier": None,
    "sampler": "uniform",
    "mixing": "none",
    "strategy": "plain",
    "strategy_options": {},
}


@dataclass(frozen=True)
class Method:
    """One row of the map.

    Args:
        name: lower case, as the field writes it.
        title: as tables print it.
        paper: a key of the book's bibliography.
        changes: some of `CHANGES`.
        chapter: of the book.
        fidelity: one of `FIDELITY`.
        settings: keys of `lt_core.training.RunConfig` whose value is not the usual one.
        base: for a second stage, the settings of the run that it starts from, in the same way.
        notes: what was changed ("adapted"), or what a reader of its row must know.
        same_as: the name under which the same function stands in tables.
        slow: whether the training loss needs more than two epochs to fall.
        reason: why a refused method does not train.
    """

    name: str
    title: str
    paper: str
    changes: tuple[str, ...]
    chapter: str
    fidelity: str = "released"
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    same_as: str | None = None
    slow: bool = False
    reason: str = ""

    @property
    def trains(self) -> bool:
        return self.fidelity != "refused"

    def to_dict(self) -> dict[str, Any]:
        """What ``python -m lt_core methods --json`` prints of it."""
        return {**asdict(self), "changes": list(self.changes), "notes": list(self.notes), "trains": self.trains}


_MIXUP = "images and labels are mixed with one share a batch, Beta(1, 1)"
_EQUAL_STEPS = "an epoch has as many draws as the data set has images, so all samplers take equally many steps"
_STAGE = {"schedule": "cosine", "weight_decay": 5e-4}
_BALANCED_BATCH = "the second batch is drawn from the training images, where the authors add clean or balanced images"

_ROWS = (
    # --- losses
    Method("ce", "cross-entropy", "zhao2022ala", (), "02"),
    Method(
        "focal", "focal loss", "lin2017focal", ("loss",), "03", "adapted",
        {"loss": "focal", "loss_options": {"gamma": 1.0}},
        notes=("on the softmax with gamma 1, as in the code of LDAM; the paper's is a sum of sigmoid terms",),
    ),
    Method("cb", "class-balanced weights", "cui2019classbalanced", ("loss",), "03", "adapted", {"loss": "cb"},
           notes=("softmax, beta 0.9999; the released script is the sigmoid focal form",)),
    Method("inverse", "inverse frequency", "cui2019classbalanced", ("loss",), "03", "published",
           {"loss": "cb", "loss_options": {"beta": 1 - 1e-12}},
           notes=("weights 1/n, the limit of class-balanced ones; on CIFAR100-LT those of `cb` differ by 2.5 %",)),
    Method("ldam", "LDAM", "cao2019ldam", ("loss", "network"), "05", settings={"loss": "ldam"}),
    Method("ldam_drw", "LDAM-DRW", "cao2019ldam", ("loss", "network", "procedure"), "05",
           settings={"loss": "ldam", "drw": True}),
    Method("ce_drw", "cross-entropy-DRW", "cao2019ldam", ("loss", "procedure"), "03", settings={"drw": True}),
    Method("ce_cosine", "cross-entropy (cosine)", "wang2018cosface", ("network",), "05",
           settings={"classifier": "cosine"}),
    Method("ala", "ALA", "zhao2022ala", ("loss", "network"), "06", settings={"loss": "ala"}),
    Method("ala_drw", "ALA-DRW", "zhao2022ala", ("loss", "network", "procedure"), "06",
           settings={"loss": "ala", "drw": True}),
    Method("df", "DF alone", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": None}}),
    Method("qf", "QF alone", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"difficulty": False}}),
    Method("df_ldam", "DF times LDAM", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": "ldam"}}),
    Method("balanced_softmax", "balanced softmax", "ren2020balms", ("loss",), "04",
           settings={"loss": "balanced_softmax"}),
    Method("la", "logit adjustment", "menon2021logit", ("loss",), "04", settings={"loss": "la"},
           same_as="balanced_softmax", notes=("at tau 1 they differ by a constant, which softmax cancels",)),
    Method("gala", "GALA", "gala2024", ("loss",), "07", settings={"loss": "gala"}),
    Method("vs", "VS", "kini2021vs", ("loss",), "05", "adapted", {"loss": "vs"},
           notes=("gamma 0.3 and tau 1; no value is released for CIFAR-100",)),
    Method("eql", "equalization", "tan2020equalization", ("loss",), "05", "adapted", {"loss": "eql"},
           notes=("the softmax form of BagofTricks, in log space; the authors' is a sum of sigmoid terms",)),
    Method("lade", "LADE", "hong2021lade", ("loss",), "08", "adapted", {"loss": "lade"},
           notes=("the released loss, on this network; the published figure is on BBN's",)),
    Method("cosface", "CosFace", "wang2018cosface", ("loss", "network"), "05", "adapted", {"loss": "cosface"},
           notes=("scale 30; there are no constants for CIFAR-LT",)),
    Method("arcface", "ArcFace", "deng2019arcface", ("loss", "network"), "05", "adapted", {"loss": "arcface"},
           notes=("detached, scale 30; there are no constants for CIFAR-LT",)),
    Method("sphereface", "SphereFace", "liu2017sphereface", ("loss", "network"), "05", "adapted",
           {"loss": "sphereface"}, notes=("its authors' later detached form; no constants for CIFAR-LT",)),
    # --- samplers
    Method("class_balanced", "class-balanced sampling", "kang2020decoupling", ("data",), "03",
           settings={"sampler": "class_balanced"}, notes=(_EQUAL_STEPS,)),
    Method("ros", "random over-sampling", "kang2020decoupling", ("data",), "14", "published",
           {"sampler": "class_balanced"}, same_as="class_balanced", notes=(_EQUAL_STEPS,)),
    Method("sqrt", "square-root sampling", "kang2020decoupling", ("data",), "03", settings={"sampler": "sqrt"},
           notes=(_EQUAL_STEPS,)),
    Method("progressive", "progressive sampling", "kang2020decoupling", ("data",), "03",
           settings={"sampler": "progressive"}, notes=(_EQUAL_STEPS,), slow=True),
    Method("reverse", "reverse sampling", "zhou2020bbn", ("data",), "03", settings={"sampler": "reverse"},
           notes=(_EQUAL_STEPS, "BBN's second sampler, alone")),
    Method("rus", "random under-sampling", "kang2020decoupling", ("data",), "14", "adapted", {"sampler": "under"},
           notes=("equally many images of each class, drawn anew until an epoch has its usual number of steps",)),
    # --- mixing images
    Method("mixup", "mixup", "zhang2018mixup", ("data",), "14", settings={"mixing": "mixup"}, notes=(_MIXUP,)),
    Method("remix", "Remix", "chou2020remix", ("data",), "14", settings={"mixing": "remix"},
           notes=(_MIXUP, "the label goes to the rarer image where its class is three times rarer")),
    # --- a classifier of its own
    Method("crt", "cRT", "kang2020decoupling", ("procedure",), "14", settings={
        "strategy": "crt", "sampler": "class_balanced", **_STAGE}, base={},
        notes=("BatchNorm keeps the first stage's statistics; the released code lets them move",)),
    # --- networks, experts and memory
    # --- learned weights, transfer, and losses of their own
    Method("l2rw", "L2RW", "ren2018l2rw", ("procedure",), "14", "adapted", {"strategy": "l2rw"},
           notes=(_BALANCED_BATCH, "weight decay is left out of the balanced batch's gradient",
                  "the released recipe is one for noisy labels; this one is the table's")),
    Method("meta_weight_net", "Meta-Weight-Net", "shu2019metaweightnet", ("procedure",), "14", "adapted",
           {"strategy": "meta_weight_net"},
           notes=(_BALANCED_BATCH, "its recipe is the table's: released code has Nesterov momentum and more decay")),
    Method("cb_focal", "class-balanced focal loss", "cui2019classbalanced", ("loss",), "03",
           settings={"loss": "cb_focal", "strategy": "sigmoid_start"},
           notes=("gamma 1 and beta 0.9999, as the released script has them for CIFAR-10",
                  "the last bias starts at -log(C - 1) and is not decayed")),
    Method("ce_more_decay", "cross-entropy (decay 5e-4)", "zhao2022ala", ("procedure",), "14",
           settings={"weight_decay": 5e-4},
           notes=("a control: this decay belongs to the recipes of RIDE, TDE and others",)),
    Method("sam", "SAM", "rangwani2022saddle", ("procedure",), "14",
           settings={"strategy": "sam", "strategy_options": {"rho": 0.2}},
           notes=("rho 0.2, as the released script has it for CIFAR100-LT at imbalance factor 100",)),
    Method("sam_drw", "SAM-DRW", "rangwani2022saddle", ("procedure",), "14",
           settings={"strategy": "sam", "strategy_options": {"rho": 0.8}, "drw": True},
           notes=("rho 0.8, as the released script has it for CIFAR100-LT at imbalance factor 100",)),
    Method("range_loss", "range loss", "zhang2017range", ("loss", "data"), "14", "adapted",
           {"strategy": "range_loss", "sampler": "class_balanced"},
           notes=("margin 1 and weights 0.01 and 0.1 are this package's; nobody has published any for CIFAR",
                  "on features of length 1, so that a distance has a scale",
                  "in class-balanced batches: in others hardly any rare class has two images")),
    Method("fsa", "feature space augmentation", "chu2020fsa", ("data", "procedure"), "14", "adapted", {
        "strategy": "fsa", "schedule": "step", "learning_rate": 5e-4, "weight_decay": 0.0}, base={},
        notes=("after the unofficial code, which labels a whole batch with its first rare label: here each image has "
               "its own", "partners are from the common classes only, as the paper says",
               "the learning rate falls in the last fifth, where that code keeps it",
               "as many steps an epoch as the other methods, a fifth of their epochs")),
    # --- explained only
    Method("cost_sensitive", "learned cost matrix", "khan2018cost", ("loss", "procedure"), "14", "refused", reason=(
        "no code is public, and the cost of each pair of classes is fitted to validation errors: where the rarest "
        "class has five images, none are left for that")),
    Method("feature_transfer", "feature transfer", "yin2019feature", ("network", "procedure"), "14", "refused", reason=(
        "no code is public, and it is made for faces: it assumes that all classes vary alike around their centres, as "
        "faces do with pose and light, and gives the rare ones the variance of the others")),
)  # fmt: skip
METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
TRAINED = tuple(name for name, row in METHODS.items() if row.trains)


def settings(name: str) -> dict[str, Any]:
    """The settings of a method that trains: all that it decides, and its own defaults.

    Example:
        >>> settings("focal")["loss"], settings("focal")["drw"]
        ('focal', False)
    """
    return DECIDED | dict(METHODS[name].settings)


def base_settings(name: str) -> dict[str, Any]:
    """The settings of the run that a second stage starts from.

    Raises:
        KeyError: a method without a second stage.
    """
    base = METHODS[name].base
    if base is None:
        raise KeyError(name)
    return DECIDED | dict(base)
