"""Second stages in which nothing is learned: one pass over the images measures the loss of what was put in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lt_core import posthoc
from lt_core.losses._common import float_counts, log_shares
from lt_core.models.recalibrated import NearestMeanClassifier
from lt_core.training.strategies.plain import Option, Stage
from lt_core.training.strategies.second_stage import FrozenFeatures

TAUS = tuple(step / 10 for step in range(21))  # 0 to 2, as in the released code


class Untrained(FrozenFeatures):
    """A finished run's network with another classifier, which is computed at once; BatchNorm is in eval mode."""

    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"classifier": ("linear",)}
    stage = Stage(share=0.0, least=1)
    learns = False

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.model.parameters()  # an optimiser wants some; it never steps

    def train(self) -> None:
        super().train()
        if self.epoch == 0:
            with torch.no_grad():
                self.fit()

    def fit(self) -> None:
        """Compute the classifier, before the first epoch; a checkpoint has what came of it."""
        raise NotImplementedError


class TauNormalized(Untrained):
    """tau-normalisation: the rows of the classifier are divided by a power ``tau`` of their norm.

    With ``tau`` "train" it is the first of 0, 0.1, ..., 2 that has the best class-balanced accuracy on the training
    images, not augmented. ``bias`` "drop" is the authors' way, "keep" that of BagofTricks-LT.

    Source: Kang et al., ICLR 2020, section 4.3.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        "bias": Option("drop", choices=("drop", "keep")),
        "tau": Option(1.0, low=0.0, words=("train",)),
    }
    corrects = True
    tau: float | None = None

    def fit(self) -> None:
        classifier: Any = self.model.classifier
        if self.options["bias"] == "drop":
            classifier.bias.zero_()
        given = self.options["tau"]
        self.tau = self.best_tau(classifier.weight, classifier.bias) if given == "train" else given
        classifier.weight.copy_(posthoc.tau_normalize(classifier.weight, self.tau))

    def best_tau(self, weight: Tensor, bias: Tensor) -> float:
        """The first of `TAUS` with the highest mean of the classes' accuracies on the training images."""
        features, num_classes = self.training_features(), len(weight)
        best, most = 0.0, -1.0
        for tau in TAUS:
            predictions = (features @ posthoc.tau_normalize(weight, tau).T + bias).argmax(1)
            hits = self.targets[predictions == self.targets].bincount(minlength=num_classes)
            accuracy = float((hits / self.counts).mean())
            if accuracy > most:
                best, most = tau, accuracy
        return best

    def facts(self) -> dict[str, Any]:
        return {} if self.tau is None else {"tau": self.tau}

    def state_dict(self) -> dict[str, Any]:
        return {"tau": self.tau}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.tau = state["tau"]


class NearestMean(Untrained):
    """Nearest class mean: see `lt_core.models.recalibrated.NearestMeanClassifier`.

    Source: Kang et al., ICLR 2020, section 4.2.
    """

    corrects = True

    def head(self, classifier: Any) -> nn.Module:
        return NearestMeanClassifier(classifier.in_features, classifier.out_features)

    def fit(self) -> None:
        classifier: Any = self.model.classifier
        classifier.fit(self.training_features(), self.targets)


class PriorCorrected(Untrained):
    """PC softmax: the log of the classes' shares is taken off the bias, as if the test set had them all alike.

    Source: Hong et al., "Disentangling Label Distribution for Long-tailed Visual Recognition", CVPR 2021, Eq. 4.
    """

    corrects = True

    def fit(self) -> None:
        classifier: Any = self.model.classifier
        shares = log_shares(float_counts(self.data.class_counts))
        classifier.bias -= torch.as_tensor(shares, dtype=torch.float32, device=self.device)
