"""The losses as one family: what each does to the scores, measured, and what it aims at (chapter 09)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lt_core import plots
from lt_core.losses import COSINE_LOSSES, GALALoss, build_loss, measure, tie_odds
from lt_core.losses._common import Loss

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

COUNTS = (500, 50, 5)  # of the image that is measured; it is of the middle class
TARGET = 1
LOGITS, COSINES = (1.0, 1.5, 0.0), (0.1, 0.4, -0.2)
THETA = (2.0, 0.5, 0.1)  # GALA's accumulated gradients
PAIR = (100, 1)  # counts of the two classes that tie
DRAWS = 200_000
SHARES = ("cross-entropy", "class-balanced", "focal", "LDAM", "balanced softmax", "VS", "GALA", "equalization, mean")


@dataclass(frozen=True)
class Member:
    """A loss of the family in words; ``loss`` is its name in the registry."""

    name: str
    loss: str
    form: str  # slope, adjusting term and factor, where they are not 1, 0 and 1; s is left out
    depends: str  # on what they depend
    constant: str  # what the code holds constant when differentiating
    cost: str  # beyond cross-entropy's
    optimum: str  # for which test prior the largest score is right
    limit: str  # on separable data
    options: Mapping[str, Any] = field(default_factory=dict)
    reading: str = "margin"

    def build(self, counts: tuple[int, ...]) -> Loss:
        loss = build_loss(self.loss, counts, **self.options)
        if isinstance(loss, GALALoss):
            loss.theta.copy_(torch.tensor(THETA[: len(counts)]))
        return loss.double()


_EQUAL = "equal margins"
_BOUNDED = "none: scores are bounded"
_KEEPS = "training, within a factor 2"
FAMILY = (
    Member("cross-entropy", "ce", "–", "–", "–", "–", "training", _EQUAL),
    Member("class-balanced", "cb", "ϱ = ω_y", "class", "–", "–", "training · ω: about uniform", _EQUAL),
    Member(
        "focal",
        "focal",
        "ϱ = (1 − p)^γ − γ p (1 − p)^(γ−1) log p",
        "image",
        "–",
        "–",
        "training; p is not P",
        _EQUAL,
        reading="weight",
    ),
    Member("logit-adjusted", "la", "A_j = −τ log π_j", "class", "–", "–", "training^(1−τ)", _EQUAL, {"tau": 0.5}),
    Member("balanced softmax", "balanced_softmax", "A_j = −log n_j", "class", "–", "–", "uniform", _EQUAL),
    Member(
        "GALA",
        "gala",
        "A_j = −λ₁ log(θ_j + ε)",
        "class, adaptive",
        "θ",
        "a sum for each class",
        "training / θ",
        _EQUAL + ", θ held",
    ),
    Member(
        "VS",
        "vs",
        "φ′_j = (n_j/n_max)^γ, A_j = −τ log π_j",
        "class",
        "–",
        "–",
        "none of its own",
        "unequal margins, C ≥ 3",
    ),
    Member("LDAM", "ldam", "A_y = Δ_y", "class", "–", "–", _KEEPS, _BOUNDED),
    Member("CosFace", "cosface", "A_y = Δ", "–", "–", "–", _KEEPS, _BOUNDED),
    Member("ArcFace", "arcface", "A_y = cos θ − cos(θ + ϑ)", "image", "margin", "an arc cosine", _KEEPS, _BOUNDED),
    Member(
        "ArcFace, attached",
        "arcface",
        "φ_y = cos(θ + ϑ), φ′_y = sin(θ + ϑ) / sin θ",
        "image",
        "–",
        "an arc cosine",
        "two scores, two odds",
        _BOUNDED,
        {"detach": False},
    ),
    Member("SphereFace", "sphereface", "A_y = cos θ − Ψ(θ)", "image", "margin", "an arc cosine", _KEEPS, _BOUNDED),
    Member("ALA", "ala", "A_y = DF · QF_y", "class and image", "DF", "–", _KEEPS, _BOUNDED),
    Member(
        "ALA, attached",
        "ala",
        "φ′_y = 1 + QF_y/2, A_y = QF_y/2",
        "class",
        "–",
        "–",
        "two scores, two odds",
        _BOUNDED,
        {"detach": False},
    ),
    Member(
        "GCL, mean",
        "gcl",
        "A_j = 0.27 times its cloud",
        "class; drawn: image",
        "the draw",
        "a draw for each score",
        "training^0.13; drawn: see text",
        _BOUNDED,
    ),
    Member(
        "equalization, mean",
        "eql",
        "A_j = log 10 for j rare, j ≠ y",
        "class; drawn: image",
        "the draw",
        "a draw for each score",
        "training × 5.5 at a tie; drawn: × 10",
        _EQUAL,
        {"threshold": 0.02},
    ),
)


def scores_of(member: Member) -> Tensor:
    """The scores of the image that is measured: logits, or cosines."""
    return torch.tensor(COSINES if member.loss in COSINE_LOSSES else LOGITS, dtype=torch.float64)


def measured() -> pd.DataFrame:
    """Slopes, adjusting terms and factor of every member at one image of the middle class, from its gradients.

    An adjusting term is minus the offset that `measure` finds. For losses on cosines both are divided by the scale. A
    test compares them with what the formula says.
    """
    import pandas as pd

    rows = {}
    for member in FAMILY:
        loss = member.build(COUNTS)
        found = measure(loss, scores_of(member), TARGET, member.reading)
        scale = float(getattr(loss, "scale", 1.0))
        slopes, offsets = found.slopes / scale, found.offsets / scale
        others = slopes[[j for j in range(len(COUNTS)) if j != TARGET]]
        same = bool(torch.allclose(others, others[0]))
        rows[member.name] = {
            "formula": member.form,
            "φ′ own": f"{slopes[TARGET]:.2f}",
            "φ′ others": f"{others[0]:.2f}" if same else " / ".join(f"{a:.2f}" for a in others.tolist()),
            "A: head / own / tail": " / ".join(f"{0.0 - b:.2f}".replace("-0.00", "0.00") for b in offsets.tolist()),
            "ϱ": f"{found.rho:.2f}",
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.replace("-", "−", regex=True)


def aims() -> pd.DataFrame:
    """What every member aims at: the odds at which it is content with a tie, and in words the two theory columns."""
    import pandas as pd

    rows = {}
    for member in FAMILY:
        if "attached" in member.name:  # their gradients do not sum to zero
            odds = "–"
        elif member.loss == "gala":
            odds = "by θ"
        else:
            odds = f"{tie_odds(member.build(PAIR)):.3f}"
        rows[member.name] = {
            "odds at a tie": odds,
            "right for the test prior": member.optimum,
            "separable limit": member.limit,
            "depends on": member.depends,
            "held constant": member.constant,
            "cost beyond": member.cost,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def two_ways() -> Figure:
    """How weights and margins change a push's length, and priors its direction: factors, and shares of a push."""
    import matplotlib.pyplot as plt

    p = torch.linspace(0.001, 0.999, 300)
    curves = {
        "weight 3": (torch.full_like(p, 3.0), "--", (0.02, 4.2)),
        "focal, γ = 2": ((1 - p) ** 2 - 2 * p * (1 - p) * p.log(), ":", (0.3, 0.2)),
        "margin, sA = 3": (1 / (1 - p * (1 - torch.exp(torch.tensor(-3.0)))), "-", (0.5, 7.0)),
    }
    fig, (above, below) = plt.subplots(2, figsize=(plots.WIDTH, 5.4))
    for text, (curve, style, at) in curves.items():
        above.plot(p, curve, style, color=plots.INK)
        above.text(*at, text)
    above.set(yscale="log", ylim=(0.02, 40), xlabel="probability of the own class", ylabel="factor")
    above.set_yticks([0.1, 1, 10], ["0.1", "1", "10"])
    above.tick_params(which="minor", axis="y", labelleft=False)
    shown = [member for member in FAMILY if member.name in SHARES]
    for place, member in enumerate(shown):
        scores = torch.zeros(1, len(COUNTS), dtype=torch.float64, requires_grad=True)
        value = member.build(COUNTS).eval()(scores, torch.tensor([TARGET]))
        push = torch.autograd.grad(value, scores)[0][0, [0, 2]]
        head, tail = (push / push.sum()).tolist()
        below.barh(place, head, color=plots.GROUP_COLOURS["many"])
        below.barh(place, tail, left=head, color=plots.GROUP_COLOURS["few"], hatch="//", edgecolor="white")
    below.set(yticks=range(len(shown)), yticklabels=[member.name for member in shown], xlim=(0, 1))
    below.set_xlabel("share of the push: head, then tail (hatched)")
    below.invert_yaxis()
    below.grid(visible=False)
    return fig


def drawn_odds(loss: str, **options: Any) -> float:
    """`tie_odds` of a loss that draws, drawing, by a fixed seed that leaves PyTorch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return tie_odds(build_loss(loss, PAIR, **options), draws=DRAWS)


# (a loss, its options, what it becomes, the options of that): equal in value and gradient.
Side = tuple[str, Mapping[str, Any]]
LIMITS: tuple[tuple[str, Side, str, Side], ...] = (
    ("focal, γ = 0", ("focal", {"gamma": 0}), "cross-entropy", ("ce", {})),
    ("class-balanced, β = 0", ("cb", {"beta": 0}), "cross-entropy", ("ce", {})),
    ("logit-adjusted, τ = 0", ("la", {"tau": 0}), "cross-entropy", ("ce", {})),
    ("logit-adjusted, τ = 1", ("la", {"tau": 1}), "balanced softmax", ("balanced_softmax", {})),
    ("VS, γ = 0", ("vs", {"gamma": 0, "tau": 0.7}), "logit-adjusted", ("la", {"tau": 0.7})),
    ("VS, γ = τ = 0", ("vs", {"gamma": 0, "tau": 0}), "cross-entropy", ("ce", {})),
    ("GALA, λ₁ = 0", ("gala", {"lambda_pos": 0}), "cross-entropy", ("ce", {})),
    ("GALA, θ = n", ("gala", {"eps": 1e-12}), "balanced softmax", ("balanced_softmax", {})),
    ("LADE without its second term", ("lade", {"alpha": 0}), "balanced softmax", ("balanced_softmax", {})),
    ("equalization, with probability 0", ("eql", {"gamma": 0}), "cross-entropy", ("ce", {})),
    ("ALA, DF = 1, LDAM's quantity", ("ala", {"difficulty": False, "quantity": "ldam"}), "LDAM", ("ldam", {})),
    (
        "ALA, a constant Δ for DF · QF",
        ("ala", {"difficulty": False, "quantity": None, "size": 0.2}),
        "CosFace",
        ("cosface", {"margin": 0.2}),
    ),
    ("GCL without cloud, margin Δ", ("gcl", {"noise": 0, "margin": 0.2}), "CosFace", ("cosface", {"margin": 0.2})),
    ("ArcFace, ϑ = 0", ("arcface", {"margin": 0}), "CosFace, Δ = 0", ("cosface", {"margin": 0})),
    ("SphereFace, Λ = 1", ("sphereface", {"margin": 1}), "CosFace, Δ = 0", ("cosface", {"margin": 0})),
    ("LDAM without margin", ("ldam", {"max_margin": 0}), "CosFace, Δ = 0", ("cosface", {"margin": 0})),
)


def limit_difference(left: Side, right: Side, counts: tuple[int, ...] = COUNTS) -> float:
    """The largest difference of two losses' values and gradients, over a batch of random scores; each as it trains."""
    generator = torch.Generator().manual_seed(0)
    scores = 0.9 * torch.tanh(torch.randn(60, len(counts), generator=generator, dtype=torch.float64))
    targets = torch.arange(60) % len(counts)
    sides = []
    for name, options in (left, right):
        loss = build_loss(name, counts, reduction="none", **options).double()
        if isinstance(loss, GALALoss):
            loss.theta.copy_(torch.tensor(counts, dtype=torch.float64))
        leaf = scores.clone().requires_grad_()
        with torch.random.fork_rng(devices=[]):
            values = loss(leaf, targets)
        (gradient,) = torch.autograd.grad(values.sum(), leaf)
        sides.append(torch.cat([values.detach()[:, None], gradient], 1))
    return float((sides[0] - sides[1]).abs().max())


def limits() -> pd.DataFrame:
    """In which limit a loss becomes another one, and how far the two are apart there."""
    import pandas as pd

    rows = []
    for name, left, becomes, right in LIMITS:
        apart = limit_difference(left, right)
        rows.append({"loss": name, "becomes": becomes, "equal up to": "1e−12" if apart < 1e-12 else f"{apart:.0e}"})
    return pd.DataFrame(rows).set_index("loss")
