"""What a run is: its configuration, and the training recipes it can name.

Where a configuration names no recipe, digits are trained by `short`, features and the three large sets by recipes of
their own, and the other data sets by `plain`; digits are not augmented. What a run really used stands in its
configuration.

Milestones, warm-up and the start of deferred re-weighting are fractions of the number of epochs, so that a shorter
run goes through the same stages.
"""

from __future__ import annotations

import difflib
import math
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from lt_core import methods
from lt_core.data import AS_THEY_ARE, DATASETS, FILE_LISTS, HOLDS_OUT, SIZED
from lt_core.data.augment import AUGMENTATIONS
from lt_core.data.folder import SMALLEST
from lt_core.data.mixing import MIXINGS
from lt_core.data.sampling import SAMPLERS
from lt_core.data.streaming import RESIZED_CROPS
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES
from lt_core.losses.registry import check_options
from lt_core.models import BACKBONES, CLASSIFIER_INITS, CLASSIFIERS, TORCHVISION
from lt_core.validation import check_choice, check_flag, check_number, check_whole, plain, short

SCHEDULES = {"step": 0.025, "cosine": 0.01, "annealing": 0.0, "thirds": 0.0}  # with the share of epochs that warm up
# What a configuration of the time before a key was new meant by its absence, whatever its recipe has today.
BEFORE: dict[str, Any] = {
    "classifier_init": "kaiming",
    "method": None,
    "sampler": "uniform",
    "mixing": "none",
    "strategy": "plain",
    "strategy_options": {},
    "from": None,
    "image_size": None,
    "pretrained": False,
}
COSINE_SCALE = 30.0  # for a cosine classifier under a loss that does not scale by itself


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: initialisation, optimiser (SGD with momentum), schedule and augmentation.

    The recipes are constants of the package, in ``lt_core.training.RECIPES`` by their names; nothing is checked here.

    Args:
        name: what ``--recipe`` takes.
        backbone: name of the network.
        epochs: length of the schedule.
        batch_size: images a step.
        drop_last: leave out the last, smaller batch of an epoch.
        augmentation: of the training images.
        schedule: "step", "cosine", "annealing" or "thirds"; see `learning_rate_at`.
        warmup: share of the epochs in which the rate rises.
        classifier_init: of a linear classifier, "kaiming" or "default"; see `lt_core.models.ResNetCIFAR`.
        learning_rate: the full rate.
        momentum: of SGD.
        weight_decay: of all parameters.
        drw_start: share of the epochs after which deferred re-weighting sets in.
        pretrained: begin with torchvision's weights.
        backbone_share: factor on the learning rate of all but the classifier.
        image_size: of images in files, pixels; None: as the data set has it.
    """

    name: str
    backbone: str
    epochs: int
    batch_size: int
    drop_last: bool
    augmentation: str
    schedule: str
    warmup: float
    classifier_init: str = "kaiming"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2e-4
    drw_start: float = 0.8
    pretrained: bool = False
    backbone_share: float = 1.0
    image_size: int | None = None

    def learning_rate_at(self, epoch: int, epochs: int) -> float:
        """Learning rate of the 0-based ``epoch`` of ``epochs``.

        "step" (LDAM-DRW): a linear warm-up that ends at the full rate, x0.01 after 80 % and x0.0001 after 90 % of the
        epochs. "cosine" (GALA): a warm-up from half the rate, then a half cosine that reaches zero in the last epoch.
        GALA's code counts that warm-up in iterations, ceil(200 / steps an epoch): 2 epochs of 200 at imbalance factors
        50 to 200, as here; at factor 10 it is 1, where that code stops with an assertion and this goes on with 2.
        "annealing" (second stages): a half cosine from the full rate that would reach zero after the last epoch, so
        that none of a few epochs is trained at zero. "thirds": a tenth of the rate after each third of the epochs.
        """
        if self.schedule == "thirds":
            return self.learning_rate * 0.1 ** (3 * epoch // epochs)
        if self.schedule == "annealing":
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / epochs))
        number = epoch + 1
        warmup = max(1, round(self.warmup * epochs))
        if self.schedule == "step":
            if number <= warmup:
                return self.learning_rate * number / warmup
            if number > round(0.9 * epochs):
                return self.learning_rate * 1e-4
            return self.learning_rate * (1e-2 if number > round(0.8 * epochs) else 1.0)
        if number < warmup:
            return self.learning_rate * (0.5 + 0.5 * (number - 1) / (warmup - 1))
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (number - warmup) / max(1, epochs - warmup)))

    def drw_epoch(self, epochs: int) -> int:
        """The first 0-based epoch with re-weighting."""
        return round(self.drw_start * epochs)


_PLAIN = Recipe(
    name="plain",
    backbone="resnet32",
    epochs=200,
    batch_size=128,
    drop_last=False,
    augmentation="crop_flip",
    schedule="step",
    warmup=SCHEDULES["step"],
)
RECIPES = {
    # LDAM-DRW's: the most used recipe for CIFAR-LT.
    "plain": _PLAIN,
    # GALA's: AutoAugment and Cutout, cosine schedule, small batches, more weight decay, PyTorch's own initialisation of
    # the classifier.
    "strong": Recipe(
        name="strong",
        backbone="resnet32",
        epochs=200,
        batch_size=64,
        drop_last=True,
        augmentation="autoaugment",
        schedule="cosine",
        warmup=SCHEDULES["cosine"],
        classifier_init="default",
        weight_decay=5e-4,
    ),
    # `plain` for a CPU: a small network, 40 epochs. Its numbers are never set beside published ones.
    "short": Recipe(**{**asdict(_PLAIN), "name": "short", "backbone": "resnet8", "epochs": 40}),
    # A classifier on features, and no network below it. Ours.
    "features": Recipe(
        name="features",
        backbone="none",
        epochs=30,
        batch_size=512,
        drop_last=False,
        augmentation="none",
        schedule="cosine",
        warmup=SCHEDULES["cosine"],
        classifier_init="default",
        learning_rate=0.1,  # at 0.02 thirty epochs ended twelve points below a converged fit (`bench --only features`)
        weight_decay=5e-4,
    ),
}


# Of the large sets. What the ALA paper states ("Implementation Details"): backbones, epochs, and for two of them batch,
# rate and decay. The rest is from released code: schedule and augmentation from Decoupling (commit f162ade; jitter
# of the hue none, and none at all on iNaturalist), the whole of Places-LT but its epochs from LADE (config/Places_LT),
# whose pre-trained weights were Caffe's.
_LARGE = Recipe(
    name="imagenet_lt",
    backbone="resnet50",
    epochs=90,
    batch_size=256,
    drop_last=False,
    augmentation="resized_crop_jitter",
    schedule="annealing",
    warmup=SCHEDULES["annealing"],
    classifier_init="default",
    learning_rate=0.1,
    weight_decay=5e-4,
    image_size=224,
)
RECIPES |= {
    "imagenet_lt": _LARGE,
    "inaturalist2018": replace(
        _LARGE, name="inaturalist2018", batch_size=512, learning_rate=0.2, weight_decay=2e-4,
        augmentation="resized_crop",
    ),
    "places_lt": replace(
        _LARGE, name="places_lt", backbone="resnet152", pretrained=True, epochs=30, batch_size=128, schedule="thirds",
        backbone_share=0.01,
    ),
}  # fmt: skip


def recipe_for(dataset: str, name: str | None = None) -> Recipe:
    """A recipe as a data set uses it: digits are not augmented, since a mirrored digit is none.

    Args:
        dataset: a name of `lt_core.data.DATASETS`.
        name: a name of `RECIPES`; None is "short" for "digits_lt", its own for "features" and the large sets, "plain"
            for the others.

    Example:
        >>> recipe_for("digits_lt").backbone, recipe_for("digits_lt", "strong").augmentation
        ('resnet8', 'none')
        >>> recipe_for("cifar100_lt") is RECIPES["plain"]
        True
    """
    own = {"digits_lt": "short", "features": "features", **dict(zip(FILE_LISTS, FILE_LISTS, strict=True))}
    name = name or own.get(dataset, "plain")
    if (dataset == "features") != (name == "features"):
        raise ValueError(f"recipe is {name!r}; 'features' is for the data set 'features', which has no other")
    return replace(RECIPES[name], augmentation="none") if dataset == "digits_lt" else RECIPES[name]


def method_settings(name: str) -> dict[str, Any]:
    """What a method decides, and its own defaults, with the loss's classifier and the strategy's constants filled in.

    Example:
        >>> method_settings("ldam")["classifier"]
        'cosine'
    """
    from lt_core.training.strategies import checked_options

    settings = methods.settings(name)
    settings["classifier"] = settings["classifier"] or usual_classifier(settings["loss"])
    settings["strategy_options"] = checked_options(settings["strategy"], settings["strategy_options"])
    return settings


def check_method(name: Any) -> str:
    """The name of a method that trains; a ValueError says why one does not, or which names are like an unknown one."""
    row = methods.METHODS.get(name) if isinstance(name, str) else None
    if row is None:
        names = difflib.get_close_matches(str(name).lower(), methods.TRAINED)
        close = f"close to it are {', '.join(map(repr, names))}; " if names else ""
        raise ValueError(f"method is {short(name)}; {close}`python -m lt_core methods` lists all")
    if not row.trains:
        raise ValueError(f"method {row.name!r} does not train here: {row.reason}")
    return row.name


def usual_classifier(loss: str) -> str:
    """The classifier that a loss has where none is named."""
    return "cosine" if loss in COSINE_LOSSES else "linear"


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers. ``None`` means "as the recipe, the loss or the data set has it".

    Args:
        dataset: a name of `lt_core.data.DATASETS`.
        loss: one of `lt_core.losses.LOSS_NAMES`.
        loss_options: keyword arguments of the loss, by name.
        drw: deferred re-weighting: class-balanced weights (beta 0.9999) in the last fifth of the epochs.
        recipe: a name of `RECIPES`; None as in `recipe_for`.
        imbalance_factor: largest count over smallest of the subset that is drawn, at least 1; None is 100, and stays
            None for the data of `lt_core.data.AS_THEY_ARE`.
        augmentation: "none", "crop_flip" or "autoaugment" (with crop, flip and Cutout); of images in files also
            "resized_crop" or "resized_crop_jitter", with which they are read while the network trains. None is "none"
            for digits, else the recipe's.
        schedule: "step" or "cosine", each with its recipe's warm-up, "annealing" or "thirds", which have none.
        learning_rate: above 0.
        weight_decay: at least 0.
        backbone: "resnet32", "resnet8" or one of `lt_core.models.TORCHVISION`; of "features" it is "none".
        classifier: "linear" or "cosine"; a loss on cosines needs "cosine".
        classifier_init: of a linear classifier: "kaiming" (LDAM-DRW's) or "default" (PyTorch's, and GALA's). It does
            nothing to a cosine classifier, beside which another value than the recipe's is refused.
        epochs: at least 1.
        batch_size: at least 2.
        seed: of initialisation, order and augmentation.
        subset_seed: of the long-tailed subset (0 is the canonical one).
        class_order: which class takes which place of the profile; see `lt_core.data.cifar100_lt`.
        method: a name of `lt_core.methods.METHODS`, which decides the loss and its options, drw, the classifier, the
            sampler, mixing and strategy; another value of one of these beside it is refused.
        sampler: a name of `lt_core.data.sampling.SAMPLERS`: which images an epoch sees.
        mixing: "none", "mixup" or "remix".
        strategy: a name of `lt_core.training.strategies.STRATEGIES`: the procedure.
        strategy_options: constants of the strategy, by name.
        image_size: pixels of a side, at least 8, for the sets of `lt_core.data.SIZED` alone; None is the recipe's, or
            the set's.
        pretrained: begin with torchvision's weights from ImageNet-1k, for its backbones alone; None is the recipe's.
        base: for a strategy that goes on from a finished run, that run as ``RECIPE/RUN``; None trains it first. Files
            and dictionaries call it ``from``.

    Raises:
        ValueError, TypeError: a value that is not allowed; the message names it.
    """

    dataset: str = "digits_lt"
    loss: str = "ce"
    loss_options: Mapping[str, Any] = field(default_factory=dict)
    drw: bool = False
    recipe: str | None = None
    imbalance_factor: float | None = None
    backbone: str | None = None
    classifier: str | None = None
    classifier_init: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    augmentation: str | None = None
    schedule: str | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    seed: int = 0
    subset_seed: int = 0
    class_order: tuple[int, ...] | None = None
    method: str | None = None
    sampler: str = "uniform"
    mixing: str = "none"
    strategy: str = "plain"
    strategy_options: Mapping[str, Any] = field(default_factory=dict)
    image_size: int | None = None
    pretrained: bool | None = None
    base: str | None = None

    def __post_init__(self) -> None:
        """Check every value, and keep it as plain Python: a record of the run can then be written."""

        def keep(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        for name, value in self._settings_of_method().items():
            keep(name, value)
        for name, allowed in (("dataset", DATASETS), ("loss", LOSS_NAMES), ("recipe", tuple(RECIPES))):
            if getattr(self, name) is not None or name != "recipe":
                keep(name, check_choice(name, getattr(self, name), allowed))
        keep("drw", check_flag("drw", self.drw))
        keep("loss_options", self._checked_options())
        keep("strategy_options", self._checked_strategy_options())
        recipe = recipe_for(self.dataset, self.recipe)
        for name, value in (
            ("recipe", recipe.name),
            ("backbone", recipe.backbone),
            ("epochs", self._usual_epochs(recipe)),
            ("batch_size", recipe.batch_size),
            ("augmentation", recipe.augmentation),
            ("schedule", recipe.schedule),
            ("learning_rate", recipe.learning_rate),
            ("weight_decay", recipe.weight_decay),
            ("classifier", usual_classifier(self.loss)),
            ("classifier_init", recipe.classifier_init),
            ("pretrained", recipe.pretrained),
        ):
            if getattr(self, name) is None:
                keep(name, value)
        for name, allowed in (
            ("backbone", tuple(BACKBONES)),
            ("classifier", CLASSIFIERS),
            ("classifier_init", CLASSIFIER_INITS),
            ("augmentation", (*AUGMENTATIONS, *RESIZED_CROPS)),
            ("schedule", tuple(SCHEDULES)),
            ("sampler", SAMPLERS),
            ("mixing", MIXINGS),
        ):
            keep(name, check_choice(name, getattr(self, name), allowed))
        self._check_data(keep)
        for name, above in (("learning_rate", True), ("weight_decay", False)):
            keep(name, check_number(name, getattr(self, name), low=0.0, open_low=above))
        for name, low in (("epochs", 1), ("batch_size", 2), ("seed", 0), ("subset_seed", 0)):
            keep(name, check_whole(name, getattr(self, name), low))
        if self.loss in COSINE_LOSSES and self.classifier != "cosine":
            raise ValueError(f"classifier is {self.classifier!r}; loss {self.loss!r} works on cosines: use 'cosine'")
        if self.classifier == "cosine" and self.classifier_init != recipe.classifier_init:
            raise ValueError(
                f"classifier_init is {self.classifier_init!r}, which does nothing to a cosine classifier; leave it out"
            )
        self._check_base()
        self._check_needs()
        if self.class_order is not None:
            if not isinstance(self.class_order, Iterable) or isinstance(self.class_order, str):
                raise TypeError(f"class_order is {self.class_order!r}; a list of labels is needed")
            keep("class_order", tuple(check_whole("a label of class_order", label, 0) for label in self.class_order))

    def _check_data(self, keep: Callable[[str, Any], None]) -> None:
        """Check what the data are made of; data of one's own are used as they are."""
        if self.dataset in AS_THEY_ARE:
            for name, usual in (("imbalance_factor", None), ("subset_seed", 0), ("class_order", None)):
                if (value := getattr(self, name)) != usual:
                    raise ValueError(f"{name} is {value!r}, but {self.dataset!r} is used as it is; leave it out")
        else:
            factor = 100 if self.imbalance_factor is None else self.imbalance_factor
            keep("imbalance_factor", check_number("imbalance_factor", factor, low=1))
        if self.dataset in SIZED:
            usual = recipe_for(self.dataset, self.recipe).image_size or SIZED[self.dataset]
            size = usual if self.image_size is None else self.image_size
            keep("image_size", check_whole("image_size", size, low=SMALLEST))
        elif self.image_size is not None:
            raise ValueError(f"image_size is {self.image_size!r}; only the images of {', '.join(SIZED)} are scaled")
        if "meta_per_class" in self.strategy_options and self.dataset not in HOLDS_OUT:
            given = self.strategy_options["meta_per_class"]
            raise ValueError(f"meta_per_class is {given!r}, but {self.dataset!r} holds no images out; leave it out")
        self._check_files()
        if check_flag("pretrained", self.pretrained) and self.backbone not in TORCHVISION:
            raise ValueError(f"pretrained is True with backbone {self.backbone!r}; only torchvision's have weights")
        if (self.backbone == "none") != (self.dataset == "features"):
            raise ValueError(f"backbone is {self.backbone!r} with dataset {self.dataset!r}; 'none' is for 'features'")
        if self.dataset == "features":
            for name, needed in (("augmentation", "none"), ("mixing", "none"), ("strategy", "plain")):
                if (value := getattr(self, name)) != needed:
                    raise ValueError(f"{name} is {value!r}, but features have no images, and need {needed!r}")

    def _check_files(self) -> None:
        """Raise where images in files are to be used as only decoded ones can be, or the other way round."""
        if self.augmentation in RESIZED_CROPS:
            if self.dataset not in SIZED:
                raise ValueError(f"augmentation is {self.augmentation!r}, but {self.dataset!r} has no images in files")
            for name, needed in (("mixing", "none"), ("strategy", "plain")):
                if (value := getattr(self, name)) != needed:
                    raise ValueError(
                        f"{name} is {value!r}, but augmentation {self.augmentation!r} leaves the images in their "
                        f"files, and needs {needed!r}"
                    )
        elif self.dataset in FILE_LISTS:
            allowed = " or ".join(map(repr, RESIZED_CROPS))
            raise ValueError(f"augmentation is {self.augmentation!r}; {self.dataset!r} needs {allowed}")

    def _settings_of_method(self) -> dict[str, Any]:
        """What the method decides, by field; a value given beside it that is another one is refused."""
        if self.method is None:
            return {}
        settings = method_settings(check_method(self.method))
        usual = {f.name: f.default for f in fields(self)} | {"loss_options": {}, "strategy_options": {}}
        for name in methods.DECIDED:
            value = getattr(self, name)
            if name in settings and value not in (usual[name], settings[name]):
                raise ValueError(f"{name} is {value!r}, but method {self.method!r} decides it; leave one of them out")
        return {n: v for n, v in settings.items() if n in methods.DECIDED or getattr(self, n) is None}

    def _usual_epochs(self, recipe: Recipe) -> int:
        """The recipe's; of a second stage a share of them."""
        from lt_core.training.strategies import STRATEGIES

        stage = STRATEGIES[check_choice("strategy", self.strategy, tuple(STRATEGIES))].stage
        return recipe.epochs if stage is None else stage.epochs(recipe.epochs)

    def _checked_strategy_options(self) -> dict[str, Any]:
        """All constants of the strategy, those that were given in place of its own."""
        from lt_core.training.strategies import STRATEGIES, checked_options

        check_choice("strategy", self.strategy, tuple(STRATEGIES))
        if not isinstance(self.strategy_options, Mapping):
            raise TypeError(f"strategy_options is {self.strategy_options!r}; a mapping of names to values is needed")
        options = plain("strategy_options", checked_options(self.strategy, self.strategy_options))
        assert isinstance(options, dict)
        return options

    def _check_base(self) -> None:
        """Raise where ``base`` is no ``RECIPE/RUN``, or the strategy needs none."""
        from lt_core.training.strategies import STRATEGIES

        if self.base is None:
            return
        if STRATEGIES[self.strategy].stage is None:
            raise ValueError(f"from is {self.base!r}, but strategy {self.strategy!r} starts from no other run")
        if not isinstance(self.base, str) or not re.fullmatch(r"[\w.+-]+/[\w.+-]+", self.base):
            raise ValueError(f"from is {self.base!r}; RECIPE/RUN is needed, such as 'short/ce-if100-s0'")

    def _check_needs(self) -> None:
        """Raise where the strategy does not work with another setting."""
        from lt_core.training.strategies import STRATEGIES

        strategy = STRATEGIES[self.strategy]
        for name, allowed in strategy.NEEDS.items():
            if getattr(self, name) not in allowed:
                needed = " or ".join(map(repr, allowed))
                raise ValueError(f"{name} is {getattr(self, name)!r}, but strategy {self.strategy!r} needs {needed}")
        if self.loss == "gala" and not (strategy.one_loss and self.mixing == "none"):
            way = f"mixing {self.mixing!r}" if strategy.one_loss else f"strategy {self.strategy!r}"
            raise ValueError(f"loss is 'gala', which counts a batch once, but {way} calls it more than once a step")
        if int(self.batch_size or 0) % strategy.batch_multiple:
            needed = f"a multiple of {strategy.batch_multiple}"
            raise ValueError(f"batch_size is {self.batch_size}; strategy {self.strategy!r} needs {needed}")

    def _checked_options(self) -> dict[str, Any]:
        """The options of the loss as plain values; those that a run sets itself are refused."""
        if not isinstance(self.loss_options, Mapping):
            raise TypeError(f"loss_options is {self.loss_options!r}; a mapping of names to values is needed")
        if self.drw and self.loss in ("cb", "cb_focal"):
            raise ValueError(f"drw defers the weights that the loss {self.loss!r} always has; use loss 'ce' with drw")
        for name in self.loss_options:
            if not isinstance(name, str):
                raise TypeError(f"loss_options has the key {name!r}; a name is needed")
        if "reduction" in self.loss_options:
            raise ValueError("loss_options has 'reduction'; a run trains on the mean of a batch, so leave it out")
        if self.drw and "weight" in self.loss_options:
            raise ValueError("loss_options has 'weight', but drw sets the weights itself; use one of the two")
        check_options(self.loss, self.loss_options, without=("reduction", "weight") if self.drw else ("reduction",))
        options = plain("loss_options", self.loss_options)
        assert isinstance(options, dict)
        return options

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """A configuration from a mapping; an unknown key is a ValueError that lists the known ones."""
        known = ["from" if f.name == "base" else f.name for f in fields(cls)]
        for key in values:
            check_choice("configuration key", key, known)
        if (method := values.get("method")) in methods.TRAINED:
            for key, setting in method_settings(str(method)).items():
                if key in methods.DECIDED and values.get(key) not in (None, setting):
                    raise ValueError(f"{key} is {values[key]!r}, but method {method!r} decides it; leave it out")
        return cls(**{"base" if key == "from" else key: value for key, value in values.items()})

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> RunConfig:
        """The configuration of a record or a checkpoint; a key that was not known then has the value of that time.

        Raises:
            ValueError: an unknown key, a value that is not allowed, or a run of the recipe "strong" from before it was
                as GALA's code has it: no setting of today repeats it.
        """
        if values.get("recipe") == "strong" and "classifier_init" not in values:
            raise ValueError(
                "this run of recipe 'strong' is from before its classifier's initialisation and its translations were "
                "those of GALA's code; train it anew"
            )
        return cls.from_dict({**BEFORE, **values})

    def to_dict(self) -> dict[str, Any]:
        """A plain dictionary, ready for JSON or YAML."""
        values = asdict(self)
        values["from"] = values.pop("base")
        values["class_order"] = None if self.class_order is None else list(self.class_order)
        return values

    def difference(self, there: Mapping[str, Any]) -> str:
        """What a stored configuration has otherwise, in words; "" where nothing differs."""
        here, there = self.to_dict(), BEFORE | dict(there)
        different = [key for key in here if there.get(key) != here[key]]
        return ", ".join(f"{key} {there.get(key)!r} there, {here[key]!r} here" for key in different)

    def ingredients(self) -> Recipe:
        """The recipe, with what this configuration changes in it."""
        named = recipe_for(self.dataset, self.recipe)
        schedule = str(self.schedule)
        return replace(
            named,
            backbone=str(self.backbone),
            epochs=int(self.epochs or 0),
            batch_size=int(self.batch_size or 0),
            augmentation=str(self.augmentation),
            schedule=schedule,
            warmup=SCHEDULES[schedule],
            classifier_init=str(self.classifier_init),
            learning_rate=float(self.learning_rate or 0.0),
            weight_decay=float(self.weight_decay or 0.0),
        )

    @property
    def run_name(self) -> str:
        """The run's name, such as ``ldam-drw-if100-s0``; another one for every other configuration of the recipe.

        What is as usual is not named: CIFAR100-LT, and what the recipe itself has for this data set.
        """
        recipe = recipe_for(self.dataset, self.recipe)
        usual = {} if self.method is None else methods.settings(self.method)
        parts = [] if self.dataset == "cifar100_lt" else [self.dataset]
        parts += [self.method] if self.method is not None else self._ingredient_names()
        if self.backbone != recipe.backbone:
            parts.append(str(self.backbone))
        if self.epochs != self._usual_epochs(recipe):
            parts.append(f"e{self.epochs}")
        if self.batch_size != recipe.batch_size:
            parts.append(f"b{self.batch_size}")
        for mark, name in (
            ("", "augmentation"),
            ("lr_", "schedule"),
            ("lr", "learning_rate"),
            ("wd", "weight_decay"),
            ("init_", "classifier_init"),
        ):
            if getattr(self, name) != usual.get(name, getattr(recipe, name)):
                parts.append(f"{mark}{_plain(getattr(self, name))}")
        if self.image_size not in (None, recipe.image_size):
            parts.append(f"{self.image_size}px")
        if self.pretrained != recipe.pretrained:
            parts.append("pretrained" if self.pretrained else "untrained")
        if self.imbalance_factor is not None:
            parts.append(f"if{_plain(float(self.imbalance_factor)).removesuffix('.0')}")
        parts.append(f"s{self.seed}")
        if self.subset_seed:
            parts.append(f"subset{self.subset_seed}")
        if self.class_order is not None:
            parts.append(f"order{_checksum(repr(self.class_order))}")
        if self.base is not None:
            parts.append(f"from_{self.base.split('/')[-1]}")
        return "-".join(parts)

    def _ingredient_names(self) -> list[str]:
        """What a run without a named method is made of, as parts of its name."""
        from lt_core.training.strategies import checked_options

        parts = [self.loss]
        if self.drw:
            parts.append("drw")
        if self.classifier == "cosine" and self.loss not in COSINE_LOSSES:
            parts.append("cosine")
        parts += [f"{key}_{_plain(value)}" for key, value in sorted(self.loss_options.items())]
        parts += [value for value, usual in ((self.sampler, "uniform"), (self.mixing, "none")) if value != usual]
        if self.strategy != "plain":
            parts.append(self.strategy)
        own = checked_options(self.strategy, {})
        parts += [f"{k}_{_plain(v)}" for k, v in sorted(self.strategy_options.items()) if v != own.get(k)]
        return parts


def _plain(value: Any) -> str:
    """A value as part of a file name; what has other characters than a number or a word becomes its checksum."""
    text = str(value)
    return text if re.fullmatch(r"[A-Za-z0-9_.+-]{1,40}", text) else _checksum(repr(value))


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
