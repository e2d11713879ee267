"""Networks with more than one last part: two branches, experts, a memory; and a classifier with a causal correction.

They are put together from networks, which are then left to them: what is shared comes from the first one. `Experts`
are narrow `ResNetCIFAR`s; the others are made from torchvision's networks too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lt_core.models.resnet_cifar import ImageNetwork, ResNetCIFAR


class TwoBranches(nn.Module):
    """One trunk, and two branches that own the last block each: BBN's network.

    Args:
        first: gives the trunk and the first branch.
        second: gives the second branch.
        classifier: works on the features of both branches, one after the other: 2d, where one network has d.

    Shape:
        images (N, 3, H, W) to outputs (N, C), both branches on the same images. With ``others`` (N, 3, H, W) and
        ``share`` a in [0, 1] the first branch sees the images, the second one the others, and the classifier
        2 [a f; (1 - a) f'].

    Source:
        Zhou et al., "BBN", CVPR 2020, section 4; the trunk sees the two batches one after the other, as in the
        released code, so its BatchNorm normalises each with its own statistics.
    """

    def __init__(self, first: ImageNetwork, second: ImageNetwork, classifier: nn.Module) -> None:
        super().__init__()
        self.conv1, self.bn1 = first.conv1, first.bn1
        self.blocks = first.blocks[:-1]
        self.branches = nn.ModuleList([first.blocks[-1], second.blocks[-1]])
        self.classifier = classifier

    def trunk(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to what both branches start from."""
        out: Tensor = self.blocks(torch.relu(self.bn1(self.conv1(images))))
        return out

    def features(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to the features of both branches, (N, 2d)."""
        shared = self.trunk(images)
        return torch.cat([branch(shared).mean(dim=(2, 3)) for branch in self.branches], dim=1)

    def forward(self, images: Tensor, others: Tensor | None = None, share: Tensor | None = None) -> Tensor:
        if others is None or share is None:
            features = self.features(images)
        else:
            first, second = self.branches
            natural = first(self.trunk(images)).mean(dim=(2, 3))
            reversed_ = second(self.trunk(others)).mean(dim=(2, 3))
            features = 2 * torch.cat([share * natural, (1 - share) * reversed_], dim=1)
        outputs: Tensor = self.classifier(features)
        return outputs


class Experts(nn.Module):
    """One trunk of a convolution and the first stage; each expert has the other stages and a classifier of its own.

    Args:
        networks: as many as there are experts, alike; the first one gives the trunk.

    Shape:
        images (N, 3, H, W) to the outputs of the K experts, (N, K, C).

    Source:
        Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts", ICLR 2021, section 3.1.
    """

    def __init__(self, networks: Sequence[ResNetCIFAR]) -> None:
        super().__init__()
        first = networks[0]
        self.conv1, self.bn1 = first.conv1, first.bn1
        end = len(first.blocks) // 3  # of the first stage
        self.stage = first.blocks[:end]
        self.experts = nn.ModuleList([network.blocks[end:] for network in networks])
        self.classifiers = nn.ModuleList([network.classifier for network in networks])

    def forward(self, images: Tensor) -> Tensor:
        shared = self.stage(torch.relu(self.bn1(self.conv1(images))))
        pairs = zip(self.experts, self.classifiers, strict=True)
        return torch.stack([classifier(expert(shared).mean(dim=(2, 3))) for expert, classifier in pairs], dim=1)


class Ensemble(nn.Module):
    """Networks that share nothing, side by side.

    Args:
        networks: its members.

    Shape:
        images (N, 3, H, W) to the outputs of the K members, (N, K, C).
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(networks)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members], dim=1)


class CausalNormClassifier(nn.Module):
    r"""A classifier on normalised parts of the feature; at test what points along the mean feature is taken off.

    With the feature and the weights cut into K parts, :math:`\hat x^k = x^k / \lVert x^k\rVert`, and the mean of the
    training features :math:`\bar x` kept while training,

    .. math::
        z_j = \frac{s}{K} \sum_k \frac{(w_j^k)^\top}{\lVert w_j^k\rVert + \gamma}
        \Bigl(\hat x^k - \alpha \cos(x^k, \bar x^k)\, \hat{\bar x}^k\Bigr),

    with :math:`\alpha = 0` in training mode.

    Args:
        in_features: dimension d of the features, a multiple of ``parts``.
        num_classes: C, the number of classes.
        alpha: what is taken off; 0 is nothing.
        parts: K, into which a feature is cut.
        scale: the factor s.
        gamma: added to the weights' norms.
        momentum: of the mean feature, which is a sum that forgets: only its direction counts.

    Shape:
        features (N, d) to logits (N, C), in float32 or wider under any autocast.

    Raises:
        ValueError: ``in_features`` that ``parts`` does not divide.

    Source:
        Tang et al., "Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum Causal Effect",
        NeurIPS 2020, section 4, and the released code, which has the initialisation.
    """

    mean: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        alpha: float = 1.5,
        parts: int = 2,
        scale: float = 16.0,
        gamma: float = 1 / 32,
        momentum: float = 0.9,
    ) -> None:
        super().__init__()
        if in_features % parts:
            raise ValueError(f"parts is {parts}; it must divide the {in_features} features")
        self.alpha, self.parts, self.scale, self.gamma, self.momentum = alpha, parts, scale, gamma, momentum
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(num_classes, in_features).uniform_(-bound, bound))
        self.register_buffer("mean", torch.zeros(in_features))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            wide = features if features.dtype == torch.float64 else features.float()
            weight = self.weight.to(wide.dtype).unflatten(1, (self.parts, -1))
            weight = weight / (weight.norm(dim=2, keepdim=True) + self.gamma)
            unit = F.normalize(wide.unflatten(1, (self.parts, -1)), dim=2)
            if self.training:
                self.mean.mul_(self.momentum).add_(wide.detach().mean(0))
            elif self.alpha:
                direction = F.normalize(self.mean.to(wide.dtype).unflatten(0, (self.parts, -1)), dim=1)
                unit = unit - self.alpha * (unit * direction).sum(2, keepdim=True) * direction
            return self.scale / self.parts * F.linear(unit.flatten(1), weight.flatten(1))

    def extra_repr(self) -> str:
        num_classes, in_features = self.weight.shape
        return f"in_features={in_features}, num_classes={num_classes}, alpha={self.alpha}, parts={self.parts}"


class ModulatedAttention(nn.Module):
    """Self-attention over the positions of a map, weighted by a second attention that the whole map gives.

    Args:
        channels: of the map.
        positions: height times width of the map.

    Shape:
        maps (N, channels, H, W) to the same shape.

    Source:
        Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019, section 3. The released layer
        starts with zeros in ``mask``, which the network that holds it then draws anew like its other convolutions:
        so do we.
    """

    def __init__(self, channels: int, positions: int) -> None:
        super().__init__()
        inner = channels // 2
        self.value, self.query, self.key = (nn.Conv2d(channels, inner, 1) for _ in range(3))
        self.mask = nn.Conv2d(inner, channels, 1, bias=False)
        self.spatial = nn.Linear(channels * positions, positions)
        for layer in (self.value, self.query, self.key, self.mask):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.out_channels))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, maps: Tensor) -> Tensor:
        value, query, key = (layer(maps).flatten(2) for layer in (self.value, self.query, self.key))
        attention = (query.transpose(1, 2) @ key).softmax(dim=-1)
        attended = (value @ attention.transpose(1, 2)).unflatten(2, maps.shape[2:])
        spatial = self.spatial(maps.flatten(1)).softmax(dim=1).unflatten(1, (1, *maps.shape[2:]))
        return spatial * self.mask(attended) + maps


class MemoryClassifier(nn.Module):
    r"""A classifier on the feature, what a memory of class centres adds to it, and how near the nearest centre is.

    .. math::
        v = \frac{10}{\min_c \lVert x - m_c\rVert}\,\bigl(x + \tanh(Wx) \odot \operatorname{softmax}(Hx)^\top M\bigr),
        \qquad z_j = s\,\frac{\lVert v\rVert}{1 + \lVert v\rVert} \cos(v, w_j)

    The memory gets no gradient from here.

    Args:
        in_features: dimension d of the features.
        num_classes: C, the number of classes.
        scale: the factor s.

    Shape:
        features (N, d) to logits (N, C), in float32 or wider under any autocast; ``memory`` is (C, d).

    Source:
        Liu et al., CVPR 2019, section 3, and the released code, which has the constants and the initialisation.
    """

    REACH = 10.0

    def __init__(self, in_features: int, num_classes: int, scale: float = 16.0) -> None:
        super().__init__()
        self.scale = scale
        self.hallucinator = nn.Linear(in_features, num_classes)
        self.selector = nn.Linear(in_features, in_features)
        bound = 1 / math.sqrt(in_features)
        self.weight = nn.Parameter(torch.empty(num_classes, in_features).uniform_(-bound, bound))
        self.memory = nn.Parameter(torch.randn(num_classes, in_features))

    def forward(self, features: Tensor) -> Tensor:
        with torch.autocast(features.device.type, enabled=False):
            wide = features if features.dtype == torch.float64 else features.float()
            memory = self.memory.detach()
            distances = (wide[:, None] - memory[None]).norm(dim=2)
            # A feature that is a centre, as where all are zero, has an infinite reach: the squash would make it NaN.
            reach = self.REACH / distances.amin(dim=1, keepdim=True).clamp(min=1e-6)
            added = self.selector(wide).tanh() * (self.hallucinator(wide).softmax(dim=1) @ memory)
            value = reach * (wide + added)
            squashed = value / (1 + value.norm(dim=1, keepdim=True))
            return self.scale * F.linear(squashed, F.normalize(self.weight, dim=1))

    def extra_repr(self) -> str:
        return f"scale={self.scale}"


class MemoryNetwork(nn.Module):
    """A network with modulated attention on its last maps, a further layer, and a `MemoryClassifier`.

    Args:
        network: gives all but the classifier, and d, its ``dimension``.
        num_classes: C, the number of classes.
        size: height and width of the images, which decide those of the maps.

    Shape:
        images (N, 3, height, width) to logits (N, C); `features` gives (N, d).

    Source:
        Liu et al., CVPR 2019, and the released configuration for ImageNet-LT's second stage.
    """

    def __init__(self, network: ImageNetwork, num_classes: int, size: Sequence[int]) -> None:
        super().__init__()
        self.conv1, self.bn1, self.blocks = network.conv1, network.bn1, network.blocks
        channels = network.dimension
        positions = math.prod(-(-side // network.stride) for side in size)
        self.attention = ModulatedAttention(channels, positions)
        self.projection = nn.Linear(channels, channels)
        self.classifier = MemoryClassifier(channels, num_classes)

    def features(self, images: Tensor) -> Tensor:
        """Images to non-negative features (N, d)."""
        maps = self.attention(self.blocks(torch.relu(self.bn1(self.conv1(images)))))
        return torch.relu(self.projection(maps.mean(dim=(2, 3))))

    def forward(self, images: Tensor) -> Tensor:
        outputs: Tensor = self.classifier(self.features(images))
        return outputs
