"""`TrainInThePage`: a small network trained in the page, and its boundaries (index page, chapter 09)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from lt_core.data.longtail import class_counts
from lt_core.losses.registry import COSINE_LOSSES, build_loss
from lt_core.validation import check_choice, check_whole
from lt_core.widgets.base import LOSSES, Explorer, choice, source, style, whole

HIDDEN = {"linear": 0, "tiny": 12}  # hidden units
NETWORKS = tuple(HIDDEN)
FACTORS = (1, 2, 5, 10, 20, 50, 100, 200)
STEPS = 200  # as in train_in_the_page.js
LEARNING_RATE = 0.1  # as in network.js
MAX_POINTS = 2000
MAX_CLASSES = 6
MEANS = np.array([[0.0, 0.0], [1.5, 1.5 * 3**0.5], [3.0, 0.0]])  # chapter 01's toy: any two are three units apart
NAMES = ("head", "middle", "tail")
TRAIN_POOL, TEST_POOL = 200, 300  # points of each class

Array = NDArray[Any]


class TrainInThePage(Explorer):
    r"""Decision regions of a small network that the page trains on a long-tailed set of points in the plane.

    The reader chooses the loss, the network and the imbalance factor, and watches the regions move. Training is 200
    full-batch steps of Adam (learning rate 0.1) from one fixed start; each loss has its default options. Features are
    :math:`(x_1, x_2, 1)`, or twelve tanh units of them and a 1. LDAM and ALA put a cosine classifier on the features,
    the other losses a linear one.

    The points are chapter 01's toy unless you give your own: three round Gaussian clouds, centres three units apart,
    200 points of each to train on and 300 to test on, drawn with a seed. On balanced data of this kind no rule is right
    more often than the nearest centre: 88.5 % of each class. With the counts 100 : 10 : 1 as prior, Bayes' rule is
    right on 98.7 %, 76.5 % and 43.5 %. One draw of points lies a few percent beside these.

    Class k trains on the first :math:`n_k` points of its pool, so a more imbalanced set is part of a less imbalanced
    one. A class with fewer points than its :math:`n_k` keeps all it has.

    Args:
        loss: one of `LOSSES` in `lt_core.widgets.base`.
        network: "linear" or "tiny" (twelve hidden units).
        imbalance_factor: 1, 2, 5, 10, 20, 50, 100 or 200.
        step: the step whose network is shown, in [0, 200].
        points: (N, 2) finite training points, N at most 2000, instead of the toy's. Both axes are standardised by them.
        labels: (N,) whole numbers in [0, C), C from 2 to 6, every class at least once. Class 0 is the head.
        test_points: (M, 2) finite points, M at most 2000.
        test_labels: (M,) whole numbers in [0, C), every class at least once.
        class_names: C names, or nothing ("class 0", … for your own points).
        seed: seed of the toy's points and of the first weights, at least 0.

    Attributes:
        accuracy: share of each class's test points that are right, C numbers in [0, 1]; empty until a page has drawn.
        counts: training points per class.

    Raises:
        ValueError: a value outside its range, a wrong shape, some but not all of the four arrays.
        TypeError: a value of the wrong type.

    Source:
        The toy of chapter 01; the losses of `lt_core.losses.build_loss`.

    Example:
        >>> import lt_core as lt
        >>> widget = lt.widgets.TrainInThePage(loss="balanced_softmax")
        >>> widget
        TrainInThePage(loss='balanced_softmax', network='linear', imbalance_factor=100)
        >>> widget.counts
        [200, 20, 2]
        >>> [round(share, 2) for share in widget.test_accuracy()]
        [0.87, 0.84, 0.91]
        >>> [round(share, 2) for share in widget.test_accuracy("ce")]
        [1.0, 0.71, 0.46]
    """

    _esm = source("network.js", "regions.js", "train_in_the_page.js")
    _css = style()
    settings = ("loss", "network", "imbalance_factor")

    loss = choice("ce", LOSSES)
    network = choice("linear", NETWORKS)
    imbalance_factor = choice(100, FACTORS)
    step = whole(STEPS, low=0, high=STEPS)
    accuracy = traitlets.List(traitlets.Float()).tag(sync=True)
    class_names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    points = traitlets.Bytes().tag(sync=True)  # float32 coordinates, class after class, standardised
    pools = traitlets.List(traitlets.Int()).tag(sync=True)  # points of each class
    test_points = traitlets.Bytes().tag(sync=True)
    test_pools = traitlets.List(traitlets.Int()).tag(sync=True)
    start = traitlets.Bytes().tag(sync=True)  # float32 first weights: the linear network's, then the tiny one's

    def __init__(
        self,
        loss: str = "ce",
        network: str = "linear",
        imbalance_factor: int = 100,
        step: int = STEPS,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        test_points: ArrayLike | None = None,
        test_labels: ArrayLike | None = None,
        class_names: Sequence[str] = (),
        seed: int = 0,
    ) -> None:
        check_whole("seed", seed, low=0)
        generator = np.random.default_rng(seed)
        given = {"points": points, "labels": labels, "test_points": test_points, "test_labels": test_labels}
        missing = [name for name, value in given.items() if value is None]
        if missing and len(missing) < len(given):
            raise ValueError(f"{', '.join(missing)} not given; your own data needs all of {', '.join(given)}")
        if missing:
            train = [*MEANS[:, None] + generator.standard_normal((len(MEANS), TRAIN_POOL, 2))]
            test = [*MEANS[:, None] + generator.standard_normal((len(MEANS), TEST_POOL, 2))]
            names = list(class_names or NAMES)
        else:
            train = _by_class("points", points, "labels", labels)
            test = _by_class("test_points", test_points, "test_labels", test_labels, len(train))
            names = list(class_names) or [f"class {k}" for k in range(len(train))]
        if len(names) != len(train):
            raise ValueError(f"class_names has {len(names)} names; {len(train)} are needed")
        everything = np.concatenate(train)
        centre, spread = everything.mean(axis=0), everything.std(axis=0)
        if not (spread > 0).all():
            raise ValueError("points all lie on one vertical or horizontal line; both coordinates must vary")
        super().__init__(
            loss=loss,
            network=network,
            imbalance_factor=imbalance_factor,
            step=step,
            class_names=names,
            points=_pack((everything - centre) / spread),
            pools=[len(pool) for pool in train],
            test_points=_pack((np.concatenate(test) - centre) / spread),
            test_pools=[len(pool) for pool in test],
            start=_pack(_first_weights(len(train), generator)),
        )

    @property
    def counts(self) -> list[int]:
        """Training points per class, for what is chosen."""
        wanted = class_counts(len(self.pools), max(self.pools), min(self.imbalance_factor, max(self.pools)))
        return [min(pool, n) for pool, n in zip(self.pools, wanted, strict=True)]

    def training_data(self) -> tuple[Tensor, Tensor]:
        """The training points (N, 2) of what is chosen, float64 and standardised, and their labels (N,)."""
        every = torch.split(_unpack(self.points), self.pools)
        counts = self.counts
        points = torch.cat([pool[:n] for pool, n in zip(every, counts, strict=True)])
        return points, torch.repeat_interleave(torch.tensor(counts))

    def test_data(self) -> tuple[Tensor, Tensor]:
        """The test points (M, 2), float64 and standardised as the training points, and their labels (M,)."""
        return _unpack(self.test_points), torch.repeat_interleave(torch.tensor(self.test_pools))

    def first_weights(self) -> list[Tensor]:
        """The chosen network's weights before training: the class rows, after hidden ones (12, 3) if it has them."""
        classes, hidden = len(self.pools), HIDDEN[self.network]
        linear, *tiny = torch.split(_unpack(self.start).flatten(), _sizes(classes))
        flat = tiny if hidden else [linear]
        return [weights.reshape(shape).clone() for weights, shape in zip(flat, _shapes(classes, hidden), strict=True)]

    def test_accuracy(self, loss: str | None = None, step: int | None = None) -> list[float]:
        """Accuracy of each class on the test points, from the same training made here with `lt_core`'s losses.

        Args:
            loss: one of `LOSSES` in `lt_core.widgets.base`; None is the chosen one.
            step: steps of training, in [0, 200]; None is the chosen number.

        Returns:
            C shares in [0, 1], class 0 first.

        Raises:
            ValueError: an unknown loss, a step out of range.
            TypeError: a step that is no whole number.
        """
        loss = self.loss if loss is None else loss
        step = self.step if step is None else step
        check_choice("loss", loss, LOSSES)
        check_whole("step", step, low=0, high=STEPS)
        weights = train(loss, *self.training_data(), self.counts, self.first_weights(), step)
        points, labels = self.test_data()
        with torch.no_grad():
            right = scores(points, weights, cosine=loss in COSINE_LOSSES).argmax(dim=1) == labels
        return [right[labels == k].double().mean().item() for k in range(len(self.pools))]


def scores(points: Tensor, weights: Sequence[Tensor], cosine: bool) -> Tensor:
    """Logits, or cosines, (N, C) of points (N, 2) under the weights of a linear or a one-hidden-layer network."""
    *hidden, rows = weights
    features = F.pad(points, (0, 1), value=1.0)
    for layer in hidden:
        features = F.pad(torch.tanh(features @ layer.T), (0, 1), value=1.0)
    if cosine:
        return F.normalize(features, dim=1) @ F.normalize(rows, dim=1).T
    return features @ rows.T


def train(
    loss: str, points: Tensor, labels: Tensor, counts: Sequence[int], start: Sequence[Tensor], steps: int
) -> list[Tensor]:
    """The weights after ``steps`` full-batch steps of Adam from ``start``: what js/network.js does, by autograd."""
    weights = [weight.clone().requires_grad_() for weight in start]
    criterion = build_loss(loss, counts).double()
    optimizer = torch.optim.Adam(weights, lr=LEARNING_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        criterion(scores(points, weights, loss in COSINE_LOSSES), labels).backward()
        optimizer.step()
    return [weight.detach() for weight in weights]


def _shapes(classes: int, hidden: int) -> list[tuple[int, int]]:
    return [(hidden, 3), (classes, hidden + 1)] if hidden else [(classes, 3)]


def _sizes(classes: int) -> list[int]:
    return [rows * columns for hidden in HIDDEN.values() for rows, columns in _shapes(classes, hidden)]


def _first_weights(classes: int, generator: np.random.Generator) -> Array:
    # Class rows are small; hidden units are of the points' own size, so that they bend inside the picture.
    linear, hidden, rows = (generator.standard_normal(size) for size in _sizes(classes))
    return np.concatenate([0.3 * linear, hidden, 0.3 * rows])


def _pack(values: Array) -> bytes:
    return values.astype("<f4").tobytes()


def _unpack(values: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(values, "<f4").astype(np.float64)).reshape(-1, 2)


def _by_class(
    name: str, points: ArrayLike | None, labels_name: str, labels: ArrayLike | None, classes: int | None = None
) -> list[Array]:
    """Points per class, each in the order given."""
    try:
        places = np.asarray(points, dtype=np.float64)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {type(points).__name__}; numbers of shape (N, 2) are needed") from None
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"{name} has shape {places.shape}; (N, 2) is needed")
    if not np.isfinite(places).all():
        raise ValueError(f"{name} holds NaN or infinity; every coordinate must be finite")
    if len(places) > MAX_POINTS:
        raise ValueError(f"{name} has {len(places)} points; at most {MAX_POINTS} are allowed: the page trains on all")
    numbers = np.asarray(labels)
    if not np.issubdtype(numbers.dtype, np.integer):
        raise TypeError(f"{labels_name} holds {numbers.dtype}; whole numbers are needed")
    if numbers.shape != (len(places),):
        raise ValueError(f"{labels_name} has shape {numbers.shape}; ({len(places)},) is needed")
    present = sorted(set(numbers.tolist()))
    number = classes or max(len(present), 2)
    if present != list(range(number)) or number > MAX_CLASSES:
        allowed = f"0 to {classes - 1}" if classes else f"0 to C - 1 for a C in [2, {MAX_CLASSES}]"
        raise ValueError(f"{labels_name} holds the labels {present}; needed are all of {allowed}")
    return [places[numbers == k] for k in range(number)]
