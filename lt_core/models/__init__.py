"""Networks: ResNet-32 and ResNet-8 for small images, torchvision's for large ones; classifiers, branches, experts."""

from collections.abc import Callable
from functools import partial
from typing import Any

from lt_core.models.backbones import TORCHVISION, Backbone
from lt_core.models.classifiers import (
    CLASSIFIER_INITS,
    CLASSIFIERS,
    CosineClassifier,
    FeatureClassifier,
    make_classifier,
)
from lt_core.models.heads import (
    CausalNormClassifier,
    Ensemble,
    Experts,
    MemoryClassifier,
    MemoryNetwork,
    ModulatedAttention,
    TwoBranches,
)
from lt_core.models.resnet_cifar import ImageNetwork, ResNetCIFAR, resnet8, resnet32

BACKBONES: dict[str, Callable[..., Any]] = {
    "resnet32": resnet32,
    "resnet8": resnet8,
    **{name: partial(Backbone, name) for name in TORCHVISION},
    "none": FeatureClassifier,
}

__all__ = [
    "BACKBONES",
    "CLASSIFIERS",
    "CLASSIFIER_INITS",
    "TORCHVISION",
    "Backbone",
    "CausalNormClassifier",
    "CosineClassifier",
    "Ensemble",
    "Experts",
    "FeatureClassifier",
    "ImageNetwork",
    "MemoryClassifier",
    "MemoryNetwork",
    "ModulatedAttention",
    "ResNetCIFAR",
    "TwoBranches",
    "make_classifier",
    "resnet8",
    "resnet32",
]
