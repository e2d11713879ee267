"""What training loops of others give to a loss: dense logits, soft targets, copies, pickles, state across processes."""

from __future__ import annotations

import copy
import pickle
import re
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt

COUNTS = [50, 20, 10, 5, 2]
C = len(COUNTS)
POINTWISE = [
    "ce", "focal", "cb", "ldam", "la", "balanced_softmax", "ala", "vs", "cosface", "arcface", "sphereface",
    "label_aware", "cb_focal",
]  # fmt: skip
ROWS_ALONE = ["gala", "lade", "gcl", "eql"]
SOFT = ["ce", "la", "balanced_softmax"]


def build(name: str, **options: Any) -> torch.nn.Module:
    return lt.losses.build_loss(name, COUNTS, **options)


def scores(name: str, *shape: int) -> torch.Tensor:
    values = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (values / 3).tanh() if name in lt.losses.COSINE_LOSSES else values


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", POINTWISE)
def test_dense_logits_are_rows(name: str, reduction: str) -> None:
    loss, dense = build(name, reduction=reduction), scores(name, 2, C, 3, 4).requires_grad_()
    targets = torch.randint(C, (2, 3, 4), generator=torch.Generator().manual_seed(1))
    targets[0, 0, 0] = -100
    result = loss(dense, targets)
    rows = torch.stack([dense[n, :, i, j] for n in range(2) for i in range(3) for j in range(4)])
    expected = loss(rows, targets.flatten())
    assert torch.allclose(result.flatten(), expected.flatten())
    assert result.shape == (targets.shape if reduction == "none" else ())
    (gradient,) = torch.autograd.grad(result.sum(), dense)
    assert gradient.isfinite().all()


def test_dense_logits_are_those_of_pytorch() -> None:
    dense, targets = scores("ce", 2, C, 3), torch.tensor([[0, 1, 2], [3, 4, -100]])
    for reduction in ("mean", "sum", "none"):
        assert torch.allclose(
            build("ce", reduction=reduction)(dense, targets), F.cross_entropy(dense, targets, reduction=reduction)
        )


@pytest.mark.parametrize("name", ROWS_ALONE)
def test_losses_of_whole_batches_and_of_draws_take_rows_alone(name: str) -> None:
    with pytest.raises(ValueError, match=r"\(N, C\) is needed"):
        build(name)(scores(name, 2, C, 3), torch.zeros(2, 3, dtype=torch.int64))


def test_the_reference_names_the_losses_of_each_kind() -> None:
    """The sentences in the module's docstring; `FamilyLoss` has no name among the registered losses."""
    assert {*POINTWISE, *ROWS_ALONE} == set(lt.losses.LOSS_NAMES)
    told = " ".join((lt.losses.__doc__ or "").split())
    rows, soft = re.search(r"targets \(N, d1, \.\.\.\), too, all but (.*?)\. (.*?) also take targets", told).groups()
    for names, sentence in ((ROWS_ALONE, rows), (SOFT, soft)):
        named = set(re.findall(r"`(\w+)`", sentence)) - {"FamilyLoss"}
        assert named == {type(build(name)).__name__ for name in names}


def test_dense_targets_must_fit() -> None:
    with pytest.raises(ValueError, match=r"targets has shape \(2, 4\); \(2, 3\) is needed"):
        build("ce")(scores("ce", 2, C, 3), torch.zeros(2, 4, dtype=torch.int64))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", SOFT)
def test_soft_targets_mix_the_losses_of_the_labels(name: str, reduction: str) -> None:
    loss, logits = build(name, reduction=reduction), scores(name, 6, C)
    first, second = torch.arange(6) % C, (torch.arange(6) * 3 + 1) % C
    share = 0.3
    mixed = share * F.one_hot(first, C).double() + (1 - share) * F.one_hot(second, C).double()
    assert torch.allclose(loss(logits, mixed), share * loss(logits, first) + (1 - share) * loss(logits, second))
    assert torch.allclose(loss(logits, F.one_hot(first, C).double()), loss(logits, first))


@pytest.mark.parametrize("name", SOFT)
def test_soft_targets_are_the_optimum(name: str) -> None:
    """Where the adjusted softmax has the shares, the gradient is zero."""
    shares = torch.tensor([[0.5, 0.2, 0.1, 0.15, 0.05]], dtype=torch.float64)
    prior = torch.zeros(C) if name == "ce" else torch.tensor(COUNTS, dtype=torch.float64).log()
    logits = (shares.log() - prior).requires_grad_()
    build(name)(logits, shares).backward()
    assert logits.grad is not None
    assert logits.grad.abs().max() < 1e-12


def test_weights_of_soft_targets_are_those_of_pytorch() -> None:
    shares, logits = torch.softmax(scores("ce", 4, C) * 2, 1), scores("ce", 4, C).flip(0)
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0, 0.0], dtype=torch.float64)
    for reduction in ("mean", "none"):
        ours = build("ce", weight=weight, reduction=reduction)(logits, shares)
        assert torch.allclose(ours, F.cross_entropy(logits, shares, weight, reduction=reduction))


@pytest.mark.parametrize("name", sorted(set(lt.losses.LOSS_NAMES) - {*SOFT, "cb"}))
def test_other_losses_refuse_soft_targets_and_say_what_to_do(name: str) -> None:
    with pytest.raises(TypeError, match="take the loss of each label times its share"):
        build(name)(scores(name, 3, C), torch.full((3, C), 1 / C))


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.full((3, C), 0.3), "sum to 1"),
        (torch.tensor([[1.5, -0.5, 0.0, 0.0, 0.0]]).expand(3, C), "at least 0"),
        (torch.full((3, C), torch.nan), "sum to 1|at least 0"),
        (torch.ones(3, 1), r"targets has shape \(3, 1\); \(3, 5\) is needed"),
    ],
)
def test_targets_that_are_no_shares_are_refused(targets: torch.Tensor, message: str) -> None:
    for name in SOFT:
        with pytest.raises(ValueError, match=message):
            build(name)(scores(name, 3, C), targets)


def step(loss: torch.nn.Module, name: str, seed: int) -> torch.Tensor:
    z = scores(name, 8, C).roll(seed, 0).requires_grad_()
    torch.manual_seed(seed)
    value: torch.Tensor = loss(z, (torch.arange(8) + seed) % C)
    value.backward()
    return value.detach()


@pytest.mark.parametrize("name", lt.losses.LOSS_NAMES)
def test_a_copy_goes_on_as_the_original_does(name: str) -> None:
    """State included: GALA's accumulators are what a copy could lose."""
    loss = build(name)
    step(loss, name, 1)
    restored = build(name)
    restored.load_state_dict(loss.state_dict())
    copies = [copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), restored]
    expected = [step(loss, name, seed) for seed in (2, 3)]
    for other in copies:
        assert [step(other, name, seed) for seed in (2, 3)] == expected


@pytest.mark.parametrize("name", ["ce", "ala", "balanced_softmax"])
def test_dense_and_soft_compile_to_one_graph(name: str) -> None:
    loss = build(name)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    dense, targets = scores(name, 2, C, 3), torch.tensor([[0, 1, 2], [3, 4, 0]])
    assert torch.allclose(compiled(dense, targets), loss(dense, targets))
    if name in SOFT:
        logits, shares = scores(name, 4, C), torch.softmax(scores(name, 4, C), 1)
        assert torch.allclose(compiled(logits, shares), loss(logits, shares))
