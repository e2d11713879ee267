"""Networks, experts and memory under the compiler: one graph for all epochs, or a refusal."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch._dynamo.testing

import lt_core as lt
from lt_core.training import RunConfig, TrainingError, engine
from lt_core.training.base import Base
from lt_core.training.strategies import STRATEGIES

CPU = torch.device("cpu")
SETTING: dict[str, Any] = {"dataset": "digits_lt", "recipe": "short", "batch_size": 64}


@pytest.mark.parametrize("method", ["bbn", "ride", "causal_norm", "oltr", "lfme"])
def test_a_compiled_step_is_one_graph_with_the_eager_numbers(method: str) -> None:
    torch._dynamo.reset()
    data = lt.data.load_dataset("digits_lt")
    config, base = RunConfig(**SETTING, epochs=3, method=method), None
    strategy = STRATEGIES[config.strategy]
    if strategy.stage is not None:
        first = STRATEGIES[strategy.starts_from](
            RunConfig(**SETTING, strategy=strategy.starts_from), data, CPU, "float32"
        )
        base = Base(first.model.state_dict(), {})
    eager, compiled = (engine.Trainer(config, data, CPU, precision="float32", base=base) for _ in range(2))
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled.step.forward = torch.compile(compiled.strategy.step, fullgraph=True, dynamic=False, backend=counter)
    losses: list[list[torch.Tensor]] = []
    for run in (eager, compiled):
        run.step.set_learning_rate(0.001)
        losses.append([])
        for run.strategy.epoch in (0, 1):
            batch = [part[:64] for part in run.strategy.order(torch.Generator().manual_seed(run.strategy.epoch))]
            run.strategy.train()
            losses[-1].append(run.step(batch[0], batch[1], batch[1], *batch[2:])[0])
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-3, atol=1e-4)
    assert counter.frame_count == 1


def test_experts_of_groups_are_not_compiled() -> None:
    data = lt.data.load_dataset("digits_lt")
    with pytest.raises(TrainingError, match="a step of 'lfme_experts' cannot be compiled; use --compile off"):
        engine.Trainer(RunConfig(**SETTING, strategy="lfme_experts"), data, CPU, compiled=True)
