"""Weights of images that are learned while training, from a second batch in which all classes are alike.

Both methods ask of an image: would a step on it lower the loss of the balanced batch? That is an inner product of two
gradients, and all of a batch's come from one forward-mode product.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from lt_core.data.augment import augment
from lt_core.training.strategies.plain import Option, Plain


class LearnedWeights(Plain):
    """What L2RW and Meta-Weight-Net share: a class-balanced batch beside each batch, and the inner products.

    The balanced batch is drawn from the training images: on CIFAR100-LT the rarest class has five, so none can be kept
    for it. It has as many images as the batch, augmented like them.

    With the option ``meta_per_class``, K, it is drawn from K images of each class that no step is taken on. They are
    held out of the whole training set before the long-tailed set is cut, whose largest class then has 500 - K: at
    K = 10 and imbalance factor 100, 1,000 images beside 10,626. So the run sees images that no other method sees, ten
    of a class of which it trains on four, and does not bear the method's name. The images are gone through in a new
    order again and again, so that all are seen equally often; the released code draws every batch anew.

    Source: Shu et al., "Meta-Weight-Net", NeurIPS 2019, whose released code has K = 10 (``data_utils.py``). The
    released code of L2RW, for two classes of MNIST, holds five of each out, and trains on as many less.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {"meta_per_class": Option(None, low=1, whole=True)}
    NEEDS: ClassVar[Mapping[str, tuple[Any, ...]]] = {"loss": ("ce",), "drw": (False,), "mixing": ("none",)}
    compiles = False
    distributed = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.loss.reduction = "none"  # the weights of a batch are this class's
        asked, meta = self.options.get("meta_per_class", 0), self.data.meta_targets
        held_out = 0 if meta is None else len(meta) // self.data.num_classes
        if held_out != asked:
            raise ValueError(f"meta_per_class is {asked}, but these data hold out {held_out} images of each class")
        with warnings.catch_warnings():  # PyTorch scripts some derivatives at the first use, and warns of doing so
            warnings.simplefilter("ignore", FutureWarning)
            jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))

    @property
    def observed(self) -> bool:
        return False

    def order(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """As `Plain`; then as many images and targets whose classes are drawn alike."""
        images, targets = super().order(generator)
        if self.data.meta_images is not None and self.data.meta_targets is not None:
            size = len(self.data.meta_targets)
            rounds = [torch.randperm(size, generator=generator) for _ in range(-(-len(images) // size))]
            index = torch.cat(rounds)[: len(images)]
            balanced = self.data.meta_images[index].to(self.device)
            labels = self.data.meta_targets[index].to(self.device)
            return images, targets, augment(balanced, self.recipe.augmentation, generator), labels
        index = self.draw("class_balanced", generator)
        return images, targets, augment(self.images[index], self.recipe.augmentation, generator), self.targets[index]

    def facts(self) -> dict[str, Any]:
        """The sizes of the two sets where images are held out, which no other method's record has."""
        if self.data.meta_targets is None:
            return {}
        return {"training_images": len(self.targets), "meta_images": len(self.data.meta_targets)}

    def trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def losses_at(self, weights: Mapping[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
        """Each image's loss (B,) with other weights in the network; its running statistics stay as they are.

        In float32 whatever the precision: forward mode does not go through autocast.
        """
        with batch_statistics(self.model):
            outputs = functional_call(self.model, dict(weights), (images,))
        losses: Tensor = self.loss(outputs.float(), targets)
        return losses

    def balanced_gradient(self, weights: Mapping[str, Tensor], images: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Gradient of the balanced batch's mean loss at ``weights``, which ask for it."""
        mean = self.losses_at(weights, images, targets).mean()
        return dict(zip(weights, torch.autograd.grad(mean, list(weights.values())), strict=True))

    def inner_products(self, direction: Mapping[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
        r"""Inner product of each image's gradient with ``direction``, (B,), without any of these gradients.

        The derivative of the vector of losses along a direction is :math:`\langle\nabla\ell_i, d\rangle` for every i.
        """
        here = {name: p.detach() for name, p in self.trained().items()}
        products: Tensor = jvp(lambda w: self.losses_at(w, images, targets), (here,), (dict(direction),))[1]
        return products.detach()


@contextmanager
def batch_statistics(model: nn.Module) -> Iterator[None]:
    """Normalise by the batch alone: BatchNorm neither reads nor moves its running statistics."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def share_out(weights: Tensor) -> Tensor:
    """Weights (B,), at least 0, divided by their sum; all zero where they are."""
    total = weights.sum()
    return weights / torch.where(total == 0, 1.0, total)


class ReweightedExamples(LearnedWeights):
    r"""L2RW: an image weighs what its gradient has in common with that of the balanced batch.

    .. math::
        w_i \propto \max(0, \langle \nabla \ell_i, \nabla L \rangle), \qquad \sum_i w_i = 1 \text{ or } 0

    The method is written as a virtual step whose weights start at zero. The virtual step then goes nowhere, its length
    cancels, and the derivative of the balanced loss by a weight is minus this inner product, exactly.

    Source: Ren et al., "Learning to Reweight Examples for Robust Deep Learning", ICML 2018, Eq. 12 to 14.
    """

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        images = self.normalize(images)
        weights = self.weights(images, targets, self.normalize(others[0]), others[1])
        outputs = self.outputs(images)
        return (weights * self.loss(outputs, targets)).sum(), outputs

    def weights(self, images: Tensor, targets: Tensor, balanced: Tensor, labels: Tensor) -> Tensor:
        """Weights (B,) of normalised images, from a balanced batch of any size."""
        gradient = self.balanced_gradient(self.trained(), balanced, labels)
        return share_out(self.inner_products(gradient, images, targets).clamp(min=0))


class WeightNet(nn.Sequential):
    """From losses (B,) to weights (B,) in (0, 1): one hidden layer of 100 units."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid())

    def forward(self, losses: Tensor) -> Tensor:
        weights: Tensor = super().forward(losses[:, None])
        return weights[:, 0]


class MetaWeightNet(LearnedWeights):
    r"""Meta-Weight-Net: an image's weight is a function of its loss, and that function is learned.

    The function V gives the batch its weights; the network takes a virtual step with them, to
    :math:`\theta' = \theta - \eta \sum_i c_i \nabla\ell_i`; V moves so that the balanced batch's loss at
    :math:`\theta'` falls; then the real step is taken with V's new weights. V's gradient needs no second derivative of
    the network:

    .. math::
        \nabla_V L(\theta') = -\eta \sum_i \langle \nabla \ell_i(\theta), \nabla L(\theta') \rangle \nabla_V c_i

    In the paper :math:`c_i` is the weight :math:`v_i`, shared out to sum 1. The released code lets the virtual step's
    gradient run through V's *input* too, so that :math:`c_i = \partial (\sum_k v_k \ell_k) / \partial \ell_i`: the
    option ``virtual`` "released". In the real step both take the weights as numbers.

    Source: Shu et al., "Meta-Weight-Net", NeurIPS 2019, Eq. 3 to 5; V and its optimiser are those of the released code.
    """

    OPTIONS: ClassVar[Mapping[str, Option]] = {
        **LearnedWeights.OPTIONS,
        "virtual": Option("released", choices=("released", "paper")),
        "learning_rate": Option(1e-5, low=0.0, open_low=True),  # of V
    }

    def __init__(self, config: Any, *rest: Any) -> None:
        super().__init__(config, *rest)
        self.weight_net = WeightNet().to(self.device)
        rate = self.options["learning_rate"]
        self.weight_optimizer = torch.optim.SGD(
            self.weight_net.parameters(), lr=rate, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def step(self, images: Tensor, targets: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        images = self.normalize(images)
        outputs = self.outputs(images)
        losses = self.loss(outputs, targets)
        self.learn(images, targets, losses, self.normalize(others[0]), others[1])
        with torch.no_grad():
            weights = share_out(self.weight_net(losses))
        return (weights * losses).sum(), outputs

    def learn(self, images: Tensor, targets: Tensor, losses: Tensor, balanced: Tensor, labels: Tensor) -> None:
        """One step of V; ``losses`` (B,) are those of the images, with their graph."""
        rate = self.recipe.learning_rate_at(self.epoch, self.epochs)
        shares, trained = self.virtual_shares(losses.detach()), self.trained()
        virtual = (shares.detach() * losses).sum()
        gradients = torch.autograd.grad(virtual, list(trained.values()), retain_graph=True)
        pairs = zip(trained.items(), gradients, strict=True)
        moved = {name: (p.detach() - rate * g).requires_grad_() for (name, p), g in pairs}
        products = self.inner_products(self.balanced_gradient(moved, balanced, labels), images, targets)
        self.weight_optimizer.zero_grad(set_to_none=True)
        (-rate * (shares * products).sum()).backward()
        self.weight_optimizer.step()

    def virtual_shares(self, losses: Tensor) -> Tensor:
        """What each image's gradient (B,) is multiplied by in the virtual step, with V's graph."""
        losses = losses.clone().requires_grad_()
        shares = share_out(self.weight_net(losses))
        if self.options["virtual"] == "paper":
            return shares
        return torch.autograd.grad((shares * losses).sum(), losses, create_graph=True)[0]

    def state_dict(self) -> dict[str, Any]:
        return {"weight_net": self.weight_net.state_dict(), "weight_optimizer": self.weight_optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.weight_net.load_state_dict(state["weight_net"])
        self.weight_optimizer.load_state_dict(state["weight_optimizer"])
