"""The step: compiled as one graph, the same numbers as eager, and no waiting for the host."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import lt_core as lt
from lt_core.losses import LOSS_NAMES
from lt_core.training import RunConfig, devices, engine
from lt_core.training.devices import CPU_STEPS_THAT_PAY, pick_compile, pick_precision
from lt_core.training.strategies import Plain
from lt_core.validation import trusted_values

CPU = torch.device("cpu")
DATA = lt.data.synthetic(max_count=50, test_per_class=2)  # 161 images, in place of 490
OWN_WEIGHTS = ("cb", "cb_focal")  # which deferred re-weighting cannot set


def trainer(loss: str, batch_size: int = 64, **values: Any) -> engine.Trainer:
    config = RunConfig(dataset="synthetic", loss=loss, recipe="short", epochs=2, batch_size=batch_size, **values)
    return engine.Trainer(config, DATA, CPU)


class HostCopies(TorchDispatchMode):
    """Counts what makes a GPU wait: reading a scalar, and copying a tensor to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "is_nonzero", "nonzero", "equal"):
            self.count += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("loss", "drw"), [(loss, drw) for loss in LOSS_NAMES for drw in (False, True) if not (drw and loss in OWN_WEIGHTS)]
)
def test_copies_to_the_host_do_not_depend_on_the_number_of_steps(loss: str, drw: bool) -> None:
    counts = []
    for batch_size in (32, 100):
        run = trainer(loss, batch_size, drw=drw)
        with HostCopies() as copies:
            run.train_epoch()
        counts.append(copies.count)
    assert counts[0] == counts[1]


@pytest.mark.parametrize("loss", LOSS_NAMES)
def test_the_step_compiles_to_one_graph_with_the_eager_numbers(loss: str) -> None:
    """`fullgraph=True` fails on any graph break; three steps end where the eager ones end."""
    torch._dynamo.reset()  # one process compiles `_forward` for every loss, and Dynamo stops at eight versions
    eager, compiled = trainer(loss), trainer(loss)
    step = compiled.step
    step.forward = torch.compile(step.strategy.step, fullgraph=True, dynamic=False, backend="aot_eager")
    images, targets = eager.images[::10], eager.targets[::10]  # all classes but the rarest
    for seed in range(3):
        torch.manual_seed(seed)  # of what a loss draws
        expected, outputs = eager.step(images, targets)
        torch.manual_seed(seed)
        loss_value, compiled_outputs = step(images, targets)
        torch.testing.assert_close(loss_value, expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(compiled_outputs, outputs, rtol=1e-3, atol=1e-3)
    for name, buffer in eager.loss.named_buffers():
        torch.testing.assert_close(dict(compiled.loss.named_buffers())[name], buffer, rtol=1e-4, atol=1e-4)


def test_inductor_gives_the_eager_numbers() -> None:
    """The real compiler, on the loss with state."""
    torch._dynamo.reset()
    config = RunConfig(dataset="synthetic", loss="gala", recipe="short", epochs=2, batch_size=64)
    data = lt.data.load_dataset("synthetic")
    eager = engine.Trainer(config, data, CPU)
    compiled = engine.Trainer(config, data, CPU, compiled=True)
    mixed = torch.randperm(len(data.train_targets), generator=torch.Generator().manual_seed(0))[:64]
    for run in (eager, compiled):
        run.step.set_learning_rate(0.01)
    for _ in range(3):  # a backward pass that read the updated theta would show in the second step
        expected, _ = eager.step(eager.images[mixed], eager.targets[mixed])
        value, _ = compiled.step(compiled.images[mixed], compiled.targets[mixed])
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(compiled.loss.theta, eager.loss.theta, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_keeps_losses_and_accumulators_in_float32(precision: str) -> None:
    """The GPU's autocast path, run on the CPU: one step, the gradient scaler included."""
    run = trainer("gala")
    strategy = Plain(run.config, run.data, CPU, precision)
    step = engine.TrainStep(strategy, compiled=False)
    step.set_learning_rate(0.01)
    strategy.train()
    loss, outputs = step(run.images[::40], run.targets[::40])
    assert torch.isfinite(loss)
    assert loss.dtype == outputs.dtype == strategy.loss.theta.dtype == torch.float32
    assert all(torch.isfinite(p).all() for p in strategy.model.parameters())
    assert step.scaler.is_enabled() == (precision == "float16")


def test_many_compiled_runs_follow_one_another_in_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook that compares losses: PyTorch compiles a function for eight cases, and a run has two."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # traced, and nothing generated
    for loss in ("ce", "focal", "ldam", "ala", "gala", "balanced_softmax"):
        run = engine.Trainer(RunConfig(dataset="synthetic", loss=loss, recipe="short", epochs=2), DATA, CPU, True)
        run.train_epoch()


def test_value_checks_come_back_after_a_step() -> None:
    run = trainer("balanced_softmax")
    run.step(run.images[:64], run.targets[:64])
    with pytest.raises(ValueError, match="NaN"):
        run.loss(torch.full((2, 12), float("nan")), torch.tensor([0, 1]))
    with trusted_values():
        run.loss(torch.full((2, 12), float("nan")), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="NaN"):
        run.loss(torch.full((2, 12), float("nan")), torch.tensor([0, 1]))


def test_labels_are_checked_once_at_load() -> None:
    data = lt.data.load_dataset("synthetic")
    data.train_targets[0] = 99
    with pytest.raises(ValueError, match="label 99"):
        engine.Trainer(RunConfig(dataset="synthetic", recipe="short"), data, CPU)


def test_compile_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert pick_compile("on", CPU, 1, "bfloat16")
    assert not pick_compile("off", gpu, 10**9, "float16")
    assert pick_compile("auto", gpu, 1, "bfloat16")
    assert not pick_compile("auto", CPU, CPU_STEPS_THAT_PAY - 1, "float32")
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/g++")
    assert pick_compile("auto", CPU, CPU_STEPS_THAT_PAY, "float32")
    assert not pick_compile("auto", CPU, CPU_STEPS_THAT_PAY, "bfloat16")
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert not pick_compile("auto", CPU, CPU_STEPS_THAT_PAY, "float32")
    with pytest.raises(ValueError, match="compile is 'maybe'"):
        pick_compile("maybe", CPU, 1, "float32")


def test_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for has, precision in ((False, "float32"), (True, "bfloat16")):
        monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda has=has: has)
        assert pick_precision(CPU) == precision
    assert pick_precision(CPU, "bfloat16") == "bfloat16"
    with pytest.raises(ValueError, match="precision is 'half'"):
        pick_precision(CPU, "half")
    for capability, precision in (((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, c=capability: c)
        assert pick_precision(torch.device("cuda")) == precision


def test_bfloat16_is_looked_up_in_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the fixture of all tests
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else pytest.skip("not run: no Linux")
    assert devices.cpu_has_bfloat16() == ("avx512_bf16" in flags or "amx_tile" in flags)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_step_runs_no_reference_kernel(precision: str, request: pytest.FixtureRequest) -> None:
    """oneDNN says which kernel it took; torch 2.14.0 took one that was 1,880 times slower than the usual one."""
    if precision == "bfloat16" and "avx512_bf16" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("not run: this CPU has no bfloat16, so its kernels are reference kernels")
    code = (
        "import torch, lt_core as lt; from lt_core.training import RunConfig, engine; "
        "config = RunConfig(dataset='synthetic', recipe='short', batch_size=64); "
        "run = engine.Trainer(config, lt.data.load_dataset('synthetic'), torch.device('cpu'), False, '{}'); "
        "run.step(run.images[:64], run.targets[:64]); run.test_logits()"
    )
    env = os.environ | {"ONEDNN_VERBOSE": "1"}
    command = [sys.executable, "-c", code.format(precision)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kernels = [line.split(",") for line in done.stdout.splitlines() if ",exec,cpu," in line]
    convolutions = [line for line in kernels if "convolution" in line]
    assert len(convolutions) >= 9, "oneDNN's log is not what it was"
    slow = [",".join(line) for line in kernels if any(part.startswith(("ref:", "ref_")) for part in line)]
    assert not slow, slow[0]
