import numpy as np
import pytest
import torch

import lt_core as lt
from lt_core.losses import COSINE_LOSSES, LOSS_NAMES, RANDOM_LOSSES, build_loss

CLASSES = {
    "ce": "CrossEntropyLoss",
    "focal": "FocalLoss",
    "cb": "CrossEntropyLoss",
    "ldam": "LDAMLoss",
    "la": "LogitAdjustedLoss",
    "balanced_softmax": "BalancedSoftmaxLoss",
    "ala": "ALALoss",
    "gala": "GALALoss",
    "vs": "VSLoss",
    "gcl": "GCLLoss",
    "cosface": "CosFaceLoss",
    "arcface": "ArcFaceLoss",
    "sphereface": "SphereFaceLoss",
    "eql": "EqualizationLoss",
    "lade": "LADELoss",
    "label_aware": "LabelAwareSmoothingLoss",
    "cb_focal": "ClassBalancedFocalLoss",
}


def test_names():
    assert tuple(CLASSES) == LOSS_NAMES


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_cosine_losses_are_those_that_refuse_a_logit(name):
    loss, logits = build_loss(name, [5, 3]), torch.tensor([[2.0, -3.0]])
    assert hasattr(loss, "scale") == (name in COSINE_LOSSES)  # evaluation scales the cosines by it
    if name in COSINE_LOSSES:
        with pytest.raises(ValueError, match="cosines reach 3"):
            loss(logits, torch.tensor([0]))
    else:
        assert torch.isfinite(loss(logits, torch.tensor([0])))


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_random_losses_are_those_that_draw(name):
    loss, scores, targets = build_loss(name, [1000, 3, 1]), torch.zeros(8, 3), torch.tensor([0, 1, 2, 0, 0, 0, 0, 0])
    torch.manual_seed(0)
    before = torch.get_rng_state()
    loss(scores, targets)
    assert torch.equal(torch.get_rng_state(), before) == (name not in RANDOM_LOSSES)
    torch.manual_seed(0)
    loss.eval()
    assert torch.equal(loss(scores, targets), loss(scores, targets))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_builds_a_working_loss(name, counts, targets):
    loss = build_loss(name, counts)
    assert type(loss).__name__ == CLASSES[name]
    assert loss.training
    assert torch.isfinite(loss(torch.zeros(len(targets), 5), targets))
    assert build_loss(name, torch.tensor(counts), reduction="none")(torch.zeros(8, 5), targets).shape == (8,)


@pytest.mark.parametrize("name", [name for name in LOSS_NAMES if name != "cb"])
def test_weight_is_an_option(name, counts):
    weight = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    assert torch.equal(build_loss(name, counts, weight=weight).weight, weight)
    with pytest.raises(ValueError, match="weight has"):
        build_loss(name, counts, weight=torch.ones(4))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": 0.5}),
        ("ldam", {"max_margin": 0.3, "scale": 20.0}),
        ("la", {"tau": 1.5}),
        ("ala", {"scale": 20.0, "difficulty": False, "quantity": "log2", "detach": False}),
        ("gala", {"lambda_pos": 1.2, "lambda_neg": 0.9, "form": "formula", "accumulate": "single", "eps": 0.01}),
        ("vs", {"gamma": 0.2, "tau": 1.2}),
        ("gcl", {"margin": 0.1, "scale": 20.0, "noise": 0.3}),
        ("cosface", {"scale": 20.0}),
        ("arcface", {"scale": 20.0, "detach": False}),
        ("sphereface", {"scale": 20.0}),
        ("eql", {"threshold": 0.1, "gamma": 0.5}),
        ("lade", {"alpha": 0.2, "lam": 0.1, "form": "derived"}),
        ("cb_focal", {"gamma": 0.5, "beta": 0.9}),
    ],
)
def test_options_reach_the_loss(name, options, counts):
    loss = build_loss(name, counts, **options)
    assert {key: getattr(loss, key) for key in options} == options


@pytest.mark.parametrize("number", [np.float32, np.float64, torch.tensor, lambda value: np.array([value])])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("focal", {"gamma": 0.5}),
        ("ldam", {"max_margin": 0.25, "scale": 20.0}),
        ("la", {"tau": 1.5}),
        ("ala", {"scale": 20.0, "size": 0.5}),
        ("gala", {"lambda_pos": 1.25, "lambda_neg": 0.75, "eps": 0.5}),
        ("vs", {"gamma": 0.25, "tau": 1.5}),
        ("gcl", {"margin": 0.25, "scale": 20.0, "noise": 0.5, "gamma": 0.5}),
        ("cosface", {"scale": 20.0}),
        ("eql", {"threshold": 0.25, "gamma": 0.5}),
        ("lade", {"alpha": 0.25, "lam": 0.5}),
        ("label_aware", {"head": 0.5, "tail": 0.25}),
        ("cb_focal", {"gamma": 0.5, "beta": 0.75}),
    ],
)
def test_numbers_of_other_libraries_are_kept_as_pythons(name, options, number, counts, targets):
    loss = build_loss(name, np.array(counts), **{key: number(value) for key, value in options.items()})
    kept = {key: getattr(loss, key) for key in options}
    assert kept == options
    assert {type(value) for value in kept.values()} == {float}
    plain = build_loss(name, counts, **options)
    scores = torch.linspace(-0.9, 0.9, 40).view(8, 5)
    assert torch.equal(loss.eval()(scores, targets), plain.eval()(scores, targets))


@pytest.mark.parametrize("name", ["cosface", "arcface", "sphereface"])
def test_the_margin_reaches_the_loss(name, counts):
    assert build_loss(name, counts, margin=np.float64(1.25)).m == 1.25


def test_choices_of_other_libraries_are_kept_as_pythons(counts):
    loss = build_loss("ala", counts, detach=np.bool_(False), difficulty=np.str_("probability"), quantity=np.str_("log"))
    assert [type(value) for value in (loss.detach, loss.difficulty, loss.quantity)] == [bool, str, str]
    assert (loss.detach, loss.difficulty, loss.quantity) == (False, "probability", "log")
    with pytest.raises(ValueError, match=r"quantity is array\(\['log', 'log2'\]"):
        build_loss("ala", counts, quantity=np.array(["log", "log2"]))


def test_beta_and_numbers_of_functions_are_taken_from_other_libraries(counts):
    weights = lt.losses.class_balanced_weights(counts, 0.5, torch.float64)
    for beta in (np.float32(0.5), torch.tensor(0.5)):
        assert torch.equal(lt.losses.class_balanced_weights(counts, beta, torch.float64), weights)
    cosines, targets = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5]]), torch.tensor([2])
    expected = lt.losses.ldam_loss(cosines, targets, counts, 0.25, 16.0)
    assert torch.equal(lt.losses.ldam_loss(cosines, targets, counts, torch.tensor(0.25), np.int64(16)), expected)


def test_cb_is_cross_entropy_with_effective_number_weights(counts, targets):
    logits = torch.randn(len(targets), 5, generator=torch.Generator().manual_seed(0))
    weight = lt.losses.class_balanced_weights(counts, 0.99)
    expected = torch.nn.functional.cross_entropy(logits, targets, weight)
    torch.testing.assert_close(build_loss("cb", counts, beta=0.99)(logits, targets), expected)


def test_gala_gets_the_number_of_classes(counts):
    assert build_loss("gala", counts).num_classes == 5


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("softmax", {}, "loss is 'softmax'; allowed are 'ce', 'focal', 'cb', 'ldam', 'la'"),
        ("CE", {}, "loss is 'CE'"),
        ("focal", {"alpha": 1}, "loss 'focal' has no option 'alpha'; allowed are gamma, weight, reduction"),
        ("cb", {"weight": None}, "loss 'cb' has no option 'weight'; allowed are beta, reduction"),
        ("gala", {"num_classes": 5}, "loss 'gala' has no option 'num_classes'; allowed are lambda_pos"),
        ("ldam", {"tau": 1.0}, "loss 'ldam' has no option 'tau'; allowed are max_margin, scale"),
        ("gala", {"form": "paper"}, "form is 'paper'"),
    ],
)
def test_unknown_names_and_options(name, options, match, counts):
    with pytest.raises(ValueError, match=match):
        build_loss(name, counts, **options)


@pytest.mark.parametrize("name", LOSS_NAMES)
def test_bad_counts(name):
    with pytest.raises(ValueError, match=r"class_counts\[1\] is 0"):
        build_loss(name, [3, 0])
