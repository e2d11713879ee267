"""LFME: experts that know one group each, and a student at its own pace."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import lt_core as lt
from lt_core.training import RunConfig, engine
from lt_core.training.strategies import STRATEGIES
from lt_core.training.strategies.distillation import GroupExperts, image_ease

CPU = torch.device("cpu")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}
GROUPS = {"many": [0], "medium": [1, 2, 3], "few": [4, 5, 6, 7, 8, 9]}  # of 124, 74, 44, 26, 16, ... images


def training_data() -> Any:
    """The digits without their test images: whoever reads those fails."""
    data = lt.data.load_dataset("digits_lt")
    names = ("train_images", "train_targets", "class_counts", "num_classes", "has_features")
    return SimpleNamespace(**{name: getattr(data, name) for name in names})


def student(**options: Any) -> Any:
    torch.manual_seed(0)
    data = training_data()
    experts = GroupExperts(RunConfig(**SETTING, strategy="lfme_experts"), data)
    config = RunConfig(**SETTING, strategy="lfme", strategy_options=options, sampler="class_balanced", epochs=8)
    return STRATEGIES["lfme"](config, data, CPU, "float32", experts.state_dict())


def test_experts_divide_the_classes_and_each_has_its_probabilities() -> None:
    torch.manual_seed(0)
    experts = GroupExperts(RunConfig(**SETTING), training_data()).eval()
    assert {name: classes.tolist() for name, classes in experts.groups.items()} == GROUPS
    images = torch.randn(4, 3, 16, 16)
    together = experts(images)
    for expert, classes in zip(experts.experts, GROUPS.values(), strict=True):
        torch.testing.assert_close(together[:, classes], expert(images).log_softmax(1))
    torch.testing.assert_close(together.exp().sum(1), torch.full((4,), 3.0))


def test_a_group_without_classes_has_no_expert() -> None:
    data = training_data()
    data.class_counts = [150] * 9 + [30]
    assert list(GroupExperts(RunConfig(**SETTING), data).groups) == ["many", "medium"]


def test_a_batch_is_of_one_group_and_trains_its_expert_alone() -> None:
    data = lt.data.load_dataset("digits_lt")
    run: Any = engine.Trainer(RunConfig(**SETTING, strategy="lfme_experts", epochs=2), data, CPU, precision="float32")
    run.step.set_learning_rate(0.05)
    images, targets, owners = run.strategy.order(torch.Generator().manual_seed(0))
    # 124 of many once, 144 of medium twice, 36 of few four times, in whole batches of 64
    assert owners.bincount().tolist() == [128, 320, 192]
    run.strategy.train()
    for owner, classes in enumerate(GROUPS.values()):
        rows = (owners == owner).nonzero().squeeze(1)
        assert set(targets[rows].tolist()) <= set(classes)
        before = [[p.detach().clone() for p in expert.parameters()] for expert in run.model.experts]
        _, outputs = run.step(images[rows[:64]], targets[rows[:64]], targets[rows[:64]], owners[rows[:64]])
        assert set(outputs.argmax(1).tolist()) <= set(classes)
        for other, (expert, old) in enumerate(zip(run.model.experts, before, strict=True)):
            same = all(torch.equal(p, q) for p, q in zip(expert.parameters(), old, strict=True))
            assert same == (other != owner)


def test_ease_runs_from_the_floor_of_the_group_to_one() -> None:
    counts, groups = torch.tensor([200, 40, 8]), {n: torch.tensor([c]) for c, n in enumerate(("many", "medium", "few"))}
    targets = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    ease = image_ease(torch.tensor([0.2, 0.7, 0.45, 0.5, 0.5, 0.1, 0.9]), targets, counts, groups)
    torch.testing.assert_close(ease, torch.tensor([0.04, 1.0, 0.52, 1.0, 1.0, 1.0, 1.0]))


def test_an_expert_s_share_falls_once_the_student_has_its_threshold() -> None:
    run = student()
    assert run.shares.tolist() == [1.0, 1.0, 1.0]
    run.train()
    assert run.shares.tolist() == [1.0, 1.0, 1.0]  # nothing seen yet
    for right, share in ((0, 1.0), (29, 1.0), (30, 1.0), (65, 0.5), (100, 0.0), (120, 0.0)):
        run.hits[0], run.hits[1] = right, 100
        run.train()
        assert run.shares.tolist() == pytest.approx([share] * 3, abs=1e-6)
    assert not run.hits.any()


def test_hits_count_the_student_among_all_classes_and_experts_among_theirs() -> None:
    run = student()
    targets = torch.tensor([0, 1, 2, 9])
    outputs = F.one_hot(torch.tensor([0, 1, 9, 9]), 10).float()
    taught = [torch.zeros(4, 1), F.one_hot(torch.tensor([0, 0, 1, 0]), 3).float(), torch.zeros(4, 6)]
    run.count_hits(outputs, taught, targets)
    assert run.hits.tolist() == [[1, 1, 1], [1, 2, 0]]


@pytest.mark.parametrize(("pace", "factors"), [("released", [0.25, 1.0, 2.0]), ("capped", [0.25, 1.0, 1.0])])
def test_logits_start_at_their_ease_and_are_whole_at_half_time(pace: str, factors: list[float]) -> None:
    run, seen = student(pace=pace), []
    for run.epoch in (0, 3, 7):
        run.train()
        seen.append(float(run.pace))
    assert seen == factors


def test_the_loss_is_cross_entropy_and_each_expert_s_divergence() -> None:
    run = student()
    run.epoch = 1
    run.hits[0], run.hits[1] = torch.tensor([65.0, 0.0, 100.0]), 100.0
    run.train()
    images, targets, ease = (part[:32] for part in run.order(torch.Generator().manual_seed(0)))
    loss, outputs = run.step(images, targets, ease)
    x = run.normalize(images)
    scaled = outputs * (ease + (1 - ease) * 0.5)[:, None]
    expected = F.cross_entropy(scaled, targets)
    for share, expert, classes in zip((0.5, 1.0, 0.0), run.model.experts.experts, GROUPS.values(), strict=True):
        teacher = (expert(x) / 2).log_softmax(1)
        own = (scaled[:, classes] / 2).log_softmax(1)
        expected = expected + share * (teacher.exp() * (teacher - own)).sum(1).mean()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert all(p.grad is None for p in run.model.experts.parameters())


def test_the_experts_stay_and_predict_nothing() -> None:
    data = lt.data.load_dataset("digits_lt")
    config = RunConfig(**SETTING, method="lfme", epochs=2)
    experts = GroupExperts(RunConfig(**SETTING), data)
    run: Any = engine.Trainer(config, data, CPU, precision="float32", base=engine.Base(experts.state_dict(), {}))
    before = {name: value.clone() for name, value in run.model.experts.state_dict().items()}
    run.train_epoch()
    for name, value in run.model.experts.state_dict().items():
        assert torch.equal(value, before[name]), name  # the running statistics, too
    assert run.strategy.hits.sum() > 0
    run.model.network.eval()
    torch.testing.assert_close(run.test_logits()[:4], run.model.network(run.strategy.normalize(data.test_images[:4])))
