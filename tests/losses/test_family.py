"""What `measure` finds is what the formulas say, for every member; and the claims of chapter 09's table."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import lt_core as lt
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES, FamilyLoss, build_loss, measure, tie_odds
from lt_core.report import family

N = [500, 50, 5]
LOG_PRIOR = [math.log(n / 555) for n in N]
OWN = 0.4  # the target's cosine
ANGLE = math.acos(OWN)
QF = 1 / math.log(50 / 5 + 1)
P = [math.exp(z) / (math.exp(1) + math.exp(1.5) + 1) for z in (1.0, 1.5, 0.0)][1]
MEAN_DRAW = lt.losses.gcl.MEAN_DRAW
# Slopes, offsets (head, own, tail) without the scale, and factor, from the formulas alone.
ONES, ZEROS = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]
EFFECTIVE = [1 / (1 - 0.9999**n) for n in N]
DERIVED = {
    "cross-entropy": (ONES, ZEROS, 1.0),
    "class-balanced": (ONES, ZEROS, 3 * EFFECTIVE[1] / sum(EFFECTIVE)),
    "focal": (ONES, ZEROS, (1 - P) ** 2 - 2 * P * (1 - P) * math.log(P)),
    "logit-adjusted": (ONES, [0.5 * b for b in LOG_PRIOR], 1.0),
    "balanced softmax": (ONES, LOG_PRIOR, 1.0),
    "GALA": (ONES, [math.log(t + 1e-3) for t in (2.0, 0.5, 0.1)], 1.0),
    "VS": ([(n / 500) ** 0.3 for n in N], LOG_PRIOR, 1.0),
    "LDAM": (ONES, [0, -0.5 * (5 / 50) ** 0.25, 0], 1.0),
    "CosFace": (ONES, [0, -0.35, 0], 1.0),
    "ArcFace": (ONES, [0, math.cos(ANGLE + 0.1) - OWN, 0], 1.0),
    "ArcFace, attached": (
        [1, math.sin(ANGLE + 0.1) / math.sin(ANGLE), 1],
        [0, math.cos(ANGLE + 0.1) - OWN * math.sin(ANGLE + 0.1) / math.sin(ANGLE), 0],
        1.0,
    ),
    "SphereFace": (ONES, [0, math.cos(1.7 * ANGLE) - OWN, 0], 1.0),
    "ALA": (ONES, [0, -(1 - OWN) / 2 * QF, 0], 1.0),
    "ALA, attached": ([1, 1 + QF / 2, 1], [0, -QF / 2, 0], 1.0),
    "GCL, mean": (ONES, [-0.5 * MEAN_DRAW * math.log(500 / n) / math.log(100) for n in N], 1.0),
    "equalization, mean": (ONES, [0, 0, math.log(0.1)], 1.0),
}


@pytest.mark.parametrize("member", family.FAMILY, ids=lambda member: member.name)
def test_measured_is_derived(member):
    loss = member.build(family.COUNTS)
    found = measure(loss, family.scores_of(member), family.TARGET, member.reading)
    slopes, offsets, factor = DERIVED[member.name]
    scale = getattr(loss, "scale", 1.0)
    assert (found.slopes / scale).tolist() == pytest.approx(slopes, rel=1e-7)
    assert (found.offsets / scale).tolist() == pytest.approx([b - offsets[0] for b in offsets], rel=1e-6, abs=1e-8)
    assert found.rho == pytest.approx(factor, rel=1e-7)


def test_every_loss_of_the_registry_has_a_row_or_stands_outside():
    assert {member.name for member in family.FAMILY} == set(DERIVED)
    assert {member.loss for member in family.FAMILY} == set(LOSS_NAMES) - {"lade", "label_aware", "cb_focal"}
    with pytest.raises(ValueError, match="LADELoss is no member of the family: an image's gradient depends on"):
        measure(build_loss("lade", N), torch.zeros(3), 1)
    with pytest.raises(ValueError, match="ClassBalancedFocalLoss is no member of the family: class 0's slope depends"):
        measure(build_loss("cb_focal", N), torch.tensor([0.5, 0.0, -1.0]), 1)


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name not in ("lade", "label_aware", "cb_focal")])
def test_measuring_leaves_the_loss_as_it_was(name):
    loss = build_loss(name, N)
    before, state = torch.get_rng_state(), {k: v.clone() for k, v in loss.state_dict().items()}
    measure(loss, torch.tensor([0.1, 0.3, -0.2]), 2)
    assert loss.training
    assert loss.reduction == "mean"
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(loss.state_dict()[k], v) for k, v in state.items())


def test_factor_and_own_term_are_one_thing_in_two_notations():
    """A margin read as a weight is chapter 04's factor, focal loss read as a margin is a bonus."""
    z = torch.tensor([0.3, 0.5, -0.1], dtype=torch.float64)
    found = measure(lt.losses.CosFaceLoss(3, 0.1), z, 1, "weight")
    p = torch.softmax(30 * z, 0)[1].item()
    assert found.rho == pytest.approx(1 / (1 - p * (1 - math.exp(-3))), rel=1e-9)
    assert found.offsets.abs().max() < 1e-9
    focal = measure(lt.losses.FocalLoss(2.0), torch.tensor([math.log(0.5), math.log(1.0), math.log(0.5)]), 1)
    assert focal.rho == pytest.approx(1.0)
    factor = 0.25 + 0.5 * math.log(2)
    assert focal.offsets[1].item() == pytest.approx(math.log((1 - 0.5 * factor) / (0.5 * factor)), abs=1e-6)


class Sigmoids(nn.Module):
    reduction = "sum"

    def forward(self, logits, targets):
        hot = F.one_hot(targets, logits.shape[1]).to(logits)
        return F.binary_cross_entropy_with_logits(logits, hot, reduction="sum")


def test_what_is_refused():
    with pytest.raises(ValueError, match="Sigmoids is no member of the family: class 0's slope depends on its score"):
        measure(Sigmoids(), torch.tensor([1.0, 1.5, 0.0]), 1)
    with pytest.raises(ValueError, match="the gradient on class 2 is 0; only a push can be measured"):
        measure(lt.losses.EqualizationLoss(N, 0.02, 1.0), torch.zeros(3), 1)
    with pytest.raises(ValueError, match="at least 3 classes"):
        measure(lt.losses.CrossEntropyLoss(), torch.zeros(2), 1)
    with pytest.raises(ValueError, match="target is 3"):
        measure(lt.losses.CrossEntropyLoss(), torch.zeros(3), 3)
    with pytest.raises(ValueError, match="reading is 'both'"):
        measure(lt.losses.CrossEntropyLoss(), torch.zeros(3), 1, "both")
    with pytest.raises(ValueError, match="ClassBalancedFocalLoss is at rest at no tie: its scores ask for two odds"):
        tie_odds(lt.losses.ClassBalancedFocalLoss([5, 3]), level=1.0)


def test_odds_at_a_tie_by_formula():
    assert tie_odds(lt.losses.CrossEntropyLoss()) == pytest.approx(1.0)
    for tau in (0.0, 0.5, 1.0, 2.0):
        assert tie_odds(lt.losses.LogitAdjustedLoss([100, 1], tau)) == pytest.approx(100**-tau)
    # Two margins: each class's factor at p = 1/2.
    large, small = (1 / (1 - 0.5 * (1 - math.exp(-30 * m))) for m in lt.losses.ldam_margins([100, 1]).tolist())
    assert tie_odds(lt.losses.LDAMLoss([100, 1])) == pytest.approx(large / small)
    assert tie_odds(lt.losses.EqualizationLoss([100, 1], 0.02)) == pytest.approx(0.2 / 1.1)
    assert family.drawn_odds("eql", threshold=0.02) == pytest.approx(0.1, abs=0.005)
    tau = 30 * 0.5 * MEAN_DRAW / math.log(100)
    assert tie_odds(lt.losses.GCLLoss([100, 1])) == pytest.approx(100**-tau)
    # Drawn: the mean of the logistic function of the cloud, not the logistic function of its mean.
    clouds = 15 * torch.distributions.Normal(0.0, 1 / 3).icdf(torch.linspace(0.5, 1, 200001)[:-1].double()).clamp(max=1)
    share = torch.sigmoid(-clouds).mean().item()
    assert family.drawn_odds("gcl") == pytest.approx(share / (1 - share), abs=0.003)


def test_vs_ties_elsewhere_at_another_level():
    loss = lt.losses.VSLoss([100, 1])
    assert tie_odds(loss, 0.0) == pytest.approx(0.01)
    assert tie_odds(loss, 1.0) == pytest.approx(0.01 * math.exp(100**-0.3 - 1))


@pytest.mark.parametrize(("name", "left", "becomes", "right"), family.LIMITS, ids=lambda value: str(value)[:30])
def test_one_becomes_another(name, left, becomes, right):
    assert family.limit_difference(left, right) < 1e-12
    other = (left[0], {})  # with its own defaults it is another loss
    if left[0] not in ("la", "gala", "eql"):  # logit-adjusted at 1, GALA at theta = n, and nothing rare in this toy
        assert family.limit_difference(other, right) > 1e-3


def separable_border(loss, decay):
    """Where head and tail of three classes in a triangle part on their side: 0 at the head's point, 1 at the tail's.

    Of the linear classifier with the smallest loss plus decay, which tends to the limit as the decay goes to 0.
    """
    angles = torch.tensor([90.0, 210.0, 330.0], dtype=torch.float64).deg2rad()
    points = torch.stack([angles.cos(), angles.sin(), torch.ones_like(angles)], 1)
    W = torch.zeros(3, 3, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [W], max_iter=2000, tolerance_grad=1e-14, tolerance_change=0, history_size=50, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(points @ W.T, torch.arange(3)) + decay * W.square().sum()
        value.backward()
        return value

    for _ in range(20):
        optimizer.step(closure)
    head, tail = (points[[0, 2]] @ (W[0] - W[2])).detach().tolist()
    return head / (head - tail)


def test_the_separable_limit():
    """As the decay goes to 0: to the middle for weights, priors and equalization; unequal slopes stay beside it."""
    counts = [100, 10, 1]
    assert separable_border(lt.losses.CrossEntropyLoss(reduction="sum"), 1e-6) == pytest.approx(0.5, abs=1e-4)
    for loss in (
        lt.losses.CrossEntropyLoss([0.1, 1.0, 10.0], "sum"),
        lt.losses.BalancedSoftmaxLoss(counts, reduction="sum"),
        lt.losses.EqualizationLoss(counts, 0.02, reduction="sum").eval(),
    ):
        gaps = [0.5 - separable_border(loss, decay) for decay in (1e-2, 1e-6, 1e-10)]
        assert gaps[0] > 1.4 * gaps[1] > 1.4 * 1.3 * gaps[2] > 0
    slopes = [separable_border(lt.losses.VSLoss(counts, 0.3, 0.0, reduction="sum"), d) for d in (1e-6, 1e-10)]
    assert slopes == pytest.approx([0.403, 0.403], abs=0.005)


class Margin(FamilyLoss):
    def adjust(self, scores, targets):
        return scores - 0.7 * F.one_hot(targets, self.num_classes)


class Focal(FamilyLoss):
    def factor(self, probabilities, targets):
        p = probabilities.gather(1, targets[:, None]).squeeze(1)
        return (1 - p) ** 2 - 2 * p * (1 - p) * p.log()


def test_the_template_makes_members():
    z = torch.randn(8, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    y = torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    plain = FamilyLoss(3, weight=[1.0, 2.0, 3.0])(z, y)
    torch.testing.assert_close(plain, F.cross_entropy(z, y, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)))
    torch.testing.assert_close(Margin(3)(z, y), F.cross_entropy(z - 0.7 * F.one_hot(y, 3), y))
    (own,) = torch.autograd.grad(Focal(3)(z, y), z)
    (focal,) = torch.autograd.grad(lt.losses.focal_loss(z, y), z)
    torch.testing.assert_close(own, focal)
    assert measure(Margin(3), torch.zeros(3), 1).offsets.tolist() == pytest.approx([0.0, -0.7, 0.0])
    some = y.clone()
    some[0] = -100
    torch.testing.assert_close(FamilyLoss(3)(z, some), F.cross_entropy(z[1:], y[1:]))


def test_the_template_checks_what_it_is_given():
    class Narrow(FamilyLoss):
        def adjust(self, scores, targets):
            return scores[:, :1]

    class Whole(FamilyLoss):
        def factor(self, probabilities, targets):
            return probabilities

    z, y = torch.zeros(4, 3), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"adjust returned shape \(4, 1\); \(4, 3\) is needed"):
        Narrow(3)(z, y)
    with pytest.raises(ValueError, match=r"factor returned shape \(4, 3\); \(4,\) is needed"):
        Whole(3)(z, y)
    with pytest.raises(ValueError, match="num_classes is 1"):
        FamilyLoss(1)
    assert "num_classes=3" in repr(FamilyLoss(3))


def test_tables_show_what_is_measured():
    measured, aims, limits = family.measured(), family.aims(), family.limits()
    assert list(measured.index) == list(aims.index) == [member.name for member in family.FAMILY]
    assert measured.loc["VS", "A: head / own / tail"] == "0.00 / 2.30 / 4.61"
    assert measured.loc["ALA, attached", "φ′ own"] == "1.21"
    assert aims.loc["LDAM", "odds at a tie"] == "0.991"
    assert set(limits["equal up to"]) == {"1e−12"}
    assert len(COSINE_LOSSES) == 6
