"""Networks: ResNet-32 and ResNet-8 for 32x32 images, with a linear or a cosine classifier, branches or experts."""

from collections.abc import Callable
from typing import Any

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
from lt_core.models.resnet_cifar import ResNetCIFAR, resnet8, resnet32

BACKBONES: dict[str, Callable[..., Any]] = {"resnet32": resnet32, "resnet8": resnet8, "none": FeatureClassifier}

__all__ = [
    "BACKBONES",
    "CLASSIFIERS",
    "CLASSIFIER_INITS",
    "CausalNormClassifier",
    "CosineClassifier",
    "Ensemble",
    "Experts",
    "FeatureClassifier",
    "MemoryClassifier",
    "MemoryNetwork",
    "ModulatedAttention",
    "ResNetCIFAR",
    "TwoBranches",
    "make_classifier",
    "resnet8",
    "resnet32",
]
