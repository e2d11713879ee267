"""Where a run computes, in which number format, and whether its step is compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from lt_core.training import distributed
from lt_core.training.errors import TrainingError
from lt_core.validation import check_choice

COMPILE = ("auto", "on", "off")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")
# On a CPU, tracing and compiling takes a minute and makes a step about a tenth faster: it pays for long runs only.
CPU_STEPS_THAT_PAY = 20_000
EVALUATION_BATCH = {"cuda": 2000, "cpu": 128}  # a CPU's caches hold the activations of few images


def pick_device(name: str = "auto") -> torch.device:
    """ "auto" (a GPU where there is one), "cpu" or "cuda"; asking for a GPU that is not there is an error."""
    check_choice("device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("device is 'cuda', but PyTorch sees no GPU here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def device_name(device: torch.device) -> str:
    """The model name of the GPU, or of the CPU where the system tells it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return f"CPU ({line.split(':', 1)[1].strip()})"
    except OSError:
        pass
    return "CPU"


def cpu_has_bfloat16() -> bool:
    """Whether this CPU has instructions that multiply in bfloat16 (AVX512-BF16 or AMX); others emulate it, slowly."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private, so PyTorch may drop them
    return any(getattr(torch.cpu, name, bool)() for name in names)


def pick_precision(device: torch.device, choice: str = "auto") -> str:
    """Precision of the network's forward pass, of `PRECISIONS`.

    "auto" takes bfloat16 on GPUs and CPUs that compute in it (a CPU is about 1.6 times as fast then), float16 on older
    GPUs, and float32 on other CPUs, where bfloat16 is many times slower.
    """
    check_choice("precision", choice, PRECISIONS)
    if choice != "auto":
        return choice
    if device.type != "cuda":
        return "bfloat16" if cpu_has_bfloat16() else "float32"
    return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float16"


def pick_compile(choice: str, device: torch.device, steps: int, precision: str) -> bool:
    """Whether to compile the step.

    "on", "off", or "auto": on a GPU, and on a CPU in float32 where the run is long enough to pay for it. In bfloat16 a
    compiled step is no faster there.
    """
    check_choice("compile", choice, COMPILE)
    if choice != "auto":
        return choice == "on"
    if distributed.world() > 1:
        return False  # the reduction hooks of DistributedDataParallel are not traced
    if device.type == "cuda":
        return True
    return precision == "float32" and steps >= CPU_STEPS_THAT_PAY and shutil.which("g++") is not None
