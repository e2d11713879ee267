"""A classifier trained on the frozen features of a finished run: cRT and its kin."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lt_core.losses import build_loss
from lt_core.models.recalibrated import ALIGNMENTS, AlignedClassifier, ScaledClassifier
from lt_core.training.build import build_network, build_run_loss
from lt_core.training.errors import TrainingError
from lt_core.training.strategies.plain import Option, Plain, Stage

_BATCHNORM = Option("eval", choices=("eval", "train"))
_MOVING = Option("train", choices=("eval", "train"))


class FrozenFeatures(Plain):
    """The features of a finished run stay as they are; what stands in its classifier's place may learn.

    Attributes:
        fresh: whether the classifier starts anew, else from the finished run's.
    """

    stage = Stage(share=0.05)
    distributed = False
    fresh: ClassVar[bool] = False

    def build(self, weights: Mapping[str, Tensor] | None) -> tuple[nn.Module, Any]:
        network: Any = build_network(self.config, self.data)
        if weights is not None:
            self.start(network, weights)
        network.requires_grad_(False)
        network.classifier = self.head(network.classifier)
        return network, self.build_loss()

    def start(self, network: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """As elsewhere, but for a fresh classifier, which stays as it is."""
        if self.fresh:
            new = {k: v for k, v in network.state_dict().items() if k.startswith("classifier.")}
            weights = {k: v for k, v in weights.items() if not k.startswith("classifier.")} | new
        super().start(network, weights)

    def head(self, classifier: Any) -> nn.Module:
        """What takes the classifier's place, here itself; parameters of it that want a gradient are trained."""
        return cast(nn.Module, classifier)

    def build_loss(self) -> Any:
        return build_run_loss(self.config, self.data)

    def train(self) -> None:
        super().train()
        if self.options.get("batchnorm", "eval") == "eval":
            self.model.eval()

    def outputs(self, images: Tensor) -> Tensor:
        features = self.features(images)
        model: Any = self.model
        with self.autocast():
            outputs: Tensor = model.classifier(features)
        return outputs.float()

    def features(self, images: Tensor) -> Tensor:
        """Features (B, d) of normalised images, as constants."""
        model: Any = self.model
        with torch.no_grad(), self.autocast():
            features: Tensor = model.features(images)
        return features

    def training_features(self) -> Tensor:
        """Features (N, d) of all training images as they are, not augmented; float32, in eval mode."""
        self.model.eval()
        parts = self.images.split(self.evaluation_batch)
        return torch.cat([self.features(self.normalize(part)).float() for part in parts])


class RetrainedClassifier(FrozenFeatures):
    """cRT: the features of a finished run stay as they are, and a fresh classifier is trained on them.

    ``batchnorm`` "eval" keeps the running statistics of the first stage; "train" lets them move to what the second
    stage's sampler shows, as the released code does by leaving the network in training mode.

    Source: Kang et al., ICLR 2020, section 4.2.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"batchnorm": _BATCHNORM}
    fresh = True

    def head(self, classifier: nn.Module) -> nn.Module:
        return classifier.requires_grad_(True)


class ContinuedClassifier(RetrainedClassifier):
    """The classifier of a finished run, trained further on its frozen features: GCL's second stage.

    Source: Li, Cheung and Lu, CVPR 2022; 30 epochs after 200 in the released code.
    """

    stage = Stage(share=0.15)
    fresh = False


class LearnedScales(FrozenFeatures):
    """LWS: the finished run's classifier stays too, and a factor for each of its logits is learned.

    Source: Kang et al., ICLR 2020, section 4.4. ``batchnorm`` as in `RetrainedClassifier`.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"batchnorm": _BATCHNORM}

    def head(self, classifier: nn.Module) -> nn.Module:
        return ScaledClassifier(classifier, self.data.num_classes)


class ShiftedScales(LearnedScales):
    """MiSLAS's second stage: factors as in LWS, and the classifier itself at ``share`` of the learning rate.

    BatchNorm is in training mode: its statistics move to the balanced sample, which the method calls shifted.

    Source: Zhong et al., "Improving Calibration for Long-Tailed Recognition", CVPR 2021, section 3.3-3.4.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"batchnorm": _MOVING, "share": Option(0.2, low=0.0)}

    def head(self, classifier: nn.Module) -> nn.Module:
        return super().head(classifier.requires_grad_(True))

    def parameters(self) -> Iterator[dict[str, Any]]:
        head: Any = self.model.classifier
        yield {"params": list(head.classifier.parameters()), "share": self.options["share"]}
        yield {"params": [head.factors]}


class Alignment(FrozenFeatures):
    """DisAlign's second stage: logits scaled and shifted by class and image, with class weights to the power ``rho``.

    Weights are proportional to :math:`\\pi_c^{-\\rho}`, batches natural. ``form`` is that of `AlignedClassifier`,
    ``batchnorm`` as in `RetrainedClassifier`.

    Source: Zhang et al., "Distribution Alignment", CVPR 2021, Eq. 4-9.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "batchnorm": _BATCHNORM,
        "form": Option("paper", choices=ALIGNMENTS),
        "rho": Option(1.2, low=0.0),
    }
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"drw": (False,)}
    corrects = True

    def head(self, classifier: Any) -> nn.Module:
        num_classes, in_features = classifier.weight.shape
        return AlignedClassifier(classifier, in_features, num_classes, self.options["form"])

    def build_loss(self) -> Any:
        if "weight" in self.config.loss_options:
            raise TrainingError("'disalign' sets class weights itself; leave the loss's weight out")
        counts = torch.tensor(self.data.class_counts, dtype=torch.float64)
        weight = (counts / counts.sum()) ** -self.options["rho"]
        weight *= len(counts) / weight.sum()
        return build_loss(self.config.loss, self.data.class_counts, **{**self.config.loss_options, "weight": weight})
