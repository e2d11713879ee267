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
    "control": "a control of this book, no paper's method",
    "refused": "explained only",
}
# The papers of the methods, as the book cites them: the key of its bibliography, first author and year.
PAPERS = {
    "zhao2022ala": "Zhao 2022", "lin2017focal": "Lin 2017", "cui2019classbalanced": "Cui 2019",
    "cao2019ldam": "Cao 2019", "wang2018cosface": "Wang 2018", "ren2020balms": "Ren 2020",
    "menon2021logit": "Menon 2021", "gala2024": "Zhang 2024", "kini2021vs": "Kini 2021",
    "tan2020equalization": "Tan 2020", "hong2021lade": "Hong 2021", "deng2019arcface": "Deng 2019",
    "liu2017sphereface": "Liu 2017", "kang2020decoupling": "Kang 2020", "zhou2020bbn": "Zhou 2020",
    "zhang2018mixup": "Zhang 2018", "chou2020remix": "Chou 2020", "zhang2021disalign": "Zhang 2021a",
    "zhong2021mislas": "Zhong 2021", "li2022gcl": "Li 2022a", "chawla2002smote": "Chawla 2002",
    "han2005borderline": "Han 2005", "wang2021ride": "Wang 2021", "tang2020causal": "Tang 2020",
    "liu2019oltr": "Liu 2019", "xiang2020lfme": "Xiang 2020", "ren2018l2rw": "Ren 2018",
    "shu2019metaweightnet": "Shu 2019", "rangwani2022saddle": "Rangwani 2022", "zhang2017range": "Zhang 2017",
    "chu2020fsa": "Chu 2020", "khan2018cost": "Khan 2018", "yin2019feature": "Yin 2019",
}  # fmt: skip
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
        paper: a key of `PAPERS` and of the book's bibliography; a control has that of the method it stands beside.
        changes: some of `CHANGES`.
        chapter: of the book.
        fidelity: one of `FIDELITY`.
        settings: keys of `lt_core.training.RunConfig` whose value is not the usual one.
        base: for a second stage, the settings of the run that it starts from, in the same way.
        notes: what was changed ("adapted"), which method it is a control of ("control"), or what a reader of its row
            must know.
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

    @property
    def citation(self) -> str:
        """First author and year of the paper."""
        return PAPERS[self.paper]

    def to_dict(self) -> dict[str, Any]:
        """What ``python -m lt_core methods --json`` prints of it."""
        lists = {"changes": list(self.changes), "notes": list(self.notes)}
        return {**asdict(self), **lists, "trains": self.trains, "citation": self.citation}


_MIXUP = "images and labels are mixed with one share a batch, Beta(1, 1)"
_NARROW = "the second and third stage have 24 and 48 channels, as released"
_EQUAL_STEPS = "an epoch has as many draws as the data set has images, so all samplers take equally many steps"
_STAGE = {"schedule": "annealing", "weight_decay": 5e-4}
_DRAWN = "class and image are drawn; the released sampler goes through shuffled classes, four images each"
_TWENTIETH = (
    "there is no code for CIFAR: batch size and rate are the recipe's, the length is a twentieth of its epochs; "
    "released for ImageNet-LT are 512, 0.2 and"
)
_STILL = "BatchNorm keeps the first stage's statistics; the released code lets them move"
_BALANCED_BATCH = (
    "the second batch is drawn from the training images; the authors' has images that are not trained on, which the "
    "option meta_per_class holds out"
)

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
           notes=("weights 1/n, the limit of class-balanced ones",
                  "the table of systems has no run of it, `cb` stands for it: on CIFAR100-LT at imbalance factor 100 "
                  "those weights are these within 2.4 %, tail to head 97.6 against 100")),
    Method("ldam", "LDAM", "cao2019ldam", ("loss", "network"), "05", settings={"loss": "ldam"}),
    Method("ldam_drw", "LDAM-DRW", "cao2019ldam", ("loss", "network", "procedure"), "05",
           settings={"loss": "ldam", "drw": True}),
    Method("ce_drw", "cross-entropy-DRW", "cao2019ldam", ("loss", "procedure"), "03", settings={"drw": True}),
    Method("ce_cosine", "cross-entropy (cosine)", "wang2018cosface", ("network",), "05", "control",
           {"classifier": "cosine"},
           notes=("the control of the losses on cosines: their classifier, without margins",)),
    Method("ala", "ALA", "zhao2022ala", ("loss", "network"), "06", settings={"loss": "ala"}),
    Method("ala_drw", "ALA-DRW", "zhao2022ala", ("loss", "network", "procedure"), "06",
           settings={"loss": "ala", "drw": True}),
    Method("df", "DF alone", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": None}}),
    Method("qf", "QF alone", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"difficulty": False}}),
    Method("df_ldam", "DF times LDAM", "zhao2022ala", ("loss", "network"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": "ldam"}}),
    Method("df_drw", "DF alone-DRW", "zhao2022ala", ("loss", "network", "procedure"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": None}, "drw": True}),
    Method("qf_drw", "QF alone-DRW", "zhao2022ala", ("loss", "network", "procedure"), "06", "published",
           {"loss": "ala", "loss_options": {"difficulty": False}, "drw": True}),
    Method("df_ldam_drw", "DF times LDAM-DRW", "zhao2022ala", ("loss", "network", "procedure"), "06", "published",
           {"loss": "ala", "loss_options": {"quantity": "ldam"}, "drw": True}),
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
    Method("class_balanced", "class-balanced sampling", "kang2020decoupling", ("data",), "03", "adapted",
           {"sampler": "class_balanced"}, notes=(_DRAWN, _EQUAL_STEPS)),
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
    Method("crt", "cRT", "kang2020decoupling", ("data", "procedure"), "14", "adapted", {
        "strategy": "crt", "sampler": "class_balanced", **_STAGE}, base={},
        notes=(_STILL, _DRAWN, f"{_TWENTIETH} 10 epochs after 90")),
    Method("lws", "LWS", "kang2020decoupling", ("data", "procedure"), "14", "adapted", {
        "strategy": "lws", "sampler": "class_balanced", **_STAGE}, base={},
        notes=(_STILL, _DRAWN, f"{_TWENTIETH} 5 epochs after 90")),
    Method("tau_norm", "tau-normalisation", "kang2020decoupling", ("prediction",), "14", settings={
        "strategy": "tau_norm"}, base={},
        notes=("tau 1, bias dropped; other values and the best on the training images are options",)),
    Method("ncm", "nearest class mean", "kang2020decoupling", ("prediction",), "14", settings={"strategy": "ncm"},
           base={}),
    Method("pc_softmax", "PC softmax", "hong2021lade", ("prediction",), "08", "adapted", {"strategy": "pc_softmax"},
           base={}, notes=("on this network; the published figure is on BBN's",)),
    Method("disalign", "DisAlign", "zhang2021disalign", ("loss", "network", "procedure"), "14", "adapted", {
        "strategy": "disalign", **_STAGE}, base={},
        notes=("rho 1.2, as for ImageNet-LT; there are no constants for CIFAR-LT",
               "the paper's form; the released one starts from twice the logits; either form's gate can close for good",
               _STILL)),
    Method("mislas", "MiSLAS", "zhong2021mislas", ("data", "loss", "procedure"), "14", "adapted", {
        "strategy": "mislas", "sampler": "class_balanced", "loss": "label_aware", "schedule": "annealing"},
        base={"mixing": "mixup"},
        notes=(_DRAWN, "the first stage has the recipe's schedule; the released one falls to 0.1 and 0.01")),
    Method("mixup_crt", "mixup, then cRT", "zhong2021mislas", ("data", "procedure"), "14", "control", {
        "strategy": "crt", "sampler": "class_balanced", **_STAGE}, base={"mixing": "mixup"},
        notes=("the control of `mislas`, without its second stage's own ideas, and of `gcl`",)),
    Method("gcl", "GCL", "li2022gcl", ("data", "loss", "network", "procedure"), "05", "adapted", {
        "strategy": "continued", "sampler": "class_balanced", "mixing": "mixup", "loss": "gcl",
        "loss_options": {"margin": 0.1, "scale": 20.0, "gamma": 1.0}, "schedule": "annealing", "learning_rate": 0.002},
        base={"loss": "gcl", "mixing": "mixup"}, slow=True,
        notes=("both stages, with mixup in both; 0.002 is what the released code's rate of 0.1 comes to",
               "batch size and first schedule are the recipe's, and the first stage ends with its last epoch; the "
               "released code has batches of 64, falls to 0.1 and 0.01, and goes on from the epoch best on test")),
    Method("bals", "BALMS", "ren2020balms", ("data", "loss", "procedure"), "14", "adapted", {
        "strategy": "bals", "loss": "balanced_softmax", **_STAGE}, base={},
        notes=("batch size and augmentation are the recipe's; the released code has batches of 512, AutoAugment and "
               "Cutout, and a configuration for imbalance factor 200 alone",
               "in recipe short a sixteenth of the released code's draws, few for a classifier learned anew", _STILL)),
    Method("smote", "SMOTE", "chawla2002smote", ("data", "procedure"), "14", "adapted", {
        "strategy": "smote", **_STAGE}, base={},
        notes=("on the features of a finished network, and a linear classifier",
               "5 neighbours, or all others of a class that has fewer; a single image is repeated", _EQUAL_STEPS)),
    Method("borderline_smote", "Borderline-SMOTE", "han2005borderline", ("data", "procedure"), "14", "adapted", {
        "strategy": "borderline_smote", **_STAGE}, base={}, slow=True,
        notes=("on the features of a finished network, and a linear classifier",
               "a class without an image at its border stays small; the record names it", _EQUAL_STEPS)),
    # --- networks, experts and memory
    Method("bbn", "BBN", "zhou2020bbn", ("data", "network", "procedure"), "14", settings={"strategy": "bbn"},
           slow=True, notes=("with one block a stage a branch is the whole last stage",)),
    Method("ce_bbn_network", "cross-entropy (BBN's network)", "zhou2020bbn", ("network",), "14", "control",
           {"strategy": "two_branches"}, notes=("the control of `bbn`",)),
    Method("ride", "RIDE", "wang2021ride", ("loss", "network", "procedure"), "14", settings={
        "loss": "ldam", "drw": True, "strategy": "ride"},
        notes=("three experts without the second stage, which saves operations and no errors", _NARROW)),
    Method("ride_no_diversity", "RIDE without diversity", "wang2021ride", ("loss", "network", "procedure"), "14",
        "control",
        {"loss": "ldam", "drw": True, "strategy": "ride", "strategy_options": {"diversity": 0.0}},
        notes=("the control of `ride`: each expert keeps its own loss", _NARROW)),
    Method("ce_experts", "cross-entropy (three experts)", "wang2021ride", ("network",), "14", "control", {
        "classifier": "cosine", "strategy": "experts"},
        notes=("the control of `ride`: its network and cosine classifiers; the mean logits are trained", _NARROW)),
    Method("ensemble", "ensemble of three", "wang2021ride", ("network",), "14", "control", {"strategy": "ensemble"},
           notes=("the control of `ride`: networks of 11, 23 and 43 channels, which together cost the same",)),
    Method("causal_norm", "causal norm (TDE)", "tang2020causal", ("network", "prediction"), "14", "adapted",
           {"strategy": "causal_norm"},
           notes=("alpha 1.5, as released for CIFAR-100; on this network, the released configuration is on BBN's",)),
    Method("causal_norm_no_effect", "causal norm without subtraction", "tang2020causal", ("network",), "14", "adapted",
           {"strategy": "causal_norm", "strategy_options": {"alpha": 0.0}},
           notes=("the control of `causal_norm`, in its paper De-confound: the same training, nothing is subtracted at "
                  "test", "on this network, the released configuration is on BBN's")),
    Method("oltr", "OLTR", "liu2019oltr", ("data", "loss", "network", "procedure"), "14", "adapted", {
        "strategy": "oltr", "sampler": "class_balanced", **_STAGE}, base={}, slow=True,
        notes=("there is no code for CIFAR: the constants are those for ImageNet-LT",
               "attention and further layer on this network's last map, of 8 by 8 positions in place of 7 by 7",
               "classes are drawn one image at a time, not four; a half cosine in place of two steps")),
    Method("ce_further", "cross-entropy (trained further)", "liu2019oltr", ("data", "procedure"), "14", "control", {
        "strategy": "further", "sampler": "class_balanced", **_STAGE}, base={},
        notes=("the control of `oltr`: its sampler, length, rates and decay, without attention, memory, new classifier "
               "and feature loss",)),
    Method("lfme", "LFME", "xiang2020lfme", ("data", "loss", "procedure"), "14", "adapted", {
        "strategy": "lfme", "sampler": "class_balanced"}, base={"strategy": "lfme_experts"},
        notes=("there is no code for CIFAR: the constants are those for ImageNet-LT, the schedule is the recipe's",
               "experts and student each take as many epochs as the recipe; released are 120 and 90",
               "the student's progress is read from the training images of an epoch; released is validation accuracy",
               "classes are drawn one image at a time, not four")),
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
    Method("ce_more_decay", "cross-entropy (decay 5e-4)", "zhao2022ala", ("procedure",), "14", "control",
           {"weight_decay": 5e-4},
           notes=("the control of what needs more decay: that of the recipes of RIDE, TDE and others",)),
    Method("sam", "SAM", "rangwani2022saddle", ("procedure",), "14",
           settings={"strategy": "sam", "strategy_options": {"rho": 0.2}},
           notes=("rho 0.2, as the released script has it for CIFAR100-LT at imbalance factor 100",)),
    Method("sam_drw", "SAM-DRW", "rangwani2022saddle", ("loss", "procedure"), "14",
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
        "no code is public, and of the paper only the abstract and the first pages could be read: how the cost of each "
        "pair of classes is learned beside the network does not stand there")),
    Method("feature_transfer", "feature transfer", "yin2019feature", ("network", "procedure"), "14", "refused", reason=(
        "no code is public, and it is made for faces: it assumes that all classes vary alike around their centres, as "
        "faces do with pose and light, and gives the rare ones the variance of the others")),
)  # fmt: skip
METHODS: dict[str, Method] = {row.name: row for row in _ROWS}
TRAINED = tuple(name for name, row in METHODS.items() if row.trains)


def settings(name: str) -> dict[str, Any]:
    """The settings of a method that trains: all that it decides, and its own defaults.

    Raises:
        KeyError: a name that is not in `TRAINED`.

    Example:
        >>> settings("focal")["loss"], settings("focal")["drw"]
        ('focal', False)
    """
    if name not in TRAINED:
        raise KeyError(name)
    return DECIDED | dict(METHODS[name].settings)


def base_settings(name: str) -> dict[str, Any]:
    """The settings of the run that a second stage starts from.

    Raises:
        KeyError: no method, or one without a second stage.
    """
    base = METHODS[name].base
    if base is None:
        raise KeyError(name)
    return DECIDED | dict(base)
